//! Reading the ledger of what was sent to a model. The texts hold logs and what others asked
//! in the chat, so it takes the right to use the chat.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    clock,
    error::Error,
    http::{Json, Operator, Path, Problem, Query, Result, paging},
    llm::{
        Purpose, Spent,
        ledger::{self, Filter, Line, Whole},
    },
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_ledger)).routes(routes!(read_ledger))
}

/// What is looked for; each part may be left out.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// chat, diagnose, plan or campaign.
    #[param(inline)]
    purpose: Option<Purpose>,
    /// told, under_way, stopped, lost, or the class of what went wrong: "timed_out".
    result: Option<String>,
    /// For whom it was.
    by: Option<String>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Lines {
    requests: Vec<Line>,
    /// Cursor of the next page.
    next: Option<String>,
    /// What was used since 00:00 UTC, with what is reserved just now.
    today: Spent,
}

/// Each request that left for a model: when, why, for whom, how much, what was struck out.
/// Newest first.
#[utoipa::path(
    get, path = "/api/model/ledger", params(Wanted),
    responses((status = 200, body = Lines))
)]
async fn list_ledger(
    who: Operator,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Lines>> {
    let limit = paging::limit(wanted.limit, 50);
    let after = wanted.cursor.as_deref().map(paging::position).transpose()?;
    let organization = who.caller.organization;
    let filter = Filter {
        purpose: wanted.purpose,
        result: wanted.result,
        made_for: wanted.by,
        since: wanted.since.map(clock::near),
        until: wanted.until.map(clock::near),
    };
    let listed = ledger::list(&app.db, organization, &filter, limit, after).await;
    let (requests, next) = listed.map_err(Error::from)?;
    let next = next.as_ref().map(paging::cursor).transpose()?;
    let today = app.llm.spent_today(organization).await.map_err(Error::from)?;
    Ok(Json(Lines { requests, next, today }))
}

/// One request with the text as it was sent and the answer, as long as they are kept.
#[utoipa::path(
    get, path = "/api/model/ledger/{id}", params(("id" = i64, Path)),
    responses((status = 200, body = Whole), (status = 404, body = Problem))
)]
async fn read_ledger(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Whole>> {
    let found = app.llm.find(who.caller.organization, id).await.map_err(Error::from)?;
    Ok(Json(found.ok_or(Error::NotFound("request"))?))
}
