//! What is done to conversations: begin, write, hand over, close, reopen.

use std::time::Duration;

use serde_json::json;

use super::{
    Author, Conversation, MAX_MESSAGES, MAX_OPEN, MAX_SUBJECT, MAX_TEXT, Message, PER_MINUTE, Side,
    Status, answer, find, shown_as,
    store::{self, Held, NewMessage},
};
use crate::{
    app::App,
    auth::{Caller, audit},
    clock,
    db::Tx,
    error::{Error, Result},
    jobs::Jobs,
};

/// Characters of a subject that nobody gave.
const SUBJECT_OF_TEXT: usize = 80;

/// A conversation to be begun.
#[derive(Clone, Debug, Default)]
pub struct New {
    /// With whom; a customer begins their own and may leave it out.
    pub customer_id: Option<i64>,
    pub subject: Option<String>,
    /// The first message.
    pub text: Option<String>,
}

/// What came of writing.
#[derive(Clone, Debug)]
pub struct Sent {
    pub conversation: i64,
    /// `None` where a conversation was begun without a message.
    pub message: Option<Message>,
    /// The assistant is going to answer; [`super::answer_to`] waits for it.
    pub is_owed: bool,
}

/// Begins a conversation. A customer's first message is answered like every other; a person's
/// makes the conversation that person's.
pub async fn begin(app: &App, caller: &Caller, new: &New) -> Result<Sent> {
    let side = Side::of(caller)?;
    let customer = match (side, new.customer_id) {
        (Side::Customer(own), None) => own,
        (Side::Customer(own), Some(named)) if named != own => {
            return Err(Error::NotFound("customer"));
        }
        (_, Some(named)) => named,
        (Side::Team(_), None) => {
            let why = "customer_id: name the customer with whom the conversation is";
            return Err(Error::invalid(why));
        }
    };
    let text = new.text.as_deref().map(fit).transpose()?;
    let mut subject = fit_subject(new.subject.as_deref().unwrap_or_default())?;
    if let (true, Some(text)) = (subject.is_empty(), &text) {
        subject = subject_of(text);
    }
    let (organization, now) = (caller.organization, clock::now());
    let mut tx = app.db.begin().await?;
    if !store::hold_customer(&mut tx, organization, customer).await? {
        return Err(Error::NotFound("customer"));
    }
    if let Side::Customer(own) = side {
        let (open, begun) =
            store::conversations_of(&mut tx, own, now - Duration::from_mins(1)).await?;
        if open >= MAX_OPEN {
            return Err(too_many());
        }
        if begun >= PER_MINUTE {
            let why = format!("you began {PER_MINUTE} conversations within a minute");
            return Err(Error::TooMany(why, 60));
        }
    }
    let id = store::insert(&mut tx, organization, customer, &subject, now).await?;
    let held = Held {
        organization_id: organization,
        customer_id: customer,
        status: Status::Open,
        message_count: 0,
    };
    let mut sent = Sent { conversation: id, message: None, is_owed: false };
    if let Some(text) = text {
        sent = write(&mut tx, caller, side, id, &held, &text).await?;
    }
    let detail = json!({ "customer": customer });
    audit::write(&mut tx, organization, caller, "conversation.begin", &subject_for(id), &detail)
        .await?;
    tx.commit().await?;
    app.jobs.wake();
    Ok(sent)
}

/// Writes a message. While the assistant answers, a customer's is owed an answer; a person's
/// makes the conversation that person's, and the assistant is silent from then on.
pub async fn send(app: &App, caller: &Caller, id: i64, text: &str) -> Result<Sent> {
    let side = Side::of(caller)?;
    let text = fit(text)?;
    let mut tx = app.db.begin().await?;
    let held = hold(&mut tx, caller, side, id).await?;
    let sent = write(&mut tx, caller, side, id, &held, &text).await?;
    store::set_subject(&mut tx, id, &subject_of(&text)).await?;
    // A customer's messages are kept as what they are; what the team does is told of besides.
    if let (Side::Team(_), Some(message)) = (side, &sent.message) {
        let detail = json!({ "message": message.id, "status": [held.status, Status::Person] });
        let subject = subject_for(id);
        audit::write(
            &mut tx,
            held.organization_id,
            caller,
            "conversation.answer",
            &subject,
            &detail,
        )
        .await?;
    }
    tx.commit().await?;
    app.jobs.wake();
    Ok(sent)
}

async fn write(
    tx: &mut Tx,
    caller: &Caller,
    side: Side,
    id: i64,
    held: &Held,
    text: &str,
) -> Result<Sent> {
    if held.status == Status::Closed {
        let why = "the conversation is closed; reopen it, or begin another one";
        return Err(Error::Conflict(why.to_owned()));
    }
    let now = clock::now();
    let is_owed = held.status == Status::Open && side.customer().is_some();
    // The answer needs its place, too.
    if held.message_count + i64::from(is_owed) >= MAX_MESSAGES {
        let why = format!("the conversation has its {MAX_MESSAGES} messages; begin another one");
        return Err(Error::Conflict(why));
    }
    let (author, author_id) = match side {
        Side::Customer(own) => {
            if !store::hold_customer(tx, held.organization_id, own).await? {
                return Err(Error::NotFound("conversation"));
            }
            let minute = Duration::from_mins(1);
            let (written, first) = store::written_since(tx, own, now - minute).await?;
            if written >= PER_MINUTE {
                let wait = first
                    .map_or(minute, |first| (first + minute - now).to_std().unwrap_or_default());
                let why = format!("you wrote {PER_MINUTE} messages within a minute");
                return Err(Error::TooMany(why, wait.as_secs() + 1));
            }
            (Author::Customer, Some(own))
        }
        Side::Team(account) => (Author::Person, account),
    };
    let new = NewMessage { author, author_id, text, detail: None, now };
    let message = store::add(tx, id, &new).await?;
    if author == Author::Person {
        store::set_status(tx, id, Status::Person, None, author_id).await?;
    }
    if is_owed {
        Jobs::enqueue_in(tx, answer::job(id, message)).await?;
    }
    let name = author_id.map(|_| caller.name.as_str());
    let message = Message {
        id: message,
        author,
        shown_as: shown_as(author, name),
        text: text.to_owned(),
        detail: None,
        created_at: now,
    };
    Ok(Sent { conversation: id, message: Some(message), is_owed })
}

/// Asks for a person. Where one answers or is waited for already, nothing changes.
pub async fn hand_over(app: &App, caller: &Caller, id: i64) -> Result<Conversation> {
    let side = Side::of(caller)?;
    let mut tx = app.db.begin().await?;
    let held = hold(&mut tx, caller, side, id).await?;
    match held.status {
        Status::Open => {
            store::set_status(&mut tx, id, Status::Waiting, Some(clock::now()), None).await?;
            note(&mut tx, caller, &held, id, "conversation.hand_over", Status::Waiting).await?;
            tx.commit().await?;
        }
        Status::Waiting | Status::Person => {}
        Status::Closed => {
            let why = "the conversation is closed; reopen it to ask for a person";
            return Err(Error::Conflict(why.to_owned()));
        }
    }
    find::find(&app.db, caller, id).await
}

/// Ends a conversation; it can be reopened.
pub async fn close(app: &App, caller: &Caller, id: i64) -> Result<Conversation> {
    let side = Side::of(caller)?;
    let mut tx = app.db.begin().await?;
    let held = hold(&mut tx, caller, side, id).await?;
    if held.status != Status::Closed {
        store::set_status(&mut tx, id, Status::Closed, None, None).await?;
        note(&mut tx, caller, &held, id, "conversation.close", Status::Closed).await?;
        tx.commit().await?;
    }
    find::find(&app.db, caller, id).await
}

/// Takes up a closed conversation. Where a person had answered it is a person's again: at once
/// if the team reopens it, else it waits for one.
pub async fn reopen(app: &App, caller: &Caller, id: i64) -> Result<Conversation> {
    let side = Side::of(caller)?;
    let mut tx = app.db.begin().await?;
    let held = hold(&mut tx, caller, side, id).await?;
    if held.status == Status::Closed {
        if let Side::Customer(own) = side {
            store::hold_customer(&mut tx, caller.organization, own).await?;
            let (open, _) = store::conversations_of(&mut tx, own, clock::now()).await?;
            if open >= MAX_OPEN {
                return Err(too_many());
            }
        }
        let had_person = store::has_person(&mut tx, id).await?;
        let (status, since) = match side {
            _ if !had_person => (Status::Open, None),
            Side::Customer(_) => (Status::Waiting, Some(clock::now())),
            Side::Team(_) => (Status::Person, None),
        };
        store::set_status(&mut tx, id, status, since, None).await?;
        // What was closed before it was answered is owed an answer again.
        if let (Status::Open, Some((message, Author::Customer))) =
            (status, store::last(&mut tx, id).await?)
        {
            Jobs::enqueue_in(&mut tx, answer::job(id, message)).await?;
        }
        note(&mut tx, caller, &held, id, "conversation.reopen", status).await?;
        tx.commit().await?;
        app.jobs.wake();
    }
    find::find(&app.db, caller, id).await
}

fn too_many() -> Error {
    Error::Conflict(format!("you have {MAX_OPEN} open conversations; close one, or go on in it"))
}

async fn hold(tx: &mut Tx, caller: &Caller, side: Side, id: i64) -> Result<Held> {
    let held = store::hold(tx, caller.organization, id, side.customer()).await?;
    held.ok_or(Error::NotFound("conversation"))
}

/// An entry of the audit log about a change of the status.
async fn note(
    tx: &mut Tx,
    caller: &Caller,
    held: &Held,
    id: i64,
    action: &str,
    status: Status,
) -> Result<()> {
    let detail = json!({ "customer": held.customer_id, "status": [held.status, status] });
    let organization = held.organization_id;
    Ok(audit::write(tx, organization, caller, action, &subject_for(id), &detail).await?)
}

/// How the audit log names a conversation.
pub(super) fn subject_for(id: i64) -> String {
    format!("conversation {id}")
}

/// A message as it is kept.
fn fit(text: &str) -> Result<String> {
    if text.len() > MAX_TEXT {
        let why = format!("text: a message has at most {MAX_TEXT} bytes; send it in parts");
        return Err(Error::TooLarge(why));
    }
    let text = text.replace("\r\n", "\n");
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::invalid("text: is empty; write something"));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(Error::invalid("text: holds control characters; leave them out"));
    }
    Ok(text.to_owned())
}

fn fit_subject(subject: &str) -> Result<String> {
    let subject = subject.trim();
    if subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
        let why = format!("subject: is one line of at most {MAX_SUBJECT} bytes");
        return Err(Error::Invalid(why));
    }
    Ok(subject.to_owned())
}

/// The beginning of a text as one line.
fn subject_of(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= SUBJECT_OF_TEXT {
        return line;
    }
    let cut: String = line.chars().take(SUBJECT_OF_TEXT - 1).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::{MAX_TEXT, SUBJECT_OF_TEXT, fit, subject_of};

    #[test]
    fn texts_are_kept_as_they_were_meant() {
        assert_eq!(fit(" one\r\ntwo\t \n").unwrap(), "one\ntwo");
        for wrong in ["", " \n", "a\0b", "\u{1b}[31mred"] {
            assert!(fit(wrong).is_err(), "{wrong:?}");
        }
        assert!(fit(&"x".repeat(MAX_TEXT)).is_ok());
        assert!(fit(&"x".repeat(MAX_TEXT + 1)).is_err());
    }

    #[test]
    fn a_subject_is_one_short_line() {
        assert_eq!(subject_of("Where is\nmy  order?"), "Where is my order?");
        let long = subject_of(&"wörd ".repeat(100));
        assert!(long.ends_with("wörd…") || long.ends_with('…'), "{long}");
        assert!(long.chars().count() <= SUBJECT_OF_TEXT, "{long}");
    }
}
