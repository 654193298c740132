//! Probes that operators make, run and delete, over the API and on the page.

use chrono::{DateTime, Utc};

use super::{Check, Context, Origin, Phase, Probe, Probes, Sample, store};
use crate::{
    auth::{Caller, OrganizationId},
    clock,
    config::{self, ProbeKind},
    error::{Error, Result},
};

/// Where a page of results ended: when, and the id.
pub type Below = (DateTime<Utc>, i64);

impl Probes {
    /// Makes a probe.
    ///
    /// # Errors
    /// [`Error::Invalid`] names every mistake, with "; " between them, each beginning with the
    /// name of its field where it has one; [`Error::Denied`] for what only the configuration or
    /// an administrator may say; [`Error::Conflict`] if the name is taken.
    pub async fn make(&self, caller: &Caller, definition: config::Probe) -> Result<Probe> {
        let mut mistakes = definition.mistakes();
        let apps = self.app.apps.monitored();
        if let Some(app) = &definition.app
            && !apps.iter().any(|entry| &entry.name == app)
        {
            mistakes.push(format!(
                "app \"{}\" has no address: lux.toml ([[apps]]) or `lux apps add` tells its base_url",
                clip(app)
            ));
        } else if definition.app.is_none()
            && definition.kind == ProbeKind::Http
            && apps.len() != 1
            && self.app.config.apps.len() != 1
        {
            mistakes.push(
                "an http probe needs app, the name of an application with a base_url".to_owned(),
            );
        }
        if !mistakes.is_empty() {
            return Err(Error::Invalid(mistakes.join("; ")));
        }
        let probe = self.typed(&definition, Origin::Operator)?;
        self.may_be_made(&probe)?;
        if !probe.check.is_safe() && !caller.role.may_administer() {
            return Err(Error::Denied(
                "a probe with this method may change data: an administrator has to make it"
                    .to_owned(),
            ));
        }
        if self.app.config.probes.iter().any(|other| other.name == definition.name) {
            let text = "lux.toml has a probe of that name; choose another".to_owned();
            return Err(Error::Conflict(text));
        }
        let (db, by) = (&self.app.db, &caller.name);
        store::make(db, caller.organization, &definition, by, clock::now()).await?;
        Ok(probe)
    }

    /// Over the API only those targets can be named that the configuration names already:
    /// else whoever may operate could look around in the network and on the host.
    fn may_be_made(&self, probe: &Probe) -> Result<()> {
        let kind = probe.check.kind();
        let refused = match kind {
            ProbeKind::Http => return Ok(()),
            ProbeKind::Database | ProbeKind::ApiKey | ProbeKind::Config => {
                format!("probes of kind {} are made in lux.toml", kind.as_str())
            }
            _ => {
                let target = probe.check.target();
                let known = self.app.config.probes.iter().any(|other| {
                    Check::from_definition(other)
                        .is_ok_and(|other| other.kind() == kind && other.target() == target)
                });
                if known {
                    return Ok(());
                }
                format!(
                    "no probe of lux.toml looks at {}; a new target is named there",
                    clip(&probe.check.to_string())
                )
            }
        };
        Err(Error::Denied(refused))
    }

    /// Deletes a probe that an operator made; its results stay.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is one of the configuration.
    pub async fn remove(&self, organization: OrganizationId, name: &str) -> Result<()> {
        let probe = self.named(organization, name).await?;
        if probe.origin == Origin::Config {
            let text = "this probe is in lux.toml; delete it there".to_owned();
            return Err(Error::Conflict(text));
        }
        if store::unmake(&self.app.db, organization, name).await? {
            Ok(())
        } else {
            Err(Error::NotFound("probe"))
        }
    }

    /// Runs a probe because somebody asks for it.
    pub async fn run_now(&self, organization: OrganizationId, name: &str) -> Result<Sample> {
        let probe = self.named(organization, name).await?;
        let context = Context { organization, attempt: None, phase: Phase::Manual, failing: None };
        self.run(&probe, &context).await
    }

    /// What runs of a probe saw, newest first, below a position; with the next one, if there
    /// are more than `limit`.
    pub async fn results(
        &self,
        organization: OrganizationId,
        name: &str,
        limit: i64,
        below: Option<Below>,
    ) -> Result<(Vec<Sample>, Option<Below>)> {
        self.named(organization, name).await?;
        let top = (DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default(), i64::MAX);
        let below = below.unwrap_or(top);
        let db = &self.app.db;
        let mut results = store::of_probe(db, organization, name, limit + 1, below).await?;
        let page = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut next = None;
        if results.len() > page {
            results.truncate(page);
            next = results.last().map(|last| (last.at, last.id));
        }
        Ok((results, next))
    }

    /// The newest `each` results of each of these probes, the newest first.
    pub async fn lately(
        &self,
        organization: OrganizationId,
        names: impl Iterator<Item = &str>,
        each: i64,
    ) -> Result<Vec<Sample>> {
        Ok(store::lately(&self.app.db, organization, names, each).await?)
    }

    async fn named(&self, organization: OrganizationId, name: &str) -> Result<Probe> {
        self.find(organization, name).await?.ok_or(Error::NotFound("probe"))
    }
}

fn clip(text: &str) -> String {
    text.chars().take(120).collect()
}
