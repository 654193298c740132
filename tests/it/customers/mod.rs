//! Customers: who sees whom, who writes what, and that nobody vanishes.

mod attachments;
mod person;
mod signup;

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder, header::COOKIE};
use serde_json::{Value, json};

use crate::{
    authority::person,
    contract::patient,
    support::{Answer, Database, Role, Server, on_both, until},
};

/// Somebody who is signed in: their account and what their browser sends.
struct Person {
    id: i64,
    cookie: String,
}

impl Person {
    async fn new(server: &Server, role: &str) -> Self {
        let cookie = person(server, role).await;
        let newest = "select cast(max(id) as text) from account where organization_id = 1";
        let id = server.database().column(&server.data(), newest).await;
        Self { id: id[0].parse().unwrap(), cookie }
    }

    fn request(&self, server: &Server, method: Method, path: &str) -> RequestBuilder {
        let request = server.request(method, path).header(COOKIE, &self.cookie);
        request.header("sec-fetch-site", "same-origin")
    }

    async fn get(&self, server: &Server, path: &str) -> Answer {
        Answer::of(self.request(server, Method::GET, path)).await
    }

    async fn send(&self, server: &Server, method: Method, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(server, method, path).json(body)).await
    }
}

async fn put(server: &Server, id: i64, body: &Value) -> Answer {
    let path = format!("/api/customers/{id}");
    Answer::of(server.request_as(Role::Admin, Method::PUT, &path).json(body)).await
}

async fn sql(server: &Server, statement: &str) {
    server.database().execute(&server.data(), statement).await;
}

/// The ids of a whole list, page by page.
async fn walk(server: &Server, query: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/api/customers?{query}{cursor}")).await;
        let customers = page["customers"].as_array().unwrap();
        ids.extend(customers.iter().map(|it| it["id"].as_i64().unwrap()));
        assert!(ids.len() < 10_000, "{query} does not end");
        let Some(next) = page["next"].as_str() else { return ids };
        cursor = format!("&cursor={next}");
    }
}

on_both!(me_is_found);
async fn me_is_found(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    let me = ada.get(&server, "/api/customers/me").await;
    assert_eq!(me.status, 200, "{me:?}");
    let me = me.json();
    // Without a profile of theirs there is a customer all the same.
    assert_eq!((&me["id"], &me["role"]), (&json!(ada.id), &json!("customer")));
    assert_eq!((&me["company"], &me["verified"]), (&json!(""), &json!(false)));
    assert_eq!(ada.get(&server, &format!("/api/customers/{}", ada.id)).await.json(), me);
    let list = ada.get(&server, "/api/customers").await.json();
    assert_eq!(list["customers"], json!([me]));
    for path in ["attachments", "errors"] {
        let found = ada.get(&server, &format!("/api/customers/me/{path}")).await;
        assert_eq!(found.status, 200, "{found:?}");
    }
    let wish = json!({ "version": me["version"], "company": "Engines", "country": "gb",
        "phone": "020 7946 0018", "name": "Ada  L." });
    let changed = ada.send(&server, Method::PUT, "/api/customers/me", &wish).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let changed = changed.json();
    let of = |key: &str| changed[key].as_str().unwrap().to_owned();
    assert_eq!((of("company"), of("country")), ("Engines".to_owned(), "GB".to_owned()));
    assert_eq!((of("phone"), of("name")), ("+442079460018".to_owned(), "Ada L.".to_owned()));
    let again = ada.get(&server, "/api/customers/me").await.json();
    assert_eq!(again, changed);
    assert_eq!(ada.get(&server, "/api/auth/me").await.json()["name"], "Ada L.");
    let operator = Person::new(&server, "operator").await;
    let own = operator.get(&server, "/api/customers/me").await.json();
    assert_eq!(own["id"], json!(operator.id));
    // A token is nobody.
    let token = server.request_as(Role::Admin, Method::GET, "/api/customers/me");
    Answer::of(token).await.problem(404);
}

on_both!(nobody_vanishes_from_the_list);
async fn nobody_vanishes_from_the_list(database: Database) {
    let server = patient(&database).await;
    // Of one name, never signed in, without a profile, address or chat.
    sql(
        &server,
        "with recursive t(n) as (select 1 union all select n + 1 from t where n < 205)
         insert into account (organization_id, name, role, created_at)
         select 1, 'Same', 'customer', '2026-11-20T10:00:00+00:00' from t",
    )
    .await;
    for name in ["Zoe", "adam", "Émile"] {
        sql(
            &server,
            &format!(
                "insert into account (organization_id, name, email, email_key, role, status,
                     created_at, signed_in_at)
                 values (1, '{name}', '{name}@example.com', '{name}@example.com', 'operator',
                     'disabled', '2026-11-20T10:00:00+00:00', '2026-11-21T10:00:00.123+00:00')"
            ),
        )
        .await;
    }
    let count = "select cast(id as text) from account where organization_id = 1";
    let all = server.database().column(&server.data(), count).await;
    let all: BTreeSet<i64> = all.iter().map(|id| id.parse().unwrap()).collect();
    assert!(all.len() >= 208, "{all:?}");
    for sort in ["newest", "name", "seen"] {
        for limit in [7, 200] {
            let listed = walk(&server, &format!("sort={sort}&limit={limit}")).await;
            let once: BTreeSet<i64> = listed.iter().copied().collect();
            assert_eq!(once.len(), listed.len(), "{sort}: somebody is there twice");
            assert_eq!(once, all, "{sort}, {limit} a page");
        }
    }
    let newest = walk(&server, "limit=200").await;
    assert!(newest.is_sorted_by(|a, b| a > b), "{newest:?}");
    let seen = server.get("/api/customers?sort=seen&limit=3").await;
    let seen: Vec<_> = seen["customers"].as_array().unwrap().iter().map(|it| &it["role"]).collect();
    assert_eq!(seen, ["operator"; 3]);
    let first = server.get("/api/customers?limit=1").await;
    assert_eq!(first["total"], json!(all.len()));
    for (query, expected) in [
        ("status=disabled", 3),
        ("role=operator", 3),
        ("role=operator&status=active", 0),
        ("verified=true", 3),
        ("role=customer&verified=false", 205),
        ("role=customer&verified=false&sort=name", 205),
        ("status=disabled&sort=seen", 3),
        ("status=disabled&verified=false", 0),
        ("q=same", 205),
        ("q=same&status=disabled", 0),
    ] {
        let found = walk(&server, &format!("limit=50&{query}")).await;
        assert_eq!(found.len(), expected, "{query}");
    }
    // Whichever filter: everybody once, and in the order of the whole list.
    for sort in ["newest", "name", "seen"] {
        let order = walk(&server, &format!("sort={sort}&limit=200")).await;
        for (filter, expected) in [
            ("role=operator", 3),
            ("role=customer", 205),
            ("status=disabled", 3),
            ("status=active", all.len() - 3),
            ("role=operator&status=disabled", 3),
        ] {
            let found = walk(&server, &format!("sort={sort}&limit=2&{filter}")).await;
            let places: Vec<_> =
                found.iter().map(|id| order.iter().position(|it| it == id)).collect();
            assert_eq!(found.len(), expected, "{sort}, {filter}");
            assert!(places.is_sorted_by(|one, next| one < next), "{sort}, {filter}: {found:?}");
        }
    }
    let people =
        Answer::of(server.request_as(Role::Admin, Method::GET, "/api/customers?role=read"));
    people.await.problem(400);
}

on_both!(words_are_found_at_once);
async fn words_are_found_at_once(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    let eve = Person::new(&server, "customer").await;
    for (who, name, company) in
        [(&ada, "Ada Löwe", "Analytical Engines"), (&eve, "Eve", "Löwenbräu")]
    {
        let wish = json!({ "version": 1, "name": name, "company": company });
        assert_eq!(put(&server, who.id, &wish).await.status, 200);
    }
    let of = |server: &Server, q: &str| {
        let path = format!("/api/customers?q={}", urlencoding(q));
        let request = server.request_as(Role::Operator, Method::GET, &path);
        async move {
            let answer = Answer::of(request).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let found = answer.json()["customers"].clone();
            found
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["id"].as_i64().unwrap())
                .collect::<Vec<_>>()
        }
    };
    let indexed = async || {
        let left = "select cast(count(*) as text) from customer_unindexed";
        (server.database().column(&server.data(), left).await == ["0"]).then_some(())
    };
    for _ in 0..2 {
        for (q, expected) in [
            ("löwe", vec![eve.id, ada.id]),
            ("LÖWE ada", vec![ada.id]),
            ("analy eng", vec![ada.id]),
            ("a", vec![ada.id]),
            ("löwenb", vec![eve.id]),
            ("zebra", vec![]),
            ("' or 1=1 --", vec![]),
            ("%", vec![]),
        ] {
            assert_eq!(of(&server, q).await, expected, "{q}");
        }
        // The same once the index has them.
        until("they are indexed", indexed).await;
    }
    let wish = json!({ "version": 3, "name": "Ada King" });
    assert_eq!(put(&server, ada.id, &wish).await.status, 409);
    let version = server.get(&format!("/api/customers/{}", ada.id)).await["version"].clone();
    let wish = json!({ "version": version, "name": "Ada King" });
    assert_eq!(put(&server, ada.id, &wish).await.status, 200);
    for _ in 0..2 {
        assert_eq!(of(&server, "king").await, [ada.id]);
        assert_eq!(of(&server, "löwe").await, [eve.id]);
        until("they are indexed", indexed).await;
    }
}

fn urlencoding(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A refusal without what is different each time.
fn bare(answer: &Answer) -> Value {
    let mut document = answer.json();
    document["request_id"] = Value::Null;
    document
}

on_both!(another_customer_is_as_unknown_as_nobody);
async fn another_customer_is_as_unknown_as_nobody(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    let eve = Person::new(&server, "customer").await;
    let operator = Person::new(&server, "operator").await;
    sql(
        &server,
        &format!(
            "update account set email = 'eve@example.com', email_key = 'eve@example.com'
             where id = {}",
            eve.id
        ),
    )
    .await;
    let wish = json!({ "version": 1, "company": "X" });
    for (method, path, body) in [
        (Method::GET, "", None),
        (Method::PUT, "", Some(&wish)),
        (Method::GET, "/errors", None),
        (Method::GET, "/attachments", None),
        (Method::POST, "/attachments", None),
        (Method::GET, "/attachments/1", None),
        (Method::DELETE, "/attachments/1", None),
    ] {
        let mut said = Vec::new();
        for id in [&eve.id.to_string(), &operator.id.to_string(), "987654321", "0", "x", "Me"] {
            let path = format!("/api/customers/{id}{path}");
            let mut request = ada.request(&server, method.clone(), &path);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = Answer::of(request).await;
            answer.problem(404);
            said.push(bare(&answer));
        }
        assert!(said.iter().all(|it| *it == said[0]), "{method} {path}: {said:#?}");
    }
    // By an address, one's own alone.
    let theirs = ada.get(&server, "/api/customers/email/eve@example.com").await;
    theirs.problem(404);
    let nobodys = ada.get(&server, "/api/customers/email/nobody@example.com").await;
    assert_eq!(bare(&theirs), bare(&nobodys));
    for who in [&eve, &operator] {
        let found = who.get(&server, "/api/customers/email/Eve@Example.com").await;
        assert_eq!(found.json()["id"], json!(eve.id), "{found:?}");
    }
    let list = ada.get(&server, "/api/customers?q=eve&limit=200").await.json();
    let ids: Vec<_> = list["customers"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(ids, [&json!(ada.id)]);
    let untouched = server.get(&format!("/api/customers/{}", eve.id)).await;
    assert_eq!((&untouched["version"], &untouched["company"]), (&json!(1), &json!("")));
    // Tokens that only read or report are nobody here.
    for role in [Role::Read, Role::Ingest] {
        Answer::of(server.request_as(role, Method::GET, "/api/customers")).await.problem(403);
    }
}

on_both!(role_and_verification_are_not_ones_own_to_write);
async fn role_and_verification_are_not_ones_own_to_write(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    let operator = Person::new(&server, "operator").await;
    let admin = Person::new(&server, "admin").await;
    let me = "/api/customers/me";
    for who in [&ada, &operator, &admin] {
        for (field, value) in [("role", json!("admin")), ("status", json!("active"))] {
            let mut wish = json!({ "version": 1, "company": "X" });
            wish[field] = value;
            let said = who.send(&server, Method::PUT, me, &wish).await.problem(403);
            assert!(said.starts_with(&format!("{field}:")), "{said}");
        }
        for field in ["verified", "verified_at", "email", "email_key", "id", "organization_id"] {
            let mut wish = json!({ "version": 1, "company": "X" });
            wish[field] = json!(true);
            let said = who.send(&server, Method::PUT, me, &wish).await.problem(400);
            assert!(said.contains(field), "{said}");
        }
        let is = who.get(&server, me).await.json();
        assert_eq!((&is["version"], &is["company"]), (&json!(1), &json!("")));
    }
    // An operator writes a customer's profile, and neither roles nor other operators.
    let of = |id: i64| format!("/api/customers/{id}");
    let wish = json!({ "version": 1, "role": "operator" });
    operator.send(&server, Method::PUT, &of(ada.id), &wish).await.problem(403);
    let wish = json!({ "version": 1, "company": "Engines" });
    operator.send(&server, Method::PUT, &of(admin.id), &wish).await.problem(403);
    let changed = operator.send(&server, Method::PUT, &of(ada.id), &wish).await;
    assert_eq!(changed.json()["company"], "Engines", "{changed:?}");
    // An administrator does, with the profile in one.
    let wish = json!({ "version": 2, "role": "operator", "industry": "steam" });
    let changed = admin.send(&server, Method::PUT, &of(ada.id), &wish).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let changed = changed.json();
    assert_eq!((&changed["role"], &changed["industry"]), (&json!("operator"), &json!("steam")));
    assert_eq!(changed["version"], 4);
    assert_eq!(ada.get(&server, "/api/auth/me").await.json()["role"], "operator");
    let wish = json!({ "version": 4, "status": "disabled" });
    assert_eq!(admin.send(&server, Method::PUT, &of(ada.id), &wish).await.status, 200);
    ada.get(&server, me).await.problem(401);
    // Of both or neither: a role that cannot be given takes the profile's change along.
    let wish = json!({ "version": 1, "company": "Y", "role": "read" });
    admin.send(&server, Method::PUT, &of(operator.id), &wish).await.problem(400);
    assert_eq!(server.get(&of(operator.id)).await["company"], "");
    let deeds: Vec<_> = server.deeds().await.iter().map(|it| it["action"].clone()).collect();
    for action in ["customer.change", "account.change"] {
        assert!(deeds.contains(&json!(action)), "{deeds:?}");
    }
}

on_both!(what_was_changed_meanwhile_is_read_again);
async fn what_was_changed_meanwhile_is_read_again(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    let wish = |company: &str| json!({ "version": 1, "company": company });
    let (one, other) = (wish("One"), wish("Other"));
    let (one, other) = tokio::join!(put(&server, ada.id, &one), put(&server, ada.id, &other));
    let mut said = [one.status.as_u16(), other.status.as_u16()];
    said.sort_unstable();
    assert_eq!(said, [200, 409]);
    let loser = if one.status == 409 { one } else { other };
    let said = loser.problem(409);
    assert!(said.contains("read it again") && said.contains("version 2"), "{said}");
    // Nothing that differs is no change.
    let company = server.get(&format!("/api/customers/{}", ada.id)).await["company"].clone();
    let same = put(&server, ada.id, &json!({ "version": 2, "company": company })).await;
    assert_eq!(same.json()["version"], 2);
    for (field, value) in [
        ("phone", "call me"),
        ("website", "javascript:alert(1)"),
        ("country", "Atlantis"),
        ("timezone", "Mars/Base"),
        ("language", "<b>"),
        ("company_size", "many"),
        ("company", "a\u{7}b"),
        ("name", "  "),
    ] {
        let said = put(&server, ada.id, &json!({ "version": 2, field: value })).await.problem(400);
        assert!(said.starts_with(&format!("{field}:")), "{said}");
    }
    let emptied = put(&server, ada.id, &json!({ "version": 2, "company": "" })).await.json();
    assert_eq!((&emptied["company"], &emptied["version"]), (&json!(""), &json!(3)));
}

on_both!(notes_are_not_for_customers);
async fn notes_are_not_for_customers(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    let operator = Person::new(&server, "operator").await;
    let path = format!("/api/customers/{}/notes", ada.id);
    for text in ["first", " second <b>\0 "] {
        let noted = operator.send(&server, Method::POST, &path, &json!({ "text": text })).await;
        assert_eq!(noted.status, 201, "{noted:?}");
    }
    let page = operator.get(&server, &format!("{path}?limit=1")).await.json();
    assert_eq!(page["notes"][0]["text"], "second <b>\u{fffd}");
    let by = page["notes"][0]["made_by"].as_str().unwrap();
    assert!(by.contains(&format!("account {}", operator.id)), "{by}");
    let next = page["next"].as_str().unwrap();
    let page = server.get(&format!("{path}?limit=5&cursor={next}")).await;
    assert_eq!((&page["notes"][0]["text"], &page["next"]), (&json!("first"), &Value::Null));
    for own in [&path, "/api/customers/me/notes"] {
        ada.get(&server, own).await.problem(403);
        ada.send(&server, Method::POST, own, &json!({ "text": "x" })).await.problem(403);
    }
    let me = ada.get(&server, "/api/customers/me").await;
    assert!(!me.text.contains("second"), "{me:?}");
    for text in ["", "   ", &"x".repeat(5001)] {
        operator.send(&server, Method::POST, &path, &json!({ "text": text })).await.problem(400);
    }
    operator.get(&server, "/api/customers/987654321/notes").await.problem(404);
}

on_both!(the_errors_that_somebody_met);
async fn the_errors_that_somebody_met(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    let eve = Person::new(&server, "customer").await;
    sql(
        &server,
        &format!(
            "update account set email = 'Ada@example.com', email_key = 'ada@example.com'
             where id = {}",
            ada.id
        ),
    )
    .await;
    for (kind, user) in [
        ("ByAddressError", "ada@example.com".to_owned()),
        ("ByNumberError", ada.id.to_string()),
        ("OfNobodyError", String::new()),
        ("OfEveError", eve.id.to_string()),
    ] {
        let event = json!({ "error_type": kind, "error_message": "the secret of the system",
            "endpoint": format!("/{kind}"), "user_id": user });
        assert_eq!(server.post("/api/errors", &event).await.status, 201);
    }
    let path = format!("/api/customers/{}/errors", ada.id);
    let met = server.get(&path).await;
    let kinds: BTreeSet<_> = met["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["error_type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, BTreeSet::from(["ByAddressError", "ByNumberError"]));
    assert_eq!(server.get(&format!("{path}?limit=1")).await["errors"].as_array().unwrap().len(), 1);
    // Somebody else's application may have a user of the same number.
    let own = ada.get(&server, "/api/customers/me/errors").await;
    assert_eq!(own.json()["errors"].as_array().unwrap().len(), 1, "{own:?}");
    assert!(!own.text.contains("secret") && !own.text.contains("ByAddress"), "{own:?}");
    let none = eve.get(&server, "/api/customers/me/errors").await.json();
    assert_eq!(none["errors"], json!([]));
}
