//! API tokens: making, listing and ending them.

use axum::extract::State;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::{
        Role,
        token::{self, Listed},
    },
    http::{Admin, Json, Path, Problem, Result},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_tokens, make_token)).routes(routes!(revoke_token))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Tokens {
    tokens: Vec<Listed>,
}

/// The newest 500 tokens, without what they are: that is shown once, when they are made.
#[utoipa::path(get, path = "/api/tokens", responses((status = 200, body = Tokens)))]
async fn list_tokens(Admin { caller }: Admin, State(app): State<App>) -> Result<Json<Tokens>> {
    Ok(Json(Tokens { tokens: token::list(&app.db, caller.organization).await? }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    /// Who or what will use it, 1 to 100 characters.
    name: String,
    /// admin, operator, ingest (may only report errors) or read.
    role: Role,
    /// 1 to 365; without it 90.
    #[schema(minimum = 1, maximum = 365)]
    expires_in_days: Option<u16>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct MadeToken {
    /// The token itself. It is shown this once.
    token: String,
    #[serde(flatten)]
    listed: Listed,
}

/// Makes a token.
#[utoipa::path(
    post, path = "/api/tokens", request_body = NewToken,
    responses((status = 201, body = MadeToken), (status = 400, body = Problem))
)]
async fn make_token(
    Admin { caller }: Admin,
    State(app): State<App>,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>)> {
    let lifetime = Some(token::lifetime(new.expires_in_days)?);
    let organization = caller.organization;
    let made = token::make(&app.db, organization, &caller, new.role, &new.name, lifetime).await?;
    let token = made.token.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(MadeToken { token, listed: made.listed })))
}

/// Ends a token: here at once, on other replicas within two seconds.
#[utoipa::path(
    delete, path = "/api/tokens/{id}", params(("id" = i64, Path, description = "the token's id")),
    responses((status = 204), (status = 404, body = Problem))
)]
async fn revoke_token(
    Admin { caller }: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    app.tokens.revoke(&app.db, caller.organization, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
