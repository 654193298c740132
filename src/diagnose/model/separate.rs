//! Where advisor and model name different causes: which of the existing probes would tell
//! who is right. Chosen by rule; the model has no part in it.

use serde::{Deserialize, Serialize};

use super::Opinion;
use crate::{
    diagnose::{Confidence, Diagnoser, Diagnosis},
    probe::Probe,
};

/// Two answers to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Disagreement {
    /// The cause that the advisor names first.
    pub advisor: String,
    /// The cause that the model names first.
    pub model: String,
    /// Both in a sentence, and what would separate them.
    pub text: String,
    /// Probes whose result depends on who is right, the most telling first.
    pub checks: Vec<Separating>,
}

/// A probe that one of two causes turns red and the other does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Separating {
    pub probe: String,
    pub kind: String,
    pub request: String,
    /// The cause that it speaks for when it is red; when it is green, against it.
    pub red_means: String,
}

/// Probes that are named.
const NAMED: usize = 3;

/// Where the model's first cause is none that the advisor is sure of.
pub(super) fn between(
    diagnosis: &Diagnosis,
    opinion: &Opinion,
    probes: &[Probe],
    diagnoser: &Diagnoser,
) -> Option<Disagreement> {
    let model = opinion.causes.first()?.cause.as_str();
    let mut sure =
        diagnosis.findings.iter().filter(|finding| finding.confidence > Confidence::Inconclusive);
    let advisor = sure.next()?.cause.as_str();
    if advisor == model || sure.any(|finding| finding.cause == model) {
        return None;
    }
    let tells = |probe: &Probe, cause: &str| {
        probe.causes.iter().any(|known| known == cause)
            || probe.causes.is_empty()
                && probe.covers.is_empty()
                && diagnoser.verified_by(cause).contains(&probe.check.kind())
    };
    let mut checks: Vec<(bool, Separating)> = probes
        .iter()
        .filter(|probe| tells(probe, advisor) != tells(probe, model))
        .map(|probe| {
            let red_means = if tells(probe, advisor) { advisor } else { model };
            let named = probe.causes.iter().any(|cause| cause == red_means);
            let separating = Separating {
                probe: probe.name.clone(),
                kind: probe.check.kind().as_str().to_owned(),
                request: probe.check.to_string(),
                red_means: red_means.to_owned(),
            };
            (!named, separating)
        })
        .collect();
    // a probe that names the cause says more than one of a fitting kind
    checks.sort_by(|a, b| (a.0, &a.1.probe).cmp(&(b.0, &b.1.probe)));
    let checks: Vec<Separating> = checks.into_iter().map(|(_, check)| check).take(NAMED).collect();
    let both = format!("The advisor names {advisor}, the model {model}.");
    let text = match checks.first() {
        Some(check) => format!(
            "{both} The probe {} separates them: if it fails, it is {}; if it passes, it is not.",
            check.probe, check.red_means
        ),
        None => format!("{both} {}", wanted(advisor, model, diagnoser)),
    };
    Some(Disagreement { advisor: advisor.to_owned(), model: model.to_owned(), text, checks })
}

/// What kind of probe is missing.
fn wanted(advisor: &str, model: &str, diagnoser: &Diagnoser) -> String {
    let (one, other) = (diagnoser.verified_by(advisor), diagnoser.verified_by(model));
    let of = |kinds: &[crate::config::ProbeKind], not: &[crate::config::ProbeKind], cause: &str| {
        let kind = kinds.iter().find(|kind| !not.contains(kind))?;
        Some(format!(
            "No probe separates them; one of kind {} in [[probes]] would tell whether it is {cause}.",
            kind.as_str()
        ))
    };
    of(one, other, advisor)
        .or_else(|| of(other, one, model))
        .unwrap_or_else(|| "No probe separates them.".to_owned())
}
