//! Answers by the model, with what the advisor found; and the advisor's where it fails.

use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;

use super::{
    Asking, Before, Chat,
    answer::{self, Answer},
    going::Going,
    history::{self, History},
    intent::Intent,
    made::{self, ADVISOR, MODEL, Made},
    scope_of,
    talk::{self, Silence, Talk},
    tools::User,
    why,
};
use crate::{
    diagnose::{Diagnosis, pack::Pack},
    error::Result,
};

impl Chat {
    /// Asks the model; what the advisor finds goes with the question, and is the answer if
    /// the model gives none.
    pub(super) async fn by_model(
        &self,
        going: &Arc<Going>,
        asking: &Asking,
    ) -> Result<(Made, Option<Diagnosis>)> {
        let Asking { question, intent, before, until, .. } = asking;
        if question.diagnose {
            return self.consult(going, asking).await;
        }
        let mut desk = self.app.llm.desk();
        let mut pack = Pack::default();
        let mut advised = None;
        if intent.is_about_a_diagnosis() {
            let packed = self.analyst.pack(scope_of(question), &mut desk).await?;
            pack = packed.pack;
            advised = Some(self.work_out(question, *intent, Some(packed.diagnosis)).await?);
        } else if *intent != Intent::Other {
            advised = Some(self.work_out(question, *intent, None).await?);
        }
        let user = User {
            organization: question.owner.organization,
            role: question.role,
            name: question.owner.author.clone(),
            app: question.app.clone(),
            wants_repair: false,
        };
        let history = match before {
            Before::Stored(asked) => history::of(&self.app, &user, going.session, *asked).await?,
            Before::Told(messages) => History { summary: None, messages: messages.clone() },
        };
        let beside = advised.as_ref().filter(|_| pack.text.is_empty());
        let opening = talk::Opening {
            question: &question.message,
            found: beside.map(|(answer, _)| made::found(answer)),
            history: &history.messages,
            summary: history.summary.as_deref(),
            why: why(going, before),
            until: *until,
        };
        let talk = Talk::new(&self.app, &self.tools, &user, Arc::clone(going), desk, pack);
        let (advised, diagnosis) = advised.unzip();
        let made = match talk.answer(opening).await {
            Ok(spoken) => Made::by_model(spoken, question.app.clone()),
            Err(Silence::Stopped(text)) => Made::stopped(text),
            Err(Silence::Trouble(trouble)) => {
                metrics::counter!("lux_chat_fallbacks_total", "why" => trouble.class())
                    .increment(1);
                let why = format!("Answered without the model: {trouble}");
                // What was told of an answer that broke off does not run into this one.
                going.tell("status", json!({ "text": why }));
                Made::by_advisor(match advised {
                    Some(answer) => Answer { notice: Some(why), ..answer },
                    None => answer::without_model(why),
                })
            }
        };
        Ok((made, diagnosis.flatten()))
    }

    /// "Diagnose": the advisor's diagnosis, and beside it what the model makes of it, in a
    /// form that is checked.
    pub(super) async fn consult(
        &self,
        going: &Arc<Going>,
        asking: &Asking,
    ) -> Result<(Made, Option<Diagnosis>)> {
        let question = &asking.question;
        let mut desk = self.app.llm.desk();
        let (by, why) = (&question.owner.author, why(going, &asking.before));
        let patience = asking.until - Instant::now();
        let scope = scope_of(question);
        let consulted = tokio::select! {
            consulted = self.analyst.diagnose(scope, &mut desk, by, &why, patience) => consulted?,
            () = going.stop.cancelled() => return Ok((Made::stopped(String::new()), None)),
        };
        let engine = if consulted.diagnosis.model.is_some() { MODEL } else { ADVISOR };
        let diagnosis = consulted.diagnosis;
        let mut answer = answer::diagnosis(&diagnosis, &self.looked_at(&diagnosis));
        if let Some(opinion) = &diagnosis.model {
            answer::opinion(&mut answer, opinion, &consulted.pack);
        }
        answer.notice = consulted.notice.or(answer.notice);
        let model = diagnosis.model.as_ref().map(|opinion| opinion.model.clone());
        Ok((Made { engine, answer, model, ..Made::default() }, Some(diagnosis)))
    }
}
