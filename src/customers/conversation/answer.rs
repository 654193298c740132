//! The assistant's answers. What is owed is a job, stored with the message it answers: it ends
//! when an answer is stored, or when the conversation waits for a person.

use std::{fmt::Write, time::Duration};

use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;

use super::{
    Author, Detail, MAX_MESSAGES, MAX_TEXT, Message, Side, Status, deeds,
    store::{self, MessageRow, NewMessage, Owed},
};
use crate::{
    app::App,
    auth::{Caller, audit},
    clock,
    diagnose::{Asked, ask},
    error::{Error, Result},
    jobs::{Done, Lease, NewJob},
    llm::{self, Desk, Inputs, Message as Said, Purpose, Told},
    marketing::brand::{self, Brand},
};

const JOB: &str = "conversation.answer";
/// Answers under way in one process.
const AT_ONCE: usize = 16;
/// How often the model is asked; then a person answers. What fails after that is the database,
/// and the job goes on until that is well again.
const TRIES: u32 = 2;
const ATTEMPTS: u32 = 1_000_000;
/// How long the model may take, a second answer in place of an unusable one included.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often whoever waits looks for an answer that another process has stored.
const LOOK: Duration = Duration::from_millis(500);

/// Messages and bytes of the conversation that the model is shown; the last one is always among
/// them.
const MAX_SHOWN: i64 = 30;
const MAX_SHOWN_BYTES: usize = 16 << 10;

/// What stands for an answer that the assistant cannot give.
const A_PERSON_WILL: &str =
    "Thank you for your message. A person of our team will answer you here.";

/// Wakes those who wait for an answer.
static ANSWERED: Notify = Notify::const_new();

/// The job of answering a message. It has no name that could be known already: numbers of messages
/// that were removed may come again, and what is answered is looked up when it runs.
pub(super) fn job(conversation: i64, message: i64) -> NewJob {
    let payload = json!({ "conversation": conversation, "message": message });
    NewJob { max_attempts: ATTEMPTS, ..NewJob::new(JOB, payload) }
}

/// Registers what answers.
pub fn start(app: &App) {
    let answering = app.clone();
    app.jobs.handle(JOB, AT_ONCE, move |lease| {
        let app = answering.clone();
        async move { carry_out(&app, &lease).await }
    });
}

/// Waits for the answer to a message; `None` if it does not come in time, or will not come from
/// the assistant any more.
pub async fn answer_to(
    app: &App,
    caller: &Caller,
    conversation: i64,
    message: i64,
    patience: Duration,
) -> Result<Option<Message>> {
    let side = Side::of(caller)?;
    let until = clock::instant() + patience;
    loop {
        let answered = ANSWERED.notified();
        tokio::pin!(answered);
        // From here on none is missed.
        answered.as_mut().enable();
        // Asked first: what changes the status stores the answer in the same transaction.
        let is_open = store::is_open(&app.db, conversation).await?;
        if let Some(row) = store::answer_after(&app.db, conversation, message).await? {
            return Ok(Some(Message::of(row, side)));
        }
        let left = until.saturating_duration_since(clock::instant());
        if !is_open || left.is_zero() || app.shutdown.is_cancelled() {
            return Ok(None);
        }
        let heard = tokio::time::timeout(left.min(LOOK), answered);
        app.shutdown.run_until_cancelled(heard).await;
    }
}

/// What is stored as the assistant's.
struct Answer {
    text: String,
    hand_over: bool,
    detail: Detail,
}

impl Answer {
    /// The plain sentence; the team reads why.
    fn without(notice: Option<String>) -> Self {
        Self {
            text: A_PERSON_WILL.to_owned(),
            hand_over: true,
            detail: Detail { engine: "none".to_owned(), model: None, notice },
        }
    }
}

async fn carry_out(app: &App, lease: &Lease) -> Result<Done> {
    let id = |name: &str| lease.payload[name].as_i64();
    let (Some(conversation), Some(message)) = (id("conversation"), id("message")) else {
        return Ok(Done::Finished);
    };
    // A later message has a job of its own, which answers this one, too.
    let Some(owed) = store::owed(&app.db, conversation, message).await? else {
        return Ok(Done::Finished);
    };
    let answer = if lease.attempt > TRIES {
        Answer::without(Some("Answering failed repeatedly; the log of Lux says why.".to_owned()))
    } else {
        let thinking = think(app, &owed, conversation, message);
        match lease.lost.run_until_cancelled(thinking).await {
            Some(answer) => answer?,
            None => return Err(Error::Unavailable("stopped on the way".to_owned())),
        }
    };
    put(app, lease, &owed, conversation, message, &answer).await?;
    ANSWERED.notify_waiters();
    Ok(Done::Finished)
}

/// Stores an answer, unless the customer went on, or the conversation is not the assistant's
/// any more.
async fn put(
    app: &App,
    lease: &Lease,
    owed: &Owed,
    conversation: i64,
    message: i64,
    answer: &Answer,
) -> Result<()> {
    let mut tx = app.db.begin().await?;
    lease.hold(&mut tx).await?;
    let Some(held) = store::hold_open(&mut tx, conversation).await? else { return Ok(()) };
    if store::last(&mut tx, conversation).await?.is_none_or(|(last, _)| last != message) {
        return Ok(());
    }
    let now = clock::now();
    let detail = serde_json::to_string(&answer.detail).ok();
    // There is room for it as a rule: a customer's message is taken only with a place for the answer.
    let has_room = held.message_count < MAX_MESSAGES;
    if has_room {
        let new = NewMessage {
            author: Author::Assistant,
            author_id: None,
            text: &answer.text,
            detail: detail.as_deref(),
            now,
        };
        store::add(&mut tx, conversation, &new).await?;
    }
    if answer.hand_over || !has_room {
        store::set_status(&mut tx, conversation, Status::Waiting, Some(now), None).await?;
        let subject = deeds::subject_for(conversation);
        let detail = json!({ "customer": held.customer_id, "notice": answer.detail.notice });
        let organization = owed.organization_id;
        audit::write(
            &mut tx,
            organization,
            "assistant",
            "conversation.hand_over",
            &subject,
            &detail,
        )
        .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The model's answer, or the plain sentence. An error is the database's.
async fn think(app: &App, owed: &Owed, conversation: i64, message: i64) -> Result<Answer> {
    if !app.llm.is_on() {
        return Ok(Answer::without(None));
    }
    let brand = brand::store::find(&app.db, owed.organization_id).await?.brand;
    let before = message.saturating_add(1);
    let rows = store::messages(&app.db, conversation, before, MAX_SHOWN).await?;
    let shown = shown(rows);
    let by = format!("customer {}", owed.customer_id);
    let why = format!("message {message} of conversation {conversation}");
    let asked = Asked { organization: owed.organization_id, by: &by, why: &why };
    let asking = by_model(app, &asked, owed, &brand, &shown);
    Ok(match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => Answer::without(Some(why)),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Answer::without(Some(format!("The model took longer than {seconds} s.")))
        }
    })
}

/// The end of a conversation that fits, oldest first.
fn shown(newest_first: Vec<MessageRow>) -> Vec<MessageRow> {
    let mut bytes = 0;
    let fits = |row: &MessageRow| {
        bytes += row.text.len();
        bytes <= MAX_SHOWN_BYTES
    };
    let mut shown: Vec<_> = newest_first.into_iter().take_while(fits).collect();
    shown.reverse();
    shown
}

/// The answer as the prompt asks for it.
#[derive(Debug, Deserialize)]
struct Form {
    answer: String,
    #[serde(default)]
    hand_over: bool,
}

async fn by_model(
    app: &App,
    asked: &Asked<'_>,
    owed: &Owed,
    brand: &Brand,
    shown: &[MessageRow],
) -> Result<Answer, String> {
    let plainly = |error: Error| {
        tracing::warn!(%error, "a customer's message was not shown to the model");
        "Lux could not ask the model.".to_owned()
    };
    let mut desk = app.llm.desk();
    let name = brand.name.trim();
    let name = if name.is_empty() { "this business" } else { name };
    let inputs = Inputs::new().text("business", &desk.plain(name));
    let prompt = app.llm.prompts().render("customer", inputs).map_err(plainly)?;
    let about = about(brand, owed);
    let block = desk.data("the business and this customer", &about).map_err(plainly)?;
    let mut messages = vec![Said::System(prompt.text), Said::User(block)];
    for row in shown {
        messages.push(said(&mut desk, row).map_err(plainly)?);
    }
    let known: Vec<&str> =
        std::iter::once(about.as_str()).chain(shown.iter().map(|row| row.text.as_str())).collect();
    let read = |told: &Told, desk: &Desk| read(told, &known, desk);
    let schema = prompt.schema;
    let (told, form) =
        ask(&app.llm, Purpose::Chat, messages, schema.as_ref(), &mut desk, asked, read).await?;
    let detail = Detail { engine: "model".to_owned(), model: Some(told.model), notice: None };
    Ok(Answer { text: form.answer, hand_over: form.hand_over, detail })
}

/// A message as the model is shown it. Only what the model said itself is not data.
fn said(desk: &mut Desk, row: &MessageRow) -> Result<Said> {
    Ok(match row.author {
        Author::Customer => Said::User(desk.data("the customer's message", &row.text)?),
        Author::Person => Said::User(desk.data("a person of the team answered", &row.text)?),
        Author::Assistant => {
            Said::Assistant { text: Some(desk.plain(&row.text)), calls: Vec::new() }
        }
    })
}

/// All that the model knows besides the conversation.
fn about(brand: &Brand, owed: &Owed) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("Business", &brand.name),
        ("Voice", &brand.voice),
        ("What it offers", &brand.offer),
        ("Whom it is for", &brand.audience),
    ] {
        if !value.trim().is_empty() {
            let _ = writeln!(text, "{name}: {}", value.trim());
        }
    }
    for link in &brand.links {
        let _ = writeln!(text, "Link: {} {}", link.label.trim(), link.url);
    }
    if !brand.avoid.is_empty() {
        let _ = writeln!(text, "Never say: {}", brand.avoid.join(", "));
    }
    let _ = writeln!(text, "Customer: {}", owed.name);
    if let Some(email) = &owed.email {
        let _ = writeln!(text, "E-mail of the customer: {email}");
    }
    let _ = writeln!(text, "Customer since: {}", owed.since.format("%F"));
    for (name, value) in [
        ("Company of the customer", &owed.company),
        ("Website of the customer", &owed.website),
        ("Industry", &owed.industry),
        ("Country", &owed.country),
        ("Language", &owed.language),
        ("Whom the customer wants to reach", &owed.audience),
        ("What for", &owed.goals),
    ] {
        if !value.is_empty() {
            let _ = writeln!(text, "{name}: {value}");
        }
    }
    if !owed.subject.is_empty() {
        let _ = writeln!(text, "Subject of the conversation: {}", owed.subject);
    }
    text
}

/// The answer in its form; the error says what is wrong with it, for the model to mend.
fn read(told: &Told, known: &[&str], desk: &Desk) -> Result<Form, String> {
    let form: Form = told.json()?;
    let text = llm::visible(&desk.reveal(&form.answer));
    let text = text.trim();
    if text.is_empty() {
        return Err("\"answer\" is empty".to_owned());
    }
    if text.len() > MAX_TEXT {
        return Err("\"answer\" is too long; write at most 150 words".to_owned());
    }
    if let Some(address) = addresses(text).find(|it| !known.iter().any(|text| text.contains(it))) {
        return Err(format!("the address {address} stands in neither block nor conversation"));
    }
    Ok(Form { answer: text.to_owned(), ..form })
}

/// The web addresses in a text.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let around = |c: char| matches!(c, '(' | ')' | '<' | '>' | '"' | '\'' | '[' | ']' | ',' | ';');
    let words = text.split(move |c: char| c.is_whitespace() || around(c));
    let words = words.map(|word| word.trim_end_matches(['.', '!', '?', ':']));
    words.filter(|word| word.contains("://") || word.to_ascii_lowercase().starts_with("www."))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::{Author, MAX_SHOWN_BYTES, MessageRow, addresses, shown};

    fn row(id: i64, bytes: usize) -> MessageRow {
        MessageRow {
            id,
            author: Author::Customer,
            name: None,
            text: "x".repeat(bytes),
            detail: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_end_of_a_conversation_is_shown() {
        let kept = |rows: Vec<MessageRow>| shown(rows).iter().map(|row| row.id).collect::<Vec<_>>();
        assert_eq!(kept(vec![row(3, 10), row(2, 10), row(1, 10)]), [1, 2, 3]);
        let half = MAX_SHOWN_BYTES / 2;
        assert_eq!(kept(vec![row(3, half), row(2, half), row(1, 1)]), [2, 3]);
    }

    #[test]
    fn addresses_are_found_in_sentences() {
        let found: Vec<_> =
            addresses("See (https://shop.example/a), or WWW.evil.example! Not a:b.").collect();
        assert_eq!(found, ["https://shop.example/a", "WWW.evil.example"]);
    }
}
