//! Whether an OpenAI-compatible server accepts a key: `GET {base}/models` costs nothing.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use secrecy::ExposeSecret;
use url::Url;

use super::{Seen, secret};
use crate::{
    app::App,
    outbound::{Target, Visit, visit},
    probe::{Outcome, Secret},
};

pub(super) async fn run(
    app: &App,
    base_url: &str,
    place: &Secret,
    mark: &str,
    timeout: Duration,
) -> Seen {
    let request = format!("GET {base_url}/models");
    let unclear = |why: String| Seen::new(Outcome::Unclear, request.clone(), why);
    let target = Url::parse(base_url).map_err(|error| error.to_string());
    let target = target.and_then(|url| Target::new(&url).map_err(|why| why.to_string()));
    let (target, url) = match target.and_then(|target| {
        let url = target.configured("/models").map_err(|why| why.to_string())?;
        Ok((target, url))
    }) {
        Ok(found) => found,
        Err(why) => return unclear(format!("the base URL is not asked: {why}")),
    };
    let key = match secret::read(&app.config, place) {
        Ok(key) => key,
        Err(why) => return unclear(why),
    };
    let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())) else {
        return unclear(format!("{place} holds no key: it has blanks or control characters in it"));
    };
    value.set_sensitive(true);
    let visit = Visit {
        target: &target,
        url,
        method: Method::GET,
        headers: HeaderMap::from_iter([(header::AUTHORIZATION, value)]),
        body: None,
        mark,
        timeout,
        // The key is for this address only.
        follow: false,
        may_lead_to: &|_| Ok(()),
    };
    let seen = match app.outbound.visitor().visit(visit).await {
        Ok(seen) => seen,
        Err(failed) if failed.kind == visit::Failure::Forbidden => return unclear(failed.why),
        Err(failed) => {
            return Seen::new(Outcome::Fail, request, format!("the provider {}", failed.why))
                .took(failed.took);
        }
    };
    let body = String::from_utf8_lossy(&seen.body);
    let (outcome, why) = match seen.status.as_u16() {
        200 if serde_json::from_str::<serde_json::Value>(&body).is_ok() || seen.truncated => {
            (Outcome::Pass, "the key is accepted".to_owned())
        }
        200 => (
            Outcome::Unclear,
            "the answer is no list of models; does the base URL end in /v1?".to_owned(),
        ),
        status @ (401 | 403) => (
            Outcome::Fail,
            format!("the key is refused ({status}); make a new one at the provider"),
        ),
        402 => (Outcome::Fail, "the quota is used up (402); check billing".to_owned()),
        429 if body.contains("insufficient_quota") || body.contains("billing") => {
            (Outcome::Fail, "the quota is used up (429); check billing at the provider".to_owned())
        }
        429 => (
            Outcome::Unclear,
            "the key is accepted but limited at present (429); try later".to_owned(),
        ),
        404 => (
            Outcome::Unclear,
            "there is no list of models (404); does the base URL end in /v1?".to_owned(),
        ),
        status @ 500.. => (Outcome::Fail, format!("the provider answers {status}")),
        status => (Outcome::Unclear, format!("the provider answers {status}")),
    };
    let mut answer = Seen::new(outcome, request, why).took(seen.took);
    answer.status = Some(seen.status.as_u16());
    answer
}
