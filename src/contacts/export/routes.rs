//! The export over HTTP.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::header;
use serde::Deserialize;
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Format, Wish, body};
use crate::{
    app::App,
    auth::{Caller, audit},
    clock,
    contacts::{Status, store::list::Filter},
    error::Error,
    http::{Problem, Query, Reader, Result},
};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export_contacts))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ExportQuery {
    /// csv (default) or jsonl.
    #[serde(default)]
    format: Format,
    /// Words of name, company, address or telephone, as in the list.
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
    /// Begin CSV with a byte order mark, for spreadsheets that do not see UTF-8 without it.
    #[serde(default)]
    bom: bool,
}

/// All contacts that fit, newest first, with every column. A body that breaks off is not complete.
#[utoipa::path(
    get, path = "/api/contacts/export", params(ExportQuery),
    responses(
        (status = 200, description = "one contact in each row", content(
            (String = "text/csv"), (String = "application/x-ndjson")
        )),
        (status = 400, body = Problem, description = "not valid; the detail names the parameter"),
    )
)]
async fn export_contacts(
    who: Reader,
    State(app): State<App>,
    Query(query): Query<ExportQuery>,
) -> Result<Response> {
    let wish = Wish {
        filter: Filter {
            source: query.source,
            consent: query.consent,
            tag: query.tag,
            segment: query.segment,
            since: query.since.map(clock::near),
            until: query.until.map(clock::near),
        },
        q: query.q.unwrap_or_default().trim().to_owned(),
        format: query.format,
        mark: query.bom,
    };
    export(&app, &who.caller, wish).await
}

/// The answer; that contacts were taken out is audited.
pub async fn export(app: &App, caller: &Caller, wish: Wish) -> Result<Response> {
    let organization = caller.organization;
    let filtered = wish.filter != Filter::default() || !wish.q.is_empty();
    let detail = json!({ "filtered": filtered, "segment": wish.filter.segment });
    audit::write(&app.db, organization, caller, "contacts.export", "contacts", &detail)
        .await
        .map_err(Error::from)?;
    let (kind, name) = match wish.format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "contacts.csv"),
        Format::Jsonl => ("application/x-ndjson", "contacts.jsonl"),
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, body(app.clone(), organization, wish)).into_response())
}
