//! Probes on the page: their newest results as bars, all of them as a table, and what is done
//! with them.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    Extension,
    extract::{Form as Body, RawQuery, State, rejection::FormRejection},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use url::form_urlencoded;

use super::{Form, look as page_of};
use crate::{
    app::App,
    auth::OrganizationId,
    dashboard::{Page, Shell, Told, filters, html, see_other},
    error::Error,
    health::Health,
    http::{Operator, Path, Reader, Result, paging},
    probe::{Origin, Outcome, Probe, Probes, Sample},
    redact,
};

/// Results that are shown as bars, and rows of a page of them.
const BARS: i64 = 30;
const PAGE: i64 = 50;

/// A probe with what it saw lately.
pub(super) struct Row {
    pub(super) name: String,
    /// What it does, in one line.
    pub(super) does: String,
    pub(super) app: Option<String>,
    /// An operator made it, and may delete it.
    pub(super) is_made: bool,
    /// Oldest first.
    pub(super) lately: Vec<Sample>,
    /// Its path below `/health/probes/`.
    pub(super) slug: String,
}

impl Row {
    fn new(probe: &Probe, lately: Vec<Sample>) -> Self {
        Self {
            does: redact::secrets(&probe.check.to_string()).into_owned(),
            app: probe.app.clone(),
            is_made: probe.origin == Origin::Operator,
            slug: slug(&probe.name),
            name: probe.name.clone(),
            lately,
        }
    }

    pub(super) fn last(&self) -> Option<&Sample> {
        self.lately.last()
    }

    /// What the bars say together.
    pub(super) fn label(&self) -> String {
        let passed = self.lately.iter().filter(|it| it.outcome == Outcome::Pass).count();
        format!("{passed} of the last {} results passed", self.lately.len())
    }
}

/// A name as a part of an address.
fn slug(name: &str) -> String {
    let mut url = url::Url::parse("http://lux/").ok();
    if let Some(mut segments) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        segments.clear().push(name);
    }
    url.map_or_else(String::new, |url| url.path().trim_start_matches('/').to_owned())
}

pub(super) fn word(sample: &Sample) -> &'static str {
    match sample.outcome {
        Outcome::Pass => "Passes",
        Outcome::Fail => "Fails",
        Outcome::Unclear => "Proves nothing",
    }
}

/// The class of a result, and the icon beside its word.
pub(super) fn tone(sample: &Sample) -> (&'static str, &'static str) {
    match sample.outcome {
        Outcome::Pass => ("ok", "circle-check"),
        Outcome::Fail => ("bad", "circle-x"),
        Outcome::Unclear => ("warn", "circle-help"),
    }
}

/// All probes; those that fail first.
pub(super) async fn look(
    probes: &Probes,
    organization: OrganizationId,
) -> crate::error::Result<Vec<Row>> {
    let all = probes.all(organization).await?;
    let names = all.iter().map(|probe| probe.name.as_str());
    let mut lately: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for sample in probes.lately(organization, names, BARS).await? {
        lately.entry(sample.probe.clone()).or_default().push(sample);
    }
    let mut rows: Vec<Row> = all
        .iter()
        .map(|probe| {
            let mut lately = lately.remove(&probe.name).unwrap_or_default();
            lately.reverse();
            Row::new(probe, lately)
        })
        .collect();
    rows.sort_by_key(|row| row.last().is_none_or(|last| last.outcome != Outcome::Fail));
    Ok(rows)
}

pub(super) async fn make(
    page: Page<Operator>,
    State(app): State<App>,
    Extension(health): Extension<Health>,
    Extension(probes): Extension<Probes>,
    form: std::result::Result<Body<Form>, FormRejection>,
) -> Result<Response> {
    let Body(mut form) = form.map_err(|rejection| Error::invalid(rejection.body_text()))?;
    let made = match form.definition() {
        Ok(definition) => probes.make(&page.caller, definition).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(probe) => {
            let told = Told::done(format!("Probe {} added", probe.name));
            Ok(see_other("/health#probes", &told))
        }
        Err(error @ (Error::Invalid(_) | Error::Denied(_) | Error::Conflict(_))) => {
            form.wrong(&error);
            let organization = page.caller.organization;
            let page = page_of(page.shell, organization, &app, &health, &probes, form).await;
            Ok((StatusCode::BAD_REQUEST, html(&page)?).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn run(
    page: Page<Operator>,
    Extension(probes): Extension<Probes>,
    Path(name): Path<String>,
) -> Result<Response> {
    let sample = probes.run_now(page.caller.organization, &name).await?;
    let text = format!("{name}: {}. {}", word(&sample), sample.why);
    let told = match sample.outcome {
        Outcome::Pass => Told::done(text),
        Outcome::Fail | Outcome::Unclear => Told::bad(text),
    };
    Ok(see_other("/health#probes", &told))
}

pub(super) async fn delete(
    page: Page<Operator>,
    Extension(probes): Extension<Probes>,
    Path(name): Path<String>,
) -> Result<Response> {
    probes.remove(page.caller.organization, &name).await?;
    Ok(see_other("/health#probes", &Told::done(format!("Probe {name} deleted; its results stay"))))
}

#[derive(Template)]
#[template(path = "health/results.html")]
struct Results {
    shell: Shell,
    row: Row,
    /// Newest first.
    seen: Vec<Sample>,
    /// The results before these.
    older: Option<String>,
}

pub(super) async fn results(
    page: Page<Reader>,
    Extension(probes): Extension<Probes>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let organization = page.caller.organization;
    let probe = probes.find(organization, &name).await?.ok_or(Error::NotFound("probe"))?;
    let query = query.unwrap_or_default();
    let cursor = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "cursor");
    let below = cursor.map(|(_, cursor)| paging::position(&cursor)).transpose()?;
    let (seen, next) = probes.results(organization, &name, PAGE, below).await?;
    let older = next.as_ref().map(paging::cursor).transpose()?;
    let row = Row::new(&probe, Vec::new());
    html(&Results { shell: page.shell, row, seen, older })
}
