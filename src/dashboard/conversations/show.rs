//! One conversation, from either side.

use askama::Template;
use axum::{extract::State, response::Response};
use chrono::TimeDelta;
use http::HeaderMap;
use serde::Deserialize;

use super::{Page, Shell, filters, html, is_fragment, standing};
use crate::{
    app::App,
    customers::conversation::{self, Author, Conversation, Message, Status},
    http::{Customer, Path, Query, Result},
};

/// After this time who waits is told that they need not.
const LONG: TimeDelta = TimeDelta::seconds(8);

#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "conversations/show.html", blocks = ["talk"])]
struct Show {
    shell: Shell,
    conversation: Conversation,
    messages: Vec<Message>,
    /// The page of older messages.
    older: Option<String>,
    /// The newest messages are shown.
    newest: bool,
    /// The assistant is about to answer.
    answering: bool,
}

impl Show {
    fn standing(&self) -> (&'static str, &'static str) {
        standing(self.conversation.status)
    }

    fn is_team(&self) -> bool {
        self.shell.may_operate()
    }

    fn is_closed(&self) -> bool {
        self.conversation.status == Status::Closed
    }

    /// A customer may ask for a person.
    fn may_ask_for_person(&self) -> bool {
        self.conversation.status == Status::Open
    }

    /// It takes so long that nobody should sit and wait.
    fn is_slow(&self) -> bool {
        self.shell.now - self.conversation.last_message_at > LONG
    }

    /// Something may come by itself.
    fn is_live(&self) -> bool {
        self.newest && !self.is_closed()
    }

    /// How often is looked: at once while an answer is owed.
    fn every(&self) -> &'static str {
        if self.answering && !self.is_slow() { "1s" } else { "5s" }
    }

    /// Whether the visitor's own side wrote it.
    fn is_own(&self, message: &Message) -> bool {
        (message.author == Author::Customer) != self.is_team()
    }

    fn subject(&self) -> String {
        match self.conversation.subject.as_str() {
            "" => format!("Conversation {}", self.conversation.id),
            subject => subject.to_owned(),
        }
    }
}

pub(super) async fn page(
    page: Page<Customer>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
) -> Result<Response> {
    let cursor = wish.cursor.as_deref();
    let whole = conversation::messages(&app.db, &page.caller, id, None, cursor).await?;
    let show = Show {
        older: whole.next.map(|cursor| format!("/conversations/{id}?cursor={cursor}")),
        newest: wish.cursor.is_none(),
        conversation: whole.conversation,
        messages: whole.messages,
        answering: whole.answering,
        shell: page.shell,
    };
    if is_fragment(&headers) {
        return html(&show.as_talk());
    }
    html(&show)
}
