//! Sentry's protocol against the real program: who may report, how bodies are packed, what is
//! in envelopes, and what nobody should send.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
};

use lux::{
    apps::{
        Scrub, Wish,
        store::{self, Added},
    },
    auth::OrganizationId,
    db::Db,
};
use reqwest::{Body, Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, Setup, on_both, until};

on_both!(keys_are_taken_from_everywhere_and_tell_nothing);
on_both!(bodies_may_be_packed_and_come_slowly);
on_both!(what_is_no_error_is_counted);
on_both!(pages_report_from_their_origins_only);
on_both!(over_the_quota_is_said_as_sdks_read_it);
on_both!(an_event_is_shown_with_all_its_detail);
on_both!(hostile_bodies_cost_nothing);
on_both!(half_envelopes_keep_what_is_whole);
on_both!(secrets_are_nowhere);
on_both!(its_own_errors_are_events);

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

/// An application of a running server.
struct Shop {
    server: Server,
    id: i64,
    key: String,
}

async fn db(server: &Server) -> Db {
    let url = match server.database() {
        Database::Sqlite => format!("sqlite:{}", server.data().join("lux.db").display()),
        Database::Postgres(url) => url.clone(),
    };
    Db::connect(&url, 2).await.unwrap()
}

async fn add(server: &Server, wish: Wish) -> (i64, String) {
    let (db, one) = (db(server).await, OrganizationId::FIRST);
    let added = store::add(&db, one, "rig", &wish.check().unwrap()).await.unwrap();
    let Added::New(id) = added else { panic!("it was there already") };
    let listed = store::find(&db, one, id).await.unwrap().unwrap();
    db.close().await;
    (id, listed.public_key.unwrap())
}

impl Shop {
    async fn of(database: &Database, wish: Wish) -> Self {
        let server = Setup::new(database).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
        let (id, key) = add(&server, Wish { name: "shop".into(), ..wish }).await;
        Self { server, id, key }
    }

    fn post(&self, what: &str, body: impl Into<Body>) -> RequestBuilder {
        let path = format!("/api/{}/{what}/?sentry_key={}", self.id, self.key);
        self.server.request(Method::POST, &path).body(body)
    }

    async fn envelope(&self, body: impl Into<Body>) -> Answer {
        Answer::of(self.post("envelope", body)).await
    }

    async fn events(&self) -> Vec<Value> {
        let page = self.server.get("/api/diagnostics/errors?limit=200").await;
        page["errors"].as_array().unwrap().clone()
    }

    async fn messages(&self) -> Vec<String> {
        let events = self.events().await;
        let mut messages: Vec<String> =
            events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect();
        messages.sort();
        messages
    }

    /// "category outcome count" of what was counted.
    async fn usage(&self) -> Vec<String> {
        let sql = "select category || ' ' || outcome || ' ' || cast(sum(count) as text)
            from app_usage group by category, outcome";
        let mut lines = self.server.database().column(&self.server.data(), sql).await;
        lines.sort();
        lines
    }
}

/// One item with its length.
fn item(kind: &str, payload: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"length\":{}}}\n{payload}\n", payload.len())
}

fn event(message: &str) -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    json!({ "event_id": id, "message": message, "platform": "python" }).to_string()
}

fn envelope(message: &str) -> String {
    format!("{{}}\n{}", item("event", &event(message)))
}

/// Checks a refusal, and gives its reason.
#[track_caller]
fn refused(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    let reason = answer.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(answer.headers["x-sentry-error"], reason.as_str(), "{answer:?}");
    assert_eq!(answer.json()["status"], status);
    reason
}

#[track_caller]
fn taken(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn keys_are_taken_from_everywhere_and_tell_nothing(database: Database) {
    let shop = Shop::of(&database, Wish::default()).await;
    let (other, other_key) =
        add(&shop.server, Wish { name: "blog".into(), ..Wish::default() }).await;
    let (id, key) = (shop.id, shop.key.as_str());
    let post = |path: &str, body: String| {
        shop.server.request(Method::POST, path).header("content-type", "text/plain").body(body)
    };
    let bare = |what: &str| post(&format!("/api/{id}/{what}"), envelope(what));
    let basic = |request: RequestBuilder| request.basic_auth(key, Some(""));
    let dsn =
        format!("{{\"dsn\":\"http://{key}@127.0.0.1/{id}\"}}\n{}", item("event", &event("dsn")));
    let ways = [
        bare("envelope/")
            .header("x-sentry-auth", format!("Sentry sentry_version=7, sentry_key={key}")),
        bare("envelope").header("authorization", format!("Sentry sentry_key={key}")),
        basic(bare("envelope/")),
        post(&format!("/api/{id}/envelope/?sentry_version=7&sentry_key={key}"), envelope("query")),
        post(&format!("/api/{id}/store/?sentry_key={key}"), event("store")),
        post(&format!("/api/{id}/store?sentry_key={key}"), event("store")),
        post(&format!("/api/{id}/envelope/"), dsn),
    ];
    let count = ways.len();
    for way in ways {
        let shown = format!("{way:?}");
        let answer = Answer::of(way).await;
        assert_eq!(answer.status, 200, "{shown}: {answer:?}");
        assert_eq!(answer.json()["id"].as_str().unwrap().len(), 32);
    }
    assert_eq!(shop.events().await.len(), count);

    // A wrong key, another's key, another's number and no number at all are one answer.
    let mut reasons = Vec::new();
    for (id, key) in [
        (id.to_string(), "0123456789abcdef0123456789abcdef"),
        (id.to_string(), &other_key),
        (other.to_string(), key),
        ("987654".to_owned(), key),
        ("-1".to_owned(), key),
        ("x".to_owned(), key),
        (id.to_string(), "x"),
    ] {
        for what in ["envelope", "store"] {
            let path = format!("/api/{id}/{what}/?sentry_key={key}");
            reasons.push(refused(&Answer::of(post(&path, envelope("no"))).await, 403));
        }
        let dsn = format!("{{\"dsn\":\"http://{key}@h/{id}\"}}\n{}", item("event", &event("no")));
        reasons.push(refused(&Answer::of(post(&format!("/api/{id}/envelope/"), dsn)).await, 403));
    }
    // The address of another application.
    let dsn = format!("{{\"dsn\":\"http://{key}@h/{id}\"}}\n{}", item("event", &event("no")));
    reasons.push(refused(&Answer::of(post(&format!("/api/{other}/envelope/"), dsn)).await, 403));
    reasons.dedup();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let keyless = refused(&Answer::of(bare("envelope/")).await, 403);
    assert!(keyless.contains("no key"), "{keyless}");
    refused(&Answer::of(bare("store/")).await, 403);
    // Lux's own tokens are none here.
    let token = bare("envelope/").bearer_auth(shop.server.token(Role::Admin));
    refused(&Answer::of(token).await, 403);
    assert_eq!(shop.events().await.len(), count);
    refused(&Answer::of(shop.post("security", "{}")).await, 501);
    refused(&Answer::of(shop.post("minidump", "MDMP")).await, 501);
    let get = shop.server.request(Method::GET, &format!("/api/{id}/envelope/"));
    assert_eq!(Answer::of(get).await.status, 405);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// A stream of one block that is not compressed, and an empty last one.
fn brotli(bytes: &[u8]) -> Vec<u8> {
    let head = u32::try_from(bytes.len() - 1).unwrap() << 4 | 1 << 20;
    let mut packed = head.to_le_bytes()[..3].to_vec();
    packed.extend_from_slice(bytes);
    packed.push(3);
    packed
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

type Packer = fn(&[u8]) -> Vec<u8>;
const PACKERS: [(&str, Packer); 6] = [
    ("gzip", gzip),
    ("x-gzip", gzip),
    ("deflate", zlib),
    ("deflate", raw_deflate),
    ("br", brotli),
    ("zstd", zstandard),
];

async fn bodies_may_be_packed_and_come_slowly(database: Database) {
    let shop = Shop::of(&database, Wish::default()).await;
    let mut sent = 0;
    for (name, pack) in PACKERS {
        for what in ["envelope", "store"] {
            let text = if what == "store" { event(name) } else { envelope(name) };
            let packed = pack(text.as_bytes());
            let whole = shop.post(what, packed.clone()).header("content-encoding", name);
            taken(&Answer::of(whole).await);
            // In pieces, without a length.
            let text = if what == "store" { event(name) } else { envelope(name) };
            let pieces: Vec<_> = pack(text.as_bytes())
                .chunks(7)
                .map(|c| Ok::<_, std::io::Error>(c.to_vec()))
                .collect();
            let stream = Body::wrap_stream(futures_util::stream::iter(pieces));
            let chunked = shop.post(what, stream).header("content-encoding", name);
            taken(&Answer::of(chunked).await);
            sent += 2;
            // Cut off, and not packed at all.
            let cut = packed[..packed.len() / 2].to_vec();
            let cut = shop.post(what, cut).header("content-encoding", name);
            refused(&Answer::of(cut).await, 400);
            let plain = shop.post(what, "{}\n").header("content-encoding", name);
            refused(&Answer::of(plain).await, 400);
        }
    }
    assert_eq!(shop.events().await.len(), sent);
    for wrong in ["compress", "gzip, gzip", "gzip,br", "aes128gcm", "\u{e9}"] {
        let request = shop.post("envelope", gzip(b"{}\n")).header("content-encoding", wrong);
        refused(&Answer::of(request).await, 415);
    }
    let plain = shop.post("envelope", envelope("plain")).header("content-encoding", "identity");
    taken(&Answer::of(plain).await);

    // Half of a body; others are served; then the rest.
    let body = envelope("slow");
    let address = shop.server.base.strip_prefix("http://").unwrap();
    let mut slow = TcpStream::connect(address).unwrap();
    let (id, key) = (shop.id, &shop.key);
    let head = format!(
        "POST /api/{id}/envelope/?sentry_key={key} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.as_bytes().split_at(20);
    slow.write_all(head.as_bytes()).unwrap();
    slow.write_all(first).unwrap();
    taken(&shop.envelope(envelope("meanwhile")).await);
    slow.write_all(rest).unwrap();
    let mut said = String::new();
    slow.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert_eq!(shop.events().await.len(), sent + 3);
}

async fn what_is_no_error_is_counted(database: Database) {
    let shop = Shop::of(&database, Wish::default()).await;
    let mut body = format!("{{\"event_id\":\"{ID}\",\"sent_at\":\"2026-01-31T12:00:00Z\"}}\n");
    for kind in [
        "session",
        "sessions",
        "transaction",
        "client_report",
        "replay_event",
        "replay_recording",
        "profile",
        "profile_chunk",
        "check_in",
        "log",
        "span",
        "user_report",
        "feedback",
        "statsd",
        "attachment",
        "made_up_tomorrow",
    ] {
        body += &item(kind, "{\"not\":\"looked\\nat\"}");
    }
    // The envelope's id counts where the event has none.
    body += &item("event", "{\"message\":\"kept\"}");
    let probe = json!({ "message": "of a probe", "request": {
        "headers": { "X-Lux-Probe": "1", "User-Agent": "Lux-Probe/0.1.0" } } });
    body += &item("event", &probe.to_string());
    body += &item("event", "not JSON");
    let answer = shop.envelope(body).await;
    let reason = refused(&answer, 400);
    assert!(reason.contains("not valid JSON"), "{reason}");
    assert_eq!(shop.messages().await, ["kept"]);
    assert_eq!(taken(&shop.envelope(format!("{{\"event_id\":\"{ID}\"}}\n")).await), ID);
    assert_eq!(shop.envelope("{}").await.text, "{}");
    let expected = [
        "attachment accepted 1",
        "client_report accepted 1",
        "error accepted 1",
        "error invalid 1",
        "error probe 1",
        "feedback accepted 2",
        "log accepted 1",
        "metric accepted 1",
        "monitor accepted 1",
        "other accepted 1",
        "profile accepted 2",
        "replay accepted 2",
        "session accepted 2",
        "span accepted 1",
        "transaction accepted 1",
    ];
    until("all is counted", async || (shop.usage().await == expected).then_some(())).await;
    let found = shop.server.get(&format!("/api/diagnostics/errors/{ID}")).await;
    assert_eq!(found["error"]["message"], "kept");
}

async fn pages_report_from_their_origins_only(database: Database) {
    let origins = ["https://shop.example", "https://*.pages.example"];
    let wish =
        Wish { allowed_origins: Some(origins.map(str::to_owned).to_vec()), ..Wish::default() };
    let shop = Shop::of(&database, wish).await;
    let path = format!("/api/{}/envelope/?sentry_key={}", shop.id, shop.key);
    let ask = |origin: &str| {
        let request = shop.server.request(Method::OPTIONS, &path).header("origin", origin);
        Answer::of(request.header("access-control-request-method", "POST"))
    };
    let send =
        |origin: &str| Answer::of(shop.post("envelope", envelope("m")).header("origin", origin));
    let allowed = |headers: &HeaderMap| {
        headers.get("access-control-allow-origin").map(|v| v.to_str().unwrap().to_owned())
    };
    for origin in ["https://shop.example", "https://a.pages.example"] {
        let answer = ask(origin).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(allowed(&answer.headers).as_deref(), Some(origin));
        let headers = answer.headers["access-control-allow-headers"].to_str().unwrap();
        assert!(headers.contains("x-sentry-auth") && headers.contains("content-type"), "{headers}");
        let answer = send(origin).await;
        taken(&answer);
        assert_eq!(allowed(&answer.headers).as_deref(), Some(origin));
        let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
        assert!(exposed.contains("x-sentry-rate-limits") && exposed.contains("retry-after"));
    }
    for origin in ["https://evil.example", "http://shop.example", "null", "https://pages.example"] {
        for answer in [ask(origin).await, send(origin).await] {
            refused(&answer, 403);
            assert_eq!(allowed(&answer.headers), None, "{origin}");
        }
    }
    assert_eq!(shop.events().await.len(), 2);
    // A page may read why its report was refused.
    let broken = shop.post("envelope", "{").header("origin", "https://shop.example");
    let answer = Answer::of(broken).await;
    refused(&answer, 400);
    assert_eq!(allowed(&answer.headers).as_deref(), Some("https://shop.example"));
    // Before the key is known (it comes in a header), any page may ask.
    let bare = format!("/api/{}/envelope/", shop.id);
    let request = shop.server.request(Method::OPTIONS, &bare).header("origin", "https://x.example");
    assert_eq!(Answer::of(request).await.status, 200);
    // What is not said to be allowed is allowed to all.
    let (id, key) = add(&shop.server, Wish { name: "open".into(), ..Wish::default() }).await;
    let open = format!("/api/{id}/envelope/?sentry_key={key}");
    let request = shop.server.request(Method::POST, &open).body(envelope("m"));
    taken(&Answer::of(request.header("origin", "https://anywhere.example")).await);
}

async fn over_the_quota_is_said_as_sdks_read_it(database: Database) {
    let wish = Wish { events_per_minute: Some(3), ..Wish::default() };
    let shop = Shop::of(&database, wish).await;
    for n in 0..3 {
        taken(&shop.envelope(envelope(&format!("m{n}"))).await);
    }
    let body = format!("{{}}\n{}{}", item("session", "{}"), item("event", &event("too many")));
    let answer = shop.envelope(body).await;
    let reason = refused(&answer, 429);
    assert!(reason.contains("3 errors a minute"), "{reason}");
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let limits = answer.headers["x-sentry-rate-limits"].to_str().unwrap();
    assert_eq!(limits, format!("{wait}:error;default:project:quota_exceeded"));
    // What is no error has no part in it.
    let session = format!("{{}}\n{}", item("session", "{}"));
    assert_eq!(shop.envelope(session).await.status, 200);
    assert_eq!(shop.messages().await, ["m0", "m1", "m2"]);
    let expected = ["error accepted 3", "error over_quota 1", "session accepted 2"];
    until("all is counted", async || (shop.usage().await == expected).then_some(())).await;
}

async fn an_event_is_shown_with_all_its_detail(database: Database) {
    let shop = Shop::of(&database, Wish::default()).await;
    let pairs: Value = serde_json::from_str(include_str!("../sentry/python.json")).unwrap();
    let mut sent = pairs["chained"]["event"].clone();
    sent["event_id"] = json!(ID);
    sent["request"] = json!({
        "url": "https://shop.example/checkout?step=2", "method": "POST",
        "headers": { "X-Request-Id": "req-1", "Cookie": "a=b" }, "data": { "sku": 7 },
    });
    sent["user"] = json!({ "id": 42, "email": "ann@example.org" });
    sent["tags"] = json!({ "region": "eu" });
    sent["breadcrumbs"] = json!({ "values": [{ "category": "db", "message": "select 1" }] });
    let body = format!("{{\"event_id\":\"{ID}\"}}\n{}", item("event", &sent.to_string()));
    assert_eq!(taken(&shop.envelope(body.clone()).await), ID);
    // The SDK did not hear the answer and sends it again.
    assert_eq!(taken(&shop.envelope(body).await), ID);

    let dashed = uuid::Uuid::parse_str(ID).unwrap().to_string();
    let found = shop.server.get(&format!("/api/diagnostics/errors/{dashed}")).await;
    let id = found["error"]["id"].as_i64().unwrap();
    assert_eq!(shop.server.get(&format!("/api/diagnostics/errors/{id}")).await, found);
    let error = &found["error"];
    assert_eq!((&error["type"], &error["endpoint"]), (&json!("CartError"), &json!("/checkout")));
    assert_eq!((&error["app"], &error["user_id"]), (&json!("shop"), &json!("42")));
    let stack = error["error_stack"].as_str().unwrap();
    assert!(stack.contains("was the direct cause of the following exception"), "{stack}");
    let report = &found["report"];
    assert_eq!(
        *report,
        json!({ "origin": "sentry", "event_id": ID, "release": "shop@1.4.2",
            "environment": "production", "request_id": "req-1", "tags": { "region": "eu" } })
    );
    let detail = &found["detail"];
    assert_eq!(detail["exceptions"][1]["frames"][2]["function"], "checkout");
    assert_eq!(detail["exceptions"][0]["frames"][1]["vars"]["password"], "[redacted]");
    assert_eq!(detail["request"]["headers"]["Cookie"], "[redacted]");
    assert_eq!(detail["request"]["data"]["sku"], 7);
    assert_eq!(detail["breadcrumbs"][0]["message"], "select 1");
    assert_eq!(detail["user"]["email"], "ann@example.org");

    // The same error as a traceback, told by a program without an SDK.
    let printed = json!({ "error_type": "CartError", "error_message": "order 17 has no price",
        "error_stack": pairs["chained"]["traceback"], "app": "shop" });
    assert_eq!(shop.server.post("/api/errors", &printed).await.status, 201);
    let groups = shop.server.get("/api/diagnostics/groups").await;
    assert_eq!(groups["groups"].as_array().unwrap().len(), 1, "{groups:#}");
    let plain = shop.server.get("/api/diagnostics/errors?limit=1").await["errors"][0]["id"].clone();
    let plain = shop.server.get(&format!("/api/diagnostics/errors/{plain}")).await;
    assert_eq!((&plain["detail"], &plain["report"]["origin"]), (&Value::Null, &json!("json")));
    for nowhere in ["ffffffffffffffffffffffffffffffff", "x", "-1", "%00"] {
        let path = format!("/api/diagnostics/errors/{nowhere}");
        Answer::of(shop.server.request_as(Role::Admin, Method::GET, &path)).await.problem(404);
    }
}

/// 64 MiB of NULs, by brotli.
const BROTLI_BOMB: &str = "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ffeffffc13f0110870500baf77ffcffff837f02200e0b0074effff8ffff07ff04401c1600e8defff1";

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|n| u8::from_str_radix(&digits[n..n + 2], 16).unwrap())
        .collect()
}

async fn hostile_bodies_cost_nothing(database: Database) {
    let shop = Shop::of(&database, Wish::default()).await;
    let large = vec![0; 64 << 20];
    let bombs = [
        ("gzip", gzip(&large)),
        ("deflate", zlib(&large)),
        ("zstd", zstandard(&large)),
        ("br", unhex(BROTLI_BOMB)),
    ];
    for (name, bomb) in bombs {
        for what in ["envelope", "store"] {
            let request = shop.post(what, bomb.clone()).header("content-encoding", name);
            refused(&Answer::of(request).await, 413);
        }
    }
    // A window of 128 MiB is asked for by a frame of a few bytes.
    let mut packer = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    packer.window_log(27).unwrap();
    packer.include_contentsize(false).unwrap();
    packer.write_all(envelope("wide").as_bytes()).unwrap();
    let wide = packer.finish().unwrap();
    let request = shop.post("envelope", wide).header("content-encoding", "zstd");
    refused(&Answer::of(request).await, 400);
    // Not packed at all; the server may close before it has been sent everything.
    let request = shop.post("envelope", vec![b' '; 21 << 20]).header("connection", "close");
    if let Ok(answer) = Answer::try_of(request).await {
        refused(&answer, 413);
    }
    let chunks = (0..3000).map(|_| Ok::<_, std::io::Error>(vec![b' '; 10_000]));
    let endless = Body::wrap_stream(futures_util::stream::iter(chunks));
    let request = shop.post("envelope", endless).header("connection", "close");
    if let Ok(answer) = Answer::try_of(request).await {
        refused(&answer, 413);
    }
    // Too much for one event, not for an attachment.
    let big = json!({ "message": "x".repeat((1 << 20) + 1) }).to_string();
    let reason = refused(&shop.envelope(format!("{{}}\n{}", item("event", &big))).await, 413);
    assert!(reason.contains("at most 1048576"), "{reason}");
    refused(&Answer::of(shop.post("store", big.clone())).await, 413);
    let attached = format!("{{}}\n{}{}", item("attachment", &big), item("event", &event("ok")));
    taken(&shop.envelope(attached).await);

    // Within the bounds, and odd.
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut tags = String::from("{\"message\":\"tags\",\"tags\":{");
    for n in 0..100_000 {
        write!(tags, "\"{n}\":1,").unwrap();
    }
    tags += "\"last\":1}}";
    let odd = [
        tags,
        format!("{{\"message\":\"deep\",\"extra\":{deep},\"tags\":{deep}}}"),
        format!("{{\"message\":\"unclosed\",\"extra\":{}", "[".repeat(100_000)),
        "{\"message\":\"NUL \\u0000 \\ud800\",\"tags\":{\"a\\u0000\":\"\\u0000\"},\"release\":\"\\u0000\",\
          \"environment\":\"a\\u0000b\",\"user\":{\"id\":\"\\u0000\"},\"transaction\":\"/\\u0000\",\
          \"fingerprint\":[\"\\u0000\"],\"logger\":\"\\u0000\"}"
            .to_owned(),
    ];
    for body in &odd {
        let answer = Answer::of(shop.post("store", body.clone())).await;
        if body.contains("unclosed") {
            refused(&answer, 400);
        } else {
            taken(&answer);
        }
    }
    // A million of them are within no bounds.
    let million: Vec<String> = (0..1_000_000).map(|n| format!("\"{n}\":1")).collect();
    let million = format!("{{\"tags\":{{{}}}}}", million.join(","));
    refused(
        &Answer::of(
            shop.post("store", gzip(million.as_bytes())).header("content-encoding", "gzip"),
        )
        .await,
        413,
    );
    // Broken UTF-8 is mended.
    let mut broken = b"{\"message\":\"broken \xff\xfe\xc3\"}".to_vec();
    taken(&Answer::of(shop.post("store", broken.clone())).await);
    broken.insert(1, 0xff);
    refused(&Answer::of(shop.post("store", broken)).await, 400);
    assert_eq!(
        shop.messages().await,
        ["NUL \u{fffd} \u{fffd}", "broken \u{fffd}\u{fffd}\u{fffd}", "deep", "ok", "tags"]
    );

    // Markup stays data wherever it stands.
    let markup = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
    let hostile = json!({
        "event_id": ID, "message": markup, "platform": markup, "release": markup,
        "environment": markup, "transaction": format!("/{markup}"), "server_name": markup,
        "logger": markup, "dist": markup, "fingerprint": [markup], "level": markup,
        "tags": { markup: markup }, "user": { "id": markup, markup: markup },
        "exception": [{ "type": markup, "value": markup, "module": markup,
            "stacktrace": { "frames": [{ "function": markup, "filename": markup,
                "abs_path": markup, "context_line": markup, "vars": { markup: markup } }] } }],
        "request": { "url": markup, "method": markup, "headers": { markup: markup } },
        "extra": { markup: markup }, "contexts": { markup: { markup: markup } },
        "breadcrumbs": [{ "message": markup, "data": { markup: markup } }],
    });
    taken(&Answer::of(shop.post("store", hostile.to_string())).await);
    let path = format!("/api/diagnostics/errors/{ID}");
    let answer = Answer::of(shop.server.request_as(Role::Read, Method::GET, &path)).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.json()["error"]["message"], markup);
    assert_eq!(answer.json()["detail"]["extra"][markup], markup);
}

async fn half_envelopes_keep_what_is_whole(database: Database) {
    let shop = Shop::of(&database, Wish::default()).await;
    let whole = |message: &str| format!("{{}}\n{}", item("event", &event(message)));
    let cases = [
        ("longer", "{\"type\":\"event\",\"length\":5000}\n{\"message\":\"no\"}".to_owned()),
        ("shorter", "{\"type\":\"event\",\"length\":3}\n{\"message\":\n\"no\"}\n".to_owned()),
        ("headless", "{\"type\":\"eve".to_owned()),
        ("typeless", "{\"length\":2}\n{}\n".to_owned()),
        ("huge", "{\"type\":\"event\",\"length\":99999999999999999999}\n{}\n".to_owned()),
        ("cut", "{\"type\":\"event\"}\n{\"message\":\"n".to_owned()),
    ];
    for (name, rest) in &cases {
        let answer = shop.envelope(whole(name) + rest).await;
        let reason = refused(&answer, 400);
        assert!(reason.contains("item 2") || reason.contains("not valid JSON"), "{name}: {reason}");
    }
    let mut names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(shop.messages().await, names);
    // Half of what was packed.
    let text = whole("packed") + &item("attachment", &"x".repeat(5000)) + &item("event", "{}");
    let packed = gzip(text.as_bytes());
    let half = packed[..packed.len() - 10].to_vec();
    let answer = Answer::of(shop.post("envelope", half).header("content-encoding", "gzip")).await;
    refused(&answer, 400);
    assert!(shop.messages().await.contains(&"packed".to_owned()));
    for empty in ["", "\n\n", "[]\n", "null", "{", "\0\0\0"] {
        refused(&shop.envelope(empty).await, 400);
        refused(&Answer::of(shop.post("store", empty)).await, 400);
    }
}

async fn secrets_are_nowhere(database: Database) {
    let scrub = Scrub {
        emails: true,
        addresses: true,
        keys: vec!["tax_number".into()],
        ..Scrub::default()
    };
    let shop = Shop::of(&database, Wish { scrub: Some(scrub), ..Wish::default() }).await;
    let secrets = [
        "hunter2-Pw",
        "tok-4f9a8b7c",
        "sess-99aa88bb",
        "4111111111111111",
        "ann@example.org",
        "203.0.113.77",
        "tax-445566",
        "kJh8Gf6Ds4",
        "sk_live_abcdefghij0123456789",
    ];
    let [password, token, session, card, email, address, tax, url_password, key] = secrets;
    let event = json!({
        "event_id": ID, "platform": "python",
        "logentry": { "message": "login %s", "params": [email],
            "formatted": format!("login {email} with password={password} and card {card}") },
        "exception": { "values": [{
            "type": "ValueError",
            "value": format!("postgres://shop:{url_password}@db/shop refused, key {key}"),
            "stacktrace": { "frames": [{
                "function": "login", "filename": "a.py", "lineno": 1,
                "context_line": format!("    connect(password=\"{password}\", tax_number='{tax}')"),
                "pre_context": [format!("API_KEY = \"{key}\"")],
                "vars": {
                    "password": format!("'{password}'"), "tax_number": tax,
                    "request": format!("<Request {{'Authorization': 'Bearer {token}'}}>"),
                    "form": { "cards": [{ "number": card }], "user": { "token": token } },
                    "pairs": [["session_id", session], ["x", 1]],
                },
            }] },
        }] },
        "request": {
            "url": format!("https://shop.example/login?token={token}&x=1"),
            "query_string": format!("token={token}&tax_number={tax}&x=1"),
            "headers": [["Authorization", format!("Bearer {token}")],
                ["Cookie", format!("sid={session}")], ["X-Forwarded-For", address],
                ["User-Agent", "curl"]],
            "cookies": { "sid": session },
            "data": format!("{{\"user\": {{\"password\": \"{password}\", \"tax_number\": \"{tax}\"}}}}"),
            "env": { "REMOTE_ADDR": address, "DB_PASSWORD": password },
        },
        "user": { "email": email, "ip_address": address, "id": 7 },
        "tags": { "auth": token, "mail": email, "plain": "kept-1" },
        "extra": { "nested": { "deeply": [{ "credentials": { "user": "a", "pass": password } }] },
            "text": format!("curl -H 'X-Api-Key: {token}'"), "kept": "kept-2" },
        "contexts": { "auth context": { "jwt": token }, "x": { "client_secret": password } },
        "breadcrumbs": [{ "category": "http", "message": format!("GET /?api_key={token}"),
            "data": { "url": format!("https://u:{url_password}@h/"), "body": format!("tax_number={tax}") } }],
        "transaction": format!("/reset?token={token}"),
    });
    let plain = json!({ "message": format!("mail {email} password={password}") });
    taken(&Answer::of(shop.post("store", event.to_string())).await);
    taken(&Answer::of(shop.post("store", plain.to_string())).await);

    let path = format!("/api/diagnostics/errors/{ID}");
    let shown = shop.server.get(&path).await;
    let mut texts = vec![shown.to_string(), shop.server.log()];
    for sql in [
        "select coalesce(error_message, '') || ' ' || coalesce(error_stack, '') || ' ' ||
             coalesce(endpoint, '') || ' ' || coalesce(user_id, '') || ' ' || coalesce(tags, '')
         from error_log",
        "select title || ' ' || coalesce(culprit, '') || ' ' || coalesce(endpoint, '')
         from error_group",
        "select user_id from error_group_user",
    ] {
        texts.extend(shop.server.database().column(&shop.server.data(), sql).await);
    }
    if matches!(database, Database::Sqlite) {
        for file in ["lux.db", "lux.db-wal"] {
            let bytes = std::fs::read(shop.server.data().join(file)).unwrap_or_default();
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    for text in &texts {
        for secret in secrets {
            let at = text.find(secret).map(|at| &text[at.saturating_sub(60)..at + secret.len()]);
            assert_eq!(at, None, "{secret}");
        }
    }
    // What is none stays.
    let shown = shown.to_string();
    for kept in ["kept-1", "kept-2", "curl", "in login"] {
        assert!(shown.contains(kept), "{kept} is missing in {shown}");
    }
    assert_eq!(shop.events().await[1]["user_id"], "7");
}

async fn its_own_errors_are_events(database: Database) {
    let server = Server::plain(&database).await;
    // A part of it that cannot work any more.
    let gone = match database {
        Database::Sqlite => "drop table chat_session",
        Database::Postgres(_) => "drop table chat_session cascade",
    };
    let (data, path) = (server.data(), "/api/chat/sessions");
    server.database().execute(&data, gone).await;
    let mut failed = 0;
    for n in 0..20 {
        let id = format!("own-{n}");
        let request = server.request_as(Role::Admin, Method::GET, path).header("x-request-id", id);
        failed += usize::from(Answer::of(request).await.status == 500);
    }
    assert_eq!(failed, 20, "it works without its table: {}", server.log());
    let found = until("it is captured", async || {
        let page = server.get("/api/diagnostics/errors?app=lux").await;
        let events = page["errors"].as_array().unwrap().clone();
        (!events.is_empty()).then_some(events)
    })
    .await;
    assert_eq!(found[0]["type"], "LuxError");
    let one = server.get(&format!("/api/diagnostics/errors/{}", found[0]["id"])).await;
    assert_eq!(one["report"]["origin"], "lux");
    assert!(one["report"]["request_id"].as_str().unwrap().starts_with("own-"), "{one:#}");
    assert!(one["detail"]["extra"]["reason"].as_str().unwrap().contains("chat_session"), "{one:#}");
    // One place in the source tells a few times, and what it tells makes nothing new.
    let event = json!({ "error_type": "Last", "error_message": "m" });
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    let groups = server.get("/api/diagnostics/groups").await;
    let groups: Vec<(&Value, &Value)> =
        groups["groups"].as_array().unwrap().iter().map(|g| (&g["app"], &g["count"])).collect();
    assert_eq!(groups.len(), 2, "{groups:?}");
    let count = groups.iter().find(|(app, _)| *app == "lux").unwrap().1.as_i64().unwrap();
    assert!((1..=5).contains(&count), "{count}");
}
