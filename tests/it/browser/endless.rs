//! Nothing loads for ever, whoever keeps Lux waiting.

use reqwest::Method;
use serde_json::{Value, json};

use super::live;
use crate::{
    authority::{person, table},
    integrations::simulator::{Simulator, admin, connect, deed},
    people::upload,
    support::{Database, Model, Reply, Role, Server, Setup, on_both, until},
};

/// What is open on purpose as long as somebody listens, is saved instead of shown, or belongs to
/// the way to a provider and back.
const NO_PAGES: &[&str] = &[
    "/ui/pulse",
    "/logs/stream",
    "/chat/{id}/events",
    "/logs/download",
    "/chat/{id}/export",
    "/api/integrations/{provider}/callback",
    "/api/integrations/callback",
    "/oauth/callback",
];

/// Every address of the dashboard that can be opened, with the first thing of its kind.
fn pages() -> Vec<String> {
    table()
        .into_iter()
        .filter(|((method, path), route)| {
            method == "GET" && route.page && !NO_PAGES.contains(&path.as_str())
        })
        .map(|((_, path), _)| {
            path.replace("repairs/cited", "repairs/cited?source=app&line=1")
                .replace("probes/{id}", "probes/up")
                .replace("{id}", "1")
                .replace("{whose}", "me")
                .replace("{key}", "operations")
        })
        .collect()
}

/// One thing of each kind that is made in a moment.
async fn furnish(server: &Server) {
    let customers = server.get("/api/customers?role=customer").await;
    let customer = &customers["customers"][0]["id"];
    for (path, body) in [
        // It is told of what comes after it.
        (
            "/api/notifications/channels",
            json!({ "name": "us", "kind": "browser", "events": ["error.opened"], "least": "info" }),
        ),
        ("/api/errors", json!({ "error_type": "KeyError", "error_message": "'price'" })),
        ("/api/contacts", json!({ "email": "ada@example.com" })),
        ("/api/call-logs", json!({ "started_at": lux::clock::now(), "duration_seconds": 61 })),
        ("/api/campaigns", json!({ "name": "Course", "brief": { "goal": "Sell the course" } })),
        ("/api/agents/operations/runs", json!({})),
        (
            "/api/segments",
            json!({ "name": "Vip", "rule": { "field": "tag", "op": "in", "value": ["vip"] } }),
        ),
        ("/api/apps", json!({ "name": "shop", "base_url": server.base })),
        ("/api/probes", json!({ "name": "up", "app": "shop", "kind": "http", "path": "/healthz" })),
        (
            "/api/conversations",
            json!({ "customer_id": customer, "subject": "Order", "text": "hello" }),
        ),
        ("/api/auto-repair/start", json!({ "group_ids": [1] })),
    ] {
        let answer = server.post(path, &body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    }
    upload(server, "fair.csv", "email\neve@example.com\n").await;
}

on_both!(no_page_loads_endlessly);
async fn no_page_loads_endlessly(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let model = Model::scripted().await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let toml = format!(
        "[[sources]]\nname = \"app\"\npath = \"{}\"\n\
         [model.chat]\nfirst_token = \"2s\"\ntimeout = \"4s\"\n{}",
        log.path().display(),
        simulator.toml()
    );
    let server = Setup::new(&database).model(&model).toml(&toml).start().await;
    let mut owner = admin(&server).await;
    connect(&mut owner, &server, &simulator, "github").await;
    // From here on neither answers.
    model.always(Reply::hang());
    let hangs = json!({ "do": "slow", "ms": 600_000, "times": 1000, "where": "any" });
    simulator.control("github", json!({ "next": hangs })).await;
    let customer = person(&server, "customer").await;
    furnish(&server).await;
    let question = json!({ "message": "what happened?" });
    let question = server.request_as(Role::Operator, Method::POST, "/chatbot/send").json(&question);
    let question = tokio::spawn(question.send());
    until("the model is asked", async || (!model.asked().is_empty()).then_some(())).await;

    let cookie = person(&server, "admin").await;
    let mut missing = Vec::new();
    let walk =
        live(
            &server.base,
            server.folder(),
            &cookie,
            "endless",
            "no",
            async |ask, data| match ask {
                "pages" => json!(pages()),
                "seen" => {
                    // A chat belongs to who began it: this one is another's.
                    if data["status"] != 200 && data["path"] != "/chat/1" {
                        missing.push(data.to_string());
                    }
                    data
                }
                other => panic!("{other}"),
            },
        );
    let (walked, answer) = tokio::join!(walk, deed(&mut owner, &server, "github", "test"));
    walked.unwrap_or_else(|failed| panic!("{}\n{failed}", server.log()));
    assert_eq!(missing, [""; 0]);
    // Who asked the provider hears that it does not answer.
    assert!(!answer.text.is_empty() && !answer.text.contains("\"success\":true"), "{answer:?}");
    let answer = question.await.unwrap().unwrap().text().await.unwrap();
    assert!(answer.contains("did not"), "the answer says what the model did not do: {answer}");

    let told =
        live(&server.base, server.folder(), &customer, "unanswered", "no", async |ask, _| {
            assert_eq!(ask, "asked");
            Value::from(model.asked().len())
        });
    told.await.unwrap_or_else(|failed| panic!("{}\n{failed}", server.log()));
}
