//! People one by one and by the thousands: files in and out, duplicates, consent, erasure.

mod consent;
mod import;
mod person;
mod table;

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::{Answer, Role, Server, until};

/// Brings a file; gives the import.
pub(crate) async fn upload(server: &Server, name: &str, bytes: impl Into<Vec<u8>>) -> Value {
    let path = format!("/api/contacts/imports?name={name}");
    let request = server.request_as(Role::Operator, Method::POST, &path);
    let answer = Answer::of(request.header(CONTENT_TYPE, "text/csv").body(bytes.into())).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

fn path(import: &Value) -> String {
    format!("/api/contacts/imports/{}", import["id"])
}

/// Begins it and waits for its end.
pub(crate) async fn begun(server: &Server, import: &Value, dry_run: bool) -> Value {
    let path = path(import);
    let answer = server.post(&format!("{path}/start?dry_run={dry_run}"), &json!({})).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    ended(server, import).await
}

async fn ended(server: &Server, import: &Value) -> Value {
    let path = path(import);
    until("the import ends", async || {
        let import = server.get(&path).await;
        let busy = ["running", "checking"].iter().any(|status| import["status"] == *status);
        (!busy).then_some(import)
    })
    .await
}

/// Adds a contact; gives its id.
async fn add(server: &Server, contact: Value) -> i64 {
    let answer = server.post("/api/contacts", &contact).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.json()["contact"]["id"].as_i64().unwrap()
}

/// All contacts that the list has.
async fn contacts(server: &Server, query: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/api/contacts?limit=200&{query}{cursor}")).await;
        all.extend(page["contacts"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}

/// Every text of every table.
async fn everything(server: &Server) -> String {
    let mut all = String::new();
    for (table, columns) in [
        ("contact", "coalesce(email, '') || first_name || last_name || attributes || tags"),
        ("contact_activity", "detail || by"),
        ("contact_consent", "source || wording || coalesce(address, '')"),
        ("contact_import_rejected", "cells || reason"),
        ("contact_word", "word"),
        ("contact_tag", "tag"),
        ("contact_confirmation", "email_key || wording"),
        ("webhook_receipt", "body || answer"),
        ("campaign_mail", "told"),
        ("audit", "subject || cast(detail as text)"),
    ] {
        let sql = format!("select {columns} from {table}");
        all.push_str(&server.database().column(&server.data(), &sql).await.join("\n"));
    }
    all
}
