//! What is done from these pages: looking ahead, starting runs, the kill switch.

use askama::Template;
use axum::{Extension, extract::State, response::Response};
use serde::Deserialize;

use super::{
    Form, Page, Shell, Told,
    cause::{Diagnosed, Known},
    filters, html, see_other,
};
use crate::{
    app::App,
    auth::Caller,
    error::Error,
    http::{Admin, Operator, Path, Result},
    repair::{
        Repair,
        action::Actions,
        store::{
            attempts,
            runs::{self, Scope, Trigger},
        },
        verdict::Verdict,
    },
};

/// Causes that a preview shows, and errors of each.
const CAUSES: usize = 40;
const ERRORS: usize = 12;

/// Which errors; without any, all that are open.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// Ids of groups with commas between them.
    groups: String,
    app: String,
}

impl Wanted {
    fn groups(&self) -> Result<Option<Vec<i64>>> {
        if self.groups.trim().is_empty() {
            return Ok(None);
        }
        let ids = self.groups.split(',').map(|id| id.trim().parse());
        let ids = ids.collect::<std::result::Result<Vec<i64>, _>>();
        Ok(Some(ids.map_err(|_| Error::invalid("groups are numbers with commas between them"))?))
    }

    async fn scope(&self, app: &App, repair: &Repair, caller: &Caller) -> Result<Scope> {
        let name = Some(self.app.trim()).filter(|name| !name.is_empty());
        app.apps.check(&app.config, name)?;
        let name = name.map(str::to_owned);
        Ok(repair.scope(caller.organization, None, self.groups()?, name).await?)
    }
}

/// A cause as a run would find it.
struct Ahead {
    found: Diagnosed,
    /// Group and title.
    errors: Vec<(i64, String)>,
    total: usize,
}

#[derive(Template)]
#[template(path = "repairs/preview.html")]
struct Preview {
    shell: Shell,
    wanted: Wanted,
    total: usize,
    causes: Vec<Ahead>,
    more: usize,
    stopped: Option<String>,
}

/// What a run would check and do. Nothing of it is done.
pub(super) async fn preview(
    page: Page<Operator>,
    State(app): State<App>,
    Extension(repair): Extension<Repair>,
    Extension(actions): Extension<Actions>,
    Form(wanted): Form<Wanted>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let scope = wanted.scope(&app, &repair, &page.caller).await?;
    let report = repair.preview(organization, &scope).await?;
    let mut causes = Vec::new();
    let mut details = report.results.details.iter();
    for cause in report.causes.iter().take(CAUSES) {
        let known = Known {
            title: &cause.title,
            cause: &cause.cause,
            app: &cause.app,
            confidence: &cause.confidence,
            finding: cause.finding.as_ref(),
            plan: &cause.fix_plan,
        };
        // The report tells the errors in the order of their causes.
        let of_cause: Vec<_> = details.by_ref().take(cause.groups).collect();
        let first = of_cause.iter().take(ERRORS);
        causes.push(Ahead {
            found: Diagnosed::new(known, &actions, organization).await?,
            errors: first.map(|error| (error.group_id, error.title.clone())).collect(),
            total: cause.groups,
        });
    }
    html(&Preview {
        shell: page.shell,
        wanted,
        total: report.results.total_errors,
        more: report.causes.len().saturating_sub(CAUSES),
        causes,
        stopped: actions.standing().await?.reason,
    })
}

pub(super) async fn start(
    page: Page<Operator>,
    State(app): State<App>,
    Extension(repair): Extension<Repair>,
    Form(wanted): Form<Wanted>,
) -> Result<Response> {
    let scope = wanted.scope(&app, &repair, &page.caller).await?;
    begin(&repair, &page.caller, &scope).await
}

async fn begin(repair: &Repair, caller: &Caller, scope: &Scope) -> Result<Response> {
    let run = repair.start(caller.organization, Trigger::Api, &caller.author(), scope).await?;
    let told = Told::done(format!("Run {} tests the errors now", run.id));
    Ok(see_other(&format!("/repairs/{}", run.id), &told))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Again {
    /// One group; without it all that the run did not resolve.
    group: Option<i64>,
}

pub(super) async fn again(
    page: Page<Operator>,
    State(app): State<App>,
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    Form(again): Form<Again>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let run = runs::find(&app.db, organization, id).await.map_err(Error::from)?;
    let run = run.ok_or(Error::NotFound("run"))?;
    let attempts = attempts::of_run(&app.db, run.id).await.map_err(Error::from)?;
    let open = attempts.iter().filter(|attempt| attempt.verdict != Some(Verdict::Resolved));
    let open = open.map(|attempt| attempt.group_id);
    let groups: Vec<i64> =
        open.filter(|group| again.group.is_none_or(|wanted| wanted == *group)).collect();
    // A run that stopped before it knew its errors: once more as it was asked for.
    let scope = if groups.is_empty() && again.group.is_none() {
        run.scope()
    } else {
        repair.scope(organization, None, Some(groups), None).await?
    };
    begin(&repair, &page.caller, &scope).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Turn {
    reason: String,
}

pub(super) async fn stop(
    page: Page<Admin>,
    Extension(actions): Extension<Actions>,
    Form(turn): Form<Turn>,
) -> Result<Response> {
    actions.stop(&page.caller, Some(&turn.reason)).await?;
    Ok(see_other("/repairs", &Told::done("All actions are stopped")))
}

pub(super) async fn go(
    page: Page<Admin>,
    Extension(actions): Extension<Actions>,
    Form(turn): Form<Turn>,
) -> Result<Response> {
    let told = match actions.go(&page.caller, Some(&turn.reason)).await {
        Ok(_) => Told::done("Actions may run again"),
        Err(Error::Conflict(why)) => Told::bad(why),
        Err(error) => return Err(error.into()),
    };
    Ok(see_other("/repairs", &told))
}
