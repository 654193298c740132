//! The model's plan for a cause, beside the playbook's: one call for each cause, however
//! many errors come from it. Its steps are of the same kinds; an action is one of the
//! allow-list by name, a check one of the probes, and all else is text for a person.
//!
//! The model has read what strangers wrote, so what it plans can only be *proposed*: an
//! action that the playbook does not propose itself waits for an operator, also where its
//! policy is `auto`.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Repair,
    action::Rendered,
    cases::Case,
    plan::{Plan, Step},
};
use crate::{
    auth::OrganizationId,
    clock,
    config::Policy,
    diagnose::{self, Asked, Dropped, Evidence, Packed, Quote, Scope, pack::Pack},
    error::Result,
    llm::{self, Desk, Inputs, Message, Purpose, Told},
    probe::Probe,
};

/// Causes of one run for which the model is asked; the others have the playbook's plan.
const CAUSES: usize = 10;
/// How long all of them together may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of the pack beside a cause, and of what is told of the cause.
const PACK: usize = 8 * 1024;
const CASE: usize = 4 * 1024;
/// Bounds of what is shown.
const STEPS: usize = 8;
const TEXT: usize = 800;
/// Errors of a cause that are named.
const ERRORS: usize = 20;

/// What the model would do. It runs nothing: its actions wait for an operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelPlan {
    pub summary: String,
    pub steps: Vec<Step>,
    /// What it rests on, looked up.
    pub evidence: Vec<Evidence>,
    /// What it named or quoted and does not exist.
    pub dropped: Vec<Dropped>,
    /// As its server named it.
    pub model: String,
}

#[derive(Debug, Deserialize)]
struct Form {
    summary: String,
    steps: Vec<Line>,
    #[serde(default)]
    evidence: Vec<Quote>,
}

#[derive(Debug, Deserialize)]
struct Line {
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    text: String,
}

/// What a case's plan may name.
pub(super) struct Choice {
    /// The playbook's own actions.
    pub ranked: Vec<(Rendered, Option<String>)>,
    pub probes: Vec<Probe>,
}

impl Repair {
    /// Sets the model's plan beside the playbook's, where there is a model. Whatever goes
    /// wrong costs that, and says so in the plan.
    pub(super) async fn draft(
        &self,
        organization: OrganizationId,
        cases: &[Case],
        choices: &[Choice],
        plans: &mut [Plan],
    ) {
        if !self.app.llm.is_on() {
            return;
        }
        let deadline = clock::instant() + PATIENCE;
        let mut packs: BTreeMap<&str, (Desk, Packed)> = BTreeMap::new();
        // what the next call would meet, too
        let mut trouble: Option<String> = None;
        for ((case, choice), plan) in cases.iter().zip(choices).zip(plans).take(CAUSES) {
            let left = deadline.saturating_duration_since(clock::instant());
            let why = if let Some(why) = &trouble {
                why.clone()
            } else {
                let work = self.drafted(organization, case, choice, &mut packs);
                match tokio::time::timeout(left, work).await {
                    Ok(Ok(drafted)) => {
                        plan.model = Some(drafted);
                        continue;
                    }
                    Ok(Err(Failed::Model(why))) => why,
                    Ok(Err(Failed::Lux(error))) => {
                        tracing::warn!(%error, "a plan goes without the model");
                        let why = "The model could not be asked; Lux's log says why.";
                        trouble.insert(why.to_owned()).clone()
                    }
                    Err(_) => {
                        let why = format!("The model took longer than {} s.", PATIENCE.as_secs());
                        trouble.insert(why).clone()
                    }
                }
            };
            plan.notice = Some(format!("{why} This is the playbook's plan."));
        }
    }

    async fn drafted<'c>(
        &self,
        organization: OrganizationId,
        case: &'c Case,
        choice: &Choice,
        packs: &mut BTreeMap<&'c str, (Desk, Packed)>,
    ) -> Result<ModelPlan, Failed> {
        if !packs.contains_key(case.app.as_str()) {
            let app = (!case.app.is_empty()).then(|| case.app.clone());
            let mut desk = self.app.llm.desk();
            let scope = Scope { organization, app };
            let packed = self.analyst.pack_of(scope, PACK, &mut desk).await?;
            packs.insert(&case.app, (desk, packed));
        }
        let Some((desk, packed)) = packs.get_mut(case.app.as_str()) else {
            return Err(Failed::Model("The model was not asked.".to_owned()));
        };
        let nameable = self.actions.nameable(organization, case.cause()).await?;
        let actions: Vec<_> = nameable
            .iter()
            .map(|action| match &action.title {
                Some(title) => desk.plain(&format!("{} ({title})", action.action)),
                None => desk.plain(&action.action),
            })
            .collect();
        let checks: Vec<_> = choice
            .probes
            .iter()
            .map(|probe| desk.plain(&format!("{} ({})", probe.name, probe.check.kind().as_str())))
            .collect();
        let inputs = Inputs::new().texts("actions", &actions).texts("checks", &checks);
        let prompt = self.app.llm.prompts().render("plan", inputs)?;
        let schema = prompt.schema.clone();
        let about = desk.data("the cause and its errors", &told_of(case))?;
        let pack = desk.data("the pack: logs and errors", &packed.pack.text)?;
        let user = llm::Outgoing::join([about, pack]);
        let messages = vec![Message::System(prompt.text), Message::User(user)];
        let why = format!("plan for {}", case.cause());
        let asked = Asked { organization, by: "repair", why: &why };
        let rules = Rules { nameable: &nameable, choice, pack: &packed.pack };
        let (told, mut plan) = diagnose::ask(
            &self.app.llm,
            Purpose::Plan,
            messages,
            schema.as_ref(),
            desk,
            &asked,
            |told, desk| read(told, &rules, &|text| desk.reveal(text)),
        )
        .await
        .map_err(Failed::Model)?;
        plan.model = told.model;
        for dropped in &plan.dropped {
            metrics::counter!("lux_model_dropped_total", "what" => dropped.what.clone())
                .increment(1);
        }
        Ok(plan)
    }
}

/// Why there is no plan of the model's.
enum Failed {
    /// One line for the operator.
    Model(String),
    Lux(crate::error::Error),
}

impl From<crate::error::Error> for Failed {
    fn from(error: crate::error::Error) -> Self {
        Self::Lux(error)
    }
}

struct Rules<'a> {
    nameable: &'a [Rendered],
    choice: &'a Choice,
    pack: &'a Pack,
}

/// The plan without what does not exist; an error says what is wrong where nothing is left.
fn read(
    told: &Told,
    rules: &Rules<'_>,
    reveal: &dyn Fn(&str) -> String,
) -> Result<ModelPlan, String> {
    let form: Form = told.json()?;
    let mut plan = ModelPlan { summary: shown(&form.summary, reveal), ..ModelPlan::default() };
    for line in form.steps {
        match rules.step(&line, reveal) {
            Ok(step) if plan.steps.contains(&step) => {}
            Ok(step) => plan.steps.push(step),
            Err(dropped) => plan.dropped.push(dropped),
        }
    }
    plan.steps.truncate(STEPS);
    let (evidence, _) = diagnose::proven(&form.evidence, rules.pack, reveal, &mut plan.dropped);
    plan.evidence = evidence;
    plan.dropped.truncate(50);
    if plan.steps.is_empty() {
        let wrong: Vec<&str> = plan.dropped.iter().map(|it| it.text.as_str()).take(6).collect();
        let wrong = if wrong.is_empty() { "there are none".to_owned() } else { wrong.join("; ") };
        return Err(format!("no step is left of the plan, because {wrong}"));
    }
    Ok(plan)
}

impl Rules<'_> {
    /// A step as Lux knows it, or what of it does not exist.
    fn step(&self, line: &Line, reveal: &dyn Fn(&str) -> String) -> Result<Step, Dropped> {
        let name = reveal(&line.name);
        let none = |what: &'static str| {
            Dropped::new(what, &format!("there is no {what} \"{}\"", clip(&name, 60)))
        };
        match line.kind.as_str() {
            "manual" if line.text.trim().is_empty() => {
                Err(Dropped::new("step", "a step for a person has no words"))
            }
            "manual" => Ok(Step::Manual { text: shown(&line.text, reveal) }),
            "action" => self.action(&name).ok_or_else(|| none("action")),
            "check" => {
                let found = self.choice.probes.iter().find(|probe| probe.name == name);
                let probe = found.ok_or_else(|| none("check"))?;
                Ok(Step::Probe {
                    name: probe.name.clone(),
                    request: probe.check.to_string(),
                    shared: None,
                })
            }
            other => {
                let text = format!("there is no kind of step \"{}\"", clip(other, 40));
                Err(Dropped::new("step", &text))
            }
        }
    }

    /// The step for an action of the allow-list; by the model's word alone it never runs.
    fn action(&self, name: &str) -> Option<Step> {
        let own = self.choice.ranked.iter().find(|(action, _)| action.action == name);
        let (action, record, policy) = if let Some((action, record)) = own {
            (action, record.clone(), action.policy)
        } else {
            let action = self.nameable.iter().find(|action| action.action == name)?;
            let policy = match action.policy {
                Policy::Auto => Policy::Approve,
                policy => policy,
            };
            (action, None, policy)
        };
        Some(Step::Action {
            name: action.action.clone(),
            argv: action.argv.clone(),
            hash: action.hash.clone(),
            policy,
            risk: action.risk,
            record,
            blocked: action.blocked.clone(),
        })
    }
}

/// What is to be mended, in words. All of it may hold text of strangers.
fn told_of(case: &Case) -> String {
    let mut text = format!("cause: {} ({})\n{}\n", case.cause(), case.confidence(), case.title);
    if let Some(finding) = &case.finding {
        let _ = writeln!(text, "{}", finding.explanation);
        for effect in &finding.effects {
            let _ = writeln!(text, "effect: {effect}");
        }
        for step in &finding.fix {
            let _ = writeln!(text, "its playbook says: {step}");
        }
    }
    for group in case.groups.iter().take(ERRORS) {
        let endpoint = group.endpoint.as_deref().unwrap_or("no endpoint");
        let method = group.method.as_deref().unwrap_or_default();
        let _ = writeln!(text, "error: {} ×{}, {method} {endpoint}", group.title, group.count);
    }
    if case.groups.len() > ERRORS {
        let _ = writeln!(text, "and {} more errors", case.groups.len() - ERRORS);
    }
    clip(&text, CASE).to_owned()
}

/// The model's words for the operator.
fn shown(text: &str, reveal: &dyn Fn(&str) -> String) -> String {
    let text = llm::visible(&reveal(text));
    llm::inert(clip(text.trim(), TEXT)).into_owned()
}

fn clip(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
