//! The storms' HTTP.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::Error,
    errors::store::storms::{self, Position, Storm},
    http::{Json, Query, Reader, Result, paging},
    redact,
};

/// The route.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_storms))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct StormsQuery {
    /// Default 20, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct StormPage {
    storms: Vec<Storm>,
    next: Option<String>,
}

/// Storms of errors, newest first.
#[utoipa::path(
    get, path = "/api/diagnostics/storms", params(StormsQuery),
    responses((status = 200, body = StormPage))
)]
async fn list_storms(
    who: Reader,
    app: State<App>,
    Query(query): Query<StormsQuery>,
) -> Result<Json<StormPage>> {
    let limit = paging::limit(query.limit, 20);
    let after = query.cursor.as_deref().map(paging::position).transpose()?;
    let found = storms::list(&app.db, who.caller.organization, after, limit);
    let mut storms = found.await.map_err(Error::from)?;
    storms.iter_mut().for_each(strike);
    let position = |storm: &Storm| Position { at: storm.started_at, id: storm.id };
    let next = paging::after(&storms, limit, position)?;
    Ok(Json(StormPage { storms, next }))
}

fn strike(storm: &mut Storm) {
    storm.title = storm.title.as_deref().map(|title| redact::secrets(title).into_owned());
}
