//! What is done from these pages: running, setting, pausing, taking up a draft.

use axum::{Extension, response::Response};
use serde::Deserialize;

use super::{Form, Page, Told, known, see_other};
use crate::{
    http::{Operator, Path, Result, safe_next},
    marketing::agent::{Agents, Change, report::Kind, store::Trigger},
};

/// Where a deed leads back to.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Back {
    next: String,
}

pub(super) async fn run(
    page: Page<Operator>,
    Extension(agents): Extension<Agents>,
    Path(key): Path<String>,
) -> Result<Response> {
    let key = known(&key)?;
    let by = page.caller.author();
    agents.ask(page.caller.organization, key, Trigger::Manual, &by).await?;
    let told = Told::done(format!("{} runs", key.agent().name));
    Ok(see_other(&format!("/agents/{}", key.as_str()), &told))
}

/// The form of an agent's settings; a field that was not sent stays as it is.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Setting {
    on: Option<String>,
    schedule: Option<String>,
    timezone: Option<String>,
    pages: Option<String>,
    /// Where it leads back to: the agent's own page if it is left out.
    next: Option<String>,
}

pub(super) async fn set(
    page: Page<Operator>,
    Extension(agents): Extension<Agents>,
    Path(key): Path<String>,
    Form(form): Form<Setting>,
) -> Result<Response> {
    let key = known(&key)?;
    let change = Change {
        on: form.on.as_deref().map(|on| on == "yes"),
        schedule: form.schedule.map(|text| match text.trim() {
            "" => "off".to_owned(),
            text => text.to_owned(),
        }),
        timezone: form.timezone.filter(|name| !name.trim().is_empty()),
        pages: form.pages.map(|text| text.split_whitespace().map(str::to_owned).collect()),
    };
    let said = match change.on {
        Some(true) => format!("{} is on", key.agent().name),
        Some(false) => format!("{} is off", key.agent().name),
        None => "Saved".to_owned(),
    };
    agents.change(&page.caller, key, change).await?;
    let own = format!("/agents/{}", key.as_str());
    let next = form.next.as_deref().map_or(own.as_str(), |next| safe_next(Some(next)));
    Ok(see_other(next, &Told::done(said)))
}

pub(super) async fn pause(
    page: Page<Operator>,
    Extension(agents): Extension<Agents>,
    Form(back): Form<Back>,
) -> Result<Response> {
    agents.pause(&page.caller).await?;
    let told = Told::done("All schedules are paused").undo("/agents/resume", [].into());
    Ok(see_other(safe_next(Some(&back.next)), &told))
}

pub(super) async fn resume(
    page: Page<Operator>,
    Extension(agents): Extension<Agents>,
    Form(back): Form<Back>,
) -> Result<Response> {
    agents.resume(&page.caller).await?;
    Ok(see_other(safe_next(Some(&back.next)), &Told::done("Schedules go on")))
}

/// Which proposal, from 1.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    number: usize,
}

pub(super) async fn take(
    page: Page<Operator>,
    Extension(agents): Extension<Agents>,
    Path(id): Path<i64>,
    Form(wanted): Form<Wanted>,
) -> Result<Response> {
    let run = agents.take(&page.caller, id, wanted.number).await?;
    let taken =
        run.result.iter().flat_map(|result| &result.proposals).nth(wanted.number.max(1) - 1);
    let said = match taken.map(|it| it.kind) {
        Some(Kind::Campaign) => "The campaign is a draft: nothing is sent before it is approved",
        _ => "The segment is there",
    };
    Ok(see_other(&format!("/agents/runs/{id}"), &Told::done(said)))
}
