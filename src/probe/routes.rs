//! The feature's HTTP: the list of probes, making and deleting them, running one, and
//! what was seen.

use std::collections::BTreeMap;

use axum::Extension;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Check, Context, Expect, Origin, Phase, Probe, Probes, Sample, store};
use crate::{
    app::App,
    clock,
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
    let mut mistakes = definition.mistakes();
    let apps = probes.app.apps.monitored();
    if let Some(app) = &definition.app
        && !apps.iter().any(|entry| &entry.name == app)
    {
        mistakes.push(format!(
            "app \"{}\" has no address: lux.toml ([[apps]]) or `lux apps add` tells its base_url",
            clip(app)
        ));
    } else if definition.app.is_none()
        && definition.kind == ProbeKind::Http
        && apps.len() != 1
        && probes.app.config.apps.len() != 1
    {
        mistakes
            .push("an http probe needs app, the name of an application with a base_url".to_owned());
    }
    if !mistakes.is_empty() {
        return Err(Error::Invalid(mistakes.join("; ")).into());
    }
    let probe = probes.typed(&definition, Origin::Operator)?;
    may_be_made(&probes, &probe)?;
    if !probe.check.is_safe() && !who.caller.role.may_administer() {
        return Err(Error::Denied(
            "a probe with this method may change data: an administrator has to make it".to_owned(),
        )
        .into());
    }
    let taken = probes.app.config.probes.iter().any(|other| other.name == definition.name);
    if taken {
        let text = "lux.toml has a probe of that name; choose another".to_owned();
        return Err(Error::Conflict(text).into());
    }
    let organization = who.caller.organization;
    store::make(&probes.app.db, organization, &definition, &who.caller.name, clock::now()).await?;
    Ok((StatusCode::CREATED, Json(Listed::new(probe, None))))
}

/// Over the API only those targets can be named that the configuration names already:
/// else whoever may operate could look around in the network and on the host.
fn may_be_made(probes: &Probes, probe: &Probe) -> Result<()> {
    let kind = probe.check.kind();
    let refused = match kind {
        ProbeKind::Http => return Ok(()),
        ProbeKind::Database | ProbeKind::ApiKey | ProbeKind::Config => {
            format!("probes of kind {} are made in lux.toml", kind.as_str())
        }
        _ => {
            let target = probe.check.target();
            let known = probes.app.config.probes.iter().any(|other| {
                Check::from_definition(other)
                    .is_ok_and(|other| other.kind() == kind && other.target() == target)
            });
            if known {
                return Ok(());
            }
            format!(
                "no probe of lux.toml looks at {}; a new target is named there",
                clip(&probe.check.to_string())
            )
        }
    };
    Err(Error::Denied(refused).into())
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
    let probe = named(&probes, who.caller.organization, &name).await?;
    if probe.origin == Origin::Config {
        let text = "this probe is in lux.toml; delete it there".to_owned();
        return Err(Error::Conflict(text).into());
    }
    let deleted = store::unmake(&probes.app.db, who.caller.organization, &name).await;
    if deleted.map_err(Error::from)? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Error::NotFound("probe").into())
    }
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
    let organization = who.caller.organization;
    let probe = named(&probes, organization, &name).await?;
    let context = Context { organization, attempt: None, phase: Phase::Manual, failing: None };
    Ok(Json(probes.run(&probe, &context).await?))
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
    named(&probes, organization, &name).await?;
    let top = (DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default(), i64::MAX);
    let page =
        store::of_probe(&probes.app.db, organization, &name, limit + 1, below.unwrap_or(top));
    let mut results = page.await.map_err(Error::from)?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut next = None;
    if results.len() > page {
        results.truncate(page);
        next = results.last().map(|last| paging::cursor(&(last.at, last.id))).transpose()?;
    }
    Ok(Json(Results { results, next }))
}

async fn named(
    probes: &Probes,
    organization: crate::auth::OrganizationId,
    name: &str,
) -> Result<Probe> {
    Ok(probes.find(organization, name).await?.ok_or(Error::NotFound("probe"))?)
}

fn clip(text: &str) -> String {
    text.chars().take(120).collect()
}
