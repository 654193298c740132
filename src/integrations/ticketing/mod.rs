//! Tickets for errors that stay: one for each group, opened once, told what is new, closed with the
//! evidence. A row is all there is to know of a ticket (`store`); triggers say when its group may
//! be ahead of it, a job compares both (`work`) and writes down each step before the next.

mod facts;
mod routes;
mod store;
mod words;
mod work;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    Duty, Integrations, Trouble,
    tracker::{Project, ProjectStatus, Tracker},
};
use crate::{
    auth::{
        OrganizationId,
        audit::{self, Actor},
    },
    clock,
    error::{Error, Result},
    errors::store::groups::{self, Status as Group},
    repair::Repair,
};

pub use routes::router;
pub use store::{Status, Ticket};

/// Tickets that are listed at once.
const LISTED: i64 = 100;

/// How long the state of a project is good enough: some trackers charge for it.
const FRESH: Duration = Duration::from_mins(1);
/// States that are remembered.
const REMEMBERED: usize = 200;

/// A connection and a project of it.
type Place = (i64, String);

/// Tickets of errors. Cheap to clone.
#[derive(Clone)]
pub struct Tickets(Arc<Shared>);

struct Shared {
    integrations: Integrations,
    repair: Repair,
    statuses: Mutex<HashMap<Place, (Instant, ProjectStatus)>>,
}

/// A tracker that serves, and where.
struct Serving {
    tracker: Tracker,
    integration: i64,
    provider: String,
    target: String,
    project: String,
}

impl Tickets {
    /// Takes up the work.
    pub fn start(integrations: Integrations, repair: Repair) -> Self {
        let statuses = Mutex::default();
        let this = Self(Arc::new(Shared { integrations, repair, statuses }));
        work::start(&this);
        this
    }

    /// What serves tickets; `None` if nothing does.
    async fn serving(&self, organization: OrganizationId) -> Result<Option<Serving>, Trouble> {
        let found = self.0.integrations.serving(organization, Duty::Tickets).await?;
        let Some((connection, served)) = found else { return Ok(None) };
        let (integration, provider) = (connection.id(), connection.kind().key.to_owned());
        let target = served.target.to_string();
        let project = work::project(&target)?;
        let tracker = Tracker::new(connection)?;
        Ok(Some(Serving { tracker, integration, provider, target, project }))
    }

    async fn served(&self, organization: OrganizationId) -> Result<Serving> {
        let why = "no tracker serves this organization; connect GitHub, Asana, Jira or monday.com \
                   under Connections, and let it serve tickets";
        self.serving(organization).await?.ok_or_else(|| Error::Conflict(why.to_owned()))
    }

    /// Whether tickets could be opened, as far as rows say.
    pub async fn is_served(&self, organization: OrganizationId) -> Result<bool> {
        let all = super::served(&self.0.integrations.app().db, organization).await?;
        Ok(all.iter().any(|served| served.duty == Duty::Tickets))
    }

    /// Asks for the ticket of an open group. One that is there is that ticket: it is looked at
    /// again, and opened anew only where it failed.
    pub async fn ask(
        &self,
        organization: OrganizationId,
        by: &str,
        actor: Actor<'_>,
        group: i64,
    ) -> Result<Ticket> {
        let app = self.0.integrations.app();
        let found = groups::find(&app.db, organization, group).await?;
        let group = found.ok_or(Error::NotFound("error group"))?;
        let known = store::of_group(&app.db, organization, group.id).await?;
        if let Some(known) = known.into_iter().find(|ticket| {
            ticket.group_id == group.id
                && ticket.status != Status::Failed
                && ticket.last_error.is_none()
        }) {
            return Ok(known);
        }
        if !matches!(group.status, Group::Unresolved | Group::Regressed) {
            let why = format!(
                "error {} is {}; a ticket is for errors that are open",
                group.id, group.status
            );
            return Err(Error::Conflict(why));
        }
        let Serving { integration, provider, target, .. } = self.served(organization).await?;
        let wish = store::Wish {
            organization,
            group: group.id,
            integration,
            provider: &provider,
            target: &target,
            by,
            now: clock::now(),
        };
        let mut tx = app.db.begin().await?;
        let (id, is_new) = store::ask(&mut tx, &wish).await?;
        work::queue(&mut tx, id, wish.now).await?;
        let subject = format!("error {}", group.id);
        let detail = json!({"provider": provider, "again": !is_new});
        audit::write(&mut tx, organization, actor, "ticket.ask", &subject, &detail).await?;
        tx.commit().await?;
        app.jobs.wake();
        let tickets = store::of_group(&app.db, organization, group.id).await?;
        tickets.into_iter().next().ok_or(Error::NotFound("ticket"))
    }

    /// The tickets of a group, its own first.
    pub async fn of_group(&self, organization: OrganizationId, group: i64) -> Result<Vec<Ticket>> {
        Ok(store::of_group(&self.0.integrations.app().db, organization, group).await?)
    }

    /// The tickets of groups.
    pub async fn of_groups(
        &self,
        organization: OrganizationId,
        groups: &[i64],
    ) -> Result<Vec<Ticket>> {
        Ok(store::of_groups(&self.0.integrations.app().db, organization, groups).await?)
    }

    async fn newest(&self, organization: OrganizationId) -> Result<Vec<Ticket>> {
        Ok(store::newest(&self.0.integrations.app().db, organization, LISTED).await?)
    }

    /// What tickets could be opened in: of a connection, else of the one that serves.
    pub async fn projects(
        &self,
        organization: OrganizationId,
        integration: Option<i64>,
    ) -> Result<Vec<Project>> {
        let tracker = match integration {
            Some(id) => Tracker::new(self.0.integrations.connection(organization, id).await?)?,
            None => self.served(organization).await?.tracker,
        };
        Ok(tracker.projects().await?)
    }

    /// How the project stands that tickets go to, at most a minute old.
    pub async fn project_status(&self, organization: OrganizationId) -> Result<ProjectStatus> {
        let Serving { tracker, integration, project, .. } = self.served(organization).await?;
        let place = (integration, project);
        let now = clock::instant();
        let statuses = || self.0.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        let known = statuses().get(&place).cloned();
        if let Some((at, status)) = known
            && now.duration_since(at) < FRESH
        {
            return Ok(status);
        }
        let status = tracker.project_status(&place.1).await?;
        let mut statuses = statuses();
        statuses.retain(|_, (at, _)| now.duration_since(*at) < FRESH);
        if statuses.len() < REMEMBERED {
            statuses.insert(place, (now, status.clone()));
        }
        Ok(status)
    }
}
