//! One event of an SDK as Lux stores it: read leniently, scrubbed, bounded, rendered, packed.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use chrono::{DateTime, SubsecRound, Utc};

use super::stack;
use crate::{
    apps::Scrub,
    errors::{
        NewEvent,
        detail::{Breadcrumb, Detail, Exception, Frame, Mechanism, Request},
        event::{
            MAX_ENDPOINT, MAX_MESSAGE, MAX_METHOD, MAX_NAME, MAX_PARTS, MAX_TAGS, MAX_TYPE,
            MAX_USER, Origin, parse_time,
        },
        scrub::Scrubber,
        tree::{self, Bounds, Tree, cut},
    },
    logs::Severity,
};

/// Longest message, in bytes: with the mark of what was cut it is within [`MAX_MESSAGE`].
const MAX_SAID: usize = MAX_MESSAGE - 64;
/// Exceptions of a chain or group.
const MAX_EXCEPTIONS: usize = 50;
/// Frames of one stack; both ends are kept.
const MAX_FRAMES: usize = 250;
/// Lines before and behind a frame's own.
const MAX_LINES: usize = 10;
/// Steps before the error.
const MAX_BREADCRUMBS: usize = 100;
/// Longest line of source, in bytes.
const MAX_LINE: usize = 300;
/// Longest function, module, path, in bytes.
const MAX_PATH: usize = 500;
/// Longest text among a breadcrumb's, in bytes.
const MAX_STEP: usize = 2000;

const VARS: Bounds = Bounds { depth: 6, entries: 50, text: 1000 };
const ANY: Bounds = Bounds { depth: 6, entries: 100, text: 4000 };
const BODY: Bounds = Bounds { depth: 6, entries: 100, text: 8000 };
const STEP: Bounds = Bounds { depth: 4, entries: 30, text: 1000 };
const MODULES: Bounds = Bounds { depth: 1, entries: 500, text: 100 };

/// Parts that are not kept.
const DROPPED: &[&str] = &[
    "threads",
    "debug_meta",
    "spans",
    "measurements",
    "_meta",
    "_metrics",
    "_metrics_summary",
    "errors",
    "transaction_info",
    "grouping_config",
];

/// What of the request and the application matters for its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'s> {
    pub app: &'s str,
    pub scrub: &'s Scrub,
    /// Who sent the request: for SDKs that ask for it.
    pub address: Option<IpAddr>,
    /// The id that stands in the envelope's header.
    pub event_id: Option<&'s str>,
}

/// What was read of a payload.
#[derive(Debug)]
pub(super) struct Read {
    /// 32 hexadecimal digits.
    pub id: String,
    pub event: NewEvent,
}

/// Reads one event. Refused is only what is no JSON object.
pub(super) fn read(payload: &[u8], sender: &Sender<'_>) -> Result<Read, String> {
    let text = String::from_utf8_lossy(payload);
    let mut tree =
        tree::read(&text).map_err(|why| format!("the event is not valid JSON: {why}"))?;
    let Tree::Map(fields) = &mut tree else {
        return Err("the event is no JSON object".to_owned());
    };
    fields.retain(|(name, _)| !DROPPED.contains(&name.as_ref()));
    if let Some((_, request)) = fields.iter_mut().find(|(name, _)| name == "request") {
        structure_body(request);
    }
    let address = sender.address.filter(|_| wants_address(&tree));
    Scrubber::new(sender.scrub).tree(&mut tree);
    let id = event_id(tree.take("event_id").plain().or(sender.event_id));
    let event = shape(tree, sender, &id, address);
    Ok(Read { id, event })
}

/// The SDK's id, or a new one.
fn event_id(told: Option<&str>) -> String {
    let told = told.and_then(|id| uuid::Uuid::parse_str(id.trim()).ok());
    told.unwrap_or_else(uuid::Uuid::now_v7).simple().to_string()
}

/// A body that is JSON in a text is one with fields, whose names tell secrets.
fn structure_body(request: &mut Tree<'_>) {
    let Tree::Map(fields) = request else { return };
    for (name, body) in fields {
        if let Tree::Text(text) = body
            && matches!(name.as_ref(), "data" | "body")
            && text.trim_start().starts_with(['{', '['])
            && let Ok(inner) = tree::read(text).map(owned)
        {
            *body = inner;
        }
    }
}

fn owned(tree: Tree<'_>) -> Tree<'static> {
    let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    match tree {
        Tree::Null => Tree::Null,
        Tree::Bool(truth) => Tree::Bool(truth),
        Tree::Number(number) => Tree::Number(text(number)),
        Tree::Text(inner) => Tree::Text(text(inner)),
        Tree::List(trees) => Tree::List(trees.into_iter().map(owned).collect()),
        Tree::Map(fields) => {
            Tree::Map(fields.into_iter().map(|(name, tree)| (text(name), owned(tree))).collect())
        }
        Tree::Cut => Tree::Cut,
    }
}

/// `{{auto}}` asks for the sender's address, unless the SDK is told not to infer it.
fn wants_address(event: &Tree<'_>) -> bool {
    let auto = |event: &Tree<'_>| {
        event.get("user")?.get("ip_address")?.as_str().map(|ip| ip.trim() == "{{auto}}")
    };
    let never = |event: &Tree<'_>| {
        event.get("sdk")?.get("settings")?.get("infer_ip")?.as_str().map(|infer| infer == "never")
    };
    auto(event).unwrap_or(false) && !never(event).unwrap_or(false)
}

fn shape(mut tree: Tree<'_>, sender: &Sender<'_>, id: &str, address: Option<IpAddr>) -> NewEvent {
    let platform = text(tree.take("platform"), MAX_NAME);
    let exceptions = exceptions(first(&mut tree, &["exception", "sentry.interfaces.Exception"]));
    let request = first(&mut tree, &["request", "sentry.interfaces.Http"]);
    let request_headers = marks(&request);
    let (message, template, params) = message(&mut tree);
    let mut user = user(first(&mut tree, &["user", "sentry.interfaces.User"]), sender, address);
    let user_id = user_id(&user);
    if let Tree::Map(fields) = &mut user {
        fields.retain(|(_, tree)| !tree.is_empty());
    }
    let tags = tags(tree.take("tags"));
    let contexts = first(&mut tree, &["contexts", "sentry.interfaces.Contexts"]);
    let transaction = text(tree.take("transaction"), MAX_PATH);
    let request = (!request.is_empty()).then(|| shape_request(request));
    let (method, endpoint) = endpoint(request.as_ref(), transaction.as_deref());
    let request_id = request_id(&tags, request.as_ref(), &contexts);
    let platform_name = platform.as_deref().unwrap_or("other");

    let raised = exceptions.last();
    let (error_type, error_message) = match raised {
        Some(raised) => {
            let said = raised.value.as_deref().filter(|value| !value.is_empty());
            let said = said.map(str::to_owned).or(message);
            (stack::class(platform_name, raised), said.unwrap_or_default())
        }
        None => ("Message".to_owned(), message.unwrap_or_default()),
    };
    let error_stack = stack::render(platform_name, &exceptions);
    let severity = level(&tree.take("level"));
    let created_at = time(&tree.take("timestamp"));
    let fingerprint = parts(tree.take("fingerprint"));
    let short = |tree: Tree<'_>| text(tree, MAX_NAME).map(|t| line(&t, MAX_NAME));
    let release = short(tree.take("release"));
    let environment = short(tree.take("environment"));
    let detail = Detail {
        platform,
        exceptions,
        request,
        user: user.bounded(ANY),
        breadcrumbs: breadcrumbs(first(
            &mut tree,
            &["breadcrumbs", "sentry.interfaces.Breadcrumbs"],
        )),
        contexts: contexts.bounded(ANY),
        extra: tree.take("extra").bounded(ANY),
        template: template.map(Cow::Owned),
        params: params.bounded(STEP),
        transaction,
        logger: text(tree.take("logger"), MAX_NAME),
        server_name: text(tree.take("server_name"), MAX_NAME),
        dist: text(tree.take("dist"), MAX_NAME),
        sdk: sdk(&tree.take("sdk")),
        modules: tree.take("modules").bounded(MODULES),
        left_out: Vec::new(),
    };
    let detail = match detail.pack() {
        Ok(packed) => Some(packed),
        Err(error) => {
            tracing::warn!(%error, "an event is kept without its detail");
            None
        }
    };
    NewEvent {
        error_type: line(&error_type, MAX_TYPE),
        error_message,
        error_stack,
        endpoint: endpoint.map(|endpoint| line(&endpoint, MAX_ENDPOINT)),
        method,
        severity: Some(severity),
        user_id: user_id.map(|user| line(&user, MAX_USER)),
        created_at,
        app: Some(sender.app.to_owned()),
        request_headers,
        user_agent: None,
        release,
        environment,
        request_id,
        tags,
        fingerprint,
        event_id: Some(id.to_owned()),
        origin: Origin::Sentry,
        detail,
    }
}

fn first<'a>(tree: &mut Tree<'a>, names: &[&str]) -> Tree<'a> {
    names.iter().map(|name| tree.take(name)).find(|tree| !tree.is_empty()).unwrap_or_default()
}

/// A text of at most about `most` bytes, if there is one.
fn text(tree: Tree<'_>, most: usize) -> Option<Cow<'_, str>> {
    let mut text = tree.into_plain().filter(|text| !text.trim().is_empty())?;
    cut(&mut text, most);
    Some(text)
}

/// The same of any value: what is no text is written as JSON.
fn any_text(tree: Tree<'_>, most: usize) -> Option<Cow<'_, str>> {
    match tree {
        Tree::List(_) | Tree::Map(_) => {
            let mut json = Cow::Owned(serde_json::to_string(&tree.bounded(ANY)).ok()?);
            cut(&mut json, most);
            Some(json)
        }
        tree => text(tree, most),
    }
}

/// Within `most` bytes, without blanks around it: nothing is refused for its length here.
fn line(text: &str, most: usize) -> String {
    text.trim()[..text.trim().floor_char_boundary(most)].to_owned()
}

fn number(tree: &Tree<'_>) -> Option<i64> {
    let text = tree.plain()?.trim();
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let float = |text: &str| text.parse::<f64>().ok().map(|number| number as i64);
    text.parse().ok().or_else(|| float(text))
}

fn truth(tree: &Tree<'_>) -> Option<bool> {
    match tree.plain()? {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

// ---- exceptions ----

fn exceptions(tree: Tree<'_>) -> Vec<Exception<'_>> {
    let mut values = tree.into_values();
    values.retain(|value| matches!(value, Tree::Map(_)));
    if values.len() > MAX_EXCEPTIONS {
        // The first cause, and what was raised.
        let half = MAX_EXCEPTIONS / 2;
        values.drain(half..values.len() - half);
    }
    values.into_iter().map(exception).collect()
}

fn exception(mut tree: Tree<'_>) -> Exception<'_> {
    let mut stacktrace = tree.take("stacktrace");
    let (frames, frames_cut) = frames(stacktrace.take("frames"));
    let mechanism = tree.take("mechanism");
    Exception {
        kind: text(tree.take("type"), MAX_TYPE),
        module: text(tree.take("module"), MAX_NAME),
        value: any_text(tree.take("value"), MAX_SAID),
        mechanism: (!mechanism.is_empty()).then(|| shape_mechanism(mechanism)),
        frames,
        frames_cut,
    }
}

fn shape_mechanism(mut tree: Tree<'_>) -> Mechanism<'_> {
    if let Tree::Text(_) = tree {
        return Mechanism { kind: text(tree, MAX_NAME), ..Mechanism::default() };
    }
    Mechanism {
        kind: text(tree.take("type"), MAX_NAME),
        handled: truth(&tree.take("handled")),
        source: text(tree.take("source"), MAX_NAME),
        exception_id: number(&tree.take("exception_id")),
        parent_id: number(&tree.take("parent_id")),
        is_exception_group: truth(&tree.take("is_exception_group")).unwrap_or(false),
        data: tree.take("data").bounded(STEP),
    }
}

/// Frames, and how many were cut out of the middle.
fn frames(tree: Tree<'_>) -> (Vec<Frame<'_>>, usize) {
    let Tree::List(mut frames) = tree else { return (Vec::new(), 0) };
    frames.retain(|frame| matches!(frame, Tree::Map(_)));
    let missing = frames.len().saturating_sub(MAX_FRAMES);
    if missing > 0 {
        let half = MAX_FRAMES / 2;
        frames.drain(half..half + missing);
    }
    (frames.into_iter().map(frame).collect(), missing)
}

fn frame(mut tree: Tree<'_>) -> Frame<'_> {
    let line = |tree: Tree<'_>| u32::try_from(number(&tree)?).ok();
    Frame {
        function: text(tree.take("function"), MAX_PATH),
        module: text(tree.take("module"), MAX_PATH),
        filename: text(tree.take("filename"), MAX_PATH),
        abs_path: text(tree.take("abs_path"), MAX_PATH),
        lineno: line(tree.take("lineno")),
        colno: line(tree.take("colno")),
        in_app: truth(&tree.take("in_app")),
        pre_context: lines(tree.take("pre_context"), true),
        context_line: source_line(tree.take("context_line")),
        post_context: lines(tree.take("post_context"), false),
        vars: tree.take("vars").bounded(VARS),
    }
}

/// Lines next to the frame's own: the last ones before it, the first ones behind.
fn lines(tree: Tree<'_>, before: bool) -> Vec<Cow<'_, str>> {
    let Tree::List(mut lines) = tree else { return Vec::new() };
    if before {
        lines.drain(..lines.len().saturating_sub(MAX_LINES));
    }
    lines.truncate(MAX_LINES);
    lines.into_iter().map(|line| source_line(line).unwrap_or_default()).collect()
}

fn source_line(tree: Tree<'_>) -> Option<Cow<'_, str>> {
    let mut line = tree.into_plain()?;
    cut(&mut line, MAX_LINE);
    Some(line)
}

// ---- the rest ----

/// What was said, how it was written, and with which parameters.
fn message<'a>(tree: &mut Tree<'a>) -> (Option<String>, Option<String>, Tree<'a>) {
    let mut told = first(tree, &["logentry", "sentry.interfaces.Message", "message"]);
    if !matches!(told, Tree::Map(_)) {
        return (any_text(told, MAX_SAID).map(Cow::into_owned), None, Tree::Null);
    }
    let formatted = any_text(told.take("formatted"), MAX_SAID).map(Cow::into_owned);
    let written = any_text(told.take("message"), MAX_SAID).map(Cow::into_owned);
    let params = told.take("params");
    let said = formatted.or_else(|| written.as_deref().map(|written| filled(written, &params)));
    let template = written.filter(|written| Some(written) != said.as_ref());
    (said, template, params)
}

/// Puts parameters in the places of `%s`, `%d`, `{}` and `%(name)s`.
fn filled(written: &str, params: &Tree<'_>) -> String {
    let shown = |tree: &Tree<'_>| match tree.plain() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(tree).unwrap_or_default(),
    };
    match params {
        Tree::List(params) => {
            let mut out = String::with_capacity(written.len() + 64);
            let mut rest = written;
            let mut params = params.iter();
            while let Some(at) = rest.find(['%', '{']) {
                let mark = &rest[at..];
                let known = ["%s", "%d", "%i", "%r", "%f", "%x", "{}"];
                let known = known.into_iter().find(|known| mark.starts_with(known));
                let step = known.map_or(1, str::len);
                match known.and_then(|_| params.next()) {
                    Some(param) => {
                        out.push_str(&rest[..at]);
                        out.push_str(&shown(param));
                    }
                    None => out.push_str(&rest[..at + step]),
                }
                rest = &rest[at + step..];
            }
            out.push_str(rest);
            out
        }
        Tree::Map(params) => {
            params.iter().take(20).fold(written.to_owned(), |text, (name, param)| {
                text.replace(&format!("%({name})s"), &shown(param))
                    .replace(&format!("%({name})d"), &shown(param))
            })
        }
        _ => written.to_owned(),
    }
}

fn shape_request(mut tree: Tree<'_>) -> Request<'_> {
    Request {
        url: text(tree.take("url"), MAX_ENDPOINT),
        method: text(tree.take("method"), MAX_METHOD),
        query_string: pairs(tree.take("query_string")).bounded(BODY),
        headers: pairs(tree.take("headers")).bounded(ANY),
        cookies: pairs(tree.take("cookies")).bounded(ANY),
        data: first(&mut tree, &["data", "body"]).bounded(BODY),
        env: pairs(tree.take("env")).bounded(ANY),
    }
}

/// Of a list of pairs the same as an object.
fn pairs(tree: Tree<'_>) -> Tree<'_> {
    match tree {
        Tree::List(_) => Tree::Map(tree.into_pairs()),
        other => other,
    }
}

/// Headers by which a request of Lux's own probes is told.
fn marks(request: &Tree<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut add = |name: &str, value: &Tree<'_>| {
        if name.eq_ignore_ascii_case("x-lux-probe") || name.eq_ignore_ascii_case("user-agent") {
            let value = match value {
                Tree::List(values) => values.first().and_then(Tree::plain),
                value => value.plain(),
            };
            found.insert(name.to_owned(), value.unwrap_or_default().to_owned());
        }
    };
    match request.get("headers") {
        Some(Tree::Map(fields)) => fields.iter().for_each(|(name, value)| add(name, value)),
        Some(Tree::List(pairs)) => {
            for pair in pairs {
                if let Tree::List(pair) = pair
                    && let [Tree::Text(name), value] = &pair[..]
                {
                    add(name, value);
                }
            }
        }
        _ => {}
    }
    found
}

/// The path that failed and the method with which it was asked for.
fn endpoint(
    request: Option<&Request<'_>>,
    transaction: Option<&str>,
) -> (Option<String>, Option<String>) {
    let is_method = |text: &str| {
        !text.is_empty()
            && text.len() <= MAX_METHOD
            && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')
    };
    let method = request.and_then(|request| request.method.as_deref());
    let mut method = method.map(str::trim).filter(|m| is_method(m)).map(str::to_owned);
    let url = request.and_then(|request| request.url.as_deref()).and_then(path_of);
    let routed = transaction.and_then(|transaction| {
        let (told, route) = match transaction.split_once(' ') {
            Some((told, route)) if is_method(told) => (Some(told), route),
            _ => (None, transaction),
        };
        route.starts_with('/').then_some((told, route))
    });
    if let (None, Some((Some(told), _))) = (&method, routed) {
        method = Some(told.to_owned());
    }
    (method, url.or_else(|| routed.map(|(_, route)| route.to_owned())))
}

/// `https://shop.example/cart?x=1` → `/cart`
fn path_of(url: &str) -> Option<String> {
    let url = url.trim();
    let path = match url.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("http") => {
            rest.find(['/', '?', '#']).map_or("/", |at| &rest[at..])
        }
        None if url.starts_with('/') => url,
        // A page of an extension or a file is no endpoint of the application.
        _ => return None,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    Some(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}

/// What names the request in all logs: a tag, a header, else the trace.
fn request_id(
    tags: &BTreeMap<String, String>,
    request: Option<&Request<'_>>,
    contexts: &Tree<'_>,
) -> Option<String> {
    let tag = ["request_id", "request-id", "requestId", "x-request-id"]
        .into_iter()
        .find_map(|name| tags.get(name).cloned());
    let header = || match &request?.headers {
        Tree::Map(fields) => ["x-request-id", "x-correlation-id"].into_iter().find_map(|wanted| {
            let (_, value) = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
            let value = match value {
                Tree::List(values) => values.first()?,
                value => value,
            };
            value.plain().map(str::to_owned)
        }),
        _ => None,
    };
    let trace = || contexts.get("trace")?.get("trace_id")?.plain().map(str::to_owned);
    let found = tag.or_else(header).or_else(trace)?;
    let found = line(&found, MAX_NAME);
    (!found.is_empty()).then_some(found)
}

fn user<'a>(tree: Tree<'a>, sender: &Sender<'_>, address: Option<IpAddr>) -> Tree<'a> {
    let mut user = match tree {
        tree @ Tree::Map(_) => tree,
        tree => match tree.into_plain() {
            Some(id) => Tree::Map(vec![(Cow::Borrowed("id"), Tree::Text(id))]),
            None => return Tree::Null,
        },
    };
    if let Tree::Map(fields) = &mut user {
        for (name, tree) in fields {
            if name == "ip_address" && tree.as_str().is_some_and(|ip| ip.trim() == "{{auto}}") {
                *tree = match address {
                    Some(ip) if !sender.scrub.addresses => Tree::Text(Cow::Owned(ip.to_string())),
                    _ => Tree::Null,
                };
            }
        }
    }
    user
}

/// Who was affected: the first of id, user name, address that says something.
fn user_id(user: &Tree<'_>) -> Option<String> {
    ["id", "username", "email", "ip_address"]
        .into_iter()
        .filter_map(|name| user.get(name)?.plain())
        .map(str::trim)
        .find(|id| !id.is_empty() && !id.contains(crate::errors::scrub::REDACTED))
        .map(str::to_owned)
}

fn tags(tree: Tree<'_>) -> BTreeMap<String, String> {
    tree.into_pairs()
        .into_iter()
        .filter_map(|(name, value)| Some((line(&name, MAX_NAME), line(value.plain()?, MAX_NAME))))
        .take(MAX_TAGS)
        .collect()
}

fn parts(tree: Tree<'_>) -> Vec<String> {
    let parts = match tree {
        Tree::List(parts) => parts,
        Tree::Null => Vec::new(),
        one => vec![one],
    };
    let plain = |part: &Tree<'_>| part.plain().map(|part| line(part, MAX_NAME));
    parts.iter().filter_map(plain).take(MAX_PARTS).collect()
}

fn breadcrumbs(tree: Tree<'_>) -> Vec<Breadcrumb<'_>> {
    let mut steps = tree.into_values();
    steps.retain(|step| matches!(step, Tree::Map(_)));
    steps.drain(..steps.len().saturating_sub(MAX_BREADCRUMBS));
    steps.into_iter().map(breadcrumb).collect()
}

fn breadcrumb(mut tree: Tree<'_>) -> Breadcrumb<'_> {
    Breadcrumb {
        timestamp: text(tree.take("timestamp"), MAX_NAME),
        kind: text(tree.take("type"), MAX_NAME),
        category: text(tree.take("category"), MAX_NAME),
        level: text(tree.take("level"), MAX_NAME),
        message: any_text(tree.take("message"), MAX_STEP),
        data: tree.take("data").bounded(STEP),
    }
}

fn sdk(tree: &Tree<'_>) -> Option<Cow<'static, str>> {
    let name = tree.get("name")?.plain()?;
    let version = tree.get("version").and_then(Tree::plain).unwrap_or_default();
    let whole = format!("{name} {version}");
    Some(Cow::Owned(line(&whole, MAX_NAME)))
}

fn level(tree: &Tree<'_>) -> Severity {
    let Some(level) = tree.plain() else { return Severity::Error };
    match level.trim().to_ascii_lowercase().as_str() {
        "fatal" | "critical" | "50" | "emergency" | "alert" => Severity::Critical,
        "warning" | "warn" | "30" => Severity::Warning,
        "notice" => Severity::Notice,
        "info" | "log" | "20" => Severity::Info,
        "debug" | "trace" | "10" => Severity::Debug,
        _ => Severity::Error,
    }
}

/// Seconds or milliseconds since 1970, as number or text, or a written time.
fn time(tree: &Tree<'_>) -> Option<DateTime<Utc>> {
    let text = tree.plain()?.trim();
    let at = match text.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            let seconds = if number > 1e11 { number / 1000.0 } else { number };
            #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
            DateTime::from_timestamp_micros((seconds * 1e6) as i64)?
        }
        _ => parse_time(text)?,
    };
    // What was never set is left out: it is when it came.
    (at.timestamp() >= crate::errors::event::EARLIEST).then(|| at.trunc_subsecs(6))
}
