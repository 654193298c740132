//! Duplicates and merging over HTTP.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{By, Duplicates, MAX_GROUPS, Merge, duplicates, join};
use crate::{
    app::App,
    contacts::Contact,
    http::{Json, Operator, Path, Problem, Query, Reader, Result, paging},
};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_duplicates)).routes(routes!(merge_contacts))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct DuplicatesQuery {
    /// email (default), phone or name.
    #[serde(default)]
    by: By,
    /// Most groups; default 20, at most 100.
    limit: Option<i64>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct DuplicateList {
    duplicates: Vec<Duplicates>,
    next: Option<String>,
}

/// Contacts that may be one person: of one address but for what its provider ignores, of one
/// telephone number, or of one name and company. Only people merge them.
#[utoipa::path(
    get, path = "/api/contacts/duplicates", params(DuplicatesQuery),
    responses((status = 200, body = DuplicateList))
)]
async fn list_duplicates(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<DuplicatesQuery>,
) -> Result<Json<DuplicateList>> {
    let after: String =
        query.cursor.as_deref().map(paging::position).transpose()?.unwrap_or_default();
    let limit = query.limit.unwrap_or(20).clamp(1, MAX_GROUPS);
    let found = duplicates(&app.db, who.caller.organization, query.by, &after, limit).await?;
    let next = paging::after(&found, limit, |last| last.same.clone())?;
    Ok(Json(DuplicateList { duplicates: found, next }))
}

/// Makes one contact of two. Tags, activities, consents, mails and memberships of the other one
/// move; its id leads here from then on. If either said no to mail, the answer is no.
#[utoipa::path(
    post, path = "/api/contacts/{id}/merge",
    params(("id" = i64, Path, description = "the contact that stays")),
    request_body = Merge,
    responses(
        (status = 200, body = Contact),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 404, description = "no such contact"),
    )
)]
async fn merge_contacts(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(merge): Json<Merge>,
) -> Result<Json<Contact>> {
    Ok(Json(join(&app, &who.caller, id, merge).await?))
}
