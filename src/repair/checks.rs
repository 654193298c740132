//! Which probes can tell whether a group is resolved.

use crate::{
    app::App,
    auth::OrganizationId,
    config::ProbeKind,
    diagnose::Diagnoser,
    error::Result,
    probe::{Probe, Probes},
};

use super::verdict::Relation;

/// The probes for one group, and what is missing where there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    pub(super) probes: Vec<(Relation, Probe)>,
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
}

/// Chooses probes for groups. Reads the operator's probes once.
pub(super) struct Chooser {
    app: App,
    probes: Probes,
    diagnoser: Diagnoser,
    known: Vec<Probe>,
}

impl Chooser {
    pub(super) async fn new(
        app: &App,
        probes: &Probes,
        diagnoser: &Diagnoser,
        organization: OrganizationId,
    ) -> Result<Self> {
        let known = probes.all(organization).await?;
        Ok(Self { app: app.clone(), probes: probes.clone(), diagnoser: diagnoser.clone(), known })
    }

    pub(super) fn choose(&self, wanted: &Wanted<'_>) -> Checks {
        let mut checks = Checks::default();
        let app = self.app_of(wanted.app);
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
        let kinds = self.diagnoser.verified_by(wanted.cause);
        let of_cause = self.known.iter().filter(of_app).filter(|probe| {
            let kind: ProbeKind = probe.check.kind();
            probe.causes.iter().any(|cause| cause == wanted.cause)
                || (probe.causes.is_empty() && probe.covers.is_empty() && kinds.contains(&kind))
        });
        for probe in of_cause {
            let key = probe.key();
            if !checks.probes.iter().any(|(_, other)| other.key() == key) {
                checks.probes.push((Relation::Cause, probe.clone()));
            }
        }
        checks
    }

    /// An error that names no application belongs to the only one there is.
    fn app_of<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let apps = &self.app.config.apps;
        match (apps.iter().find(|app| app.name == name), apps.as_slice()) {
            (Some(app), _) => Some(&app.name),
            (None, [only]) if name.is_empty() => Some(&only.name),
            _ => None,
        }
    }
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
