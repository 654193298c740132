//! A cause as it is shown: what was diagnosed, on what that rests, what would be done.

use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::words;
use crate::{
    auth::OrganizationId,
    dashboard::{
        approvals::card::{command, policy, risk},
        when,
    },
    diagnose::{Captured, Finding},
    error::Result,
    repair::{
        action::{Actions, Rendered},
        plan::{Plan, Step},
    },
};
use chrono::TimeDelta;

/// Quotations that are shown of a cause.
const QUOTES: usize = 6;

/// What a diagnosis rests on.
pub(super) struct Quote {
    /// "nginx-error, line 12"
    pub place: String,
    pub text: String,
    pub href: String,
}

/// A step of a plan.
pub(super) struct Shown {
    pub icon: &'static str,
    pub title: String,
    /// A command or a request, exactly.
    pub code: Option<String>,
    /// What else is to be known of it.
    pub notes: Vec<String>,
    /// Why it may not run now.
    pub blocked: Option<String>,
}

/// A diagnosis with its plan.
pub(super) struct Diagnosed {
    pub title: String,
    pub cause: String,
    pub app: String,
    pub confidence: String,
    pub tone: &'static str,
    pub explanation: String,
    pub effects: Vec<String>,
    pub quotes: Vec<Quote>,
    pub steps: Vec<Shown>,
    /// What a model would do, with its name.
    pub model: Option<(String, String, Vec<Shown>)>,
    /// Why no model said anything although there is one.
    pub notice: Option<String>,
}

/// What a run or a preview knows of a cause.
pub(super) struct Known<'a> {
    pub title: &'a str,
    pub cause: &'a str,
    pub app: &'a str,
    pub confidence: &'a str,
    pub finding: Option<&'a Value>,
    pub plan: &'a Value,
}

impl Diagnosed {
    pub(super) async fn new(
        known: Known<'_>,
        actions: &Actions,
        organization: OrganizationId,
    ) -> Result<Self> {
        let finding = known.finding.and_then(|it| Finding::deserialize(it).ok());
        let plan = Plan::deserialize(known.plan).unwrap_or_default();
        let captured = finding.as_ref().map(|it| it.captured.clone()).unwrap_or_default();
        let names_actions = plan.steps.iter().any(|step| matches!(step, Step::Action { .. }));
        let rendered = if names_actions {
            of_cause(actions, organization, known.cause, &captured).await?
        } else {
            Vec::new()
        };
        let quotes = finding.iter().flat_map(|finding| &finding.evidence).take(QUOTES);
        let quotes = quotes
            .map(|quote| Quote {
                place: match quote.source.as_str() {
                    crate::diagnose::ERRORS => format!("error event {}", quote.line),
                    source => format!("{source}, line {}", quote.line),
                },
                href: cited(&quote.source, quote.line, &quote.text),
                text: quote.text.clone(),
            })
            .collect();
        let shown = |steps: &[Step]| steps.iter().map(|step| shown(step, &rendered)).collect();
        Ok(Self {
            title: known.title.to_owned(),
            cause: known.cause.to_owned(),
            app: known.app.to_owned(),
            confidence: known.confidence.to_owned(),
            tone: words::confidence(known.confidence),
            explanation: plan.explanation.clone(),
            effects: finding.map(|finding| finding.effects).unwrap_or_default(),
            quotes,
            steps: shown(&plan.steps),
            model: plan.model.map(|model| (model.model, model.summary, shown(&model.steps))),
            notice: plan.notice,
        })
    }
}

/// What the allow-list makes of a cause now: user, time and undo stand in no stored plan.
async fn of_cause(
    actions: &Actions,
    organization: OrganizationId,
    cause: &str,
    captured: &Captured,
) -> Result<Vec<Rendered>> {
    actions.for_cause(organization, cause, captured).await
}

/// The address that leads to where something quoted stands.
fn cited(source: &str, line: u64, text: &str) -> String {
    let text = &text[..text.floor_char_boundary(200)];
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("source", source)
        .append_pair("line", &line.to_string())
        .append_pair("text", text)
        .finish();
    format!("/repairs/cited?{query}")
}

fn shown(step: &Step, rendered: &[Rendered]) -> Shown {
    match step {
        Step::Manual { text } => Shown {
            icon: "user",
            title: text.clone(),
            code: None,
            notes: Vec::new(),
            blocked: None,
        },
        Step::Action { name, argv, hash, policy: who, risk: what, record, blocked } => {
            // Only the very same command: the configuration may have changed since.
            let same = rendered.iter().find(|it| it.hash == *hash);
            let mut notes = vec![policy(*who).to_owned(), risk(*what).to_owned()];
            if let Some(same) = same {
                let user = same.user.as_deref().unwrap_or("Lux's own user");
                let millis = i64::try_from(same.timeout_ms).unwrap_or(i64::MAX);
                let time = when::span(TimeDelta::milliseconds(millis));
                notes.push(format!("as {user}, ended after {time}"));
                notes.push(match &same.undo {
                    Some(undo) => format!("undo: {}", command(undo)),
                    None => "no undo".to_owned(),
                });
            }
            notes.extend(record.clone());
            Shown {
                icon: "terminal",
                title: format!("Run {name}"),
                code: Some(command(argv)),
                notes,
                blocked: blocked.clone(),
            }
        }
        Step::Probe { name, request, shared } => Shown {
            icon: "activity",
            title: format!("Check {name}"),
            code: Some(request.clone()),
            notes: shared.iter().map(|it| format!("the error names {it}")).collect(),
            blocked: None,
        },
    }
}
