//! What the model makes of it: one call for a diagnosis, over the pack, in a form that is
//! checked before anything of it is shown.
//!
//! What it names must exist, what it quotes must stand where it says; the rest is dropped
//! and told. An answer of which nothing is left is asked for once more, with what was wrong.
//! After that, and after any other failure, the advisor's diagnosis stands alone, with one
//! line that says why. The advisor's findings are never changed.

mod answer;
mod ask;
mod opinion;
mod separate;

use std::time::Duration;

use crate::{
    app::App,
    clock,
    diagnose::{
        Diagnoser, Diagnosis, Scope,
        pack::{PACK_BYTES, Pack, numbers},
    },
    error::Result,
    llm::{Desk, Inputs, Message, Purpose},
    probe::Probes,
};

pub use ask::{Asked, Quote, ask, proven};
pub use opinion::{Check, Dropped, ModelCause, Opinion};
pub use separate::{Disagreement, Separating};

/// Tokens of the prompt around a pack, generously.
const PROMPT_TOKENS: u64 = 1900;
/// Tokens that a diagnosis may cost at most, going in: more tell a model hardly more.
const TOKENS: u64 = 6000;

/// Asks the model for a second opinion. Cheap to clone.
#[derive(Clone)]
pub struct Analyst {
    app: App,
    diagnoser: Diagnoser,
    probes: Probes,
}

/// A diagnosis with what a model is shown of it.
#[derive(Clone, Debug)]
pub struct Packed {
    pub diagnosis: Diagnosis,
    pub pack: Pack,
}

/// A diagnosis, and what came of asking the model.
#[derive(Clone, Debug)]
pub struct Consulted {
    /// The advisor's; its `model` is set where the model's answer could be used.
    pub diagnosis: Diagnosis,
    /// Answers can be checked against it, and more can be cited into it.
    pub pack: Pack,
    /// Why the advisor stands alone, in one line; `None` where it does not.
    pub notice: Option<String>,
}

impl Consulted {
    /// Who speaks, as answers name it: "model" or "advisor".
    pub fn engine(&self) -> &'static str {
        if self.diagnosis.model.is_some() { "model" } else { "advisor" }
    }

    /// The numbers that the model's opinion names, in their order.
    pub fn cited_by_model(&self) -> impl Iterator<Item = u32> + use<> {
        let mut ids: Vec<u32> = Vec::new();
        for cause in self.diagnosis.model.iter().flat_map(|opinion| &opinion.causes) {
            ids.extend(&cause.cited);
            ids.extend(numbers(&cause.explanation));
        }
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
    }
}

impl Analyst {
    pub fn new(app: App, diagnoser: Diagnoser, probes: Probes) -> Self {
        Self { app, diagnoser, probes }
    }

    /// What the advisor says now.
    pub async fn advise(&self, scope: Scope) -> Result<Diagnosis> {
        self.diagnoser.diagnose(scope).await
    }

    /// What the advisor says now, and the pack about it. `desk` is that of the conversation
    /// that the pack goes into.
    pub async fn pack(&self, scope: Scope, desk: &mut Desk) -> Result<Packed> {
        let limit = self.app.llm.limits(Purpose::Diagnose).max_input_tokens;
        self.pack_of(scope, bytes_within(u64::from(limit)), desk).await
    }

    /// The same in at most `budget` bytes.
    pub async fn pack_of(&self, scope: Scope, budget: usize, desk: &mut Desk) -> Result<Packed> {
        let (diagnosis, collector, errors) = self.diagnoser.collect(scope).await?;
        let pack = tokio::task::block_in_place(|| {
            collector.finish(&diagnosis, &errors, budget, &mut |text| {
                desk.plain(text).as_str().to_owned()
            })
        });
        Ok(Packed { diagnosis, pack })
    }

    /// Diagnoses, and asks the model once what it makes of it. `by` and `why` are for the
    /// ledger: for whom, and at what occasion. No trouble of the model is an error here, nor
    /// that it takes longer than `patience`.
    pub async fn diagnose(
        &self,
        scope: Scope,
        desk: &mut Desk,
        by: &str,
        why: &str,
        patience: Duration,
    ) -> Result<Consulted> {
        let asked = Asked { organization: scope.organization, by, why };
        let packed = self.pack(scope.clone(), desk).await?;
        Ok(self.consult(&scope, packed, desk, &asked, patience).await)
    }

    /// The second half of [`Analyst::diagnose`]: asks the model about what was packed.
    pub async fn consult(
        &self,
        scope: &Scope,
        Packed { mut diagnosis, pack }: Packed,
        desk: &mut Desk,
        asked: &Asked<'_>,
        patience: Duration,
    ) -> Consulted {
        let opinion = self.opinion(scope, &diagnosis, &pack, desk, asked);
        let opinion = tokio::time::timeout(patience, opinion).await.unwrap_or_else(|_| {
            Err(format!("The model took longer than {} s.", patience.as_secs()))
        });
        match opinion {
            Ok(opinion) => {
                diagnosis.model = Some(Box::new(opinion));
                Consulted { diagnosis, pack, notice: None }
            }
            Err(notice) => Consulted { diagnosis, pack, notice: Some(notice) },
        }
    }

    /// What the model makes of a pack; the error is one line that says why there is nothing.
    pub async fn opinion(
        &self,
        scope: &Scope,
        diagnosis: &Diagnosis,
        pack: &Pack,
        desk: &mut Desk,
        asked: &Asked<'_>,
    ) -> Result<Opinion, String> {
        let began = clock::instant();
        let mut probes = match self.probes.all(asked.organization).await {
            Ok(probes) => probes,
            Err(error) => {
                tracing::warn!(%error, "the model is not told of the probes");
                Vec::new()
            }
        };
        probes.retain(|probe| scope.app.is_none() || probe.app.is_none() || probe.app == scope.app);
        let causes: Vec<&str> = self.diagnoser.causes().collect();
        let checks: Vec<_> = probes
            .iter()
            .take(MOST_CHECKS)
            .map(|probe| desk.plain(&format!("{} ({})", probe.name, probe.check.kind().as_str())))
            .collect();
        let inputs =
            Inputs::new().text("causes", &desk.plain(&causes.join(", "))).texts("checks", &checks);
        let prompt =
            self.app.llm.prompts().render("diagnose", inputs).map_err(|error| plainly(&error))?;
        let data =
            desk.data("the pack: logs and errors", &pack.text).map_err(|error| plainly(&error))?;
        let schema = prompt.schema.clone();
        let messages = vec![Message::System(prompt.text), Message::User(data)];
        let rules = answer::Rules { causes: &causes, probes: &probes, pack };
        let (told, mut opinion) = ask(
            &self.app.llm,
            Purpose::Diagnose,
            messages,
            schema.as_ref(),
            desk,
            asked,
            |told, desk| answer::read(told, &rules, &|text| desk.reveal(text)),
        )
        .await?;
        for cause in &mut opinion.causes {
            cause.confidence =
                self.diagnoser.confidence(diagnosis, &cause.cause, &cause.cited, pack);
            if let Some(playbook) = self.diagnoser.playbook(&cause.cause) {
                cause.title.clone_from(&playbook.title);
            }
        }
        opinion.disagreement = separate::between(diagnosis, &opinion, &probes, &self.diagnoser);
        opinion.model = told.model;
        for dropped in &opinion.dropped {
            metrics::counter!("lux_model_dropped_total", "what" => dropped.what.clone())
                .increment(1);
        }
        tracing::debug!(
            took = ?began.elapsed(),
            causes = opinion.causes.len(),
            dropped = opinion.dropped.len(),
            "the model gave its opinion"
        );
        Ok(opinion)
    }
}

/// Checks that the model may choose from.
const MOST_CHECKS: usize = 40;

/// A failure of Lux's own on the way to the model, for the operator.
fn plainly(error: &crate::error::Error) -> String {
    tracing::error!(%error, "the model could not be asked");
    "The model could not be asked because of a fault in Lux; its log says which. The advisor answers."
        .to_owned()
}

/// How large a pack may be that a call of so many tokens takes; `llm::estimate` counts 3.5
/// bytes of a log as one.
fn bytes_within(tokens: u64) -> usize {
    let bytes = tokens.min(TOKENS).saturating_sub(PROMPT_TOKENS).saturating_mul(34) / 10;
    usize::try_from(bytes).unwrap_or(usize::MAX).clamp(2048, PACK_BYTES)
}
