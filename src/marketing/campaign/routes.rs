//! Campaigns over HTTP.

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    check::{self, Checklist},
    content::Content,
    deeds::{self, Change, Wish},
    diff::{self, Line},
    met::{self, Met},
    store::{self, Campaign, Statistics, Status, Version, VersionLine},
};
use crate::{
    app::App,
    error::Error,
    http::{Json, Operator, Path, Problem, Query, Reader, Result, paging},
};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, change, delete))
        .routes(routes!(versions, edit))
        .routes(routes!(version))
        .routes(routes!(differences))
        .routes(routes!(restore))
        .routes(routes!(checklist))
        .routes(routes!(preview))
        .routes(routes!(submit))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel))
        .routes(routes!(test))
        .routes(routes!(statistics))
        .routes(routes!(duplicate))
        .routes(routes!(tell_who_met))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Of this status only.
    #[param(inline)]
    status: Option<Status>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Campaigns {
    /// Changed last first.
    campaigns: Vec<Campaign>,
    /// Cursor of the next page.
    next: Option<String>,
}

/// The campaigns.
#[utoipa::path(
    get, path = "/api/campaigns", params(ListQuery),
    responses((status = 200, body = Campaigns), (status = 400, body = Problem))
)]
async fn list(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Campaigns>> {
    let limit = paging::limit(query.limit, 50);
    let before: Option<(DateTime<Utc>, i64)> =
        query.cursor.as_deref().map(paging::position).transpose()?;
    let organization = who.caller.organization;
    let campaigns = store::list(&app.db, organization, query.status, before, limit)
        .await
        .map_err(Error::from)?;
    let next = paging::after(&campaigns, limit, |it| (it.updated_at, it.id))?;
    Ok(Json(Campaigns { campaigns, next }))
}

/// A campaign with its newest version.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WholeCampaign)]
struct Whole {
    campaign: Campaign,
    newest: Version,
    /// What an approval has to name: that of what is shown here.
    hash: String,
}

async fn whole(app: &App, who: &crate::auth::Caller, id: i64) -> Result<Whole> {
    let (campaign, newest, hash) = deeds::to_approve(app, who.organization, id).await?;
    Ok(Whole { campaign, newest, hash })
}

/// Makes a campaign from a brief, with a first draft by the model or, without one, by a template
/// that says so.
#[utoipa::path(
    post, path = "/api/campaigns", request_body = Wish,
    responses(
        (status = 201, body = Whole),
        (status = 400, body = Problem, description = "not valid: the detail names the field")
    )
)]
async fn create(
    who: Operator,
    State(app): State<App>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Whole>)> {
    let made = deeds::create(&app, &who.caller, &wish, "").await?;
    Ok((StatusCode::CREATED, Json(whole(&app, &who.caller, made.id).await?)))
}

/// One campaign.
#[utoipa::path(
    get, path = "/api/campaigns/{id}",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses((status = 200, body = Whole), (status = 404, body = Problem))
)]
async fn read(who: Reader, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Whole>> {
    Ok(Json(whole(&app, &who.caller, id).await?))
}

/// Changes name, segment, time or rate. What was approved goes back into review.
#[utoipa::path(
    patch, path = "/api/campaigns/{id}", request_body = Change,
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 200, body = Whole),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is being sent, or over")
    )
)]
async fn change(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(change): Json<Change>,
) -> Result<Json<Whole>> {
    deeds::change(&app, &who.caller, id, &change).await?;
    Ok(Json(whole(&app, &who.caller, id).await?))
}

/// Deletes a draft.
#[utoipa::path(
    delete, path = "/api/campaigns/{id}",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 204),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is no draft")
    )
)]
async fn delete(who: Operator, State(app): State<App>, Path(id): Path<i64>) -> Result<StatusCode> {
    deeds::delete(&app, &who.caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CampaignVersions)]
struct Versions {
    /// Newest first.
    versions: Vec<VersionLine>,
}

/// The versions of a campaign.
#[utoipa::path(
    get, path = "/api/campaigns/{id}/versions",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses((status = 200, body = Versions), (status = 404, body = Problem))
)]
async fn versions(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Versions>> {
    let organization = who.caller.organization;
    store::find(&app.db, organization, id).await?;
    let versions = store::versions(&app.db, organization, id).await.map_err(Error::from)?;
    Ok(Json(Versions { versions }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CampaignEdit)]
struct Edit {
    /// The newest version as you know it.
    base: i64,
    content: Content,
}

/// Adds a version. What waits for an approval, or has one, needs a new one then.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/versions", request_body = Edit,
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 201, body = Whole),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "base is not the newest, or it is being sent")
    )
)]
async fn edit(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(edit): Json<Edit>,
) -> Result<(StatusCode, Json<Whole>)> {
    deeds::edit(&app, &who.caller, id, edit.base, edit.content).await?;
    Ok((StatusCode::CREATED, Json(whole(&app, &who.caller, id).await?)))
}

/// One version.
#[utoipa::path(
    get, path = "/api/campaigns/{id}/versions/{version}",
    params(
        ("id" = i64, Path, description = "the campaign's id"),
        ("version" = i64, Path, description = "the version's number"),
    ),
    responses((status = 200, body = Version), (status = 404, body = Problem))
)]
async fn version(
    who: Reader,
    State(app): State<App>,
    Path((id, version)): Path<(i64, i64)>,
) -> Result<Json<Version>> {
    Ok(Json(store::version(&app.db, who.caller.organization, id, version).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DiffQuery {
    /// The older version; default: the one before.
    from: Option<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CampaignDiff)]
struct Diff {
    from: i64,
    to: i64,
    subjects: Vec<Line>,
    preview_text: Vec<Line>,
    body: Vec<Line>,
}

/// What a version changed, by line.
#[utoipa::path(
    get, path = "/api/campaigns/{id}/versions/{version}/diff",
    params(
        ("id" = i64, Path, description = "the campaign's id"),
        ("version" = i64, Path, description = "the version's number"),
        DiffQuery,
    ),
    responses((status = 200, body = Diff), (status = 404, body = Problem))
)]
async fn differences(
    who: Reader,
    State(app): State<App>,
    Path((id, version)): Path<(i64, i64)>,
    Query(query): Query<DiffQuery>,
) -> Result<Json<Diff>> {
    let organization = who.caller.organization;
    let new = store::version(&app.db, organization, id, version).await?;
    let from = query.from.unwrap_or(version - 1);
    let old = store::version(&app.db, organization, id, from).await?;
    let (old, new) = (old.content, new.content);
    Ok(Json(Diff {
        from,
        to: version,
        subjects: diff::lines(&old.subjects.join("\n"), &new.subjects.join("\n")),
        preview_text: diff::lines(&old.preview_text, &new.preview_text),
        body: diff::lines(&old.body, &new.body),
    }))
}

/// Makes an older version the newest one again.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/versions/{version}/restore",
    params(
        ("id" = i64, Path, description = "the campaign's id"),
        ("version" = i64, Path, description = "the version's number"),
    ),
    responses(
        (status = 201, body = Whole),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is being sent, or over")
    )
)]
async fn restore(
    who: Operator,
    State(app): State<App>,
    Path((id, version)): Path<(i64, i64)>,
) -> Result<(StatusCode, Json<Whole>)> {
    deeds::restore(&app, &who.caller, id, version).await?;
    Ok((StatusCode::CREATED, Json(whole(&app, &who.caller, id).await?)))
}

/// What can be told of a campaign by looking, its audience counted out.
#[utoipa::path(
    get, path = "/api/campaigns/{id}/check",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses((status = 200, body = Checklist), (status = 404, body = Problem))
)]
async fn checklist(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Checklist>> {
    let organization = who.caller.organization;
    let campaign = store::find(&app.db, organization, id).await?;
    Ok(Json(check::check(&app, organization, &campaign).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PreviewQuery {
    /// Whose values are filled in; default: nobody's.
    contact: Option<i64>,
    /// Default: the newest.
    version: Option<i64>,
    /// Which of the subjects, from 0.
    subject: Option<i64>,
}

/// A mail as somebody would get it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CampaignPreview)]
struct Preview {
    to: String,
    subject: String,
    /// Show it where no script runs.
    html: String,
    text: String,
}

/// A version as one contact would get it. The unsubscribe link leads nowhere.
#[utoipa::path(
    get, path = "/api/campaigns/{id}/preview",
    params(("id" = i64, Path, description = "the campaign's id"), PreviewQuery),
    responses((status = 200, body = Preview), (status = 404, body = Problem))
)]
async fn preview(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(query): Query<PreviewQuery>,
) -> Result<Json<Preview>> {
    let organization = who.caller.organization;
    let subject = query.subject.unwrap_or(0);
    let letter =
        deeds::preview(&app, organization, id, query.version, query.contact, subject).await?;
    let (to, subject) = (letter.to, letter.subject);
    Ok(Json(Preview { to, subject, html: letter.html, text: letter.text }))
}

/// Asks for an approval; refused while the checklist fails.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/submit",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 200, body = Whole),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "no draft, or the checklist fails")
    )
)]
async fn submit(who: Operator, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Whole>> {
    deeds::submit(&app, &who.caller, id).await?;
    Ok(Json(whole(&app, &who.caller, id).await?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CampaignApproval)]
struct Approval {
    /// `hash` of the campaign as you saw it.
    hash: String,
}

/// Approves a campaign as it was seen, and sets its audience.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/approve", request_body = Approval,
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 200, body = Whole),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "not in review, changed, or the checklist fails")
    )
)]
async fn approve(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(word): Json<Approval>,
) -> Result<Json<Whole>> {
    deeds::approve(&app, &who.caller, id, &word.hash).await?;
    Ok(Json(whole(&app, &who.caller, id).await?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CampaignRejection)]
struct Rejection {
    /// Why, in words; may be empty.
    reason: String,
}

/// Sends a campaign back to who wrote it.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/reject", request_body = Rejection,
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 200, body = Whole),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is not in review")
    )
)]
async fn reject(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(word): Json<Rejection>,
) -> Result<Json<Whole>> {
    deeds::reject(&app, &who.caller, id, &word.reason).await?;
    Ok(Json(whole(&app, &who.caller, id).await?))
}

/// Lets nothing more go out for now.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/pause",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 200, body = Whole),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is neither approved nor being sent")
    )
)]
async fn pause(who: Operator, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Whole>> {
    deeds::pause(&app, &who.caller, id).await?;
    Ok(Json(whole(&app, &who.caller, id).await?))
}

/// Goes on where it was paused.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/resume",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 200, body = Whole),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is not paused")
    )
)]
async fn resume(who: Operator, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Whole>> {
    deeds::resume(&app, &who.caller, id).await?;
    Ok(Json(whole(&app, &who.caller, id).await?))
}

/// Ends a campaign for good; what was sent stays sent.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/cancel",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 200, body = Whole),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is over")
    )
)]
async fn cancel(who: Operator, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Whole>> {
    deeds::cancel(&app, &who.caller, id).await?;
    Ok(Json(whole(&app, &who.caller, id).await?))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CampaignTested)]
struct Tested {
    /// The caller's own address.
    to: String,
}

/// Sends the newest version to the caller's own address.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/test",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses(
        (status = 200, body = Tested),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "no mail server, or the caller has no address")
    )
)]
async fn test(who: Operator, State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Tested>> {
    let to = deeds::test(&app, &who.caller, id).await?;
    Ok(Json(Tested { to }))
}

/// What became of a campaign's mails.
#[utoipa::path(
    get, path = "/api/campaigns/{id}/stats",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses((status = 200, body = Statistics), (status = 404, body = Problem))
)]
async fn statistics(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Statistics>> {
    store::find(&app.db, who.caller.organization, id).await?;
    Ok(Json(store::statistics(&app.db, id).await.map_err(Error::from)?))
}

/// A new draft with the same brief and texts.
#[utoipa::path(
    post, path = "/api/campaigns/{id}/duplicate",
    params(("id" = i64, Path, description = "the campaign's id")),
    responses((status = 201, body = Whole), (status = 404, body = Problem))
)]
async fn duplicate(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<(StatusCode, Json<Whole>)> {
    let copy = deeds::duplicate(&app, &who.caller, id).await?;
    Ok((StatusCode::CREATED, Json(whole(&app, &who.caller, copy.id).await?)))
}

/// Finds the contacts who met an error, and drafts the message that it is solved: for approval,
/// as any campaign. Asked again, it counts them anew and gives the same campaign.
#[utoipa::path(
    post, path = "/api/diagnostics/groups/{id}/campaign",
    params(("id" = i64, Path, description = "the group's id")),
    responses(
        (status = 200, body = Met),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it is not resolved, or nobody is known")
    )
)]
async fn tell_who_met(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Met>> {
    Ok(Json(met::tell(&app, &who.caller, id).await?))
}
