//! The brand over HTTP.

use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Brand,
    store::{self, Kept},
};
use crate::{
    app::App,
    http::{Json, Operator, Problem, Reader, Result},
};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read_brand, write_brand))
}

/// The brand that drafts are written by.
#[utoipa::path(get, path = "/api/brand", responses((status = 200, body = Kept)))]
async fn read_brand(who: Reader, State(app): State<App>) -> Result<Json<Kept>> {
    Ok(Json(store::find(&app.db, who.caller.organization).await?))
}

/// Writes the whole brand: what is left out becomes empty.
#[utoipa::path(
    put, path = "/api/brand", request_body = Brand,
    responses(
        (status = 200, body = Kept),
        (status = 400, body = Problem, description = "not valid: the detail names the field")
    )
)]
async fn write_brand(
    who: Operator,
    State(app): State<App>,
    Json(brand): Json<Brand>,
) -> Result<Json<Kept>> {
    store::put(&app.db, &who.caller, &brand).await?;
    Ok(Json(store::find(&app.db, who.caller.organization).await?))
}
