//! Which probes can tell whether a group is resolved.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::{
    app::App,
    auth::OrganizationId,
    diagnose::{Captured, Confidence, Diagnoser, Finding},
    error::Result,
    errors::store::open,
    probe::{Probe, Probes, Server},
};

use super::{
    fit::{self, Named},
    verdict::Relation,
};

/// How long a file system may take to say which one it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// The probes for one group, and what is missing where there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    pub(super) probes: Vec<(Relation, Probe)>,
    /// By the key of a probe that nobody tied to the cause: what it shares with the error.
    pub(super) tied: BTreeMap<String, String>,
    /// Sentences that say why there is no other, and what would help.
    pub(super) missing: Vec<String>,
}

/// What a group's probes are chosen by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) app: &'a str,
    pub(super) method: Option<&'a str>,
    /// The path.
    pub(super) endpoint: Option<&'a str>,
    /// The endpoint as the newest event had it, perhaps with a query.
    pub(super) requested: Option<&'a str>,
    pub(super) cause: &'a str,
    /// What the error says by itself; see [`fit`].
    pub(super) own: Option<&'a Finding>,
    /// What the diagnosis of the cause names.
    pub(super) captured: &'a Captured,
}

/// Chooses probes for groups. Reads the operator's probes once.
pub(super) struct Chooser {
    app: App,
    probes: Probes,
    diagnoser: Diagnoser,
    known: Vec<Probe>,
    /// Of the known database probes, by key.
    databases: BTreeMap<String, Server>,
}

impl Chooser {
    pub(super) async fn new(
        app: &App,
        probes: &Probes,
        diagnoser: &Diagnoser,
        organization: OrganizationId,
    ) -> Result<Self> {
        let known = probes.all(organization).await?;
        let databases =
            known.iter().filter_map(|it| Some((it.key(), probes.server(it)?))).collect();
        let (app, probes, diagnoser) = (app.clone(), probes.clone(), diagnoser.clone());
        Ok(Self { app, probes, diagnoser, known, databases })
    }

    /// What errors say by themselves, by group: a probe is tied by nothing else.
    pub(super) async fn own(
        &self,
        organization: OrganizationId,
        groups: &[i64],
    ) -> Result<HashMap<i64, Finding>> {
        if groups.is_empty() || !self.known.iter().any(is_free) {
            return Ok(HashMap::new());
        }
        let errors = open::these(&self.app.db, organization, groups).await?;
        let ids: Vec<i64> = errors.iter().map(|error| error.group_id).collect();
        let own = self.diagnoser.explain(errors).await?;
        Ok(ids.into_iter().zip(own).filter_map(|(id, own)| Some((id, own?))).collect())
    }

    pub(super) async fn choose(&self, wanted: &Wanted<'_>) -> Checks {
        let mut checks = Checks::default();
        let app = self.app_of(wanted.app);
        let app = app.as_deref();
        let of_app =
            |probe: &&Probe| probe.app.is_none() || app.is_none() || probe.app.as_deref() == app;
        if let Some(endpoint) = wanted.endpoint {
            let method = wanted.method.unwrap_or("GET");
            let covering = self.known.iter().filter(of_app).filter(|probe| {
                probe.covers.iter().any(|covered| covers(covered, method, endpoint))
            });
            checks.probes.extend(covering.map(|probe| (Relation::Covers, probe.clone())));
            let requested = wanted.requested.unwrap_or(endpoint);
            match app.map(|app| self.probes.learnt(app, wanted.method, requested)) {
                Some(Ok(probe)) => {
                    // It covers the endpoint only if it is the same request.
                    let same = !probe.covers.is_empty();
                    let relation = if same { Relation::Own } else { Relation::Like };
                    checks.probes.push((relation, probe));
                }
                Some(Err(refused)) if checks.probes.is_empty() => {
                    checks.missing.push(refused.to_string());
                }
                None if checks.probes.is_empty() => checks.missing.push(
                    "Lux does not know where the application listens: name it with its base_url \
                     in [[apps]]"
                        .into(),
                ),
                Some(Err(_)) | None => {}
            }
        } else {
            checks.missing.push(
                "the error names no endpoint: give Lux a probe for its cause, or confirm by hand"
                    .into(),
            );
        }
        for probe in self.known.iter().filter(of_app) {
            let key = probe.key();
            if checks.probes.iter().any(|(_, other)| other.key() == key) {
                continue;
            }
            if probe.causes.iter().any(|cause| cause == wanted.cause) {
                checks.probes.push((Relation::Cause, probe.clone()));
            } else if let Some(shared) = self.shared(wanted, app, probe).await {
                checks.probes.push((Relation::Cause, probe.clone()));
                checks.tied.insert(key, shared);
            }
        }
        checks
    }

    /// What ties a probe to the cause of an error that says so by itself.
    async fn shared(
        &self,
        wanted: &Wanted<'_>,
        app: Option<&str>,
        probe: &Probe,
    ) -> Option<String> {
        let own = wanted.own.filter(|own| own.cause == wanted.cause)?;
        let kinds = self.diagnoser.verified_by(wanted.cause);
        if own.confidence == Confidence::Inconclusive
            || !is_free(probe)
            || !kinds.contains(&probe.check.kind())
        {
            return None;
        }
        let app = app.map(str::to_owned);
        let request = wanted.method.zip(wanted.endpoint);
        let request = request.map(|(method, path)| (method.to_owned(), path.to_owned()));
        let (own, logs) = (own.captured.clone(), wanted.captured.clone());
        let (probe, server) = (probe.clone(), self.databases.get(&probe.key()).cloned());
        // A file system that is away hangs whoever asks for it.
        let asked = tokio::task::spawn_blocking(move || {
            let request = request.as_ref().map(|(method, path)| (&**method, &**path));
            let named = Named { app: app.as_deref(), request, own: &own, logs: &logs };
            fit::shared(&named, &probe, server.as_ref())
        });
        tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?
    }

    /// An error that names no application belongs to the only one there is.
    fn app_of(&self, name: &str) -> Option<String> {
        let apps = self.app.apps.monitored();
        match (apps.iter().find(|app| app.name == name), apps.as_slice()) {
            (Some(app), _) => Some(app.name.clone()),
            (None, [only]) if name.is_empty() => Some(only.name.clone()),
            _ => None,
        }
    }
}

/// Whether nobody has said what a probe is for; who has is taken at their word.
fn is_free(probe: &Probe) -> bool {
    probe.causes.is_empty() && probe.covers.is_empty()
}

/// Whether "POST /checkout" (or "/checkout", any method; or "POST /orders/*") means it.
fn covers(covered: &str, method: &str, endpoint: &str) -> bool {
    let (wanted, path) = match covered.split_once(' ') {
        Some((method, path)) => (Some(method), path.trim()),
        None => (None, covered),
    };
    let fits = match path.strip_suffix('*') {
        Some(start) => endpoint.starts_with(start),
        None => endpoint == path,
    };
    fits && wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn what_a_probe_covers() {
        for (covered, method, endpoint, fits) in [
            ("POST /checkout", "POST", "/checkout", true),
            ("post /checkout", "POST", "/checkout", true),
            ("POST /checkout", "GET", "/checkout", false),
            ("/checkout", "GET", "/checkout", true),
            ("POST /checkout", "POST", "/checkout/2", false),
            ("GET /orders/*", "GET", "/orders/17", true),
            ("GET /orders/*", "GET", "/order", false),
        ] {
            assert_eq!(covers(covered, method, endpoint), fits, "{covered} {method} {endpoint}");
        }
    }
}
