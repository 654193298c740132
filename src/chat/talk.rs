//! An answer by the model: it is told the question and what the advisor found, looks
//! around with tools, and answers with citations that are looked up again.
//!
//! From the moment untrusted text is in the conversation nothing the model says has an
//! effect: it may read more and propose. What starts at once was asked for by the operator's
//! own words, which were read before ([`User::wants_repair`]).

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    cite::Checked,
    going::Going,
    marker,
    store::Message as Stored,
    tools::{self, Found, Item, Tools, User},
    transcript::{Said, Transcript, Turn, Used},
};
use crate::{
    app::App,
    clock,
    diagnose::pack::Pack,
    error::{Error, Result},
    llm::{self, Call, Desk, Finish, Inputs, Message, Outgoing, Purpose, Tool, ToolCall, Trouble},
};

/// Calls of tools for one answer.
const MOST_CALLS: u32 = 12;

/// How long an answer may take in all.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// The part of the input that earlier messages may take.
const HISTORY_SHARE: u64 = 4;

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ModelUsage)]
pub struct Usage {
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// Calls of tools.
    pub calls: u32,
}

/// What the model made of a question.
pub(super) struct Spoken {
    pub checked: Checked,
    pub proposals: Vec<Value>,
    /// The run that a tool started.
    pub run_id: Option<i64>,
    /// It ended with the line that asks for a repair.
    pub asks_repair: bool,
    /// What is missing, in one line.
    pub notice: Option<String>,
    pub model: String,
    pub usage: Usage,
    pub transcript: Transcript,
    /// It reached the longest that an answer may be.
    pub cut: bool,
}

/// Why there is no answer of the model.
pub(super) enum Silence {
    Trouble(Trouble),
    /// The operator stopped it; what it had said by then.
    Stopped(String),
}

impl From<Trouble> for Silence {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// What one answer starts from.
pub(super) struct Opening<'a> {
    pub question: &'a str,
    /// What the advisor found beside the pack.
    pub found: Option<Found>,
    /// Earlier messages of the session, oldest first.
    pub history: &'a [Stored],
    /// What came before them, in short.
    pub summary: Option<&'a str>,
    /// For the ledger.
    pub why: String,
    pub until: Instant,
}

/// The inputs of the prompt.
pub(super) fn inputs(now: DateTime<Utc>, applications: &[Outgoing]) -> Inputs {
    Inputs::new()
        .time("now", now)
        .texts("applications", applications)
        .number("max_calls", u64::from(MOST_CALLS))
}

/// One answer being made.
pub(super) struct Talk<'a> {
    app: &'a App,
    tools: &'a Tools,
    user: &'a User,
    going: Arc<Going>,
    desk: Desk,
    /// What can be cited.
    pack: Pack,
    messages: Vec<Message>,
    /// Messages before this one may be left out, from the oldest on.
    opening: usize,
    done: HashSet<(String, String)>,
    calls: u32,
    proposals: Vec<Value>,
    run_id: Option<i64>,
    shown: String,
    transcript: Transcript,
}

impl<'a> Talk<'a> {
    /// `desk` is the one that `pack` was made at.
    pub(super) fn new(
        app: &'a App,
        tools: &'a Tools,
        user: &'a User,
        going: Arc<Going>,
        desk: Desk,
        pack: Pack,
    ) -> Self {
        Self {
            app,
            tools,
            user,
            going,
            desk,
            pack,
            messages: Vec::new(),
            opening: 0,
            done: HashSet::new(),
            calls: 0,
            proposals: Vec::new(),
            run_id: None,
            shown: String::new(),
            transcript: Transcript::default(),
        }
    }

    /// Answers.
    pub(super) async fn answer(
        mut self,
        opening: Opening<'_>,
    ) -> std::result::Result<Spoken, Silence> {
        self.open(&opening).map_err(|error| Trouble::Withheld { why: error.to_string() })?;
        let specs: Vec<Tool> =
            Tools::for_role(self.user.role).map(|spec| spec.offered.clone()).collect();
        let mut usage = Usage::default();
        loop {
            let offered = if self.calls < MOST_CALLS { &specs[..] } else { &[] };
            self.fit(offered);
            let told = self.turn(&opening, offered).await?;
            usage.tokens_in += told.tokens_in;
            usage.tokens_out += told.tokens_out;
            usage.calls = self.calls;
            let mut turn = Turn {
                text: told.text.clone(),
                calls: Vec::new(),
                tokens_in: told.tokens_in,
                tokens_out: told.tokens_out,
                ledger: told.ledger,
            };
            if told.calls.is_empty() || offered.is_empty() {
                self.transcript.turns.push(turn);
                return self.finish(&told, usage);
            }
            let text = (!told.text.is_empty()).then(|| self.desk.plain(&told.text));
            self.messages.push(Message::Assistant { text, calls: told.calls.clone() });
            for call in &told.calls {
                let result = self
                    .call(call)
                    .await
                    .map_err(|error| Trouble::Withheld { why: error.to_string() })?;
                turn.calls.push(Used {
                    name: call.name().to_owned(),
                    arguments: call.arguments().to_owned(),
                    result: result.as_str().to_owned(),
                });
                self.messages.push(Message::Tool { call: call.id().to_owned(), result });
            }
            self.transcript.turns.push(turn);
            self.shown.clear();
        }
    }

    /// The messages before the model's first turn.
    fn open(&mut self, opening: &Opening<'_>) -> Result<()> {
        let monitored = self.app.apps.monitored();
        let names = monitored.iter().map(|app| app.name.as_str());
        let mine = names.filter(|name| self.user.app.as_deref().is_none_or(|app| app == *name));
        let applications: Vec<Outgoing> = mine.map(|name| self.desk.plain(name)).collect();
        let now = clock::now();
        let prompt = self.app.llm.prompts().render("chat", inputs(now, &applications))?;
        self.transcript.at = now;
        self.transcript.prompt = prompt.id;
        self.transcript.applications =
            applications.iter().map(|name| name.as_str().to_owned()).collect();
        self.transcript.system = prompt.text.as_str().to_owned();
        self.messages.push(Message::System(prompt.text));
        if let Some(summary) = opening.summary {
            let text =
                self.desk.data("the earlier part of this conversation, in short", summary)?;
            self.say("data", text);
        }
        self.tell_history(opening.history);
        if !self.pack.text.is_empty() {
            let data = self.desk.data("the pack: what is known just now", &self.pack.text)?;
            self.say("data", data);
        }
        if let Some(found) = &opening.found {
            let text = self.rendered(found);
            let data = self.desk.data("what the advisor found just now", &text)?;
            self.say("data", data);
        }
        let question = self.desk.plain(opening.question);
        self.say("user", question);
        self.opening = self.messages.len();
        Ok(())
    }

    fn say(&mut self, role: &str, text: Outgoing) {
        self.transcript
            .opening
            .push(Said { role: role.to_owned(), text: text.as_str().to_owned() });
        self.messages.push(Message::User(text));
    }

    /// The newest of the earlier messages that have room.
    fn tell_history(&mut self, history: &[Stored]) {
        let limit = u64::from(self.app.llm.limits(Purpose::Chat).max_input_tokens);
        let mut room = limit / HISTORY_SHARE;
        let mut kept: Vec<(bool, Outgoing)> = Vec::new();
        for message in history.iter().rev() {
            let text = self.desk.plain(&message.content);
            let tokens = llm::estimate(text.as_str());
            if tokens > room {
                break;
            }
            room -= tokens;
            kept.push((message.role == "user", text));
        }
        for (is_user, text) in kept.into_iter().rev() {
            if is_user {
                self.say("user", text);
            } else {
                let said = Said { role: "assistant".to_owned(), text: text.as_str().to_owned() };
                self.transcript.opening.push(said);
                self.messages.push(Message::Assistant { text: Some(text), calls: Vec::new() });
            }
        }
    }

    /// Leaves out the oldest results of tools while the conversation is too long.
    fn fit(&mut self, offered: &[Tool]) {
        let limit = u64::from(self.app.llm.limits(Purpose::Chat).max_input_tokens);
        let tools: u64 = offered.iter().map(Tool::tokens).sum();
        let mut size = tools + self.messages.iter().map(size_of).sum::<u64>();
        let short = self.desk.plain("(left out: the conversation became too long)");
        for message in self.messages.iter_mut().skip(self.opening) {
            if size <= limit {
                return;
            }
            if let Message::Tool { result, .. } = message {
                size = size.saturating_sub(llm::estimate(result.as_str()));
                *result = short.clone();
                self.transcript.cut = true;
            }
        }
    }

    /// One turn of the model, its text told as it comes.
    async fn turn(
        &mut self,
        opening: &Opening<'_>,
        tools: &[Tool],
    ) -> std::result::Result<llm::Told, Silence> {
        let llm = &self.app.llm;
        let call = Call {
            purpose: Purpose::Chat,
            why: &opening.why,
            organization: self.user.organization,
            by: &self.user.name,
            messages: &self.messages,
            tools,
            schema: None,
            max_output: None,
        };
        let mut reveal = self.desk.revealing();
        let mut outlet = Outlet { going: &self.going, line: String::new() };
        let mut shown = String::new();
        let streamed = llm.stream(call, |piece| {
            let text = reveal.push(piece);
            shown.push_str(&text);
            outlet.push(&text);
        });
        let ended = tokio::select! {
            told = streamed => Some(told),
            () = self.going.stop.cancelled() => None,
            () = tokio::time::sleep_until(opening.until) => Some(Err(Trouble::TimedOut {
                host: self.app.config.model.host().to_owned(),
                waiting_for: "the answer",
                after: PATIENCE,
            })),
        };
        let rest = reveal.end();
        outlet.push(&rest);
        outlet.end();
        shown.push_str(&rest);
        self.shown = shown;
        match ended {
            Some(told) => Ok(told?),
            None => Err(Silence::Stopped(std::mem::take(&mut self.shown))),
        }
    }

    /// Runs a tool; what goes wrong is told to the model.
    async fn call(&mut self, call: &ToolCall) -> Result<Outgoing> {
        let (name, arguments) = (call.name(), self.desk.reveal(call.arguments()));
        let number = self.calls + 1;
        if self.calls >= MOST_CALLS {
            return Ok(self.desk.plain("Not run: no more calls of tools for this answer."));
        }
        self.calls = number;
        if !self.done.insert((name.to_owned(), arguments.clone())) {
            return Ok(self.desk.plain("Not run: the same call was made before; see its result."));
        }
        let begun = clock::instant();
        let shown: Value = serde_json::from_str(&arguments).unwrap_or(Value::Null);
        self.going.tell(
            "tool",
            json!({ "state": "started", "number": number, "name": name, "arguments": shown }),
        );
        let work = async {
            let arguments = tools::parse(&arguments)?;
            self.tools.call(self.user, name, &arguments).await
        };
        let done = tokio::select! {
            done = work => done,
            () = self.going.stop.cancelled() => Err(Error::Unavailable("stopped".to_owned())),
        };
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut failed = false;
        let (text, summary, items, sources) = match done {
            Ok(found) => {
                let text = self.rendered(&found);
                let items = found.items.len();
                let summary = found.summary.lines().next().unwrap_or_default().to_owned();
                for proposal in found.proposals {
                    if !self.proposals.contains(&proposal) {
                        self.proposals.push(proposal);
                    }
                }
                self.run_id = self.run_id.or(found.run_id);
                let sources: BTreeSet<String> =
                    found.items.into_iter().map(|item| item.source).take(20).collect();
                (text, summary, items, sources)
            }
            Err(error) => {
                let text = format!("The tool did not work: {}", public(&error));
                failed = true;
                (text.clone(), text, 0, BTreeSet::new())
            }
        };
        self.going.tell(
            "tool",
            json!({ "state": "finished", "number": number, "name": name, "summary": summary,
                    "items": items, "sources": sources, "milliseconds": milliseconds,
                    "failed": failed }),
        );
        self.desk.data(name, &text)
    }

    /// What a tool found, each text with its number.
    fn rendered(&mut self, found: &Found) -> String {
        let mut text = found.summary.clone();
        for Item { source, line, about, text: seen } in &found.items {
            let desk = &mut self.desk;
            let mut hide = |text: &str| desk.plain(text).as_str().to_owned();
            let cited = self.pack.cite(source, *line, seen, &mut hide);
            let shown = cited.unwrap_or_else(|| format!("{source}:{line}: {seen}"));
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{shown} ({about})");
        }
        text
    }

    fn finish(mut self, told: &llm::Told, usage: Usage) -> std::result::Result<Spoken, Silence> {
        let (text, asks_repair) = marker::split(&told.text);
        if text.is_empty() && !asks_repair {
            return Err(Trouble::Malformed {
                host: self.app.config.model.host().to_owned(),
                why: "it gave no text".to_owned(),
            }
            .into());
        }
        let (desk, pack) = (&self.desk, &self.pack);
        let checked = Checked::of(pack, &desk.reveal(text), &|text| desk.reveal(text));
        let sent = pack.as_sent();
        let as_sent = Checked::of(&sent, text, &str::to_owned);
        self.transcript.answer = as_sent.text;
        self.transcript.unproven = as_sent.unproven;
        self.transcript.asked_for_repair = asks_repair;
        self.transcript.pack = sent;
        let mut notices = Vec::new();
        if told.finish == Finish::Length {
            notices.push(format!("The answer was cut after {} tokens.", told.tokens_out));
        }
        match checked.unproven.len() {
            0 => {}
            1 => notices.push("One quotation was not found in what was read.".to_owned()),
            many => notices.push(format!("{many} quotations were not found in what was read.")),
        }
        Ok(Spoken {
            checked,
            proposals: self.proposals,
            run_id: self.run_id,
            asks_repair,
            notice: (!notices.is_empty()).then(|| notices.join(" ")),
            model: told.model.clone(),
            usage,
            transcript: self.transcript.bounded(),
            cut: told.finish == Finish::Length,
        })
    }
}

/// What an error may say to a model: nothing of Lux's inside.
fn public(error: &Error) -> String {
    match error {
        Error::Database(_) | Error::Internal(_) => "Lux has a fault of its own".to_owned(),
        other => other.to_string(),
    }
}

fn size_of(message: &Message) -> u64 {
    match message {
        Message::System(text) | Message::User(text) | Message::Tool { result: text, .. } => {
            llm::estimate(text.as_str())
        }
        Message::Assistant { text, calls } => {
            let text = text.as_ref().map_or(0, |text| llm::estimate(text.as_str()));
            text + calls.iter().map(|call| llm::estimate(call.arguments())).sum::<u64>()
        }
    }
}

/// Tells text as it comes. A line that may become the marker waits until it is known.
struct Outlet<'a> {
    going: &'a Going,
    line: String,
}

impl Outlet<'_> {
    fn push(&mut self, text: &str) {
        self.line.push_str(text);
        let whole = self.line.rfind('\n').map_or(0, |end| end + 1);
        let ready = if marker::may_begin(&self.line[whole..]) { whole } else { self.line.len() };
        // The line break before a marker belongs to it.
        let ready =
            if ready == whole { self.line[..whole].trim_end_matches('\n').len() } else { ready };
        let rest = self.line.split_off(ready);
        let text = std::mem::replace(&mut self.line, rest);
        if !text.is_empty() {
            self.going.tell("delta", json!({ "text": llm::visible(&text) }));
        }
    }

    fn end(self) {
        let (text, _) = marker::split(&self.line);
        if !text.is_empty() {
            self.going.tell("delta", json!({ "text": llm::visible(text) }));
        }
    }
}
