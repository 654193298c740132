//! `@sentry/browser` in headless Chromium: a page of one origin reports to Lux on another.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::{Shop, check_told, frame, only_group};
use crate::support::{Database, Server, chromium, on_both, repository, run};

/// What the pages are made with.
struct Browser {
    chromium: PathBuf,
    modules: PathBuf,
}

impl Browser {
    fn find() -> Option<Self> {
        let (chromium, modules) = chromium("LUX_TEST_NODE")?;
        Some(Self { chromium, modules })
    }

    /// The page's program in one file, as a bundler makes it.
    fn bundle(&self, folder: &Path) -> String {
        let file = folder.join("bundle.js");
        let said = run(Command::new(self.modules.join(".bin/esbuild"))
            .arg(repository("tests/sdk/browser/page.js"))
            .args(["--bundle", "--log-level=warning"])
            .arg(format!("--outfile={}", file.display()))
            .env("NODE_PATH", &self.modules));
        assert_eq!(said.code, Some(0), "{said:?}");
        std::fs::read_to_string(file).unwrap()
    }

    /// Opens a page and clicks; the errors that the page threw.
    async fn visit(&self, folder: &Path, url: &str, clicks: u32) -> Vec<String> {
        let mut command = Command::new("node");
        command
            .arg(repository("tests/sdk/browser/visit.cjs"))
            .arg(&self.chromium)
            .arg(folder.join("profile"))
            .args([url, &clicks.to_string()])
            .env("NODE_PATH", &self.modules)
            .env("HOME", folder);
        // The page's own server runs in this process.
        let said = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
        assert_eq!(said.code, Some(0), "{said:?}");
        let failed = said.json()["failed"].as_array().unwrap().clone();
        failed.iter().map(|error| error.as_str().unwrap().to_owned()).collect()
    }
}

#[derive(Clone)]
struct Pages {
    bundle: Arc<str>,
    /// What `Sentry.init` is given.
    options: Arc<Mutex<Value>>,
}

impl Pages {
    /// Serves the shop's page; its origin.
    async fn start(bundle: &str) -> (Self, String) {
        let pages = Self { bundle: bundle.into(), options: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let script = |text: String| ([(CONTENT_TYPE, "text/javascript")], text).into_response();
        let options = move |State(pages): State<Self>| async move {
            let options = pages.options.lock().unwrap().to_string();
            let answer: Response = script(format!("window.shop = {options};"));
            answer
        };
        let bundle =
            move |State(pages): State<Self>| async move { script(pages.bundle.to_string()) };
        let index = include_str!("../../sdk/browser/index.html");
        let router = Router::new()
            .route("/cart", get(async move || Html(index)))
            .route("/options.js", get(options))
            .route("/bundle.js", get(bundle))
            .with_state(pages.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (pages, origin)
    }
}

on_both!(a_click_that_fails);
async fn a_click_that_fails(database: Database) {
    let Some(browser) = Browser::find() else { return };
    let server = Server::plain(&database).await;
    let folder = server.folder().to_owned();
    let bundle = browser.bundle(&folder);
    let (pages, origin) = Pages::start(&bundle).await;
    let shop = Shop::with(server, &["--origin", &origin]);
    *pages.options.lock().unwrap() = json!({ "dsn": shop.dsn });
    let url = format!("{origin}/cart?coupon=1");
    let failed = browser.visit(&folder, &url, 1).await;
    assert!(failed.len() == 1 && failed[0].contains("reading 'cents'"), "{failed:?}");
    let whole = shop.whole(&shop.awaited(1).await[0]).await;
    let event = &whole["error"];
    assert_eq!((&event["type"], &event["endpoint"]), (&"TypeError".into(), &"/cart".into()));
    assert_eq!(event["message"], "Cannot read properties of undefined (reading 'cents')");
    check_told(&whole);
    let price = frame(&whole, "price");
    assert!(price["filename"].as_str().unwrap().ends_with("/bundle.js"), "{price:#}");
    let headers = &whole["detail"]["request"]["headers"];
    assert!(headers["User-Agent"].as_str().unwrap().contains("Chrome"), "{headers:#}");
    // Browsers leave a trace of what was clicked.
    let steps = whole["detail"]["breadcrumbs"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["category"] == "ui.click"), "{steps:#?}");

    // With a header of its own, the browser asks first.
    let key = shop.dsn.strip_prefix("http://").unwrap().split('@').next().unwrap();
    let header = format!("Sentry sentry_version=7, sentry_key={key}");
    let options = json!({
        "dsn": shop.dsn, "transportOptions": { "headers": { "X-Sentry-Auth": header } },
    });
    *pages.options.lock().unwrap() = options;
    browser.visit(&folder, &url, 1).await;
    shop.awaited(2).await;
    let group = only_group(&shop).await;
    assert_eq!(group["count"], 2);

    // A page of another origin: nothing is stored, whether its browser asks first or not.
    let (strangers, other) = Pages::start(&bundle).await;
    let asking = pages.options.lock().unwrap().clone();
    for options in [json!({ "dsn": shop.dsn }), asking] {
        *strangers.options.lock().unwrap() = options;
        let failed = browser.visit(&folder, &format!("{other}/cart"), 1).await;
        assert_eq!(failed.len(), 1, "{failed:?}");
    }
    shop.awaited(2).await;
    assert_eq!(shop.use_of("error", "accepted", 2).await, 2);
}
