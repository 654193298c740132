//! One group: how it stands, its newest event in full, and all that became of it.

use std::fmt::Write;

use askama::Template;
use axum::{
    Extension,
    extract::{RawForm, State},
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::Deserialize;
use url::form_urlencoded;

use super::{
    Page, Shell, Told,
    badge::{self, Badge},
    chart::Bars,
    filters, html,
    request::{self, Line},
    see_other,
    ticket::Ticketed,
    timeline::{self, Item},
    traceback::{self, Raised},
};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    error::{Error, Result},
    errors::{
        find::Tags,
        grouping::{merge, split::By},
        shown::{self, Event, GroupWithEvents},
        store::{
            events,
            groups::{self, Status},
            report, series,
        },
    },
    http::{Operator, Path, Query, Reader, Result as Answer},
    integrations::ticketing::Tickets,
    repair::store::attempts,
};

/// Steps before the error that are shown, the last ones.
const BREADCRUMBS: usize = 30;
/// Days of the longer trend.
const DAYS: i64 = 14;
/// Tags that are shown.
const TAGS: usize = 12;
/// Values of each.
const VALUES: usize = 5;
/// Longest raw stack that is shown, in characters: its end says most.
const STACK: usize = 20_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    event: Option<i64>,
    span: Option<String>,
}

/// Events over time.
struct Trend {
    /// "24h" or "14d".
    span: &'static str,
    svg: askama::filters::Safe<String>,
    /// Beginning and number of each bar.
    points: Vec<(DateTime<Utc>, i64)>,
    total: i64,
    peak: i64,
}

/// A step before the error.
struct Step {
    at: String,
    category: String,
    level: String,
    text: String,
}

/// One event, in full.
struct Shown {
    id: i64,
    at: DateTime<Utc>,
    message: String,
    user: Option<String>,
    release: Option<String>,
    environment: Option<String>,
    request_id: Option<String>,
    origin: &'static str,
    event_id: Option<String>,
    tags: Vec<(String, String)>,
    chain: Vec<Raised>,
    own: usize,
    all: usize,
    /// The traceback as text.
    text: String,
    /// Of where there are no frames.
    stack: Option<String>,
    request: Vec<(String, String)>,
    sections: Vec<(&'static str, Vec<(String, String)>)>,
    steps: Vec<Step>,
    left_out: Vec<String>,
    lines: Vec<Line>,
    older: Option<i64>,
    newer: Option<i64>,
}

#[derive(Template)]
#[template(path = "errors/show.html")]
struct Show {
    shell: Shell,
    shown: GroupWithEvents,
    badge: Badge,
    message: String,
    place: String,
    severity: (&'static str, &'static str, &'static str),
    trend: Trend,
    event: Option<Shown>,
    /// The shown event's id.
    current: i64,
    timeline: Vec<Item>,
    tags: Tags,
    spread: Vec<Spread>,
    ticketed: Ticketed,
    ask: String,
    markdown: String,
}

impl Show {
    fn is_open(&self) -> bool {
        matches!(self.shown.group.group.status, Status::Unresolved | Status::Regressed)
    }

    fn is_muted(&self) -> bool {
        self.shown.group.group.status == Status::Ignored
    }

    fn release(&self) -> Option<&str> {
        let group = &self.shown.group;
        group.group.last_release.as_deref().or(group.release.as_deref())
    }

    /// Whether the name is that of a field, and no tag's.
    #[expect(clippy::unused_self, reason = "templates call it so")]
    fn is_field(&self, name: &str) -> bool {
        matches!(name, "release" | "environment" | "method" | "endpoint" | "severity")
    }
}

/// How the newest events spread over the values of a tag.
struct Spread {
    name: String,
    /// Values with their share in percent.
    values: Vec<(String, i64)>,
    /// Values that are not shown.
    rest: usize,
}

fn spread(tags: &Tags) -> Vec<Spread> {
    let all = i64::try_from(tags.sampled).unwrap_or(1).max(1);
    let spread = tags.tags.iter().take(TAGS).map(|tag| {
        let values = tag.values.iter().take(VALUES);
        let values: Vec<_> =
            values.map(|it| (it.value.clone(), (it.count * 100 + all / 2) / all)).collect();
        Spread { name: tag.name.clone(), rest: tag.distinct - values.len(), values }
    });
    spread.collect()
}

pub(super) async fn page(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(tickets): Extension<Tickets>,
    Path(id): Path<i64>,
    Query(asked): Query<Asked>,
) -> Answer<Response> {
    let (organization, now) = (page.caller.organization, page.shell.now);
    let shown = shown::group(&app, organization, id).await?;
    if let Some(into) = shown.merged_into {
        return Ok(Redirect::to(&format!("/errors/{into}")).into_response());
    }
    let group = &shown.group.group;
    let wanted = asked.event.or_else(|| shown.events.first().map(|event| event.id));
    let event = match wanted {
        Some(wanted) => shown::event(&app, organization, wanted).await?,
        None => None,
    };
    let event = event.filter(|event| event.error.event.group_id == group.id);
    if asked.event.is_some() && event.is_none() {
        return Err(Error::NotFound("event").into());
    }
    let event = match event {
        Some(event) => Some(in_full(&app, event).await?),
        None => None,
    };
    let under_way = attempts::under_way(&app.db, organization, &[group.id]).await;
    let under_way = under_way.map_err(Error::from)?;
    let badge = Badge::of(group, under_way.last(), now);
    let trend = trend(&app, organization, &shown, asked.span.as_deref(), now).await?;
    let timeline = timeline::of(&app, organization, &shown, now).await?;
    let tags = shown::tags(&app, group.id).await?;
    // The group's own text is masked where events differ; an event says it in full.
    let message = event.as_ref().map(|event| event.message.clone());
    let message = message.unwrap_or_else(|| badge::message(group).to_owned());
    let place = badge::place(group);
    let ticketed = Ticketed::of(&tickets, organization, group.id).await?;
    let ask = ask(group.id, &group.error_type, &place);
    let markdown = markdown(&shown, &badge, event.as_ref());
    let show = Show {
        severity: badge::severity(group.severity),
        shell: page.shell,
        shown,
        badge,
        message,
        place,
        trend,
        current: event.as_ref().map_or(0, |event| event.id),
        event,
        timeline,
        spread: spread(&tags),
        ticketed,
        tags,
        ask,
        markdown,
    };
    html(&show)
}

/// The page of an event's group, with that event.
pub(super) async fn event(
    page: Page<Reader>,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Answer<Response> {
    let organization = page.caller.organization;
    let id = match uuid::Uuid::parse_str(&id) {
        Ok(uuid) => {
            let event_id = uuid.simple().to_string();
            report::by_event_id(&app.db, organization, &event_id).await.map_err(Error::from)?
        }
        Err(_) => id.parse().ok(),
    };
    let id = id.ok_or(Error::NotFound("event"))?;
    let found = events::find(&app.db, organization, id).await.map_err(Error::from)?;
    let group = found.ok_or(Error::NotFound("event"))?.event.group_id;
    Ok(Redirect::to(&format!("/errors/{group}?event={id}")).into_response())
}

/// Splits a group (`by`), or takes merged ones apart (`apart`).
pub(super) async fn split(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    RawForm(body): RawForm,
) -> Answer<Response> {
    let organization = page.caller.organization;
    let group = groups::find(&app.db, organization, id).await.map_err(Error::from)?;
    let id = group.ok_or(Error::NotFound("error"))?.id;
    let (mut by, mut apart) = (None, Vec::new());
    for (name, value) in form_urlencoded::parse(&body) {
        match &*name {
            "by" => by = Some(value.into_owned()),
            "apart" => apart.extend(value.parse::<i64>().ok()),
            _ => {}
        }
    }
    let whom = (&page.caller).into();
    let done = match by.as_deref() {
        None if apart.is_empty() || apart.len() > merge::MOST => {
            let detail = format!("choose 1 to {} errors to take apart", merge::MOST);
            return Err(Error::Invalid(detail).into());
        }
        None => {
            let apart = merge::undo_now(&app, organization, id, &apart, whom).await;
            apart.map(|(apart, _)| super::count(apart.len(), "error", "errors") + " taken apart")
        }
        Some("none") => {
            let now = clock::now();
            merge::split(&app.db, organization, id, None, whom, now)
                .await
                .map(|()| "New events count for this error again; its parts stay".to_owned())
        }
        Some(text) => {
            let by = By::parse(text).ok_or_else(|| {
                Error::invalid(
                    "by is one of message, endpoint, release, environment, tag:NAME and none",
                )
            })?;
            merge::split_now(&app, organization, id, &by, whom)
                .await
                .map(|_| format!("Split by {text}: its events now count for their parts"))
        }
    };
    let told = match done {
        Ok(text) => Told::done(text),
        Err(Error::Conflict(why)) => Told::bad(why),
        Err(error) => return Err(error.into()),
    };
    Ok(see_other(&format!("/errors/{id}"), &told))
}

fn ask(id: i64, kind: &str, place: &str) -> String {
    let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
    let text = format!("What is behind error {id} ({kind}{at}), and what should I do?");
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("ask", &text).finish();
    format!("/chat?{query}")
}

async fn in_full(app: &App, event: Event) -> Result<Shown> {
    let lines = request::of(app, &event).await?;
    let (id, at) = (event.error.event.id, event.error.event.created_at);
    let (older, newer) = events::beside(&app.db, event.error.event.group_id, at, id).await?;
    let chain = traceback::of(&event);
    let (own, all) = traceback::counts(&chain);
    let text = traceback::as_text(&event, &chain);
    let stack = event.error.error_stack.as_deref().filter(|_| chain.is_empty()).map(|stack| {
        let long = stack.chars().count().saturating_sub(STACK);
        stack.chars().skip(long).collect()
    });
    let mut request = Vec::new();
    let (mut sections, mut steps, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(detail) = &event.detail {
        if let Some(told) = &detail.request {
            for (name, value) in [("Method", &told.method), ("URL", &told.url)] {
                request.extend(value.as_deref().map(|value| (name.to_owned(), value.to_owned())));
            }
            for (name, tree) in
                [("Query", &told.query_string), ("Body", &told.data), ("Cookies", &told.cookies)]
            {
                if !tree.is_empty() {
                    request.push((name.to_owned(), traceback::said(tree)));
                }
            }
            request.extend(traceback::pairs(&told.headers));
        }
        sections = traceback::told(detail);
        let skipped = detail.breadcrumbs.len().saturating_sub(BREADCRUMBS);
        steps = detail.breadcrumbs.iter().skip(skipped).map(step).collect();
        left_out = detail.left_out.iter().map(ToString::to_string).collect();
    }
    let (listed, report) = (event.error.event, event.report);
    if request.is_empty()
        && let Some(path) = &listed.endpoint
    {
        request.push((listed.method.clone().unwrap_or_else(|| "Path".to_owned()), path.clone()));
    }
    Ok(Shown {
        id,
        at,
        message: listed.error_message,
        user: listed.user_id,
        release: report.release,
        environment: report.environment,
        request_id: report.request_id,
        origin: report.origin.as_str(),
        event_id: report.event_id,
        tags: report.tags.into_iter().collect(),
        chain,
        own,
        all,
        text,
        stack,
        request,
        sections,
        steps,
        left_out,
        lines,
        older,
        newer,
    })
}

fn step(crumb: &crate::errors::detail::Breadcrumb<'_>) -> Step {
    let text = crumb.message.as_deref().unwrap_or_default().to_owned();
    let data = traceback::said(&crumb.data);
    let text = match (text.is_empty(), crumb.data.is_empty()) {
        (false, true) => text,
        (true, false) => data,
        (false, false) => format!("{text} {data}"),
        (true, true) => String::new(),
    };
    let at = crumb.timestamp.as_deref().unwrap_or_default();
    // RFC 3339 or seconds; the time of the day says enough.
    let at = DateTime::parse_from_rfc3339(at).map(|at| at.to_utc()).ok().or_else(|| {
        let seconds = at.split('.').next()?.parse().ok()?;
        DateTime::from_timestamp(seconds, 0)
    });
    Step {
        at: at.map_or_else(String::new, |at| at.format("%H:%M:%S").to_string()),
        category: crumb.category.as_deref().or(crumb.kind.as_deref()).unwrap_or("").to_owned(),
        level: crumb.level.as_deref().unwrap_or_default().to_owned(),
        text: text.chars().take(300).collect(),
    }
}

async fn trend(
    app: &App,
    organization: OrganizationId,
    shown: &GroupWithEvents,
    span: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Trend> {
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let (span, points): (_, Vec<(DateTime<Utc>, i64)>) = match span {
        None | Some("24h") => {
            let buckets = &shown.group.buckets;
            let first = hour - TimeDelta::hours(i64::try_from(buckets.len()).unwrap_or(1) - 1);
            let hours = (0_i64..).map(|n| first + TimeDelta::hours(n));
            ("24h", hours.zip(buckets.iter().copied()).collect())
        }
        Some("14d") => {
            let today = now.duration_trunc(TimeDelta::days(1)).unwrap_or(now);
            let first = today - TimeDelta::days(DAYS - 1);
            let id = Some(shown.group.group.id);
            let end = hour + TimeDelta::hours(1);
            let counts = series::by_hour_of(&app.db, organization, None, id, first, end).await?;
            let mut days: Vec<_> = (0..DAYS).map(|n| (first + TimeDelta::days(n), 0_i64)).collect();
            for (at, count) in counts {
                let day = usize::try_from((at - first).num_days()).unwrap_or(usize::MAX);
                if let Some(day) = days.get_mut(day) {
                    day.1 += count;
                }
            }
            ("14d", days)
        }
        Some(_) => return Err(Error::invalid("span is 24h or 14d")),
    };
    let values: Vec<i64> = points.iter().map(|(_, count)| *count).collect();
    let total = values.iter().sum();
    let peak = values.iter().copied().max().unwrap_or(0);
    let words = if span == "24h" { "24 hours" } else { "14 days" };
    let events = if total == 1 { "event" } else { "events" };
    let label = format!("{total} {events} in the last {words}, at most {peak} in one bar");
    let group = &shown.group.group;
    let open = matches!(group.status, Status::Unresolved | Status::Regressed);
    let tone = if open { "hot" } else { "" };
    let bars = Bars { values: &values, label: &label, width: 640, height: 64, wide: true, tone };
    Ok(Trend { span, svg: bars.svg(), points, total, peak })
}

/// What is handed on: to a ticket, a chat, a colleague.
fn markdown(shown: &GroupWithEvents, badge: &Badge, event: Option<&Shown>) -> String {
    let group = &shown.group.group;
    let mut text = String::new();
    let mut line = |parts: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{parts}");
    };
    // Titles are texts of others: on one line they cannot be mark-up of ours.
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    line(format_args!("# Error {}: {}", group.id, flat(&group.title)));
    line(format_args!(""));
    line(format_args!("- State: {}", badge.text));
    let place = badge::place(group);
    if !place.is_empty() {
        line(format_args!("- Where: {}", flat(&place)));
    }
    line(format_args!("- Events: {}, users: {}", group.count, group.users));
    line(format_args!("- First seen: {}", group.first_seen.format("%Y-%m-%d %H:%M:%S UTC")));
    line(format_args!("- Last seen: {}", group.last_seen.format("%Y-%m-%d %H:%M:%S UTC")));
    if let Some(release) = &group.last_release {
        line(format_args!("- Release: {}", flat(release)));
    }
    if let Some(event) = event {
        line(format_args!("- Event: {} at {}", event.id, event.at.format("%Y-%m-%d %H:%M:%S UTC")));
        if let Some(id) = &event.request_id {
            line(format_args!("- Request: {}", flat(id)));
        }
        if !event.text.is_empty() {
            // As many as no line of the text has.
            let fence = "`"
                .repeat(event.text.split(|c| c != '`').map(str::len).max().unwrap_or(0).max(2) + 1);
            line(format_args!(""));
            line(format_args!("{fence}\n{}\n{fence}", event.text.trim_end()));
        }
    }
    text
}
