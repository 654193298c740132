//! The page behind the link of a sign-up's letter. It answers browsers; programs use
//! `/api/customers/verify-email`.

use axum::{Extension, Router, extract::State, response::Response, routing};
use http::{StatusCode, header, request::Parts};
use secrecy::ExposeSecret;

use super::{links::see_other, pages};
use crate::{
    app::App,
    auth::session,
    customers::signup,
    http::{
        Path, Problem, cookie,
        limit::{Limits, Peer},
        origin,
    },
};

pub(super) fn router() -> Router<App> {
    Router::new().route("/auth/verify/{token}", routing::get(show).post(verify))
}

/// What the link offers. Opening it changes nothing: programs that look at links in letters open
/// them, too.
async fn show(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
) -> Response {
    let look = async {
        cookie::may_sign_in(&app.config, Some(peer))?;
        limits.check_try(peer)?;
        Ok::<_, Problem>(signup::look(&app.db, &token).await?)
    };
    let offer = match look.await {
        Ok(offer) => offer,
        Err(problem) => return pages::refused(problem),
    };
    let text = format!("This confirms the address {} and signs this browser in.", offer.email);
    let page = pages::Link {
        title: "Confirm your address",
        text: &text,
        button: "Confirm and sign in",
        asks_name: false,
        token: &token,
        next: "/",
        providers: Vec::new(),
    };
    pages::page(StatusCode::OK, &page)
}

/// Uses the link: the browser gets a session of its own, and one that it had before ends.
async fn verify(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
    parts: Parts,
) -> Response {
    let done = async {
        cookie::may_sign_in(&app.config, Some(peer))?;
        // Else another site could sign its visitor in as somebody else.
        origin::check(&parts, &app.config)?;
        limits.check_sign_in(peer)?;
        let before = cookie::read(&app.config, &parts.headers);
        let agent = parts.headers.get(header::USER_AGENT);
        let new = session::New {
            config: &app.config.sign_in,
            provider: None,
            user_agent: agent.and_then(|agent| agent.to_str().ok()),
            address: Some(peer.address),
            replaces: before,
        };
        let came = signup::verify(&app, &token, new).await?;
        if let Some(before) = before {
            app.sessions.forget_cookie(before);
        }
        let cookie = came.started.cookie_value.expose_secret();
        Ok::<_, Problem>(cookie::session_cookie(&app.config, cookie))
    };
    match done.await {
        Ok(cookie) => see_other("/", cookie),
        Err(problem) => pages::refused(problem),
    }
}
