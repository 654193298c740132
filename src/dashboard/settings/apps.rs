//! The monitored applications: what their SDKs are given, what may come, what came.

use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State, response::Response};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::Deserialize;

use super::{
    Form, Page, Shell, Told, chart::Bars, filters, html, refused, see_other, told, wrong_or,
};
use crate::{
    app::App,
    apps::{self, Change, Outcome, Shown, ShownKey, sdk::Kind, store::Hour},
    auth::OrganizationId,
    error::{Error, Result as Done},
    http::{Admin, Path, Query, Reader, Result},
};

/// Hours of usage that are shown.
const HOURS: i64 = 24;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    archived: bool,
}

#[derive(Template)]
#[template(path = "settings/apps.html")]
struct List {
    shell: Shell,
    section: &'static str,
    apps: Vec<Shown>,
    archived: bool,
    form: Wish,
    wrong: Option<String>,
}

pub(super) async fn list(
    page: Page<Reader>,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let organization = page.caller.organization;
    html(&listed(&app, page.shell, organization, wanted.archived).await?)
}

async fn listed(
    app: &App,
    shell: Shell,
    organization: OrganizationId,
    archived: bool,
) -> Done<List> {
    Ok(List {
        section: "apps",
        apps: app.apps.listed(&app.db, &app.config, organization, archived).await?,
        archived,
        form: Wish::default(),
        wrong: None,
        shell,
    })
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wish {
    name: String,
    base_url: String,
    /// Empty: as it is.
    quota: String,
    /// One a line.
    origins: String,
}

impl Wish {
    fn quota(&self) -> Done<Option<i64>> {
        match self.quota.trim() {
            "" => Ok(None),
            quota => {
                let number = quota.parse().map(Some);
                number.map_err(|_| Error::invalid("events a minute are a number"))
            }
        }
    }

    fn origins(&self) -> Option<Vec<String>> {
        let lines = self.origins.split_whitespace().map(str::to_owned);
        Some(lines.collect::<Vec<_>>()).filter(|lines| !lines.is_empty())
    }

    fn new_app(&self) -> Done<apps::Wish> {
        Ok(apps::Wish {
            name: self.name.clone(),
            base_url: Some(self.base_url.clone()),
            events_per_minute: self.quota()?,
            ..apps::Wish::default()
        })
    }
}

pub(super) async fn add(
    page: Page<Admin>,
    State(app): State<App>,
    Form(form): Form<Wish>,
) -> Result<Response> {
    let added = match form.new_app() {
        Ok(wish) => app.apps.add(&app.db, &app.config, &page.caller, wish).await,
        Err(error) => Err(error),
    };
    match added {
        Ok(added) => {
            let told = Told::done(format!("{} is added; give its SDK the DSN", added.name));
            Ok(see_other(&format!("/settings/apps/{}", added.id), &told))
        }
        Err(error) => {
            let (wrong, organization) = (Some(wrong_or(error)?), page.caller.organization);
            let list = listed(&app, page.shell, organization, false).await?;
            Ok(refused(html(&List { form, wrong, ..list })?))
        }
    }
}

/// What to write into the application, for one SDK.
struct Lines {
    name: &'static str,
    install: &'static str,
    place: &'static str,
    code: String,
}

/// What came with one outcome.
struct Came {
    outcome: &'static str,
    by_category: Vec<(String, i64)>,
    total: i64,
}

#[derive(Template)]
#[template(path = "settings/app.html")]
struct One {
    shell: Shell,
    section: &'static str,
    app: Shown,
    keys: Vec<ShownKey>,
    sdks: Vec<Lines>,
    came: Vec<Came>,
    /// Accepted and refused of each hour, the oldest first.
    accepted: Vec<i64>,
    refused: Vec<i64>,
    default_quota: i64,
}

impl One {
    fn chart(&self) -> askama::filters::Safe<String> {
        let total: i64 = self.accepted.iter().sum();
        let label = format!("{total} items accepted in the last {HOURS} hours, by hour");
        Bars {
            values: &self.accepted,
            label: &label,
            width: 480,
            height: 56,
            wide: true,
            tone: "live",
        }
        .svg()
    }

    fn lost(&self) -> i64 {
        self.refused.iter().sum()
    }
}

pub(super) async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let (organization, now) = (page.caller.organization, page.shell.now);
    let shown = app.apps.find(&app.db, &app.config, organization, id).await?;
    let keys = app.apps.keys(&app.db, &app.config, organization, id).await?;
    let since = now - TimeDelta::hours(HOURS);
    let usage = app.apps.usage(&app.db, id, since).await?;
    let sdks = shown.dsn.as_deref().map(lines).unwrap_or_default();
    let (accepted, refused) = by_hour(&usage, now);
    html(&One {
        section: "apps",
        keys,
        sdks,
        came: came(&usage),
        accepted,
        refused,
        default_quota: app.apps.default_quota().events_per_minute.into(),
        app: shown,
        shell: page.shell,
    })
}

fn lines(dsn: &str) -> Vec<Lines> {
    let of = |kind: Kind| {
        let (name, install, place, lines) = kind.parts();
        Lines { name, install, place, code: lines.replace("{dsn}", dsn) }
    };
    Kind::ALL.into_iter().map(of).collect()
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::OverQuota => "over its quota",
        Outcome::Invalid => "not understood",
        Outcome::Probe => "caused by Lux's own probes",
    }
}

fn came(usage: &[Hour]) -> Vec<Came> {
    let mut sums: BTreeMap<Outcome, BTreeMap<&str, i64>> = BTreeMap::new();
    for hour in usage {
        *sums.entry(hour.outcome).or_default().entry(&hour.category).or_default() += hour.count;
    }
    let of = |(outcome, by_category): (Outcome, BTreeMap<&str, i64>)| Came {
        outcome: word(outcome),
        total: by_category.values().sum(),
        by_category: by_category.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
    };
    sums.into_iter().map(of).collect()
}

/// Of each of the last hours what was taken, and what was not.
fn by_hour(usage: &[Hour], now: DateTime<Utc>) -> (Vec<i64>, Vec<i64>) {
    let this = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let hours = (0..HOURS).rev().map(|back| this - TimeDelta::hours(back));
    let sum = |at: DateTime<Utc>, wanted: &[Outcome]| {
        let of_hour = usage.iter().filter(|hour| hour.hour_at == at);
        of_hour.filter(|hour| wanted.contains(&hour.outcome)).map(|hour| hour.count).sum::<i64>()
    };
    hours
        .map(|at| (sum(at, &[Outcome::Accepted]), sum(at, &[Outcome::OverQuota, Outcome::Invalid])))
        .unzip()
}

fn back(id: i64, told: &Told) -> Response {
    see_other(&format!("/settings/apps/{id}"), told)
}

pub(super) async fn change(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(form): Form<Wish>,
) -> Result<Response> {
    let before = app.apps.find(&app.db, &app.config, page.caller.organization, id).await?;
    let change = Change {
        base_url: (!before.configured).then(|| form.base_url.clone()),
        allowed_origins: form.origins(),
        scrub: None,
        events_per_minute: form.quota().or_else(|error| wrong_or(error).map(|_| None))?,
    };
    let changed = app.apps.change(&app.db, &app.config, &page.caller, id, change).await;
    Ok(back(id, &told(changed, |app| format!("{} is changed", app.name))?))
}

pub(super) async fn archive(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let archived = app.apps.archive(&app.db, &app.config, &page.caller, id).await;
    let told = told(archived, |app| format!("{} is archived; its keys are revoked", app.name))?;
    Ok(see_other("/settings/apps", &told))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NewKey {
    name: String,
}

pub(super) async fn make_key(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(form): Form<NewKey>,
) -> Result<Response> {
    app.apps.find(&app.db, &app.config, page.caller.organization, id).await?;
    let made = app.apps.make_key(&app.db, &app.config, &page.caller, id, &form.name).await;
    let words = |made: ShownKey| {
        format!("Key {} is made; revoke the old one once nothing uses it", made.key.name)
    };
    Ok(back(id, &told(made, words)?))
}

pub(super) async fn revoke_key(
    page: Page<Admin>,
    State(app): State<App>,
    Path((id, key)): Path<(i64, i64)>,
) -> Result<Response> {
    app.apps.revoke_key(&app.db, &page.caller, id, key).await?;
    Ok(back(id, &Told::done("The key is revoked; what uses it is refused")))
}
