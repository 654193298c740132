//! What was kept follows its group: at once as far as a request may take, the rest as a job.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    db::{self, Db, Failure, failure},
    error::{Error, Result},
    errors::store::moving as store,
    jobs::{Done, Lease, NewJob},
};

const KIND: &str = "regroup";
/// How long a request moves before it leaves the rest to the job.
const IN_REQUEST: Duration = Duration::from_secs(3);
/// How often one batch is tried while others hold its rows.
const TRIES: u32 = 30;
/// Pause before the second try; it grows by as much each time.
const PAUSE: Duration = Duration::from_millis(5);

/// What is to be moved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    organization: OrganizationId,
    deed: Deed,
    groups: Vec<i64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Deed {
    /// What was kept of merged groups goes where they lead.
    Follow,
    /// What came by signposts goes back to them.
    TakeBack,
    /// What was kept of a split group goes to its parts.
    Divide,
}

impl Work {
    pub fn follow(organization: OrganizationId, groups: &[i64]) -> Self {
        Self { organization, deed: Deed::Follow, groups: groups.to_vec() }
    }

    pub fn take_back(organization: OrganizationId, groups: &[i64]) -> Self {
        Self { organization, deed: Deed::TakeBack, groups: groups.to_vec() }
    }

    pub fn divide(organization: OrganizationId, group: i64) -> Self {
        Self { organization, deed: Deed::Divide, groups: vec![group] }
    }

    /// The job that ends it whatever becomes of the request.
    pub fn job(&self) -> NewJob {
        NewJob::new(KIND, json!(self))
    }

    /// Moves for as long as a request may; true if the job has to go on.
    pub async fn begin(&self, app: &App) -> Result<bool> {
        app.jobs.wake();
        let began = clock::instant();
        for group in &self.groups {
            while self.step(&app.db, None, *group).await? {
                if began.elapsed() > IN_REQUEST {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// One batch; false when nothing is left of the group.
    async fn step(&self, db: &Db, lease: Option<&Lease>, group: i64) -> Result<bool> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.batch(db, lease, group).await {
                Err(Error::Database(error)) if again(&error, tries).await => {}
                outcome => return outcome,
            }
        }
    }

    async fn batch(&self, db: &Db, lease: Option<&Lease>, group: i64) -> Result<bool> {
        let mut tx = db.begin().await?;
        if let Some(lease) = lease {
            lease.hold(&mut tx).await?;
        }
        let organization = self.organization;
        let more: db::Result<bool> = match self.deed {
            Deed::Follow => store::follow(&mut tx, organization, group).await,
            Deed::TakeBack => store::take_back(&mut tx, organization, group).await,
            Deed::Divide => store::divide(&mut tx, organization, group).await,
        };
        let more = more?;
        tx.commit().await?;
        Ok(more)
    }
}

/// Whether the same may be tried again since others held the rows; waits before it says so.
pub(super) async fn again(error: &db::Error, tries: u32) -> bool {
    let again = failure(error) == Failure::Busy && tries < TRIES;
    if again {
        tokio::time::sleep(PAUSE * tries).await;
    }
    again
}

/// Lets jobs move what was kept; to be called before they are started.
pub fn register(app: &App) {
    let db = app.db.clone();
    app.jobs.handle(KIND, 1, move |lease| {
        let db = db.clone();
        async move {
            let work: Work =
                serde_json::from_value(lease.payload.clone()).map_err(anyhow::Error::from)?;
            for group in &work.groups {
                while work.step(&db, Some(&lease), *group).await? {
                    if lease.lost.is_cancelled() {
                        return Err(Error::Unavailable("moving events was interrupted".to_owned()));
                    }
                }
            }
            Ok(Done::Finished)
        }
    });
}
