//! The command line: exit codes, what goes to stdout, and an orderly end.

use std::{
    fs,
    process::{Command, Stdio},
};

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, Database, Role, Server, lux, on_both, run, until};

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("lux-cli").tempdir().unwrap()
}

#[test]
fn completions_know_the_commands() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish"] {
        let said = run(lux(folder.path()).args(["completions", shell]));
        assert_eq!(said.code, Some(0), "{said:?}");
        for command in ["serve", "diagnose", "doctor", "token"] {
            assert!(said.out.contains(command), "{shell} does not know {command}");
        }
    }
    assert_eq!(run(lux(folder.path()).args(["completions", "cobol"])).code, Some(2));
}

#[test]
fn help_and_mistakes() {
    let folder = folder();
    let said = run(lux(folder.path()).arg("--help"));
    assert_eq!(said.code, Some(0));
    for command in ["serve", "demo", "diagnose", "logs", "chat", "token", "doctor", "eval"] {
        assert!(said.out.contains(&format!("  {command} ")), "{command} is missing: {}", said.out);
    }
    assert_eq!(run(lux(folder.path()).arg("--version")).out, "lux 0.1.0\n");
    let said = run(lux(folder.path()).arg("dignose"));
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    assert!(said.err.contains("diagnose"), "{said:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = folder();
    let mut command = lux(folder.path());
    command.arg("openapi").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

on_both!(tokens_are_made_listed_and_revoked);
async fn tokens_are_made_listed_and_revoked(database: Database) {
    let server = Server::plain(&database).await;
    let token = |arguments: &[&str]| run(server.command().arg("token").args(arguments));
    // While the server runs.
    let said = token(&["create", "--role", "read", "--name", "wall screen"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let secret = said.out.trim_end().to_owned();
    assert!(secret.starts_with("lux_") && !secret.contains(char::is_whitespace), "{said:?}");
    let read = |secret: &str| {
        let path = "/api/diagnostics/groups";
        Answer::of(server.request(Method::GET, path).bearer_auth(secret))
    };
    assert_eq!(read(&secret).await.status, 200);

    let said = token(&["list", "--json"]);
    let listed = said.json();
    let entry = |listed: &Value| {
        let mut entries = listed.as_array().unwrap().iter();
        entries.find(|entry| entry["name"] == "wall screen").unwrap().clone()
    };
    assert_eq!(entry(&listed)["role"], "read");
    assert!(!said.out.contains(&secret), "a list must not show a token");
    let said = token(&["list"]);
    assert!(said.out.contains("wall screen") && !said.out.contains(&secret), "{said:?}");

    let id = entry(&listed)["id"].to_string();
    assert_eq!(token(&["revoke", &id]).code, Some(0));
    until("the token is refused", async || (read(&secret).await.status == 401).then_some(())).await;
    let said = token(&["list", "--json"]);
    assert!(entry(&said.json())["revoked_at"].is_string());
    assert_ne!(token(&["revoke", &id]).code, Some(0), "it is revoked already");
    for wrong in [
        &["create", "--role", "emperor", "--name", "x"][..],
        &["create", "--role", "read", "--name", " "],
        &["create", "--role", "read"],
        &["revoke", "x"],
    ] {
        let said = token(wrong);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{wrong:?}: {said:?}");
    }
    // Nor does the database hold what would let somebody in.
    let kept = "select name || role || prefix || hash from api_token";
    let kept = server.database().column(&server.data(), kept).await.concat();
    assert!(!kept.contains(&secret));
}

#[tokio::test]
async fn a_token_ends_after_its_time() {
    let server = Server::plain(&Database::sqlite()).await;
    let mut command = server.command();
    command.args(["token", "create", "--role", "read", "--name", "short", "--expires-in", "1s"]);
    let secret = run(&mut command).out.trim().to_owned();
    until("it has ended", async || {
        let request = server.request(Method::GET, "/api/diagnostics/groups").bearer_auth(&secret);
        (Answer::of(request).await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_first_start_prints_an_admin_token_once() {
    let folder = folder();
    let toml = "[[sources]]\nname = \"a\"\npath = \"/nowhere/a.log\"\n";
    fs::write(folder.path().join("lux.toml"), toml).unwrap();
    let start = async || {
        let mut command = tokio::process::Command::from(lux(folder.path()));
        command.args(["serve", "--listen", "127.0.0.1:0"]).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.as_mut().unwrap();
        let mut out = tokio::io::BufReader::new(out);
        tokio::io::AsyncBufReadExt::read_line(&mut out, &mut line).await.unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
        let base = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        (child, pid.unwrap(), base)
    };
    let stop = async |child: tokio::process::Child, pid| {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let (child, pid, base) = start().await;
    let said = stop(child, pid).await;
    assert!(base.starts_with("http://127.0.0.1:"), "{base}");
    let mut words = said.split_whitespace();
    let secret = words.find(|word| word.starts_with("lux_")).unwrap().to_owned();

    let (child, pid, base) = start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("{base}/openapi.json")).bearer_auth(&secret);
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert!(!stop(child, pid).await.contains("lux_"), "it must be shown once only");
}

#[tokio::test]
async fn sigterm_lets_requests_in_flight_end() {
    let mut server = Server::plain(&Database::sqlite()).await;
    // A request that has begun: the server asks for its body, which is not sent yet.
    let body = br#"{"error_type": "E", "error_message": "m"}"#;
    let head = format!(
        "POST /api/errors HTTP/1.1\r\nhost: lux\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        server.token(Role::Ingest),
        body.len()
    );
    let address = server.base.trim_start_matches("http://");
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");

    server.signal(rustix::process::Signal::TERM);
    until("it takes no new requests", async || {
        Answer::try_of(server.request(Method::GET, "/healthz")).await.err()
    })
    .await;
    assert!(server.is_up());
    connection.write_all(body).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(server.ended().await, Some(0));
    server.start().await;
    let stored = "select error_message from error_log";
    assert_eq!(server.database().column(&server.data(), stored).await, ["m"]);
}

#[tokio::test]
async fn sigterm_ends_streams() {
    let mut server = Server::plain(&Database::sqlite()).await;
    let path = "/api/diagnostics/logs/stream";
    let stream = server.request_as(Role::Read, Method::GET, path).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(server.stop().await, Some(0));
    // However it ends, it does end.
    let _ = stream.text().await;
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let server = Server::plain(&Database::sqlite()).await;
    let other = folder();
    let address = server.base.trim_start_matches("http://");
    let said = run(lux(other.path()).args(["serve", "--listen", address]));
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    assert!(said.err.contains(address) && said.err.contains("--listen"), "{said:?}");
}

#[tokio::test]
async fn commands_find_the_running_server() {
    let server = Server::plain(&Database::sqlite()).await;
    let said = run(server.command().args(["chat", "what", "is", "wrong?"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("othing wrong"), "{said:?}");
    assert_eq!(run(server.command().arg("openapi")).json(), server.get("/openapi.json").await);
}

#[test]
fn the_demo_diagnoses_mends_and_proves() {
    let folder = folder();
    let mut command = Command::new("timeout");
    command.args(["120", env!("CARGO_BIN_EXE_lux"), "demo", "--once", "--pace", "5000"]);
    command.current_dir(folder.path()).stdin(Stdio::null());
    let said = run(&mut command);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("[1] "), "no line is cited: {}", said.out);
    assert!(said.out.contains("What to do"), "no fix is told: {}", said.out);
    // The loop, in this order.
    let mut rest = said.out.as_str();
    for step in [
        "run (approve): /usr/bin/touch ",
        "check: GET /checkout",
        "check: connect to 127.0.0.1:",
        "awaiting approval: ",
        "/checkout fails: answered 500",
        "lux repair --approve ",
        ": 1 of 1 error resolved",
        "before GET /checkout: fails (answered 500",
        "after GET /checkout: passes (answered 200",
        "Resolved, with evidence ",
        "Lux watches until ",
        "none of their requests fails",
    ] {
        let at = rest.find(step).unwrap_or_else(|| panic!("no {step:?} in {}", said.out));
        rest = &rest[at..];
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "the demo left something behind");
}
