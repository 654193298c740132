//! The chat: a conversation with Lux, and beside it what its answers rest on.
//!
//! Questions are asked by a form (`ask`); an answer under way is followed as HTML that is always
//! the whole of what is known so far (`stream`), so that a lost connection, a reload or a second
//! browser can neither lose nor double a word. What was answered is rendered from the database
//! (`message`, `evidence`, `plan`, `run`).

mod ask;
mod evidence;
mod history;
mod message;
mod plan;
mod prose;
mod run;
mod stream;

use askama::Template;
use axum::{
    Extension, Form, Router,
    extract::{State, rejection::FormRejection},
    response::Response,
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;

use super::{Page, Shell, filters, html};
use crate::{
    app::App,
    chat::{
        Chat, Owner,
        store::{self, Message, Session},
    },
    error::Error,
    errors::store::groups,
    http::{Path, Problem, Query, Reader, Result},
    repair::Repair,
};

use message::{Answer, Asked, Viewer};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/chat", get(begin))
        .route("/chat/actions/{id}", post(run::decide))
        .route("/chat/ask", post(ask::ask))
        .route("/chat/history", get(history::show))
        .route("/chat/runs/{id}", get(run::show))
        .route("/chat/{id}", get(show))
        .route("/chat/{id}/delete", post(history::remove))
        .route("/chat/{id}/events", get(stream::follow))
        .route("/chat/{id}/export", get(history::export))
        .route("/chat/{id}/rename", post(history::rename))
        .route("/chat/{id}/stop", post(ask::stop))
}

/// Messages of one page; earlier ones are a link away.
const SHOWN: i64 = 40;
/// Of these, so many of the latest show their repair as it is now; the others link to it.
const RUNS: usize = 3;

#[derive(Template)]
#[template(path = "chat/chat.html")]
struct Room {
    shell: Shell,
    /// `None`: nothing was asked yet.
    session: Option<Session>,
    messages: Vec<String>,
    evidence: Vec<String>,
    /// Of the latest answer that rests on something.
    evidence_count: usize,
    /// Where the messages before these are.
    earlier: Option<i64>,
    /// The question that has no answer yet.
    unanswered: Option<ask::Going>,
    /// What stands in the composer.
    words: String,
    /// The question that is asked anew.
    replaces: Option<i64>,
    diagnose: bool,
    has_model: bool,
    badge: Option<run::Badge>,
}

impl Room {
    fn id(&self) -> i64 {
        self.session.as_ref().map_or(0, |session| session.id)
    }

    fn title(&self) -> &str {
        self.session.as_ref().map_or("New chat", |session| &session.title)
    }
}

#[derive(Debug, Deserialize)]
struct Wish {
    /// What is to be asked.
    ask: Option<String>,
    /// A group of errors that is to be asked about.
    error: Option<i64>,
}

/// Nothing asked yet.
async fn begin(
    page: Page<Reader>,
    State(app): State<App>,
    Query(wish): Query<Wish>,
) -> Result<Response> {
    let mut words = wish.ask.unwrap_or_default();
    words.truncate(words.floor_char_boundary(4000));
    if let Some(id) = wish.error {
        let organization = page.caller.organization;
        let group = groups::find(&app.db, organization, id).await.map_err(Error::from)?;
        let group = group.ok_or(Error::NotFound("error group"))?;
        let place = group.endpoint.map(|it| format!(" at {it}")).unwrap_or_default();
        words = format!("What causes error {id}, {}{place}, and how do I fix it?", group.title);
    }
    html(&Room {
        has_model: app.llm.is_on(),
        diagnose: wish.error.is_some(),
        shell: page.shell,
        session: None,
        messages: Vec::new(),
        evidence: Vec::new(),
        evidence_count: 0,
        earlier: None,
        unanswered: None,
        words,
        replaces: None,
        badge: None,
    })
}

#[derive(Debug, Deserialize)]
struct Part {
    /// Only the messages before this one.
    before: Option<i64>,
    /// The last question, which is to be asked in other words.
    edit: Option<i64>,
}

/// One conversation.
async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(chat): Extension<Chat>,
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    Query(part): Query<Part>,
) -> Result<Response> {
    let session = find(&app, &page, id).await?;
    let stored = match part.before {
        Some(before) => store::before(&app.db, id, before, SHOWN).await?,
        None => store::messages(&app.db, id, SHOWN).await?,
    };
    let viewer = Viewer::new(&app, &repair, &page.caller);
    let mut room = Room {
        has_model: app.llm.is_on(),
        diagnose: stored
            .iter()
            .rev()
            .find(|it| it.role != "user")
            .is_some_and(|it| it.kept().diagnosed),
        earlier: stored
            .first()
            .filter(|_| i64::try_from(stored.len()).is_ok_and(|count| count == SHOWN))
            .map(|first| first.id),
        unanswered: stored.last().filter(|last| last.role == "user" && part.before.is_none()).map(
            |last| ask::Going {
                session: id,
                question: last.id,
                may_operate: page.shell.may_operate(),
            },
        ),
        shell: page.shell,
        session: Some(session),
        messages: Vec::new(),
        evidence: Vec::new(),
        evidence_count: 0,
        words: String::new(),
        replaces: None,
        badge: None,
    };
    let last = stored.iter().rposition(|message| message.role == "user");
    let last = last.filter(|_| part.before.is_none());
    let with_runs =
        stored.iter().rev().filter(|it| it.role != "user" && it.kept().run_id.is_some());
    let live: Vec<i64> = with_runs.take(RUNS).map(|message| message.id).collect();
    let mut question: Option<&Message> = None;
    for (index, message) in stored.iter().enumerate() {
        let is_last = last.is_some_and(|last| index >= last);
        if message.role == "user" {
            question = Some(message);
            if part.edit == Some(message.id) && is_last {
                room.words.clone_from(&message.content);
                room.replaces = Some(message.id);
            }
            let may_edit = is_last && room.shell.may_operate() && !chat.is_answering(id);
            room.messages.push(text(&Asked::of(id, message, may_edit))?);
            continue;
        }
        let retry = question.filter(|_| is_last);
        let answer = Answer::of(&viewer, id, message, retry, live.contains(&message.id)).await?;
        if let Some(evidence) = answer.evidence() {
            room.evidence_count = evidence.count();
            room.evidence.push(text(evidence)?);
        }
        room.badge = answer.badge();
        room.messages.push(text(&answer)?);
    }
    html(&room)
}

/// A session of who looks.
async fn find<A>(app: &App, page: &Page<A>, id: i64) -> Result<Session> {
    let found = store::find(&app.db, &Owner::of(&page.caller), id).await?;
    Ok(found.ok_or(Error::NotFound("session"))?)
}

/// What a form brought.
fn whole<T>(form: std::result::Result<Form<T>, FormRejection>) -> Result<T> {
    let Form(fields) = form.map_err(|rejection| {
        let detail = format!("the form is not whole ({rejection}); go back and send it again");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(fields)
}

/// A template's text; that it cannot be made is Lux's own fault.
fn text(template: &impl Template) -> Result<String> {
    Ok(template.render().map_err(|error| Error::Internal(error.into()))?)
}
