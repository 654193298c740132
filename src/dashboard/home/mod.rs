//! The first page: how everything stands, the agents, and a question to Lux.

mod agents;
mod setup;
mod status;

use askama::Template;
use axum::{
    Extension, Router,
    extract::State,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;

use super::{Page, Shell, filters, html};
use crate::{
    app::App,
    health::Health,
    http::{Known, Query, Reader, Result},
    marketing::agent::{Agents, Paused},
    repair::action::Actions,
};
use agents::Tile;
use setup::Progress;
use status::Status;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/", get(show))
        .route("/ui/home", get(refresh))
        .route("/more", get(more))
        .route("/search", get(search))
        .route("/setup", get(setup::show))
        .route("/setup/test-error", post(setup::send_test_error))
}

#[derive(Template)]
#[template(path = "home/home.html", blocks = ["live"])]
struct Home {
    shell: Shell,
    status: Status,
    groups: Vec<(&'static str, Vec<Tile>)>,
    /// By whom all schedules are paused.
    paused: Option<Paused>,
    setup: Progress,
}

impl Home {
    /// "2 on, 1 running, 1 needs you".
    fn counted(&self) -> String {
        let tiles = || self.groups.iter().flat_map(|(_, tiles)| tiles);
        let count = |of: fn(&Tile) -> bool| tiles().filter(|tile| of(tile)).count();
        let mut parts = vec![format!("{} on", count(|tile| !tile.is_off()))];
        for (number, word) in
            [(count(Tile::is_running), "running"), (count(Tile::needs_somebody), "waiting for you")]
        {
            if number > 0 {
                parts.push(format!("{number} {word}"));
            }
        }
        parts.join(", ")
    }
}

/// For whom nothing is there yet.
#[derive(Template)]
#[template(path = "home/stranger.html")]
struct Stranger {
    shell: Shell,
}

/// All that the narrow screen's bar has no room for.
#[derive(Template)]
#[template(path = "home/more.html")]
struct More {
    shell: Shell,
}

async fn show(
    page: Page<Known>,
    State(app): State<App>,
    Extension(health): Extension<Health>,
    Extension(actions): Extension<Actions>,
    Extension(agents): Extension<Agents>,
) -> Result<Response> {
    if !page.caller.role.may_read() && page.caller.account().is_some() {
        return Ok(Redirect::to("/customers/me").into_response());
    }
    if !page.caller.role.may_read() {
        return html(&Stranger { shell: page.shell });
    }
    let organization = page.caller.organization;
    html(&gather(page.shell, organization, &app, &health, &actions, &agents).await?)
}

async fn gather(
    shell: Shell,
    organization: crate::auth::OrganizationId,
    app: &App,
    health: &Health,
    actions: &Actions,
    agents: &Agents,
) -> Result<Home> {
    let status = status::look(app, organization, shell.now).await?;
    let setup = setup::progress(app, organization, &status).await?;
    let parts = health.snapshot().await.parts;
    let standing = actions.standing().await?;
    let known = agents::Known {
        standings: agents.standings(organization).await?,
        newest: agents.newest(organization).await?,
    };
    let groups = agents::tiles(&shell, &status, &parts, &standing, &known);
    let paused = agents.paused().await?;
    Ok(Home { shell, status, groups, paused, setup })
}

/// What of the page changes by itself.
async fn refresh(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(health): Extension<Health>,
    Extension(actions): Extension<Actions>,
    Extension(agents): Extension<Agents>,
) -> Result<Response> {
    let home =
        gather(page.shell, page.caller.organization, &app, &health, &actions, &agents).await?;
    html(&home.as_live())
}

async fn more(page: Page<Reader>) -> Result<Response> {
    html(&More { shell: page.shell })
}

#[derive(Deserialize)]
struct Sought {
    #[serde(default)]
    q: String,
}

/// Without scripts the palette is a search of the errors.
async fn search(_: Page<Reader>, Query(sought): Query<Sought>) -> Response {
    let q: String = url::form_urlencoded::byte_serialize(sought.q.as_bytes()).collect();
    Redirect::to(&format!("/errors?q={q}")).into_response()
}
