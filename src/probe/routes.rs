//! The feature's HTTP: the list of probes, making and deleting them, running one, and
//! what was seen.

use std::collections::BTreeMap;

use axum::Extension;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Check, Expect, Origin, Probe, Probes, Sample, store};
use crate::{
    app::App,
    config::{self, ProbeKind},
    error::Error,
    http::{Json, Operator, Path, Problem, Query, Reader, Result, paging},
};

/// The routes; [`Probes`] have to be added as an extension.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, make))
        .routes(routes!(remove))
        .routes(routes!(run))
        .routes(routes!(results))
}

/// A probe as it is listed; values of headers and the body are not shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ListedProbe)]
struct Listed {
    name: String,
    app: Option<String>,
    kind: ProbeKind,
    origin: Origin,
    /// What it does, in one line.
    does: String,
    /// Names of the headers it sends.
    headers: Vec<String>,
    expect: Expect,
    covers: Vec<String>,
    /// Results of one key can be compared.
    key: String,
    /// The newest result.
    last: Option<Sample>,
}

impl Listed {
    fn new(probe: Probe, last: Option<Sample>) -> Self {
        let headers = match &probe.check {
            Check::Http { headers, .. } => headers.keys().cloned().collect(),
            _ => Vec::new(),
        };
        Self {
            key: probe.key(),
            kind: probe.check.kind(),
            origin: probe.origin,
            does: crate::redact::secrets(&probe.check.to_string()).into_owned(),
            headers,
            name: probe.name,
            app: probe.app,
            expect: probe.expect,
            covers: probe.covers,
            last,
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct List {
    probes: Vec<Listed>,
}

/// All probes: those of the configuration and those made here, with their newest result.
#[utoipa::path(get, path = "/api/probes", responses((status = 200, body = List)))]
async fn list(who: Reader, Extension(probes): Extension<Probes>) -> Result<Json<List>> {
    let organization = who.caller.organization;
    let all = probes.all(organization).await?;
    let mut newest: BTreeMap<String, Sample> =
        store::newest(&probes.app.db, organization, all.iter().map(|probe| probe.name.as_str()))
            .await
            .map_err(Error::from)?
            .into_iter()
            .map(|sample| (sample.probe.clone(), sample))
            .collect();
    let probes = all.into_iter().map(|probe| {
        let last = newest.remove(&probe.name);
        Listed::new(probe, last)
    });
    Ok(Json(List { probes: probes.collect() }))
}

/// Makes a probe, in the form of an entry of `[[probes]]`: an http check on the origin of
/// a configured application (another method than GET, HEAD and OPTIONS: administrators
/// only), or a check of a target that a probe of the configuration names.
#[utoipa::path(
    post, path = "/api/probes",
    request_body = config::Probe,
    responses(
        (status = 201, body = Listed),
        (status = 400, body = Problem, description = "not valid: the detail names every mistake"),
        (status = 403, body = Problem, description = "only the configuration may say that"),
        (status = 409, body = Problem, description = "the name is taken, or there are too many"),
    )
)]
async fn make(
    who: Operator,
    Extension(probes): Extension<Probes>,
    Json(definition): Json<config::Probe>,
) -> Result<(StatusCode, Json<Listed>)> {
    let probe = probes.make(&who.caller, definition).await?;
    Ok((StatusCode::CREATED, Json(Listed::new(probe, None))))
}

/// Deletes a probe that was made here; its results stay.
#[utoipa::path(
    delete, path = "/api/probes/{name}",
    params(("name" = String, Path, description = "the probe's name")),
    responses(
        (status = 204),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is in the configuration"),
    )
)]
async fn remove(
    who: Operator,
    Extension(probes): Extension<Probes>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    probes.remove(who.caller.organization, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Runs a probe now.
#[utoipa::path(
    post, path = "/api/probes/{name}/run",
    params(("name" = String, Path, description = "the probe's name")),
    responses(
        (status = 200, body = Sample, description = "what it saw, whether it passed or not"),
        (status = 404, body = Problem),
    )
)]
async fn run(
    who: Operator,
    Extension(probes): Extension<Probes>,
    Path(name): Path<String>,
) -> Result<Json<Sample>> {
    Ok(Json(probes.run_now(who.caller.organization, &name).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ResultsQuery {
    /// Default 20, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ProbeResults)]
struct Results {
    /// Newest first.
    results: Vec<Sample>,
    /// Cursor of the next page.
    next: Option<String>,
}

/// What runs of a probe saw, newest first; kept for 30 days.
#[utoipa::path(
    get, path = "/api/probes/{name}/results",
    params(("name" = String, Path, description = "the probe's name"), ResultsQuery),
    responses((status = 200, body = Results), (status = 404, body = Problem))
)]
async fn results(
    who: Reader,
    Extension(probes): Extension<Probes>,
    Path(name): Path<String>,
    Query(query): Query<ResultsQuery>,
) -> Result<Json<Results>> {
    let organization = who.caller.organization;
    let limit = paging::limit(query.limit, 20);
    let below: Option<(DateTime<Utc>, i64)> =
        query.cursor.as_deref().map(paging::position).transpose()?;
    let (results, next) = probes.results(organization, &name, limit, below).await?;
    let next = next.as_ref().map(paging::cursor).transpose()?;
    Ok(Json(Results { results, next }))
}
