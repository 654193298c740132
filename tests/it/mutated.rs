//! Requests that nobody would write: valid ones with something changed, plain noise, and the ends
//! of what numbers and times can be, to every route. None may make Lux fail. The seed is fixed,
//! so what fails, fails again; `LUX_TEST_MUTATIONS` says how many changed ones each route gets
//! (10000 before a release), and `LUX_TEST_ROUTES` which routes (a part of their path).

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use reqwest::{
    Method, RequestBuilder,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Map, Number, Value, json};

use crate::{
    contract::{Operation, operations},
    support::{Answer, Database, Role, Server, Setup, on_both, say, variable},
};

/// Numbers that look random and are the same each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// Texts that were trouble for somebody.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "a\0b",
    "'",
    "\"",
    "--",
    "';drop table error_log;--",
    "%",
    "%%",
    "_",
    "\\",
    "{}",
    "[]",
    "null",
    "true",
    "0",
    "-1",
    "1e9",
    "9223372036854775807",
    "9223372036854775808",
    "NaN",
    "../../etc/passwd",
    "<img src=x onerror=alert(1)>",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "\u{202e}",
    "\u{feff}",
    "e\u{301}",
    "\u{1f98a}",
    "\u{fffd}",
    "\u{10ffff}",
    "\r\n",
    "\u{1b}[31m",
    "(((((",
    ".*.*.*.*",
    "[a-",
    "\\u0000",
    "http://127.0.0.1",
    "https://[::1]:99999/",
    "file:///etc/passwd",
    "2026-11-22T05:00:00Z",
    "0000-00-00T00:00:00Z",
    "+275760-09-13T00:00:00Z",
    "-262143-01-01T00:00:00Z",
    "1h",
    "99999999999d",
    "application/json",
    "GET /",
    "7",
    "resolved",
    "unresolved",
    "AND",
    "NOT",
    "type:KeyError",
    "is:",
    "\"unclosed",
    "user:*",
];

fn text(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => TEXTS[dice.below(TEXTS.len())].repeat(dice.below(300)),
        1 => (0..dice.below(40))
            .filter_map(|_| char::from_u32(u32::try_from(dice.below(0x11_0000)).unwrap()))
            .collect(),
        _ => (*dice.of(&TEXTS.iter().collect::<Vec<_>>())).to_owned(),
    }
}

fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth > 3 { 7 } else { 9 }) {
        0 => Value::Null,
        1 => json!(dice.one_in(2)),
        2 => json!(dice.roll().cast_signed()),
        3 => json!(dice.roll()),
        4 => json!(f64::from_bits(dice.roll())),
        5 => json!(dice.below(1000)),
        6 => json!(text(dice)),
        7 => (0..dice.below(5)).map(|_| value(dice, depth + 1)).collect(),
        _ => {
            let fields = (0..dice.below(5)).map(|_| (text(dice), value(dice, depth + 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

/// Changes something, anywhere in it.
fn change(dice: &mut Dice, whole: &mut Value) {
    match whole {
        Value::Object(fields) if !fields.is_empty() && !dice.one_in(8) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let key = keys[dice.below(keys.len())].clone();
            match dice.below(6) {
                0 => drop(fields.remove(&key)),
                1 => drop(fields.insert(text(dice), value(dice, 0))),
                2 => {
                    let moved = fields.remove(&key).unwrap();
                    fields.insert(text(dice), moved);
                }
                _ => change(dice, fields.get_mut(&key).unwrap()),
            }
        }
        Value::Array(items) if !items.is_empty() && !dice.one_in(8) => {
            let at = dice.below(items.len());
            match dice.below(4) {
                0 => drop(items.remove(at)),
                1 => items.extend(vec![items[at].clone(); dice.below(200)]),
                _ => change(dice, &mut items[at]),
            }
        }
        other => *other = value(dice, 0),
    }
}

fn body(dice: &mut Dice, operation: &Operation) -> Vec<u8> {
    let mut whole = operation.body();
    if dice.one_in(8) {
        return (0..dice.below(200)).map(|_| dice.roll().to_le_bytes()[0]).collect();
    }
    for _ in 0..dice.below(4) {
        change(dice, &mut whole);
    }
    let mut bytes = whole.to_string().into_bytes();
    if dice.one_in(4) {
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len());
            match dice.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, dice.roll().to_le_bytes()[0]),
                2 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
                _ => bytes.extend_from_within(at..),
            }
        }
    }
    bytes
}

/// As it may stand in an address.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn path(dice: &mut Dice, operation: &Operation) -> String {
    let part = |dice: &mut Dice| match dice.below(6) {
        0 => "1".to_owned(),
        1 => dice.roll().to_string(),
        2 => dice.of(&["%FF%FE", "%00", "%2e%2e", "%2F", "%", "lux", "shop", "1.0"]).to_owned(),
        3 => dice.below(40).to_string(),
        _ => encoded(&text(dice).chars().take(200).collect::<String>()),
    };
    let parts = operation.path.split('/').map(|each| match each {
        each if each.starts_with('{') => part(dice),
        each => each.to_owned(),
    });
    let mut path = parts.collect::<Vec<_>>().join("/");
    let mut join = '?';
    for (name, _) in &operation.query {
        if dice.one_in(3) {
            let short: String = text(dice).chars().take(300).collect();
            let value = if dice.one_in(3) { dice.below(500).to_string() } else { encoded(&short) };
            path = format!("{path}{join}{name}={value}");
            join = '&';
        }
    }
    if dice.one_in(6) {
        let noise: String = text(dice).chars().take(100).collect();
        path = format!("{path}{join}{}", encoded(&noise));
    }
    path
}

fn request(dice: &mut Dice, server: &Server, operation: &Operation) -> (String, RequestBuilder) {
    let method = if dice.one_in(50) {
        dice.of(&[&Method::PUT, &Method::OPTIONS, &Method::HEAD, &Method::TRACE]).clone()
    } else {
        operation.method.clone()
    };
    let path = path(dice, operation);
    let mut shown = format!("{method} {path}");
    let mut request = server.request_as(Role::Admin, method, &path);
    if dice.one_in(4) {
        let accept = dice.of(&["text/event-stream", "*/*", "text/html", "application/xml;q=x", ""]);
        request = request.header(ACCEPT, accept);
    }
    if dice.one_in(8) {
        let noise: Vec<u8> =
            text(dice).bytes().filter(|byte| !byte.is_ascii_control()).take(500).collect();
        let name = dice.of(&[
            "cookie",
            "origin",
            "x-forwarded-for",
            "last-event-id",
            "x-request-id",
            "if-none-match",
        ]);
        request = request.header(name, noise);
    }
    if operation.has_body {
        let body = body(dice, operation);
        shown = format!("{shown} {}", String::from_utf8_lossy(&body));
        let kind = if dice.one_in(20) { "text/plain" } else { "application/json" };
        request = request.header(CONTENT_TYPE, kind).body(body);
    }
    (shown, request)
}

/// The ends of what numbers and times can be, where a sum runs over.
const ENDS: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "4294967295",
    "+262142-12-31T23:59:59Z",
    "-262143-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
];

/// What PostgreSQL stores in no text.
const NUL: &str = "a\0b";

/// Each end in the place of each parameter, of the ids, and of each number and time of the body;
/// a zero byte in the place of each parameter and text.
fn ends(server: &Server, operation: &Operation) -> Vec<(String, RequestBuilder)> {
    let mut requests = Vec::new();
    let mut add = |path: &str, body: Option<&Value>| {
        let request = server.request_as(Role::Admin, operation.method.clone(), path);
        let (shown, request) = match body {
            Some(body) => (format!("{path} {body}"), request.json(body)),
            None => (path.to_owned(), request),
        };
        requests.push((format!("{} {shown}", operation.method), request));
    };
    let body = operation.has_body.then(|| operation.body());
    for (name, _) in &operation.query {
        add(&format!("{}?{name}={}", operation.with_id("1"), encoded(NUL)), body.as_ref());
    }
    let mut texts = Vec::new();
    let document = body.as_ref().unwrap_or(&Value::Null);
    leaves(document, Value::is_string, &mut String::new(), &mut texts);
    for place in texts {
        let mut changed = body.clone().unwrap();
        *changed.pointer_mut(&place).unwrap() = json!(NUL);
        add(&operation.with_id("1"), Some(&changed));
    }
    for end in ENDS {
        if operation.has_id() {
            add(&operation.with_id(&encoded(end)), body.as_ref());
        }
        for (name, _) in &operation.query {
            add(&format!("{}?{name}={}", operation.with_id("1"), encoded(end)), body.as_ref());
        }
        let mut places = Vec::new();
        leaves(document, is_measure, &mut String::new(), &mut places);
        for place in places {
            let mut changed = body.clone().unwrap();
            let leaf = changed.pointer_mut(&place).unwrap();
            *leaf = end.parse::<Number>().map_or_else(|_| json!(end), Value::Number);
            add(&operation.with_id("1"), Some(&changed));
        }
    }
    requests
}

/// A number or a time.
fn is_measure(value: &Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| text.parse::<DateTime<Utc>>().is_ok())
}

/// The pointers of the values that are asked for.
fn leaves(value: &Value, wanted: fn(&Value) -> bool, at: &mut String, found: &mut Vec<String>) {
    let length = at.len();
    let mut below = |key: &str, value: &Value| {
        at.push('/');
        at.push_str(&key.replace('~', "~0").replace('/', "~1"));
        leaves(value, wanted, at, found);
        at.truncate(length);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| below(key, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(key, value)| below(&key.to_string(), value));
        }
        leaf if wanted(leaf) => found.push(at.clone()),
        _ => {}
    }
}

on_both!(nothing_makes_it_fail);
async fn nothing_makes_it_fail(database: Database) {
    let each: usize = variable("LUX_TEST_MUTATIONS").map_or(60, |count| count.parse().unwrap());
    let setup = Setup::new(&database).env("LUX_REQUESTS_PER_MINUTE", "100000000");
    // The client keeps connections for 90 s: one that is closed just as it is taken up again
    // would look like a failure.
    let log = setup.folder().join("app.log");
    let toml = format!(
        "[http]\nidle_timeout = \"10m\"\n[[sources]]\nname = \"app\"\npath = \"{}\"\n",
        log.display()
    );
    let mut server = setup.toml(&toml).env("LUX_EVENTS_PER_MINUTE", "100000000").start().await;
    let (mut total, mut failed) = (0, 0);
    let mut wrong = Vec::new();
    let only = variable("LUX_TEST_ROUTES").unwrap_or_default();
    for (number, operation) in operations(&server).await.into_iter().enumerate() {
        if !operation.path.contains(&only) {
            continue;
        }
        let mut dice = Dice(0x6c75_7800 + u64::try_from(number).unwrap());
        let changed = (0..each).map(|_| request(&mut dice, &server, &operation));
        let requests: Vec<_> = changed.chain(ends(&server, &operation)).collect();
        let mut told = Vec::new();
        let answers = stream::iter(requests).map(async |(shown, request)| {
            // Streams do not end: only the head is looked at.
            let came = request.send().await.map(|response| response.status().as_u16());
            (shown, came)
        });
        let mut answers = std::pin::pin!(answers.buffer_unordered(16));
        while let Some((shown, came)) = answers.next().await {
            total += 1;
            if !came.as_ref().is_ok_and(|status| *status < 500) {
                failed += 1;
                let shown: String = shown.chars().take(1500).collect();
                told.push(format!("{came:?}: {shown}"));
            }
        }
        // Each route has its own faults.
        told.truncate(3);
        wrong.extend(told);
    }
    say(&format!("{total} requests, {failed} of them failed"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(server.is_up());
    assert!(!server.log().contains("panicked"), "a handler panicked");
    let answer = Answer::of(server.request(Method::GET, "/readyz")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}
