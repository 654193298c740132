//! The page on which people sign themselves up, or as customers ask for a letter that signs them
//! in. It answers browsers; programs use `/api/customers/signup`.

use askama::Template;
use axum::{Extension, Form, Router, extract::State, response::Response, routing};
use http::{StatusCode, request::Parts};

use super::pages;
use crate::{
    app::App,
    customers::signup::{self, Wish},
    dashboard::filters,
    error::Error,
    http::{
        Problem,
        limit::{Limits, Peer},
        origin,
    },
};

pub(super) fn router() -> Router<App> {
    Router::new().route("/auth/sign-up", routing::get(show).post(ask))
}

#[derive(Template)]
#[template(path = "door_sign_up.html")]
struct SignUp {
    /// What was sent, where it has to be sent again.
    email: String,
    name: String,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "door_signed_up.html")]
struct SignedUp;

async fn show(State(app): State<App>) -> Response {
    if !signup::is_offered(&app) {
        let detail = "Nobody signs themselves up here. Ask an administrator for an invitation";
        return pages::refused(Error::Denied(detail.to_owned()).into());
    }
    let page = SignUp { email: String::new(), name: String::new(), wrong: None };
    pages::page(StatusCode::OK, &page)
}

/// A letter follows, or does not: the page says the same.
async fn ask(
    State(app): State<App>,
    Extension(limits): Extension<Limits>,
    Extension(peer): Extension<Peer>,
    parts: Parts,
    Form(wish): Form<Wish>,
) -> Response {
    let asked = async {
        origin::check(&parts, &app.config)?;
        limits.check_sign_up(peer)?;
        Ok::<_, Problem>(signup::ask(&app, &wish, Some(peer.address)).await?)
    };
    match asked.await {
        Ok(()) => pages::page(StatusCode::ACCEPTED, &SignedUp),
        Err(problem) if problem.status == 400 => {
            let page = SignUp { email: wish.email, name: wish.name, wrong: Some(problem.detail) };
            pages::page(StatusCode::BAD_REQUEST, &page)
        }
        Err(problem) => pages::refused(problem),
    }
}
