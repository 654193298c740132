//! The chat: a question in, an answer with citations out, both stored. Without a model
//! the advisor answers what can be answered from data, and says so about the rest.

mod answer;
mod cite;
mod failing;
mod intent;
mod markdown;
mod marker;
mod neighbours;
mod repair;
mod routes;
mod store;
pub mod tools;

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

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
    repair::{Repair, store::runs::Run},
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
    repair: Repair,
}

/// What a message leads to, as far as its words alone tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Understood(Intent);

impl Chat {
    pub fn new(app: App, diagnoser: Diagnoser, health: Health, repair: Repair) -> Self {
        Self { app, diagnoser, health, repair }
    }

    /// Reads the wish from the operator's message alone.
    pub fn understand(&self, question: &Question) -> Understood {
        let wish = intent::read(&question.message);
        let asked =
            if question.diagnose && wish != Intent::Repair { Intent::Diagnose } else { wish };
        Understood(asked)
    }

    /// The run that a wish for repair starts, or finds under way; `None` for other wishes.
    pub async fn begin(&self, question: &Question, what: Understood) -> Result<Option<Run>> {
        if what.0 != Intent::Repair {
            return Ok(None);
        }
        let app = question.app.clone();
        Ok(Some(repair::start(&self.repair, &question.owner, app).await?))
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

    /// Answers, and stores question and answer. `run` is what [`Chat::begin`] gave; its end
    /// is waited for at most `patience`.
    pub async fn answer(
        &self,
        question: Question,
        Understood(intent): Understood,
        run: Option<i64>,
        patience: Duration,
    ) -> Result<Reply> {
        let asked_at = clock::now();
        let mut repair_results = None;
        let (answer, diagnosis) = match run {
            Some(run) => {
                let told = repair::tell(&self.repair, &question.owner, run, patience).await?;
                repair_results = told.results;
                (told.answer, None)
            }
            None => self.work_out(&question, intent).await?,
        };
        let diagnosed = question.diagnose || intent == Intent::Diagnose;
        let action = if diagnosed { Action::Diagnose } else { Action::Message };
        let proposals = self.proposals(&question, diagnosis.as_ref()).await?;
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
            "run_id": run,
            "repair_results": repair_results,
            "proposals": proposals,
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
            auto_repair_triggered: run.is_some(),
            repair_results,
            success: true,
            session_id: session,
            message_id: message,
            diagnosis,
            proposals,
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
            // A wish for repair has its run, and is answered by its report.
            Intent::Other | Intent::Repair => (answer::needs_model(), None),
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

    /// What the operator may start with one click: never started by what was read.
    async fn proposals(
        &self,
        question: &Question,
        diagnosis: Option<&Diagnosis>,
    ) -> Result<Vec<Value>> {
        if diagnosis.is_none_or(|diagnosis| diagnosis.healthy)
            || self.open_errors(question).await?.is_empty()
        {
            return Ok(Vec::new());
        }
        Ok(vec![json!({
            "kind": "repair",
            "title": "Run repair",
            "method": "POST",
            "path": "/api/auto-repair/start",
            "body": { "app": question.app },
        })])
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
