//! The program around it: health, doctor, the command line, the routes.

use std::{fs, process::Command};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Database, Model, Reply, Role, Said, Script, Setup, lux, on_both, run, until,
};

async fn said(mut command: Command) -> Said {
    tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
}

on_both!(a_request_is_seen_from_everywhere);
async fn a_request_is_seen_from_everywhere(database: Database) {
    let model = Model::scripted().await;
    model.always(Reply::text("ready"));
    let server = Setup::new(&database).model(&model).start().await;
    let mut test = server.command();
    test.args(["model", "test"]);
    let tested = said(test).await;
    assert_eq!(tested.code, Some(0), "{tested:?}");
    assert!(tested.out.starts_with("ready\n"), "{tested:?}");

    let ledger = server.get("/api/model/ledger").await;
    let request = &ledger["requests"][0];
    assert_eq!((&request["why"], &request["result"]), (&json!("lux model test"), &json!("told")));
    assert_eq!(ledger["today"]["tokens"], 120);
    let path = format!("/api/model/ledger/{}", request["id"]);
    let whole = server.get(&path).await;
    let sent: Value = serde_json::from_str(whole["sent"].as_str().unwrap()).unwrap();
    assert_eq!(sent, model.asked()[0].body);
    assert_eq!((&whole["answer"], &whole["host"]), (&json!("ready"), &json!("127.0.0.1")));
    for (path, status) in [
        ("/api/model/ledger?purpose=plan&result=told&by=x&since=2026-01-01T00:00:00Z", 200),
        ("/api/model/ledger?purpose=dance", 400),
        ("/api/model/ledger/987654321", 404),
    ] {
        let answer = Answer::of(server.request_as(Role::Operator, Method::GET, path)).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    // The texts are not for everybody who may read.
    Answer::of(server.request_as(Role::Read, Method::GET, &path)).await.problem(403);

    let mut list = server.command();
    list.args(["model", "ledger"]);
    let listed = said(list).await;
    assert!(
        listed.out.contains("lux model test") && listed.out.contains("today: 120"),
        "{listed:?}"
    );
    let mut one = server.command();
    one.args(["model", "ledger", &request["id"].to_string()]);
    let shown = said(one).await;
    assert!(
        shown.out.contains("test of the connection") && shown.out.contains("ready"),
        "{shown:?}"
    );
}

#[tokio::test]
async fn health_says_what_is_wrong_with_the_model() {
    let part = async |setup: Setup, word: &str, state: &str| {
        let server = setup.start().await;
        until(word, async || {
            let health = server.get("/api/diagnostics/health").await;
            let part = &health["health"]["parts"]["model"];
            let detail = part["detail"].as_str().unwrap();
            (detail.contains(word) && part["state"] == state).then_some(())
        })
        .await;
    };
    let setup = || Setup::new(&Database::sqlite());
    part(setup(), "no key is set", "ok").await;
    let model = Model::start(Script::Key("sk-other")).await;
    part(setup().model(&model), "check OPENAI_API_KEY", "degraded").await;
    model.script(Some(Script::Key("sk-scripted")));
    part(setup().model(&model), "has not been asked", "unknown").await;
    assert!(model.asked().is_empty(), "looking costs nothing");
    let gone = setup().env("OPENAI_API_KEY", "sk-x").env("OPENAI_BASE_URL", "http://127.0.0.1:1");
    part(gone, "cannot be reached", "degraded").await;
}

#[tokio::test]
async fn doctor_and_test_say_plainly_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.log"), "").unwrap();
    let toml = "[[sources]]\nname = \"app\"\npath = \"app.log\"\n[model]\nretries = 0\n";
    fs::write(folder.path().join("lux.toml"), toml).unwrap();
    let model = Model::scripted().await;
    let tell = async |key: Option<&str>, what: &[&str]| {
        let mut command = lux(folder.path());
        command.env("OPENAI_BASE_URL", model.url.trim_end_matches("/v1")).args(what);
        if let Some(key) = key {
            command.env("OPENAI_API_KEY", key);
        }
        said(command).await
    };
    let quota =
        r#"{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}"#;
    let gone = r#"{"error":{"code":"model_not_found","message":"The model does not exist"}}"#;
    for (reply, word) in [
        (Reply::status(429).body("application/json", quota), "quota"),
        (Reply::status(404).body("application/json", gone), "no model \"gpt-4o-mini\""),
        (Reply::status(401), "check OPENAI_API_KEY"),
        (Reply::status(503).body("text/plain", "overloaded"), "(503): overloaded"),
        (Reply::raw("<html>").body("text/html", "<html>"), "a web page"),
    ] {
        model.always(reply);
        let doctor = tell(Some("sk-x"), &["doctor", "--json"]).await;
        let report = doctor.json();
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "model").unwrap();
        assert_eq!(check["outcome"], "fail", "{check}");
        assert!(check["detail"].as_str().unwrap().contains(word), "{check}");
        let test = tell(Some("sk-x"), &["model", "test"]).await;
        assert_eq!(test.code, Some(1), "{test:?}");
        assert!(test.out.contains(word), "{test:?}");
    }
    model.always(Reply::text("ready"));
    let doctor = tell(Some("sk-x"), &["doctor"]).await;
    assert!(
        doctor.out.contains("the key is accepted by 127.0.0.1; gpt-4o-mini answered"),
        "{doctor:?}"
    );
    let doctor = tell(None, &["doctor"]).await;
    assert!(doctor.out.contains("no key is needed by 127.0.0.1"), "{doctor:?}");
    for setting in ["model.chat.max_input_tokens", "model.plan.timeout", "model.keep_texts"] {
        assert!(doctor.out.contains(setting), "{setting}: {doctor:?}");
    }
    let doctor = tell(Some("sk-x\nX-Evil: 1"), &["doctor"]).await;
    assert!(doctor.out.contains("is no key"), "{doctor:?}");
}

#[tokio::test]
async fn a_broken_prompt_stops_the_start_and_a_good_one_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::scripted().await;
    model.always(Reply::text("ready"));
    let prompts = folder.path().join("own");
    fs::create_dir(&prompts).unwrap();
    let toml = format!("[model]\nprompts_dir = \"{}\"\n", prompts.display());
    fs::write(folder.path().join("lux.toml"), toml).unwrap();
    let tell = async |what: &[&str]| {
        let mut command = lux(folder.path());
        command.env("OPENAI_API_KEY", "sk-x").env("OPENAI_BASE_URL", &model.url);
        command.args(["--listen", "127.0.0.1:0"]).args(what);
        said(command).await
    };
    let file = prompts.join("test.md");
    let head = "+++\npurpose = \"chat\"\nversion = 2\n+++\n";
    fs::write(&file, format!("{head}Dear {{{{ nobody }}}}")).unwrap();
    let serve = tell(&["serve"]).await;
    assert_eq!(serve.code, Some(2), "{serve:?}");
    assert!(serve.err.contains("test.md") && serve.err.contains("nobody"), "{serve:?}");
    let doctor = tell(&["doctor"]).await;
    assert!(doctor.out.contains("test.md") && doctor.code == Some(1), "{doctor:?}");
    fs::write(&file, format!("{head}Our own words")).unwrap();
    assert_eq!(tell(&["model", "test"]).await.code, Some(0));
    assert_eq!(model.asked().pop().unwrap().last(), "Our own words");
}

#[tokio::test]
async fn nothing_of_an_answer_gets_into_the_log() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lux.toml"), "[model]\nretries = 0\n").unwrap();
    let model = Model::scripted().await;
    for reply in [
        Reply::raw("data: {\"private words\": \n\n"),
        Reply::raw("{\"private words\": "),
        Reply::status(500).body("text/plain", "private words"),
        Reply::text("private words"),
    ] {
        model.push(reply);
        let mut command = lux(folder.path());
        command.env("OPENAI_API_KEY", "sk-verysecret").env("OPENAI_BASE_URL", &model.url);
        command.env("LUX_LOG", "info,lux=debug,async_openai=trace").args(["model", "test"]);
        let tested = said(command).await;
        assert!(!tested.err.contains("private words"), "{tested:?}");
        assert!(!format!("{tested:?}").contains("sk-verysecret"), "{tested:?}");
    }
    assert_eq!(model.asked().len(), 4);
}
