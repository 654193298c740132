//! What was deployed just before trouble began.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Diagnosis, Finding, live::ERRORS};
use crate::{app::App, auth::OrganizationId, db, deploys, errors::store::open::Open};

/// Trouble that began this soon after a deploy is told with it.
const SOON: TimeDelta = TimeDelta::minutes(30);

/// A deploy shortly before the first sign of a cause. Not a proof: a hint where to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Deployed {
    pub app: String,
    pub release: String,
    pub at: DateTime<Utc>,
    /// "first seen 4 minutes after deploy abc123 of shop"
    pub text: String,
}

impl Deployed {
    fn new(deploy: deploys::Deploy, first_seen: DateTime<Utc>) -> Self {
        let after = match (first_seen - deploy.at).num_minutes() {
            0 => "less than a minute".to_owned(),
            1 => "1 minute".to_owned(),
            n => format!("{n} minutes"),
        };
        let deploys::Deploy { app, release, at, .. } = deploy;
        let text = format!("first seen {after} after deploy {release} of {app}");
        Self { app, release, at, text }
    }
}

/// Adds to each finding the deploy that its first sign followed within [`SOON`].
pub(super) async fn name(
    diagnosis: &mut Diagnosis,
    app: &App,
    organization: OrganizationId,
    errors: &[Open],
) -> db::Result<()> {
    for finding in &mut diagnosis.findings {
        let Some(first) = first_sign(finding, errors) else { continue };
        let mut latest: Option<deploys::Deploy> = None;
        for name in apps(finding, app, errors) {
            let found = deploys::store::latest_before(&app.db, organization, &name, first).await?;
            let found = found.filter(|deploy| first - deploy.at <= SOON);
            if found.as_ref().map(|deploy| deploy.at) > latest.as_ref().map(|deploy| deploy.at) {
                latest = found;
            }
        }
        finding.deploy = latest.map(|deploy| Deployed::new(deploy, first));
    }
    Ok(())
}

/// A captured error counts from its group's first event, not from the one that is cited.
fn first_sign(finding: &Finding, errors: &[Open]) -> Option<DateTime<Utc>> {
    let groups = cited(finding, errors).map(|error| error.first_seen);
    finding.first_seen.into_iter().chain(groups).min()
}

fn cited<'a>(finding: &'a Finding, errors: &'a [Open]) -> impl Iterator<Item = &'a Open> {
    let quotes = finding.evidence.iter().filter(|quote| quote.source == ERRORS);
    quotes
        .filter_map(|quote| errors.iter().find(|error| error.event_id.unsigned_abs() == quote.line))
}

/// The applications that the evidence speaks of; where it names none and there is only
/// one, that one.
fn apps(finding: &Finding, app: &App, errors: &[Open]) -> BTreeSet<String> {
    let of_source = |name: &str| {
        let matches =
            |pattern: &str| glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name));
        app.config
            .sources
            .iter()
            .find(|source| {
                source.name == name
                    || matches!(&source.place, crate::config::Place::Path(path) if matches(path))
            })
            .and_then(|source| source.app.clone())
    };
    let mut apps: BTreeSet<String> =
        finding.evidence.iter().filter_map(|quote| of_source(&quote.source)).collect();
    apps.extend(cited(finding, errors).map(|error| error.app.clone()));
    if apps.is_empty()
        && let [only] = &app.apps.monitored()[..]
    {
        apps.insert(only.name.clone());
    }
    apps
}
