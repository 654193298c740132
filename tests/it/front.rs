//! Lux as other programs' model and toolbox: `/v1` driven by the official `openai` package,
//! `/mcp` by the `mcp` package, as they come from PyPI, and what they cannot show.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::{
    Method, RequestBuilder,
    header::{ACCEPT, HOST, ORIGIN},
};
use serde_json::{Value, json};

use crate::support::{
    Answer, Database, Model, Reply, Role, Server, Setup, groups, on_both, repository, run, skip,
    until, variable,
};

/// A script of `tests/clients`; `None` where the clients are not installed.
fn script(server: &Server, name: &str) -> Option<Command> {
    let Some(venv) = variable("LUX_TEST_VENV").map(PathBuf::from) else {
        skip("the openai and mcp packages (LUX_TEST_VENV)");
        return None;
    };
    let mut command = Command::new(venv.join("bin/python"));
    command
        .arg(repository(&Path::new("tests/clients").join(name).display().to_string()))
        .env_clear()
        .env("LUX_BASE", &server.base)
        .env("LUX_OPERATOR", server.token(Role::Operator))
        .env("LUX_READ", server.token(Role::Read));
    Some(command)
}

async fn passes(mut command: Command) {
    let said = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
}

async fn openai(server: &Server, section: &str) -> bool {
    let Some(mut command) = script(server, "openai_sdk.py") else { return false };
    command.arg(section);
    passes(command).await;
    true
}

/// A server that does not ask a model twice.
async fn with(database: &Database) -> (Server, Model) {
    let model = Model::scripted().await;
    let setup = Setup::new(database).model(&model);
    let log = setup.folder().join("app.log");
    let toml = format!(
        "[model]\nretries = 0\n[[apps]]\nname = \"shop\"\nbase_url = \"http://127.0.0.1:9\"\n\
         [[sources]]\nname = \"app\"\npath = \"{}\"\n\
         [[probes]]\nname = \"home\"\napp = \"shop\"\nkind = \"http\"\npath = \"/\"\n",
        log.display()
    );
    let server = setup.toml(&toml).start().await;
    (server, model)
}

async fn log(server: &Server, line: &str) {
    fs::write(server.folder().join("app.log"), format!("{line}\n")).unwrap();
    until("the log is read", async || {
        (server.source("app").await?["lines"].as_u64()? > 0).then_some(())
    })
    .await;
}

async fn report(server: &Server) -> i64 {
    let event = json!({ "error_type": "KeyError", "error_message": "'sku'", "endpoint": "/basket",
                        "method": "GET" });
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    until("it has a group", async || {
        groups(server, "").await.first().map(|one| one["id"].as_i64().unwrap())
    })
    .await
}

on_both!(the_openai_package_talks_to_lux);
async fn the_openai_package_talks_to_lux(database: Database) {
    let (server, model) = with(&database).await;
    if !openai(&server, "models").await {
        return;
    }
    openai(&server, "errors").await;
    assert_eq!(model.asked().len(), 0, "what is refused is not asked");

    model.push(Reply::text("It was the plum."));
    openai(&server, "plain").await;
    let asked = model.asked();
    let messages = asked[0].body["messages"].as_array().unwrap().clone();
    let said = |role: &str| {
        let of_role = messages.iter().filter(|message| message["role"] == role);
        of_role.map(|message| message["content"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(said("assistant"), ["The word is plum."]);
    let [system] = &said("system")[..] else { panic!("one system message: {messages:#?}") };
    assert!(!system.contains("in one line"), "the client's rules are not Lux's: {system}");
    assert_eq!(
        said("user"),
        ["fix it", "Answer in one line. Please fix the errors.", "Tell me the word"]
    );
    assert_eq!(asked[0].body["messages"].to_string().matches("tool of the client").count(), 0);
    assert!(!asked[0].tools().contains(&"rm"), "no tools of the client");
    // Wishes of earlier messages are past, and nothing of it is a session.
    assert_eq!(server.get("/api/auto-repair/runs").await["runs"], json!([]));
    let sessions = server.request_as(Role::Operator, Method::GET, "/api/chat/sessions");
    assert_eq!(Answer::of(sessions).await.json()["sessions"], json!([]));

    model.push(Reply::text("And so on and").finish("length"));
    openai(&server, "cut").await;

    log(&server, "KeyError: 'sku' while pricing").await;
    model.push(Reply::tool("search_logs", json!({ "text": "pricing" })));
    model.push(Reply::text("It says `KeyError: 'sku'` [1], and \"it is on fire\" [1].").split(7));
    openai(&server, "streamed").await;

    model.push(Reply::text("It is beyond all doubt the disk").cut_after(4));
    model.push(Reply::status(500));
    openai(&server, "fallback").await;

    report(&server).await;
    let before = model.asked().len();
    openai(&server, "repair").await;
    // The run may ask for a plan; the wish itself is read without a model.
    let asked = model.asked();
    let wishes = asked[before..].iter().map(|asked| asked.body.to_string());
    assert!(!wishes.into_iter().any(|body| body.contains("please fix the errors")), "{asked:#?}");
}

#[tokio::test]
async fn who_stops_listening_stops_the_model() {
    let (server, model) = with(&Database::sqlite()).await;
    model.always(Reply::text("one two three four").hang_after(3));
    let body = json!({ "model": "lux", "stream": true,
                       "messages": [{ "role": "user", "content": "Tell me more" }] });
    let path = "/v1/chat/completions";
    let request = server.request_as(Role::Operator, Method::POST, path).json(&body);
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while !text.contains("one") {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    drop(response);
    until("the call to the model has ended", async || {
        let calls = server.get("/api/model/ledger").await;
        let call = calls["requests"].as_array()?.first()?.clone();
        (call["result"] == "stopped").then_some(())
    })
    .await;
}

on_both!(the_mcp_package_uses_the_tools);
async fn the_mcp_package_uses_the_tools(database: Database) {
    let (server, _model) = with(&database).await;
    let line = "KeyError: 'sku' while pricing <|im_start|> with key AKIAIOSFODNN7EXAMPLE";
    log(&server, line).await;
    let group = report(&server).await;
    let record = server.get("/api/diagnostics/logs").await["records"][0]["id"].clone();
    let Some(mut command) = script(&server, "mcp_sdk.py") else { return };
    command.env("LUX_GROUP", group.to_string()).env("LUX_RECORD", record.as_str().unwrap());
    passes(command).await;
    let runs = server.get("/api/auto-repair/runs").await;
    assert!(!runs["runs"].as_array().unwrap().is_empty(), "{runs:#}");
}

fn initialize(server: &Server, role: Role) -> RequestBuilder {
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" } } });
    let request = server.request_as(role, Method::POST, "/mcp").json(&hello);
    request.header(ACCEPT, "application/json, text/event-stream")
}

#[tokio::test]
async fn mcp_is_for_names_that_are_ours() {
    let setup = Setup::new(&Database::sqlite()).env("LUX_PUBLIC_URL", "https://lux.example.org");
    let server = setup.start().await;
    for host in ["lux.example.org", "localhost:5000", "127.0.0.1"] {
        let answer = Answer::of(initialize(&server, Role::Read).header(HOST, host)).await;
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
        assert_eq!(answer.json()["result"]["serverInfo"]["name"], "lux");
        assert!(!answer.headers.contains_key("mcp-session-id"), "{answer:?}");
    }
    for host in ["evil.example.net", "lux.example.org.evil.example.net"] {
        let answer = Answer::of(initialize(&server, Role::Read).header(HOST, host)).await;
        assert!(answer.problem(403).contains("public_url"), "{answer:?}");
    }
    for (origin, status) in [
        ("https://lux.example.org", 200),
        ("http://localhost:6274", 200),
        ("https://evil.example.net", 403),
        ("null", 403),
    ] {
        let answer = Answer::of(initialize(&server, Role::Read).header(ORIGIN, origin)).await;
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
    }
    Answer::of(initialize(&server, Role::Ingest)).await.problem(403);
    let get = server.request_as(Role::Read, Method::GET, "/mcp");
    Answer::of(get).await.problem(405);
}

#[tokio::test]
async fn mcp_answers_nonsense_with_a_refusal() {
    let server = Server::plain(&Database::sqlite()).await;
    let post = |body: String| {
        let request = server.request_as(Role::Admin, Method::POST, "/mcp").body(body);
        let request = request.header("content-type", "application/json");
        request.header(ACCEPT, "application/json, text/event-stream")
    };
    let deep = "[".repeat(100_000);
    for body in ["", "{", "null", "42", "[]", "{}", "\0", "{\"jsonrpc\": \"2.0\"}", &deep] {
        let answer = Answer::of(post(body.to_owned())).await;
        let shown: String = body.chars().take(20).collect();
        assert!(answer.status.is_client_error(), "{shown}: {answer:?}");
        let document: Value = answer.json();
        let said = document["detail"].as_str().or(document["error"]["message"].as_str());
        assert!(said.is_some_and(|said| said.len() > 10), "{shown}: {answer:?}");
    }
    let unknown = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/destroy", "params": {} });
    let answer = Answer::of(post(unknown.to_string())).await;
    assert_eq!(answer.json()["error"]["code"], -32601, "{answer:?}");
    let large = post("x".repeat(3 << 20)).header("connection", "close");
    // The server may answer, and close, before it was sent everything.
    if let Ok(answer) = Answer::try_of(large).await {
        answer.problem(413);
    }
}
