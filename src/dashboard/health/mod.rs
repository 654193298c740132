//! Whether Lux and what it watches are well: its parts, probes, endpoints under watch, log
//! sources, and what runs by schedule.

mod form;
mod part;
mod probes;

use std::time::Duration;

use askama::Template;
use axum::{
    Extension, Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use chrono::{DateTime, TimeDelta, Utc};

use self::{form::Form, part::Shown, probes::Row};
use super::{Page, Shell, filters, html};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    error::Error,
    health::{Health, Wellness},
    http::{Reader, Result},
    jobs::LastRun,
    logs::{self, SourceState, SourceStatus},
    probe::Probes,
    repair::store::watches::{self, Endpoint},
};

/// How long the database may take for a part of the page; the others are shown without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Endpoints under watch that are shown.
const MOST_ENDPOINTS: i64 = 50;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/health", get(show))
        .route("/health/now", get(show_now))
        .route("/health/probes", post(probes::make))
        .route("/health/probes/{id}", get(probes::results))
        .route("/health/probes/{id}/run", post(probes::run))
        .route("/health/probes/{id}/delete", post(probes::delete))
}

#[derive(Template)]
#[template(path = "health/health.html", blocks = ["now"])]
struct Whole {
    shell: Shell,
    status: Wellness,
    started_at: DateTime<Utc>,
    parts: Vec<Shown>,
    /// `None`: the database does not answer.
    probes: Option<Vec<Row>>,
    endpoints: Option<Vec<Endpoint>>,
    schedules: Vec<Schedule>,
    sources: Vec<Source>,
    form: Form,
    /// Applications that an http probe can ask.
    apps: Vec<String>,
}

/// What runs by itself.
struct Schedule {
    name: String,
    /// "Auto-repair", "Clearing of resolved errors".
    about: &'static str,
    next: DateTime<Utc>,
    last: Option<LastRun>,
}

/// A log source with how much it says.
struct Source {
    status: SourceStatus,
    /// Lines of the last 60 seconds.
    rate: i64,
    /// Its lines.
    link: String,
}

impl Source {
    fn state(&self) -> &'static str {
        match self.status.state {
            SourceState::Ok => "Read",
            SourceState::Missing => "Not there",
            SourceState::Denied => "May not be read",
            SourceState::Stopped => "Not read yet",
        }
    }

    /// Bytes that wait, in words.
    fn lag(&self) -> String {
        match self.status.lag {
            0 => "none".to_owned(),
            bytes @ 1..10_240 => format!("{bytes} B"),
            bytes @ 10_240..10_485_760 => format!("{} KiB", bytes >> 10),
            bytes => format!("{} MiB", bytes >> 20),
        }
    }
}

impl Whole {
    /// One sentence above everything.
    fn headline(&self) -> &'static str {
        match self.status {
            Wellness::Ok => "Lux can do its work",
            Wellness::Unknown => "It is not known yet whether Lux can do its work",
            Wellness::Degraded => "Lux works with less than it should have",
            Wellness::Down => "Lux cannot do its work",
        }
    }
}

async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(health): Extension<Health>,
    Extension(probes): Extension<Probes>,
) -> Result<Response> {
    html(&look(page.shell, page.caller.organization, &app, &health, &probes, Form::default()).await)
}

async fn show_now(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(health): Extension<Health>,
    Extension(probes): Extension<Probes>,
) -> Result<Response> {
    let form = Form::default();
    let page = look(page.shell, page.caller.organization, &app, &health, &probes, form).await;
    html(&page.as_now())
}

/// Waits for the database, but not for ever: what it does not answer is not shown.
async fn patiently<T>(asked: impl Future<Output = crate::error::Result<T>>) -> Option<T> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a part of the health page is not known");
            None
        }
        Err(_) => None,
    }
}

async fn look(
    shell: Shell,
    organization: OrganizationId,
    app: &App,
    health: &Health,
    probes: &Probes,
    form: Form,
) -> Whole {
    let endpoints = async { Ok(watches::endpoints(&app.db, organization, MOST_ENDPOINTS).await?) };
    let (snapshot, probes, endpoints, schedules) = tokio::join!(
        health.snapshot(),
        patiently(probes::look(probes, organization)),
        patiently(endpoints),
        schedules(app),
    );
    let sources = sources(app).await;
    Whole {
        shell,
        status: snapshot.status,
        started_at: snapshot.started_at,
        parts: part::shown(snapshot.parts),
        probes,
        endpoints,
        schedules,
        sources,
        form,
        apps: app.apps.monitored().iter().map(|app| app.name.clone()).collect(),
    }
}

async fn schedules(app: &App) -> Vec<Schedule> {
    let mut all = Vec::new();
    for (name, next) in app.jobs.next_runs() {
        let last = patiently(app.jobs.last_run(&name)).await.flatten();
        let about = match name.as_str() {
            "repair" => "Auto-repair of open errors",
            "clear" => "Clearing of what was resolved long ago",
            "forget" => "Forgetting what is too old to keep",
            _ => "",
        };
        all.push(Schedule { name, about, next, last });
    }
    all
}

/// The log sources, and how much each said in the last minute.
async fn sources(app: &App) -> Vec<Source> {
    let live = app.live.clone();
    let look = move || {
        let from = clock::now() - TimeDelta::minutes(1);
        let rate = |name: &str| {
            let query = logs::Query { sources: vec![name.to_owned()], ..logs::Query::default() };
            let minutes = live.volume(&query, from, 1).unwrap_or_default();
            minutes.iter().map(|minute| minute.records).sum()
        };
        let link = |name: &str| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            format!("/logs?{}", query.append_pair("source", name).finish())
        };
        let source = |status: SourceStatus| Source {
            rate: rate(&status.name),
            link: link(&status.name),
            status,
        };
        live.status().into_iter().map(source).collect()
    };
    // Counting takes the processor.
    tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| {
        tracing::warn!(error = %Error::Internal(error.into()), "the log sources are not known");
        Vec::new()
    })
}
