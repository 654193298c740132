//! Campaigns over HTTP: from the brief to an approval that holds, and what takes it back.

use reqwest::Method;
use serde_json::{Value, json};

use crate::mail::{posting, sink::Sink};
use crate::support::{Answer, Database, Model, Reply, Role, Server, Setup, on_both, until};

/// Contacts of every kind in one segment; gives its id and those of the contacts.
pub(crate) async fn people(server: &Server) -> (i64, Vec<i64>) {
    let segment = server.post("/api/segments", &json!({ "name": "Readers" })).await;
    assert_eq!(segment.status, 201, "{segment:?}");
    let segment = segment.json();
    let segment = segment["id"].as_i64().or(segment["segment"]["id"].as_i64()).unwrap();
    let at = "'2026-11-20T10:00:00+00:00'";
    for (email, first, consent, bounced) in [
        ("'ada@example.com'", "Ada", "confirmed", "null"),
        ("'eve@example.com'", "{{ 7*7 }}<script>alert(1)</script>**x**", "confirmed", "null"),
        ("'nobody@example.com'", "", "confirmed", "null"),
        ("'asked@example.com'", "Asked", "pending", "null"),
        ("'gone@example.com'", "Gone", "confirmed", "'hard'"),
        ("null", "Phone", "none", "null"),
    ] {
        let key = email;
        server
            .database()
            .execute(
                &server.data(),
                &format!(
                    "insert into contact (organization_id, email, email_key, first_name, company,
                         consent, bounced, attributes, created_at, updated_at, active_at)
                     values (1, {email}, {key}, '{first}', 'Looms', '{consent}', {bounced},
                         '{{\"user_id\":\"u-{first}\",\"plan\":\"pro\"}}', {at}, {at}, {at})"
                ),
            )
            .await;
    }
    let sql = format!(
        "insert into segment_member (segment_id, generation, contact_id, from_second, until_second)
         select s.id, s.generation, c.id, 0, 253402300799 from contact c, segment s where s.id = {segment}"
    );
    server.database().execute(&server.data(), &sql).await;
    let ids = server
        .database()
        .column(&server.data(), "select cast(id as text) from contact order by id")
        .await;
    (segment, ids.iter().map(|id| id.parse().unwrap()).collect())
}

fn brief() -> Value {
    json!({
        "goal": "Sell the weaving course", "offer": "A course of 6 evenings for 49 EUR.",
        "links": [{ "label": "The course", "url": "https://shop.example/course" }],
        "call_to_action": "See the course", "date": "until 12 December",
    })
}

async fn create(server: &Server, more: Value) -> Value {
    let mut body = json!({ "name": "Weaving", "brief": brief() });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = server.post("/api/campaigns", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

async fn post(server: &Server, id: i64, what: &str) -> Answer {
    let path = format!("/api/campaigns/{id}/{what}");
    Answer::of(server.request_as(Role::Operator, Method::POST, &path)).await
}

async fn mails(server: &Server, id: i64) -> Vec<String> {
    let sql = format!(
        "select c.email from campaign_mail m join contact c on c.id = m.contact_id
         where m.campaign_id = {id} and m.status = 'waiting' order by c.id"
    );
    server.database().column(&server.data(), &sql).await
}

on_both!(an_approval_holds_for_what_was_seen);
async fn an_approval_holds_for_what_was_seen(database: Database) {
    let server = Server::plain(&database).await;
    let (segment, _) = people(&server).await;
    let made = create(&server, json!({})).await;
    let id = made["campaign"]["id"].as_i64().unwrap();
    assert_eq!(made["newest"]["engine"], "template");
    assert!(made["newest"]["content"]["strategy"].as_str().unwrap().contains("template"));
    assert_eq!(made["newest"]["content"]["subjects"].as_array().unwrap().len(), 3);
    // Without an audience it cannot be asked for.
    assert!(post(&server, id, "submit").await.problem(409).contains("no segment"));
    let path = format!("/api/campaigns/{id}");
    // Nothing goes out meanwhile: what is sent can no longer be edited.
    let change = json!({
        "segment_id": segment, "timezone": "Europe/Berlin", "per_minute": 60,
        "send_at": nine_in(20),
    });
    let changed = server.patch(&path, &change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let check = server.get(&format!("{path}/check")).await;
    let audience = &check["audience"];
    assert_eq!(audience["members"], 6, "{check:#}");
    assert_eq!(audience["recipients"], 3);
    assert_eq!(audience["without_consent"], 1);
    assert_eq!(audience["without_email"], 1);
    assert_eq!(audience["bounced"], 1);
    assert_eq!(audience["without_first_name"], 1);
    assert_ne!(check["state"], "fail", "{check:#}");

    let submitted = post(&server, id, "submit").await;
    assert_eq!(submitted.status, 200, "{submitted:?}");
    let hash = submitted.json()["hash"].as_str().unwrap().to_owned();
    let approve =
        async |hash: &str| server.post(&format!("{path}/approve"), &json!({ "hash": hash })).await;
    assert!(approve("something else").await.problem(409).contains("changed"));
    assert!(mails(&server, id).await.is_empty());
    let approved = approve(&hash).await;
    assert_eq!(approved.status, 200, "{approved:?}");
    assert_eq!(approved.json()["campaign"]["status"], "approved");
    assert_eq!(approved.json()["campaign"]["audience"], 3);
    let all = ["ada@example.com", "eve@example.com", "nobody@example.com"];
    assert_eq!(mails(&server, id).await, all);
    let stats = server.get(&format!("{path}/stats")).await;
    assert_eq!((&stats["audience"], &stats["waiting"]), (&json!(3), &json!(3)));
    assert!(approve(&hash).await.problem(409).contains("approved"));

    // An edit takes it back, and so does another time.
    let mut content = approved.json()["newest"]["content"].clone();
    content["subjects"] = json!(["A course for {{ first_name|default(\"you\") }}"]);
    let edit = json!({ "base": 1, "content": content });
    let edited = server.post(&format!("{path}/versions"), &edit).await;
    assert_eq!(edited.status, 201, "{edited:?}");
    assert_eq!(edited.json()["campaign"]["status"], "in_review");
    assert_eq!(edited.json()["newest"]["engine"], "person");
    assert!(mails(&server, id).await.is_empty());
    // Who edits what they never saw hears of it.
    let again = server.post(&format!("{path}/versions"), &edit).await;
    assert!(again.problem(409).contains("version 2"));
    assert!(approve(&hash).await.problem(409).contains("changed"));
    let hash = edited.json()["hash"].as_str().unwrap().to_owned();
    assert_eq!(approve(&hash).await.status, 200);
    assert_eq!(mails(&server, id).await.len(), 3);
    let later = json!({ "send_at": nine_in(30), "timezone": "Europe/Berlin" });
    let planned = server.patch(&path, &later).await;
    assert_eq!(planned.status, 200, "{planned:?}");
    assert_eq!(planned.json()["campaign"]["status"], "in_review");
    let at = planned.json()["campaign"]["send_at"].as_str().unwrap().to_owned();
    assert!(at.contains("T08:00") || at.contains("T07:00"), "{at}");
    // A name is seen by nobody.
    let hash = planned.json()["hash"].as_str().unwrap().to_owned();
    assert_eq!(approve(&hash).await.status, 200);
    let named = server.patch(&path, &json!({ "name": "Weaving II" })).await;
    assert_eq!(named.json()["campaign"]["status"], "approved", "{named:?}");

    // Paused, it goes on as it was; cancelled, nobody's mail waits.
    assert_eq!(post(&server, id, "pause").await.json()["campaign"]["status"], "paused");
    assert_eq!(post(&server, id, "resume").await.json()["campaign"]["status"], "approved");
    assert_eq!(post(&server, id, "cancel").await.json()["campaign"]["status"], "cancelled");
    assert!(mails(&server, id).await.is_empty());
    assert_eq!(server.get(&format!("{path}/stats")).await["cancelled"], 3);
    post(&server, id, "resume").await.problem(409);
    assert!(
        server
            .post(&format!("{path}/versions"), &json!({ "base": 2, "content": content }))
            .await
            .problem(409)
            .contains("duplicate")
    );
    let copy = post(&server, id, "duplicate").await;
    assert_eq!(copy.status, 201);
    assert_eq!(copy.json()["campaign"]["status"], "draft");
    let copy = copy.json()["campaign"]["id"].as_i64().unwrap();
    let delete =
        |id| server.request_as(Role::Operator, Method::DELETE, &format!("/api/campaigns/{id}"));
    assert_eq!(Answer::of(delete(copy)).await.status, 204);
    Answer::of(delete(id)).await.problem(409);
    let deeds: Vec<String> = server
        .deeds()
        .await
        .iter()
        .map(|deed| deed["action"].as_str().unwrap().to_owned())
        .filter(|deed| deed == "campaign.approve")
        .collect();
    assert_eq!(deeds.len(), 3, "{deeds:?}");
}

/// Nine o'clock so many days from now, as a clock on a wall shows it.
fn nine_in(days: i64) -> String {
    let day = lux::clock::now() + chrono::TimeDelta::days(days);
    format!("{}T09:00", day.date_naive())
}

on_both!(what_is_sent_looks_as_it_was_approved);
async fn what_is_sent_looks_as_it_was_approved(database: Database) {
    let sink = Sink::new().await;
    let server = posting(&database, &sink).start().await;
    let (segment, _) = people(&server).await;
    let brand = async |name: &str, voice: &str| {
        let brand = json!({ "name": name, "voice": voice, "address": "1 Mill Road" });
        let put = server.request_as(Role::Operator, Method::PUT, "/api/brand").json(&brand);
        assert_eq!(Answer::of(put).await.status, 200);
    };
    brand("Old Looms", "calm").await;
    let made = create(&server, json!({ "segment_id": segment })).await;
    let id = made["campaign"]["id"].as_i64().unwrap();
    let path = format!("/api/campaigns/{id}");
    let later = json!({ "send_at": nine_in(30), "timezone": "UTC" });
    assert_eq!(server.patch(&path, &later).await.status, 200);
    let submitted = post(&server, id, "submit").await.json();
    let approve = async |whole: &Value| {
        let hash = json!({ "hash": whole["hash"] });
        server.post(&format!("{path}/approve"), &hash).await
    };
    // How drafts are to sound is seen by nobody; who it comes from is.
    brand("Old Looms", "loud").await;
    assert_eq!(server.get(&path).await["hash"], submitted["hash"]);
    brand("New Looms", "loud").await;
    assert!(approve(&submitted).await.problem(409).contains("brand"));
    brand("Old Looms", "loud").await;
    let approved = approve(&submitted).await;
    assert_eq!(approved.status, 200, "{approved:?}");

    // What comes later is for what is approved later.
    brand("Evil Looms", "loud").await;
    assert_eq!(server.get(&path).await["hash"], submitted["hash"]);
    let preview = server.get(&format!("{path}/preview")).await;
    assert!(preview["html"].as_str().unwrap().contains("Old Looms"), "{preview}");
    let now = format!("update campaign set send_at = null where id = {id}");
    server.database().execute(&server.data(), &now).await;
    until("all have it", async || (sink.count() == 3).then_some(())).await;
    for mail in sink.received() {
        assert!(mail.html().contains("Old Looms") && !mail.text.contains("Evil"), "{}", mail.text);
    }
}

on_both!(a_mail_is_seen_as_its_recipient_sees_it);
async fn a_mail_is_seen_as_its_recipient_sees_it(database: Database) {
    let server = Server::plain(&database).await;
    let (segment, ids) = people(&server).await;
    let brand = json!({
        "name": "Looms & Co", "address": "1 Mill Road", "colours": { "accent": "#aa3377" },
        "avoid": ["bargain"],
    });
    let answer =
        Answer::of(server.request_as(Role::Operator, Method::PUT, "/api/brand").json(&brand)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let made = create(&server, json!({ "segment_id": segment })).await;
    let id = made["campaign"]["id"].as_i64().unwrap();
    let path = format!("/api/campaigns/{id}");
    let content = json!({
        "subjects": ["For {{ first_name|default(\"you\") }}"],
        "body": "Hello **{{ first_name|default(\"there\") }}** of {{ company }},\n\nyour plan is {{ attributes.plan }}.\n\n[Look](https://shop.example/course)",
    });
    let edited =
        server.post(&format!("{path}/versions"), &json!({ "base": 1, "content": content })).await;
    assert_eq!(edited.status, 201, "{edited:?}");
    let seen = async |contact: i64| server.get(&format!("{path}/preview?contact={contact}")).await;
    let ada = seen(ids[0]).await;
    assert_eq!((&ada["to"], &ada["subject"]), (&json!("ada@example.com"), &json!("For Ada")));
    let html = ada["html"].as_str().unwrap();
    for part in [
        "<strong>Ada</strong> of Looms",
        "your plan is pro",
        "#aa3377",
        "Looms &amp; Co",
        "1 Mill Road",
        "Unsubscribe",
        "color-scheme",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let text = ada["text"].as_str().unwrap();
    assert!(
        text.contains("Look (https://shop.example/course)") && text.contains("Unsubscribe: "),
        "{text}"
    );
    // What somebody is called is no markup and no field.
    let eve = seen(ids[1]).await;
    let html = eve["html"].as_str().unwrap();
    assert!(html.contains("{{ 7*7 }}&lt;script&gt;alert(1)&lt;/script&gt;**x**"), "{html}");
    assert!(!html.contains("<script") && !html.contains("<strong>x"), "{html}");
    assert_eq!(eve["subject"], "For {{ 7*7 }}<script>alert(1)</script>**x**");
    assert_eq!(seen(ids[2]).await["subject"], "For you");
    // Who has no address, or is another's, cannot be looked at.
    for contact in [ids[5], 777_001] {
        let request = server.request_as(
            Role::Read,
            Method::GET,
            &format!("{path}/preview?contact={contact}"),
        );
        Answer::of(request).await.problem(404);
    }
    // As a page it may do nothing at all.
    let page = server.request_as(
        Role::Read,
        Method::GET,
        &format!("/campaigns/{id}/mail?contact={}", ids[1]),
    );
    let page = Answer::of(page).await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.ends_with("sandbox"), "{policy}");
    assert!(!policy.contains("script-src"), "{policy}");
    assert_eq!(page.headers["x-frame-options"], "SAMEORIGIN");

    // What cannot be kept says why.
    let refused = async |content: Value, word: &str| {
        let body = json!({ "base": 2, "content": content });
        let detail = server.post(&format!("{path}/versions"), &body).await.problem(400);
        assert!(detail.contains(word), "{detail}");
    };
    refused(json!({ "subjects": ["{{ 7*7 }}"], "body": "x" }), "no merge field").await;
    refused(json!({ "subjects": [], "body": "x" }), "subjects").await;
    refused(json!({ "subjects": ["x"], "body": "  " }), "body is empty").await;
    refused(
        json!({ "subjects": ["x"], "body": "[x](https://a.example/{{ first_name }})" }),
        "address of a link",
    )
    .await;
    refused(json!({ "subjects": ["x"], "body": "x", "social": [{ "network": "x", "text": "y".repeat(281) }] }), "281").await;
    refused(json!({ "subjects": ["x"], "body": "x", "ads": [{ "headline": "h".repeat(31), "description": "" }] }), "headline").await;

    // What is wrong with a draft that can be kept stands in its checklist.
    let content = json!({
        "subjects": ["BUY NOW!!!"], "preview_text": "",
        "body": "A bargain for 17 EUR: [here](http://localhost/x) ![](https://shop.example/a.png) {{ attributes.plan }}",
    });
    let edited =
        server.post(&format!("{path}/versions"), &json!({ "base": 2, "content": content })).await;
    assert_eq!(edited.status, 201, "{edited:?}");
    let check = server.get(&format!("{path}/check")).await;
    let state = |id: &str| {
        let items = check["items"].as_array().unwrap();
        items.iter().find(|item| item["id"] == id).unwrap()["state"].as_str().unwrap().to_owned()
    };
    for (id, expected) in [
        ("audience", "pass"),
        ("preview_text", "warn"),
        ("unsubscribe", "pass"),
        ("postal_address", "pass"),
        ("links", "fail"),
        ("merge_fields", "warn"),
        ("wording", "fail"),
        ("numbers", "warn"),
        ("length", "warn"),
        ("pictures", "warn"),
        ("contrast", "pass"),
        ("size", "pass"),
    ] {
        assert_eq!(state(id), expected, "{id}: {check:#}");
    }
    assert!(post(&server, id, "submit").await.problem(409).contains("checklist fails"));
    // Back to the version before; the changes can be looked at.
    let restored = post(&server, id, "versions/2/restore").await;
    assert_eq!(restored.status, 201, "{restored:?}");
    assert_eq!(restored.json()["campaign"]["version"], 4);
    let diff = server.get(&format!("{path}/versions/4/diff?from=3")).await;
    assert!(
        diff["subjects"]
            .as_array()
            .unwrap()
            .contains(&json!({ "kind": "removed", "text": "BUY NOW!!!" })),
        "{diff:#}"
    );
    assert_eq!(
        server.get(&format!("{path}/versions")).await["versions"].as_array().unwrap().len(),
        4
    );
}

fn drafted(body: &str) -> Value {
    json!({
        "subjects": ["Six evenings at the loom", "Learn to weave", "Your own scarf"],
        "preview_text": "Places for beginners, until 12 December",
        "body": body,
        "social": [{ "network": "x", "text": "Learn to weave: https://shop.example/course" }],
        "ads": [{ "headline": "Learn to weave", "description": "6 evenings for beginners" }],
        "why": "They asked for it.", "timing": "Before the holidays.", "measure": ["visits of the course"],
    })
}

on_both!(a_model_drafts_from_what_it_was_told);
async fn a_model_drafts_from_what_it_was_told(database: Database) {
    let model = Model::scripted().await;
    let server = Setup::new(&database).model(&model).start().await;
    // A price that nobody named, then the draft as it should be.
    let good = "Hello {{ first_name|default(\"there\") }},\n\nsix evenings for 49 EUR.\n\n[See the course](https://shop.example/course)";
    model.push(Reply::json(&drafted("Now only 29 EUR! [x](https://evil.example/)")));
    model.push(Reply::json(&drafted(good)));
    let made = create(&server, json!({})).await;
    assert_eq!(made["newest"]["engine"], "model", "{made:#}");
    assert_eq!(made["newest"]["content"]["body"], good);
    let asked = model.asked();
    assert_eq!(asked.len(), 2);
    assert!(
        asked[1].last().contains("29") && asked[1].last().contains("evil.example"),
        "{}",
        asked[1].last()
    );
    // What is invented twice is not taken.
    for _ in 0..2 {
        model.push(Reply::json(&drafted("Only 29 EUR!")));
    }
    let made = create(&server, json!({})).await;
    assert_eq!(made["newest"]["engine"], "template", "{made:#}");
    assert!(made["campaign"]["note"].as_str().unwrap().contains("29"), "{made:#}");
    // Nor what holds a field that there is not.
    for _ in 0..2 {
        model.push(Reply::json(&drafted("Hello {{ contact.email }}")));
    }
    let made = create(&server, json!({})).await;
    assert_eq!(made["newest"]["engine"], "template", "{made:#}");
    // Who does not want it, does not ask it.
    let before = model.asked().len();
    let made = create(&server, json!({ "model": false })).await;
    assert_eq!((&made["newest"]["engine"], model.asked().len()), (&json!("template"), before));
}

on_both!(who_met_an_error_is_told_once_it_is_solved);
async fn who_met_an_error_is_told_once_it_is_solved(database: Database) {
    let server = Server::plain(&database).await;
    people(&server).await;
    for user in ["ADA@example.com", "u-Asked", "u-Gone", "stranger"] {
        let event = json!({
            "error_type": "KeyError", "error_message": "price", "endpoint": "/buy", "user_id": user,
        });
        assert_eq!(server.post("/api/errors", &event).await.status, 201);
    }
    let groups = server.get("/api/diagnostics/groups").await;
    let group = groups["groups"][0]["id"].as_i64().unwrap();
    let path = format!("/api/diagnostics/groups/{group}/campaign");
    let tell = async || Answer::of(server.request_as(Role::Operator, Method::POST, &path)).await;
    assert!(tell().await.problem(409).contains("not resolved"));
    assert!(server.get("/api/campaigns").await["campaigns"].as_array().unwrap().is_empty());
    let resolved = server
        .patch(
            &format!("/api/diagnostics/groups/{group}"),
            &json!({ "status": "resolved", "reason": "the price is looked up again" }),
        )
        .await;
    assert_eq!(resolved.status, 200, "{resolved:?}");
    // Somebody's word is no evidence that others should be told on.
    assert!(tell().await.problem(409).contains("by hand"));
    assert!(server.get("/api/campaigns").await["campaigns"].as_array().unwrap().is_empty());
    let proven = "update evidence set kind = 'probe'";
    server.database().execute(&server.data(), proven).await;
    let met = tell().await;
    assert_eq!(met.status, 200, "{met:?}");
    let met = met.json();
    assert_eq!(
        (&met["users"], &met["contacts"], &met["known"]),
        (&json!(4), &json!(3), &json!(false))
    );
    assert_eq!(met["campaign"]["origin"], format!("error:{group}"));
    assert_eq!(met["campaign"]["status"], "draft");
    assert_eq!(met["campaign"]["segment"], format!("Met error {group}"));
    let id = met["campaign"]["id"].as_i64().unwrap();
    let check = server.get(&format!("/api/campaigns/{id}/check")).await;
    // One agreed; one did not, and one's address is wrong.
    assert_eq!(check["audience"]["recipients"], 1, "{check:#}");
    let again = tell().await.json();
    assert_eq!((&again["campaign"]["id"], &again["known"]), (&json!(id), &json!(true)));
    assert_eq!(again["contacts"], 3);
}

on_both!(campaigns_are_listed_page_by_page);
async fn campaigns_are_listed_page_by_page(database: Database) {
    let server = Server::plain(&database).await;
    for number in 0..5 {
        create(&server, json!({ "name": format!("c{number}") })).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/api/campaigns?limit=2".to_owned());
    loop {
        let page = server.get(&path).await;
        let names = page["campaigns"].as_array().unwrap().iter();
        seen.extend(names.map(|it| it["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/campaigns?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["c4", "c3", "c2", "c1", "c0"]);
    assert!(
        server.get("/api/campaigns?status=sent").await["campaigns"].as_array().unwrap().is_empty()
    );
}
