//! Actions: commands of the operator's allow-list. A diagnosis fills in their parameters,
//! a person (or the policy) decides, and each runs at most once, in bounds of time, output
//! and number. Off until configured; a kill switch stops all of them.

mod audit;
mod child;
mod edit;
mod execute;
mod output;
mod render;
mod routes;
mod store;
pub mod switch;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit::Actor},
    clock,
    config::Policy,
    db::Db,
    diagnose::Captured,
    error::{Error, Result},
    jobs,
};
use audit::audit;
use execute::Started;
use store::{Decision, On, Proposal};

pub use edit::Edit;
pub use render::{Catalogue, Rendered};
pub use routes::router;
pub use store::{ActionRun, Status};
pub use switch::Standing;

/// Proposes, decides and runs actions. Cheap to clone.
#[derive(Clone)]
pub struct Actions {
    app: App,
    catalogue: Arc<Catalogue>,
    /// This process, as other replicas can recognise it.
    owner: Arc<str>,
}

/// What a person says about a proposal.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// The `hash` of the action that was looked at.
    pub hash: String,
    pub reason: Option<String>,
}

/// Which way a proposal was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    Approved,
    Rejected,
}

/// The longest reason, in bytes.
const MAX_REASON: usize = 4096;

/// A reason as it is kept; `None` if it is blank.
fn check_reason(reason: Option<&str>) -> Result<Option<String>> {
    if reason.is_some_and(|reason| reason.len() > MAX_REASON) {
        return Err(Error::invalid(format!("reason has at most {MAX_REASON} bytes")));
    }
    // Text of a database cannot hold it.
    let reason = reason.map(|reason| reason.replace('\0', "\u{fffd}"));
    Ok(reason.filter(|reason| !reason.trim().is_empty()))
}

/// How often what is past is noted.
const SETTLE: Duration = Duration::from_secs(15);

impl Actions {
    pub fn new(app: App) -> Self {
        let catalogue = Arc::new(Catalogue::new(&app.config));
        Self { app, catalogue, owner: jobs::this_process().into() }
    }

    /// Like [`Actions::new`], and settles what is past, now and regularly.
    pub fn start(app: App) -> Self {
        let actions = Self::new(app);
        let settler = actions.clone();
        actions.app.tasks.spawn(async move {
            let mut timer = tokio::time::interval(SETTLE);
            let shutdown = settler.app.shutdown.clone();
            while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
                if let Err(error) = settler.settle().await {
                    tracing::warn!(%error, "actions that were interrupted are not settled yet");
                }
            }
        });
        actions
    }

    /// The allow-list.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The actions that may be proposed for a cause, rendered with what the diagnosis
    /// captured ("unit" → `["shop.service"]`). Those that these values do not fit are left out.
    pub async fn for_cause(
        &self,
        _organization: OrganizationId,
        cause: &str,
        known: &Captured,
    ) -> Result<Vec<Rendered>> {
        self.rendered(self.catalogue.fixing(cause), cause, known).await
    }

    /// All actions that could be proposed for a cause by somebody who chooses them by name:
    /// those whose parameters need nothing of the diagnosis, and that may run at all.
    pub async fn nameable(
        &self,
        _organization: OrganizationId,
        cause: &str,
    ) -> Result<Vec<Rendered>> {
        let mut all = self.rendered(self.catalogue.names(), cause, &Captured::new()).await?;
        all.retain(|rendered| rendered.possible);
        Ok(all)
    }

    async fn rendered(
        &self,
        names: impl Iterator<Item = &str>,
        cause: &str,
        known: &Captured,
    ) -> Result<Vec<Rendered>> {
        let mut all = Vec::new();
        for name in names {
            let params = self.catalogue.fill(name, known);
            let rendered = params.and_then(|params| self.catalogue.render(name, cause, &params));
            let mut rendered = match rendered {
                Ok(rendered) => rendered,
                Err(why) => {
                    tracing::debug!(action = name, cause, why, "an action does not fit");
                    continue;
                }
            };
            if rendered.blocked.is_none() {
                let mut on = On::Db(&self.app.db);
                rendered.blocked = self.hindrance(&mut on, &rendered, clock::now()).await?;
            }
            all.push(rendered);
        }
        Ok(all)
    }

    /// Stores what is to be run for a cause of a run. The same again gives what is there.
    /// With the policy `auto` it is approved by that; else it waits for a person.
    ///
    /// [`Error::Conflict`] if the configuration does not let it run at all.
    pub async fn propose(
        &self,
        organization: OrganizationId,
        run: i64,
        cause: i64,
        rendered: &Rendered,
        by: &str,
    ) -> Result<ActionRun> {
        self.store_proposal(organization, run, cause, rendered, by, true).await
    }

    /// The same for what only a model thought of: it waits for a person whatever its policy
    /// is, since the model has read what strangers wrote.
    pub async fn suggest(
        &self,
        organization: OrganizationId,
        run: i64,
        cause: i64,
        rendered: &Rendered,
        by: &str,
    ) -> Result<ActionRun> {
        self.store_proposal(organization, run, cause, rendered, by, false).await
    }

    async fn store_proposal(
        &self,
        organization: OrganizationId,
        run: i64,
        cause: i64,
        rendered: &Rendered,
        by: &str,
        by_policy: bool,
    ) -> Result<ActionRun> {
        // Only what the allow-list makes of it counts, not what was handed in.
        let own = self.catalogue.render(&rendered.action, &rendered.cause, &rendered.params);
        let own = own.map_err(Error::Invalid)?;
        if let Some(why) = own.blocked.clone().filter(|_| !own.possible) {
            return Err(Error::Conflict(why));
        }
        if own.hash != rendered.hash {
            return Err(Error::invalid("this is not what the allow-list makes of the action"));
        }
        let mut tx = self.app.db.begin().await?;
        let now = clock::now();
        let proposal = Proposal {
            organization,
            run,
            cause,
            by,
            at: now,
            expires_at: self.expiry(now),
            undo_of: None,
            decided: (by_policy && own.policy == Policy::Auto)
                .then_some(("configuration", "policy = \"auto\"")),
        };
        let (id, new) = store::propose(&mut tx, &own, &proposal).await?;
        if new {
            let detail = json!({ "argv": own.argv, "hash": proposal.hash(&own) });
            audit(&mut tx, organization, by, "action.propose", id, &detail).await?;
        }
        let stored = store::find(On::Tx(&mut tx), organization, id, now).await?;
        tx.commit().await?;
        stored.ok_or(Error::NotFound("action"))
    }

    /// Allows a proposal to run, once. `hash` is that of what was looked at.
    ///
    /// [`Error::Conflict`] if it is another, or it was decided already, or is too late.
    pub async fn approve(
        &self,
        organization: OrganizationId,
        id: i64,
        hash: &str,
        by: impl Into<Actor<'_>>,
        reason: Option<&str>,
    ) -> Result<ActionRun> {
        self.decide(organization, id, hash, Status::Approved, by.into(), reason).await
    }

    async fn decide(
        &self,
        organization: OrganizationId,
        id: i64,
        hash: &str,
        status: Status,
        by: Actor<'_>,
        reason: Option<&str>,
    ) -> Result<ActionRun> {
        let mut tx = self.app.db.begin().await?;
        let now = clock::now();
        let found = store::find(On::Tx(&mut tx), organization, id, now).await?;
        let run = found.ok_or(Error::NotFound("action"))?;
        if status == Status::Approved
            && run.status == Status::Proposed
            && let Err(why) = self.as_configured(organization, &run)
        {
            store::void(&mut tx, id, &why).await?;
            tx.commit().await?;
            return Err(Error::Conflict(format!("{why}; start the repair again")));
        }
        let decision =
            Decision { status, by: by.name, reason, at: now, expires_at: self.expiry(now) };
        if !store::decide(&mut tx, organization, id, hash, &decision).await? {
            // As it is now: somebody else may have been faster.
            let run = store::find(On::Tx(&mut tx), organization, id, now).await?;
            return Err(undecidable(&run.ok_or(Error::NotFound("action"))?));
        }
        let what = if status == Status::Approved { "action.approve" } else { "action.reject" };
        audit(&mut tx, organization, by, what, id, &json!({ "hash": hash, "reason": reason }))
            .await?;
        let decided = store::find(On::Tx(&mut tx), organization, id, now).await?;
        tx.commit().await?;
        decided.ok_or(Error::NotFound("action"))
    }

    /// Lets a proposal run, or refuses it for good, by who makes a request. The run hears of it
    /// from `Repair::decide`.
    pub(super) async fn say(
        &self,
        caller: &Caller,
        id: i64,
        decided: Decided,
        word: Word,
    ) -> Result<ActionRun> {
        let reason = check_reason(word.reason.as_deref())?;
        let hash = word.hash.replace('\0', "\u{fffd}");
        let name = caller.author();
        let by = Actor { name: &name, address: caller.address };
        let status = match decided {
            Decided::Approved => Status::Approved,
            Decided::Rejected => Status::Rejected,
        };
        self.decide(caller.organization, id, &hash, status, by, reason.as_deref()).await
    }

    /// Takes an action back by the action that its `undo` names. Does not wait for its end; the
    /// flag says whether it began just now.
    pub async fn take_back(&self, caller: &Caller, id: i64) -> Result<(bool, ActionRun)> {
        let name = caller.author();
        let by = Actor { name: &name, address: caller.address };
        let undo = self.prepare_undo(caller.organization, id, by).await?;
        Ok(match self.begin(caller.organization, undo, by).await? {
            Started::Running(run, _) => (true, run),
            Started::Past(run) => (false, run),
        })
    }

    /// Actions below the id `before`, the newest first, those of one status if it is given;
    /// without what they printed.
    pub async fn list(
        db: &Db,
        organization: OrganizationId,
        status: Option<Status>,
        before: i64,
        limit: i64,
    ) -> Result<Vec<ActionRun>> {
        Ok(store::list(db, organization, status, before, limit, clock::now()).await?)
    }

    /// The same for those that somebody (or the configuration) decided about.
    pub async fn list_decided(
        db: &Db,
        organization: OrganizationId,
        before: i64,
        limit: i64,
    ) -> Result<Vec<ActionRun>> {
        Ok(store::decided(db, organization, before, limit, clock::now()).await?)
    }

    /// How many wait for somebody's approval, counted up to 1 000.
    pub async fn awaiting(db: &Db, organization: OrganizationId) -> Result<i64> {
        Ok(store::proposed(db, organization, clock::now()).await?)
    }

    /// One action; [`Error::NotFound`] for one of another organization, too.
    pub async fn find(&self, organization: OrganizationId, id: i64) -> Result<ActionRun> {
        let found = store::find(On::Db(&self.app.db), organization, id, clock::now()).await?;
        found.ok_or(Error::NotFound("action"))
    }

    /// All actions of a repair run, in the order in which they were proposed.
    pub async fn of_run(&self, organization: OrganizationId, run: i64) -> Result<Vec<ActionRun>> {
        Ok(store::of_run(&self.app.db, organization, run, clock::now()).await?)
    }

    /// Until when something can be decided, or run.
    fn expiry(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let expires = self.app.config.repair.approval_expires;
        now + TimeDelta::from_std(expires).unwrap_or(TimeDelta::days(7))
    }
}

/// Why a decision was not taken.
fn undecidable(run: &ActionRun) -> Error {
    let id = run.id;
    let text = match (run.status, run.decided_by.as_deref(), run.decided_at) {
        (Status::Proposed, ..) => format!(
            "the hash is not that of action {id}; look at it again (GET \
             /api/auto-repair/actions/{id}) and decide about what it shows now"
        ),
        (Status::Expired, ..) => {
            format!("action {id} is expired; start the repair again for a new proposal")
        }
        (_, Some(by), Some(at)) => format!("action {id} was decided by {by} at {at} already"),
        _ => format!("action {id} was decided already"),
    };
    Error::Conflict(text)
}
