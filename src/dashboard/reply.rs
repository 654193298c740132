//! How pages answer: HTML, another page, and refusals that a person can read.

use std::sync::{Arc, OnceLock};

use askama::Template;
use axum::{
    extract::Request,
    middleware::Next,
    response::{Html, IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use url::form_urlencoded;

use super::{Shell, filters, told::Told};
use crate::{
    error::Error,
    http::{Problem, RenderedBy, Result},
};

/// Renders a page or a part of one.
pub fn html(template: &impl Template) -> Result<Response> {
    let text = template.render().map_err(|error| Error::Internal(error.into()))?;
    Ok(Html(text).into_response())
}

/// To another page, which tells what was done. `next` is a path of ours.
pub fn see_other(next: &str, told: &Told) -> Response {
    let mut response = Redirect::to(next).into_response();
    if let Some(cookie) = told.cookie() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Whether a script asks for a part of a page that is open already.
pub fn is_fragment(headers: &HeaderMap) -> bool {
    headers.contains_key("hx-request")
}

/// Where a page's shell is left for whoever has to say that something went wrong.
pub(super) type Slot = Arc<OnceLock<Shell>>;

#[derive(Template)]
#[template(path = "refused.html")]
struct Refused<'p> {
    shell: &'p Shell,
    problem: &'p Problem,
    /// Where to try again.
    again: Option<&'p str>,
}

#[derive(Template)]
#[template(path = "refused_part.html")]
struct RefusedPart<'p> {
    problem: &'p Problem,
}

/// Around all pages: what is refused is told on a page, who is not known is led to the sign-in,
/// and a toast is shown once.
pub(super) async fn refusals(mut request: Request, next: Next) -> Response {
    let slot = Slot::default();
    request.extensions_mut().insert(Arc::clone(&slot));
    let part = is_fragment(request.headers());
    let toast = !part && Told::read(request.headers()).is_some();
    let get = request.method() == Method::GET;
    let here = request.uri().path_and_query().map_or("/", |it| it.as_str()).to_owned();
    let wants_page = wants_page(request.headers());
    let mut response = next.run(request).await;
    let problem = response.extensions().get::<Problem>().cloned();
    if let Some(problem) = problem {
        if problem.status == StatusCode::UNAUTHORIZED && wants_page && !part {
            if here == "/" {
                return Redirect::to("/auth/sign-in").into_response();
            }
            let next: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
            return Redirect::to(&format!("/auth/sign-in?next={next}")).into_response();
        }
        if wants_page || part {
            let again = get.then_some(here);
            let render = move |problem: &Problem| rendered(problem, &slot, part, again.as_deref());
            response.extensions_mut().insert(RenderedBy(Arc::new(render)));
        }
    } else if toast && response.status() == StatusCode::OK {
        response.headers_mut().append(header::SET_COOKIE, Told::CLEARED);
    }
    response
}

/// What is at no address: a page for browsers.
pub async fn nothing_here(uri: Uri, headers: HeaderMap) -> Response {
    if !wants_page(&headers) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let detail = "there is nothing at this address; it may be of an older Lux, or mistyped";
    refuse(Problem::new(StatusCode::NOT_FOUND, detail), &uri, &headers)
}

/// A refusal outside of the pages: a page for browsers, a problem for programs.
pub fn refuse(problem: Problem, uri: &Uri, headers: &HeaderMap) -> Response {
    let mut response = problem.into_response();
    if wants_page(headers) {
        let here = uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
        let render =
            move |problem: &Problem| rendered(problem, &Slot::default(), false, Some(&here));
        response.extensions_mut().insert(RenderedBy(Arc::new(render)));
    }
    response
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn rendered(problem: &Problem, slot: &Slot, part: bool, again: Option<&str>) -> Response {
    let text = if part {
        RefusedPart { problem }.render()
    } else {
        let unknown = Shell::default();
        let shell = slot.get().unwrap_or(&unknown);
        Refused { shell, problem, again }.render()
    };
    let mut response = Html(text.unwrap_or_default()).into_response();
    *response.status_mut() = problem.status();
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
