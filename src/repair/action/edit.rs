//! Other values for an action that waits. What was looked at stays as it was: the other values
//! are a proposal of their own, which takes its place and has to be approved as itself.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::{ActionRun, Actions, Decision, On, Proposal, Status, audit::audit, store, undecidable};
use crate::{
    auth::{Caller, audit::Actor},
    clock,
    error::{Error, Result},
};

/// Other values for a proposal.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The `hash` of the action that was looked at.
    pub hash: String,
    /// Parameter → value; what is not named stays as it is.
    pub params: BTreeMap<String, String>,
}

impl Actions {
    /// Proposes an action anew with other values, until when it would have expired, and rejects
    /// the one that it stands for. The same values change nothing.
    ///
    /// [`Error::Invalid`] for values that the allow-list does not take; [`Error::Conflict`] if
    /// it was decided meanwhile, or may not run at all.
    pub async fn edit(&self, caller: &Caller, id: i64, edit: Edit) -> Result<ActionRun> {
        let organization = caller.organization;
        let now = clock::now();
        let mut tx = self.app.db.begin().await?;
        let found = store::find(On::Tx(&mut tx), organization, id, now).await?;
        let run = found.ok_or(Error::NotFound("action"))?;
        if run.status != Status::Proposed || run.hash != edit.hash {
            return Err(undecidable(&run));
        }
        let mut params = run.params.0.clone();
        params.extend(edit.params);
        let rendered = self.catalogue.render(&run.action, &run.cause, &params);
        let rendered = rendered.map_err(Error::Invalid)?;
        if let Some(why) = rendered.blocked.clone().filter(|_| !rendered.possible) {
            return Err(Error::Conflict(why));
        }
        let name = caller.author();
        let by = Actor { name: &name, address: caller.address };
        let proposal = Proposal {
            organization,
            run: run.run_id,
            cause: run.cause_id,
            by: &name,
            at: now,
            expires_at: run.expires_at,
            undo_of: run.undo_of,
            decided: None,
        };
        let (other, _) = store::propose(&mut tx, &rendered, &proposal).await?;
        if other == id {
            return Ok(run);
        }
        // Somebody may have changed his mind, and back.
        store::restore(&mut tx, other, run.expires_at).await?;
        let found = store::find(On::Tx(&mut tx), organization, other, now).await?;
        let other = found.ok_or(Error::NotFound("action"))?;
        if other.status != Status::Proposed {
            let why = format!("action {} had these values; it was decided already", other.id);
            return Err(Error::Conflict(why));
        }
        let reason = format!("edited: action {} stands in its place", other.id);
        let decision = Decision {
            status: Status::Rejected,
            by: &name,
            reason: Some(&reason),
            at: now,
            expires_at: run.expires_at,
        };
        if !store::decide(&mut tx, organization, id, &run.hash, &decision).await? {
            return Err(undecidable(&run));
        }
        store::replaced(&mut tx, id, other.id).await?;
        let detail = json!({ "by": other.id, "argv": other.argv, "hash": other.hash });
        audit(&mut tx, organization, by, "action.edit", id, &detail).await?;
        tx.commit().await?;
        Ok(other)
    }
}
