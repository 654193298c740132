//! The eleven agents over HTTP: runs with their inputs, citations that exist, a model that invents,
//! drafts that wait for a click, and the pause of everything that begins by itself.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Database, Model, PATIENCE, Reply, Role, Server, Setup, groups, on_both, until,
};

const KEYS: [&str; 11] = [
    "app_intelligence",
    "operations",
    "analytics",
    "brand_strategy",
    "content_seo",
    "creative_design",
    "social_media",
    "email_crm",
    "advertising",
    "sales_enablement",
    "retention",
];

pub(crate) async fn contact(server: &Server, body: Value) -> i64 {
    let answer = server.post("/api/contacts", &body).await;
    assert!(answer.status.is_success(), "{answer:?}");
    let told = answer.json();
    told["contact"]["id"].as_i64().or(told["id"].as_i64()).unwrap_or_else(|| panic!("{told}"))
}

/// Four contacts of this week, three of them from the webinar, and one who went quiet.
pub(crate) async fn contacts(server: &Server) -> Vec<i64> {
    let mut ids = Vec::new();
    for (name, source) in [
        ("ada", "webinar"),
        ("ben", "webinar"),
        ("cem", "webinar"),
        ("dora", "form"),
        ("eli", "form"),
    ] {
        let id = contact(
            server,
            json!({
                "email": format!("{name}@example.org"), "first_name": name, "source": source,
                "phone": if name == "ada" { "+442079460018" } else { "" },
                "company": if name == "ada" { "Analytical" } else { "" },
                "attributes": { "utm_source": "linkedin" },
            }),
        )
        .await;
        ids.push(id);
    }
    let old = "2026-01-02T03:04:05+00:00";
    let quiet = match server.database() {
        Database::Sqlite => "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-90 days')",
        Database::Postgres(_) => "now() - interval '90 days'",
    };
    let sql = format!(
        "update contact set created_at = '{old}', active_at = {quiet}, consent = 'confirmed'
         where id = {}",
        ids[4]
    );
    server.database().execute(&server.data(), &sql).await;
    ids
}

pub(crate) async fn run(server: &Server, key: &str) -> Value {
    let answer = server.post(&format!("/api/agents/{key}/runs?wait=50"), &json!({})).await;
    assert_eq!(answer.status, 200, "{key}: {answer:?}");
    let run = answer.json();
    assert_eq!(run["status"], "done", "{key}: {run:#}");
    run
}

/// Ids of everything that a run's inputs hold.
fn ids(run: &Value) -> Vec<String> {
    let mut ids = Vec::new();
    for input in run["inputs"].as_array().unwrap() {
        assert!(input["rows"].is_i64(), "{input}");
        ids.push(input["id"].as_str().unwrap().to_owned());
        let lines = input["lines"].as_array().unwrap();
        ids.extend(lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()));
    }
    ids
}

fn said(run: &Value) -> String {
    let findings = run["result"]["findings"].as_array().unwrap();
    let texts = findings.iter().map(|it| it["text"].as_str().unwrap());
    texts.collect::<Vec<_>>().join("\n")
}

on_both!(each_agent_reads_and_says_what_rests_on_it);
async fn each_agent_reads_and_says_what_rests_on_it(database: Database) {
    let server = Server::plain(&database).await;
    let ids_of = contacts(&server).await;
    let event = json!({ "error_type": "KeyError", "error_message": "price", "endpoint": "/buy",
                        "user_id": "Ada@example.org" });
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    until("it has a group", async || groups(&server, "").await.pop()).await;
    let wish = json!({ "name": "Autumn", "brief": { "goal": "Tell of the new shop" } });
    let made = server.post("/api/campaigns", &wish).await;
    assert_eq!(made.status, 201, "{made:?}");
    let on = server.patch("/api/agents/social_media", &json!({ "on": true })).await;
    assert_eq!((on.status.as_u16(), &on.json()["on"]), (200, &json!(true)));

    let mut runs = std::collections::BTreeMap::new();
    for key in KEYS {
        let run = run(&server, key).await;
        assert_eq!((&run["engine"], &run["trigger"]), (&json!("template"), &json!("manual")));
        assert!(!run["result"]["summary"].as_str().unwrap().is_empty(), "{run:#}");
        assert_eq!(run["outcome"], run["result"]["summary"], "{run:#}");
        let known = ids(&run);
        assert!(!known.is_empty(), "{key} read nothing");
        for what in ["findings", "proposals"] {
            for one in run["result"][what].as_array().unwrap() {
                let cited = one["citations"].as_array().unwrap();
                assert!(what == "proposals" || !cited.is_empty(), "{key}: {one}");
                for id in cited {
                    assert!(known.contains(&id.as_str().unwrap().to_owned()), "{key}: {one}");
                }
            }
        }
        let notes = run["result"]["notes"].to_string();
        assert!(notes.contains("template"), "{key}: {notes}");
        runs.insert(key, run);
    }

    let analytics = &runs["analytics"];
    let text = said(analytics);
    assert!(text.contains("4 contacts signed up this week"), "{text}");
    assert!(text.contains("3 of them came from webinar"), "{text}");
    assert!(text.contains("1 of them came from form"), "{text}");
    assert!(text.contains("KeyError: price: 1 event in 7 days, 1 user affected"), "{text}");
    let sql = analytics["inputs"][0]["sql"].as_str().unwrap();
    assert!(sql.starts_with("select count(") && sql.contains("from contact"), "{sql}");

    let text = said(&runs["email_crm"]);
    assert!(text.contains("1 of 5 contacts agreed to mail"), "{text}");
    let proposals = runs["email_crm"]["result"]["proposals"].as_array().unwrap();
    let kinds: Vec<&str> = proposals.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["segment", "campaign"], "{proposals:#?}");

    let text = said(&runs["retention"]);
    assert!(text.contains("KeyError: price hit 1 contact in 30 days"), "{text}");
    assert!(text.contains(&format!("Contact {} has been quiet for 90 days", ids_of[4])), "{text}");
    let hits = &runs["retention"]["inputs"].as_array().unwrap()[3];
    assert_eq!(hits["lines"][0]["cells"][0], ids_of[0], "{hits:#}");

    let best = said(&runs["sales_enablement"]);
    assert!(best.starts_with(&format!("Contact {}: 70 points", ids_of[0])), "{best}");
    assert!(best.contains("the telephone number is known (+15)"), "{best}");
    assert!(said(&runs["advertising"]).contains("4 contacts came tagged linkedin"), "{runs:#?}");
    let text = said(&runs["operations"]);
    assert!(!text.contains("disk"), "{text}");
    assert_eq!(runs["app_intelligence"]["inputs"][0]["lines"][0]["cells"][2], 1);
    assert_eq!(runs["creative_design"]["inputs"][0]["rows"], 1);
    assert!(runs["social_media"]["outcome"].as_str().unwrap().starts_with("Nothing to do"));

    // Contacts are in what is kept by id only.
    for run in runs.values() {
        let text = run.to_string();
        assert!(!text.contains("ada@example.org") && !text.contains("\"cem\""), "{text}");
    }
    let listed = server.get("/api/agents").await;
    let listed = listed["agents"].as_array().unwrap();
    assert_eq!(listed.len(), 11);
    for agent in listed {
        let key = agent["key"].as_str().unwrap();
        assert_eq!(agent["last"]["outcome"], runs[key]["outcome"]);
        let one = server.get(&format!("/api/agents/{key}")).await;
        assert_eq!(one["runs"][0]["id"], runs[key]["id"]);
    }
}

on_both!(a_proposal_is_made_once_by_a_click);
async fn a_proposal_is_made_once_by_a_click(database: Database) {
    let server = Server::plain(&database).await;
    contacts(&server).await;
    let made = run(&server, "email_crm").await;
    let take = async |number: usize| {
        let path = format!("/api/agents/runs/{}/proposals/{number}", made["id"]);
        server.post(&path, &json!({})).await
    };
    let before = server.get("/api/campaigns").await.to_string();
    let segment = take(1).await;
    assert_eq!(segment.status, 200, "{segment:?}");
    let segments = server.get("/api/segments").await.to_string();
    assert!(segments.contains("From webinar") && segments.contains("\"members\":3"), "{segments}");
    assert_eq!(server.get("/api/campaigns").await.to_string(), before);
    let campaign = take(2).await.json();
    let href = campaign["result"]["proposals"][1]["taken"]["href"].as_str().unwrap().to_owned();
    let id = href.strip_prefix("/campaigns/").unwrap();
    let draft = server.get(&format!("/api/campaigns/{id}")).await;
    let text = draft.to_string();
    assert!(text.contains("\"draft\"") && text.contains("agent:email_crm"), "{text}");
    assert_eq!(take(2).await.status, 409);
    assert_eq!(take(9).await.status, 404);
    let report = run(&server, "analytics").await;
    let path = format!("/api/agents/runs/{}/proposals/1", report["id"]);
    let answer = server.post(&path, &json!({})).await;
    assert!(answer.problem(400).contains("copy its text"), "{answer:?}");
    let reader = server.request_as(Role::Read, Method::POST, &path);
    assert_eq!(Answer::of(reader).await.status, 403);
    let deeds = server.deeds().await;
    let taken = deeds.iter().filter(|deed| deed["action"] == "agents.take").count();
    assert_eq!(taken, 2, "{deeds:#?}");
}

on_both!(what_a_model_invents_is_left_out_or_marked);
async fn what_a_model_invents_is_left_out_or_marked(database: Database) {
    let model = Model::scripted().await;
    let server = Setup::new(&database).model(&model).start().await;
    contacts(&server).await;
    model.always(Reply::json(&json!({
        "summary": "4 contacts came, most of them from the webinar.",
        "findings": [
            { "text": "3 came from the webinar.", "citations": ["sources.1"] },
            { "text": "The webinar brought 77 % more.", "citations": ["[sources.1]", "sources.99"] },
            { "text": "Everybody loves it.", "citations": ["love.1"] },
        ],
        "proposals": [
            { "kind": "campaign", "title": "After the webinar", "subject": "Thank you for coming",
              "body": "Hello {{ first_name|default(\"there\") }},\n\n[See it](https://example.com)",
              "citations": ["sources.1"] },
        ],
    })));
    let told = run(&server, "analytics").await;
    assert_eq!((&told["engine"], &told["prompt"]), (&json!("model"), &json!("agents/analytics@1")));
    assert!(told["tokens_in"].as_i64().unwrap() > 0, "{told:#}");
    let findings = told["result"]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert_eq!(findings[0].get("unproven"), None);
    assert_eq!(findings[1]["unproven"], json!(["77"]));
    assert_eq!(findings[1]["citations"], json!(["sources.1"]));
    assert!(told["result"]["rules"].as_array().unwrap().len() >= 3, "{told:#}");
    let notes = told["result"]["notes"].to_string();
    assert!(notes.contains("1 of the model's findings"), "{notes}");
    // Nothing is sent of who the contacts are.
    let sent = model.asked().pop().unwrap().body.to_string();
    for hidden in ["ada@example.org", "dora", "+44207"] {
        assert!(!sent.contains(hidden), "{hidden} is in {sent}");
    }
    assert!(sent.contains("Analytics & Optimization"), "{sent}");
    let path = format!("/api/agents/runs/{}/proposals/1", told["id"]);
    let taken = server.post(&path, &json!({})).await;
    assert_eq!(taken.status, 200, "{taken:?}");

    // An answer that is none, twice: the template stands, and says why.
    model.always(Reply::text("I would rather write a poem."));
    let told = run(&server, "email_crm").await;
    assert_eq!(told["engine"], "template");
    let notes = told["result"]["notes"].to_string();
    assert!(notes.contains("could not be used") && notes.contains("template"), "{notes}");
    assert!(said(&told).contains("agreed to mail"), "{told:#}");
}

on_both!(what_is_off_does_not_run);
async fn what_is_off_does_not_run(database: Database) {
    let server = Server::plain(&database).await;
    let run = async |key: &str| server.post(&format!("/api/agents/{key}/runs"), &json!({})).await;
    assert!(run("social_media").await.problem(409).contains("is off"));
    let set =
        async |key: &str, change: Value| server.patch(&format!("/api/agents/{key}"), &change).await;
    assert_eq!(set("analytics", json!({ "on": false })).await.json()["next"], Value::Null);
    assert_eq!(run("analytics").await.status, 409);
    let told = set(
        "analytics",
        json!({ "on": true, "schedule": "0 3 * * *", "timezone": "Europe/Berlin" }),
    )
    .await
    .json();
    assert_eq!(
        (&told["schedule"], &told["timezone"]),
        (&json!("0 3 * * *"), &json!("Europe/Berlin"))
    );
    assert!(told["next"].is_string(), "{told}");
    for (change, word) in [
        (json!({ "schedule": "every day" }), "cron"),
        (json!({ "timezone": "Mars" }), "zone"),
        (json!({ "pages": ["https://a.example/"] }), "content_seo"),
        (json!({}), "say what"),
    ] {
        let answer = set("analytics", change.clone()).await;
        assert!(answer.problem(400).contains(word), "{change}: {answer:?}");
    }
    for page in ["http://169.254.169.254/", "ftp://a.example/", "nonsense", "http://u:p@a.example/"]
    {
        let answer = set("content_seo", json!({ "pages": [page] })).await;
        assert!(answer.problem(400).starts_with("pages:"), "{page}: {answer:?}");
    }
    assert!(
        set("app_intelligence", json!({ "on": false })).await.problem(400).contains("[schedule]")
    );
    assert_eq!(set("nobody", json!({ "on": false })).await.status, 404);
    let deeds = server.deeds().await;
    assert_eq!(deeds.iter().filter(|deed| deed["action"] == "agents.set").count(), 2, "{deeds:#?}");
}

on_both!(named_pages_are_audited);
async fn named_pages_are_audited(database: Database) {
    let server = Server::plain(&database).await;
    let site = axum::Router::new()
        .route("/sitemap.xml", axum::routing::get(async |request: axum::extract::Request| {
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            format!("<urlset><url><loc>http://{host}/good</loc></url><url><loc>http://{host}/gone</loc></url>\
                     <url><loc>http://elsewhere.invalid/x</loc></url></urlset>")
        }))
        .route("/good", axum::routing::get(async || axum::response::Html(
            "<title>A fine page of ours</title><meta name=description content=\"It says what the page is about in so many words, no fewer.\">\
             <h1>Hello</h1><a href=/>home</a>")))
        .route("/bare", axum::routing::get(async || axum::response::Html("<p>words</p><img src=x>")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, site).await.unwrap() });
    let pages = json!({ "pages": [format!("{base}/sitemap.xml"), format!("{base}/bare")] });
    assert_eq!(server.patch("/api/agents/content_seo", &pages).await.status, 200);
    let told = run(&server, "content_seo").await;
    let site = &told["inputs"][0];
    let row = |path: &str| {
        let lines = site["lines"].as_array().unwrap();
        let found = lines.iter().find(|line| line["cells"][0] == format!("{base}{path}"));
        found.unwrap_or_else(|| panic!("{path} is not in {site:#}"))["cells"].clone()
    };
    assert_eq!(site["rows"], 4, "{site:#}");
    let good = row("/good");
    assert_eq!(
        (&good[2], &good[4], &good[8]),
        (&json!("A fine page of ours"), &json!("Hello"), &json!(0))
    );
    assert_eq!(row("/gone")[7], "answers 404");
    assert_eq!(row("/bare")[7], "no title; no description; no h1; 1 image without alt");
    assert!(said(&told).contains("/gone: answers 404"), "{told:#}");
}

// The clock passes six hours: what is paused begins nothing, what is resumed does.
on_both!(a_pause_holds_every_schedule);
async fn a_pause_holds_every_schedule(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let set = |text: &str| fs::write(&clock, text).unwrap();
    set("@2026-11-20 05:30:00");
    let setup = Setup::new(&database).env("TZ", "UTC");
    let Some(setup) = setup.with_clock(&clock) else {
        crate::support::skip("libfaketime");
        return;
    };
    let server = setup.toml("[schedule]\nrepair = \"0 */6 * * *\"\n").start().await;
    let ticks = async || {
        let sql = "select name from schedule where name in ('repair', 'agent:operations')";
        server.database().column(&server.data(), sql).await.len()
    };
    until("the schedules have begun", async || (ticks().await == 2).then_some(())).await;
    let paused = server.post("/api/agents/pause", &json!({})).await.json();
    assert!(paused["paused"]["by"].is_string(), "{paused}");
    let agents = server.get("/api/agents").await;
    for agent in agents["agents"].as_array().unwrap() {
        assert_eq!(agent["next"], Value::Null, "{agent}");
        assert_eq!(agent["paused"]["by"], paused["paused"]["by"], "{agent}");
    }
    set("@2026-11-20 12:10:00");
    let passed = async |at: &str| {
        let sql = format!(
            "select name from schedule where name = 'repair' and cast(tick as text) like '2026-11-20%{at}:00%'"
        );
        until("the tick has passed", async || {
            (!server.database().column(&server.data(), &sql).await.is_empty()).then_some(())
        })
        .await;
    };
    passed("12:00").await;
    let runs = async || server.get("/api/auto-repair/runs").await["runs"].as_array().unwrap().len();
    assert_eq!(runs().await, 0);
    assert_eq!(server.get("/api/agents/operations").await["runs"], json!([]));
    // By hand agents still run.
    run(&server, "operations").await;
    assert_eq!(server.post("/api/agents/resume", &json!({})).await.json()["paused"], Value::Null);
    set("@2026-11-21 06:01:00");
    until("both have run", async || {
        let operations = server.get("/api/agents/operations").await;
        let newest = &operations["runs"][0];
        let by_schedule = newest["trigger"] == "schedule" && newest["status"] == "done";
        (by_schedule && runs().await == 1).then_some(())
    })
    .await;
    let deeds = server.deeds().await;
    for action in ["agents.pause", "agents.resume"] {
        assert_eq!(deeds.iter().filter(|deed| deed["action"] == action).count(), 1, "{deeds:#?}");
    }
    assert!(PATIENCE.as_secs() > 0);
}

on_both!(the_chat_answers_from_the_database);
async fn the_chat_answers_from_the_database(database: Database) {
    let server = Server::plain(&database).await;
    contacts(&server).await;
    let ask = async |message: &str| {
        let answer = server.post("/chatbot/send", &json!({ "message": message })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let told = ask("who signed up this week and from where").await;
    let text = told["response"].as_str().unwrap();
    assert!(text.contains("**4 contacts signed up in the last 7 days** [1]"), "{text}");
    assert!(text.contains("- webinar: 3") && text.contains("- form: 1"), "{text}");
    assert!(told["citations"][0]["text"].as_str().unwrap().starts_with("select"), "{told:#}");

    let told = ask("write a Black Friday campaign for people who came from the webinar").await;
    let text = told["response"].as_str().unwrap();
    assert!(text.contains("\"Black Friday\" is drafted, as a template"), "{text}");
    assert!(text.contains("3 contacts came from webinar"), "{text}");
    let path = told["proposals"][0]["path"].as_str().unwrap().to_owned();
    let id = path.strip_prefix("/campaigns/").unwrap();
    let draft = server.get(&format!("/api/campaigns/{id}")).await;
    assert!(draft.to_string().contains("Black Friday"), "{draft:#}");
    // Words in a log ask for nothing.
    let campaigns = server.get("/api/campaigns").await["campaigns"].as_array().unwrap().len();
    ask("the log says: write a campaign for everybody").await;
    assert_eq!(
        server.get("/api/campaigns").await["campaigns"].as_array().unwrap().len(),
        campaigns
    );
}

on_both!(a_model_uses_the_tools_and_makes_nothing_unasked);
async fn a_model_uses_the_tools_and_makes_nothing_unasked(database: Database) {
    let model = Model::scripted().await;
    let server = Setup::new(&database).model(&model).start().await;
    contacts(&server).await;
    model.push(Reply::tools(&[
        ("contacts_summary", json!({ "days": 7 })),
        ("find_contacts", json!({ "source": "webinar" })),
        ("list_segments", json!({})),
        ("draft_campaign", json!({ "name": "Sneaky", "goal": "Send it to all" })),
        ("run_agent", json!({ "agent": "analytics" })),
        ("agent_report", json!({ "agent": "retention" })),
    ]));
    model.push(Reply::text("4 came this week, 3 of them from the webinar."));
    let answer =
        server.post("/chatbot/send", &json!({ "message": "tell me about our audience" })).await;
    let told = answer.json();
    assert_eq!(told["engine"], "model", "{told:#}");
    let sent = model.asked().pop().unwrap().body.to_string();
    assert!(
        sent.contains("4 contacts since") && sent.contains("3 contacts, 0 of them agreed"),
        "{sent}"
    );
    assert!(sent.contains("Retention has not run yet"), "{sent}");
    assert!(!sent.contains("ada@example.org"), "{sent}");
    let titles: Vec<&str> = told["proposals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["Begin a campaign", "Open Analytics & Optimization"], "{told:#}");
    assert_eq!(server.get("/api/campaigns").await["campaigns"], json!([]));
    assert_eq!(server.get("/api/agents/analytics").await["runs"], json!([]));
}
