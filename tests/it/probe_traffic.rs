//! What probes are to the application they ask: a bounded load, and nobody's traffic.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
};
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, Setup, on_both, until};

/// An application that always fails, writes an access log like nginx's, and notes when each
/// request came.
#[derive(Clone)]
struct Shop {
    log: PathBuf,
    came: Arc<Mutex<Vec<Instant>>>,
}

impl Shop {
    async fn start(log: PathBuf) -> (Self, String) {
        let shop = Self { log, came: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(fail).with_state(shop.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (shop, url)
    }

    fn came(&self) -> Vec<Instant> {
        self.came.lock().unwrap().clone()
    }
}

async fn fail(
    State(shop): State<Shop>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, &'static str) {
    shop.came.lock().unwrap().push(Instant::now());
    let agent = headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok()).unwrap_or("-");
    let at = lux::clock::now().format("%d/%b/%Y:%H:%M:%S +0000");
    let line =
        format!("198.51.100.7 - - [{at}] \"{method} {uri} HTTP/1.1\" 500 4 \"-\" \"{agent}\"\n");
    let mut log = OpenOptions::new().create(true).append(true).open(&shop.log).unwrap();
    log.write_all(line.as_bytes()).unwrap();
    (StatusCode::INTERNAL_SERVER_ERROR, "boom")
}

async fn watched(database: &Database, per_second: u32) -> (Server, Shop, String) {
    let setup = Setup::new(database);
    let log = setup.folder().join("access.log");
    let (shop, url) = Shop::start(log.clone()).await;
    let toml = format!(
        "[repair]\nprobes_per_second = {per_second}\n\
         [[sources]]\nname = \"access\"\napp = \"shop\"\npath = \"{}\"\n\
         [[apps]]\nname = \"shop\"\nbase_url = \"{url}\"\n\
         [[probes]]\nname = \"cart\"\napp = \"shop\"\nkind = \"http\"\npath = \"/cart\"\n\
         [[probes]]\nname = \"pay\"\napp = \"shop\"\nkind = \"http\"\npath = \"/pay\"\n",
        log.display()
    );
    let server = setup.toml(&toml).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    (server, shop, url)
}

async fn probe(server: &Server, name: &str) -> Value {
    let answer = server.post(&format!("/api/probes/{name}/run"), &json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The bound is on what the application gets, whoever asks for which probe.
#[tokio::test]
async fn an_origin_is_asked_so_often_and_no_more() {
    const CHECKS: u32 = 6;
    let (server, shop, _) = watched(&Database::sqlite(), 1).await;
    let all =
        (0..CHECKS).map(|number| probe(&server, if number % 2 == 0 { "cart" } else { "pay" }));
    let samples = futures_util::future::join_all(all).await;
    assert!(samples.iter().all(|sample| sample["status"] == 500), "{samples:#?}");
    let came = shop.came();
    assert_eq!(came.len(), CHECKS as usize);
    // One a second: six need five seconds. The first may have been held up on its way.
    let span = *came.last().unwrap() - came[0];
    assert!(span > Duration::from_millis(2500), "all came within {span:?}");
}

async fn ask(server: &Server, question: &str) -> String {
    let body = json!({ "message": question, "app": "shop" });
    let answer = server.post("/chatbot/send", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["response"].as_str().unwrap().to_owned()
}

async fn lines_are_read(server: &Server, lines: u64) {
    until("its lines are read", async || {
        let source = server.source("access").await?;
        (source["lines"].as_u64() == Some(lines)).then_some(())
    })
    .await;
}

on_both!(what_probes_cause_is_nobodys_trouble);
async fn what_probes_cause_is_nobodys_trouble(database: Database) {
    const MANY: u64 = 40;
    let (server, shop, url) = watched(&database, 1000).await;
    for _ in 0..MANY {
        probe(&server, "cart").await;
    }
    lines_are_read(&server, MANY).await;
    let worst = ask(&server, "which endpoint fails most?").await;
    assert!(!worst.contains("/cart"), "{worst}");
    let wrong = ask(&server, "what is wrong?").await;
    assert!(!wrong.contains("/cart") && wrong.contains("othing wrong"), "{wrong}");
    // The application reports what the probe's request did to it, with that request's headers.
    let event = |agent: &str| {
        json!({ "app": "shop", "error_type": "KeyError", "error_message": "'GBP'",
                "endpoint": "/cart", "method": "GET", "request_headers": { "User-Agent": agent } })
    };
    let report = server.request_as(Role::Ingest, reqwest::Method::POST, "/api/errors");
    let answer = Answer::of(report.json(&event("Lux-Probe/0.1.0"))).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["probe"]), (201, &json!([0])), "{answer:?}");
    assert_eq!(server.get("/api/diagnostics/groups").await["groups"], json!([]));
    let run = server.post("/api/auto-repair/start?wait=20", &json!({})).await.json();
    assert_eq!(run["results"]["total_errors"], 0, "{run:#}");

    // The same of a customer is trouble.
    let customer = reqwest::Client::builder().no_proxy().user_agent("Mozilla/5.0").build().unwrap();
    for _ in 0..MANY {
        let answer = customer.get(format!("{url}/cart")).send().await.unwrap();
        assert_eq!(answer.status(), 500);
    }
    assert_eq!(shop.came().len() as u64, 2 * MANY);
    lines_are_read(&server, 2 * MANY).await;
    let worst = ask(&server, "which endpoint fails most?").await;
    assert!(worst.contains("/cart") && worst.contains(&format!("{MANY}")), "{worst}");
    let answer = server.post("/api/errors", &event("Mozilla/5.0")).await;
    assert_eq!(answer.json()["ids"].as_array().unwrap().len(), 1, "{answer:?}");
}
