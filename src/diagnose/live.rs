//! Diagnosing the running system: the window of recent records and the open errors.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::TimeDelta;

use super::{
    Advisor, Confidence, Diagnosis, Finding, Playbook, Scanned, deployed,
    pack::{Collector, Pack},
};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    config::ProbeKind,
    error::Result,
    errors::store::open::{self, Open},
    logs::{Event, Fields, Kind, Live, Record, Selection, Severity},
};

/// How far back captured errors count.
const ERRORS_SINCE: TimeDelta = TimeDelta::hours(24);

/// Open groups that are read, of each status.
const MAX_GROUPS: i64 = 100;

/// How captured errors are cited; the line is the event's id.
pub(crate) const ERRORS: &str = "error_log";

/// For how long an answer serves whoever asks the same.
const FRESH: Duration = Duration::from_secs(1);

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub organization: OrganizationId,
    /// Only the sources and errors of this monitored application.
    pub app: Option<String>,
}

/// Diagnoses the running system. Cheap to clone.
#[derive(Clone)]
pub struct Diagnoser {
    app: App,
    advisor: Advisor,
    /// One diagnosis at a time: it reads the whole window, and would only fight for
    /// the same cores.
    turn: Arc<tokio::sync::Mutex<()>>,
    last: Arc<Mutex<Option<(Instant, Scope, Diagnosis)>>>,
}

impl Diagnoser {
    pub fn new(app: App, advisor: Advisor) -> Self {
        Self { app, advisor, turn: Arc::default(), last: Arc::default() }
    }

    /// What is wrong now. A database that is away costs the captured errors, not the
    /// answer: the logs may say why it is away.
    pub async fn diagnose(&self, scope: Scope) -> Result<Diagnosis> {
        let _turn = self.turn.lock().await;
        if let Some((at, known, diagnosis)) =
            self.last.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && *known == scope
            && clock::instant().duration_since(*at) < FRESH
        {
            return Ok(diagnosis.clone());
        }
        let since = clock::now() - ERRORS_SINCE;
        let (db, app) = (&self.app.db, scope.app.as_deref());
        let mut notes = Vec::new();
        let errors = match open::latest(db, scope.organization, app, since, MAX_GROUPS).await {
            Ok(errors) => errors,
            Err(error) => {
                tracing::warn!(%error, "a diagnosis goes without the captured errors");
                notes.push("the captured errors could not be read: the database is away".into());
                Vec::new()
            }
        };
        let (live, advisor, only) =
            (self.app.live.clone(), self.advisor.clone(), scope.app.clone());
        let work = move || {
            let mut scan = advisor.scan();
            let mut scanned = Scanned::default();
            each_record(&live, only.as_deref(), &mut |source, record| {
                scanned.lines +=
                    1 + memchr::memchr_iter(b'\n', record.text.as_bytes()).count() as u64;
                scanned.bytes += record.text.len() as u64;
                scan.feed(source, record);
            });
            for error in &errors {
                let text = event_text(error);
                scan.feed(ERRORS, &event_record(error, &text));
            }
            scanned.lines += errors.len() as u64;
            let sources = live.status().into_iter().filter(|source| source.lines > 0);
            scanned.files = sources.count() as u64;
            let mut diagnosis = scan.finish(scanned, notes);
            prove(&mut diagnosis, &live, only.as_deref(), &errors);
            (diagnosis, errors)
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?;
        let (mut diagnosis, errors) = done;
        let named = deployed::name(&mut diagnosis, &self.app, scope.organization, &errors).await;
        if let Err(error) = named {
            tracing::warn!(%error, "a diagnosis goes without the deploys");
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((clock::instant(), scope, diagnosis.clone()));
        Ok(diagnosis)
    }
}

impl Diagnoser {
    /// What each captured error says by itself, without the logs around it: the first
    /// finding, if there is one.
    pub async fn explain(&self, errors: Vec<Open>) -> Result<Vec<Option<Finding>>> {
        let advisor = self.advisor.clone();
        let work = move || {
            let explain = |error: &Open| {
                let mut scan = advisor.scan();
                let text = event_text(error);
                scan.feed(ERRORS, &event_record(error, &text));
                let mut findings = scan.finish(Scanned::default(), Vec::new()).findings;
                (!findings.is_empty()).then(|| findings.swap_remove(0))
            };
            errors.iter().map(explain).collect()
        };
        Ok(tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?)
    }

    /// The records and open errors of a scope, collected for a pack, with the diagnosis of
    /// them. A database that is away costs the errors, as in [`Diagnoser::diagnose`].
    pub(super) async fn collect(&self, scope: Scope) -> Result<(Diagnosis, Collector, Vec<Open>)> {
        let diagnosis = self.diagnose(scope.clone()).await?;
        let now = clock::now();
        let (db, only) = (&self.app.db, scope.app.clone());
        let since = now - ERRORS_SINCE;
        let errors = open::latest(db, scope.organization, only.as_deref(), since, MAX_GROUPS).await;
        let errors = errors.unwrap_or_else(|error| {
            tracing::warn!(%error, "a pack goes without the captured errors");
            Vec::new()
        });
        let live = self.app.live.clone();
        let work = move || {
            let mut collector = Collector::new(&diagnosis, now);
            each_record(&live, only.as_deref(), &mut |source, record| {
                collector.feed(source, record);
            });
            (diagnosis, collector, errors)
        };
        Ok(tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?)
    }

    /// How sure one may be of a cause that rests on these records of a pack: as sure as the
    /// advisor is of the same cause; else likely if by themselves they match its playbook.
    pub(super) fn confidence(
        &self,
        diagnosis: &Diagnosis,
        cause: &str,
        cited: &[u32],
        pack: &Pack,
    ) -> Confidence {
        if let Some(finding) = diagnosis.findings.iter().find(|finding| finding.cause == cause) {
            return finding.confidence;
        }
        let mut scan = self.advisor.scan();
        for cited in cited.iter().filter_map(|id| pack.cited(*id)) {
            let record = Record { severity: Severity::Error, ..Record::plain(&*cited.text, 1) };
            scan.feed(&cited.source, &record);
        }
        let alone = scan.finish(Scanned::default(), Vec::new());
        let found = alone.findings.iter().find(|finding| finding.cause == cause);
        // what stands alone is not confirmed: the rest of the logs said nothing of it
        found.map_or(Confidence::Inconclusive, |found| found.confidence.min(Confidence::Likely))
    }

    /// The ids of all causes that can be named.
    pub fn causes(&self) -> impl Iterator<Item = &str> {
        self.advisor.causes()
    }

    /// The playbook of a cause.
    pub fn playbook(&self, cause: &str) -> Option<&Playbook> {
        self.advisor.playbook(cause)
    }

    /// The kinds of probes that can tell whether a cause is gone.
    pub fn verified_by(&self, cause: &str) -> &[ProbeKind] {
        self.advisor.playbook(cause).map_or(&[], |playbook| &playbook.verified_by)
    }
}

/// Goes through the window's records, of one application or all. A source with several
/// files is cited by the file, or its line numbers would mean nothing.
pub fn each_record(live: &Live, app: Option<&str>, each: &mut dyn FnMut(&str, &Record<'_>)) {
    for status in live.status() {
        if app.is_some() && status.app.as_deref() != app {
            continue;
        }
        let many = status.path.contains(['*', '?', '[']);
        let selection = Selection { sources: vec![status.name], ..Selection::default() };
        let walked = live.for_each(&selection, &mut |source, file, record| {
            each(file.filter(|_| many).unwrap_or(source), record);
        });
        if let Err(error) = walked {
            tracing::error!(%error, "a source of our own is not known");
        }
    }
}

/// Looks every quotation up again: in the window as it is now, and in the events.
fn prove(diagnosis: &mut Diagnosis, live: &Live, app: Option<&str>, errors: &[Open]) {
    let mut wanted: HashMap<(String, u64), Option<String>> = diagnosis
        .findings
        .iter()
        .flat_map(|finding| &finding.evidence)
        .map(|quote| ((quote.source.clone(), quote.line), None))
        .collect();
    each_record(live, app, &mut |source, record| {
        let mut offset = 0;
        for text in record.text.split('\n') {
            let line = record.line_at(offset);
            if let Some(found) = wanted.get_mut(&(source.to_owned(), line)) {
                *found = Some(text.to_owned());
            }
            offset += text.len() + 1;
        }
    });
    diagnosis.verify(&mut |source, line| {
        if source == ERRORS {
            let error = errors.iter().find(|error| error.event_id.unsigned_abs() == line)?;
            return Some(event_text(error));
        }
        Some(wanted.get(&(source.to_owned(), line)).cloned().flatten().unwrap_or_default())
    });
}

/// An event as the traceback it had, or the last line of one.
pub(super) fn event_text(error: &Open) -> String {
    let mut text = format!("{}: {}", error.error_type, error.error_message);
    if let Some(stack) = &error.error_stack {
        let _ = write!(text, "\n{stack}");
    }
    text
}

fn event_record<'a>(error: &'a Open, text: &'a str) -> Record<'a> {
    Record {
        kind: Kind::Event,
        at: Some(error.last_seen),
        severity: error.severity,
        fields: Fields::Event(Event {
            id: error.event_id,
            error_type: &error.error_type,
            method: error.method.as_deref(),
            endpoint: error.endpoint.as_deref(),
        }),
        ..Record::plain(text, error.event_id.unsigned_abs())
    }
}
