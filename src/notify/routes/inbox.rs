//! The caller's inbox over HTTP.

use axum::{Extension, extract::State};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::Error,
    http::{Json, Problem, Query, Reader, Result, paging},
    notify::{
        Notify,
        inbox::{self, Entry, Read},
    },
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_inbox)).routes(routes!(read_inbox))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct InboxQuery {
    /// Only what the caller has not read.
    unread: Option<bool>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct InboxPage {
    /// What the caller has not read, counted up to 100.
    unread: i64,
    entries: Vec<Entry>,
    next: Option<String>,
}

/// What channels of kind `browser` told, newest first; for 30 days.
#[utoipa::path(
    get, path = "/api/notifications/inbox", params(InboxQuery),
    responses((status = 200, body = InboxPage), (status = 400, body = Problem))
)]
async fn list_inbox(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<InboxQuery>,
) -> Result<Json<InboxPage>> {
    let limit = paging::limit(query.limit, 50);
    let before: i64 =
        query.cursor.as_deref().map(paging::position).transpose()?.unwrap_or(i64::MAX);
    let (organization, reader) = (who.caller.organization, inbox::reader(&who.caller));
    let only = query.unread.unwrap_or_default();
    let entries = inbox::list(&app.db, organization, &reader, only, before, limit).await?;
    let next = paging::after(&entries, limit, |entry| entry.id)?;
    let unread = inbox::unread(&app.db, &who.caller).await?;
    Ok(Json(InboxPage { unread, entries, next }))
}

/// What the caller has read: `ids`, or all `up_to` one.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct InboxRead {
    /// At most 200.
    #[serde(default)]
    ids: Option<Vec<i64>>,
    /// The id of an entry: it and all older ones, at most 5000 at once.
    #[serde(default)]
    up_to: Option<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct InboxUnread {
    unread: i64,
}

/// Marks entries as read by the caller; nobody else sees a difference.
#[utoipa::path(
    post, path = "/api/notifications/inbox/read", request_body = InboxRead,
    responses(
        (status = 200, body = InboxUnread), (status = 400, body = Problem),
        (status = 404, body = Problem, description = "no such entry"),
    )
)]
async fn read_inbox(
    who: Reader,
    Extension(notify): Extension<Notify>,
    Json(wish): Json<InboxRead>,
) -> Result<Json<InboxUnread>> {
    let what = match (wish.ids, wish.up_to) {
        (Some(ids), None) => Read::These(ids),
        (None, Some(id)) => Read::UpTo(id),
        _ => return Err(Error::invalid("ids: say either which ids, or `up_to` which one").into()),
    };
    inbox::read(&notify, &who.caller, &what).await?;
    let unread = inbox::unread(&notify.app().db, &who.caller).await?;
    Ok(Json(InboxUnread { unread }))
}
