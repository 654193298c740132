//! One message: a question as it was asked, or an answer with all that belongs to it.

use askama::Template;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    super::filters,
    evidence::Panel,
    plan, prose,
    run::{self, Badge},
};
use crate::{
    app::App,
    auth::{Caller, OrganizationId},
    chat::{Looked, store::Message},
    diagnose::{Confidence, Diagnosis},
    http::Result,
    repair::Repair,
};

/// Who looks, and with what.
pub(super) struct Viewer {
    pub app: App,
    pub repair: Repair,
    pub organization: OrganizationId,
    pub may_operate: bool,
}

impl Viewer {
    pub(super) fn new(app: &App, repair: &Repair, caller: &Caller) -> Self {
        Self {
            app: app.clone(),
            repair: repair.clone(),
            organization: caller.organization,
            may_operate: caller.role.may_operate(),
        }
    }
}

#[derive(Template)]
#[template(path = "chat/asked.html")]
pub(super) struct Asked {
    id: i64,
    session: i64,
    at: DateTime<Utc>,
    text: String,
    may_edit: bool,
}

impl Asked {
    pub(super) fn of(session: i64, message: &Message, may_edit: bool) -> Self {
        let text = message.content.trim().to_owned();
        Self { id: message.id, session, at: message.created_at, text, may_edit }
    }

    /// A question that was asked just now.
    pub(super) fn now(session: i64, id: i64, text: &str, at: DateTime<Utc>) -> Self {
        Self { id, session, at, text: text.trim().to_owned(), may_edit: false }
    }
}

/// What was looked at, as people read it.
pub(super) struct Trail {
    pub summary: String,
    pub steps: Vec<Step>,
}

pub(super) struct Step {
    pub name: &'static str,
    pub arguments: String,
    pub summary: String,
    pub took: String,
    pub ended: bool,
    pub failed: bool,
}

impl Trail {
    /// `milliseconds` from the question to the answer; `None` while it goes on.
    pub(super) fn of(trail: &[Looked], milliseconds: Option<u64>) -> Option<Self> {
        let mut sources: Vec<&String> = trail.iter().flat_map(|step| &step.sources).collect();
        sources.sort_unstable();
        sources.dedup();
        let steps = match trail.len() {
            0 => return None,
            1 => "1 step".to_owned(),
            many => format!("{many} steps"),
        };
        let summary = match (sources.len(), milliseconds.is_some()) {
            (0, true) => format!("Took {steps}"),
            (0, false) => format!("Looking, {steps} so far"),
            (1, true) => format!("Looked at 1 source in {steps}"),
            (many, true) => format!("Looked at {many} sources in {steps}"),
            (1, false) => format!("Looking: 1 source in {steps} so far"),
            (many, false) => format!("Looking: {many} sources in {steps} so far"),
        };
        let took = milliseconds.map(|it| format!(", {}", seconds(it))).unwrap_or_default();
        Some(Self { summary: summary + &took, steps: trail.iter().map(Step::of).collect() })
    }
}

impl Step {
    fn of(step: &Looked) -> Self {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let arguments = step.arguments.as_object().into_iter().flatten();
        let arguments: Vec<String> = arguments
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{} {}", name.replace('_', " "), text(value)))
            .collect();
        Self {
            name: named(&step.name),
            arguments: arguments.join(", "),
            summary: step.summary.clone(),
            took: seconds(step.milliseconds),
            ended: step.ended,
            failed: step.failed,
        }
    }
}

fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..100 => format!("{milliseconds} ms"),
        _ => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
    }
}

/// What a tool does, in words.
fn named(tool: &str) -> &'static str {
    match tool {
        "list_errors" => "Listed captured errors",
        "get_error" => "Read a captured error",
        "search_logs" => "Searched the logs",
        "read_log_around" => "Read around a log line",
        "log_sources" => "Looked at the log sources",
        "health" => "Looked at Lux's health",
        "diagnose" => "Ran the built-in diagnosis",
        "ask_model" => "Asked the model about it",
        "failing_endpoints" => "Counted failed requests",
        "list_probes" => "Listed the probes",
        "run_probe" => "Ran a probe",
        "repair_runs" => "Looked at repairs",
        "list_actions" => "Listed allowed actions",
        "start_repair" => "Asked for a repair",
        "propose_action" => "Proposed an action",
        _ => "Tried a tool that does not exist",
    }
}

/// Advisor and model, where they name different causes.
struct Versus {
    text: String,
    /// The advisor, and the model.
    sides: [Side; 2],
    /// Probes that would tell who is right.
    checks: Vec<String>,
}

struct Side {
    who: String,
    title: String,
    confidence: &'static str,
    explanation: String,
}

#[derive(Template)]
#[template(path = "chat/answer.html")]
pub(super) struct Answer {
    id: i64,
    session: i64,
    at: DateTime<Utc>,
    /// "Built-in advisor", or the model's name.
    by: String,
    trail: Option<Trail>,
    html: String,
    /// Its words are a run's report, which is shown as it is now.
    is_report: bool,
    versus: Option<Versus>,
    plan: Vec<plan::Card>,
    run: Option<run::Card>,
    /// A run that is not shown here.
    other_run: Option<i64>,
    proposals: Vec<Proposal>,
    /// Errors that a ticket may be opened for: their group, and what the button says.
    tickets: Vec<(i64, String)>,
    /// What leaves Lux when a button is pressed.
    wishes: Vec<Wish>,
    /// Pages of Lux that it leads to: what they are called, and where they are.
    pages: Vec<(String, String)>,
    /// What is missing, and whether the model failed.
    notice: Option<(String, bool)>,
    removed: usize,
    unproven: usize,
    stopped: bool,
    app: Option<String>,
    /// The question, to be asked again.
    retry: Option<(i64, String, &'static str)>,
    may_operate: bool,
    panel: Option<Panel>,
}

/// A message or a meeting, as it would be made.
struct Wish {
    title: String,
    /// What it says, for the person who decides.
    text: String,
    action: &'static str,
    icon: &'static str,
    /// JSON.
    body: String,
}

/// What a person may start with one click.
struct Proposal {
    title: String,
    groups: String,
    app: Option<String>,
}

impl Answer {
    /// `question` is what can be asked again; `live` is whether its run is shown as it is now.
    pub(super) async fn of(
        viewer: &Viewer,
        session: i64,
        message: &Message,
        question: Option<&Message>,
        live: bool,
    ) -> Result<Self> {
        let kept = message.kept();
        let diagnosis = kept.diagnosis.clone();
        let diagnosis: Option<Diagnosis> = diagnosis.and_then(|it| serde_json::from_value(it).ok());
        let run = match kept.run_id {
            // What became of it may have been forgotten meanwhile.
            Some(run) if live => run::Card::load(viewer, session, run, true).await.ok(),
            _ => None,
        };
        let plan = match &diagnosis {
            Some(diagnosis) if kept.run_id.is_none() => plan::of_diagnosis(diagnosis),
            _ => None,
        };
        let plan = plan.unwrap_or_default();
        let text =
            if plan.is_empty() { message.content.clone() } else { without_plan(&message.content) };
        let removed = kept.unproven.iter().filter(|doubt| doubt.starts_with('[')).count();
        let consulted = kept.diagnosed && kept.engine == "advisor";
        let failed = kept.notice.as_deref().is_some_and(|it| consulted || is_failure(it));
        let mode = if kept.repair_results.is_some() {
            "repair"
        } else if kept.diagnosed {
            "diagnose"
        } else {
            "chat"
        };
        Ok(Self {
            id: message.id,
            session,
            at: message.created_at,
            by: kept.model.clone().unwrap_or_else(|| match kept.engine.as_str() {
                "model" => "Model".to_owned(),
                _ => "Built-in advisor".to_owned(),
            }),
            trail: Trail::of(&kept.trail, Some(kept.milliseconds)),
            html: prose::cited(&text, message.id, &kept.citations),
            is_report: kept.repair_results.is_some() && run.is_some(),
            versus: diagnosis.as_ref().and_then(versus),
            plan,
            other_run: kept.run_id.filter(|_| run.is_none()),
            run,
            pages: pages(&kept.proposals),
            tickets: tickets(&kept.proposals),
            wishes: wishes(&kept.proposals),
            proposals: if kept.run_id.is_none() { proposals(&kept.proposals) } else { Vec::new() },
            notice: kept
                .notice
                .as_deref()
                .filter(|_| !kept.stopped)
                .and_then(said_once)
                .map(|it| (it, failed)),
            removed,
            unproven: kept.unproven.len() - removed,
            stopped: kept.stopped,
            app: kept.app.clone(),
            retry: question.map(|it| (it.id, it.content.clone(), mode)),
            may_operate: viewer.may_operate,
            panel: Panel::of(message.id, &kept),
        })
    }

    pub(super) fn evidence(&self) -> Option<&Panel> {
        self.panel.as_ref()
    }

    /// How its run stands.
    pub(super) fn badge(&self) -> Option<Badge> {
        self.run.as_ref().map(|run| run.badge.clone())
    }
}

/// A notice without its count of what is not proven, which stands below the words.
fn said_once(notice: &str) -> Option<String> {
    let counts = |text: &str| text.ends_with("not found in what was read.");
    if !counts(notice) {
        return Some(notice.to_owned());
    }
    let (before, last) = notice.rsplit_once(". ")?;
    counts(last).then(|| format!("{before}."))
}

/// Whether a notice tells of the model's trouble.
fn is_failure(notice: &str) -> bool {
    notice.starts_with("Answered without the model") || notice.starts_with("The model ")
}

fn pages(kept: &[Value]) -> Vec<(String, String)> {
    let page = |one: &Value| {
        let (title, path) = (one["title"].as_str()?, one["path"].as_str()?);
        // Of ours, and no other's.
        let own = path.starts_with('/') && !path.starts_with("//");
        (one["kind"] == "open" && own).then(|| (title.to_owned(), path.to_owned()))
    };
    kept.iter().filter_map(page).collect()
}

fn tickets(kept: &[Value]) -> Vec<(i64, String)> {
    let ticket = |one: &Value| {
        let group = one["body"]["group_id"].as_i64()?;
        (one["kind"] == "ticket")
            .then(|| (group, one["title"].as_str().unwrap_or("Create ticket").to_owned()))
    };
    kept.iter().filter_map(ticket).collect()
}

fn wishes(kept: &[Value]) -> Vec<Wish> {
    let wish = |one: &Value| {
        let (action, icon) = match one["kind"].as_str()? {
            "message" => ("/integrations/messages", "send"),
            "meeting" => ("/integrations/meetings", "calendar-clock"),
            _ => return None,
        };
        let text = |name: &str| one[name].as_str().map(str::to_owned);
        let body = one["body"].to_string();
        Some(Wish { title: text("title")?, text: text("text")?, action, icon, body })
    };
    kept.iter().filter_map(wish).collect()
}

fn proposals(kept: &[Value]) -> Vec<Proposal> {
    let repairs =
        kept.iter().filter(|one| matches!(one["kind"].as_str(), Some("repair" | "action")));
    repairs
        .map(|one| {
            let groups = one["body"]["group_ids"].as_array().into_iter().flatten();
            let groups: Vec<String> =
                groups.filter_map(Value::as_i64).map(|it| it.to_string()).collect();
            Proposal {
                title: one["title"].as_str().unwrap_or("Run repair").to_owned(),
                groups: groups.join(","),
                app: one["body"]["app"].as_str().map(str::to_owned),
            }
        })
        .collect()
}

/// The words without the first list of what to do: it is shown as steps.
fn without_plan(text: &str) -> String {
    let Some((before, after)) = text.split_once("\nWhat to do:\n") else {
        return text.to_owned();
    };
    let is_step = |line: &str| {
        line.starts_with("Then check that ")
            || line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    };
    let rest: Vec<&str> = after.lines().skip_while(|line| is_step(line)).collect();
    format!("{before}\n{}", rest.join("\n"))
}

fn versus(diagnosis: &Diagnosis) -> Option<Versus> {
    let opinion = diagnosis.model.as_ref()?;
    let disagreement = opinion.disagreement.as_ref()?;
    let ours = diagnosis.findings.iter().find(|finding| finding.cause == disagreement.advisor)?;
    let theirs = opinion.causes.first()?;
    Some(Versus {
        text: disagreement.text.clone(),
        sides: [
            Side {
                who: "Built-in advisor".to_owned(),
                title: ours.title.clone(),
                confidence: sure(ours.confidence),
                explanation: prose::plain(&ours.explanation),
            },
            Side {
                who: opinion.model.clone(),
                title: theirs.title.clone(),
                confidence: sure(theirs.confidence),
                explanation: prose::plain(&without_numbers(&theirs.explanation)),
            },
        ],
        checks: disagreement
            .checks
            .iter()
            .map(|check| format!("{} ({})", check.probe, check.request))
            .collect(),
    })
}

/// Numbers of the pack are not those of the answer.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once('[') {
        out.push_str(before);
        match inside.split_once(']') {
            Some((number, after))
                if number.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | ' ')) =>
            {
                out.truncate(out.trim_end_matches(' ').len());
                rest = after;
            }
            _ => {
                out.push('[');
                rest = inside;
            }
        }
    }
    out + rest
}

fn sure(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Confirmed => "confirmed",
        Confidence::Likely => "likely",
        Confidence::Inconclusive => "not proven",
    }
}

#[cfg(test)]
mod tests {
    use super::{Looked, Trail, said_once, without_numbers, without_plan};

    #[test]
    fn a_trail_is_summed_up() {
        let step = |sources: &[&str]| Looked {
            name: "search_logs".to_owned(),
            sources: sources.iter().map(|it| (*it).to_owned()).collect(),
            milliseconds: 340,
            ended: true,
            ..Looked::default()
        };
        let trail = [step(&["app", "nginx"]), step(&["app"]), step(&[])];
        let shown = Trail::of(&trail, Some(8432)).unwrap();
        assert_eq!(shown.summary, "Looked at 2 sources in 3 steps, 8.4 s");
        assert_eq!(shown.steps[0].took, "0.3 s");
        assert!(Trail::of(&[], None).is_none());
    }

    #[test]
    fn steps_are_not_told_twice() {
        let text = "**A**\nIt is.\n\nWhat to do:\n1. Do `a`\n2. Do b\nThen check that GET / answers 200.\n\nNote: c";
        assert_eq!(without_plan(text), "**A**\nIt is.\n\n\nNote: c");
        assert_eq!(without_plan("nothing"), "nothing");
        assert_eq!(said_once("One quotation was not found in what was read."), None);
        let both =
            "The answer was cut after 9 tokens. 2 quotations were not found in what was read.";
        assert_eq!(said_once(both).as_deref(), Some("The answer was cut after 9 tokens."));
        assert_eq!(without_numbers("It broke [3, 4]. See [x]."), "It broke. See [x].");
    }
}
