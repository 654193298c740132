//! The feature's HTTP: telling of a deploy, and reading them.

use axum::extract::State;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::store::{self, Deploy, NewDeploy};
use crate::{
    app::App,
    auth::audit,
    clock,
    error::{self, Error},
    http::{Ingest, Json, Query, Reader, Result, paging},
};

/// Longest application, release and note, in bytes.
const MAX_APP: usize = 100;
const MAX_RELEASE: usize = 200;
const MAX_NOTE: usize = 1000;

/// How far the deployer's clock may be ahead, and how old a deploy may be.
const MAX_AHEAD: TimeDelta = TimeDelta::minutes(5);
const MAX_AGE: TimeDelta = TimeDelta::days(366);

/// Without `at`, the newest release told again within this time is the same deploy.
const AGAIN: TimeDelta = TimeDelta::minutes(10);

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_deploys, mark_deploy))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// The application, as its events and `[[apps]]` name it.
    app: String,
    /// A commit id, a version: what people will recognise.
    release: String,
    /// When it went live; default: now, or within ten minutes when it was told first.
    at: Option<DateTime<Utc>>,
    note: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Marked {
    success: bool,
    deploy: Deploy,
}

/// Tells Lux that a release went live. The same again (application, release and `at`)
/// changes nothing; without `at`, neither does the newest release within ten minutes.
#[utoipa::path(
    post, path = "/api/deploys", request_body = Mark,
    responses(
        (status = 201, description = "noted", body = Marked),
        (status = 200, description = "it was known already", body = Marked),
        (status = 400, description = "not valid")
    )
)]
async fn mark_deploy(
    who: Ingest,
    State(app): State<App>,
    Json(mark): Json<Mark>,
) -> Result<(StatusCode, Json<Marked>)> {
    let now = clock::now();
    let name = line("app", &mark.app, MAX_APP)?;
    let release = line("release", &mark.release, MAX_RELEASE)?;
    let note = match mark.note.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(note) => Some(line("note", note, MAX_NOTE)?),
    };
    // As both databases can keep it.
    let at = mark.at.map_or(now, |at| at.trunc_subsecs(6));
    if at > now + MAX_AHEAD {
        let detail = format!("at is {at}, which is yet to come; send the time it went live");
        return Err(Error::Invalid(detail).into());
    }
    if at < now - MAX_AGE {
        return Err(Error::Invalid(format!("at is {at}, more than a year ago")).into());
    }
    let (organization, made_by) = (who.caller.organization, who.caller.name.as_str());
    let new = NewDeploy { app: name, release, at, note, source: "api", made_by };
    let mut tx = app.db.begin().await.map_err(Error::from)?;
    if mark.at.is_none() {
        let told = store::just_told(&mut tx, organization, name, release, now - AGAIN).await;
        if let Some(deploy) = told.map_err(Error::from)? {
            return Ok((StatusCode::OK, Json(Marked { success: true, deploy })));
        }
    }
    let added = store::add(&mut tx, organization, &new, now).await.map_err(Error::from)?;
    let deploy = store::find(&mut tx, organization, name, release, at).await;
    let deploy = deploy.map_err(Error::from)?.ok_or_else(|| {
        Error::invalid("at is older than the thousand newest deploys of this application")
    })?;
    if added {
        let detail = json!({ "release": release, "at": at });
        audit::write(&mut tx, organization, &who.caller, "deploy.mark", name, &detail)
            .await
            .map_err(Error::from)?;
    }
    tx.commit().await.map_err(Error::from)?;
    let status = if added { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Marked { success: true, deploy })))
}

/// One line of text, trimmed.
fn line<'a>(field: &str, text: &'a str, most: usize) -> error::Result<&'a str> {
    let text = text.trim();
    if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
        return Err(Error::Invalid(format!(
            "{field} is one line of 1 to {most} bytes without control characters"
        )));
    }
    Ok(text)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DeploysQuery {
    app: Option<String>,
    /// Default 20, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct DeployPage {
    deploys: Vec<Deploy>,
    /// Cursor of the next page.
    next: Option<String>,
}

/// Deploys, newest first.
#[utoipa::path(
    get, path = "/api/deploys", params(DeploysQuery),
    responses((status = 200, body = DeployPage))
)]
async fn list_deploys(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<DeploysQuery>,
) -> Result<Json<DeployPage>> {
    let name = query.app.as_deref().map(|name| line("app", name, MAX_APP)).transpose()?;
    let limit = paging::limit(query.limit, 20);
    let after = query.cursor.as_deref().map(paging::position).transpose()?;
    let (deploys, next) = store::list(&app.db, who.caller.organization, name, limit, after)
        .await
        .map_err(Error::from)?;
    let next = next.as_ref().map(paging::cursor).transpose()?;
    Ok(Json(DeployPage { deploys, next }))
}
