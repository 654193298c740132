//! What an http answer proves. Expectations of an operator are exact. An answer to the
//! error's own request is looked at with suspicion: many applications answer 200 with a
//! page that says they failed.

use http::{HeaderMap, Method, StatusCode, header};
use regex::Regex;
use url::Url;

use super::{Expect, Failing, Outcome, kinds::certificate, page};
use crate::{clock, outbound::visit};

/// An answer, as it is judged.
pub(super) struct Answer<'a> {
    pub(super) method: &'a Method,
    /// What was asked for at first.
    pub(super) first: &'a Url,
    /// What answered after redirects.
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) text: &'a str,
    /// There was more of it.
    pub(super) truncated: bool,
    pub(super) locations: &'a [String],
    /// Why a redirect was not followed.
    pub(super) stopped: Option<&'a str>,
    /// DER.
    pub(super) certificate: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// What the operator expects decides.
    Configured,
    /// The error's own request: 2xx that does not look like a failure.
    Learnt,
}

/// What is known of the request that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) error_type: String,
    pub(super) message: String,
    /// Hashes of bodies that were failing answers.
    pub(super) failing: Vec<String>,
    /// Some earlier answer had a body.
    pub(super) had_content: bool,
}

impl Memory {
    pub(super) fn with(mut self, failing: &Failing) -> Self {
        self.error_type.clone_from(&failing.error_type);
        self.message.clone_from(&failing.message);
        self.failing.extend(failing.body_hash.clone());
        self
    }
}

type Verdict = (Outcome, String);

fn fail(why: impl Into<String>) -> Verdict {
    (Outcome::Fail, why.into())
}

fn unclear(why: impl Into<String>) -> Verdict {
    (Outcome::Unclear, why.into())
}

/// The outcome, and one sentence why.
pub(super) fn judge(
    answer: &Answer<'_>,
    expect: &Expect,
    rule: Rule,
    memory: Option<&Memory>,
) -> Verdict {
    let judged = match rule {
        Rule::Configured => configured(answer, expect),
        Rule::Learnt => learnt(answer, memory),
    };
    if judged.0 == Outcome::Pass
        && let Some(days) = expect.certificate_days
        && let Err(why) = certificate::check(answer.certificate, days, clock::now())
    {
        return fail(why);
    }
    judged
}

fn configured(answer: &Answer<'_>, expect: &Expect) -> Verdict {
    let status = answer.status.as_u16();
    match expect.status {
        Some(expected) if expected != status => {
            return fail(format!("answered {status}; {expected} is expected{}", led(answer)));
        }
        None if !answer.status.is_success() => {
            return fail(format!("answered {status}{}", led(answer)));
        }
        _ => {}
    }
    if let Some(text) = &expect.contains
        && !answer.text.contains(text.as_str())
    {
        return fail(format!("the body does not hold \"{}\"{}", clip(text), beginning(answer)));
    }
    if let Some(pattern) = &expect.regex {
        match Regex::new(pattern) {
            Ok(regex) if regex.is_match(answer.text) => {}
            Ok(_) => {
                return fail(format!(
                    "the body does not match {}{}",
                    clip(pattern),
                    beginning(answer)
                ));
            }
            Err(_) => return unclear("expect.regex is no valid expression"),
        }
    }
    if !expect.json.is_empty() {
        let Ok(body) = serde_json::from_str::<serde_json::Value>(answer.text) else {
            return fail(format!("the body is no valid JSON{}", beginning(answer)));
        };
        for (pointer, expected) in &expect.json {
            match body.pointer(pointer) {
                Some(found) if found == expected => {}
                Some(found) => {
                    let found = clip(&found.to_string());
                    return fail(format!("{pointer} is {found}; {expected} is expected"));
                }
                None => return fail(format!("the body has no {pointer}; {expected} is expected")),
            }
        }
    }
    // Where nothing is said about the body, one that says it failed is no success.
    let says_nothing =
        expect.contains.is_none() && expect.regex.is_none() && expect.json.is_empty();
    if says_nothing
        && answer.status.is_success()
        && let Some(sign) = page::failure(answer.text, content_type(answer))
    {
        return fail(format!(
            "answered {status}, but {sign}; if that is right, say so with expect.contains or \
             expect.json"
        ));
    }
    (Outcome::Pass, format!("answered {status} as expected"))
}

fn learnt(answer: &Answer<'_>, memory: Option<&Memory>) -> Verdict {
    let status = answer.status.as_u16();
    if let Some(to) = answer.locations.iter().find(|location| page::is_login(path_of(location)))
        && !page::is_login(answer.first.path())
    {
        return unclear(format!(
            "it redirects to a login ({}); give Lux a probe with the headers of a signed-in user",
            clip(to)
        ));
    }
    if let Some(to) = answer.locations.iter().find(|location| page::is_error(path_of(location)))
        && !page::is_error(answer.first.path())
    {
        return fail(format!("it redirects to an error page ({})", clip(to)));
    }
    if let Some(why) = answer.stopped {
        return unclear(format!("{why}; what it does there is not known"));
    }
    match status {
        500.. => return fail(format!("answered {status}")),
        401 | 407 => {
            return unclear(format!(
                "answered {status}: it wants a login; give Lux a probe with the headers of a \
                 signed-in user"
            ));
        }
        403 => {
            return unclear(
                "answered 403: it does not let Lux in; give Lux a probe with the headers it needs",
            );
        }
        429 => return unclear("answered 429: it limits how often it is asked; try later"),
        404 | 410 => {
            return unclear(format!(
                "answered {status}: there is nothing at this address (any more), or it hides it; \
                 give Lux a probe for an address that exists"
            ));
        }
        400..500 => {
            return unclear(format!(
                "answered {status}: it wants another request than this one; give Lux a probe with \
                 the query or headers that it needs"
            ));
        }
        300..400 => return unclear(format!("answered {status}, a redirect that leads nowhere")),
        100..200 => return unclear(format!("answered {status}, which is no answer yet")),
        _ => {}
    }
    if *answer.method == Method::GET
        && let Some(verdict) = soft_failure(answer, memory)
    {
        return verdict;
    }
    (Outcome::Pass, format!("answered {status}, and nothing in it looks like a failure"))
}

/// Why an answer of 2xx is none of success.
fn soft_failure(answer: &Answer<'_>, memory: Option<&Memory>) -> Option<Verdict> {
    let status = answer.status;
    if let Some(sign) = page::failure(answer.text, content_type(answer)) {
        return Some(fail(format!("answered {status}, but {sign}")));
    }
    let empty = page::is_empty(answer.text);
    if let Some(memory) = memory {
        if let Some(sign) = page::tells_of(answer.text, &memory.error_type, &memory.message) {
            return Some(fail(format!("answered {status}, but {sign}")));
        }
        if empty && memory.had_content {
            return Some(fail(format!(
                "answered {status} with an empty body, and it had one before"
            )));
        }
        if !empty && memory.failing.contains(&page::hash(answer.text)) {
            return Some(fail(format!("answered {status} with the same body as when it failed")));
        }
    }
    if page::is_login_form(answer.text) && !page::is_login(answer.first.path()) {
        return Some(unclear(
            "it shows a login form; give Lux a probe with the headers of a signed-in user",
        ));
    }
    None
}

fn content_type<'a>(answer: &Answer<'a>) -> &'a str {
    let headers = answer.headers;
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// " (after a redirect to …)"
fn led(answer: &Answer<'_>) -> String {
    match (answer.stopped, answer.locations.last()) {
        (Some(why), Some(location)) => format!(" ({why}: {})", clip(location)),
        (_, Some(location)) => format!(" (after a redirect to {})", clip(location)),
        _ => String::new(),
    }
}

/// " (only its first 256 KiB were read)"
fn beginning(answer: &Answer<'_>) -> String {
    if answer.truncated {
        format!(" (only its first {} KiB were read)", visit::MAX_BODY / 1024)
    } else {
        String::new()
    }
}

/// The path of a `Location`, which may be a whole URL.
fn path_of(location: &str) -> &str {
    let rest = location
        .split_once("://")
        .map_or(location, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    rest.split(['?', '#']).next().unwrap_or_default()
}

fn clip(text: &str) -> String {
    let clipped: String = text.chars().take(120).collect();
    clipped.replace(char::is_control, " ")
}
