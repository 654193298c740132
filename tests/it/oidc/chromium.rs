//! The sign-in as a person does it, in headless Chromium.

use std::process::Command;

use serde_json::json;

use super::{
    http::{first_admin, setup},
    provider::{Browser, Provider},
};
use crate::support::{Database, chromium, on_both, repository, run};

on_both!(a_person_signs_in_and_out);
async fn a_person_signs_in_and_out(database: Database) {
    let Some((chromium, modules)) = chromium("LUX_TEST_NODE") else { return };
    let Some(provider) = Provider::start().await else { return };
    let server = setup(&database, &provider).start().await;
    first_admin(&mut Browser::default(), &server).await;
    let mut command = Command::new("node");
    command
        .arg(repository("tests/oidc/browse.cjs"))
        .arg(chromium)
        .arg(server.folder().join("profile"))
        .arg(&server.base)
        .env("NODE_PATH", modules)
        .env("HOME", server.folder());
    let said = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    assert_eq!(said.code, Some(0), "{said:?}\n{}", server.log());
    let told = said.json();
    assert_eq!(told["before"], 401, "{told:#}");
    assert_eq!(told["link"], "Sign in with Replit");
    assert_eq!(told["inside"], 200, "{told:#}");
    let cookie = json!([{ "name": "lux-dev", "httpOnly": true, "sameSite": "Lax" }]);
    assert_eq!(told["cookies"], cookie);
    assert_eq!(told["readable"], "");
    assert_eq!((&told["afterForm"], &told["afterLink"]), (&json!(200), &json!(200)), "{told:#}");
    assert_eq!(told["errors"], json!([]), "{told:#}");
    assert_eq!(told["after"], 401, "{told:#}");
    assert_eq!(told["left"], json!([]));
    assert_eq!(provider.asked("end_session").await, 1);
}
