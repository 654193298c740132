//! The few pages of signing in: plain HTML without script, in the dashboard's looks.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::{dashboard::filters, error::Error, http::Problem};

/// Nothing is loaded but looks, and forms go back to where they came from. A form's answer may
/// lead elsewhere only within this host: to a provider lead links.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What a one-time link offers.
#[derive(Template)]
#[template(path = "door_link.html")]
pub(super) struct Link<'l> {
    pub(super) title: &'static str,
    pub(super) text: &'l str,
    pub(super) button: &'static str,
    pub(super) asks_name: bool,
    pub(super) token: &'l str,
    /// Where to go afterwards.
    pub(super) next: &'l str,
    /// The sign-in providers that may be used with it: where their form goes, and their name.
    pub(super) providers: Vec<(String, &'l str)>,
}

#[derive(Template)]
#[template(path = "door_refused.html")]
struct Refused<'p> {
    title: &'p str,
    text: &'p str,
}

/// A page with its policy.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => {
            let mut response = (status, axum::response::Html(text)).into_response();
            let policy = HeaderValue::from_static(POLICY);
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        Err(error) => Problem::from(Error::Internal(error.into())).into_response(),
    }
}

/// Tells a person what could not be done. Failures of Lux itself stay problem documents, whose
/// details are for its log.
pub(super) fn refused(problem: Problem) -> Response {
    if problem.status >= 500 {
        return problem.into_response();
    }
    let text = problem.detail.trim_end_matches('.');
    let mut response = page(problem.status(), &Refused { title: problem.title, text });
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::{Link, Refused};

    #[test]
    fn what_is_filled_in_stays_text() {
        let evil = "\"><img src=x onerror=alert(1)>";
        let link = Link {
            title: "Sign in",
            text: "x",
            button: "y",
            asks_name: true,
            token: evil,
            next: evil,
            providers: vec![(evil.to_owned(), evil)],
        };
        let pages = [link.render(), Refused { title: evil, text: evil }.render()];
        for text in pages.map(Result::unwrap) {
            assert!(!text.contains("<img src=x") && text.contains("&#60;img"), "{text}");
            assert!(!text.contains("<script") && !text.contains("style="), "{text}");
        }
    }
}
