//! Answers by the advisor alone: from the diagnosis, the health and the errors.

use chrono::TimeDelta;
use serde_json::Value;

use super::{
    Chat, Question,
    answer::{self, Answer},
    failing,
    going::Going,
    intent::Intent,
    made, neighbours, scope_of, store,
};
use crate::{
    clock,
    diagnose::Diagnosis,
    error::Result,
    errors::store::{
        groups,
        open::{self, Open},
    },
};

/// What the advisor does about a question, as its steps are named; `None` if it looks at
/// nothing.
fn step(intent: Intent) -> Option<&'static str> {
    match intent {
        Intent::Help | Intent::Other | Intent::Repair => None,
        Intent::Diagnose | Intent::Since | Intent::HowOften => Some("diagnose"),
        Intent::Around => Some("read_log_around"),
        Intent::Healthy => Some("health"),
        Intent::FailingEndpoints => Some("failing_endpoints"),
        Intent::Errors => Some("list_errors"),
        Intent::Signups => Some("contacts_summary"),
        Intent::Campaign => Some("draft_campaign"),
        Intent::Ticket => Some("create_ticket"),
        Intent::Project => Some("project_status"),
    }
}

impl Chat {
    /// What the advisor makes of a question, as a step that is told. With a diagnosis that is
    /// `known` it looks at nothing more.
    pub(super) async fn look(
        &self,
        going: &Going,
        question: &Question,
        intent: Intent,
        known: Option<Diagnosis>,
    ) -> Result<(Answer, Option<Diagnosis>)> {
        let step = step(intent).filter(|_| known.is_none());
        let work = self.work_out(question, intent, known);
        let Some(step) = step else { return work.await };
        let found = |(answer, diagnosis): &(Answer, Option<Diagnosis>)| {
            if let Some(diagnosis) = diagnosis {
                return self.found(diagnosis);
            }
            let mut sources: Vec<String> =
                answer.citations.iter().map(|cited| cited.source.clone()).collect();
            sources.sort_unstable();
            sources.dedup();
            (format!("{} lines found", answer.citations.len()), sources)
        };
        going.looking(step, work, found).await
    }

    /// What a diagnosis looked at, for the trail.
    pub(super) fn found(&self, diagnosis: &Diagnosis) -> (String, Vec<String>) {
        let sources = self.app.live.status().into_iter().filter(|source| source.lines > 0);
        let sources: Vec<String> =
            sources.map(|source| source.name).chain(["error_log".to_owned()]).collect();
        let causes = match diagnosis.findings.len() {
            1 => "1 cause".to_owned(),
            many => format!("{many} causes"),
        };
        (format!("{causes} in {} records", diagnosis.scanned.lines), sources)
    }

    async fn work_out(
        &self,
        question: &Question,
        intent: Intent,
        known: Option<Diagnosis>,
    ) -> Result<(Answer, Option<Diagnosis>)> {
        let diagnosed = async {
            match known {
                Some(known) => Ok(known),
                None => self.diagnose(question).await,
            }
        };
        Ok(match intent {
            Intent::Help => (answer::help(), None),
            // A wish for repair has its run, and is answered by its report.
            Intent::Other | Intent::Repair => (answer::needs_model(), None),
            Intent::Diagnose => {
                let diagnosis = diagnosed.await?;
                let looked_at = self.looked_at(&diagnosis);
                (answer::diagnosis(&diagnosis, &looked_at), Some(diagnosis))
            }
            Intent::Since | Intent::HowOften => {
                let diagnosis = self.known_or_new(question).await?;
                (answer::when(&diagnosis, clock::now()), Some(diagnosis))
            }
            Intent::Around => {
                let diagnosis = self.known_or_new(question).await?;
                (self.around(question, &diagnosis).await?, Some(diagnosis))
            }
            Intent::Healthy => {
                let diagnosis = diagnosed.await?;
                let snapshot = self.health.snapshot().await;
                let organization = question.owner.organization;
                let summary = groups::summary(&self.app.db, organization, clock::now()).await?;
                let open = summary.unresolved + summary.regressed;
                (answer::health(&diagnosis, &snapshot, open), Some(diagnosis))
            }
            Intent::FailingEndpoints => {
                let (endpoints, requests) =
                    failing::endpoints(&self.app, question.app.as_deref()).await?;
                (answer::endpoints(&endpoints, requests), None)
            }
            Intent::Signups => (self.signups(question).await?, None),
            Intent::Campaign => (Box::pin(self.draft_campaign(question)).await?, None),
            Intent::Ticket => (Box::pin(self.ticket(question)).await?, None),
            Intent::Project => (Box::pin(self.project(question)).await?, None),
            Intent::Errors => {
                let open = self.open_errors(question).await?;
                (answer::open_errors(&open), None)
            }
        })
    }

    /// What the operator may start with one click: never started by what was read.
    pub(super) async fn proposals(
        &self,
        question: &Question,
        diagnosis: Option<&Diagnosis>,
    ) -> Result<Vec<Value>> {
        if diagnosis.is_none_or(|diagnosis| diagnosis.healthy)
            || self.open_errors(question).await?.is_empty()
        {
            return Ok(Vec::new());
        }
        Ok(vec![made::repair_button(question.app.clone())])
    }

    async fn diagnose(&self, question: &Question) -> Result<Diagnosis> {
        self.diagnoser.diagnose(scope_of(question)).await
    }

    /// "It" is what this session spoke of last; without that, what is wrong now.
    async fn known_or_new(&self, question: &Question) -> Result<Diagnosis> {
        if let Some(session) = question.session
            && let Some(detail) = store::last_diagnosis(&self.app.db, session).await?
            && let Ok(Some(diagnosis)) =
                serde_json::from_value::<Option<Diagnosis>>(detail["diagnosis"].clone())
        {
            return Ok(diagnosis);
        }
        self.diagnose(question).await
    }

    pub(super) async fn open_errors(&self, question: &Question) -> Result<Vec<Open>> {
        let organization = question.owner.organization;
        let since = clock::now() - TimeDelta::days(30);
        let app = question.app.as_deref();
        Ok(open::latest(&self.app.db, organization, app, since, 10).await?)
    }

    async fn around(&self, question: &Question, diagnosis: &Diagnosis) -> Result<Answer> {
        let Some(evidence) = diagnosis.findings.iter().find_map(|found| found.evidence.first())
        else {
            return Ok(Answer::of(
                "Nothing is wrong as far as I see, so there is no line to show.",
            ));
        };
        let (source, line) = (evidence.source.clone(), evidence.line);
        let neighbours = neighbours::of(&self.app, question.app.clone(), source, line).await?;
        Ok(answer::around(&neighbours))
    }

    pub(super) fn looked_at(&self, diagnosis: &Diagnosis) -> String {
        let sources = self.app.live.status();
        let read = sources.iter().filter(|source| source.lines > 0).count();
        format!(
            "{} records from {read} of {} log sources, and the captured errors",
            diagnosis.scanned.lines,
            sources.len()
        )
    }
}
