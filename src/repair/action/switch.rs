//! The kill switch: one stop for all actions of all replicas, by API or by a file that
//! needs neither a token nor a database.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::{
    Actions,
    audit::audit,
    check_reason,
    store::{self, On},
};
use crate::{
    auth::{Caller, audit::Actor},
    clock,
    config::Config,
    db::Db,
    error::{Error, Result},
};

/// The file in the data directory that stops all actions while it is there.
pub const FILE: &str = "stop-actions";

/// Where that file is looked for.
pub fn file(config: &Config) -> PathBuf {
    config.data_dir.join(FILE)
}

/// Why actions are stopped by the file, if they are. A folder that cannot be looked into
/// counts as a stop: better none than against somebody's will.
pub fn stopped_by_file(config: &Config) -> Option<String> {
    let file = file(config);
    match file.try_exists() {
        Ok(false) => None,
        Ok(true) => Some(format!(
            "actions are stopped by the file {}; remove it to let them run again",
            file.display()
        )),
        Err(error) => Some(format!(
            "actions are stopped: whether {} is there cannot be seen ({error})",
            file.display()
        )),
    }
}

/// Why actions are stopped by the switch in the database, if they are.
pub async fn stopped_by_database(db: &Db) -> Result<Option<String>> {
    Ok(store::switch(&mut On::Db(db)).await?.reason())
}

/// How the switch stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Standing {
    pub stopped: bool,
    /// By what or whom, and how to let actions run again.
    pub reason: Option<String>,
}

impl Actions {
    /// Whether all actions are stopped, and by whom.
    pub async fn standing(&self) -> Result<Standing> {
        let reason = self.stopped(&mut On::Db(&self.app.db)).await?;
        Ok(Standing { stopped: reason.is_some(), reason })
    }

    /// Stops all actions of all replicas; running ones are ended within a second.
    /// The reason stands in the audit log.
    pub async fn stop(&self, caller: &Caller, reason: Option<&str>) -> Result<Standing> {
        self.turn(caller, true, reason).await
    }

    /// Lets actions run again. What was ended stays ended.
    pub async fn go(&self, caller: &Caller, reason: Option<&str>) -> Result<Standing> {
        if let Some(reason) = stopped_by_file(&self.app.config) {
            return Err(Error::Conflict(reason));
        }
        self.turn(caller, false, reason).await
    }

    async fn turn(&self, caller: &Caller, stopped: bool, reason: Option<&str>) -> Result<Standing> {
        let reason = check_reason(reason)?;
        let name = caller.author();
        let by = Actor { name: &name, address: caller.address };
        let mut tx = self.app.db.begin().await?;
        if store::turn(&mut tx, stopped, by.name, clock::now()).await? {
            let what = if stopped { "actions.stop" } else { "actions.go" };
            let detail = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
            audit(&mut tx, caller.organization, by, what, 0, &detail).await?;
        }
        tx.commit().await?;
        self.standing().await
    }

    /// Why all actions are stopped, if they are.
    pub(super) async fn stopped(&self, on: &mut On<'_>) -> Result<Option<String>> {
        if let Some(reason) = stopped_by_file(&self.app.config) {
            return Ok(Some(reason));
        }
        Ok(store::switch(on).await?.reason())
    }
}

impl store::Switch {
    /// Why all actions are stopped, if they are.
    pub(super) fn reason(&self) -> Option<String> {
        if !self.stopped {
            return None;
        }
        let by = self.changed_by.as_deref().unwrap_or("somebody");
        let at = self.changed_at.map(|at| format!(" at {at}")).unwrap_or_default();
        Some(format!(
            "actions were stopped by {by}{at}; an admin lets them run again: POST \
             /api/auto-repair/go"
        ))
    }
}
