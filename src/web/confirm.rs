//! The page behind the link that asks somebody whether they want mail. It is for people who have
//! no account; what it shows and does hangs on the link's secret alone.

use askama::Template;
use axum::{Extension, Router, extract::State, response::Response, routing};
use http::StatusCode;

use super::pages;
use crate::{
    app::App,
    contacts::consent,
    dashboard::filters,
    http::{
        Path, Problem,
        limit::{Limits, Peer},
    },
};

pub(super) fn router() -> Router<App> {
    Router::new().route("/confirm/{token}", routing::get(show).post(confirm))
}

#[derive(Template)]
#[template(path = "door_confirm.html")]
struct Asked<'q> {
    token: &'q str,
    /// What the person agrees to.
    wording: &'q str,
}

#[derive(Template)]
#[template(path = "door_confirmed.html")]
struct Confirmed;

/// What is asked. Opening it changes nothing: programs that look at links in messages open them,
/// too.
async fn show(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
) -> Response {
    let look = async {
        limits.check_try(peer)?;
        Ok::<_, Problem>(consent::look(&app, &token).await?)
    };
    match look.await {
        Ok(question) => {
            let asked = Asked { token: &token, wording: &question.wording };
            pages::page(StatusCode::OK, &asked)
        }
        Err(problem) => pages::refused(problem),
    }
}

/// The person says yes.
async fn confirm(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
) -> Response {
    let said = async {
        limits.check_try(peer)?;
        let address = Some(peer.address.to_string());
        Ok::<_, Problem>(consent::confirm(&app, &token, address).await?)
    };
    match said.await {
        Ok(()) => pages::page(StatusCode::OK, &Confirmed),
        Err(problem) => pages::refused(problem),
    }
}
