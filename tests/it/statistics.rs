//! The numbers of the dashboard, calls that other programs post, and addresses of the API without
//! `/api`.

use chrono::Days;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, on_both, until};

/// So many days ago, at noon.
fn noon(days: u64) -> String {
    let day = lux::clock::now().date_naive().checked_sub_days(Days::new(days)).unwrap();
    format!("{day}T12:00:00Z")
}

fn last(list: &Value, back: usize) -> i64 {
    let list = list.as_array().unwrap();
    list[list.len() - 1 - back].as_i64().unwrap()
}

on_both!(days_are_counted_from_rows);
async fn days_are_counted_from_rows(database: Database) {
    let server = Server::plain(&database).await;
    let empty = server.get("/api/dashboard/statistics?days=7").await;
    assert_eq!(empty["days"].as_array().unwrap().len(), 7);
    for part in ["calls", "contacts", "conversations", "errors", "repairs"] {
        assert_eq!(empty[part]["total"], 0, "{part}: {empty}");
        assert_eq!(empty[part]["by_day"], json!([0, 0, 0, 0, 0, 0, 0]), "{part}: {empty}");
    }
    assert_eq!(empty["problems"], json!({}));
    assert_eq!(empty["calls"]["total_seconds"], 0);

    let contact = json!({ "email": "ada@example.com", "phone": "+442079460018" });
    assert_eq!(server.post("/api/contacts", &contact).await.status, 201);
    let calls = json!([
        { "id": "one", "started_at": noon(2), "duration_seconds": 61, "from_number": "+44 20 7946 0018" },
        { "id": "two", "started_at": noon(2), "metadata": "{\"duration\": \"39\"}" },
        { "id": "old", "started_at": noon(20), "duration_seconds": 5 },
    ]);
    assert_eq!(server.post("/api/call-logs", &calls).await.status, 201);
    for number in 0..3 {
        let event = json!({ "error_type": "KeyError", "error_message": format!("{number}") });
        assert_eq!(server.post("/api/errors", &event).await.status, 201);
    }
    assert_eq!(server.post("/api/auto-repair/start", &json!({})).await.status, 202);

    let found = until("the hour's counters are written", async || {
        let found = server.get("/api/dashboard/statistics?days=7&timezone=UTC").await;
        (found["errors"]["total"] == 3).then_some(found)
    })
    .await;
    // Midnight may pass while this runs: what is of now may be of yesterday.
    let now = |part: &str| {
        let list = &found[part]["by_day"];
        last(list, 0) + last(list, 1)
    };
    let late = usize::from(found["days"][6] != json!(noon(0)[..10]));
    assert_eq!(found["calls"]["total"], 2, "{found}");
    assert_eq!(found["calls"]["total_seconds"], 100);
    assert_eq!(last(&found["calls"]["seconds_by_day"], 2 + late), 100);
    assert_eq!((now("contacts"), now("errors"), now("repairs")), (1, 3, 1), "{found}");
    let more = server.get("/api/dashboard/statistics?days=30").await;
    assert_eq!(
        (&more["calls"]["total"], &more["calls"]["total_seconds"]),
        (&json!(3), &json!(105))
    );

    for (wrong, named) in [("days=0", "days"), ("days=93", "days"), ("timezone=Mars", "timezone")] {
        let path = format!("/api/dashboard/statistics?{wrong}");
        let answer = Answer::of(server.request_as(Role::Read, Method::GET, &path)).await;
        assert!(answer.problem(400).contains(named), "{answer:?}");
    }
}

on_both!(a_part_that_cannot_be_counted_leaves_the_others);
async fn a_part_that_cannot_be_counted_leaves_the_others(database: Database) {
    let server = Server::plain(&database).await;
    let contact = json!({ "email": "ada@example.com" });
    assert_eq!(server.post("/api/contacts", &contact).await.status, 201);
    let broken = "alter table call_log rename to call_log_away";
    server.database().execute(&server.data(), broken).await;
    let found = server.get("/api/dashboard/statistics").await;
    assert_eq!(found["calls"], Value::Null);
    assert!(found["problems"]["calls"].as_str().unwrap().contains("try again"), "{found}");
    assert_eq!(found["contacts"]["total"], 1);
    let whole = "alter table call_log_away rename to call_log";
    server.database().execute(&server.data(), whole).await;
    let found = server.get("/api/dashboard/statistics").await;
    assert_eq!((&found["calls"]["total"], &found["problems"]), (&json!(0), &json!({})));
}

/// The first version summed over JSON, and failed where a call had none.
mod no_invalid_aggregate_over_json {
    use super::{Database, Server, json, noon, on_both};

    on_both!(calls_of_old_count_zero_seconds_where_they_say_nothing);
    async fn calls_of_old_count_zero_seconds_where_they_say_nothing(database: Database) {
        let server = Server::plain(&database).await;
        let metadata = [
            json!(null),
            json!({}),
            json!("not JSON"),
            json!({ "duration": "an hour" }),
            json!({ "duration": [] }),
            json!([]),
            json!({ "duration": 60 }),
        ];
        for metadata in metadata {
            let call = json!({ "started_at": noon(1), "metadata": metadata });
            let answer = server.post("/api/call-logs", &call).await;
            assert_eq!(answer.status, 201, "{call}: {answer:?}");
        }
        let found = server.get("/api/dashboard/statistics?days=3").await;
        assert_eq!(
            (&found["calls"]["total"], &found["calls"]["total_seconds"]),
            (&json!(7), &json!(60))
        );
        let calls = server.get("/api/call-logs").await;
        let seconds =
            calls["calls"].as_array().unwrap().iter().map(|it| it["duration_seconds"].as_i64());
        assert_eq!(seconds.map(Option::unwrap).sum::<i64>(), 60);
    }
}

on_both!(posted_calls_are_stored_once_and_known_by_number);
async fn posted_calls_are_stored_once_and_known_by_number(database: Database) {
    let server = Server::plain(&database).await;
    let contact = json!({ "email": "ada@example.com", "phone": "+442079460018" });
    let contact = server.post("/api/contacts", &contact).await.json()["contact"]["id"].clone();
    let call = json!({
        "id": "c1", "source": "pbx", "started_at": noon(1), "duration_seconds": 61,
        "from_number": "+44 20 7946 0018", "summary": "wants an offer, password=hunter2secret",
        "transcript": "hello\u{0}there",
    });
    let first = server.post("/api/call-logs", &call).await.json();
    assert_eq!(first["calls"][0]["changed"], true, "{first}");
    let again = server.post("/api/call-logs", &call).await.json();
    assert_eq!(
        (&again["calls"][0]["changed"], &again["calls"][0]["id"]),
        (&json!(false), &first["calls"][0]["id"])
    );
    let mut longer = call.clone();
    longer["duration_seconds"] = json!(90);
    assert_eq!(server.post("/api/call-logs", &longer).await.json()["calls"][0]["changed"], true);

    let path = format!("/api/call-logs/{}", first["calls"][0]["id"]);
    let found = server.get(&path).await;
    assert_eq!(found["duration_seconds"], 90);
    assert_eq!(found["contact_id"], contact);
    assert_eq!(found["transcript"], "hellothere");
    assert!(!found.to_string().contains("hunter2"), "{found}");
    assert_eq!(server.get("/api/call-logs").await["calls"].as_array().unwrap().len(), 1);
    // Nothing of it is HighLevel's.
    let own = "/api/integrations/highlevel/calls";
    assert_eq!(server.get(own).await, json!({ "calls": [], "next": null }));
    let one = format!("{own}/{}", first["calls"][0]["id"]);
    Answer::of(server.request_as(Role::Read, Method::GET, &one)).await.problem(404);

    // What is wrong is named, the rest is taken.
    let several = json!([
        { "started_at": noon(1) },
        { "started_at": "2999-01-01T00:00:00Z" },
        { "started_at": noon(1), "source": "highlevel" },
        { "started_at": noon(1), "email": "nobody" },
        { "duration_seconds": 5 },
    ]);
    let answer = server.post("/api/call-logs", &several).await;
    assert_eq!(answer.status, 207);
    let answer = answer.json();
    let rejected: Vec<&str> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["detail"].as_str().unwrap())
        .collect();
    let named = ["started_at", "source", "email", "started_at"];
    assert!(
        rejected.iter().zip(named).all(|(said, field)| said.starts_with(field)),
        "{rejected:?}"
    );
    assert_eq!((&answer["accepted"], rejected.len()), (&json!(1), 4));
    let all_wrong = server.post("/api/call-logs", &json!({ "duration_seconds": 5 })).await;
    assert!(all_wrong.problem(400).contains("started_at"));
    let many: Vec<Value> = (0..501).map(|_| json!({ "started_at": noon(1) })).collect();
    assert!(server.post("/api/call-logs", &many).await.problem(400).contains("500"));
}

/// Programs of the first versions ask without `/api`; on a host of its own the API answers so.
#[tokio::test]
async fn addresses_without_api_lead_there() {
    let server = Server::plain(&Database::sqlite()).await;
    assert_eq!(server.post("/api/call-logs", &json!({ "started_at": noon(1) })).await.status, 201);
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let ask = |path: &str, host: Option<&str>, accept: &str| {
        let request = client.get(format!("{}{path}", server.base));
        let request = request.bearer_auth(server.token(Role::Admin)).header("accept", accept);
        match host {
            Some(host) => request.header("host", host).send(),
            None => request.send(),
        }
    };
    let led = ask("/call-logs?limit=5", None, "*/*").await.unwrap();
    assert_eq!(led.status(), 308);
    assert_eq!(led.headers()["location"], "/api/call-logs?limit=5");
    let followed = server.get("/call-logs?limit=5").await;
    assert_eq!(followed["calls"].as_array().unwrap().len(), 1);
    // Nobody is led to another host.
    let odd = ask("//evil.example/customers", None, "*/*").await.unwrap();
    assert_eq!(odd.status(), 404);
    // A person who wants a page is not led to JSON.
    let page = ask("/call-logs", None, "text/html,*/*").await.unwrap();
    assert_eq!(page.status(), 404);

    let direct = ask("/call-logs", Some("api.lux.example.com"), "*/*").await.unwrap();
    assert_eq!(direct.status(), 200);
    let direct: Value = direct.json().await.unwrap();
    assert_eq!(direct["calls"].as_array().unwrap().len(), 1);
    for same in ["/api/call-logs", "/healthz", "/openapi.json"] {
        assert_eq!(
            ask(same, Some("api.lux.example.com"), "*/*").await.unwrap().status(),
            200,
            "{same}"
        );
    }
    let unknown = ask("/call-logs", Some("lux.example.com"), "*/*").await.unwrap();
    assert_eq!(unknown.status(), 308);
}
