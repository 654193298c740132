//! Imports over HTTP.

use axum::{
    Extension,
    extract::{FromRequest, Multipart, Request},
    response::{IntoResponse, Response},
};
use futures_util::TryStreamExt;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Change, Import, Imports};
use crate::{
    app::App,
    auth::Caller,
    error::Error,
    http::{Json, Operator, Path, Problem, Query, Reader, Result},
};

/// The routes; [`Imports`] have to be added as an extension.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_imports))
        .routes(routes!(read_import, change_import))
        .routes(routes!(start_import))
        .routes(routes!(cancel_import))
        .routes(routes!(read_rejected_rows))
}

/// The route that takes files. It has bounds of its own: not the usual ones for bodies and time.
pub fn upload_router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(upload_import))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ImportList {
    imports: Vec<Import>,
}

/// The newest 100 imports.
#[utoipa::path(get, path = "/api/contacts/imports", responses((status = 200, body = ImportList)))]
async fn list_imports(
    who: Reader,
    Extension(imports): Extension<Imports>,
) -> Result<Json<ImportList>> {
    Ok(Json(ImportList { imports: imports.list(who.caller.organization).await? }))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// What the file is called; of a form, the name that it tells counts.
    #[serde(default)]
    name: String,
}

/// Brings a file of contacts: as the body (text/csv), or as the file of a form
/// (multipart/form-data); at most 1 GiB. Nothing is done with it yet: the answer says how it is
/// read and what its columns seem to be.
#[utoipa::path(
    post, path = "/api/contacts/imports", params(UploadQuery),
    responses(
        (status = 201, body = Import),
        (status = 400, body = Problem, description = "empty, no table, or it did not arrive whole"),
        (status = 413, body = Problem, description = "larger than 1 GiB"),
        (status = 415, body = Problem, description = "neither CSV nor a form with a file"),
        (status = 503, body = Problem, description = "too many at once, or the disk is full"),
    )
)]
async fn upload_import(
    who: Operator,
    Extension(imports): Extension<Imports>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<(StatusCode, Json<Import>)> {
    let import = take(&imports, &who.caller, &query.name, request).await?;
    Ok((StatusCode::CREATED, Json(import)))
}

/// The file of a request, whichever way it comes.
pub async fn take(
    imports: &Imports,
    caller: &Caller,
    name: &str,
    request: Request,
) -> Result<Import> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    match kind.as_str() {
        "multipart/form-data" => {
            let wrong = |error: &dyn std::fmt::Display| {
                Problem::from(Error::invalid(format!("the form is not understood: {error}")))
            };
            let mut form =
                Multipart::from_request(request, &()).await.map_err(|error| wrong(&error))?;
            while let Some(field) = form.next_field().await.map_err(|error| wrong(&error))? {
                if let Some(name) = field.file_name().map(str::to_owned) {
                    return Ok(imports.take(caller, &name, field.into_stream()).await?);
                }
            }
            Err(Error::invalid("the form brings no file; choose one").into())
        }
        "text/csv"
        | "text/plain"
        | "text/tab-separated-values"
        | "application/csv"
        | "application/octet-stream"
        | "application/vnd.ms-excel" => {
            let body = request.into_body().into_data_stream();
            Ok(imports.take(caller, name, body).await?)
        }
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the file with the header Content-Type: text/csv, or as the file of a form \
             (multipart/form-data)",
        )),
    }
}

/// One import, with its first rows as they are read.
#[utoipa::path(
    get, path = "/api/contacts/imports/{id}",
    params(("id" = i64, Path, description = "the import's id")),
    responses((status = 200, body = Import), (status = 404, description = "no such import"))
)]
async fn read_import(
    who: Reader,
    Extension(imports): Extension<Imports>,
    Path(id): Path<i64>,
) -> Result<Json<Import>> {
    Ok(Json(imports.find(who.caller.organization, id).await?))
}

/// Changes how the file is read and what becomes of its columns, before it is begun.
#[utoipa::path(
    patch, path = "/api/contacts/imports/{id}",
    params(("id" = i64, Path, description = "the import's id")),
    request_body = Change,
    responses(
        (status = 200, body = Import),
        (status = 400, body = Problem, description = "not valid: the detail names the field"),
        (status = 404, description = "no such import"),
        (status = 409, body = Problem, description = "it was begun"),
    )
)]
async fn change_import(
    who: Operator,
    Extension(imports): Extension<Imports>,
    Path(id): Path<i64>,
    Json(change): Json<Change>,
) -> Result<Json<Import>> {
    Ok(Json(imports.change(who.caller.organization, id, change).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct StartQuery {
    /// Only count what would happen, and keep the rows that would be refused.
    #[serde(default)]
    dry_run: bool,
}

/// Begins the import, or a dry run of it. It goes on in the background, also over a restart.
#[utoipa::path(
    post, path = "/api/contacts/imports/{id}/start",
    params(("id" = i64, Path, description = "the import's id"), StartQuery),
    responses(
        (status = 202, body = Import),
        (status = 400, body = Problem, description = "no column is the address or the number"),
        (status = 404, description = "no such import"),
        (status = 409, body = Problem, description = "it runs, or has ended"),
    )
)]
async fn start_import(
    who: Operator,
    Extension(imports): Extension<Imports>,
    Path(id): Path<i64>,
    Query(query): Query<StartQuery>,
) -> Result<(StatusCode, Json<Import>)> {
    let import = imports.begin(&who.caller, id, query.dry_run).await?;
    Ok((StatusCode::ACCEPTED, Json(import)))
}

/// Stops an import; what it brought in by then stays. A dry run can be begun again.
#[utoipa::path(
    post, path = "/api/contacts/imports/{id}/cancel",
    params(("id" = i64, Path, description = "the import's id")),
    responses(
        (status = 200, body = Import),
        (status = 404, description = "no such import"),
        (status = 409, body = Problem, description = "it has ended"),
    )
)]
async fn cancel_import(
    who: Operator,
    Extension(imports): Extension<Imports>,
    Path(id): Path<i64>,
) -> Result<Json<Import>> {
    Ok(Json(imports.cancel(&who.caller, id).await?))
}

/// The rows that were refused, as CSV: where each stood, why, and its cells.
#[utoipa::path(
    get, path = "/api/contacts/imports/{id}/rejected",
    params(("id" = i64, Path, description = "the import's id")),
    responses(
        (status = 200, description = "a table with a header", content_type = "text/csv"),
        (status = 404, description = "no such import"),
    )
)]
async fn read_rejected_rows(
    who: Reader,
    Extension(imports): Extension<Imports>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let import = imports.find(who.caller.organization, id).await?;
    Ok(download(imports.rejected(&import), &format!("import-{id}-rejected.csv")))
}

/// A table as a file.
pub fn download(body: axum::body::Body, name: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, body).into_response()
}
