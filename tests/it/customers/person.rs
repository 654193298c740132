//! A customer's rights: everything about them, and nothing any more.

use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{Person, put, sql};
use crate::{
    contract::patient,
    support::{Answer, Browser, Database, Role, Server, on_both, until},
};

async fn post(server: &Server, path: &str, body: &Value) -> Answer {
    Answer::of(server.request_as(Role::Admin, Method::POST, path).json(body)).await
}

/// All rows of all tables, bytes apart, but the audit log, which keeps who did what.
async fn every_row(server: &Server) -> String {
    let (database, data) = (server.database(), server.data());
    let tables = match database {
        Database::Sqlite => {
            "select t.name || ' ' || group_concat('coalesce(' || c.name || ', '''')', ' || ''|'' || ')
             from sqlite_master t join pragma_table_info(t.name) c
             where t.type = 'table' and lower(c.type) <> 'blob' and t.name not like 'sqlite_%' and t.name not like 'error_term_%'
             group by t.name"
        }
        Database::Postgres(_) => {
            "select table_name || ' t::text' from information_schema.tables
             where table_schema = current_schema() and table_type = 'BASE TABLE'"
        }
    };
    let mut all = String::new();
    let tables = database.column(&data, tables).await;
    assert!(tables.len() > 60, "{tables:?}");
    for table in tables {
        let (table, row) = table.split_once(' ').unwrap();
        if table == "audit" {
            continue;
        }
        let rows = format!("select cast({row} as text) from \"{table}\" t");
        for row in database.column(&data, &rows).await {
            all.extend([table, ": ", &row, "\n"]);
        }
    }
    all.to_lowercase()
}

on_both!(a_customer_is_told_all_and_forgotten);
async fn a_customer_is_told_all_and_forgotten(database: Database) {
    let server = patient(&database).await;
    let bob = Person::new(&server, "customer").await;
    let ada = Person::new(&server, "customer").await;
    let id = ada.id;
    // Before they had an account of that address.
    let invitation = json!({ "role": "customer", "email": "canary@example.com" });
    let invited = post(&server, "/api/invitations", &invitation).await;
    assert_eq!(invited.status, StatusCode::CREATED, "{invited:?}");
    sql(
        &server,
        &format!(
            "update account set email = 'Canary@example.com', email_key = 'canary@example.com'
             where id = {id}"
        ),
    )
    .await;
    for statement in [
        "insert into identity (organization_id, account_id, issuer, subject, email, email_verified,
             created_at, signed_in_at)
         values (1, {id}, 'https://canary.example', 'canary', 'canary@example.com', true,
             '2026-11-20T10:00:00+00:00', '2026-11-20T10:00:00+00:00')",
        "insert into customer_signup (organization_id, email, email_key, name, created_at,
             expires_at)
         values (1, 'canary@example.com', 'canary@example.com', 'Canary',
             '2026-11-20T10:00:00+00:00', '2046-11-20T10:00:00+00:00')",
        "insert into chat_session (organization_id, owner, title, created_at, last_message_at)
         values (1, 'account:{id}', 'canary?', '2026-11-20T10:00:00+00:00',
             '2026-11-20T10:00:00+00:00')",
    ] {
        sql(&server, &statement.replace("{id}", &id.to_string())).await;
    }
    let customer = server.get(&format!("/api/customers/{id}")).await;
    let profile = json!({ "version": customer["version"], "name": "Canary Bird",
                          "company": "Canary Ltd", "phone": "+442079460018", "goals": "canaries" });
    assert_eq!(put(&server, id, &profile).await.status, 200);
    let note = json!({ "text": "likes canaries" });
    assert_eq!(post(&server, &format!("/api/customers/{id}/notes"), &note).await.status, 201);
    let file = ada
        .request(&server, Method::POST, "/api/customers/me/attachments?name=canary.txt")
        .header(CONTENT_TYPE, "text/plain")
        .body("a canary's song");
    assert_eq!(Answer::of(file).await.status, 201);
    let channel = json!({ "name": "team", "kind": "browser", "events": ["conversation.waiting"] });
    assert_eq!(post(&server, "/api/notifications/channels", &channel).await.status, 201);
    let question = json!({ "text": "my canary does not sing" });
    let begun = ada.send(&server, Method::POST, "/api/conversations", &question).await;
    assert_eq!(begun.status, 201, "{begun:?}");
    let conversation = begun.json()["conversation"]["id"].clone();
    let path = format!("/api/conversations/{conversation}/hand-over");
    assert_eq!(ada.send(&server, Method::POST, &path, &Value::Null).await.status, 200);
    until("the team is told", async || {
        let told = "select cast(count(*) as text) from notify_inbox where event_id is not null";
        let told = server.database().column(&server.data(), told).await;
        (told == ["1"]).then_some(())
    })
    .await;
    // What is another's stays.
    let others = json!({ "text": "the sparrow sings" });
    assert_eq!(bob.send(&server, Method::POST, "/api/conversations", &others).await.status, 201);

    let export = format!("/api/customers/{id}/export");
    Answer::of(server.request_as(Role::Operator, Method::POST, &export)).await.problem(403);
    ada.send(&server, Method::POST, &export, &Value::Null).await.problem(403);
    let told = Answer::of(server.request_as(Role::Admin, Method::POST, &export)).await;
    let name = format!("attachment; filename=\"customer-{id}.json\"");
    assert_eq!(told.headers["content-disposition"], name);
    let told = told.json();
    assert_eq!(told["customer"]["name"], "Canary Bird");
    assert_eq!(told["notes"][0]["text"], "likes canaries");
    assert_eq!(told["files"][0]["name"], "canary.txt");
    assert_eq!(told["messages"][0]["text"], "my canary does not sing");
    assert_eq!(told["known_to_providers_as"][0]["subject"], "canary");
    assert_eq!(told["sign_ups"][0]["name"], "Canary");
    assert_eq!(told["invitations"][0]["email"], "canary@example.com");
    assert!(!told.to_string().contains("sparrow"), "{told}");

    let erase = format!("/api/customers/{id}/erase");
    let confirmed = json!({ "confirm": id });
    post(&server, &erase, &json!({ "confirm": id + 1 })).await.problem(400);
    ada.send(&server, Method::POST, &erase, &confirmed).await.problem(403);
    assert!(every_row(&server).await.contains("canar"));
    assert_eq!(post(&server, &erase, &confirmed).await.status, 204);
    let left = every_row(&server).await;
    let traces: Vec<&str> =
        left.lines().filter(|row| row.contains("canar") || row.contains("442079460018")).collect();
    assert!(traces.is_empty(), "{traces:#?}");
    assert!(left.contains("the sparrow sings"), "{left}");
    let bytes = "select cast(count(*) as text) from customer_attachment_bytes";
    assert_eq!(server.database().column(&server.data(), bytes).await, ["0"]);
    // They are signed out, and there is nobody any more.
    ada.get(&server, "/api/customers/me").await.problem(401);
    post(&server, &erase, &confirmed).await.problem(404);
    assert_eq!(bob.get(&server, "/api/customers/me").await.status, 200);
    let deeds = server.deeds().await;
    let mut deeds = deeds.iter().filter(|it| it["subject"] == format!("account {id}"));
    assert!(deeds.any(|it| it["action"] == "customer.erase"));
}

on_both!(the_team_is_not_erased);
async fn the_team_is_not_erased(database: Database) {
    let server = patient(&database).await;
    for role in ["operator", "admin"] {
        let id = Person::new(&server, role).await.id;
        let refused =
            post(&server, &format!("/api/customers/{id}/erase"), &json!({ "confirm": id })).await;
        assert!(refused.problem(409).contains("make them a customer first"), "{refused:?}");
    }
    let id = Person::new(&server, "customer").await.id;
    sql(
        &server,
        &format!(
            "insert into integration (organization_id, account_id, kind, is_connected, connected_at)
             values (1, {id}, 'github', false, '2026-11-20T10:00:00+00:00')"
        ),
    )
    .await;
    let refused =
        post(&server, &format!("/api/customers/{id}/erase"), &json!({ "confirm": id })).await;
    assert!(refused.problem(409).contains("deactivate"), "{refused:?}");
    assert_eq!(server.get(&format!("/api/customers/{id}")).await["id"], id);
}

// SQLite gives the id of a removed newest row again, if one lets it.
on_both!(ids_are_given_once);
async fn ids_are_given_once(database: Database) {
    let server = patient(&database).await;
    let mut last = 0;
    for _ in 0..3 {
        Browser::signed_in(&server, &["invite", "--role", "customer"]).await;
        let newest = "select cast(max(id) as text) from account";
        let id: i64 = server.database().column(&server.data(), newest).await[0].parse().unwrap();
        assert!(id > last, "{id} was given to another one before");
        last = id;
        let erase = format!("/api/customers/{id}/erase");
        assert_eq!(post(&server, &erase, &json!({ "confirm": id })).await.status, 204);
    }
}
