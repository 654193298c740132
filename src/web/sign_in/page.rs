//! The few pages of the sign-in: one form, no script, nothing of a token.

use askama::Template;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use url::Url;

use crate::{dashboard::filters, web::pages};

/// What a page shows; what is `None` is left out.
#[derive(Debug, Default, Template)]
#[template(path = "door_sign_in.html")]
pub(super) struct Page {
    pub(super) title: &'static str,
    pub(super) sentence: Option<String>,
    pub(super) next_step: Option<String>,
    pub(super) links: Vec<Link>,
    /// Where a button named like the title posts to.
    pub(super) action: Option<String>,
    /// Of a refusal: its name, and the request's.
    pub(super) code: Option<&'static str>,
    pub(super) request_id: Option<String>,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) href: String,
    pub(super) text: String,
}

impl Page {
    pub(super) fn answer(&self, status: StatusCode) -> Response {
        let mut response = pages::page(status, self);
        let headers = response.headers_mut();
        // `form-action` is left open: browsers hold it against the redirect to the provider.
        let policy = "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        }
        response
    }
}

/// A page that leads to the provider by itself.
pub(super) fn onward(url: &Url) -> Response {
    let page = Page {
        title: "One moment",
        links: vec![Link { href: url.to_string(), text: "Go on to the provider".to_owned() }],
        ..Page::default()
    };
    let mut response = page.answer(StatusCode::OK);
    if let Ok(refresh) = HeaderValue::from_str(&format!("0; url={url}")) {
        response.headers_mut().insert(header::REFRESH, refresh);
    }
    response
}
