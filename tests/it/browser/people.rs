//! Contacts by clicking: webhook, file, list, one contact, duplicates, segments.

use reqwest::Method;
use serde_json::{Value, json};

use super::story;
use crate::support::{Answer, Database, Server, on_both};

on_both!(people_are_brought_and_looked_after);
async fn people_are_brought_and_looked_after(database: Database) {
    let server = Server::plain(&database).await;
    story(&server, "admin", "bringing_people", async |ask, data| match ask {
        "zapier" => {
            let request = server.request(Method::POST, "/api/webhook/zapier-contact");
            let text = |name: &str| data[name].as_str().unwrap().to_owned();
            let request = request.basic_auth(text("username"), Some(text("password")));
            json!(Answer::of(request.json(&data["body"])).await.status.as_u16())
        }
        "change" => {
            let contacts = server.get("/api/contacts?q=zapier").await;
            let path = format!("/api/contacts/{}", contacts["contacts"][0]["id"]);
            let answer = server.patch(&path, &json!({ "company": "Another" })).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            Value::Null
        }
        "double" => {
            for email in ["ada.l@gmail.com", "adal@gmail.com"] {
                let answer = server.post("/api/contacts", &json!({ "email": email })).await;
                assert_eq!(answer.status, 201, "{answer:?}");
            }
            Value::Null
        }
        other => panic!("{other}"),
    })
    .await;
    let deeds = server.deeds().await;
    let deeds: Vec<&Value> = deeds.iter().map(|it| &it["action"]).collect();
    for deed in ["contacts.import", "contacts.tag", "contact.merge", "contact.erase"] {
        assert!(deeds.contains(&&json!(deed)), "{deed}: {deeds:?}");
    }
}
