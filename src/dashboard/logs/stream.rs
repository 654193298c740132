//! What is being said, as rows: a step at a time, so that a page has little to do for much.

use std::{convert::Infallible, time::Duration};

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::Serialize;
use url::form_urlencoded;

use super::{
    look::Chunk,
    row::Row,
    view::{View, exact},
};
use crate::{
    app::App,
    clock,
    dashboard::Page,
    error::{Error, Result},
    http::Reader,
    logs::{Followed, Follower, Pattern},
};

/// Rows of a tenth of a second: nobody reads more, and a browser draws these with ease.
const MOST: usize = 100;

/// After this time a browser asks again, and who may no longer look learns it.
const LASTS: Duration = Duration::from_mins(2);

/// A step, as the page gets it.
#[derive(Serialize)]
struct Step {
    /// The rows, in HTML.
    html: String,
    count: usize,
    /// When the first of them was written.
    at: Option<String>,
    /// Lines that were left out before these, and when the first of them was written.
    skipped: u64,
    from: Option<String>,
}

pub(super) async fn follow(
    _: Page<Reader>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> crate::http::Result<Response> {
    let query = query.unwrap_or_default();
    let wanted = View::read(&query)?.wanted();
    let mark = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "mark");
    let mark = mark.map_or_else(|| Ok(app.live.mark()), |(_, mark)| mark.parse())?;
    let follower = Follower::new(&app.live, wanted.query, mark, MOST)?;
    let ends = clock::instant() + LASTS;
    let steps = stream::unfold((follower, wanted.find), move |(mut follower, find)| {
        let shutdown = app.shutdown.clone();
        async move {
            let left = ends.saturating_duration_since(clock::instant());
            let found = shutdown.run_until_cancelled(follower.next());
            // Nothing for long is the end of this stream, not of following.
            let found = tokio::time::timeout(left, found).await.ok()??;
            match found.and_then(|found| step(&found, find.as_ref())) {
                Ok(event) => Some((Ok::<_, Infallible>(event), (follower, find))),
                Err(error) => {
                    tracing::warn!(%error, "the logs can no longer be followed");
                    None
                }
            }
        }
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(5));
    Ok(Sse::new(steps).keep_alive(alive).into_response())
}

fn step(found: &Followed, find: Option<&Pattern>) -> Result<Event> {
    let rows = found.records.iter().map(|entry| Row::new(entry, find, false)).collect();
    let chunk = Chunk { rows, ..Chunk::default() };
    let step = Step {
        html: chunk.render().map_err(|error| Error::Internal(error.into()))?,
        count: found.records.len(),
        at: found.records.first().map(|entry| exact(entry.at)),
        skipped: found.skipped,
        from: found.skipped_from.map(|at: DateTime<Utc>| exact(at)),
    };
    let event = Event::default().event("lines").id(found.mark.to_string()).json_data(step);
    event.map_err(|error| Error::Internal(error.into()))
}
