//! `lux demo` with a tracker: what a repair leaves open becomes a ticket there.

use std::process::Stdio;

use reqwest::{Client, Method, RequestBuilder, redirect::Policy};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdout, Command},
};

use super::simulator::Simulator;
use crate::support::{Answer, PATIENCE, form, until, variable};

/// A person at the demonstration's door.
struct Visitor {
    client: Client,
    base: String,
    cookie: String,
}

impl Visitor {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        request.header("sec-fetch-site", "same-origin").header("cookie", &self.cookie)
    }

    async fn get(&self, path: &str) -> Value {
        let answer = Answer::of(self.request(Method::GET, path)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(body)).await
    }
}

/// Reads on to a line that holds a text.
async fn line(out: &mut Lines<BufReader<ChildStdout>>, text: &str) -> String {
    let found = async {
        while let Ok(Some(line)) = out.next_line().await {
            if line.contains(text) {
                return line;
            }
        }
        panic!("it ended without {text:?}")
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {text:?} came"))
}

#[tokio::test]
async fn what_the_demonstration_leaves_open_becomes_a_ticket() {
    let Some(simulator) = Simulator::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lux"));
    command
        .args(["demo", "--hands-on", "--pace", "100000"])
        .env_clear()
        .env("PATH", variable("PATH").unwrap())
        .env("TMPDIR", folder.path())
        .current_dir(folder.path());
    // As a person would set it up who has no file.
    let table: toml::Table = simulator.toml().parse().unwrap();
    for (name, value) in table["integrations"]["github"].as_table().unwrap() {
        let name = format!("LUX_GITHUB_{}", name.to_uppercase());
        command.env(name, value.as_str().unwrap());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut demo = command.spawn().unwrap();
    let mut out = BufReader::new(demo.stdout.take().unwrap()).lines();
    let base = line(&mut out, "listening on ").await;
    let base = base.split("listening on ").nth(1).unwrap().trim().to_owned();
    let door = line(&mut out, "/auth/link/").await;
    line(&mut out, "connect a tracker").await;
    // It goes on to tell of its customers.
    tokio::spawn(async move { while let Ok(Some(_)) = out.next_line().await {} });

    let client = Client::builder().no_proxy().timeout(PATIENCE).redirect(Policy::none());
    let mut visitor = Visitor { client: client.build().unwrap(), base, cookie: String::new() };
    let path = door[door.find("/auth/link/").unwrap()..].trim();
    let request = form(visitor.request(Method::POST, path), &[("name", "Ada"), ("next", "/")]);
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let cookies = answer.headers.get_all("set-cookie").iter();
    let cookies: Vec<&str> =
        cookies.map(|it| it.to_str().unwrap().split(';').next().unwrap()).collect();
    visitor.cookie = cookies.join("; ");

    let begun = visitor.post("/api/integrations/github/connect", &json!({})).await.json();
    let back = simulator.allow(begun["url"].as_str().unwrap()).await;
    let back = back.as_str().strip_prefix(&visitor.base).unwrap();
    let answer = Answer::of(visitor.request(Method::GET, back)).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let cards = visitor.get("/api/integrations").await;
    let card =
        cards["integrations"].as_array().unwrap().iter().find(|it| it["provider"] == "github");
    let wish = json!({
        "integration_id": card.unwrap()["id"], "target": { "project": "acme/shop" }, "automatic": true,
    });
    let request = visitor.request(Method::PUT, "/api/integrations/duties/tickets").json(&wish);
    assert_eq!(Answer::of(request).await.status, 204);

    // Nobody lets the repair start the database.
    let started = visitor.post("/api/auto-repair/start", &json!({ "app": "shop" })).await;
    assert!(started.status.is_success(), "{started:?}");
    let action = until("an action is proposed", async || {
        let proposed = visitor.get("/api/auto-repair/actions?status=proposed").await;
        proposed["actions"].as_array().unwrap().first().cloned()
    })
    .await;
    let path = format!("/api/auto-repair/actions/{}/reject", action["id"]);
    let no = json!({ "hash": action["hash"], "reason": "not today" });
    let answer = visitor.post(&path, &no).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let issue = until("there is a ticket", async || {
        simulator.created("github", "issues").await.first().cloned()
    })
    .await;
    assert!(issue["title"].as_str().unwrap().starts_with("[Lux] "), "{issue:#}");
    assert!(issue["body"].as_str().unwrap().contains("/checkout"), "{issue:#}");
    simulator.assert_content().await;
}
