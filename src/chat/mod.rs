//! The chat: a question in, an answer with citations out, both stored. Without a model
//! the advisor answers what can be answered from data, and says so about the rest.

mod answer;
mod aside;
mod by_advisor;
mod by_model;
mod cite;
mod evidence;
mod failing;
mod going;
mod history;
mod intent;
mod kept;
mod made;
pub mod markdown;
mod marker;
mod market;
mod neighbours;
mod progress;
mod repair;
mod routes;
pub mod store;
mod talk;
mod tickets;
pub mod tools;
mod trail;
pub mod transcript;

use std::{future, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::StreamExt;
use serde_json::json;
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    app::App,
    auth::{OrganizationId, Role},
    clock,
    db::Db,
    diagnose::{Analyst, Diagnoser, Diagnosis, Scope},
    error::{Error, Result},
    health::Health,
    http::Problem,
    repair::{Repair, store::runs::Run},
};

use going::{Answers, Going, Guard};
use intent::Intent;
use made::Made;
use tools::Tools;

pub use answer::Citation;
pub use aside::{Aside, Heard, Said};
pub use evidence::{Evidence, Line};
pub use kept::Kept;
pub use progress::Progress;
pub use routes::{Action, MAX_MESSAGE, Reply, checked, router};
use store::Message;
pub use store::Owner;
pub use trail::Looked;

/// What an operator asks.
#[derive(Clone, Debug)]
pub struct Question {
    pub owner: Owner,
    /// What the tools of a model may do for them.
    pub role: Role,
    pub session: Option<i64>,
    /// Only this monitored application.
    pub app: Option<String>,
    pub message: String,
    /// Diagnose, whatever the message says.
    pub diagnose: bool,
    /// Repair, whatever the message says.
    pub repair: bool,
    /// The groups of errors that a repair is about; all open ones without them.
    pub groups: Option<Vec<i64>>,
    /// The session's last question, in whose place this one comes.
    pub replaces: Option<i64>,
}

/// An answer that has begun.
pub struct Begun {
    pub session: i64,
    /// The question's message.
    pub question: i64,
    pub run: Option<i64>,
    going: Arc<Going>,
    answer: JoinHandle<std::result::Result<Reply, Problem>>,
}

/// Whether anybody of an organization has ever asked.
pub async fn was_asked(db: &Db, organization: OrganizationId) -> Result<bool> {
    store::any(db, organization).await
}

/// Answers questions. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    app: App,
    analyst: Analyst,
    diagnoser: Diagnoser,
    health: Health,
    repair: Repair,
    tools: Tools,
    answers: Answers,
}

/// A question that is being answered.
struct Asking {
    question: Question,
    intent: Intent,
    run: Option<i64>,
    before: Before,
    until: Instant,
    begun: std::time::Instant,
}

/// What came before a question.
enum Before {
    /// It is in the session; the id of the question's message.
    Stored(i64),
    /// The caller told it, and there is no session.
    Told(Vec<Message>),
}

fn scope_of(question: &Question) -> Scope {
    Scope { organization: question.owner.organization, app: question.app.clone() }
}

/// For the ledger.
fn why(going: &Going, before: &Before) -> String {
    match before {
        Before::Stored(asked) => format!("message {asked} of session {}", going.session),
        Before::Told(_) => "a question of a program, in no session".to_owned(),
    }
}

/// The longest that who follows an answer waits for a run.
const RUN: Duration = Duration::from_mins(10);

fn doing(intent: Intent) -> &'static str {
    match intent {
        Intent::Repair => "repairing",
        _ => "reading logs and errors",
    }
}

/// What a message leads to, as far as its words alone tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Understood(Intent);

impl Chat {
    pub fn new(
        app: App,
        analyst: Analyst,
        diagnoser: Diagnoser,
        health: Health,
        repair: Repair,
        tools: Tools,
    ) -> Self {
        Self { app, analyst, diagnoser, health, repair, tools, answers: Answers::default() }
    }

    /// Reads the wish from the operator's message alone.
    pub fn understand(&self, question: &Question) -> Understood {
        if question.repair {
            return Understood(Intent::Repair);
        }
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
        let (app, groups) = (question.app.clone(), question.groups.clone());
        Ok(Some(repair::start(&self.repair, &question.owner, app, groups).await?))
    }

    /// Whether the question's session and application exist.
    pub async fn check(&self, question: &Question) -> Result<()> {
        if let Some(id) = question.session {
            let found = store::find(&self.app.db, &question.owner, id).await?;
            found.ok_or(Error::NotFound("session"))?;
        }
        self.app.apps.check(&self.app.config, question.app.as_deref())
    }

    /// Begins an answer: stores the question, starts the run that it wishes for, and leaves the
    /// rest to a task of its own that tells its steps. The answer comes within `patience`;
    /// `None` is as long as somebody who follows it would wait.
    ///
    /// [`Error::NotFound`] for a session or application that is not there, [`Error::Conflict`]
    /// while the session has another answer under way.
    pub async fn ask(&self, question: Question, patience: Option<Duration>) -> Result<Begun> {
        self.check(&question).await?;
        let what = self.understand(&question);
        let Understood(intent) = what;
        let db = &self.app.db;
        if let Some(session) = question.session.filter(|it| self.is_answering(*it)) {
            // Before a run is started for nothing.
            return Err(going::taken(session));
        }
        let run = self.begin(&question, what).await?.map(|run| run.id);
        let patience = patience.unwrap_or(if run.is_some() { RUN } else { talk::PATIENCE });
        let session = store::open(db, &question.owner, question.session, &question.message).await?;
        let (going, guard) = self.answers.begin(session)?;
        if let (Some(session), Some(replaced)) = (question.session, question.replaces) {
            store::withdraw(db, session, replaced).await?;
        }
        let asked = store::ask(db, session, &question.message).await?;
        going
            .tell("status", json!({ "text": doing(intent), "run_id": run, "session_id": session }));
        let (before, until) = (Before::Stored(asked), Instant::now() + patience);
        let asking = Asking { question, intent, run, before, until, begun: clock::instant() };
        let answer = self.set_out(Arc::clone(&going), guard, asking);
        Ok(Begun { session, question: asked, run, going, answer })
    }

    /// Leaves an answer to a task of its own.
    fn set_out(
        &self,
        told: Arc<Going>,
        guard: Guard,
        asking: Asking,
    ) -> JoinHandle<std::result::Result<Reply, Problem>> {
        let chat = self.clone();
        let work = async move {
            let _guard = guard;
            match chat.answer(&told, asking).await {
                Ok(reply) => {
                    told.tell("done", serde_json::to_value(&reply).unwrap_or_default());
                    Ok(reply)
                }
                Err(error) => {
                    let problem = Problem::from(error);
                    if let Some(reason) = &problem.internal {
                        tracing::error!(reason, "an answer failed");
                    }
                    told.tell("problem", serde_json::to_value(&problem).unwrap_or_default());
                    Err(problem)
                }
            }
        };
        self.app.tasks.spawn(work)
    }

    async fn answer(&self, going: &Arc<Going>, asking: Asking) -> Result<Reply> {
        let Asking { question, intent, run, .. } = &asking;
        let (mut made, diagnosis) = match run {
            Some(run) => (self.repaired(going, &question.owner, *run, asking.until).await?, None),
            None if self.app.llm.is_on() && *intent != Intent::Help => {
                self.by_model(going, &asking).await?
            }
            None => {
                let (answer, diagnosis) = self.look(going, question, *intent, None).await?;
                (Made::by_advisor(answer), diagnosis)
            }
        };
        if !made.told {
            // The advisor answers in one go, so the words are told a paragraph at a time.
            for text in made.answer.text.split_inclusive("\n\n") {
                going.tell("delta", json!({ "text": text }));
            }
        }
        for proposal in self.proposals(question, diagnosis.as_ref()).await? {
            made.propose(proposal);
        }
        self.keep(going, asking, made, diagnosis).await
    }

    /// Stores an answer, if it belongs to a session.
    async fn keep(
        &self,
        going: &Going,
        Asking { question, intent, run, before, begun, .. }: Asking,
        made: Made,
        diagnosis: Option<Diagnosis>,
    ) -> Result<Reply> {
        let diagnosed = question.diagnose || intent == Intent::Diagnose;
        let action = match (question.repair, diagnosed) {
            (true, _) => Action::Repair,
            (_, true) => Action::Diagnose,
            _ => Action::Message,
        };
        let has_logs = match &diagnosis {
            Some(diagnosis) => diagnosis.scanned.lines > 0,
            None => intent == Intent::FailingEndpoints || !made.answer.citations.is_empty(),
        };
        let diagnosis =
            diagnosis.map(serde_json::to_value).transpose().map_err(anyhow::Error::from)?;
        let run = run.or(made.run_id);
        let kept = Kept {
            engine: made.engine.to_owned(),
            model: made.model.clone(),
            usage: made.usage,
            notice: made.answer.notice.clone(),
            app: question.app.clone(),
            evidence: self.evidence(&question, &made, &before).await,
            citations: made.answer.citations.clone(),
            unproven: made.unproven.clone(),
            diagnosis: diagnosis.clone(),
            run_id: run,
            repair_results: made.repair_results.clone(),
            proposals: made.proposals.clone(),
            trail: going.trail(),
            milliseconds: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            stopped: made.stopped,
            diagnosed: question.diagnose,
        };
        let session = going.session;
        let message = match before {
            Before::Stored(_) => self.store(session, &made, &kept).await?,
            Before::Told(_) => 0,
        };
        metrics::counter!("lux_chat_answers_total", "engine" => made.engine).increment(1);
        Ok(Reply {
            html: markdown::to_html(&made.answer.text),
            response: made.answer.text,
            action,
            has_logs,
            auto_repair_triggered: run.is_some(),
            repair_results: made.repair_results,
            success: true,
            session_id: session,
            message_id: message,
            diagnosis,
            proposals: made.proposals,
            citations: made.answer.citations,
            unproven: made.unproven,
            engine: made.engine,
            model: made.model,
            usage: made.usage,
            notice: made.answer.notice,
            run_id: run,
            trail: kept.trail,
            evidence: kept.evidence,
            milliseconds: kept.milliseconds,
            stopped: kept.stopped,
            finish: if made.cut { "length" } else { "stop" },
        })
    }

    /// What stands around the cited lines. That it cannot be read costs the surroundings, not
    /// the answer; who keeps no session has no use for it.
    async fn evidence(&self, question: &Question, made: &Made, before: &Before) -> Vec<Evidence> {
        if matches!(before, Before::Told(_)) {
            return Vec::new();
        }
        let organization = question.owner.organization;
        let found = evidence::collect(&self.app, organization, &made.answer.citations).await;
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "an answer goes without the surroundings of its citations");
            Vec::new()
        })
    }

    async fn store(&self, session: i64, made: &Made, kept: &Kept) -> Result<i64> {
        let db = &self.app.db;
        let keeps = !self.app.config.model.keep_texts.is_zero();
        let transcript = made.transcript.as_ref().filter(|_| keeps);
        let sealer = &self.app.sealer;
        let message =
            store::answer(db, sealer, session, &made.answer.text, kept, transcript).await?;
        if transcript.is_some() {
            let keep = TimeDelta::from_std(self.app.config.model.keep_texts);
            store::forget_transcripts(db, clock::now() - keep.unwrap_or(TimeDelta::days(365)))
                .await?;
        }
        Ok(message)
    }

    /// Follows a run to its end, or until the time is up, and tells its steps.
    async fn repaired(
        &self,
        going: &Arc<Going>,
        owner: &Owner,
        run: i64,
        until: Instant,
    ) -> Result<Made> {
        let steps = crate::repair::steps(self.app.clone(), run, 0).for_each(|step| {
            let data = json!({ "seq": step.seq, "kind": step.kind, "data": step.data });
            going.tell("repair", data);
            future::ready(())
        });
        let told = repair::tell(&self.repair, owner, run, until - Instant::now());
        tokio::pin!(steps, told);
        let followed = async {
            tokio::select! {
                told = &mut told => told,
                () = &mut steps => told.await,
            }
        };
        let (told, stopped) = tokio::select! {
            told = followed => (told?, false),
            // The run goes on; how it stands is told.
            () = going.stop.cancelled() => {
                (repair::tell(&self.repair, owner, run, Duration::ZERO).await?, true)
            }
        };
        Ok(Made { repair_results: told.results, stopped, ..Made::by_advisor(told.answer) })
    }
}
