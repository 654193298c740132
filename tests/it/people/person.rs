//! One person: two contacts that are one, everything about them, and nothing any more.

use reqwest::Method;
use serde_json::json;

use super::{add, begun, contacts, everything, upload};
use crate::contract::patient;
use crate::support::{Answer, Database, Role, on_both};

on_both!(two_become_one);
async fn two_become_one(database: Database) {
    let server = patient(&database).await;
    let into = add(
        &server,
        json!({ "email": "ada.l@gmail.com", "first_name": "Ada", "source": "fair", "tags": ["a"] }),
    )
    .await;
    let from = add(
        &server,
        json!({
            "email": "adal+shop@gmail.com", "last_name": "King", "source": "Newsletter",
            "tags": ["b"], "phone": "+44 20 7946 0018", "attributes": { "city": "London" },
        }),
    )
    .await;
    let third = add(&server, json!({ "phone": "+442079460018" })).await;
    let duplicates = server.get("/api/contacts/duplicates").await["duplicates"].clone();
    assert_eq!(duplicates[0]["same"], "adal@gmail.com");
    assert_eq!(duplicates[0]["contacts"].as_array().unwrap().len(), 2);
    let by_phone = server.get("/api/contacts/duplicates?by=phone").await["duplicates"].clone();
    assert_eq!(by_phone[0]["contacts"][0]["id"], from);
    assert_eq!(server.get("/api/contacts/duplicates?by=name").await["duplicates"], json!([]));

    let segment = server.post("/api/segments", &json!({ "name": "VIP" })).await.json();
    let members = format!("/api/segments/{}/members", segment["id"]);
    assert_eq!(server.post(&members, &json!({ "contact_ids": [from] })).await.json()["changed"], 1);
    let no = json!({ "status": "withdrawn", "source": "telephone" });
    server.post(&format!("/api/contacts/{from}/consent"), &no).await;
    let path = format!("/api/contacts/{into}/merge");
    server.post(&path, &json!({ "from": into })).await.problem(400);
    server.post(&path, &json!({ "from": from, "fields": { "id": "from" } })).await.problem(400);
    let merged = server.post(&path, &json!({ "from": from })).await;
    assert_eq!(merged.status, 200, "{merged:?}");
    let merged = merged.json();
    assert_eq!((&merged["id"], &merged["email"]), (&json!(into), &json!("ada.l@gmail.com")));
    assert_eq!((&merged["first_name"], &merged["last_name"]), (&json!("Ada"), &json!("King")));
    assert_eq!(merged["tags"], json!(["a", "b"]));
    assert_eq!(merged["sources"], json!(["fair", "Newsletter"]));
    assert_eq!(merged["phone"], "+442079460018");
    assert_eq!(merged["consent"], "withdrawn");
    // The id leads on, also over a second merge.
    let found = server.get(&format!("/api/contacts/{from}")).await;
    assert_eq!(found["id"], into);
    assert_eq!(found["segments"], json!(["newsletter", "vip"]));
    let history = server.get(&format!("/api/contacts/{into}/activities")).await;
    let kinds: Vec<_> =
        history["activities"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
    assert!(
        kinds.contains(&&json!("merged"))
            && kinds.iter().filter(|it| **it == "created").count() == 2,
        "{kinds:?}"
    );
    let again =
        server.post(&format!("/api/contacts/{third}/merge"), &json!({ "from": into })).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(server.get(&format!("/api/contacts/{from}")).await["id"], third);
    assert_eq!(contacts(&server, "").await.len(), 1);
    let all = contacts(&server, "tag=b").await;
    assert_eq!(all[0]["email"], "ada.l@gmail.com");
    assert_eq!(contacts(&server, "q=king").await.len(), 1);
    let deeds = server.deeds().await;
    assert_eq!(deeds.iter().filter(|it| it["action"] == "contact.merge").count(), 2);
}

on_both!(somebody_is_told_all_and_forgotten);
async fn somebody_is_told_all_and_forgotten(database: Database) {
    let server = patient(&database).await;
    let file = "email,name,consent\nada@example.com,Ada Canary,perhaps\nx,Eve,\n";
    let import = upload(&server, "x.csv", file).await;
    begun(&server, &import, false).await;
    let id = add(
        &server,
        json!({ "email": "Ada@example.com", "first_name": "Ada", "last_name": "Canary",
            "attributes": { "note": "canary" }, "tags": ["canary"], "source": "fair" }),
    )
    .await;
    let note = json!({ "note": "likes canaries" });
    server.post(&format!("/api/contacts/{id}/activities"), &note).await;
    let yes = json!({ "status": "confirmed", "source": "canary form", "wording": "canary mail" });
    server.post(&format!("/api/contacts/{id}/consent"), &yes).await;
    let export = format!("/api/contacts/{id}/export");
    let operator = server.request_as(Role::Operator, Method::POST, &export);
    Answer::of(operator).await.problem(403);
    let told = Answer::of(server.request_as(Role::Admin, Method::POST, &export)).await;
    assert_eq!(
        told.headers["content-disposition"],
        format!("attachment; filename=\"contact-{id}.json\"")
    );
    let told = told.json();
    assert_eq!(told["contact"]["email"], "Ada@example.com");
    assert_eq!(told["consents"][0]["wording"], "canary mail");
    assert!(told["activities"].to_string().contains("likes canaries"), "{told}");
    assert_eq!(told["rejected_rows_of_files"][0]["line"], 2);
    assert_eq!(told["segments"][0]["slug"], "lead");

    let erase = format!("/api/contacts/{id}/erase");
    server.post(&erase, &json!({ "confirm": id + 1 })).await.problem(400);
    assert!(everything(&server).await.to_lowercase().contains("canary"));
    assert_eq!(server.post(&erase, &json!({ "confirm": id })).await.status, 204);
    let left = everything(&server).await.to_lowercase();
    for trace in ["canar", "ada@example.com"] {
        assert!(!left.contains(trace), "{trace} is left: {left}");
    }
    Answer::of(server.request_as(Role::Admin, Method::GET, &format!("/api/contacts/{id}")))
        .await
        .problem(404);
    server.post(&erase, &json!({ "confirm": id })).await.problem(404);
    let deeds = server.deeds().await;
    let deeds: Vec<_> = deeds
        .iter()
        .filter(|it| it["subject"] == format!("contact {id}"))
        .map(|it| it["action"].clone())
        .collect();
    assert!(
        deeds.contains(&json!("contact.erase")) && deeds.contains(&json!("contact.export_person")),
        "{deeds:?}"
    );
    let list = server.get("/api/suppressions").await;
    assert_eq!(list["suppressions"][0]["reason"], "erased");
    let rejected = format!("/api/contacts/imports/{}/rejected", import["id"]);
    let rejected = Answer::of(server.request_as(Role::Read, Method::GET, &rejected)).await;
    assert_eq!(rejected.text.lines().count(), 2, "{rejected:?}");
}

// SQLite gives the id of a removed newest row again, if one lets it.
on_both!(no_contact_gets_the_id_of_another);
async fn no_contact_gets_the_id_of_another(database: Database) {
    let server = patient(&database).await;
    let kept = add(&server, json!({ "email": "kept@example.com" })).await;
    let mut last = kept;
    for round in 0..6 {
        let id = add(&server, json!({ "email": format!("a{round}@example.com") })).await;
        assert!(id > last, "{id} was given to another one before");
        last = id;
        let gone = match round % 3 {
            0 => server.post(&format!("/api/contacts/{id}/erase"), &json!({ "confirm": id })).await,
            1 => server.post(&format!("/api/contacts/{kept}/merge"), &json!({ "from": id })).await,
            _ => {
                let path = format!("/api/contacts/{id}");
                Answer::of(server.request_as(Role::Operator, Method::DELETE, &path)).await
            }
        };
        assert!(gone.status.is_success(), "{gone:?}");
    }
    // Many at once come after them, too.
    let import = upload(&server, "x.csv", "email\nb@example.com\nc@example.com\n").await;
    begun(&server, &import, false).await;
    let ids = contacts(&server, "").await;
    let newest: Vec<i64> = ids.iter().map(|it| it["id"].as_i64().unwrap()).collect();
    assert_eq!(newest.iter().filter(|id| **id > last).count(), 2, "{newest:?}");
}
