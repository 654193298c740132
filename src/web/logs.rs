//! The live logs over HTTP: their sources, search, the lines around one, what is said
//! how often, and the stream of what is being said.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::Error,
    http::{Json, Path, Problem, Query, Reader, Result, paging},
    logs::{self, Entry, Follower, Pattern, Severity, SourceStatus, Template},
};

/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The most records that are told of a tenth of a second, on the average.
const MOST_AT_ONCE: usize = 1000;

/// The most templates of one answer.
const TEMPLATES: usize = 100;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read_sources))
        .routes(routes!(search))
        .routes(routes!(read_around))
        .routes(routes!(read_templates))
        .routes(routes!(follow))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Sources {
    sources: Vec<SourceStatus>,
    /// Since when the database has not taken the reading positions.
    unsaved_since: Option<DateTime<Utc>>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Records {
    records: Vec<Entry>,
    /// Give it as `cursor` for the records before these.
    next: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Templates {
    templates: Vec<Template>,
}

/// What is looked for; each part may be left out.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Names of sources, separated by commas.
    source: Option<String>,
    /// Text in any case, or `/a regular expression/`.
    q: Option<String>,
    /// Without what holds this text, in any case, or what this `/regular expression/` matches.
    exclude: Option<String>,
    /// At least this bad: debug, info, notice, warning, error, critical.
    severity: Option<String>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Around {
    /// Records on each side.
    n: Option<i64>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct OfSources {
    /// Names of sources, separated by commas.
    source: Option<String>,
    since: Option<DateTime<Utc>>,
}

impl Wanted {
    fn read(self) -> Result<logs::Query> {
        let limit = paging::limit(self.limit, 50);
        Ok(logs::Query {
            sources: names(self.source.as_deref()),
            since: self.since,
            until: self.until,
            severity: self.severity.map(|text| text.parse::<Severity>()).transpose()?,
            text: self.q.filter(|q| !q.is_empty()).map(|q| Pattern::parse(&q)).transpose()?,
            exclude: self
                .exclude
                .filter(|q| !q.is_empty())
                .map(|q| Pattern::parse(&q))
                .transpose()?,
            limit: usize::try_from(limit).unwrap_or(1),
            after: self.cursor.map(|cursor| paging::position(&cursor)).transpose()?,
            oldest_first: false,
        })
    }
}

fn names(list: Option<&str>) -> Vec<String> {
    let names = list.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Looking through the window takes the processor, not the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> crate::error::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Error::Internal(error.into()))??)
}

/// The log sources, each with its state, how much was read, and what to do about it.
#[utoipa::path(
    get,
    path = "/api/diagnostics/logs/sources",
    responses((status = 200, body = Sources), (status = 401, body = Problem))
)]
async fn read_sources(_: Reader, State(app): State<App>) -> Json<Sources> {
    Json(Sources { sources: app.live.status(), unsaved_since: app.live.unsaved_since() })
}

/// Searches what was said lately, newest first.
#[utoipa::path(
    get,
    path = "/api/diagnostics/logs",
    params(Wanted),
    responses(
        (status = 200, body = Records),
        (status = 400, body = Problem),
        (status = 401, body = Problem)
    )
)]
async fn search(
    _: Reader,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Records>> {
    let query = wanted.read()?;
    let live = app.live.clone();
    let page = blocking(move || live.search(&query)).await?;
    let next = page.next.as_ref().map(paging::cursor).transpose()?;
    Ok(Json(Records { records: page.records, next }))
}

/// A record with those before and after it in its file, oldest first.
#[utoipa::path(
    get,
    path = "/api/diagnostics/logs/{id}/around",
    params(("id" = String, Path, description = "The id of a record"), Around),
    responses((status = 200, body = Records), (status = 404, body = Problem))
)]
async fn read_around(
    _: Reader,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(around): Query<Around>,
) -> Result<Json<Records>> {
    let each_side = usize::try_from(paging::limit(around.n, 10)).unwrap_or(10);
    let live = app.live.clone();
    let records = blocking(move || live.around(&id, each_side)).await?;
    Ok(Json(Records { records, next: None }))
}

/// What was said lately, grouped: varying parts masked, most frequent first.
#[utoipa::path(
    get,
    path = "/api/diagnostics/logs/templates",
    params(OfSources),
    responses((status = 200, body = Templates), (status = 400, body = Problem))
)]
async fn read_templates(
    _: Reader,
    State(app): State<App>,
    Query(of): Query<OfSources>,
) -> Result<Json<Templates>> {
    let selection =
        logs::Selection { sources: names(of.source.as_deref()), since: of.since, until: None };
    let live = app.live.clone();
    let templates = blocking(move || live.templates(&selection, TEMPLATES)).await?;
    Ok(Json(Templates { templates }))
}

/// Records as they come: events `record`, and `dropped` with the number of records
/// that were missed because the stream was read too slowly. Each event's id may come back as
/// `Last-Event-ID`: what was said meanwhile comes first.
#[utoipa::path(
    get,
    path = "/api/diagnostics/logs/stream",
    params(Wanted),
    responses(
        (status = 200, description = "records as they come", body = Entry, content_type = "text/event-stream"),
        (status = 400, body = Problem)
    )
)]
async fn follow(
    _: Reader,
    State(app): State<App>,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Sse<impl Stream<Item = Infallibly<Event>> + use<>>> {
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let mark = after.map_or_else(|| Ok(app.live.mark()), str::parse)?;
    let follower = Follower::new(&app.live, wanted.read()?, mark, MOST_AT_ONCE)?;
    let shutdown = app.shutdown.clone();
    let steps = stream::unfold(follower, move |mut follower| {
        let shutdown = shutdown.clone();
        async move {
            let found = shutdown.run_until_cancelled(follower.next()).await?;
            match found {
                Ok(found) => Some((stream::iter(events(&found)), follower)),
                Err(error) => {
                    tracing::warn!(%error, "the logs can no longer be followed");
                    None
                }
            }
        }
    });
    Ok(Sse::new(steps.flatten()).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

type Infallibly<T> = std::result::Result<T, Infallible>;

fn events(found: &logs::Followed) -> Vec<Infallibly<Event>> {
    let mut events = Vec::with_capacity(found.records.len() + 1);
    if found.skipped > 0 {
        let count = serde_json::json!({ "count": found.skipped });
        events.push(Event::default().event("dropped").json_data(count));
    }
    events.extend(
        found.records.iter().map(|entry| Event::default().event("record").json_data(entry)),
    );
    // Who has the last one of a step has them all.
    if let Some(Ok(last)) = events.pop() {
        events.push(Ok(last.id(found.mark.to_string())));
    }
    events.into_iter().filter_map(std::result::Result::ok).map(Ok).collect()
}
