//! Signing in by a one-time link, and signing out. These are addresses for browsers, not for
//! programs: they answer with pages.

use axum::{
    Extension, Router,
    extract::{Form, Query, State},
    response::{IntoResponse, Response},
    routing,
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::pages;
use crate::{
    app::App,
    auth::{
        Who,
        link::{self, Purpose},
        oidc, session,
    },
    http::{
        Path, Problem, cookie,
        limit::{Limits, Peer},
        origin, safe_next,
    },
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/auth/link/{token}", routing::get(show_link).post(use_link))
        .route("/auth/sign-out", routing::post(sign_out))
}

#[derive(Deserialize)]
struct Wanted {
    /// Where to go afterwards.
    next: Option<String>,
}

/// What the link offers. Opening it changes nothing: programs that look at links in messages
/// open them, too.
async fn show_link(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let offer = async {
        cookie::may_sign_in(&app.config, Some(peer))?;
        limits.check_try(peer)?;
        Ok::<_, Problem>(link::look(&app.db, &token).await?)
    };
    let purpose = match offer.await {
        Ok(link) => link.purpose,
        Err(problem) => return pages::refused(problem),
    };
    let (title, text, button) = match purpose {
        Purpose::Setup => (
            "Set up Lux",
            "This browser signs in as the first administrator of this Lux.",
            "Become the administrator",
        ),
        Purpose::Login { .. } => {
            ("Sign in to Lux", "This browser signs in as the account of the link.", "Sign in")
        }
        Purpose::Invitation { .. } => {
            ("Welcome to Lux", "You were invited. How should you be called?", "Accept")
        }
    };
    // Whoever has an account at a provider can use the link with that.
    let providers = app.config.providers.iter();
    let providers = providers.map(|it| (oidc::path(&it.name, "login"), it.label.as_str()));
    let page = pages::Link {
        title,
        text,
        button,
        asks_name: matches!(purpose, Purpose::Invitation { .. }),
        token: &token,
        next: safe_next(wanted.next.as_deref()),
        providers: providers.collect(),
    };
    pages::page(StatusCode::OK, &page)
}

#[derive(Deserialize)]
struct Using {
    /// How an invited person wants to be called.
    name: Option<String>,
    next: Option<String>,
}

/// Uses the link: the browser gets a session of its own, and one that it had before ends.
async fn use_link(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    Path(token): Path<String>,
    parts: Parts,
    form: Result<Form<Using>, axum::extract::rejection::FormRejection>,
) -> Response {
    let done = async {
        cookie::may_sign_in(&app.config, Some(peer))?;
        // Else another site could sign its visitor in as somebody else.
        origin::check(&parts, &app.config)?;
        limits.check_sign_in(peer)?;
        let Form(using) = form.map_err(|rejection| {
            Problem::new(StatusCode::BAD_REQUEST, format!("the form is not whole: {rejection}"))
        })?;
        let before = cookie::read(&app.config, &parts.headers);
        let new = session::New {
            config: &app.config.sign_in,
            provider: None,
            user_agent: text(&parts.headers, &header::USER_AGENT),
            address: Some(peer.address),
            replaces: before,
        };
        let started = link::take(&app.db, &token, using.name.as_deref(), new).await?;
        if let Some(before) = before {
            app.sessions.forget_cookie(before);
        }
        let cookie = cookie::session_cookie(&app.config, started.cookie_value.expose_secret());
        Ok::<_, Problem>((cookie, using.next))
    };
    match done.await {
        Ok((cookie, next)) => see_other(safe_next(next.as_deref()), cookie),
        Err(problem) => pages::refused(problem),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// To another page, with a cookie set.
pub(super) fn see_other(path: &str, cookie: HeaderValue) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::LOCATION,
        HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/")),
    );
    headers.append(header::SET_COOKIE, cookie);
    response
}

/// Ends the session of this browser and takes its cookie away, also where the session has ended.
async fn sign_out(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    parts: Parts,
) -> Result<Response, Problem> {
    origin::check(&parts, &app.config)?;
    limits.check_try(peer)?;
    if let Some(value) = cookie::read(&app.config, &parts.headers) {
        let caller = app.sessions.recognise(&app.db, value, &app.config.sign_in).await?;
        if let Some(Who::Person { session, .. }) = caller.map(|caller| caller.who) {
            session::end(&app.db, session, "signed out").await?;
        }
        app.sessions.forget_cookie(value);
    }
    let cleared = cookie::cleared(&app.config);
    let is_page = text(&parts.headers, &header::ACCEPT).is_some_and(|it| it.contains("text/html"));
    if is_page {
        return Ok(see_other("/", cleared));
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cleared)]).into_response())
}
