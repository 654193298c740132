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
    diagnose::{Asked, Consulted, Diagnosis, Packed, pack::Pack},
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
            let packing = self.analyst.pack(scope_of(question), &mut desk);
            let found = |packed: &Packed| self.found(&packed.diagnosis);
            let packed = going.looking("diagnose", packing, found).await?;
            pack = packed.pack;
            advised = Some(self.look(going, question, *intent, Some(packed.diagnosis)).await?);
        } else if *intent != Intent::Other {
            advised = Some(self.look(going, question, *intent, None).await?);
        }
        let user = User {
            organization: question.owner.organization,
            role: question.role,
            name: question.owner.author.clone(),
            app: question.app.clone(),
            wants_repair: false,
            // What the words ask for is made before the model is asked.
            wants_marketing: false,
            wants_ticket: false,
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
            Ok(spoken) => {
                let mut made = Made::by_model(spoken, question.app.clone());
                // What was made on the operator's word is not lost in the model's words.
                for proposal in advised.iter().flat_map(|answer| &answer.proposals) {
                    made.propose(proposal.clone());
                }
                made
            }
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
        let scope = scope_of(question);
        let packing = self.analyst.pack(scope.clone(), &mut desk);
        let found = |packed: &Packed| self.found(&packed.diagnosis);
        let packed = going.looking("diagnose", packing, found).await?;
        // What the advisor knows is told while the model is asked.
        let mut answer = answer::diagnosis(&packed.diagnosis, &self.looked_at(&packed.diagnosis));
        for text in answer.text.split_inclusive("\n\n") {
            going.tell("delta", json!({ "text": text }));
        }
        let advised = (answer.clone(), packed.diagnosis.clone());
        let why = why(going, &asking.before);
        let asked =
            Asked { organization: scope.organization, by: &question.owner.author, why: &why };
        let patience = asking.until - Instant::now();
        let consulting =
            async { Ok(self.analyst.consult(&scope, packed, &mut desk, &asked, patience).await) };
        let said = |consulted: &Consulted| {
            let causes = consulted.diagnosis.model.as_ref().map(|opinion| opinion.causes.len());
            let summary = match causes {
                Some(1) => "1 cause".to_owned(),
                Some(many) => format!("{many} causes"),
                None => "no answer".to_owned(),
            };
            (summary, Vec::new())
        };
        let consulted = tokio::select! {
            consulted = going.looking("ask_model", consulting, said) => consulted?,
            () = going.stop.cancelled() => {
                let (answer, diagnosis) = advised;
                let answer = Answer { notice: Some("Stopped.".to_owned()), ..answer };
                let made = Made { stopped: true, told: true, ..Made::by_advisor(answer) };
                return Ok((made, Some(diagnosis)));
            }
        };
        let engine = if consulted.diagnosis.model.is_some() { MODEL } else { ADVISOR };
        let diagnosis = consulted.diagnosis;
        if let Some(opinion) = &diagnosis.model {
            let told = answer.text.len();
            answer::opinion(&mut answer, opinion, &consulted.pack);
            going.tell("delta", json!({ "text": &answer.text[told..] }));
        }
        answer.notice = consulted.notice.or(answer.notice);
        let model = diagnosis.model.as_ref().map(|opinion| opinion.model.clone());
        Ok((Made { engine, answer, model, told: true, ..Made::default() }, Some(diagnosis)))
    }
}
