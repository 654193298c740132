//! What connected services are good for: calls and contacts, messages, meetings, files, each once
//! whatever happens in between.

use chrono::TimeDelta;
use lux::clock;
use reqwest::Method;
use serde_json::{Value, json};

use super::simulator::{Simulator, admin, card, connect};
use crate::support::{
    Answer, Browser, Database, Model, Reply, Role, Server, Setup, on_both, until,
};

/// Lets a connection of the administrator serve a duty.
pub(super) async fn serve(
    browser: &mut Browser,
    server: &Server,
    simulator: &Simulator,
    kind: &str,
    duty: &str,
    target: Value,
) {
    connect(browser, server, simulator, kind).await;
    let id = card(browser, server, kind).await["id"].clone();
    let wish = json!({"integration_id": id, "target": target, "automatic": true});
    let path = format!("/api/integrations/duties/{duty}");
    let answer = Answer::of(server.request_as(Role::Admin, Method::PUT, &path).json(&wish)).await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

async fn served(
    simulator: &Simulator,
    database: &Database,
    kind: &str,
    duty: &str,
    target: Value,
) -> (Server, Browser) {
    let server = simulator.setup(database).start().await;
    let mut browser = admin(&server).await;
    serve(&mut browser, &server, simulator, kind, duty, target).await;
    (server, browser)
}

/// What is due later is due now, of those that are so far.
async fn time_passes(server: &Server, status: &str) {
    let sql = format!(
        "update integration_delivery set next_at = '2020-01-01T00:00:00+00:00'
         where next_at is not null and status = '{status}'"
    );
    server.database().execute(&server.data(), &sql).await;
}

async fn delivery(server: &Server, id: &Value) -> Value {
    server.get(&format!("/api/integrations/deliveries/{id}")).await
}

async fn becomes(server: &Server, id: &Value, status: &str) -> Value {
    until(&format!("the delivery is {status}"), async || {
        let found = delivery(server, id).await;
        (found["status"] == status).then_some(found)
    })
    .await
}

async fn sync(server: &Server) -> Value {
    let answer = server.post("/api/integrations/highlevel/sync", &json!({})).await;
    assert!(answer.status.is_success(), "{answer:?}\n{}", server.log());
    answer.json()
}

async fn calls(server: &Server) -> Vec<Value> {
    let (mut all, mut path) = (Vec::new(), "/api/integrations/highlevel/calls?limit=70".to_owned());
    loop {
        let page = server.get(&path).await;
        all.extend(page["calls"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { return all };
        path = format!("/api/integrations/highlevel/calls?limit=70&cursor={next}");
    }
}

on_both!(calls_are_fetched_once_however_often);
async fn calls_are_fetched_once_however_often(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let (server, _) = served(&simulator, &database, "highlevel", "calls", json!({})).await;
    let ada = json!({"email": "ada@example.com", "phone": "+44 20 7946 0018"});
    let ada = server.post("/api/contacts", &ada).await.json()["contact"]["id"].clone();
    let start = (clock::now() - TimeDelta::days(1)).timestamp_millis();
    let wanted = json!({"count": 120, "page_size": 50, "duplicate": true, "start": start});
    simulator.control("highlevel", json!({"calls": wanted})).await;
    let number = json!({"id": "call000003", "fromNumber": "+44 20 7946 0018"});
    simulator.control("highlevel", json!({"edit_call": number})).await;
    // In the middle it has enough, and then does not know the token any more.
    let path = "call-logs";
    simulator
        .control(
            "highlevel",
            json!({"next": {"do": 429, "path": path, "after": 1, "retry_after": 1}}),
        )
        .await;
    simulator.control("highlevel", json!({"next": {"do": 401, "path": path, "after": 2}})).await;
    let synced = sync(&server).await;
    assert_eq!((&synced["success"], &synced["records"]), (&json!(true), &json!(120)), "{synced:#}");
    let first = calls(&server).await;
    assert_eq!(first.len(), 120);
    assert!(first.iter().all(|call| call["duration_seconds"].as_i64().unwrap() >= 30));
    assert!(!json!(first).to_string().contains("customer-"), "secrets of actions are not kept");
    let of_ada: Vec<&Value> = first.iter().filter(|call| call["contact_id"] == ada).collect();
    assert_eq!(of_ada.len(), 1, "{of_ada:?}");
    let whole = server.get(&format!("/api/integrations/highlevel/calls/{}", of_ada[0]["id"])).await;
    assert_eq!(whole["transcript"], "bot: hello 3");

    let again = sync(&server).await;
    assert_eq!((&again["success"], &again["records"]), (&json!(true), &json!(0)), "{again:#}");
    let edit = json!({"id": "call000010", "summary": "asked for a refund", "duration": "12"});
    simulator.control("highlevel", json!({"edit_call": edit})).await;
    let edited = sync(&server).await;
    assert_eq!(edited["records"], 1, "{edited:#}");
    let after = calls(&server).await;
    assert_eq!(after.len(), 120);
    let changed: Vec<_> = after.iter().filter(|call| !first.contains(call)).collect();
    assert_eq!(changed.len(), 1, "{changed:#?}");
    assert_eq!(
        (&changed[0]["summary"], &changed[0]["duration_seconds"]),
        (&json!("asked for a refund"), &json!(12))
    );
    let timeline = server.get(&format!("/api/contacts/{ada}/activities")).await.to_string();
    assert_eq!(timeline.matches("\"called\"").count(), 1, "{timeline}");

    // A failure is written down in words, and shows.
    for _ in 0..3 {
        simulator.control("highlevel", json!({"next": {"do": 500, "path": path}})).await;
    }
    let failed = sync(&server).await;
    assert_eq!(failed["success"], false, "{failed:#}");
    assert!(
        failed["message"].as_str().unwrap().contains("HighLevel does not answer"),
        "{failed:#}"
    );
    let status = server.get("/api/integrations/sync-status").await["services"][0].clone();
    assert_eq!((&status["last_sync_status"], &status["failures"]), (&json!("failure"), &json!(1)));
    let health = server.get("/api/diagnostics/health").await;
    let part = &health["health"]["parts"]["integrations"];
    assert_eq!(part["state"], "degraded", "{part}");
    let of_old = server.post("/functions/v1/sync-highlevel-calls", &json!({})).await.json();
    assert_eq!((&of_old["success"], &of_old["records"]), (&json!(true), &json!(0)), "{of_old:#}");
    let health = server.get("/api/diagnostics/health").await;
    assert_eq!(health["health"]["parts"]["integrations"]["state"], "ok", "{health:#}");
    for path in ["/functions/v1/oauth-test", "/functions/v1/oauth-refresh"] {
        let answer = server.post(path, &json!({})).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["success"]),
            (200, &json!(true)),
            "{answer:?}"
        );
    }
    // Who is forgotten is forgotten here, too, and stays so.
    let erase = json!({"confirm": ada});
    let gone = server.post(&format!("/api/contacts/{ada}/erase"), &erase).await;
    assert_eq!(gone.status, 204, "{gone:?}");
    sync(&server).await;
    let left = json!(calls(&server).await).to_string();
    assert!(!left.contains("+442079460018") && !left.contains("Call number 3\""), "{left}");
    simulator.assert_content().await;
}

on_both!(of_many_who_ask_one_fetches);
async fn of_many_who_ask_one_fetches(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let (server, _) = served(&simulator, &database, "highlevel", "calls", json!({})).await;
    let start = (clock::now() - TimeDelta::days(1)).timestamp_millis();
    simulator.control("highlevel", json!({"calls": {"count": 5, "start": start}})).await;
    let slow = json!({"next": {"do": "slow", "ms": 1500, "path": "call-logs"}});
    simulator.control("highlevel", slow).await;
    let replica = simulator.registered(Setup::replica_of(&server)).start().await;
    let asked = (0..8).map(|number| sync([&server, &replica][number % 2]));
    for synced in futures_util::future::join_all(asked).await {
        assert_eq!(synced["success"], true, "{synced:#}");
    }
    assert_eq!(simulator.calls("highlevel", "call-logs").await, 1);
    assert_eq!(calls(&replica).await.len(), 5);
    simulator.assert_content().await;
}

on_both!(a_contact_is_taken_to_highlevel);
async fn a_contact_is_taken_to_highlevel(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let (server, _) = served(&simulator, &database, "highlevel", "calls", json!({})).await;
    let ada = json!({"email": "ada@example.com", "first_name": "Ada", "company": "Engines"});
    let ada = server.post("/api/contacts", &ada).await.json()["contact"]["id"].clone();
    let path = format!("/api/contacts/{ada}/highlevel");
    let taken = server.post(&path, &json!({})).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    assert_eq!(taken.json()["is_new"], true);
    let again = server.post(&path, &json!({})).await.json();
    assert_eq!(
        (&again["is_new"], &again["highlevel_id"]),
        (&json!(false), &taken.json()["highlevel_id"])
    );
    let there = simulator.created("highlevel", "contacts").await;
    assert_eq!((there.len(), &there[0]["firstName"]), (1, &json!("Ada")), "{there:?}");
    let contact = server.get(&format!("/api/contacts/{ada}/activities")).await.to_string();
    assert_eq!(contact.matches("\"highlevel\"").count(), 2, "{contact}");
    // A call of somebody whom only HighLevel knows by name is that contact's.
    let id = again["highlevel_id"].clone();
    let at = clock::now() - TimeDelta::hours(1);
    let call = json!({"id": "c1", "contactId": id, "createdAt": at, "duration": 9});
    simulator.control("highlevel", json!({"calls": [call]})).await;
    sync(&server).await;
    assert_eq!(calls(&server).await[0]["contact_id"], ada);
    // The agent that looks after connections sees them.
    let run = crate::agents::run(&server, "operations").await;
    let inputs = run["inputs"].as_array().unwrap();
    let connections = inputs.iter().find(|it| it["id"] == "connections").unwrap();
    assert_eq!(connections["lines"][0]["cells"][0], "HighLevel", "{connections:#}");
    simulator.assert_content().await;
}

on_both!(a_message_is_sent_once);
async fn a_message_is_sent_once(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let target = json!({"channel": "C0LUX"});
    let (mut server, _) = served(&simulator, &database, "slack", "messages", target).await;
    let names = server.get("/api/integrations/channels").await;
    assert_eq!(names["channels"][0]["name"], "lux", "{names}");
    let hostile = "<!here> <@U0ADA> @channel ada@example.com & access_token=hunter2hunter2";
    let wish = json!({"title": "Hello", "text": hostile, "key": "one"});
    // The first try is too much, so it is made again.
    let busy =
        json!({"next": {"do": 429, "path": "chat.postMessage", "times": 3, "retry_after": 1}});
    simulator.control("slack", busy).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let answer = server.post("/api/integrations/messages", &wish).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        ids.push(answer.json()["id"].clone());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    until("it is sent, when its time has come", async || {
        time_passes(&server, "waiting").await;
        (delivery(&server, &ids[0]).await["status"] == "sent").then_some(())
    })
    .await;
    let sent = simulator.created("slack", "messages").await;
    assert_eq!(sent.len(), 1, "{sent:?}");
    let text = sent[0].to_string();
    for never in ["<!here", "<@U0ADA", "@channel", "ada@example.com", "hunter2"] {
        assert!(!text.contains(never), "{never}: {text}");
    }
    assert_eq!(
        (&sent[0]["unfurl_links"], &sent[0]["unfurl_media"]),
        (&json!(false), &json!(false))
    );

    let wish = json!({"text": "hello?", "channel": "C0OLD"});
    let id = server.post("/api/integrations/messages", &wish).await.json()["id"].clone();
    let failed = becomes(&server, &id, "failed").await;
    assert!(failed["last_error"].as_str().unwrap().contains("archived"), "{failed:#}");

    // Killed while it leaves: whether it arrived nobody knows, so it is not sent again.
    let slow = json!({"next": {"do": "slow", "ms": 2000, "path": "chat.postMessage"}});
    simulator.control("slack", slow).await;
    let wish = json!({"text": "the last words"});
    let id = server.post("/api/integrations/messages", &wish).await.json()["id"].clone();
    becomes(&server, &id, "sending").await;
    until("it has left", async || {
        (simulator.calls("slack", "chat.postMessage").await >= 6).then_some(())
    })
    .await;
    server.kill().await;
    time_passes(&server, "sending").await;
    server.start().await;
    let lost = becomes(&server, &id, "uncertain").await;
    assert!(lost["last_error"].as_str().unwrap().contains("could be twice"), "{lost:#}");
    let wish = json!({"text": "afterwards"});
    let next = server.post("/api/integrations/messages", &wish).await.json()["id"].clone();
    becomes(&server, &next, "sent").await;
    let sent = simulator.created("slack", "messages").await;
    let last = sent.iter().filter(|it| it.to_string().contains("the last words")).count();
    assert!(last <= 1, "{sent:?}");
    assert_eq!(delivery(&server, &id).await["status"], "uncertain");
    simulator.assert_content().await;
}

on_both!(a_storm_is_one_message_though_two_watch);
async fn a_storm_is_one_message_though_two_watch(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let stormy = |setup: Setup| {
        let log = setup.folder().join("app.log");
        let toml = format!(
            "[capture]\nstorm = 40\nstorm_calm = \"5s\"\n[[sources]]\nname = \"app\"\npath = \"{}\"\n{}",
            log.display(),
            simulator.toml()
        );
        setup.toml(&toml)
    };
    let server = stormy(Setup::new(&database)).start().await;
    let replica = stormy(Setup::replica_of(&server)).start().await;
    let mut browser = admin(&server).await;
    let target = json!({"channel": "C0LUX"});
    serve(&mut browser, &server, &simulator, "slack", "messages", target).await;
    let event =
        json!({"error_type": "Stormy", "error_message": "<!here> @channel & more", "app": "shop"});
    until("a message is sent", async || {
        server.post("/api/errors", &json!([event, event, event, event, event])).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let sent = simulator.created("slack", "messages").await;
        (!sent.is_empty()).then_some(())
    })
    .await;
    let path = "/api/integrations/deliveries?kind=storm";
    let told = until("its end is told", async || {
        let told = server.get(path).await["deliveries"].as_array().unwrap().clone();
        let is_over = told.iter().all(|it| it["next_at"].is_null() && it["status"] == "sent");
        is_over.then_some(told)
    })
    .await;
    assert_eq!((told.len(), &told[0]["edits"]), (1, &json!(1)), "{told:#?}");
    let sent = simulator.created("slack", "messages").await;
    assert_eq!((sent.len(), &sent[0]["edits"]), (1, &json!(1)), "{sent:#?}");
    let text = sent[0].to_string();
    assert!(text.contains("is over") && text.contains("Stormy"), "{text}");
    assert!(!text.contains("<!here") && !text.contains("@channel"), "{text}");
    assert!(replica.get(path).await["deliveries"][0]["told_count"].as_i64().unwrap() >= 40);
    simulator.assert_content().await;
}

on_both!(a_repair_with_news_is_one_message);
async fn a_repair_with_news_is_one_message(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let target = json!({"channel": "C0LUX"});
    let (server, _) = served(&simulator, &database, "slack", "messages", target).await;
    let event = json!({"error_type": "KeyError", "error_message": "price", "endpoint": "/buy"});
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    crate::support::repair(&server, &json!({})).await;
    let path = "/api/integrations/deliveries?kind=repair";
    let told = until("it is told", async || {
        let told = server.get(path).await["deliveries"].as_array().unwrap().clone();
        told.iter().any(|it| it["status"] == "sent").then_some(told)
    })
    .await;
    assert_eq!(told.len(), 1, "{told:#?}");
    let sent = simulator.created("slack", "messages").await;
    assert_eq!(sent.len(), 1, "{sent:#?}");
    assert!(sent[0].to_string().contains("0 of 1 resolved"), "{sent:#?}");
    simulator.assert_content().await;
}

on_both!(a_report_is_stored_once);
async fn a_report_is_stored_once(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let target = json!({"folder": "/Berichte Zürich 日本"});
    let (server, mut browser) = served(&simulator, &database, "dropbox", "reports", target).await;
    let hostile = json!({"error_type": "Bad|Table", "error_message": "[x](javascript:1) <b>", "endpoint": "/a|b"});
    assert_eq!(server.post("/api/errors", &hostile).await.status, 201);
    for (app, kind) in [("dropbox", None), ("google", Some("google_drive"))] {
        if let Some(kind) = kind {
            let target = json!({"folder": "folder-reports"});
            serve(&mut browser, &server, &simulator, kind, "reports", target).await;
        }
        let wish = json!({"key": app});
        let id = server.post("/api/integrations/report", &wish).await.json()["id"].clone();
        let again = server.post("/api/integrations/report", &wish).await.json()["id"].clone();
        assert_eq!(id, again);
        let stored = becomes(&server, &id, "sent").await;
        assert!(stored["link"].as_str().unwrap().starts_with("https://"), "{stored:#}");
        // It arrived, and nobody lived to write that down.
        let sql = format!(
            "update integration_delivery set status = 'sending', external_id = null,
                 next_at = '2020-01-01T00:00:00+00:00' where id = {id}"
        );
        server.database().execute(&server.data(), &sql).await;
        let found = becomes(&server, &id, "sent").await;
        assert_eq!(found["external_id"], stored["external_id"]);
        let files = simulator.created(app, "files").await;
        assert_eq!(files.len(), 1, "{files:?}");
        let text = files[0]["content"].as_str().unwrap();
        assert!(text.contains("## Errors\n\n1 events; 1 kinds of errors were new"), "{text}");
        assert!(text.contains("Bad\\|Table") && !text.contains("<b>"), "{text}");
        assert!(files[0].to_string().contains("Lux report"), "{files:?}");
    }
    let dropbox = simulator.created("dropbox", "files").await;
    let path = dropbox[0]["path_display"].as_str().unwrap();
    assert!(path.starts_with("/Berichte Zürich 日本/Lux report "), "{path}");
    simulator.assert_content().await;
}

on_both!(a_meeting_has_a_link);
async fn a_meeting_has_a_link(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let target = json!({"calendar": "primary"});
    let (server, mut browser) =
        served(&simulator, &database, "google_calendar", "meetings", target).await;
    simulator.control("google", json!({"meet": "pending"})).await;
    let start = clock::now() + TimeDelta::days(1);
    let wish = json!({
        "title": "The storm of yesterday", "start": start, "minutes": 45, "key": "k",
        "attendees": ["ada@example.com"], "time_zone": "Europe/Zurich",
    });
    let made = server.post("/api/integrations/meetings", &wish).await;
    assert_eq!(made.status, 200, "{made:?}");
    let made = made.json();
    assert_eq!((&made["state"], &made["is_new"]), (&json!("ready"), &json!(true)), "{made:#}");
    assert!(made["link"].as_str().unwrap().starts_with("https://meet.google.com/"), "{made:#}");
    let again = server.post("/api/integrations/meetings", &wish).await.json();
    assert_eq!((&again["id"], &again["is_new"]), (&made["id"], &json!(false)), "{again:#}");
    let events = simulator.created("google", "events").await;
    assert_eq!((events.len(), &events[0]["sendUpdates"]), (1, &json!("all")), "{events:?}");
    let wrong = json!({"title": "x", "start": start, "attendees": ["nobody"]});
    server.post("/api/integrations/meetings", &wrong).await.problem(400);

    serve(&mut browser, &server, &simulator, "google_meet", "meetings", json!({})).await;
    let room = server.post("/api/integrations/meetings", &wish).await.json();
    assert!(room["url"].is_null() && room["link"].is_string(), "{room:#}");
    simulator.assert_content().await;
}

on_both!(a_model_proposes_and_a_person_sends);
async fn a_model_proposes_and_a_person_sends(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let model = Model::scripted().await;
    let server = simulator.setup(&database).model(&model).start().await;
    let mut browser = admin(&server).await;
    let target = json!({"channel": "C0LUX"});
    serve(&mut browser, &server, &simulator, "slack", "messages", target).await;
    model.push(Reply::tools(&[
        ("integration_status", json!({})),
        ("recent_calls", json!({"days": 30})),
        ("send_message", json!({"text": "The shop is well again."})),
        ("schedule_meeting", json!({"title": "x", "start": "2026-12-01T10:00:00Z"})),
    ]));
    model.push(Reply::text("Press the button to tell them."));
    let question = json!({"message": "tell the team that the shop is well again"});
    let told = server.post("/chatbot/send", &question).await.json();
    let sent = model.asked().pop().unwrap().body.to_string();
    assert!(sent.contains("1 connections, 0 need a look"), "{sent}");
    assert!(sent.contains("No call was ever fetched"), "{sent}");
    assert!(sent.contains("nothing serves meetings"), "{sent}");
    let proposals = told["proposals"].as_array().unwrap();
    assert_eq!((proposals.len(), &proposals[0]["kind"]), (1, &json!("message")), "{told:#}");
    assert_eq!(simulator.calls("slack", "chat.postMessage").await, 0);
    let wish = proposals[0]["body"].to_string();
    for _ in 0..2 {
        let request = browser.request(&server, Method::POST, "/integrations/messages");
        let fields = [("session", ""), ("wish", wish.as_str())];
        let answer = browser.send(crate::support::form(request, &fields)).await;
        assert_eq!(answer.status, 303, "{answer:?}");
    }
    until("it is sent", async || {
        (!simulator.created("slack", "messages").await.is_empty()).then_some(())
    })
    .await;
    assert_eq!(simulator.created("slack", "messages").await.len(), 1);
    simulator.assert_content().await;
}
