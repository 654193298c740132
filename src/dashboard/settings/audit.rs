//! The audit log: who did what, and whether its chain is whole.

use askama::Template;
use axum::{extract::State, response::Response};
use http::HeaderMap;
use serde::Deserialize;
use url::form_urlencoded;

use super::{Page, Shell, filters, html, is_fragment};
use crate::{
    app::App,
    auth::audit::{self, Check, Entry, Filter},
    error::Error,
    http::{Admin, Query, Result, paging},
};

/// Entries on one page.
const LIMIT: i64 = 50;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// What deeds begin with: "token."
    deed: String,
    /// What authors begin with.
    author: String,
    cursor: Option<String>,
}

impl Wanted {
    fn is_all(&self) -> bool {
        self.deed.is_empty() && self.author.is_empty()
    }

    /// The query of this filter, ready for a cursor.
    fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("deed", &self.deed)
            .append_pair("author", &self.author)
            .finish()
    }
}

/// An entry with its detail in words.
struct Row {
    entry: Entry,
}

impl Row {
    /// "role: operator; expires_at: …"
    fn detail(&self) -> String {
        let fields = self.entry.detail.0.as_object().into_iter().flatten();
        let words = fields.filter(|(_, value)| !value.is_null()).map(|(key, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{key}: {value}")
        });
        words.collect::<Vec<_>>().join("; ").chars().take(400).collect()
    }

    fn by_deed(&self) -> String {
        filter("deed", &self.entry.action)
    }

    fn by_author(&self) -> String {
        filter("author", &self.entry.actor)
    }
}

fn filter(field: &str, value: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair(field, value).finish();
    format!("/settings/audit?{query}")
}

#[derive(Template)]
#[template(path = "settings/audit.html")]
struct Log {
    shell: Shell,
    section: &'static str,
    rows: Vec<Row>,
    next: Option<String>,
    is_first: bool,
    /// The page is not full and yet there may be more.
    unfinished: bool,
    wanted: Wanted,
}

pub(super) async fn show(
    page: Page<Admin>,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let after = wanted.cursor.as_deref().map(paging::position).transpose()?;
    let is_first = after.is_none();
    let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = Filter { action: text(&wanted.deed), actor: text(&wanted.author) };
    let organization = page.caller.organization;
    let listed = audit::list(&app.db, organization, &filter, LIMIT, after).await;
    let (entries, next) = listed.map_err(Error::from)?;
    html(&Log {
        section: "audit",
        unfinished: next.is_some() && i64::try_from(entries.len()).is_ok_and(|n| n < LIMIT),
        rows: entries.into_iter().map(|entry| Row { entry }).collect(),
        next: next.as_ref().map(paging::cursor).transpose()?,
        is_first,
        wanted,
        shell: page.shell,
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Walk {
    /// Goes on behind this number.
    after: i64,
}

#[derive(Template)]
#[template(path = "settings/audit_check.html", blocks = ["found"])]
struct Walked {
    shell: Shell,
    section: &'static str,
    check: Check,
    from: i64,
}

/// Walks the chain. It reads some thousand entries, so it is asked for by itself.
pub(super) async fn check(
    page: Page<Admin>,
    State(app): State<App>,
    Query(walk): Query<Walk>,
    headers: HeaderMap,
) -> Result<Response> {
    let from = walk.after.max(0);
    let organization = page.caller.organization;
    let check = audit::verify(&app.db, organization, from, audit::MOST_CHECKED, None).await;
    let walked =
        Walked { section: "audit", check: check.map_err(Error::from)?, from, shell: page.shell };
    if is_fragment(&headers) {
        return html(&walked.as_found());
    }
    html(&walked)
}
