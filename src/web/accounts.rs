//! Accounts and invitations, for administrators.

use axum::extract::State;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::{
        Role,
        account::{self, Account, Change, Shown, Status},
        invitation::{self, Invitation},
        link,
    },
    http::{Admin, Json, Path, Result},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_accounts))
        .routes(routes!(change_account))
        .routes(routes!(list_invitations, invite))
        .routes(routes!(withdraw_invitation))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Accounts {
    accounts: Vec<Shown>,
}

/// Everybody who may sign in, and who might before.
#[utoipa::path(get, path = "/api/accounts", responses((status = 200, body = Accounts)))]
async fn list_accounts(who: Admin, State(app): State<App>) -> Result<Json<Accounts>> {
    Ok(Json(Accounts { accounts: account::shown(&app.db, who.caller.organization).await? }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Patch {
    /// "admin", "operator" or "customer"
    role: Option<Role>,
    /// "disabled" ends the account's sessions.
    status: Option<Status>,
    /// The version that was looked at.
    version: i64,
}

/// Changes an account's role or status. It counts at once; on other servers within a second.
#[utoipa::path(
    patch, path = "/api/accounts/{id}", params(("id" = i64, Path)), request_body = Patch,
    responses(
        (status = 200, body = Account),
        (status = 404, description = "no such account"),
        (status = 409, description = "it was changed meanwhile, or is the last administrator's")
    )
)]
async fn change_account(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(patch): Json<Patch>,
) -> Result<Json<Account>> {
    let caller = who.caller;
    let change = Change { role: patch.role, status: patch.status, version: patch.version };
    let changed = account::change(&app.db, caller.organization, &caller, id, change).await?;
    app.sessions.forget_account(id);
    Ok(Json(changed))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Invitations {
    invitations: Vec<Invitation>,
}

/// Who was invited, the newest first. The links are not shown again.
#[utoipa::path(get, path = "/api/invitations", responses((status = 200, body = Invitations)))]
async fn list_invitations(who: Admin, State(app): State<App>) -> Result<Json<Invitations>> {
    let invitations = invitation::list(&app.db, who.caller.organization).await?;
    Ok(Json(Invitations { invitations }))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Invite {
    /// "admin", "operator" or "customer"
    role: Role,
    /// Then nobody else can accept it, and who signs in with this address needs no link.
    email: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Invited {
    #[serde(flatten)]
    invitation: Invitation,
    /// To be given to the person; it is not shown again and works once.
    link: String,
}

/// Invites somebody.
#[utoipa::path(
    post, path = "/api/invitations", request_body = Invite,
    responses(
        (status = 201, body = Invited),
        (status = 400, description = "no role of people, or no e-mail address"),
        (status = 409, description = "there is an account with that address")
    )
)]
async fn invite(
    who: Admin,
    State(app): State<App>,
    Json(invite): Json<Invite>,
) -> Result<(StatusCode, Json<Invited>)> {
    let (organization, by) = (who.caller.organization, &who.caller);
    let (invitation, made) =
        invitation::create(&app.db, organization, by, invite.role, invite.email.as_deref()).await?;
    let link = link::url(&app.config, made.token.expose_secret());
    Ok((StatusCode::CREATED, Json(Invited { invitation, link })))
}

/// Takes an invitation back that was not accepted yet.
#[utoipa::path(
    delete, path = "/api/invitations/{id}", params(("id" = i64, Path)),
    responses((status = 204), (status = 404, description = "no such invitation, or accepted"))
)]
async fn withdraw_invitation(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    invitation::withdraw(&app.db, who.caller.organization, &who.caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
