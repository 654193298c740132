//! The addresses in mails: unsubscribing without signing in, and what counts opens and clicks.

use askama::Template;
use axum::{
    Extension, Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Redirect, Response},
    routing,
};
use http::{HeaderValue, StatusCode, header};
use url::form_urlencoded;

use super::pages;
use crate::{
    app::App,
    dashboard::filters,
    error::Error,
    http::{Path, Problem, limit::Peer},
    marketing::sending::leaving::{self, Standing},
};

/// What the form for taking it back sends.
const UNDO: &str = "undo";

/// A picture of one transparent dot.
const DOT: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/u/{token}", routing::get(show).post(leave))
        .route("/o/{file}", routing::get(opened))
        .route("/c/{token}", routing::get(clicked))
}

#[derive(Template)]
#[template(path = "door_unsubscribe.html")]
struct Page<'p> {
    title: &'p str,
    text: String,
    /// What the button does: its value, and what it says.
    button: Option<(&'p str, &'p str)>,
}

/// What the link offers. Opening it changes nothing: programs that look at links in mails open
/// them, too.
async fn show(State(app): State<App>, Path(token): Path<String>) -> Response {
    match page_of(&app, &token).await {
        Ok(response) => response,
        Err(problem) => pages::refused(problem),
    }
}

async fn page_of(app: &App, token: &str) -> Result<Response, Problem> {
    let leaver = leaving::look(app, token).await?.ok_or(Error::NotFound("link"))?;
    let to = match leaver.address.as_str() {
        "" => "this address".to_owned(),
        address => address.to_owned(),
    };
    let page = match leaver.standing {
        Standing::Subscribed => Page {
            title: "Unsubscribe",
            text: format!("No more mail of this kind is sent to {to} after this."),
            button: Some(("leave", "Unsubscribe")),
        },
        Standing::Left => Page {
            title: "Unsubscribed",
            text: format!("No more mail of this kind is sent to {to}."),
            button: Some((UNDO, "Undo: send me mail again")),
        },
        Standing::Never => Page {
            title: "Unsubscribed",
            text: format!("No mail of this kind is sent to {to}."),
            button: None,
        },
    };
    Ok(uncached(pages::page(StatusCode::OK, &page)))
}

/// Unsubscribes: the page's button, and what mail programs send for their own (RFC 8058). Only the
/// page's other button takes it back.
async fn leave(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
    body: Bytes,
) -> Response {
    let done = async {
        let said = |wanted: &str| {
            form_urlencoded::parse(&body).any(|(name, value)| name == "do" && value == wanted)
        };
        let address = Some(peer.address);
        let known = if said(UNDO) {
            leaving::resubscribe(&app, &token, address).await?;
            true
        } else {
            let how = if said("leave") { "page" } else { "one click" };
            leaving::unsubscribe(&app, &token, how, address).await?
        };
        if !known {
            return Err(Problem::from(Error::NotFound("link")));
        }
        page_of(&app, &token).await
    };
    done.await.unwrap_or_else(pages::refused)
}

/// Counts that a mail was opened; the picture comes whatever was asked for.
async fn opened(State(app): State<App>, Path(file): Path<String>) -> Response {
    let token = file.strip_suffix(".gif").unwrap_or(&file);
    if let Err(error) = leaving::opened(&app, token).await {
        tracing::debug!(%error, "an opened mail was not counted");
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("image/gif"))];
    uncached((kind, DOT).into_response())
}

/// To where a link of a mail leads.
async fn clicked(State(app): State<App>, Path(token): Path<String>) -> Response {
    match leaving::clicked(&app, &token).await {
        Ok(Some(target)) => uncached(Redirect::to(&target).into_response()),
        Ok(None) => pages::refused(Error::NotFound("link").into()),
        Err(error) => pages::refused(error.into()),
    }
}

fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex"));
    response
}
