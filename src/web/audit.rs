//! Reading the audit log.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::audit::{self, Entry},
    error::Error,
    http::{Admin, Json, Query, Result, paging},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_audit))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Entries {
    entries: Vec<Entry>,
    /// Cursor of the next page.
    next: Option<String>,
}

/// Who did what, newest first.
#[utoipa::path(
    get, path = "/api/audit", params(Page),
    responses((status = 200, body = Entries))
)]
async fn list_audit(
    who: Admin,
    State(app): State<App>,
    Query(page): Query<Page>,
) -> Result<Json<Entries>> {
    let limit = paging::limit(page.limit, 50);
    let after = page.cursor.as_deref().map(paging::position).transpose()?;
    let (entries, next) =
        audit::list(&app.db, who.caller.organization, limit, after).await.map_err(Error::from)?;
    let next = next.as_ref().map(paging::cursor).transpose()?;
    Ok(Json(Entries { entries, next }))
}
