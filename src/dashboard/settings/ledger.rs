//! The ledger: each request that left this host for a model.

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{Page, Shell, filters, html, model::money};
use crate::{
    app::App,
    error::Error,
    http::{Operator, Path, Query, Result, paging},
    llm::{
        Purpose, Spent,
        ledger::{self, Filter, Line, Whole},
    },
};

/// Requests on one page.
const LIMIT: i64 = 50;

/// What is shown of a text, in bytes.
const SHOWN: usize = 24 * 1024;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    purpose: String,
    /// "told", or what went wrong: "timed_out".
    result: String,
    cursor: Option<String>,
}

/// A request in the list.
struct Row {
    line: Line,
}

impl Row {
    fn result(&self) -> String {
        result(&self.line.result)
    }

    fn is_told(&self) -> bool {
        self.line.result == "told"
    }

    fn cost(&self) -> String {
        self.line.cost_micros.map_or_else(|| "no price set".to_owned(), money)
    }
}

/// "timed out" of "timed_out"; "answered" of "told".
fn result(class: &str) -> String {
    match class {
        "told" => "answered".to_owned(),
        other => other.replace('_', " "),
    }
}

#[derive(Template)]
#[template(path = "settings/ledger.html")]
struct List {
    shell: Shell,
    section: &'static str,
    rows: Vec<Row>,
    next: Option<String>,
    is_first: bool,
    purpose: String,
    result: String,
    today: Spent,
}

impl List {
    fn is_filtered(&self) -> bool {
        !self.purpose.is_empty() || !self.result.is_empty()
    }

    fn spent(&self) -> String {
        money(self.today.cost_micros)
    }
}

pub(super) async fn list(
    page: Page<Operator>,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let purposes = [Purpose::Chat, Purpose::Diagnose, Purpose::Plan, Purpose::Campaign];
    let purpose = purposes.into_iter().find(|it| it.as_str() == wanted.purpose);
    let result = Some(wanted.result.clone()).filter(|result| !result.is_empty());
    let filter = Filter { purpose, result, ..Filter::default() };
    let after = wanted.cursor.as_deref().map(paging::position).transpose()?;
    let is_first = after.is_none();
    let listed = ledger::list(&app.db, organization, &filter, LIMIT, after).await;
    let (lines, next) = listed.map_err(Error::from)?;
    html(&List {
        section: "model",
        rows: lines.into_iter().map(|line| Row { line }).collect(),
        next: next.as_ref().map(paging::cursor).transpose()?,
        is_first,
        purpose: purpose.map_or("", Purpose::as_str).to_owned(),
        result: wanted.result,
        today: app.llm.spent_today(organization).await.map_err(Error::from)?,
        shell: page.shell,
    })
}

/// A text as it is shown, and how much of it is not.
struct Text {
    shown: String,
    hidden: usize,
}

impl Text {
    /// JSON over several lines; anything else as it is.
    fn new(text: &str) -> Self {
        let json = serde_json::from_str::<serde_json::Value>(text).ok();
        let pretty = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
        let text = pretty.unwrap_or_else(|| text.to_owned());
        let shown = text[..text.floor_char_boundary(SHOWN)].to_owned();
        Self { hidden: text.len() - shown.len(), shown }
    }
}

#[derive(Template)]
#[template(path = "settings/ledger_one.html")]
struct One {
    shell: Shell,
    section: &'static str,
    row: Row,
    /// Kinds of what was struck out, and how often.
    struck: Vec<(String, String)>,
    sent: Option<Text>,
    answer: Option<Text>,
}

pub(super) async fn show(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let found = app.llm.find(page.caller.organization, id).await.map_err(Error::from)?;
    let Whole { line, sent, answer } = found.ok_or(Error::NotFound("request"))?;
    let struck = line.redacted.0.as_object().into_iter().flatten();
    let struck = struck.map(|(kind, count)| (kind.replace('_', " "), count.to_string())).collect();
    html(&One {
        section: "model",
        struck,
        sent: sent.as_deref().map(Text::new),
        answer: answer.as_deref().map(Text::new),
        row: Row { line },
        shell: page.shell,
    })
}
