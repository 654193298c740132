//! `sentry-sdk` in Flask on gunicorn, Django on gunicorn, FastAPI on uvicorn.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use reqwest::Method;
use serde_json::Value;

use super::{SECRETS, Shop, Site, check_request, check_told, frame, only_group};
use crate::support::{
    Database, Server, free_port, on_both, repository, run, skip, until, variable,
};

/// The folder of programs where `tests/run.sh` installed the SDK, if it did.
fn programs() -> Option<PathBuf> {
    let folder = variable("LUX_TEST_VENV").map(|venv| PathBuf::from(venv).join("bin"));
    let folder = folder.filter(|folder| folder.join("uvicorn").exists());
    if folder.is_none() {
        skip("sentry-sdk with Flask, Django and FastAPI (LUX_TEST_VENV)");
    }
    folder
}

fn command(programs: &Path, shop: &Shop, program: &str) -> Command {
    let mut command = Command::new(programs.join(program));
    command
        .env("SENTRY_DSN", &shop.dsn)
        .envs(SECRETS)
        .env("PYTHONPATH", repository("tests/sdk/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // What stands in the working directory is the application's own for the SDK.
        .current_dir(repository("tests/sdk/python"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

async fn gunicorn(shop: &Shop, module: &str) -> Option<Site> {
    let (programs, port) = (programs()?, free_port());
    let mut command = command(&programs, shop, "gunicorn");
    command.args(["--workers", "1", "--bind", &format!("127.0.0.1:{port}"), module]);
    Some(Site::start(&mut command, port).await)
}

async fn uvicorn(shop: &Shop, module: &str) -> Option<Site> {
    let (programs, port) = (programs()?, free_port());
    let mut command = command(&programs, shop, "uvicorn");
    command.args(["--port", &port.to_string(), module]);
    Some(Site::start(&mut command, port).await)
}

/// What `till.py` fails by.
fn check_error(whole: &Value) {
    let event = &whole["error"];
    assert_eq!((&event["type"], &event["message"]), (&"KeyError".into(), &"'pear'".into()));
    let price = frame(whole, "price");
    assert_eq!(price["filename"], "till.py", "{whole:#}");
    assert_eq!(price["in_app"], true, "{whole:#}");
    assert_eq!(price["context_line"].as_str().unwrap().trim(), "return PRICES[item]");
    // Other variables are there to be seen.
    let vars = &price["vars"];
    assert!(vars["item"].as_str().unwrap().contains("pear"), "{vars:#}");
    assert!(vars["password"].is_string() && vars["card"].is_string(), "{vars:#}");
    let stack = event["error_stack"].as_str().unwrap();
    assert!(stack.starts_with("Traceback (most recent call last):"), "{stack}");
    assert!(stack.contains("till.py\", line ") && stack.trim_end().ends_with("KeyError: 'pear'"));
}

/// The same error twice, a page that is well, and the end of the application.
async fn fails_twice(shop: &Shop, site: Site, route: &str) {
    site.buy_a_pear().await;
    let whole = shop.whole(&shop.awaited(1).await[0]).await;
    check_error(&whole);
    check_request(&whole);
    assert_eq!(whole["report"]["request_id"], "shop-req-1", "{whole:#}");
    assert_eq!(whole["detail"]["transaction"], route, "{whole:#}");
    site.buy_a_pear().await;
    assert_eq!(site.visit(Method::GET, "/").await.unwrap(), 200);
    shop.awaited(2).await;
    let group = only_group(shop).await;
    assert_eq!(group["count"], 2);
    assert!(group["title"].as_str().unwrap().contains("KeyError"), "{group:#}");
    let culprit = group["culprit"].as_str().unwrap();
    assert!(culprit.contains("price") && culprit.contains("till"), "{group:#}");
    site.stop().await;
    // What went well came, too, and is no error.
    shop.use_of("transaction", "accepted", 3).await;
    shop.use_of("error", "accepted", 2).await;
    shop.awaited(2).await;
}

on_both!(flask);
async fn flask(database: Database) {
    let shop = Shop::new(&database).await;
    let Some(site) = gunicorn(&shop, "flask_shop:app").await else { return };
    fails_twice(&shop, site, "checkout").await;
    shop.use_of("session", "accepted", 1).await;
}

on_both!(django);
async fn django(database: Database) {
    let shop = Shop::new(&database).await;
    let Some(site) = gunicorn(&shop, "django_shop:application").await else { return };
    fails_twice(&shop, site, "/buy/{item}").await;
}

on_both!(fastapi);
async fn fastapi(database: Database) {
    let shop = Shop::new(&database).await;
    let Some(site) = uvicorn(&shop, "fastapi_shop:app").await else { return };
    fails_twice(&shop, site, "/buy/{item}").await;
}

on_both!(a_program_that_ends_by_its_error);
async fn a_program_that_ends_by_its_error(database: Database) {
    let shop = Shop::new(&database).await;
    let Some(programs) = programs() else { return };
    let mut job = command(&programs, &shop, "python");
    let said = run(job.arg(repository("tests/sdk/python/job.py")).stderr(Stdio::piped()));
    assert_eq!(said.code, Some(1), "{said:?}");
    let whole = shop.whole(&shop.awaited(1).await[0]).await;
    check_told(&whole);
    let event = &whole["error"];
    assert_eq!(event["type"], "RuntimeError");
    assert_eq!(event["message"], "the nightly bill failed");
    let kinds: Vec<&Value> =
        whole["detail"]["exceptions"].as_array().unwrap().iter().map(|it| &it["type"]).collect();
    assert_eq!(kinds, ["KeyError", "RuntimeError"]);
    let stack = event["error_stack"].as_str().unwrap();
    assert!(stack.contains("the direct cause of the following exception"), "{stack}");
}

on_both!(over_its_quota_the_sdk_keeps_quiet);
async fn over_its_quota_the_sdk_keeps_quiet(database: Database) {
    let shop = Shop::with(Server::plain(&database).await, &["--quota", "1"]);
    let Some(site) = gunicorn(&shop, "flask_shop:app").await else { return };
    site.buy_a_pear().await;
    shop.awaited(1).await;
    site.buy_a_pear().await;
    shop.use_of("error", "over_quota", 1).await;
    // It was told to wait: the application goes on, and nothing more is sent.
    for _ in 0..5 {
        site.buy_a_pear().await;
        assert_eq!(site.visit(Method::GET, "/").await.unwrap(), 200);
    }
    site.stop().await;
    until("the SDK tells what it kept back", async || {
        (shop.used("client_report", "accepted").await > 0).then_some(())
    })
    .await;
    assert_eq!(shop.used("error", "over_quota").await, 1);
    shop.awaited(1).await;
    assert_eq!(only_group(&shop).await["count"], 1);
}
