//! The chat: a question in, an answer with citations out, both stored. Without a model
//! the advisor answers what can be answered from data, and says so about the rest.

mod answer;
mod failing;
mod intent;
mod neighbours;
mod routes;
mod store;

use chrono::TimeDelta;
use serde_json::json;

use crate::{
    app::App,
    clock,
    diagnose::{Diagnoser, Diagnosis, Scope},
    error::{Error, Result},
    errors::store::{
        groups,
        open::{self, Open},
    },
    health::Health,
};

use answer::Answer;
use intent::Intent;
pub use routes::{Action, Reply, router};
pub use store::Owner;

/// What an operator asks.
#[derive(Clone, Debug)]
pub struct Question {
    pub owner: Owner,
    pub session: Option<i64>,
    /// Only this monitored application.
    pub app: Option<String>,
    pub message: String,
    /// Diagnose, whatever the message says.
    pub diagnose: bool,
}

/// Answers questions. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    app: App,
    diagnoser: Diagnoser,
    health: Health,
}

impl Chat {
    pub fn new(app: App, diagnoser: Diagnoser, health: Health) -> Self {
        Self { app, diagnoser, health }
    }

    /// Whether the question's session and application exist.
    pub async fn check(&self, question: &Question) -> Result<()> {
        if let Some(id) = question.session {
            let found = store::find(&self.app.db, &question.owner, id).await?;
            found.ok_or(Error::NotFound("session"))?;
        }
        if let Some(name) = &question.app {
            let config = &self.app.config;
            let known = config.apps.iter().any(|app| app.name == *name)
                || config.sources.iter().any(|source| source.app.as_ref() == Some(name));
            if !known {
                return Err(Error::Invalid(format!(
                    "there is no app \"{name}\"; [[apps]] in lux.toml names them"
                )));
            }
        }
        Ok(())
    }

    /// Answers, and stores question and answer.
    pub async fn answer(&self, question: Question) -> Result<Reply> {
        let asked_at = clock::now();
        let intent =
            if question.diagnose { Intent::Diagnose } else { intent::read(&question.message) };
        let (answer, diagnosis) = self.work_out(&question, intent).await?;
        let action = if intent == Intent::Diagnose { Action::Diagnose } else { Action::Message };
        let has_logs = match &diagnosis {
            Some(diagnosis) => diagnosis.scanned.lines > 0,
            None => intent == Intent::FailingEndpoints,
        };
        let diagnosis =
            diagnosis.map(serde_json::to_value).transpose().map_err(anyhow::Error::from)?;
        let detail = json!({
            "engine": "advisor",
            "notice": answer.notice,
            "app": question.app,
            "citations": answer.citations,
            "diagnosis": diagnosis,
        });
        let db = &self.app.db;
        let session = store::open(db, &question.owner, question.session, &question.message).await?;
        let message =
            store::append(db, session, &question.message, &answer.text, detail, asked_at).await?;
        metrics::counter!("lux_chat_answers_total", "engine" => "advisor").increment(1);
        Ok(Reply {
            response: answer.text,
            action,
            has_logs,
            auto_repair_triggered: false,
            repair_results: None,
            success: true,
            session_id: session,
            message_id: message,
            diagnosis,
            proposals: Vec::new(),
            citations: answer.citations,
            engine: "advisor",
            notice: answer.notice,
        })
    }

    async fn work_out(
        &self,
        question: &Question,
        intent: Intent,
    ) -> Result<(Answer, Option<Diagnosis>)> {
        Ok(match intent {
            Intent::Help => (answer::help(), None),
            Intent::Other => (answer::needs_model(), None),
            Intent::Diagnose => {
                let diagnosis = self.diagnose(question).await?;
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
                let diagnosis = self.diagnose(question).await?;
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
            Intent::Errors => {
                let open = self.open_errors(question).await?;
                (answer::open_errors(&open), None)
            }
        })
    }

    async fn diagnose(&self, question: &Question) -> Result<Diagnosis> {
        let scope = Scope { organization: question.owner.organization, app: question.app.clone() };
        self.diagnoser.diagnose(scope).await
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

    async fn open_errors(&self, question: &Question) -> Result<Vec<Open>> {
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

    fn looked_at(&self, diagnosis: &Diagnosis) -> String {
        let sources = self.app.live.status();
        let read = sources.iter().filter(|source| source.lines > 0).count();
        format!(
            "{} records from {read} of {} log sources, and the captured errors",
            diagnosis.scanned.lines,
            sources.len()
        )
    }
}
