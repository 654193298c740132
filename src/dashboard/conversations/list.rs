//! All conversations, with the numbers of the last days above them.

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{Bars, Page, Shell, filters, html, standing};
use crate::{
    app::App,
    auth::OrganizationId,
    customers::conversation::{self, Conversation, Filter, Status},
    http::{Operator, Query, Result},
    statistics::{self, Statistics},
};

/// Days that the numbers are of.
const DAYS: u32 = 30;

/// The tabs: a state, and what it is called.
const TABS: [(&str, Option<Status>); 5] = [
    ("All", None),
    ("Waiting", Some(Status::Waiting)),
    ("With the team", Some(Status::Person)),
    ("With the assistant", Some(Status::Open)),
    ("Closed", Some(Status::Closed)),
];

#[derive(Debug, Default, Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    status: String,
    cursor: Option<String>,
}

/// One number with its bars.
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// `None`: it could not be counted.
    pub(super) value: Option<String>,
    pub(super) note: String,
    pub(super) bars: String,
}

/// The numbers of the last days; what could not be counted says so.
pub(super) async fn figures(
    app: &App,
    organization: OrganizationId,
    shell: &Shell,
) -> Result<Vec<Figure>> {
    let zone = app.config.schedule.timezone;
    let found = statistics::count(&app.db, organization, DAYS, zone, shell.now).await?;
    let counted = |part: &Option<statistics::Counted>| {
        part.as_ref().map(|part| (part.total, part.by_day.clone()))
    };
    let calls = found.calls.as_ref().map(|it| (it.total, it.by_day.clone()));
    let repairs = found.repairs.as_ref().map(|it| (it.total, it.by_day.clone()));
    let minutes =
        found.calls.as_ref().map(|it| format!("{} on the telephone", long(it.total_seconds)));
    let resolved = found.repairs.as_ref().map(|it| format!("{} errors resolved", it.resolved));
    Ok(vec![
        figure("Conversations", counted(&found.conversations), None, "conversations", &found),
        figure("Calls", calls, minutes, "calls", &found),
        figure("New contacts", counted(&found.contacts), None, "contacts", &found),
        figure("Errors", counted(&found.errors), None, "errors", &found),
        figure("Repairs", repairs, resolved, "repairs", &found),
    ])
}

fn figure(
    name: &'static str,
    part: Option<(i64, Vec<i64>)>,
    note: Option<String>,
    key: &str,
    all: &Statistics,
) -> Figure {
    let problem = all.problems.get(key).cloned();
    let (value, bars) = match part {
        None => (None, String::new()),
        Some((total, by_day)) => {
            let label = format!("{name}: {total} in the last {} days, by day", by_day.len());
            let bars = Bars {
                values: &by_day,
                label: &label,
                width: 96,
                height: 22,
                wide: false,
                tone: "live",
            };
            (Some(total.to_string()), bars.svg().0)
        }
    };
    let note = problem.or(note).unwrap_or_default();
    Figure { name, value, note, bars }
}

/// "2 h 5 min", "4 min", "40 s".
fn long(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

struct Tab {
    name: &'static str,
    href: String,
    here: bool,
}

#[derive(Template)]
#[template(path = "conversations/list.html")]
struct List {
    shell: Shell,
    figures: Vec<Figure>,
    tabs: Vec<Tab>,
    conversations: Vec<Conversation>,
    next: Option<String>,
    /// All states are shown.
    is_all: bool,
}

impl List {
    fn standing(one: &Conversation) -> (&'static str, &'static str) {
        standing(one.status)
    }

    #[expect(clippy::unused_self, reason = "the shared part asks it of both pages")]
    fn is_calls(&self) -> bool {
        false
    }
}

fn href(status: Option<Status>, cursor: Option<&str>) -> String {
    let mut query = Serializer::new(String::new());
    if let Some(status) = status {
        query.append_pair("status", status.as_str());
    }
    if let Some(cursor) = cursor {
        query.append_pair("cursor", cursor);
    }
    let query = query.finish();
    if query.is_empty() { "/interactions".to_owned() } else { format!("/interactions?{query}") }
}

pub(super) async fn page(
    page: Page<Operator>,
    State(app): State<App>,
    Query(wish): Query<Wish>,
) -> Result<Response> {
    let wanted = TABS.iter().filter_map(|(_, status)| *status);
    let status = wanted.into_iter().find(|status| status.as_str() == wish.status);
    let cursor = wish.cursor;
    let filter = Filter { status, cursor, ..Filter::default() };
    let found = conversation::list(&app.db, &page.caller, &filter).await?;
    let tab = |(name, of): (&'static str, Option<Status>)| Tab {
        name,
        href: href(of, None),
        here: of == status,
    };
    html(&List {
        figures: figures(&app, page.caller.organization, &page.shell).await?,
        tabs: TABS.into_iter().map(tab).collect(),
        conversations: found.conversations,
        next: found.next.map(|cursor| href(status, Some(&cursor))),
        is_all: status.is_none(),
        shell: page.shell,
    })
}
