//! Clearing: resolved events that are old enough are removed, when an operator asks and on
//! schedule. What takes longer than a request may is finished by a job.

use std::time::Duration;

use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::store::clear;
use crate::{
    app::App,
    auth::{
        OrganizationId,
        audit::{self, Actor},
    },
    clock,
    db::Tx,
    error::{Error, Result},
    http::{self, Json, Operator},
    jobs::{Done, Jobs, Lease, NewJob},
};

/// The kind of the job; the schedule of the same name makes one at each tick.
const KIND: &str = "clear";

/// The oldest age that can be asked for, in hours: a year.
const MAX_HOURS: i64 = 8760;

/// How long a request clears before it leaves the rest to a job.
const IN_REQUEST: Duration = Duration::from_secs(15);

/// What a job is given. Without an organization (on schedule) it clears for all.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    organization: Option<OrganizationId>,
    older_than_hours: Option<i64>,
    by: Option<String>,
}

/// The route.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(clear_resolved))
}

/// Lets jobs clear; to be called before they are started. After the schedule's clearing a
/// job of each kind of `then` is made: other parts have old things to remove as well.
pub fn register(app: &App, then: &'static [&'static str]) {
    let own = app.clone();
    app.jobs.handle(KIND, 1, move |lease| {
        let app = own.clone();
        async move {
            let done = work(&app, &lease).await?;
            if lease.payload["organization"].is_null() {
                for kind in then {
                    let next = NewJob::new(kind, json!({}));
                    app.jobs.enqueue(next.dedupe(format!("{kind}:{}", lease.job))).await?;
                }
            }
            Ok(done)
        }
    });
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Clear {
    /// 1 to 8760; default: `schedule.clear_older_than`.
    older_than_hours: Option<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Cleared {
    success: bool,
    deleted: u64,
    older_than_hours: i64,
    /// There was too much for one request: Lux goes on in the background.
    continues: bool,
}

/// Removes resolved events older than so many hours. Groups, their counts and the evidence stay.
#[utoipa::path(
    post, path = "/api/auto-repair/clear",
    request_body = Clear,
    responses(
        (status = 200, body = Cleared),
        (status = 400, description = "older_than_hours is not in range; nothing was removed")
    )
)]
async fn clear_resolved(
    who: Operator,
    State(app): State<App>,
    Json(wanted): Json<Clear>,
) -> http::Result<Json<Cleared>> {
    let hours = wanted.older_than_hours.unwrap_or_else(|| default_hours(&app));
    if !(1..=MAX_HOURS).contains(&hours) {
        let detail = format!(
            "older_than_hours is {hours}; give a number of hours from 1 to {MAX_HOURS} (a year)"
        );
        return Err(Error::Invalid(detail).into());
    }
    let organization = who.caller.organization;
    let before = clock::now() - TimeDelta::hours(hours);
    let began = clock::instant();
    let mut deleted = 0;
    let continues = loop {
        let mut tx = app.db.begin().await.map_err(Error::from)?;
        let removed = clear::batch(&mut tx, organization, before).await.map_err(Error::from)?;
        deleted += removed;
        let late = removed > 0 && began.elapsed() > IN_REQUEST;
        if late {
            let payload = Payload {
                organization: Some(organization),
                older_than_hours: Some(hours),
                by: Some(who.caller.name.clone()),
            };
            Jobs::enqueue_in(&mut tx, NewJob::new(KIND, json!(payload))).await?;
        }
        if late || removed == 0 {
            tell(&mut tx, organization, &who.caller, deleted, hours).await?;
        }
        tx.commit().await.map_err(Error::from)?;
        if late || removed == 0 {
            break late;
        }
    };
    if continues {
        app.jobs.wake();
    }
    metrics::counter!("lux_events_cleared_total").increment(deleted);
    Ok(Json(Cleared { success: true, deleted, older_than_hours: hours, continues }))
}

/// The configured age in whole hours, rounded up: never younger than was meant.
fn default_hours(app: &App) -> i64 {
    let hours = app.config.schedule.clear_older_than.as_secs().div_ceil(3600);
    i64::try_from(hours).unwrap_or(MAX_HOURS)
}

/// Clears until nothing is left; each batch belongs to the job's lease.
async fn work(app: &App, lease: &Lease) -> Result<Done> {
    let payload: Payload =
        serde_json::from_value(lease.payload.clone()).map_err(anyhow::Error::from)?;
    let hours = payload.older_than_hours.unwrap_or_else(|| default_hours(app));
    let before = clock::now() - TimeDelta::hours(hours);
    let organizations = match payload.organization {
        Some(organization) => vec![organization],
        None => clear::organizations(&app.db).await?,
    };
    let actor = payload.by.as_deref().unwrap_or("schedule");
    for organization in organizations {
        let deleted = clear_all(app, lease, organization, before).await?;
        let mut tx = app.db.begin().await?;
        lease.hold(&mut tx).await?;
        if deleted > 0 {
            tell(&mut tx, organization, actor, deleted, hours).await?;
        }
        tx.commit().await?;
        metrics::counter!("lux_events_cleared_total").increment(deleted);
        tracing::info!(organization = organization.0, deleted, hours, "resolved events cleared");
    }
    // On schedule the model's ledger loses what is older than it is kept.
    if payload.organization.is_none() {
        let removed = app.llm.clear_ledger().await?;
        tracing::info!(removed, "old requests to the model cleared");
    }
    Ok(Done::Finished)
}

async fn clear_all(
    app: &App,
    lease: &Lease,
    organization: OrganizationId,
    before: DateTime<Utc>,
) -> Result<u64> {
    let mut deleted = 0;
    loop {
        if lease.lost.is_cancelled() {
            return Err(Error::Unavailable("clearing was interrupted".to_owned()));
        }
        let mut tx = app.db.begin().await?;
        lease.hold(&mut tx).await?;
        let removed = clear::batch(&mut tx, organization, before).await?;
        tx.commit().await?;
        if removed == 0 {
            return Ok(deleted);
        }
        deleted += removed;
    }
}

async fn tell(
    tx: &mut Tx,
    organization: OrganizationId,
    actor: impl Into<Actor<'_>>,
    deleted: u64,
    hours: i64,
) -> Result<()> {
    let detail = json!({ "deleted": deleted, "older_than_hours": hours });
    Ok(audit::write(tx, organization, actor, "errors.clear", "resolved events", &detail).await?)
}
