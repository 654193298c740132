//! How an answer of a model came about, as it was sent and received: enough to go through
//! it again later, offline, and to see what a newer Lux would make of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    cite::Checked,
    marker, store,
    tools::{self},
};
use crate::{
    auth::OrganizationId, db::Db, diagnose::pack::Pack, error::Result, llm::Llm, seal::Sealer,
};

/// Bytes of one kept text, and of all of them.
const LONGEST: usize = 24 << 10;
const MOST: usize = 256 << 10;

/// A model's answer from the prompt to the last word. All texts are as they were sent:
/// without secrets and persons' data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    pub at: DateTime<Utc>,
    /// "chat@1"
    pub prompt: String,
    pub applications: Vec<String>,
    pub system: String,
    /// What was said before the model's first turn.
    pub opening: Vec<Said>,
    pub turns: Vec<Turn>,
    /// What could be cited.
    pub pack: Pack,
    pub answer: String,
    pub unproven: Vec<String>,
    pub asked_for_repair: bool,
    /// Texts were left out because it would have been too long.
    pub cut: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// "user", "assistant" or "data".
    pub role: String,
    pub text: String,
}

/// One turn of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    pub text: String,
    pub calls: Vec<Used>,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// The request in the ledger.
    pub ledger: i64,
}

/// A tool that was called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub name: String,
    pub arguments: String,
    pub result: String,
}

/// What is different now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The same turns of the model, gone through by this Lux, give this.
    pub answer: String,
    /// One line each; empty if nothing changed.
    pub differences: Vec<String>,
}

impl Transcript {
    /// That of an answer, by its message's id; `None` if it has none or it is not kept any
    /// more.
    pub async fn load(
        db: &Db,
        sealer: &Sealer,
        organization: OrganizationId,
        message: i64,
    ) -> Result<Option<Self>> {
        store::transcript(db, sealer, organization, message).await
    }

    /// Cuts what is too long to be kept.
    pub(super) fn bounded(mut self) -> Self {
        let mut room = MOST;
        let mut cut = self.cut;
        let mut keep = |text: &mut String| {
            let most = LONGEST.min(room);
            if text.len() > most {
                text.truncate(text.floor_char_boundary(most));
                cut = true;
            }
            room -= text.len();
        };
        keep(&mut self.answer);
        keep(&mut self.system);
        self.turns.iter_mut().for_each(|turn| keep(&mut turn.text));
        for used in self.turns.iter_mut().flat_map(|turn| &mut turn.calls) {
            keep(&mut used.arguments);
            keep(&mut used.result);
        }
        self.opening.iter_mut().for_each(|said| keep(&mut said.text));
        self.cut = cut;
        self
    }

    /// Goes through it again with the prompts, tools and rules of this Lux. Asks no model and
    /// runs no tool.
    pub fn replay(&self, llm: &Llm) -> Changes {
        let mut differences = Vec::new();
        self.compare_prompt(llm, &mut differences);
        for used in self.turns.iter().flat_map(|turn| &turn.calls) {
            if let Err(why) = tools::fits(&used.name, &used.arguments) {
                let (name, arguments) = (&used.name, &used.arguments);
                differences.push(format!("the call {name}({arguments}) would fail now: {why}"));
            }
        }
        let last = self.turns.last().map_or("", |turn| turn.text.as_str());
        let (text, asks) = marker::split(last);
        let checked = Checked::of(&self.pack, text, &str::to_owned);
        if checked.text.trim() != self.answer.trim() && !self.cut {
            differences.extend(lines("answer", &self.answer, &checked.text));
        }
        if asks != self.asked_for_repair {
            let now = if asks { "now counts" } else { "does not count now" };
            differences.push(format!("its ACTION line {now} as a wish for a repair"));
        }
        for quote in checked.unproven.iter().filter(|quote| !self.unproven.contains(quote)) {
            differences.push(format!("not proven now: {quote}"));
        }
        for quote in self.unproven.iter().filter(|quote| !checked.unproven.contains(quote)) {
            differences.push(format!("proven now: {quote}"));
        }
        Changes { answer: checked.text, differences }
    }

    fn compare_prompt(&self, llm: &Llm, differences: &mut Vec<String>) {
        let mut desk = llm.desk();
        let applications: Vec<_> = self.applications.iter().map(|name| desk.plain(name)).collect();
        let inputs = super::talk::inputs(self.at, &applications);
        match llm.prompts().render("chat", inputs) {
            Ok(now) if now.id != self.prompt => {
                differences.push(format!("the prompt {} is {} now", self.prompt, now.id));
                differences.extend(lines("prompt", &self.system, now.text.as_str()));
            }
            Ok(now) => differences.extend(lines("prompt", &self.system, now.text.as_str())),
            Err(error) => differences.push(format!("the prompt cannot be made now: {error}")),
        }
    }
}

/// The lines that only one of two texts has.
fn lines(what: &str, then: &str, now: &str) -> Vec<String> {
    let has = |text: &str, line: &str| text.lines().any(|other| other.trim() == line.trim());
    let gone = then.lines().filter(|line| !line.trim().is_empty() && !has(now, line));
    let new = now.lines().filter(|line| !line.trim().is_empty() && !has(then, line));
    let gone = gone.map(|line| format!("{what}: - {line}"));
    gone.chain(new.map(|line| format!("{what}: + {line}"))).collect()
}
