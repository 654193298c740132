//! Picking up what other programs wrote, in the background.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use secrecy::ExposeSecret;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    grouping::Rules,
    store::intake::{adopt, adopt_singly, copy},
};
use crate::{
    clock,
    config::ErrorSource,
    db::{self, Db, Foreign},
};

/// How often rows without a group are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Rows of one transaction.
const BATCH: i64 = 500;
/// The longest pause between tries while something fails.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How the sources of foreign rows are doing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Intake(Arc<Mutex<Vec<SourceState>>>);

/// How one foreign table is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    pub name: String,
    /// Rows copied since the start.
    pub copied: u64,
    /// Why it cannot be read at present.
    pub failing: Option<String>,
}

impl Intake {
    /// Starts looking for rows without a group, and for new rows of each source.
    pub fn start(
        db: &Db,
        sources: &[ErrorSource],
        rules: &Rules,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let states = sources.iter().map(|source| SourceState {
            name: source.name.clone(),
            copied: 0,
            failing: None,
        });
        let intake = Self(Arc::new(Mutex::new(states.collect())));
        tasks.spawn(group_rows(db.clone(), rules.clone(), shutdown.clone()));
        for (index, source) in sources.iter().cloned().enumerate() {
            let (intake, db, shutdown) = (intake.clone(), db.clone(), shutdown.clone());
            let rules = rules.clone();
            tasks.spawn(async move { intake.follow(index, source, db, rules, shutdown).await });
        }
        intake
    }

    /// How the foreign tables are doing.
    pub fn states(&self) -> Vec<SourceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn follow(
        &self,
        index: usize,
        source: ErrorSource,
        db: Db,
        rules: Rules,
        shutdown: CancellationToken,
    ) {
        let Ok(foreign) = Foreign::new(source.url.expose_secret(), &source.table) else {
            // The error would quote the address, and with it the password.
            self.note(index, &Err("its url is not valid".to_owned()));
            return;
        };
        let mut pause = source.poll;
        while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
            let named = (source.name.as_str(), source.app.as_str());
            let step = copy(&db, &foreign, &rules, named, BATCH, clock::now()).await;
            pause = match &step {
                Ok(copied) if i64::try_from(*copied).unwrap_or(0) >= BATCH => Duration::ZERO,
                Ok(_) => source.poll,
                Err(error) => {
                    tracing::warn!(source = source.name, %error, "a table cannot be read");
                    (pause * 2).clamp(source.poll, LONGEST_PAUSE.max(source.poll))
                }
            };
            self.note(index, &step.map_err(|error| error.to_string()));
        }
        foreign.close().await;
    }

    fn note(&self, index: usize, step: &Result<usize, String>) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = states.get_mut(index) else { return };
        match step {
            Ok(copied) => {
                state.copied += *copied as u64;
                state.failing = None;
            }
            Err(why) => state.failing = Some(why.clone()),
        }
    }
}

async fn group_rows(db: Db, rules: Rules, shutdown: CancellationToken) {
    let mut pause = LOOK;
    while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let step = match adopt(&db, &rules, BATCH, clock::now()).await {
            // One of them cannot be stored: the others must not wait for it.
            Err(error) if db::failure(&error) == db::Failure::Statement => {
                adopt_singly(&db, &rules, BATCH, clock::now()).await.map(|()| BATCH)
            }
            step => step.map(|found| i64::try_from(found).unwrap_or(0)),
        };
        pause = match step {
            Ok(found) if found >= BATCH => Duration::ZERO,
            Ok(_) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "rows of other programs cannot be grouped");
                (pause * 2).clamp(LOOK, LONGEST_PAUSE)
            }
        };
    }
}
