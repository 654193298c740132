//! Calls on the telephone: all of them, and one with its transcript.

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{
    Page, Shell, filters, html,
    list::{Figure, figures},
};
use crate::{
    app::App,
    error::Error,
    http::{Operator, Path, Query, Result, paging},
    integrations::calls::{self, Call, Position, Wanted},
};

/// Calls on one page.
const LIMIT: i64 = 50;

#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "conversations/calls.html")]
struct List {
    shell: Shell,
    figures: Vec<Figure>,
    calls: Vec<Call>,
    next: Option<String>,
}

impl List {
    #[expect(clippy::unused_self, reason = "the shared part asks it of both pages")]
    fn is_calls(&self) -> bool {
        true
    }
}

/// "1:05", "1:02:03".
fn took(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{rest:02}")
    } else {
        format!("{minutes}:{rest:02}")
    }
}

pub(super) async fn page(
    page: Page<Operator>,
    State(app): State<App>,
    Query(wish): Query<Wish>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let after: Option<Position> = wish.cursor.as_deref().map(paging::position).transpose()?;
    let wanted = Wanted { after, ..Wanted::default() };
    let found = calls::page(&app.db, organization, wanted, LIMIT).await;
    let calls = found.map_err(Error::from)?;
    let next = paging::after(&calls, LIMIT, |call| Position { at: call.started_at, id: call.id })?;
    html(&List {
        figures: figures(&app, organization, &page.shell).await?,
        next: next.map(|cursor| format!("/interactions/calls?cursor={cursor}")),
        calls,
        shell: page.shell,
    })
}

#[derive(Template)]
#[template(path = "conversations/call.html")]
struct Show {
    shell: Shell,
    call: Call,
}

impl Show {
    /// What was gathered from the caller, as text.
    fn gathered(&self) -> Vec<(String, String)> {
        let fields = self.call.extracted.as_object().into_iter().flatten();
        let text = |value: &serde_json::Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        };
        fields.map(|(name, value)| (name.clone(), text(value))).collect()
    }

    fn done(&self) -> Vec<&str> {
        self.call.actions.as_array().into_iter().flatten().filter_map(|it| it.as_str()).collect()
    }
}

pub(super) async fn show(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let found =
        calls::find(&app.db, page.caller.organization, None, id).await.map_err(Error::from)?;
    let call = found.ok_or(Error::NotFound("call"))?;
    html(&Show { call, shell: page.shell })
}
