//! One run: what became of each error, why, and on what that rests.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::{
    Page, Shell,
    cause::{Diagnosed, Known},
    filters, html, is_fragment,
    timeline::{Moment, moments},
    words::{self, Outcomes, State as Stands},
};
use crate::{
    app::App,
    auth::OrganizationId,
    dashboard::{
        approvals::card::{Card, cards},
        errors::link,
    },
    diagnose,
    error::{Error, Result},
    errors::store::events as captured,
    http::{Path, Query, Reader, Result as Answer},
    integrations::ticketing::{Ticket, Tickets},
    logs,
    probe::{Outcome, Phase, Sample, store as probes},
    repair::{
        action::Actions,
        store::{
            attempts::{self, Attempt, Subject},
            events,
            runs::{self, Run},
        },
        verdict::Verdict,
    },
};

/// Errors of one cause that are shown, causes, and steps of the run.
const ERRORS: usize = 25;
const CAUSES: usize = 40;
const STEPS: i64 = 80;
/// Newest results of checks that are looked at.
const SAMPLES: i64 = 600;
/// What is shown of a body, in bytes.
const EXCERPT: usize = 400;

/// What a check said.
pub(super) struct Cell {
    pub text: String,
    pub tone: &'static str,
}

/// A check, before and after.
pub(super) struct Compared {
    pub name: String,
    pub before: Option<Cell>,
    pub after: Option<Cell>,
    pub why: String,
}

/// An error in the run.
pub(super) struct ErrorRow {
    pub group: i64,
    pub title: String,
    pub endpoint: Option<String>,
    pub state: Stands,
    pub attempt: Attempt,
    pub checks: Vec<Compared>,
    /// The beginning of what the last failing check answered.
    pub excerpt: Option<String>,
    pub may_repeat: bool,
    /// What its ticket is called, how it stands, and where it is.
    pub ticket: Option<(String, &'static str, Option<String>)>,
}

impl ErrorRow {
    fn is_resolved(&self) -> bool {
        self.attempt.verdict == Some(Verdict::Resolved)
    }
}

/// A cause with all that belongs to it.
pub(super) struct Section {
    pub id: i64,
    pub found: Diagnosed,
    pub cards: Vec<Card>,
    pub errors: Vec<ErrorRow>,
    /// Errors that are not shown.
    pub more: usize,
}

#[derive(Template)]
#[template(path = "repairs/run.html", blocks = ["live"])]
struct RunPage {
    shell: Shell,
    /// This page, for what leads back.
    here: String,
    state: Stands,
    outcomes: Outcomes,
    scope: String,
    trigger: &'static str,
    took: String,
    sections: Vec<Section>,
    more_causes: usize,
    moments: Vec<Moment>,
    /// More comes by itself.
    is_live: bool,
    run: Run,
}

impl RunPage {
    fn judged(&self) -> i64 {
        self.outcomes.total() - self.outcomes.open
    }

    /// For a decision; then it goes on by itself.
    fn waits(&self) -> bool {
        self.run.status == runs::Status::Waiting
    }

    /// Errors that could be tried again.
    fn unresolved(&self) -> i64 {
        self.outcomes.total() - self.outcomes.resolved
    }
}

pub(super) async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(actions): Extension<Actions>,
    Extension(tickets): Extension<Tickets>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Answer<Response> {
    let page = load(app, actions, tickets, page.shell, page.caller.organization, id).await?;
    if is_fragment(&headers) {
        return html(&page.as_live());
    }
    html(&page)
}

async fn load(
    app: App,
    actions: Actions,
    tickets: Tickets,
    shell: Shell,
    organization: OrganizationId,
    id: i64,
) -> Result<RunPage> {
    let db = &app.db;
    let run = runs::find(db, organization, id).await?.ok_or(Error::NotFound("run"))?;
    let attempts = attempts::of_run(db, id).await?;
    let subjects = attempts::subjects(db, id).await?;
    let samples = probes::newest_of_attempt(db, organization, id, SAMPLES).await?;
    let mut cards = cards(actions.of_run(organization, id).await?, actions.catalogue());
    for card in &mut cards {
        card.is_nested = true;
    }
    let moments = moments(&events::newest(db, id, STEPS).await?);
    let mut outcomes = Outcomes::default();
    for attempt in &attempts {
        outcomes.add(attempt.verdict, 1);
    }
    let groups: Vec<i64> = attempts.iter().map(|attempt| attempt.group_id).collect();
    let tickets = tickets.of_groups(organization, &groups).await?;
    let causes = runs::causes(db, id).await?;
    let more_causes = causes.len().saturating_sub(CAUSES);
    let mut sections = Vec::new();
    for cause in causes.into_iter().take(CAUSES) {
        let known = Known {
            title: &cause.title,
            cause: &cause.cause,
            app: &cause.app,
            confidence: &cause.confidence,
            finding: cause.finding.as_ref(),
            plan: &cause.plan,
        };
        let found = Diagnosed::new(known, &actions, organization).await?;
        let of_cause: Vec<&Attempt> =
            attempts.iter().filter(|attempt| attempt.cause_id == cause.id).collect();
        let subject =
            |attempt: &Attempt| subjects.iter().find(|subject| subject.attempt_id == attempt.id);
        let names: Vec<String> =
            of_cause.iter().filter_map(|attempt| own_name(subject(attempt)?)).collect();
        let seen = Seen {
            run: &run,
            names: &names,
            planned: &found,
            samples: &samples,
            tickets: &tickets,
        };
        let needed = app.config.repair.passes;
        let rows = of_cause.iter().take(ERRORS);
        let errors = rows.map(|attempt| seen.row(attempt, subject(attempt), needed)).collect();
        sections.push(Section {
            id: cause.id,
            cards: cards.extract_if(.., |card| card.run.cause_id == cause.id).collect(),
            errors,
            more: of_cause.len().saturating_sub(ERRORS),
            found,
        });
    }
    Ok(RunPage {
        here: format!("/repairs/{id}"),
        state: words::of_run(&run, outcomes),
        outcomes,
        scope: words::scope(&run.scope()),
        trigger: words::trigger(run.trigger),
        took: words::took(&run, shell.now),
        sections,
        more_causes,
        moments,
        is_live: !run.status.is_settled(),
        run,
        shell,
    })
}

/// What a ticket is called, how it stands, and where it is.
fn named(ticket: &Ticket) -> (String, &'static str, Option<String>) {
    let key = ticket.key.as_deref().unwrap_or_default();
    let name = format!("{} {key}", ticket.label());
    (name.trim_end().to_owned(), ticket.word(), link(ticket).map(str::to_owned))
}

/// The name of the check that is the error's own request.
fn own_name(subject: &Subject) -> Option<String> {
    let path = subject.endpoint.as_deref()?;
    Some(format!("{} {path}", subject.method.as_deref().unwrap_or("GET")))
}

/// What was measured for a cause.
struct Seen<'a> {
    run: &'a Run,
    /// The own requests of the cause's errors.
    names: &'a [String],
    planned: &'a Diagnosed,
    /// Oldest first.
    samples: &'a [Sample],
    tickets: &'a [Ticket],
}

impl Seen<'_> {
    fn row(&self, attempt: &Attempt, subject: Option<&Subject>, needed: u32) -> ErrorRow {
        let own = subject.and_then(own_name);
        let of_error = |sample: &&Sample| {
            let named = format!("Check {}", sample.probe);
            let planned = self.planned.steps.iter().any(|step| step.title == named);
            own.as_deref() == Some(&sample.probe)
                || (planned && !self.names.contains(&sample.probe))
        };
        let samples: Vec<&Sample> = self.samples.iter().filter(of_error).collect();
        let stored = attempt.checks.as_ref().and_then(Value::as_array);
        let checks = match stored.filter(|_| attempt.verdict.is_some()) {
            Some(stored) => compared(stored.iter().filter_map(Point::stored)),
            None => compared(samples.iter().map(|sample| Point::measured(sample))),
        };
        let failing = samples.iter().rev().find(|sample| sample.outcome == Outcome::Fail);
        let is_failing = attempt.verdict == Some(Verdict::StillFailing);
        let excerpt = failing.filter(|_| is_failing).and_then(|it| it.excerpt.as_deref());
        let excerpt = excerpt.map(|text| text[..text.floor_char_boundary(EXCERPT)].to_owned());
        let title = subject.map(|subject| subject.title.clone());
        ErrorRow {
            group: attempt.group_id,
            title: title.unwrap_or_else(|| format!("Error {}", attempt.group_id)),
            endpoint: own,
            state: words::of_error(self.run, attempt.verdict, passes(&samples), needed),
            checks,
            excerpt: excerpt.filter(|text| !text.trim().is_empty()),
            may_repeat: self.run.status.is_settled()
                && matches!(
                    attempt.verdict,
                    None | Some(Verdict::StillFailing | Verdict::Inconclusive)
                ),
            attempt: attempt.clone(),
            ticket: self.tickets.iter().find(|it| it.group_id == attempt.group_id).map(named),
        }
    }
}

/// How many passes in a row the check has that has the fewest.
fn passes(samples: &[&Sample]) -> u32 {
    let mut keys: Vec<&str> = samples.iter().map(|sample| sample.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let of_key = |key: &str| {
        let newest = samples.iter().rev().filter(|sample| sample.key == key);
        newest.take_while(|sample| sample.outcome == Outcome::Pass).count()
    };
    let fewest = keys.into_iter().map(of_key).min().unwrap_or_default();
    u32::try_from(fewest).unwrap_or(u32::MAX)
}

/// One result of a check.
struct Point<'a> {
    name: &'a str,
    is_before: bool,
    outcome: &'a str,
    status: Option<i64>,
    latency: i64,
    why: &'a str,
}

impl<'a> Point<'a> {
    fn stored(check: &'a Value) -> Option<Self> {
        Some(Self {
            name: check["name"].as_str()?,
            is_before: check["when"] == "before",
            outcome: check["outcome"].as_str().unwrap_or_default(),
            status: check["status_code"].as_i64(),
            latency: check["latency_ms"].as_i64().unwrap_or_default(),
            why: check["why"].as_str().unwrap_or_default(),
        })
    }

    fn measured(sample: &'a Sample) -> Self {
        Self {
            name: &sample.probe,
            is_before: sample.phase == Phase::Before,
            outcome: match sample.outcome {
                Outcome::Pass => "pass",
                Outcome::Fail => "fail",
                Outcome::Unclear => "unclear",
            },
            status: sample.status,
            latency: sample.latency_ms,
            why: &sample.why,
        }
    }

    fn cell(&self) -> Cell {
        let (word, tone) = match self.outcome {
            "pass" => ("passed", "ok-t"),
            "fail" => ("failed", "bad-t"),
            _ => ("unclear", "dim"),
        };
        let text = match self.status {
            Some(status) => format!("{status} {word}, {} ms", self.latency),
            None => format!("{word}, {} ms", self.latency),
        };
        Cell { text, tone }
    }
}

/// Each check with its first result before and its last one after.
fn compared<'a>(points: impl Iterator<Item = Point<'a>>) -> Vec<Compared> {
    let mut all: Vec<Compared> = Vec::new();
    for point in points {
        let known = all.iter().position(|it| it.name == point.name);
        let index = known.unwrap_or_else(|| {
            let name = point.name.to_owned();
            all.push(Compared { name, before: None, after: None, why: String::new() });
            all.len() - 1
        });
        let Some(check) = all.get_mut(index) else { continue };
        point.why.clone_into(&mut check.why);
        if point.is_before {
            check.before.get_or_insert_with(|| point.cell());
        } else {
            check.after = Some(point.cell());
        }
    }
    all
}

#[derive(Deserialize)]
pub(super) struct Quoted {
    source: String,
    line: u64,
    #[serde(default)]
    text: String,
}

/// Leads to where a quoted line stands: in the logs, or to the error that was captured.
pub(super) async fn cited(
    page: Page<Reader>,
    State(app): State<App>,
    Query(quoted): Query<Quoted>,
) -> Answer<Response> {
    if quoted.source == diagnose::ERRORS {
        let id = i64::try_from(quoted.line).unwrap_or_default();
        let found = captured::find(&app.db, page.caller.organization, id).await;
        let event = found.map_err(Error::from)?.ok_or(Error::NotFound("error event"))?;
        return Ok(Redirect::to(&format!("/errors/{}", event.event.group_id)).into_response());
    }
    let mut address = form_urlencoded::Serializer::new(String::new());
    address.append_pair("source", &quoted.source);
    match record(&app, &quoted) {
        Some(record) => address.append_pair("record", &record),
        None => address.append_pair("q", &quoted.text),
    };
    Ok(Redirect::to(&format!("/logs?{}", address.finish())).into_response())
}

/// The record that the quoted line belongs to, if the window still has it.
fn record(app: &App, quoted: &Quoted) -> Option<String> {
    let query = logs::Query {
        sources: vec![quoted.source.clone()],
        text: Some(logs::Pattern::parse(&quoted.text).ok()?),
        limit: 200,
        ..logs::Query::default()
    };
    let found = app.live.search(&query).ok()?.records;
    // A record of several lines is known by its first.
    let before = found.into_iter().filter(|record| record.line <= quoted.line);
    before.max_by_key(|record| record.line).map(|record| record.id)
}
