//! What was said before in a session, within a budget: the newest messages as they are,
//! what came before them in short.

use std::{fmt::Write, time::Duration};

use super::{
    store::{self, Message},
    tools::User,
};
use crate::{
    app::App,
    error::Result,
    llm::{self, Call, Inputs, Message as Outgoing, Purpose},
};

/// Messages that are looked back on.
const MOST: i64 = 200;

/// The part of the model's input that earlier messages may take before they are shortened,
/// and what is left of them then.
const TOO_LONG: u64 = 4;
const KEPT: u64 = 10;

/// Words of a summary.
const WORDS: u64 = 300;

/// How long making one may take: somebody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What came before a question.
#[derive(Debug, Default)]
pub(super) struct History {
    pub summary: Option<String>,
    /// Oldest first.
    pub messages: Vec<Message>,
}

/// The history of a session before message `before`.
pub(super) async fn of(app: &App, user: &User, session: i64, before: i64) -> Result<History> {
    let known = store::summary(&app.db, session).await?;
    let until = known.as_ref().map_or(0, |(_, until)| *until);
    let mut messages = store::messages(&app.db, session, MOST).await?;
    messages.retain(|message| message.id < before && message.id > until);
    let mut history = History { summary: known.map(|(summary, _)| summary), messages };
    let limit = u64::from(app.llm.limits(Purpose::Chat).max_input_tokens);
    let size: u64 = history.messages.iter().map(|message| llm::estimate(&message.content)).sum();
    if size > limit / TOO_LONG {
        shorten(app, user, session, &mut history, limit / KEPT).await?;
    }
    Ok(history)
}

/// Puts the older messages into the summary. Where the model does not make one, the oldest
/// are left out.
async fn shorten(
    app: &App,
    user: &User,
    session: i64,
    history: &mut History,
    mut room: u64,
) -> Result<()> {
    let mut kept = history.messages.len();
    for message in history.messages.iter().rev() {
        let tokens = llm::estimate(&message.content);
        if tokens > room {
            break;
        }
        room -= tokens;
        kept -= 1;
    }
    let older: Vec<Message> = history.messages.drain(..kept).collect();
    let Some(last) = older.last() else { return Ok(()) };
    let mut desk = app.llm.desk();
    let prompt = app.llm.prompts().render("summary", Inputs::new().number("max_words", WORDS))?;
    let mut text = history.summary.clone().unwrap_or_default();
    for message in &older {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{}: {}", message.role, message.content);
    }
    let messages = [
        Outgoing::System(prompt.text),
        Outgoing::User(desk.data("the earlier part of the conversation", &text)?),
    ];
    let why = format!("summary of session {session}");
    let call = Call {
        purpose: Purpose::Chat,
        why: &why,
        organization: user.organization,
        by: &user.name,
        messages: &messages,
        tools: &[],
        schema: None,
        max_output: None,
    };
    match tokio::time::timeout(PATIENCE, app.llm.ask(call)).await {
        Ok(Ok(told)) if !told.text.trim().is_empty() => {
            let summary = desk.reveal(&told.text);
            store::summarise(&app.db, session, &summary, last.id).await?;
            history.summary = Some(summary);
        }
        Ok(Err(trouble)) => tracing::info!(%trouble, session, "earlier messages are left out"),
        Ok(Ok(_)) | Err(_) => tracing::info!(session, "earlier messages are left out"),
    }
    Ok(())
}
