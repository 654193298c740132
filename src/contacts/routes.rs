//! Contacts and segments over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Agreed, Change, Contact, Contacts, Done, Email, Incoming, Status, activity,
    activity::Activity,
    change,
    credential::{self, Credential},
    e164, receipt,
    receipt::Noted,
    segment::{self, Rule, Segment},
    store::list::{self, Filter, Position, Sort},
    webhook, words,
};
use crate::{
    app::App,
    clock,
    error::Error,
    http::{Admin, Json, Operator, Path, Problem, Query, Reader, Result, paging},
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_contacts, add_contact))
        .routes(routes!(read_contact, change_contact, remove_contact))
        .routes(routes!(list_activities, add_note))
        .routes(routes!(list_segments, add_segment))
        .routes(routes!(read_segment, change_segment, remove_segment))
        .routes(routes!(try_rule))
        .routes(routes!(put_members, take_members))
        .routes(routes!(list_credentials, make_credential))
        .routes(routes!(revoke_credential))
        .routes(routes!(list_receipts))
        .merge(webhook::router())
        .merge(super::consent::router())
        .merge(super::duplicates::router())
        .merge(super::export::router())
        .merge(super::person::router())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Words of name, company, address or telephone, each by its beginning.
    q: Option<String>,
    /// A segment's id.
    segment: Option<i64>,
    tag: Option<String>,
    /// Where contacts came from first.
    source: Option<String>,
    consent: Option<Status>,
    /// Created at or after this time.
    since: Option<DateTime<Utc>>,
    /// Created before this time.
    until: Option<DateTime<Utc>>,
    #[serde(default)]
    sort: Sort,
    /// At most 200; 50 if nothing is said.
    limit: Option<i64>,
    cursor: Option<String>,
}

/// A page of contacts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ContactPage {
    contacts: Vec<Contact>,
    next: Option<String>,
    /// A search that found more than it looks at; add a word.
    more: bool,
}

/// Contacts, newest first if nothing else is said. Searches are always newest first.
#[utoipa::path(
    get, path = "/api/contacts", params(ListQuery),
    responses((status = 200, body = ContactPage), (status = 400, body = Problem))
)]
async fn list_contacts(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<Json<ContactPage>> {
    let organization = who.caller.organization;
    let limit = paging::limit(query.limit, 50);
    let after: Option<Position> = query.cursor.as_deref().map(paging::position).transpose()?;
    let filter = Filter {
        source: query.source,
        consent: query.consent,
        tag: query.tag,
        segment: query.segment,
        since: query.since.map(clock::near),
        until: query.until.map(clock::near),
    };
    let text = query.q.as_deref().unwrap_or_default().trim();
    let (contacts, more) = if text.is_empty() {
        let page =
            list::page(&app.db, organization, &filter, query.sort, after.as_ref(), limit).await?;
        (page, false)
    } else {
        let below = after.map(|it| it.id);
        let most = usize::try_from(limit).unwrap_or(50);
        words::search(&app.db, organization, text, &filter, below, most).await?
    };
    let next = paging::after(&contacts, limit, |last| Position {
        id: last.id,
        active_at: (query.sort == Sort::Active).then_some(last.active_at),
        email_key: (query.sort == Sort::Email)
            .then(|| Email::parse(last.email.as_deref().unwrap_or_default()).ok())
            .flatten()
            .map(|email| email.key),
    })?;
    Ok(Json(ContactPage { contacts, next, more }))
}

/// What somebody agreed to, told by another person.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = ConsentChange)]
#[serde(deny_unknown_fields)]
struct Consent {
    #[schema(inline)]
    status: Status,
    /// Where and how it was given: "paper form at the fair".
    source: String,
    /// What the person was shown.
    #[serde(default)]
    wording: String,
}

/// A contact that is told by a person or a program.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ContactWish {
    email: Option<String>,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    #[serde(default)]
    company: String,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    tags: BTreeSet<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[schema(inline)]
    consent: Option<Consent>,
}

/// What became of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ContactDone {
    action: Done,
    contact: Contact,
    segments: Vec<String>,
}

/// Adds a contact; one of the same address is updated.
#[utoipa::path(
    post, path = "/api/contacts", request_body = ContactWish,
    responses(
        (status = 201, body = ContactDone), (status = 200, body = ContactDone),
        (status = 400, body = Problem, description = "the detail names the field"),
    )
)]
async fn add_contact(
    who: Operator,
    Extension(contacts): Extension<Contacts>,
    Json(wish): Json<ContactWish>,
) -> Result<(StatusCode, Json<ContactDone>)> {
    let email = wish
        .email
        .as_deref()
        .map(|text| Email::parse(text).map_err(|why| Error::invalid(format!("email: it {why}"))))
        .transpose()?;
    if email.is_none() && e164(&wish.phone, contacts.region()).is_none() {
        return Err(Error::invalid(
            "email: a contact needs an e-mail address, or a telephone number with its country's prefix",
        )
        .into());
    }
    let incoming = Incoming {
        email,
        first_name: wish.first_name,
        last_name: wish.last_name,
        company: wish.company,
        phone: wish.phone,
        source: wish.source,
        tags: wish.tags,
        attributes: wish.attributes,
        consent: wish.consent.map(|consent| Agreed {
            status: consent.status,
            source: format!("{} (told by {})", consent.source, who.caller.author()),
            wording: consent.wording,
            address: None,
            at: None,
        }),
        by: who.caller.author(),
    };
    let mut recorded = contacts.record(who.caller.organization, vec![incoming]).await?;
    let recorded = recorded.pop().ok_or_else(|| anyhow::anyhow!("nothing was recorded"));
    let recorded = recorded.map_err(Error::Internal)?;
    let is_new = recorded.done == Done::Created;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let done = ContactDone {
        action: recorded.done,
        contact: recorded.contact,
        segments: recorded.segments,
    };
    Ok((status, Json(done)))
}

/// One contact with its segments.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct OneContact {
    #[serde(flatten)]
    contact: Contact,
    /// Slugs.
    segments: Vec<String>,
}

/// One contact.
#[utoipa::path(
    get, path = "/api/contacts/{id}", params(("id" = i64, Path, description = "the contact's id")),
    responses(
        (status = 200, body = OneContact),
        (status = 308, description = "it was merged into the contact that Location names"),
        (status = 404, description = "no such contact"),
    )
)]
async fn read_contact(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let contact = list::find(&app.db, who.caller.organization, id).await?;
    let Some(contact) = contact else {
        let leads = super::duplicates::leads_to(&app.db, who.caller.organization, id).await?;
        let into = leads.ok_or(Error::NotFound("contact"))?;
        return Ok(Redirect::permanent(&format!("/api/contacts/{into}")).into_response());
    };
    let segments = list::segments_of(&app.db, id).await?;
    let segments = segments.into_iter().map(|it| it.1).collect();
    Ok(Json(OneContact { contact, segments }).into_response())
}

/// Changes a contact; what is left out stays as it is.
#[utoipa::path(
    patch, path = "/api/contacts/{id}",
    params(("id" = i64, Path, description = "the contact's id")), request_body = Change,
    responses(
        (status = 200, body = Contact), (status = 400, body = Problem),
        (status = 404, description = "no such contact"),
        (status = 409, body = Problem, description = "changed meanwhile, or the address is taken"),
    )
)]
async fn change_contact(
    who: Operator,
    State(app): State<App>,
    Extension(contacts): Extension<Contacts>,
    Path(id): Path<i64>,
    Json(change): Json<Change>,
) -> Result<Json<Contact>> {
    Ok(Json(change::change(&app.db, &who.caller, contacts.region(), id, change).await?))
}

/// Removes a contact with its history.
#[utoipa::path(
    delete, path = "/api/contacts/{id}",
    params(("id" = i64, Path, description = "the contact's id")),
    responses((status = 204), (status = 404, description = "no such contact"))
)]
async fn remove_contact(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    change::remove(&app.db, &who.caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Activities {
    activities: Vec<Activity>,
    next: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// What happened to a contact, newest first.
#[utoipa::path(
    get, path = "/api/contacts/{id}/activities",
    params(("id" = i64, Path, description = "the contact's id"), PageQuery),
    responses((status = 200, body = Activities), (status = 404, description = "no such contact"))
)]
async fn list_activities(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Activities>> {
    let organization = who.caller.organization;
    let limit = paging::limit(query.limit, 50);
    let before: Option<i64> = query.cursor.as_deref().map(paging::position).transpose()?;
    list::find(&app.db, organization, id).await?.ok_or(Error::NotFound("contact"))?;
    let activities = activity::list(&app.db, organization, id, before, limit).await?;
    let next = paging::after(&activities, limit, |last| last.id)?;
    Ok(Json(Activities { activities, next }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NoteWish {
    /// At most 4000 bytes.
    note: String,
}

/// Notes something about a contact.
#[utoipa::path(
    post, path = "/api/contacts/{id}/activities",
    params(("id" = i64, Path, description = "the contact's id")), request_body = NoteWish,
    responses(
        (status = 201, description = "noted"), (status = 400, body = Problem),
        (status = 404, description = "no such contact"),
    )
)]
async fn add_note(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(wish): Json<NoteWish>,
) -> Result<StatusCode> {
    let note = wish.note.trim();
    if note.is_empty() || note.len() > 4000 {
        return Err(Error::invalid("note: write 1 to 4000 bytes").into());
    }
    let organization = who.caller.organization;
    list::find(&app.db, organization, id).await?.ok_or(Error::NotFound("contact"))?;
    let mut tx = app.db.begin().await?;
    let detail = serde_json::json!({"text": note});
    let by = who.caller.author();
    activity::note(&mut tx, organization, id, "note", &by, &detail, clock::now()).await?;
    tx.commit().await?;
    Ok(StatusCode::CREATED)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Segments {
    segments: Vec<Segment>,
}

/// All segments by name, with how many contacts are in each now.
#[utoipa::path(get, path = "/api/segments", responses((status = 200, body = Segments)))]
async fn list_segments(who: Reader, State(app): State<App>) -> Result<Json<Segments>> {
    Ok(Json(Segments { segments: segment::list(&app.db, who.caller.organization).await? }))
}

/// Makes a segment; with a rule it is whole when this answers (or shows its `next_rule`).
#[utoipa::path(
    post, path = "/api/segments", request_body = segment::Wish,
    responses(
        (status = 201, body = Segment), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "the name is taken"),
    )
)]
async fn add_segment(
    who: Operator,
    State(app): State<App>,
    Json(wish): Json<segment::Wish>,
) -> Result<(StatusCode, Json<Segment>)> {
    Ok((StatusCode::CREATED, Json(segment::add(&app, &who.caller, wish).await?)))
}

/// One segment.
#[utoipa::path(
    get, path = "/api/segments/{id}", params(("id" = i64, Path, description = "the segment's id")),
    responses((status = 200, body = Segment), (status = 404, description = "no such segment"))
)]
async fn read_segment(
    who: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Segment>> {
    let found = segment::find(&app.db, who.caller.organization, id).await?;
    Ok(Json(found.ok_or(Error::NotFound("segment"))?))
}

/// Changes a segment's name or rule.
#[utoipa::path(
    patch, path = "/api/segments/{id}",
    params(("id" = i64, Path, description = "the segment's id")), request_body = segment::Change,
    responses(
        (status = 200, body = Segment), (status = 400, body = Problem),
        (status = 404, description = "no such segment"),
        (status = 409, body = Problem, description = "the name is taken"),
    )
)]
async fn change_segment(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(change): Json<segment::Change>,
) -> Result<Json<Segment>> {
    Ok(Json(segment::change(&app, &who.caller, id, change).await?))
}

/// Removes a segment; its contacts stay.
#[utoipa::path(
    delete, path = "/api/segments/{id}",
    params(("id" = i64, Path, description = "the segment's id")),
    responses((status = 204), (status = 404, description = "no such segment"))
)]
async fn remove_segment(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    segment::remove(&app.db, &who.caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a rule would do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RuleTried {
    /// Contacts that it fits, of those looked at.
    fits: i64,
    looked_at: i64,
    /// Whether these were all contacts; else the newest.
    all: bool,
}

/// Tries a rule on the newest contacts, and changes nothing.
#[utoipa::path(
    post, path = "/api/segments/try", request_body = Rule,
    responses((status = 200, body = RuleTried), (status = 400, body = Problem))
)]
async fn try_rule(
    who: Operator,
    State(app): State<App>,
    Json(rule): Json<Rule>,
) -> Result<Json<RuleTried>> {
    rule.check()?;
    let organization = who.caller.organization;
    let (fits, looked_at, all) =
        segment::matching(&app.db, organization, &rule, clock::now()).await?;
    Ok(Json(RuleTried { fits, looked_at, all }))
}

/// Contacts by their ids, at most a thousand.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Ids {
    contact_ids: Vec<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Moved {
    /// Contacts for which something changed.
    changed: u64,
}

fn bounded(ids: &Ids) -> Result<&[i64]> {
    if ids.contact_ids.is_empty() || ids.contact_ids.len() > 1000 {
        return Err(Error::invalid("contact_ids: name 1 to 1000 contacts").into());
    }
    Ok(&ids.contact_ids)
}

/// Puts contacts into a segment that has no rule.
#[utoipa::path(
    post, path = "/api/segments/{id}/members",
    params(("id" = i64, Path, description = "the segment's id")), request_body = Ids,
    responses(
        (status = 200, body = Moved), (status = 400, body = Problem),
        (status = 404, description = "no such segment"),
        (status = 409, body = Problem, description = "it has a rule"),
    )
)]
async fn put_members(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(ids): Json<Ids>,
) -> Result<Json<Moved>> {
    let changed = segment::put(&app.db, &who.caller, id, bounded(&ids)?).await?;
    Ok(Json(Moved { changed }))
}

/// Takes contacts out of a segment that has no rule.
#[utoipa::path(
    delete, path = "/api/segments/{id}/members",
    params(("id" = i64, Path, description = "the segment's id")), request_body = Ids,
    responses(
        (status = 200, body = Moved), (status = 400, body = Problem),
        (status = 404, description = "no such segment"),
        (status = 409, body = Problem, description = "it has a rule"),
    )
)]
async fn take_members(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(ids): Json<Ids>,
) -> Result<Json<Moved>> {
    let changed = segment::take(&app.db, &who.caller, id, bounded(&ids)?).await?;
    Ok(Json(Moved { changed }))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Credentials {
    credentials: Vec<Credential>,
}

/// The user names of the webhook.
#[utoipa::path(
    get, path = "/api/webhook/credentials", responses((status = 200, body = Credentials))
)]
async fn list_credentials(who: Admin, State(app): State<App>) -> Result<Json<Credentials>> {
    let credentials = credential::list(&app.db, who.caller.organization).await?;
    Ok(Json(Credentials { credentials }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CredentialWish {
    /// What it is for: "zapier".
    name: String,
}

/// A credential with its password, which is not told again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct NewCredential {
    id: i64,
    username: String,
    password: String,
}

/// Makes a user name and password for the webhook; others go on holding.
#[utoipa::path(
    post, path = "/api/webhook/credentials", request_body = CredentialWish,
    responses(
        (status = 201, body = NewCredential), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "the name is taken"),
    )
)]
async fn make_credential(
    who: Admin,
    State(app): State<App>,
    Json(wish): Json<CredentialWish>,
) -> Result<(StatusCode, Json<NewCredential>)> {
    use secrecy::ExposeSecret;
    let (organization, actor) = (who.caller.organization, (&who.caller).into());
    let made = credential::create(&app.db, organization, actor, &wish.name).await?;
    let password = made.password.expose_secret().to_owned();
    Ok((
        StatusCode::CREATED,
        Json(NewCredential { id: made.id, username: made.username, password }),
    ))
}

/// Ends a credential of the webhook.
#[utoipa::path(
    delete, path = "/api/webhook/credentials/{id}",
    params(("id" = i64, Path, description = "the credential's id")),
    responses((status = 204), (status = 404, description = "no such credential, or ended"))
)]
async fn revoke_credential(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<StatusCode> {
    let (organization, actor) = (who.caller.organization, (&who.caller).into());
    credential::revoke(&app.db, organization, actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Receipts {
    receipts: Vec<Noted>,
    next: Option<String>,
}

/// What the webhook was told lately, newest first; kept for 30 days.
#[utoipa::path(
    get, path = "/api/webhook/receipts", params(PageQuery),
    responses((status = 200, body = Receipts))
)]
async fn list_receipts(
    who: Operator,
    State(app): State<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Receipts>> {
    let limit = paging::limit(query.limit, 50);
    let before: Option<i64> = query.cursor.as_deref().map(paging::position).transpose()?;
    let receipts = receipt::list(&app.db, who.caller.organization, before, limit).await?;
    let next = paging::after(&receipts, limit, |last| last.id)?;
    Ok(Json(Receipts { receipts, next }))
}
