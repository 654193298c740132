//! The advisor: names the cause of trouble from records alone, with the lines that
//! prove it.
//!
//! [`Advisor`] holds the playbooks, compiled once. A [`Scan`] is fed with records
//! (of files, of the live window, captured errors) and ends in a [`Diagnosis`]:
//! signals that matched → hypotheses → known effects folded under their causes →
//! ranked findings.
//!
//! [`pack`] is what a model sees of it, [`Analyst`] asks the model for a second opinion.

mod candidate;
mod deployed;
mod diagnosis;
mod family;
mod fold;
mod live;
mod matcher;
mod model;
pub mod pack;
mod playbook;
mod rank;
mod report;
mod routes;
mod scan;
mod series;
mod tally;
#[cfg(test)]
mod tests;
mod traceback;
mod traffic;
mod traffic_rules;
mod unexplained;
mod upstream_rules;
pub mod vocabulary;
mod zones;

use std::{path::Path, sync::Arc};

pub use deployed::Deployed;
pub use diagnosis::{Captured, Confidence, Diagnosis, Evidence, Finding, Probe, Scanned, VERSION};
pub(crate) use live::ERRORS;
pub use live::{Diagnoser, Scope, each_record};
pub use model::{
    Analyst, Asked, Check, Consulted, Disagreement, Dropped, ModelCause, Opinion, Packed, Quote,
    Separating, ask, proven,
};
pub use playbook::{Grade, Playbook, Role};
pub use report::report;
pub use routes::router;
pub use scan::Scan;

use crate::error::Result;

/// The playbooks, ready to search. Cheap to clone.
#[derive(Clone)]
pub struct Advisor {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub playbooks: Vec<Playbook>,
    pub matcher: matcher::Matcher,
}

impl Advisor {
    /// Compiles the program's playbooks, or those of `folder` over them.
    ///
    /// # Errors
    /// Says which playbook is wrong and what about it.
    pub fn new(folder: Option<&Path>) -> Result<Self> {
        let playbooks = playbook::load(folder)?;
        let matcher = matcher::Matcher::new(&playbooks)?;
        Ok(Self { inner: Arc::new(Inner { playbooks, matcher }) })
    }

    /// A scan that has seen nothing.
    pub fn scan(&self) -> Scan {
        Scan::new(self)
    }

    /// The ids of all causes that can be named.
    pub fn causes(&self) -> impl Iterator<Item = &str> {
        let causes = self.inner.playbooks.iter().filter(|playbook| playbook.role == Role::Cause);
        causes.map(|playbook| playbook.id.as_str())
    }

    /// The playbook of a cause.
    pub fn playbook(&self, cause: &str) -> Option<&Playbook> {
        self.inner.playbooks.iter().find(|playbook| playbook.id == cause)
    }
}

impl std::fmt::Debug for Advisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Advisor").field("playbooks", &self.inner.playbooks.len()).finish()
    }
}
