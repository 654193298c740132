//! Earlier conversations: finding, renaming, deleting and taking them along.

use std::{collections::BTreeMap, fmt::Write};

use askama::Template;
use axum::{
    Form,
    extract::{State, rejection::FormRejection},
    response::{IntoResponse, Response},
};
use chrono::SecondsFormat;
use http::{HeaderMap, header};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use super::{
    super::{Page, Shell, Told, filters, html, is_fragment, see_other},
    whole,
};
use crate::{
    app::App,
    chat::{
        Owner,
        store::{self, Message, Session},
    },
    error::Error,
    http::{Operator, Path, Query, Reader, Result, safe_next},
};

/// Conversations of one page.
const SHOWN: i64 = 20;

#[derive(Template)]
#[template(path = "chat/history.html", blocks = ["list"])]
struct History {
    shell: Shell,
    q: String,
    sessions: Vec<Session>,
    /// Where older ones are.
    next: Option<String>,
    /// It is not the first page.
    later: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    q: Option<String>,
    cursor: Option<String>,
}

/// The conversations of who looks, the newest first.
pub(super) async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response> {
    let owner = Owner::of(&page.caller);
    let q: String = wanted.q.unwrap_or_default().trim().chars().take(100).collect();
    let cursor = wanted.cursor.as_deref().filter(|cursor| !cursor.is_empty());
    let (sessions, next) = if q.is_empty() {
        store::list(&app.db, &owner, SHOWN, cursor).await?
    } else {
        store::search(&app.db, &owner, &q, SHOWN, cursor).await?
    };
    let next = next.map(|cursor| {
        let q: String = byte_serialize(q.as_bytes()).collect();
        format!("/chat/history?q={q}&cursor={cursor}")
    });
    let history = History { shell: page.shell, q, sessions, next, later: cursor.is_some() };
    if is_fragment(&headers) {
        return html(&history.as_list());
    }
    html(&history)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Change {
    title: String,
    /// Where to go then.
    back: String,
}

/// Gives a conversation another title.
pub(super) async fn rename(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    form: std::result::Result<Form<Change>, FormRejection>,
) -> Result<Response> {
    let before = super::find(&app, &page, id).await?.title;
    let change = whole(form)?;
    store::rename(&app.db, &Owner::of(&page.caller), id, &change.title).await?;
    let back = if change.back.is_empty() { format!("/chat/{id}") } else { change.back };
    let fields = BTreeMap::from([("title".to_owned(), before), ("back".to_owned(), back.clone())]);
    let told = Told::done("Renamed.").undo(&format!("/chat/{id}/rename"), fields);
    Ok(see_other(safe_next(Some(&back)), &told))
}

/// Removes a conversation with its messages. Repairs that it started stay.
pub(super) async fn remove(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    form: std::result::Result<Form<Change>, FormRejection>,
) -> Result<Response> {
    let title = super::find(&app, &page, id).await?.title;
    let change = whole(form)?;
    store::remove(&app.db, &Owner::of(&page.caller), id).await?;
    let back = if change.back.is_empty() { "/chat".to_owned() } else { change.back };
    Ok(see_other(safe_next(Some(&back)), &Told::done(format!("Deleted \"{title}\"."))))
}

/// Messages that are written out of one conversation, at most.
const MOST: usize = 2000;

/// A conversation as Markdown.
pub(super) async fn export(
    page: Page<Reader>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let session = super::find(&app, &page, id).await?;
    let mut messages: Vec<Message> = Vec::new();
    loop {
        let before = messages.first().map_or(i64::MAX, |first| first.id);
        let mut earlier = store::before(&app.db, id, before, 200).await?;
        if earlier.is_empty() || messages.len() >= MOST {
            break;
        }
        earlier.append(&mut messages);
        messages = earlier;
    }
    let headers = [
        (header::CONTENT_TYPE, "text/markdown; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"lux-chat-{id}.md\"")),
    ];
    Ok((headers, written(&session, &messages).map_err(|error| Error::Internal(error.into()))?)
        .into_response())
}

fn written(
    session: &Session,
    messages: &[Message],
) -> std::result::Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "# {}\n", session.title.replace('\n', " "))?;
    for message in messages {
        let at = message.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        if message.role == "user" {
            writeln!(out, "## You, {at}\n\n{}\n", message.content.trim())?;
            continue;
        }
        let kept = message.kept();
        let by = kept.model.as_deref().unwrap_or("built-in advisor");
        let stopped = if kept.stopped { ", stopped" } else { "" };
        writeln!(out, "## Lux ({by}), {at}{stopped}\n\n{}\n", message.content.trim())?;
        for cited in &kept.citations {
            let text = cited.text.lines().next().unwrap_or_default().replace('`', "'");
            writeln!(out, "- [{}] {}:{} `{text}`", cited.number, cited.source, cited.line)?;
        }
        if let Some(run) = kept.run_id {
            writeln!(out, "- Repair {run}")?;
        }
        out.push('\n');
    }
    Ok(out)
}
