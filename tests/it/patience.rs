//! What Lux lets a connection do: slow clients, many connections, heads that two readers would
//! read differently. Raw sockets say what no client library would.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::json;

use crate::support::{Answer, Database, PATIENCE, Role, Server, Setup, until};

/// A server whose patience is short, and which trusts nobody on this host.
async fn hasty(http: &str) -> Server {
    let setup = Setup::new(&Database::sqlite());
    let log = setup.folder().join("app.log");
    let toml =
        format!("[http]\n{http}\n[[sources]]\nname = \"app\"\npath = \"{}\"\n", log.display());
    setup.toml(&toml).start().await
}

fn connect(server: &Server) -> TcpStream {
    let address: SocketAddr = server.base.strip_prefix("http://").unwrap().parse().unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the server closes; its patience is the test's.
async fn to_the_end(mut stream: TcpStream) -> String {
    tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            // It may have closed before it had read everything.
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("it stays open: {error}"),
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
    .await
    .unwrap()
}

/// Sends `bytes`, and gives everything that comes until the server closes.
async fn say(server: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(bytes).unwrap();
    to_the_end(stream).await
}

fn statuses(said: &str) -> Vec<&str> {
    said.match_indices("HTTP/1.1 ").map(|(at, _)| &said[at + 9..at + 12]).collect()
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    let server = hasty("head_timeout = \"300ms\"\nidle_timeout = \"600ms\"").await;
    // Nothing at all, a bit of a head, and nothing after a request.
    assert_eq!(say(&server, b"").await, "");
    assert_eq!(say(&server, b"GET /healthz HT").await, "");
    assert_eq!(say(&server, b"GET /healthz HTTP/1.1\r\nHost: lux\r\nX-A: ").await, "");
    let said = say(&server, b"GET /healthz HTTP/1.1\r\nHost: lux\r\n\r\n").await;
    assert_eq!(statuses(&said), ["200"], "{said}");
    let half = b"GET /healthz HTTP/1.1\r\nHost: lux\r\n\r\nGET /healthz HTTP/1.1\r\nHo";
    assert_eq!(statuses(&say(&server, half).await), ["200"]);
}

#[tokio::test]
async fn a_head_that_drips_is_not_waited_for() {
    let server = hasty("head_timeout = \"500ms\"").await;
    let mut stream = connect(&server);
    let dripping = tokio::task::spawn_blocking(move || {
        let mut head = b"GET /healthz HTTP/1.1\r\nHost: lux\r\nX-Slow: ".to_vec();
        head.resize(100_000, b'a');
        for byte in head {
            if stream.write_all(&[byte]).is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    });
    assert!(dripping.await.unwrap(), "it read on, byte by byte");
}

#[tokio::test]
async fn half_a_body_is_not_waited_for() {
    let server = hasty("request_timeout = \"400ms\"").await;
    let token = server.token(Role::Ingest);
    for (path, length) in [("/api/errors", 1000), ("/api/errors", 1_000_000)] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: lux\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{\"error_type\":"
        );
        let said = say(&server, head.as_bytes()).await;
        assert_eq!(statuses(&said), ["408"], "{said}");
        assert!(said.contains("urn:lux:problem:timeout"), "{said}");
    }
    // What an SDK sends.
    let created = server.post("/api/apps", &json!({ "name": "shop" })).await;
    let dsn = created.json()["dsn"].as_str().unwrap().to_owned();
    let (key, app) = (&dsn[7..39], dsn.rsplit('/').next().unwrap());
    let head = format!(
        "POST /api/{app}/envelope/?sentry_key={key} HTTP/1.1\r\nHost: lux\r\n\
         Content-Length: 1000000\r\n\r\n{{"
    );
    let said = say(&server, head.as_bytes()).await;
    assert_eq!(statuses(&said), ["408"], "{said}");
}

/// The time of an answer is not the time of a silent client: streams outlast both limits.
#[tokio::test]
async fn a_stream_outlasts_the_limits() {
    let server = hasty("head_timeout = \"100ms\"\nidle_timeout = \"200ms\"").await;
    let request = server.request_as(Role::Read, Method::GET, "/api/diagnostics/logs/stream");
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    // A connection that came later and says nothing has been closed meanwhile, and another.
    for _ in 0..3 {
        let said = say(&server, b"GET /healthz HTTP/1.1\r\nHost: lux\r\n\r\n").await;
        assert_eq!(statuses(&said), ["200"], "{said}");
    }
    std::fs::write(server.folder().join("app.log"), "KeyError: 'late'\n").unwrap();
    let mut text = String::new();
    while !text.contains("late") {
        text.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
    }
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let server = hasty("idle_timeout = \"300ms\"\nmax_connections = 4").await;
    // Answers of some size, asked for again and again, and never read.
    let ask = format!(
        "GET /openapi.json HTTP/1.1\r\nHost: lux\r\nAuthorization: Bearer {}\r\n\r\n",
        server.token(Role::Read)
    );
    let mut stream = connect(&server);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let flooding = tokio::task::spawn_blocking(move || {
        let many = ask.repeat(100);
        // Lux stops reading once it cannot write; in the end it closes.
        loop {
            if let Err(error) = stream.write_all(many.as_bytes()) {
                return error.kind();
            }
        }
    });
    let ended = flooding.await.unwrap();
    let closed = [std::io::ErrorKind::BrokenPipe, std::io::ErrorKind::ConnectionReset];
    assert!(closed.contains(&ended), "it is still there: {ended:?}");
}

#[tokio::test]
async fn one_address_holds_only_its_share() {
    let server = hasty("trusted_proxies = \"\"\nmax_connections_per_address = 3").await;
    let ask = b"GET /healthz HTTP/1.1\r\nHost: lux\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&server);
        stream.write_all(ask).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(stream);
    }
    let mut more = connect(&server);
    // It may be closed before it was written to.
    let _ = more.write_all(ask);
    assert_eq!(to_the_end(more).await, "");
    held.pop();
    until("a place is free again", async || {
        let mut stream = connect(&server);
        stream.write_all(ask).ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()
    })
    .await;
}

#[tokio::test]
async fn many_idle_connections_stop_nobody() {
    let server = Server::plain(&Database::sqlite()).await;
    // Nearly all there may be.
    let idle: Vec<_> = (0..2000).map(|_| connect(&server)).collect();
    let answer = Answer::of(server.request(Method::GET, "/healthz")).await;
    assert_eq!(answer.status, 200);
    drop(idle);
}

#[tokio::test]
async fn heads_have_one_meaning() {
    let server = hasty("head_timeout = \"2s\"\nidle_timeout = \"2s\"").await;
    let get = "GET /healthz HTTP/1.1\r\n";
    let post = "POST /api/errors HTTP/1.1\r\nHost: lux\r\n";
    let refused: &[String] = &[
        // Whose is it?
        format!("{get}Host: lux\r\nHost: evil\r\n\r\n"),
        format!("{get}\r\n"),
        // A line that goes on in the next; a name with a space; a line end that is none.
        format!("{get}Host: lux\r\nX-A: a\r\n b\r\n\r\n"),
        format!("{get}Host: lux\r\n X-A: a\r\n\r\n"),
        format!("{get}Host : lux\r\n\r\n"),
        format!("{get}Host: lux\r\nX-A: a\rX-B: b\r\n\r\n"),
        format!("{get}Host: lux\r\nX-A: \0\r\n\r\n"),
        // How long is it?
        format!("{post}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}"),
        format!("{post}Content-Length: -1\r\n\r\n"),
        format!("{post}Content-Length: +2\r\n\r\n{{}}"),
        format!("{post}Content-Length: 99999999999999999999\r\n\r\n"),
        format!("{post}Transfer-Encoding: gzip\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n"),
        "POST /api/errors HTTP/1.0\r\nHost: lux\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        // No HTTP.
        "\u{16}\u{3}\u{1}\0hello".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /healthz HTTP/9.9\r\nHost: lux\r\n\r\n".to_owned(),
    ];
    for head in refused {
        let said = say(&server, head.as_bytes()).await;
        assert_eq!(statuses(&said), ["400"], "{head:?}: {said}");
    }
    let large = format!("{get}Host: lux\r\nX-A: {}\r\n\r\n", "a".repeat(200_000));
    let many = format!("{get}Host: lux\r\n{}\r\n", "X-A: a\r\n".repeat(101));
    for head in [large, many] {
        let said = say(&server, head.as_bytes()).await;
        assert!(["400", "431"].contains(&statuses(&said)[0]), "{said}");
    }
}

/// Chunks win over a length, and what comes after them on the connection is read by nobody.
#[tokio::test]
async fn nothing_slips_in_behind_a_body() {
    let server = hasty("head_timeout = \"2s\"\nidle_timeout = \"2s\"").await;
    let token = server.token(Role::Ingest);
    let body = r#"{"error_type":"E","error_message":"chunked"}"#;
    let hidden = "GET /metrics HTTP/1.1\r\nHost: lux\r\n\r\n";
    for lengths in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let request = format!(
            "POST /api/errors HTTP/1.1\r\nHost: lux\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\n{lengths}\r\n{:x}\r\n{body}\r\n0\r\n\r\n{hidden}",
            body.len()
        );
        let said = say(&server, request.as_bytes()).await;
        assert_eq!(statuses(&said), ["201"], "{lengths}: {said}");
        assert!(said.to_lowercase().contains("connection: close"), "{said}");
    }
}

#[tokio::test]
async fn methods_are_those_that_are_listed() {
    let server = hasty("idle_timeout = \"2s\"").await;
    for method in ["TRACE", "FOO", "PROPFIND", "get"] {
        let said =
            say(&server, format!("{method} /healthz HTTP/1.1\r\nHost: lux\r\n\r\n").as_bytes())
                .await;
        assert_eq!(statuses(&said), ["405"], "{method}: {said}");
        assert!(said.to_lowercase().contains("allow: get,head"), "{said}");
    }
    let said = say(&server, b"CONNECT lux:443 HTTP/1.1\r\nHost: lux\r\n\r\n").await;
    assert!(["404", "405"].contains(&statuses(&said)[0]), "{said}");
    // HEAD is GET without its body.
    let said = say(&server, b"HEAD /healthz HTTP/1.1\r\nHost: lux\r\n\r\n").await;
    assert_eq!(statuses(&said), ["200"], "{said}");
    assert!(said.ends_with("\r\n\r\n") && said.contains("content-length: 3"), "{said}");
    for (role, status) in [(Role::Ingest, 403), (Role::Read, 200)] {
        let request = server.request_as(role, Method::HEAD, "/api/apps");
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn bodies_are_json_of_a_bearable_shape() {
    let server = Server::plain(&Database::sqlite()).await;
    let post = |body: String| {
        let request = server.request_as(Role::Admin, Method::POST, "/api/errors");
        request.header(CONTENT_TYPE, "application/json").body(body)
    };
    let event = |more: &str| format!(r#"{{"error_type":"E","error_message":"m"{more}}}"#);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (body, said) in [
        (event(r#","error_message":"n""#), "twice"),
        (event(r#","x":{"a":1,"a":2}"#), "twice"),
        (event(&format!(r#","x":{}"#, nested(33))), "deeper"),
        (event(&format!(r#","x":[{}1]"#, "1,".repeat(100_000))), "values"),
        (event(r#","x":NaN"#), "not valid JSON"),
        (event(r#","x":1e999"#), "not valid JSON"),
    ] {
        let answer = Answer::of(post(body)).await;
        assert!(answer.problem(400).contains(said), "{said}: {answer:?}");
    }
    let packed = post(event("")).header("content-encoding", "gzip");
    assert!(Answer::of(packed).await.problem(415).contains("Content-Encoding"));
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/xml",
    ] {
        let request = server.request_as(Role::Admin, Method::POST, "/api/errors");
        Answer::of(request.header(CONTENT_TYPE, kind).body(event(""))).await.problem(415);
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON", "application/problem+json"]
    {
        let request = server.request_as(Role::Admin, Method::POST, "/api/errors");
        let answer = Answer::of(request.header(CONTENT_TYPE, kind).body(event(""))).await;
        assert_eq!(answer.status, 201, "{kind}: {answer:?}");
    }
}

/// Who guesses is held back, by address; who is known goes on, and so do other addresses.
#[tokio::test]
async fn guessing_is_held_back() {
    let server = Setup::new(&Database::sqlite()).env("LUX_GUESSES_PER_MINUTE", "5").start().await;
    let ask = |token: &str, from: &str| {
        let request = server.request(Method::GET, "/api/apps").bearer_auth(token);
        Answer::of(request.header("x-forwarded-for", from))
    };
    assert_eq!(ask(server.token(Role::Read), "203.0.113.9").await.status, 200);
    for guess in 0..5 {
        ask(&format!("lux_{guess}"), "203.0.113.9").await.problem(401);
    }
    let answer = ask("lux_6", "203.0.113.9").await;
    assert!(answer.problem(429).contains("wrong credentials"), "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    // What was good here a moment ago is no guess.
    assert_eq!(ask(server.token(Role::Read), "203.0.113.9").await.status, 200);
    assert_eq!(ask(server.token(Role::Operator), "203.0.113.10").await.status, 200);
    // What stands further left in the header was written by the client.
    ask("lux_7", "198.51.100.7, 203.0.113.9").await.problem(429);
    // A whole network of IPv6 is one client.
    for guess in 0..5 {
        ask(&format!("lux_{guess}"), &format!("2001:db8::{guess}")).await.problem(401);
    }
    ask("lux_8", "2001:db8::ffff").await.problem(429);
    ask("lux_8", "2001:db8:0:1::1").await.problem(401);
    // Keys of applications are guessed at the same price.
    let guess = |guess: u32, from: &str| {
        let path = format!("/api/1/store/?sentry_key={guess:032x}");
        let request = server.request(Method::POST, &path).header("x-forwarded-for", from);
        Answer::of(request.body("{}"))
    };
    for key in 0..5 {
        assert_eq!(guess(key, "203.0.113.77").await.status, 403);
    }
    let answer = guess(6, "203.0.113.77").await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
}
