//! An answer, whoever made it, before it is stored; and what the advisor's answer is to a
//! model.

use serde_json::Value;

use super::{
    answer::Answer,
    talk::{Spoken, Usage},
    tools::{self, Found, Item},
    transcript::Transcript,
};
use crate::repair::store::runs;

/// Who may have made an answer.
pub(super) const ADVISOR: &str = "advisor";
pub(super) const MODEL: &str = "model";

/// An answer before it is stored.
#[derive(Default)]
pub(super) struct Made {
    pub engine: &'static str,
    pub answer: Answer,
    pub unproven: Vec<String>,
    pub proposals: Vec<Value>,
    pub run_id: Option<i64>,
    pub repair_results: Option<Value>,
    pub model: Option<String>,
    pub usage: Option<Usage>,
    pub transcript: Option<Transcript>,
    /// Its words were told while it was made.
    pub told: bool,
    /// The operator had heard enough.
    pub stopped: bool,
    /// It reached the longest that an answer may be.
    pub cut: bool,
}

impl Made {
    pub(super) fn by_advisor(mut answer: Answer) -> Self {
        let proposals = std::mem::take(&mut answer.proposals);
        Self { engine: ADVISOR, answer, proposals, ..Self::default() }
    }

    /// What the model had said when it was stopped.
    pub(super) fn stopped(text: String) -> Self {
        let notice = Some("Stopped.".to_owned());
        let answer = Answer { notice, ..Answer::of(text) };
        Self { engine: MODEL, answer, told: true, stopped: true, ..Self::default() }
    }

    pub(super) fn by_model(spoken: Spoken, app: Option<String>) -> Self {
        let mut made = Self {
            engine: MODEL,
            answer: Answer {
                text: spoken.checked.text,
                citations: spoken.checked.citations,
                notice: spoken.notice,
                proposals: Vec::new(),
            },
            unproven: spoken.checked.unproven,
            proposals: spoken.proposals,
            run_id: spoken.run_id,
            repair_results: None,
            model: Some(spoken.model),
            usage: Some(spoken.usage),
            transcript: Some(spoken.transcript),
            told: true,
            stopped: false,
            cut: spoken.cut,
        };
        if spoken.asks_repair {
            // The operator's own words did not ask for it, or a run would have begun before.
            made.propose(repair_button(app));
        }
        made
    }

    pub(super) fn propose(&mut self, proposal: Value) {
        if !self.proposals.contains(&proposal) {
            self.proposals.push(proposal);
        }
    }
}

pub(super) fn repair_button(app: Option<String>) -> Value {
    tools::repair_button(&runs::Scope { groups: None, app })
}

/// An answer of the advisor, as a model is told of it.
pub(super) fn found(answer: &Answer) -> Found {
    let cited = answer.citations.iter().map(|cited| Item {
        source: cited.source.clone(),
        line: cited.line,
        about: "cited by the advisor".to_owned(),
        text: cited.text.clone(),
    });
    let text = Item {
        source: "advisor".to_owned(),
        line: 0,
        about: "its answer".to_owned(),
        text: answer.text.clone(),
    };
    Found { items: std::iter::once(text).chain(cited).collect(), ..Found::default() }
}
