//! What is to be done about a cause: steps for people, actions of the allow-list, checks.

use serde::{Deserialize, Serialize};

use super::{action::Rendered, proposal::ModelPlan};
use crate::{
    config::{Policy, Risk},
    diagnose::Finding,
    probe::Probe,
};

/// The steps for one cause, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Plan {
    /// A playbook's id, or "unknown".
    pub cause: String,
    pub title: String,
    pub explanation: String,
    pub steps: Vec<Step>,
    /// What a model would do, where one was asked. It is a proposal: see its module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelPlan>,
    /// Why there is none although there is a model, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// One step, with what it risks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Step {
    /// For a person.
    Manual { text: String },
    /// A command of the allow-list, exactly as it would run.
    Action {
        name: String,
        argv: Vec<String>,
        /// What an approval is bound to.
        hash: String,
        #[schema(value_type = String)]
        policy: Policy,
        #[schema(value_type = String)]
        risk: Risk,
        /// "worked 7 of 8 times here"
        #[serde(skip_serializing_if = "Option::is_none")]
        record: Option<String>,
        /// Why it may not run now.
        #[serde(skip_serializing_if = "Option::is_none")]
        blocked: Option<String>,
    },
    /// A check that tells whether it helped.
    Probe {
        name: String,
        request: String,
        /// What it shares with the error, if that (and no setting) ties it to the cause:
        /// "localhost port 5432".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shared: Option<String>,
    },
}

/// The plan for a cause: what its playbook says, the actions that may mend it (the best
/// proven first), and the checks.
pub fn plan(
    finding: Option<&Finding>,
    title: &str,
    actions: &[(Rendered, Option<String>)],
    probes: &[(Probe, Option<String>)],
) -> Plan {
    let mut steps = Vec::new();
    for (action, record) in actions {
        steps.push(Step::Action {
            name: action.action.clone(),
            argv: action.argv.clone(),
            hash: action.hash.clone(),
            policy: action.policy,
            risk: action.risk,
            record: record.clone(),
            blocked: action.blocked.clone(),
        });
    }
    match finding {
        Some(finding) => {
            steps.extend(finding.fix.iter().map(|text| Step::Manual { text: text.clone() }));
        }
        None => steps.push(Step::Manual {
            text: "No playbook knows this error. Read its traceback and what changed before it \
                   first came: `lux errors` shows both."
                .into(),
        }),
    }
    steps.extend(probes.iter().map(|(probe, shared)| Step::Probe {
        name: probe.name.clone(),
        request: probe.check.to_string(),
        shared: shared.clone(),
    }));
    Plan {
        cause: finding.map_or("unknown", |finding| &finding.cause).to_owned(),
        title: title.to_owned(),
        explanation: finding.map(|finding| finding.explanation.clone()).unwrap_or_default(),
        steps,
        model: None,
        notice: None,
    }
}
