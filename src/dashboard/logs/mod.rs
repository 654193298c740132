//! The logs: what was said lately, and what is being said.

mod gone;
mod look;
mod row;
mod stream;
mod view;
mod volume;

use askama::{Template, filters::Safe};
use axum::{
    Router,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, Utc};
use http::{HeaderValue, header};

use self::{
    gone::Gone,
    look::{Chunk, Seen},
    view::{View, exact},
    volume::{MINUTES, Volume},
};
use super::{Page, Shell, filters, html};
use crate::{
    app::App,
    clock,
    error::Error,
    http::{Reader, Result},
    logs::{SourceState, SourceStatus},
};

/// Records and bytes of one download.
const MOST_TAKEN: usize = 50_000;
const MOST_BYTES: usize = 16 << 20;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/logs", get(show))
        .route("/logs/rows", get(more))
        .route("/logs/stream", get(stream::follow))
        .route("/logs/volume", get(read_volume))
        .route("/logs/download", get(download))
}

/// Looking through the window takes the processor, not the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> crate::error::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Error::Internal(error.into()))??)
}

#[derive(Template)]
#[template(path = "logs/logs.html")]
struct Logs {
    shell: Shell,
    /// As it is shown: around a record nothing is left out.
    view: View,
    find_error: Option<String>,
    exclude_error: Option<String>,
    sources: Vec<SourceStatus>,
    chunk: Chunk,
    rows: Safe<String>,
    volume: Safe<String>,
    /// Where following begins.
    mark: String,
    /// When the oldest line of the window was written.
    oldest: Option<DateTime<Utc>>,
    /// What a link led to is no longer there.
    gone: Option<Gone>,
    /// When the line at which we are was written.
    place: Option<DateTime<Utc>>,
}

impl Logs {
    fn is_chosen(&self, source: &SourceStatus) -> bool {
        self.view.sources.contains(&source.name)
    }

    fn chosen(&self) -> impl Iterator<Item = &SourceStatus> {
        let all = self.view.sources.is_empty();
        self.sources.iter().filter(move |source| all || self.is_chosen(source))
    }

    /// The words on the menu of sources.
    fn sources_label(&self) -> String {
        match self.view.sources.as_slice() {
            [] => format!("Sources {}", self.sources.len()),
            [only] => row::visible(only),
            some => format!("Sources {} of {}", some.len(), self.sources.len()),
        }
    }

    /// When something was last said in the chosen sources.
    fn last(&self) -> Option<DateTime<Utc>> {
        self.chosen().filter_map(|source| source.last_line_at).max()
    }

    /// They have been silent for longer than one expects of a living system.
    fn is_silent(&self) -> bool {
        self.last().is_some_and(|at| self.shell.now - at > chrono::TimeDelta::minutes(10))
    }

    fn is_level(&self, name: &str) -> bool {
        self.view.level.map_or("all", |level| level.as_str()) == name
    }

    /// The level that is chosen, as it is read out.
    fn level_name(&self) -> Option<&'static str> {
        self.view.level.map(row::name_of)
    }

    /// The same view, following.
    fn follow_url(&self) -> String {
        self.view.live().url()
    }

    fn download_url(&self) -> String {
        self.view.live().url().replacen("/logs", "/logs/download", 1)
    }

    fn without_filters(&self) -> String {
        View { find: self.view.find.clone(), regex: self.view.regex, ..View::default() }.url()
    }

    fn without_sources(&self) -> String {
        View { sources: Vec::new(), ..self.view.live() }.url()
    }

    fn without_exclude(&self) -> String {
        View { exclude: String::new(), ..self.view.clone() }.url()
    }

    fn without_since(&self) -> String {
        View { since: None, ..self.view.clone() }.url()
    }

    fn without_level(&self) -> String {
        View { level: None, ..self.view.clone() }.url()
    }

    /// Around nothing in particular, or around what the chunk shows.
    fn older_url(&self) -> Option<String> {
        let before = self.chunk.older.clone()?;
        Some(View { before: Some(before), ..self.view.live() }.url())
    }

    fn newer_url(&self) -> Option<String> {
        let after = self.chunk.newer.clone()?;
        Some(View { after: Some(after), ..self.view.live() }.url())
    }

    fn all_missing(&self) -> bool {
        self.sources.iter().all(|source| source.state != SourceState::Ok)
    }
}

fn volume_url(view: &View) -> String {
    let query = View { record: None, before: None, after: None, ..view.clone() }.query();
    format!("/logs/volume?{query}")
}

/// How a source is, in one word.
fn state_name(source: &SourceStatus) -> &'static str {
    match source.state {
        SourceState::Ok => "read",
        SourceState::Missing => "not there",
        SourceState::Denied => "may not be read",
        SourceState::Stopped => "not read yet",
    }
}

async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let asked = View::read(&query.unwrap_or_default())?;
    let now = page.shell.now;
    let live = app.live.clone();
    let (seen, minutes) = blocking(move || {
        let seen = look::look(&live, asked)?;
        let from = Volume::from(seen.place, now);
        let minutes = live.volume(&seen.wanted.query, from, MINUTES)?;
        Ok((seen, minutes))
    })
    .await?;
    let Seen { view, wanted, mark, chunk, place, oldest, gone, .. } = seen;
    let gone = gone.then(|| Gone::new(&app.config.sources, &view, page.shell.host.clone()));
    html(&Logs {
        rows: Safe(chunk.render().map_err(|error| Error::Internal(error.into()))?),
        volume: Safe(
            Drawn { volume: Volume::new(&view, minutes), url: volume_url(&view), now }
                .render()
                .map_err(|error| Error::Internal(error.into()))?,
        ),
        shell: page.shell,
        find_error: wanted.find_error,
        exclude_error: wanted.exclude_error,
        sources: app.live.status(),
        chunk,
        mark: mark.to_string(),
        oldest,
        gone,
        place,
        view,
    })
}

/// The rows before or after those that are shown.
async fn more(
    _: Page<Reader>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let asked = View::read(&query.unwrap_or_default())?;
    let live = app.live.clone();
    let seen = blocking(move || look::look(&live, asked)).await?;
    html(&seen.chunk)
}

#[derive(Template)]
#[template(path = "logs/volume.html")]
struct Drawn {
    volume: Volume,
    url: String,
    now: DateTime<Utc>,
}

impl Drawn {
    /// Lines of the last whole minute.
    fn rate(&self) -> i64 {
        let past = chrono::TimeDelta::minutes(1);
        let whole = |minute: &&crate::logs::Minute| minute.from + past <= self.now;
        self.volume.minutes.iter().rev().find(whole).map_or(0, |minute| minute.records)
    }
}

async fn read_volume(
    page: Page<Reader>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let view = View::read(&query.unwrap_or_default())?;
    let now = page.shell.now;
    let (live, wanted) = (app.live.clone(), view.wanted().query);
    let from = Volume::from(view.at, now);
    let minutes = blocking(move || live.volume(&wanted, from, MINUTES)).await?;
    html(&Drawn { url: volume_url(&view), volume: Volume::new(&view, minutes), now })
}

/// What the view leaves of the window, as text.
async fn download(
    _: Page<Reader>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let query = View::read(&query.unwrap_or_default())?.wanted().query;
    let live = app.live.clone();
    let text = blocking(move || {
        let page = live.gather(&query, MOST_TAKEN)?;
        let mut lines = Vec::new();
        let mut bytes = 0;
        for entry in &page.records {
            let line = format!(
                "{} {:8} {} {}\n",
                exact(entry.at),
                entry.severity,
                row::visible(&entry.source),
                row::visible(&entry.text)
            );
            bytes += line.len();
            if bytes > MOST_BYTES {
                break;
            }
            lines.push(line);
        }
        if lines.len() < page.records.len() || page.next.is_some() {
            lines.push("(there are older lines: choose less, to have them all)\n".to_owned());
        }
        Ok(lines.into_iter().rev().collect::<String>())
    })
    .await?;
    let name =
        format!("attachment; filename=\"logs-{}.txt\"", clock::now().format("%Y%m%dT%H%M%SZ"));
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
