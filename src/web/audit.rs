//! Reading the audit log, checking its chain, and taking it along.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::{TryStreamExt, stream};
use http::header;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::{
        OrganizationId,
        audit::{self, Check, Entry, Filter, Known},
    },
    db::Db,
    error::{self, Error},
    http::{Admin, Json, Problem, Query, Result, paging},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_audit))
        .routes(routes!(verify_audit))
        .routes(routes!(export_audit))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Page {
    /// What the deed begins with: "token.", "token.create".
    action: Option<String>,
    /// What the author's name begins with.
    actor: Option<String>,
    /// Default 50, at most 200.
    limit: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Entries {
    entries: Vec<Entry>,
    /// Cursor of the next page. A filtered page looks at 20000 entries at most: it may be short,
    /// even empty, and have a successor.
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
    let filter = Filter { action: page.action, actor: page.actor };
    let listed = audit::list(&app.db, who.caller.organization, &filter, limit, after).await;
    let (entries, next) = listed.map_err(Error::from)?;
    let next = next.as_ref().map(paging::cursor).transpose()?;
    Ok(Json(Entries { entries, next }))
}

/// Entries that one request exports.
const MOST_EXPORTED: usize = 100_000;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Walk {
    /// `next` of the check before: goes on behind this number.
    after: Option<i64>,
    /// A head that Lux wrote to its own log, as NUMBER:HASH: whether it is still in the chain.
    head: Option<String>,
}

/// Whether the chain of entries is whole: at most 20000 of them in one request.
#[utoipa::path(
    get, path = "/api/audit/verify", params(Walk),
    responses(
        (status = 200, body = Check),
        (status = 400, body = Problem, description = "after or head is not valid"),
    )
)]
async fn verify_audit(
    who: Admin,
    State(app): State<App>,
    Query(walk): Query<Walk>,
) -> Result<Json<Check>> {
    let after = behind(walk.after)?;
    let known = walk.head.as_deref().map(str::parse::<Known>).transpose()?;
    let organization = who.caller.organization;
    let check =
        audit::verify(&app.db, organization, after, audit::MOST_CHECKED, known.as_ref()).await;
    Ok(Json(check.map_err(Error::from)?))
}

fn behind(after: Option<i64>) -> Result<i64> {
    let after = after.unwrap_or(0);
    if after < 0 {
        return Err(Error::invalid("after is the number of an entry, or 0 for all").into());
    }
    Ok(after)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Behind {
    /// Goes on behind the entry with this id: that of the last line of the export before.
    after: Option<i64>,
}

/// All entries with their hashes, oldest first, one JSON object a line; at most 100000 in one
/// request. A stream that ends early lacks its last entries: go on behind the last id.
#[utoipa::path(
    get, path = "/api/audit/export", params(Behind),
    responses(
        (status = 200, body = String, content_type = "application/x-ndjson"),
        (status = 400, body = Problem, description = "after is not valid"),
    )
)]
async fn export_audit(
    who: Admin,
    State(app): State<App>,
    Query(wanted): Query<Behind>,
) -> Result<Response> {
    let after = behind(wanted.after)?;
    let from = Export { db: app.db.clone(), organization: who.caller.organization, after, told: 0 };
    let pages = stream::try_unfold(from, Export::next)
        .inspect_err(|error| tracing::warn!(%error, "an export of the audit log ended early"));
    let kind = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"lux-audit.jsonl\""),
    ];
    Ok((kind, Body::from_stream(pages)).into_response())
}

/// An export under way. Nothing is held between two pages but this.
struct Export {
    db: Db,
    organization: OrganizationId,
    after: i64,
    told: usize,
}

impl Export {
    async fn next(mut self) -> error::Result<Option<(String, Self)>> {
        if self.told >= MOST_EXPORTED {
            return Ok(None);
        }
        let entries = audit::page(&self.db, self.organization, self.after).await?;
        let Some(last) = entries.last() else { return Ok(None) };
        self.after = last.id;
        let left = MOST_EXPORTED - self.told;
        let mut lines = String::new();
        for entry in entries.iter().take(left) {
            lines.push_str(&serde_json::to_string(entry).map_err(anyhow::Error::from)?);
            lines.push('\n');
        }
        self.told += entries.len();
        Ok(Some((lines, self)))
    }
}
