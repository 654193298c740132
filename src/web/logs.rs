//! The live logs over HTTP: their sources, search, the lines around one, what is said
//! how often, and the stream of what is being said.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::Error,
    http::{Json, Path, Problem, Query, Reader, Result, paging},
    logs::{self, Entry, Pattern, Severity, SourceStatus, Template},
};

/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

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
            limit: usize::try_from(limit).unwrap_or(1),
            after: self.cursor.map(|cursor| paging::position(&cursor)).transpose()?,
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
/// that were missed because the stream was read too slowly.
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
    Query(wanted): Query<Wanted>,
) -> Result<Sse<impl Stream<Item = Infallibly<Event>> + use<>>> {
    let query = wanted.read()?;
    app.live.check(&query)?;
    let records = app.live.subscribe();
    let shutdown = app.shutdown.clone();
    let events = stream::unfold((records, query), move |(mut records, query)| {
        let shutdown = shutdown.clone();
        async move {
            let event = shutdown.run_until_cancelled(next(&mut records, &query)).await??;
            Some((Ok(event), (records, query)))
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

type Infallibly<T> = std::result::Result<T, Infallible>;

/// The next event that is wanted; `None` at the end.
async fn next(records: &mut Receiver<std::sync::Arc<Entry>>, query: &logs::Query) -> Option<Event> {
    loop {
        let event = match records.recv().await {
            Ok(entry) if query.wants(&entry) => {
                Event::default().event("record").id(&entry.id).json_data(&*entry)
            }
            Ok(_) => continue,
            Err(RecvError::Lagged(count)) => {
                Event::default().event("dropped").json_data(serde_json::json!({ "count": count }))
            }
            Err(RecvError::Closed) => return None,
        };
        match event {
            Ok(event) => return Some(event),
            Err(error) => tracing::debug!(%error, "a record could not be sent"),
        }
    }
}
