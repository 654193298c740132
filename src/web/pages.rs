//! The few pages of signing in: plain HTML, no script, one style sheet.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use minijinja::{Environment, Error, Value};

use crate::http::Problem;

const STYLE: &str = include_str!("pages/sign-in.css");

/// Nothing is loaded but the style sheet, and forms go back to where they came from. A form's
/// answer may lead elsewhere only within this host: to a provider lead links.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// The templates: what is filled in is escaped, for their names end in `.html`.
static TEMPLATES: LazyLock<Result<Environment<'static>, Error>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.add_template("home.html", include_str!("pages/home.html"))?;
    engine.add_template("link.html", include_str!("pages/link.html"))?;
    engine.add_template("refused.html", include_str!("pages/refused.html"))?;
    engine.add_template("sign_in.html", include_str!("pages/sign_in.html"))?;
    Ok(engine)
});

/// A page by the name of its template.
pub(super) fn page(status: StatusCode, template: &str, values: &Value) -> Response {
    let engine = match &*TEMPLATES {
        Ok(engine) => engine,
        Err(error) => return failed(error),
    };
    match engine.get_template(template).and_then(|template| template.render(values)) {
        Ok(text) => {
            let mut response = (status, axum::response::Html(text)).into_response();
            let policy = HeaderValue::from_static(POLICY);
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        Err(error) => failed(&error),
    }
}

/// Tells a person what could not be done. Failures of Lux itself stay problem documents, whose
/// details are for its log.
pub(super) fn refused(problem: Problem) -> Response {
    if problem.status >= 500 {
        return problem.into_response();
    }
    let values = minijinja::context! {
        title => problem.title,
        text => problem.detail.trim_end_matches('.'),
    };
    let mut response = page(problem.status(), "refused.html", &values);
    if let Some(seconds) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn failed(error: &Error) -> Response {
    let mut problem =
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Lux could not make the page");
    problem.internal = Some(format!("{error:#}"));
    problem.into_response()
}

/// The style sheet of these pages.
pub(super) async fn style() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=3600"),
    ];
    (headers, STYLE)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use http::StatusCode;

    use super::{TEMPLATES, page};

    #[tokio::test]
    async fn what_is_filled_in_stays_text() {
        assert!(TEMPLATES.is_ok());
        let evil = "\"><img src=x onerror=alert(1)>";
        for template in ["link.html", "refused.html", "sign_in.html"] {
            let values = minijinja::context! {
                title => evil, text => evil, next => evil, button => evil, asks_name => true,
            };
            let response = page(StatusCode::OK, template, &values);
            let text = to_bytes(response.into_body(), 100_000).await.unwrap();
            let text = String::from_utf8(text.to_vec()).unwrap();
            assert!(!text.contains("<img") && text.contains("&lt;img"), "{text}");
            assert!(!text.contains("<script") && !text.contains("style="), "{text}");
        }
    }
}
