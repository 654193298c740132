//! `@sentry/node` with Express.

use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::Value;

use super::{SECRETS, Shop, Site, check_request, frame, node_modules, only_group};
use crate::support::{Database, free_port, on_both, repository, run, until};

fn command(shop: &Shop, program: &str) -> Option<Command> {
    let mut command = Command::new("node");
    command
        .arg(repository("tests/sdk/node").join(program))
        .env("NODE_PATH", node_modules()?)
        .env("SENTRY_DSN", &shop.dsn)
        .envs(SECRETS)
        .current_dir(shop.server.folder())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Some(command)
}

on_both!(express);
async fn express(database: Database) {
    let shop = Shop::new(&database).await;
    let Some(mut command) = command(&shop, "shop.cjs") else { return };
    let port = free_port();
    let site = Site::start(command.env("PORT", port.to_string()), port).await;
    // The SDK reads variables beside the program, and gives up where the machine is busy.
    let mut bought = 0;
    let whole = until("the SDK has sent variables", async || {
        site.buy_a_pear().await;
        bought += 1;
        let whole = shop.whole(&shop.awaited(bought).await[0]).await;
        (!frame(&whole, "price")["vars"].is_null()).then_some(whole)
    })
    .await;
    let event = &whole["error"];
    assert_eq!(event["type"], "TypeError");
    assert_eq!(event["message"], "Cannot read properties of undefined (reading 'cents')");
    check_request(&whole);
    let price = frame(&whole, "price");
    assert!(price["filename"].as_str().unwrap().ends_with("tests/sdk/node/shop.cjs"), "{price:#}");
    assert_eq!(price["in_app"], true);
    let vars = &price["vars"];
    assert_eq!(vars["item"], "pear", "{vars:#}");
    assert!(vars["password"].is_string() && vars["card"].is_string(), "{vars:#}");
    assert!(price["context_line"].as_str().unwrap().contains("PRICES.get(item).cents"));
    let stack = event["error_stack"].as_str().unwrap();
    assert!(
        stack.starts_with("TypeError: Cannot read") && stack.contains("    at price ("),
        "{stack}"
    );

    site.buy_a_pear().await;
    assert_eq!(site.visit(Method::GET, "/").await.unwrap(), 200);
    bought += 1;
    shop.awaited(bought).await;
    let group = only_group(&shop).await;
    assert_eq!(group["count"], bought);
    let culprit = group["culprit"].as_str().unwrap();
    assert!(culprit.contains("price") && culprit.contains("shop"), "{group:#}");
    site.stop().await;
    let times = i64::try_from(bought).unwrap();
    shop.use_of("span", "accepted", times + 1).await;
    shop.use_of("session", "accepted", 1).await;
    shop.use_of("error", "accepted", times).await;
    shop.awaited(bought).await;
}

on_both!(a_program_that_ends_by_its_error);
async fn a_program_that_ends_by_its_error(database: Database) {
    let shop = Shop::new(&database).await;
    let Some(mut command) = command(&shop, "job.cjs") else { return };
    let said = run(command.stderr(Stdio::piped()));
    assert_eq!(said.code, Some(1), "{said:?}");
    let whole = shop.whole(&shop.awaited(1).await[0]).await;
    assert_eq!(whole["error"]["type"], "RangeError");
    assert_eq!(whole["error"]["message"], "the nightly bill of ann failed");
    let raised = &whole["detail"]["exceptions"][0];
    assert_eq!(raised["mechanism"]["handled"], Value::Bool(false), "{whole:#}");
}
