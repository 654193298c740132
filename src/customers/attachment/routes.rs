//! Attachments over HTTP.

use std::{fmt::Write, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, Multipart, Request, State},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Attachment, Brought, MAX_FILE, attach, list, read, remove, too_large, unknown};
use crate::{
    app::App,
    customers::{Whose, find},
    error::{Error, Result as Done},
    http::{Customer, Json, Path, Query, Result},
};

/// Files that are taken in at once: each is held in memory until it is whole.
static UPLOADS: Semaphore = Semaphore::const_new(8);
/// How long a file, and the next piece of it, may keep us waiting.
const TOTAL: Duration = Duration::from_mins(2);
const PATIENCE: Duration = Duration::from_secs(30);

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_attachments))
        .routes(routes!(read_attachment, remove_attachment))
}

/// The route that takes files. It has bounds of its own: not the usual ones for bodies and time.
pub fn upload_router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(attach_file))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CustomerAttachments)]
struct Attachments {
    attachments: Vec<Attachment>,
}

/// The files of a customer, the newest first; at most 50.
#[utoipa::path(
    get, path = "/api/customers/{id}/attachments",
    params(("id" = String, Path, description = "An account's id, or \"me\"")),
    responses((status = 200, body = Attachments), (status = 404, description = "no such customer"))
)]
async fn list_attachments(
    who: Customer,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Attachments>> {
    let attachments = list(&app.db, &who.caller, Whose::read(&id)?).await?;
    Ok(Json(Attachments { attachments }))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// What the file is called; of a form, the name that it tells counts.
    #[serde(default)]
    name: String,
}

/// Attaches a file to a customer: as the body, with its own type as the Content-Type, or as the
/// file of a form (multipart/form-data). PNG, JPEG, WebP, GIF, PDF, plain text and CSV (UTF-8) are
/// taken, if their bytes agree; at most 10 MiB each, and 50 a customer.
#[utoipa::path(
    post, path = "/api/customers/{id}/attachments",
    params(("id" = String, Path, description = "An account's id, or \"me\""), UploadQuery),
    responses(
        (status = 201, body = Attachment),
        (status = 400, description = "empty, of a type that is not taken, or not what it claims"),
        (status = 404, description = "no such customer"),
        (status = 409, description = "there are 50 already"),
        (status = 413, description = "larger than 10 MiB"),
        (status = 503, description = "too many at once")
    )
)]
async fn attach_file(
    who: Customer,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<(StatusCode, Json<Attachment>)> {
    let whose = Whose::read(&id)?;
    // Who may not does not get to send anything first.
    find(&app.db, &who.caller, whose).await?;
    let brought = take(&query.name, request).await?;
    let kept = attach(&app.db, &who.caller, whose, brought).await?;
    Ok((StatusCode::CREATED, Json(kept)))
}

/// The file of a request, whichever way it comes; read whole.
pub(crate) async fn take(name: &str, request: Request) -> Done<Brought> {
    let _turn = UPLOADS.try_acquire().map_err(|_| {
        Error::Unavailable("several files are being taken in; try again in a minute".to_owned())
    })?;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // A form has some lines around its file.
    if length.is_some_and(|length| length > MAX_FILE + (64 << 10)) {
        return Err(too_large());
    }
    let taken = tokio::time::timeout(TOTAL, take_now(name, request)).await;
    taken.unwrap_or_else(|_| Err(late()))
}

async fn take_now(name: &str, request: Request) -> Done<Brought> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let claims = kind.unwrap_or_default().to_owned();
    let is_form = claims.split(';').next().unwrap_or_default().trim();
    if !is_form.eq_ignore_ascii_case("multipart/form-data") {
        let bytes = gather(request.into_body().into_data_stream()).await?;
        return Ok(Brought { name: name.to_owned(), claims, bytes });
    }
    let wrong = |error: &dyn std::fmt::Display| {
        Error::invalid(format!("the form is not understood: {error}"))
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| wrong(&error))?;
    loop {
        let field = tokio::time::timeout(PATIENCE, form.next_field()).await.map_err(|_| late())?;
        let Some(field) = field.map_err(|error| wrong(&error))? else {
            return Err(Error::invalid("the form brings no file; choose one"));
        };
        if let Some(name) = field.file_name().map(str::to_owned) {
            let claims = field.content_type().unwrap_or_default().to_owned();
            return Ok(Brought { name, claims, bytes: gather(field).await? });
        }
    }
}

/// All pieces, if they are not too many.
async fn gather<E: std::fmt::Display>(
    pieces: impl Stream<Item = std::result::Result<Bytes, E>>,
) -> Done<Bytes> {
    let mut pieces = std::pin::pin!(pieces);
    let mut whole = Vec::new();
    while let Some(piece) =
        tokio::time::timeout(PATIENCE, pieces.next()).await.map_err(|_| late())?
    {
        let piece = piece.map_err(|error| {
            Error::invalid(format!("the file did not arrive whole: {error}; send it again"))
        })?;
        if whole.len() + piece.len() > MAX_FILE {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

fn late() -> Error {
    Error::invalid("the file did not arrive in time; send it again")
}

/// The parts of an attachment's address.
fn parts(id: &str, attachment: &str) -> Done<(Whose, i64)> {
    Ok((Whose::read(id)?, attachment.parse().map_err(|_| unknown())?))
}

/// A file, to be saved: no browser shows it.
#[utoipa::path(
    get, path = "/api/customers/{id}/attachments/{attachment_id}",
    params(
        ("id" = String, Path, description = "An account's id, or \"me\""),
        ("attachment_id" = i64, Path)
    ),
    responses(
        (
            status = 200, description = "the file",
            content(
                (Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/webp"),
                (Vec<u8> = "image/gif"), (Vec<u8> = "application/pdf"), (Vec<u8> = "text/plain"),
                (Vec<u8> = "text/csv")
            )
        ),
        (status = 404, description = "no such customer or file")
    )
)]
async fn read_attachment(
    who: Customer,
    State(app): State<App>,
    Path((id, attachment)): Path<(String, String)>,
) -> Result<Response> {
    let (whose, attachment) = parts(&id, &attachment)?;
    let (kept, bytes) = read(&app.db, &who.caller, whose, attachment).await?;
    Ok(download(&kept, bytes))
}

/// The answer that hands a file out. Whatever its bytes are, nothing of them runs or is shown.
pub(crate) fn download(kept: &Attachment, bytes: Vec<u8>) -> Response {
    let kind = match kept.media_type.as_str() {
        "text/plain" => "text/plain; charset=utf-8",
        "text/csv" => "text/csv; charset=utf-8",
        "image/png" => "image/png",
        "image/jpeg" => "image/jpeg",
        "image/webp" => "image/webp",
        "image/gif" => "image/gif",
        "application/pdf" => "application/pdf",
        _ => "application/octet-stream",
    };
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"),
    );
    headers.insert(header::CONTENT_DISPOSITION, disposition(&kept.name));
    response
}

/// RFC 6266: an ASCII name for all, and the real one for those who know how to read it.
fn disposition(name: &str) -> HeaderValue {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || " .-_()".contains(c) { c } else { '_' })
        .collect();
    let mut real = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            real.push(char::from(byte));
        } else {
            let _ = write!(real, "%{byte:02X}");
        }
    }
    let text = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{real}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Removes a file.
#[utoipa::path(
    delete, path = "/api/customers/{id}/attachments/{attachment_id}",
    params(
        ("id" = String, Path, description = "An account's id, or \"me\""),
        ("attachment_id" = i64, Path)
    ),
    responses((status = 204), (status = 404, description = "no such customer or file"))
)]
async fn remove_attachment(
    who: Customer,
    State(app): State<App>,
    Path((id, attachment)): Path<(String, String)>,
) -> Result<StatusCode> {
    let (whose, attachment) = parts(&id, &attachment)?;
    remove(&app.db, &who.caller, whose, attachment).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::disposition;

    #[test]
    fn a_name_stays_within_its_header() {
        let said = disposition("a\"; filename=\"x.exe\r\nSet-Cookie: größe.png");
        let said = said.to_str().unwrap();
        assert_eq!(said.matches('"').count(), 2, "{said}");
        assert!(said.starts_with("attachment; filename=\"a__ filename__x.exe__Set-Cookie_ gr__e"));
        assert!(said.ends_with("gr%C3%B6%C3%9Fe.png"), "{said}");
    }
}
