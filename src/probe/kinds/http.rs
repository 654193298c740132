//! Requests to an application's own origin.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;

use super::{Asked, Seen};
use crate::{
    app::App,
    outbound::{Outbound, Target, Visit, Visitor, visit},
    probe::{
        Check, Expect, MAX_EXCERPT, Origin, Outcome, Probe,
        check::is_safe_method,
        judge::{self, Answer, Memory, Rule},
        learnt, page,
    },
};

pub(super) async fn run(app: &App, probe: &Probe, mark: &str, memory: Option<&Memory>) -> Seen {
    let Check::Http { method, path, headers, body } = &probe.check else {
        return Seen::new(Outcome::Unclear, "", "this is no http probe");
    };
    let line = format!("{method} {path}");
    let monitored = app.apps.monitored();
    let entry = monitored.iter().find(|entry| Some(&entry.name) == probe.app.as_ref());
    let Some(entry) = entry else {
        let why = "Lux does not know where its application is; `lux apps add` or [[apps]] tells \
                   its base_url";
        return Seen::new(Outcome::Unclear, line, why);
    };
    let target = match Target::new(&entry.base_url) {
        Ok(target) => target,
        Err(why) => {
            let why = format!("the base_url of {} is not asked: {why}", entry.name);
            return Seen::new(Outcome::Unclear, line, why);
        }
    };
    let trusted = matches!(probe.origin, Origin::Config | Origin::Operator);
    let url = if trusted { target.configured(path) } else { target.untrusted(path) };
    let url = match url {
        Ok(url) => url,
        Err(why) => return Seen::new(Outcome::Unclear, line, format!("not asked: {why}")),
    };
    let never = &app.config.repair.never_probe;
    let may_lead_to = |url: &Url| if trusted { Ok(()) } else { learnt::may_ask(never, url) };
    // A second look, as the probe may have been stored under another configuration.
    if !trusted {
        let refused = may_lead_to(&url).err().or_else(|| {
            (!is_safe_method(method)).then(|| format!("{line} may change data, so it is not asked"))
        });
        if let Some(why) = refused {
            return Seen::new(Outcome::Unclear, line, why);
        }
    }
    let wants_redirect = probe.expect.status.is_some_and(|status| (300..400).contains(&status));
    let asked = Asked { method: method.clone(), path: path_of(path).to_owned() };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return Seen::new(Outcome::Unclear, line, "its method is none");
    };
    let visit = Visit {
        target: &target,
        url: url.clone(),
        headers: fields(headers, body.as_deref()),
        body: body.clone(),
        mark,
        timeout: probe.timeout,
        follow: is_safe_method(method.as_str()) && !wants_redirect,
        may_lead_to: &may_lead_to,
        method,
    };
    let rule = if probe.origin == Origin::Learnt { Rule::Learnt } else { Rule::Configured };
    let mut seen = ask(app.outbound.visitor(), visit, &probe.expect, rule, memory).await;
    seen.asked = Some(asked);
    seen
}

pub(super) async fn one_shot(outbound: &Outbound, url: &Url, timeout: Duration) -> Seen {
    let request = format!("GET {url}");
    let mut base = url.clone();
    base.set_path("/");
    let target = match Target::new(&base) {
        Ok(target) => target,
        Err(why) => return Seen::new(Outcome::Unclear, request, why.to_string()),
    };
    let visit = Visit {
        target: &target,
        url: url.clone(),
        method: Method::GET,
        headers: HeaderMap::new(),
        body: None,
        mark: "one-shot",
        timeout,
        follow: true,
        may_lead_to: &|_| Ok(()),
    };
    ask(outbound.visitor(), visit, &Expect::default(), Rule::Learnt, None).await
}

async fn ask(
    visitor: &Visitor,
    visit: Visit<'_>,
    expect: &Expect,
    rule: Rule,
    memory: Option<&Memory>,
) -> Seen {
    let request = format!("{} {}", visit.method, visit.url);
    let method = visit.method.clone();
    let first = visit.url.clone();
    let seen = match visitor.visit(visit).await {
        Ok(seen) => seen,
        Err(failed) => {
            let outcome = match failed.kind {
                visit::Failure::Forbidden => Outcome::Unclear,
                _ => Outcome::Fail,
            };
            let mut seen = Seen::new(outcome, request, failed.why).took(failed.took);
            seen.status = failed.status.map(|status| status.as_u16());
            return seen;
        }
    };
    let text = String::from_utf8_lossy(&seen.body);
    let answer = Answer {
        method: &method,
        first: &first,
        status: seen.status,
        headers: &seen.headers,
        text: &text,
        truncated: seen.truncated,
        locations: &seen.locations,
        stopped: seen.stopped.as_deref(),
        certificate: seen.certificate.as_deref(),
    };
    let (outcome, why) = judge::judge(&answer, expect, rule, memory);
    let has_content = !page::is_empty(&text);
    Seen {
        outcome,
        why,
        request,
        status: Some(seen.status.as_u16()),
        took: seen.took,
        body_hash: Some(page::hash(&text)),
        has_content,
        excerpt: has_content.then(|| excerpt(&text)),
        asked: None,
    }
}

/// The headers of the definition; a body of JSON is called so where nothing else is said.
fn fields(headers: &std::collections::BTreeMap<String, String>, body: Option<&str>) -> HeaderMap {
    let pairs = headers.iter().filter_map(|(name, value)| {
        Some((
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_bytes(value.as_bytes()).ok()?,
        ))
    });
    let mut fields: HeaderMap = pairs.collect();
    let is_json =
        body.is_some_and(|body| serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok());
    if is_json && !fields.contains_key(header::CONTENT_TYPE) {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    fields
}

fn path_of(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

/// The beginning of a body. More than is kept is cut after secrets are struck out, so
/// that half a secret is never left.
fn excerpt(text: &str) -> String {
    let struck = crate::redact::secrets(&text[..text.floor_char_boundary(4 * MAX_EXCERPT)]);
    struck[..struck.floor_char_boundary(MAX_EXCERPT)].to_owned()
}
