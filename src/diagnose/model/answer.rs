//! Reading the model's answer: what exists stays.

use serde::Deserialize;

use super::{
    ask::{Quote, clip, proven},
    opinion::{Check, Contradiction, Dropped, ModelCause, Opinion},
};
use crate::{
    diagnose::{Confidence, pack::Pack},
    llm::{self, Told},
    probe::Probe,
};

/// Bounds of what is shown.
const CAUSES: usize = 5;
const EXPLANATION: usize = 2000;
const SENTENCE: usize = 300;
const LIST: usize = 8;
const DROPPED: usize = 50;

/// The answer as the prompt asks for it. What may be missing without harm may be missing.
#[derive(Debug, Deserialize)]
struct Form {
    causes: Vec<Named>,
    #[serde(default)]
    contradicts: Vec<Against>,
    #[serde(default)]
    checks: Vec<Proposed>,
    #[serde(default)]
    missing: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Named {
    cause: String,
    explanation: String,
    evidence: Vec<Quote>,
    #[serde(default)]
    effects: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Against {
    cause: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    evidence: Vec<Quote>,
}

#[derive(Debug, Deserialize)]
struct Proposed {
    name: String,
    #[serde(default)]
    why: String,
}

/// What exists.
pub(super) struct Rules<'a> {
    pub causes: &'a [&'a str],
    pub probes: &'a [Probe],
    pub pack: &'a Pack,
}

/// The answer without what does not exist; an error says what is wrong where nothing is left.
pub(super) fn read(
    told: &Told,
    rules: &Rules<'_>,
    reveal: &dyn Fn(&str) -> String,
) -> Result<Opinion, String> {
    let form: Form = told.json()?;
    let mut opinion = Opinion::default();
    let named = form.causes.len();
    for cause in form.causes {
        if let Some(cause) = self::cause(cause, rules, reveal, &mut opinion.dropped)
            && opinion.causes.len() < CAUSES
            && opinion.causes.iter().all(|known| known.cause != cause.cause || cause.cause == OTHER)
        {
            opinion.causes.push(cause);
        }
    }
    if named > 0 && opinion.causes.is_empty() {
        let wrong: Vec<&str> =
            opinion.dropped.iter().map(|dropped| dropped.text.as_str()).take(6).collect();
        return Err(format!("no cause is left of it, because {}", wrong.join("; ")));
    }
    for against in form.contradicts {
        if !rules.causes.contains(&against.cause.as_str()) {
            let text = format!("there is no cause \"{}\"", clip(&against.cause, 60));
            opinion.dropped.push(Dropped::new("cause", &text));
            continue;
        }
        let (evidence, _) = proven(&against.evidence, rules.pack, reveal, &mut opinion.dropped);
        if opinion.contradicts.len() < LIST {
            let why = shown(&against.why, SENTENCE, reveal);
            opinion.contradicts.push(Contradiction { cause: against.cause, why, evidence });
        }
    }
    for check in form.checks {
        let name = reveal(&check.name);
        match rules.probes.iter().find(|probe| probe.name == name) {
            Some(probe) if opinion.checks.len() < LIST => opinion.checks.push(Check {
                name,
                kind: probe.check.kind().as_str().to_owned(),
                why: shown(&check.why, SENTENCE, reveal),
            }),
            Some(_) => {}
            None => {
                let text = format!("there is no check \"{}\"", clip(&name, 60));
                opinion.dropped.push(Dropped::new("check", &text));
            }
        }
    }
    opinion.missing =
        form.missing.iter().take(LIST).map(|text| shown(text, SENTENCE, reveal)).collect();
    opinion.dropped.truncate(DROPPED);
    Ok(opinion)
}

/// For what no playbook has a name for.
const OTHER: &str = "other";

fn cause(
    cause: Named,
    rules: &Rules<'_>,
    reveal: &dyn Fn(&str) -> String,
    dropped: &mut Vec<Dropped>,
) -> Option<ModelCause> {
    if cause.cause != OTHER && !rules.causes.contains(&cause.cause.as_str()) {
        let text = format!("there is no cause \"{}\"", clip(&cause.cause, 60));
        dropped.push(Dropped::new("cause", &text));
        return None;
    }
    let (evidence, cited) = proven(&cause.evidence, rules.pack, reveal, dropped);
    if evidence.is_empty() {
        let text = format!("the cause {} has no evidence that stands", cause.cause);
        dropped.push(Dropped::new("cause", &text));
        return None;
    }
    let checked = rules.pack.check(&cause.explanation, reveal);
    Some(ModelCause {
        title: "No playbook has this cause".to_owned(),
        cause: cause.cause,
        confidence: Confidence::Inconclusive,
        explanation: shown(&cause.explanation, EXPLANATION, reveal),
        evidence,
        cited,
        effects: cause.effects.iter().take(LIST).map(|it| shown(it, SENTENCE, reveal)).collect(),
        unproven: checked.unproven,
    })
}

/// The model's words for the operator: what was hidden is put back, what cannot be seen or
/// would be obeyed is taken off.
fn shown(text: &str, most: usize, reveal: &dyn Fn(&str) -> String) -> String {
    let text = llm::visible(&reveal(text));
    let text = clip(text.trim(), most);
    llm::inert(text).into_owned()
}
