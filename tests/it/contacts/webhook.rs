//! The webhook: what Zapier and forms send, who may send it, and what is answered.

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{credential, zapier};
use crate::support::{Answer, Database, Role, Server, Setup, on_both, repository, run, until};

async fn post(server: &Server, who: &(String, String), kind: &str, body: &str) -> Answer {
    let request = server.request(Method::POST, "/api/webhook/zapier-contact");
    let request = request.basic_auth(&who.0, Some(&who.1)).header(CONTENT_TYPE, kind);
    Answer::of(request.body(body.to_owned())).await
}

on_both!(contacts_arrive_in_their_segments);
async fn contacts_arrive_in_their_segments(database: Database) {
    let server = Setup::new(&database).env("LUX_PHONE_REGION", "GB").start().await;
    let who = credential(&server, "zapier");
    let answer = zapier(
        &server,
        &who,
        &json!({"Email": " Ada.Lovelace@Example.COM ", "Full Name": "Ada Lovelace",
            "phone": "020 7946 0018", "source": "Website Newsletter Sign-Up", "city": "London"}),
    )
    .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let told = answer.json();
    assert_eq!(told["success"], true);
    assert_eq!(told["action"], "created");
    assert_eq!(told["email"], "Ada.Lovelace@Example.COM");
    assert_eq!(told["segment"], "newsletter");
    assert_eq!(told["segments"], json!(["newsletter"]));
    assert_eq!(told["source"], "Website Newsletter Sign-Up");
    let id = told["contact_id"].as_i64().unwrap();
    let contact = server.get(&format!("/api/contacts/{id}")).await;
    assert_eq!(contact["first_name"], "Ada");
    assert_eq!(contact["last_name"], "Lovelace");
    assert_eq!(contact["phone"], "+442079460018");
    assert_eq!(contact["attributes"], json!({"city": "London"}));
    assert_eq!(contact["tags"], json!(["zapier"]));
    assert_eq!(contact["consent"], "none", "a form is no consent");
    assert_eq!(contact["segments"], json!(["newsletter"]));

    // The same again says nothing new; other words about the same address do.
    let again =
        json!({"email": "ada.lovelace@example.com", "source": "Website Newsletter Sign-Up"});
    let answer = zapier(&server, &who, &again).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["action"]), (200, &json!("unchanged")));
    let more = json!({"email": "ada.lovelace@example.com", "company": "Engines", "tags": "vip"});
    let answer = zapier(&server, &who, &more).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["action"]), (200, &json!("updated")));
    assert_eq!(answer.json()["contact_id"], id);
    let told = server.get(&format!("/api/contacts/{id}/activities")).await;
    let kinds: Vec<_> =
        told["activities"].as_array().unwrap().iter().map(|it| it["kind"].clone()).collect();
    assert_eq!(kinds, ["updated", "created"]);
    assert_eq!(told["activities"][1]["by"], "webhook zapier");

    // From elsewhere: a lead.
    let answer = zapier(&server, &who, &json!({"email": "bob@example.com"})).await;
    assert_eq!(answer.json()["segments"], json!(["lead"]));
    let segments = server.get("/api/segments").await;
    let counts = segments["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["slug"].as_str().unwrap().to_owned(), it["members"].as_i64().unwrap()));
    let counts: Vec<_> = counts.collect();
    assert_eq!(counts, [("lead".to_owned(), 1), ("newsletter".to_owned(), 1)]);
}

on_both!(what_zapier_really_sends);
async fn what_zapier_really_sends(database: Database) {
    let server = Setup::new(&database).start().await;
    let who = credential(&server, "zapier");
    let text = std::fs::read_to_string(repository("tests/zapier/bodies.jsonl")).unwrap();
    let mut seen = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let body = match &case["body"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let answer = post(&server, &who, case["type"].as_str().unwrap(), &body).await;
        let what = &case["what"];
        assert_eq!(
            answer.status.as_u16(),
            u16::try_from(case["status"].as_u64().unwrap()).unwrap(),
            "{what}: {answer:?}"
        );
        if answer.status.is_success() {
            let id = answer.json()["contact_id"].clone();
            let id =
                if id.is_null() { answer.json()["results"][0]["contact_id"].clone() } else { id };
            let contact = server.get(&format!("/api/contacts/{id}")).await;
            for (field, expected) in case["contact"].as_object().unwrap() {
                assert_eq!(&contact[field], expected, "{what}: {field} of {contact}");
            }
        } else {
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.len() <= 250, "{what}: {detail}");
            let says = case["says"].as_str().unwrap();
            assert!(detail.contains(says), "{what}: {detail}");
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
        }
        seen += 1;
    }
    assert!(seen >= 20, "{seen} cases");
}

on_both!(a_repeat_gets_the_first_answer);
async fn a_repeat_gets_the_first_answer(database: Database) {
    let server = Setup::new(&database).start().await;
    let who = credential(&server, "zapier");
    let send = async |email: &str| {
        let request = server.request(Method::POST, "/api/webhook/zapier-contact");
        let request = request.basic_auth(&who.0, Some(&who.1)).header("idempotency-key", "task-7");
        Answer::of(request.json(&json!({"email": email}))).await
    };
    let first = send("ada@example.com").await;
    assert_eq!(first.status, 201);
    let again = send("ada@example.com").await;
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    // The name counts, not the body: it is the same task.
    assert_eq!(send("eve@example.com").await.json(), first.json());
    let all = server.get("/api/contacts").await;
    assert_eq!(all["contacts"].as_array().unwrap().len(), 1);
    let receipts = server.get("/api/webhook/receipts").await;
    assert_eq!(receipts["receipts"].as_array().unwrap().len(), 1);
    assert_eq!(receipts["receipts"][0]["body"], "{\"email\":\"ada@example.com\"}");

    // Forty at once about one person are one person.
    let body = json!({"email": "grace@example.com", "name": "Grace Hopper"});
    let all = futures_util::future::join_all((0..40).map(|_| zapier(&server, &who, &body))).await;
    let new = all.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(new, 1, "{all:?}");
    assert!(all.iter().all(|answer| answer.status.is_success()));
}

on_both!(only_who_has_a_password_posts);
async fn only_who_has_a_password_posts(database: Database) {
    let password = format!("from-the-environment-{}", uuid::Uuid::now_v7().simple());
    let server = Setup::new(&database)
        .env("ZAPIER_USERNAME", "zap")
        .env("ZAPIER_PASSWORD", &password)
        .env("LUX_GUESSES_PER_MINUTE", "1000000")
        .start()
        .await;
    let body = json!({"email": "ada@example.com"});
    let made = credential(&server, "zapier");
    assert!(!made.1.contains('|') && made.1.len() >= 40, "{made:?}");
    let configured = ("zap".to_owned(), password);
    assert_eq!(zapier(&server, &made, &body).await.status, 201);
    assert_eq!(zapier(&server, &configured, &body).await.status, 200);
    let mixed = (made.0.clone(), configured.1.clone());
    let cut = (made.0.clone(), made.1[..made.1.len() - 1].to_owned());
    let empty = (String::new(), String::new());
    let nobody = ("nobody".to_owned(), made.1.clone());
    for wrong in [&mixed, &cut, &empty, &nobody] {
        let answer = zapier(&server, wrong, &body).await;
        assert_eq!(answer.status, 401, "{wrong:?}");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "));
        assert!(answer.json()["detail"].as_str().unwrap().contains("webhook-credential create"));
    }
    let path = "/api/webhook/zapier-contact";
    for header in ["Basic", "Basic !!!", "Basic Og==", "Basic =", "Bearer x"] {
        let request = server.request(Method::POST, path).header("authorization", header);
        assert_eq!(Answer::of(request.json(&body)).await.status, 401, "{header}");
    }
    let as_admin = server.request_as(Role::Admin, Method::POST, path).json(&body);
    assert_eq!(Answer::of(as_admin).await.status, 401, "a token is nothing here");

    // Another takes over, then the first one ends.
    let next = server.post("/api/webhook/credentials", &json!({"name": "new"})).await.json();
    let next = (
        next["username"].as_str().unwrap().to_owned(),
        next["password"].as_str().unwrap().to_owned(),
    );
    assert_eq!(zapier(&server, &next, &body).await.status, 200);
    let listed = server.get("/api/webhook/credentials").await;
    assert!(!listed.to_string().contains(&made.1), "a password is told once");
    let id = listed["credentials"][0]["id"].to_string();
    let mut revoke = server.command();
    assert_eq!(run(revoke.args(["webhook-credential", "revoke", &id])).code, Some(0));
    until("the first one has ended", async || {
        (zapier(&server, &made, &body).await.status == 401).then_some(())
    })
    .await;
    assert_eq!(zapier(&server, &next, &body).await.status, 200);
    let log = server.log();
    for secret in [&made.1, &next.1, &configured.1] {
        assert!(!log.contains(secret.as_str()), "a password stands in the log");
    }
}

on_both!(bodies_and_callers_have_limits);
async fn bodies_and_callers_have_limits(database: Database) {
    let server = Setup::new(&database).env("LUX_GUESSES_PER_MINUTE", "5").start().await;
    let who = credential(&server, "zapier");
    let long = format!("{{\"email\":\"ada@example.com\",\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let answer = post(&server, &who, "application/json", &long).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    let many =
        json!((0..101).map(|n| json!({"email": format!("a{n}@example.com")})).collect::<Vec<_>>());
    assert_eq!(zapier(&server, &who, &many).await.status, 400);
    assert_eq!(server.get("/api/contacts").await["contacts"], json!([]));

    // A list is stored whole or not at all.
    let half = json!([{"email": "ada@example.com"}, {"email": "no address"}]);
    let answer = zapier(&server, &who, &half).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["detail"].as_str().unwrap().starts_with("item 1: the field email"));
    assert_eq!(server.get("/api/contacts").await["contacts"], json!([]));

    let wrong = ("zap".to_owned(), "wrong".to_owned());
    let refused = async || {
        let answer = zapier(&server, &wrong, &json!({"email": "ada@example.com"})).await;
        (answer.status == 429).then_some(answer)
    };
    let answer = until("who guesses is held back", refused).await;
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
}
