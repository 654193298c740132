//! Asking and stopping. A script gets what it adds to the page; without one the browser is led to
//! the conversation.

use askama::Template;
use axum::{
    Extension, Form, Json,
    extract::{State, rejection::FormRejection},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::json;

use super::{
    super::{Page, Told, filters, see_other},
    message::Asked,
    whole,
};
use crate::{
    app::App,
    chat::{self, Chat, Owner, Question},
    error::Error,
    http::{Operator, Path, Result},
};

/// An answer that has begun, as a page shows it until more is known.
#[derive(Template)]
#[template(path = "chat/going.html")]
pub(super) struct Going {
    pub session: i64,
    pub question: i64,
    pub may_operate: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asking {
    message: String,
    /// "chat", "diagnose" or "repair".
    mode: String,
    /// Empty for a new conversation.
    session: String,
    replaces: String,
    app: String,
    /// Ids, with commas.
    groups: String,
}

/// An id of a form; empty is none.
fn id(text: &str, name: &str) -> Result<Option<i64>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse();
    Ok(Some(number.map_err(|_| Error::Invalid(format!("{name} is no id; reload the page")))?))
}

/// Asks a question.
pub(super) async fn ask(
    page: Page<Operator>,
    State(app): State<App>,
    Extension(chat): Extension<Chat>,
    headers: HeaderMap,
    form: std::result::Result<Form<Asking>, FormRejection>,
) -> Result<Response> {
    let asking = whole(form)?;
    let (diagnose, repair) = (asking.mode == "diagnose", asking.mode == "repair");
    let wish = if repair { Some("Repair") } else { diagnose.then_some("Diagnose") };
    let groups = asking.groups.split(',').map(|text| id(text, "groups"));
    let groups: Vec<i64> = groups.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let question = Question {
        owner: Owner::of(&page.caller),
        role: page.caller.role,
        session: id(&asking.session, "session")?,
        app: Some(asking.app).filter(|app| !app.is_empty()),
        // Browsers send line breaks of two characters.
        message: chat::checked(asking.message.replace("\r\n", "\n"), wish)?,
        diagnose,
        repair,
        groups: (!groups.is_empty()).then_some(groups),
        replaces: id(&asking.replaces, "replaces")?,
    };
    let text = question.message.clone();
    let begun = chat.ask(question, None).await?;
    let (session, asked) = (begun.session, begun.question);
    let script = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    if !script {
        return Ok(Redirect::to(&format!("/chat/{session}#now")).into_response());
    }
    let title = chat::store::find(&app.db, &Owner::of(&page.caller), session).await?;
    let going = Going { session, question: asked, may_operate: true };
    let mut html = super::text(&Asked::now(session, asked, &text, page.shell.now))?;
    html.push_str(&super::text(&going)?);
    let title = title.map(|session| session.title);
    Ok(Json(json!({ "session": session, "question": asked, "title": title, "html": html }))
        .into_response())
}

/// Stops the answer that is being given.
pub(super) async fn stop(
    page: Page<Operator>,
    State(app): State<App>,
    Extension(chat): Extension<Chat>,
    Path(id): Path<i64>,
) -> Result<Response> {
    super::find(&app, &page, id).await?;
    let told = if chat.stop(id) {
        Told::done("Stopped. What was said by then is kept.")
    } else {
        Told::done("The answer had ended already.")
    };
    Ok(see_other(&format!("/chat/{id}"), &told))
}
