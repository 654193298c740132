//! Segments are true at once: in the answer, in lists, and when a rule changes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, Setup, on_both};

async fn add(server: &Server, contact: Value) -> Value {
    let answer = server.post("/api/contacts", &contact).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.json()
}

async fn members(server: &Server, segment: i64) -> Vec<String> {
    let page = server.get(&format!("/api/contacts?segment={segment}&limit=200")).await;
    let emails = page["contacts"].as_array().unwrap().iter();
    let mut emails: Vec<String> =
        emails.map(|it| it["email"].as_str().unwrap().to_owned()).collect();
    emails.sort();
    let count = server.get(&format!("/api/segments/{segment}")).await["members"].as_i64();
    assert_eq!(count, Some(emails.len() as i64), "the count is that of the list");
    emails
}

async fn patch(server: &Server, path: &str, body: &Value) -> Answer {
    Answer::of(server.request_as(Role::Operator, Method::PATCH, path).json(body)).await
}

on_both!(a_rule_holds_at_once);
async fn a_rule_holds_at_once(database: Database) {
    let server = Setup::new(&database).start().await;
    for n in 0..30 {
        let tags = if n % 3 == 0 { json!(["vip"]) } else { json!([]) };
        let contact = json!({"email": format!("p{n:02}@example.com"), "tags": tags,
            "source": if n % 2 == 0 { "Webinar May" } else { "shop" },
            "attributes": {"spent": (n * 10).to_string()}});
        add(&server, contact).await;
    }
    let rule = json!({"all": [{"field": "source", "op": "contains", "value": "WEBINAR"},
        {"any": [{"field": "tag", "op": "is", "value": "vip"},
            {"field": "attributes.spent", "op": "greater", "value": 250}]}]});
    let tried = server.post("/api/segments/try", &rule).await.json();
    let made = server.post("/api/segments", &json!({"name": "Good people", "rule": rule})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!(made["slug"], "good-people");
    let id = made["id"].as_i64().unwrap();
    let expected =
        ["p00", "p06", "p12", "p18", "p24", "p26", "p28"].map(|it| it.to_owned() + "@example.com");
    assert_eq!(members(&server, id).await, expected);
    assert_eq!(made["members"], expected.len());
    assert_eq!((&tried["fits"], &tried["looked_at"]), (&json!(expected.len()), &json!(30)));

    // Who comes, changes or goes is placed by the same rule, in the same breath.
    let new =
        add(&server, json!({"email": "new@example.com", "source": "webinar", "tags": ["vip"]}))
            .await;
    assert!(new["segments"].as_array().unwrap().contains(&json!("good-people")), "{new}");
    assert!(members(&server, id).await.contains(&"new@example.com".to_owned()));
    let path = format!("/api/contacts/{}", new["contact"]["id"]);
    let answer = patch(&server, &path, &json!({"version": 1, "tags": []})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!members(&server, id).await.contains(&"new@example.com".to_owned()));
    let stale = patch(&server, &path, &json!({"version": 1, "tags": ["vip"]})).await;
    assert_eq!(stale.status, 409, "somebody changed it meanwhile: {stale:?}");

    // Another rule: wholly that one when it is answered.
    let change = json!({"rule": {"field": "tag", "op": "is", "value": "vip"}});
    let changed = patch(&server, &format!("/api/segments/{id}"), &change).await.json();
    assert_eq!(changed["next_rule"], Value::Null);
    assert_eq!(changed["members"], 10);
    assert_eq!(members(&server, id).await.len(), 10);

    // Without a rule its members stay, and people put others in.
    let by_hand = patch(&server, &format!("/api/segments/{id}"), &json!({"rule": null})).await;
    assert_eq!(by_hand.json()["rule"], Value::Null);
    assert_eq!(members(&server, id).await.len(), 10);
    let ids = json!({"contact_ids": [new["contact"]["id"], 987_654_321]});
    let put = server.post(&format!("/api/segments/{id}/members"), &ids).await;
    assert_eq!(put.json()["changed"], 1, "{put:?}");
    assert_eq!(members(&server, id).await.len(), 11);
    let update = json!({"email": "p00@example.com", "tags": ["gold"]});
    assert!(
        add(&server, update).await["segments"].as_array().unwrap().contains(&json!("good-people"))
    );

    let gone = server.request_as(Role::Operator, Method::DELETE, &format!("/api/segments/{id}"));
    assert_eq!(Answer::of(gone).await.status, 204);
    assert_eq!(
        server.get("/api/contacts?limit=200").await["contacts"].as_array().unwrap().len(),
        31
    );
}

on_both!(time_makes_members);
async fn time_makes_members(database: Database) {
    let server = Setup::new(&database).start().await;
    let rule = |op: &str, days: i64| json!({"field": "created_at", "op": op, "value": days});
    let make = async |name: &str, rule: Value| {
        let made = server.post("/api/segments", &json!({"name": name, "rule": rule})).await;
        made.json()["id"].as_i64().unwrap()
    };
    let fresh = make("Fresh", rule("within_days", 30)).await;
    let old = make("Old", rule("before_days", 30)).await;
    let now = make("Since a moment ago", rule("within_days", 0)).await;
    add(&server, json!({"email": "ada@example.com"})).await;
    assert_eq!(members(&server, fresh).await, ["ada@example.com"]);
    assert!(members(&server, old).await.is_empty());
    assert!(members(&server, now).await.is_empty(), "its time was over as it came");
    // Thirty days pass: nothing is run, and she belongs elsewhere.
    let shift = "update segment_member set from_second = from_second - 2592001
        where from_second > 0";
    database.execute(&server.data(), shift).await;
    let shift = "update segment_member set until_second = until_second - 2592001
        where until_second < 253402300799";
    database.execute(&server.data(), shift).await;
    assert!(members(&server, fresh).await.is_empty());
    assert_eq!(members(&server, old).await, ["ada@example.com"]);
}

on_both!(rules_that_are_none_are_refused);
async fn rules_that_are_none_are_refused(database: Database) {
    let server = Setup::new(&database).start().await;
    let deep =
        (0..6).fold(json!({"field": "tag", "op": "is", "value": "a"}), |it, _| json!({"not": it}));
    for (rule, says) in [
        (json!({"field": "shoe_size", "op": "is", "value": "43"}), "shoe_size"),
        (json!({"field": "tag", "op": "is"}), "tag"),
        (json!({"field": "tag", "op": "resembles", "value": "a"}), "a rule is"),
        (json!({"field": "tag", "op": "within_days", "value": 3}), "is no time"),
        (json!({"field": "created_at", "op": "is", "value": "today"}), "is a time"),
        (json!({"field": "created_at", "op": "since", "value": "soon"}), "2026-11-22"),
        (json!({"field": "consent", "op": "is", "value": "perhaps"}), "perhaps"),
        (json!({"all": []}), "at least one"),
        (deep, "deeper"),
    ] {
        let answer = server.post("/api/segments", &json!({"name": "X", "rule": rule})).await;
        assert_eq!(answer.status, 400, "{rule}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{rule}: {answer:?}");
    }
    let taken = server.post("/api/segments", &json!({"name": "LEAD!"})).await;
    assert_eq!(taken.status, 409, "{taken:?}");
    let rule = server.get("/api/segments").await["segments"][0]["id"].as_i64().unwrap();
    let put =
        server.post(&format!("/api/segments/{rule}/members"), &json!({"contact_ids": [1]})).await;
    assert_eq!(put.status, 409, "its members follow from its rule: {put:?}");
}

on_both!(contacts_are_found_again);
async fn contacts_are_found_again(database: Database) {
    let server = Setup::new(&database).start().await;
    for (first, last, email, company) in [
        ("Ada", "Lovelace", "ada@engines.example", "Analytical Engines"),
        ("Grace", "Hopper", "grace.hopper@navy.example", "Navy"),
        ("Adam", "Smith", "smith@pins.example", "Pins & Co"),
        ("Zoë", "Ångström", "zoe@example.com", ""),
    ] {
        add(
            &server,
            json!({"email": email, "first_name": first, "last_name": last,
            "company": company, "phone": "+1 650 253 0000", "source": "fair"}),
        )
        .await;
    }
    let found = async |query: &str| {
        let page = server.get(&format!("/api/contacts?{query}")).await;
        let names = page["contacts"].as_array().unwrap().iter();
        names.map(|it| it["first_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The same before and after the words were indexed.
    for round in 0..2 {
        assert_eq!(found("q=ada").await, ["Adam", "Ada"]);
        assert_eq!(found("q=ADA+engines").await, ["Ada"]);
        assert_eq!(found("q=hop").await, ["Grace"]);
        assert_eq!(found("q=grace.hopper@navy.example").await, ["Grace"]);
        assert_eq!(found("q=%C3%85ngstr%C3%B6m").await, ["Zoë"]);
        assert_eq!(found("q=%2B1650253").await.len(), 4);
        assert!(found("q=nobody").await.is_empty());
        if round == 0 {
            crate::support::until("the words are indexed", async || {
                let left = "select cast(count(*) as text) from contact_unindexed";
                (database.column(&server.data(), left).await == ["0"]).then_some(())
            })
            .await;
        }
    }
    assert_eq!(found("sort=email").await, ["Ada", "Grace", "Adam", "Zoë"]);
    assert_eq!(found("source=fair&consent=none&limit=1").await, ["Zoë"]);
    assert!(found("source=elsewhere").await.is_empty());

    // Pages follow each other without gap or repeat, in each order.
    for sort in ["newest", "active", "email"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/api/contacts?sort={sort}&limit=3{cursor}")).await;
            seen.extend(page["contacts"].as_array().unwrap().iter().map(|it| it["id"].to_string()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4, "{sort}");
    }
}
