//! A repair run inside a conversation: a row for each error, the plan with its actions, and what
//! was measured before and after. Read from the database each time it is shown.

use askama::Template;
use axum::{
    Extension, Form,
    extract::{State, rejection::FormRejection},
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{Page, approvals, filters, html, is_fragment, see_other},
    message::Viewer,
    plan, whole,
};
use crate::{
    app::App,
    error::Error,
    http::{Operator, Path, Query, Reader, Result},
    repair::{
        Repair,
        action::{Actions, Catalogue, Decided, Edit, Word},
        plan::Plan,
        report::{CauseReport, Detail, Report},
        store::{events, runs::Status},
        verdict::Verdict,
    },
};

/// A word about a state, with its colour and sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    pub tone: &'static str,
    pub icon: &'static str,
    pub word: String,
}

impl Badge {
    pub(super) fn new(tone: &'static str, icon: &'static str, word: &str) -> Self {
        Self { tone, icon, word: word.to_owned() }
    }
}

/// Errors and probes that are shown of one run; its own page has all.
const ROWS: usize = 30;

#[derive(Template)]
#[template(path = "chat/run.html")]
pub(super) struct Card {
    pub id: i64,
    chat: i64,
    may_operate: bool,
    /// It asks for itself again.
    live: bool,
    settled: bool,
    pub badge: Badge,
    about: String,
    finished_at: Option<DateTime<Utc>>,
    rows: Vec<Row>,
    more: usize,
    plans: Vec<PlanOf>,
    tables: Vec<Table>,
}

struct Row {
    group: i64,
    title: String,
    badge: Badge,
    why: String,
}

struct PlanOf {
    title: String,
    /// The errors that are tested again.
    groups: String,
    steps: Vec<plan::Card>,
    notice: Option<String>,
}

/// What was measured about one error.
struct Table {
    group: i64,
    title: String,
    proven: bool,
    before_at: Option<DateTime<Utc>>,
    after_at: Option<DateTime<Utc>>,
    checks: Vec<Check>,
}

struct Check {
    name: String,
    before: Option<Measured>,
    after: Option<Measured>,
}

struct Measured {
    passed: bool,
    text: String,
    at: Option<DateTime<Utc>>,
}

impl Card {
    /// The run as it stands; `live` while the page is to follow it by itself.
    pub(super) async fn load(viewer: &Viewer, chat: i64, id: i64, live: bool) -> Result<Self> {
        let report = viewer.repair.report(viewer.organization, id).await?;
        let round = if report.results.details.iter().any(|detail| detail.status.is_none()) {
            round(&viewer.app, id).await?
        } else {
            0
        };
        let passes = viewer.app.config.repair.passes;
        let probing = probing(round, passes);
        let mut card = Self::of(&report, chat, live, &probing, viewer.repair.catalogue());
        card.may_operate = viewer.may_operate;
        Ok(card)
    }

    fn of(report: &Report, chat: i64, live: bool, probing: &str, catalogue: &Catalogue) -> Self {
        let (results, id) = (&report.results, report.run_id.unwrap_or_default());
        let status = report.status.unwrap_or(Status::Queued);
        let badge = badge(report, status);
        let about = match (status, results.total_errors) {
            (Status::Queued, _) => "It begins as soon as the run before it has ended.".to_owned(),
            (Status::Running, 0) => "Finding the open errors and what to do about them.".to_owned(),
            (Status::Failed, _) => {
                report.note.clone().unwrap_or_else(|| "Lux's log says why.".to_owned())
            }
            (_, 0) => "There is no open error to repair.".to_owned(),
            (_, all) => format!(
                "{} of {all} {} verified as resolved",
                results.resolved,
                if all == 1 { "error" } else { "errors" }
            ),
        };
        let rows = results.details.iter().take(ROWS).map(|detail| row(detail, probing));
        let tables = results.details.iter().filter_map(table).take(ROWS / 3);
        Self {
            id,
            chat,
            may_operate: false,
            live,
            settled: status.is_settled(),
            badge,
            about,
            finished_at: report.finished_at,
            rows: rows.collect(),
            more: results.details.len().saturating_sub(ROWS),
            plans: report
                .causes
                .iter()
                .filter_map(|cause| plan_of(cause, report, catalogue))
                .collect(),
            tables: tables.collect(),
        }
    }
}

fn badge(report: &Report, status: Status) -> Badge {
    let results = &report.results;
    match status {
        Status::Queued => Badge::new("", "clock", "Queued"),
        Status::Running if results.total_errors == 0 => {
            Badge::new("live", "loader-circle", "Planning")
        }
        Status::Running => Badge::new("live", "loader-circle", "Probing"),
        Status::Waiting => Badge::new("warn", "hourglass", "Waiting for you"),
        Status::Failed => Badge::new("bad", "circle-x", "Failed"),
        Status::Done if results.total_errors == 0 => Badge::new("", "check", "Nothing to repair"),
        Status::Done if results.resolved == results.total_errors => {
            Badge::new("ok", "circle-check", "Resolved")
        }
        Status::Done if results.resolved > 0 => {
            Badge::new("warn", "circle-alert", "Partly resolved")
        }
        Status::Done => Badge::new("bad", "circle-x", "Not resolved"),
    }
}

/// Which round of probes a run is in.
async fn round(app: &App, id: i64) -> Result<u64> {
    let steps = events::after(&app.db, id, 0, events::MOST).await.map_err(Error::from)?;
    let last = steps.iter().rev().find(|step| step.kind == "round");
    Ok(last.and_then(|step| step.data["round"].as_u64()).unwrap_or_default())
}

/// "Probing 2 of 3"; where more are needed than are asked for, only which one it is.
fn probing(round: u64, passes: u32) -> String {
    let now = round + 1;
    if now <= u64::from(passes) {
        format!("Probing {now} of {passes}")
    } else {
        format!("Probing, round {now}")
    }
}

fn row(detail: &Detail, probing: &str) -> Row {
    let badge = match detail.status {
        None => Badge::new("live", "loader-circle", probing),
        // Nothing is green without the record that proves it.
        Some(Verdict::Resolved) if detail.evidence_id.is_some() => {
            Badge::new("ok", "circle-check", "Resolved verified")
        }
        Some(Verdict::Resolved) => Badge::new("", "check", "Resolved"),
        Some(Verdict::StillFailing) => Badge::new("bad", "circle-x", "Still failing"),
        Some(Verdict::Inconclusive) => Badge::new("", "circle-dashed", "Skipped"),
        Some(Verdict::AwaitingApproval) => Badge::new("warn", "hourglass", "Waiting for you"),
    };
    Row {
        group: detail.group_id,
        title: detail.title.clone(),
        badge,
        why: detail.why.clone().unwrap_or_default(),
    }
}

fn plan_of(cause: &CauseReport, report: &Report, catalogue: &Catalogue) -> Option<PlanOf> {
    let plan: Plan = serde_json::from_value(cause.fix_plan.clone()).ok()?;
    let of_cause: Vec<&Detail> = report
        .results
        .details
        .iter()
        .filter(|detail| detail.cause == cause.cause && detail.fix_plan == cause.fix_plan)
        .collect();
    let verdicts: Vec<Option<Verdict>> = of_cause.iter().map(|detail| detail.status).collect();
    let open = of_cause.iter().filter(|detail| detail.status != Some(Verdict::Resolved));
    let groups: Vec<String> = open.map(|detail| detail.group_id.to_string()).collect();
    let mut steps = plan::of_run(&plan, &cause.actions, &verdicts, catalogue);
    if groups.is_empty() {
        // What was mended needs nobody to do anything, or to test it again.
        steps.retain(|step| step.done.is_none());
    }
    if report.status.is_some_and(|status| !status.is_settled()) {
        for step in &mut steps {
            step.done = None;
        }
    }
    (!steps.is_empty()).then(|| PlanOf {
        title: cause.title.clone(),
        groups: groups.join(","),
        steps,
        notice: plan.notice,
    })
}

fn table(detail: &Detail) -> Option<Table> {
    detail.status?;
    let samples = detail.probes.as_array()?;
    let mut checks: Vec<Check> = Vec::new();
    for sample in samples {
        let name = sample["name"].as_str().unwrap_or_default();
        let known = checks.iter().position(|check| check.name == name);
        let at = known.unwrap_or_else(|| {
            checks.push(Check { name: name.to_owned(), before: None, after: None });
            checks.len() - 1
        });
        let measured = Measured::of(sample);
        // The first of before, the last of after.
        if sample["when"] == "before" {
            checks[at].before.get_or_insert(measured);
        } else {
            checks[at].after = Some(measured);
        }
    }
    if checks.is_empty() {
        return None;
    }
    Some(Table {
        group: detail.group_id,
        title: detail.title.clone(),
        proven: detail.status == Some(Verdict::Resolved) && detail.evidence_id.is_some(),
        before_at: checks.iter().find_map(|check| check.before.as_ref()?.at),
        after_at: checks.iter().find_map(|check| check.after.as_ref()?.at),
        checks,
    })
}

impl Measured {
    fn of(sample: &Value) -> Self {
        let said = match sample["status_code"].as_i64() {
            Some(code) => code.to_string(),
            None => sample["why"].as_str().unwrap_or_default().chars().take(120).collect(),
        };
        Self {
            passed: sample["passed"] == true,
            text: format!("{said}, {} ms", sample["latency_ms"].as_i64().unwrap_or_default()),
            at: sample["at"].as_str().and_then(|at| at.parse().ok()),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Where {
    /// The conversation that shows it.
    chat: Option<i64>,
}

/// A run as it stands, for a page that is open.
pub(super) async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    Query(place): Query<Where>,
    headers: HeaderMap,
) -> Result<Response> {
    let viewer = Viewer::new(&app, &repair, &page.caller);
    let card = Card::load(&viewer, place.chat.unwrap_or_default(), id, true).await?;
    if !is_fragment(&headers) {
        return Ok(Redirect::to(&format!("/repairs/{id}")).into_response());
    }
    html(&card)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Decision {
    #[serde(rename = "decision")]
    wish: String,
    hash: String,
    reason: String,
    chat: i64,
    #[serde(flatten)]
    values: approvals::Values,
}

/// Approves, rejects or changes an action. The same twice (a double click) is the same once.
pub(super) async fn decide(
    page: Page<Operator>,
    State(app): State<App>,
    Extension(actions): Extension<Actions>,
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    form: std::result::Result<Form<Decision>, FormRejection>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let run = actions.find(organization, id).await?.run_id;
    let Decision { wish, hash, reason, chat, values } = whole(form)?;
    let say = async |decided| {
        let word = Word { hash: hash.clone(), reason: Some(reason.clone()) };
        approvals::told(&page.caller, &repair, &actions, id, decided, word).await
    };
    let told = match wish.as_str() {
        "approve" => say(Decided::Approved).await?,
        "reject" => say(Decided::Rejected).await?,
        "edit" => {
            let edit = Edit { hash, params: values.params() };
            let told = approvals::told_of_edit(&page.caller, &actions, id, edit).await?;
            // The card alone cannot say why it is as it was.
            if told.bad && is_fragment(&headers) {
                return Err(Error::invalid(told.text).into());
            }
            told
        }
        _ => {
            let why = "say approve, reject or edit; go back and press one";
            return Err(Error::invalid(why).into());
        }
    };
    if is_fragment(&headers) {
        let viewer = Viewer::new(&app, &repair, &page.caller);
        return html(&Card::load(&viewer, chat, run, true).await?);
    }
    let next = if chat > 0 { format!("/chat/{chat}#run{run}") } else { format!("/repairs/{run}") };
    Ok(see_other(&next, &told))
}
