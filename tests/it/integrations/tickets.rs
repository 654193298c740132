//! Tickets in all four trackers: opened once whatever happens, told what is new, closed with the
//! evidence; and whatever an error says, no tracker acts upon it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    simulator::{Simulator, admin, card, connect},
    wire::{Cut, Wire},
};
use crate::support::{
    Answer, Browser, Database, Role, Server, Setup, Site, form, groups, on_both, repair, until,
};

/// A tracker, and where the simulator keeps what was made there.
struct Tracker {
    kind: &'static str,
    app: &'static str,
    project: &'static str,
    tickets: &'static str,
    comments: &'static str,
    /// What the request holds that opens a ticket.
    opening: &'static str,
}

const TRACKERS: [Tracker; 4] = [
    Tracker {
        kind: "github",
        app: "github",
        project: "acme/shop",
        tickets: "issues",
        comments: "comments",
        opening: "POST /github/api/repos/acme/shop/issues ",
    },
    Tracker {
        kind: "asana",
        app: "asana",
        project: "1331",
        tickets: "tasks",
        comments: "stories",
        opening: "POST /asana/api/1.0/tasks?",
    },
    Tracker {
        kind: "jira",
        app: "atlassian",
        project: "OPS",
        tickets: "issues",
        comments: "comments",
        opening: "/rest/api/3/issue HTTP/",
    },
    Tracker {
        kind: "monday",
        app: "monday",
        project: "9001",
        tickets: "items",
        comments: "updates",
        opening: "create_item",
    },
];

impl Tracker {
    async fn tickets(&self, simulator: &Simulator) -> Vec<Value> {
        simulator.created(self.app, self.tickets).await
    }

    /// What was said about tickets after they were opened.
    async fn comments(&self, simulator: &Simulator) -> Vec<String> {
        let comments = simulator.created(self.app, self.comments).await;
        // There the first says what the ticket is about.
        let first = usize::from(self.kind == "monday");
        comments.iter().skip(first).map(Value::to_string).collect()
    }

    fn is_open(&self, ticket: &Value) -> bool {
        match self.kind {
            "github" => ticket["state"] == "open",
            "asana" => ticket["completed"] == false,
            "jira" => ticket["fields"]["status"]["statusCategory"]["key"] != "done",
            _ => ticket["values"]["status"] != "Done",
        }
    }
}

/// Lets a tracker serve; whose browser connected it.
async fn serve(
    server: &Server,
    simulator: &Simulator,
    tracker: &Tracker,
    is_automatic: bool,
) -> Browser {
    let mut browser = admin(server).await;
    connect(&mut browser, server, simulator, tracker.kind).await;
    let id = card(&mut browser, server, tracker.kind).await["id"].clone();
    let wish = json!({
        "integration_id": id, "target": { "project": tracker.project }, "automatic": is_automatic,
    });
    let request =
        server.request_as(Role::Operator, Method::PUT, "/api/integrations/duties/tickets");
    let answer = Answer::of(request.json(&wish)).await;
    assert_eq!(answer.status, 204, "{}: {answer:?}", tracker.kind);
    browser
}

/// Reports an error; the id of its group.
async fn report(server: &Server, event: &Value) -> i64 {
    let answer = server.post("/api/errors", event).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let newest = groups(server, "").await;
    newest[0]["id"].as_i64().unwrap()
}

fn event(page: &str) -> Value {
    json!({
        "app": "site", "error_type": "KeyError", "error_message": "'price'", "method": "GET",
        "endpoint": format!("/{page}"),
        "error_stack": format!(
            "Traceback (most recent call last):\n  File \"/srv/site/pages.py\", line 7, in {page}\n    \
             total = cart['price']\nKeyError: 'price'\n"
        ),
    })
}

async fn ask(server: &Server, group: i64) -> Answer {
    let body = json!({ "group_id": group });
    let request = server.request_as(Role::Operator, Method::POST, "/api/integrations/tickets");
    Answer::of(request.json(&body)).await
}

async fn ticket(server: &Server, group: i64) -> Option<Value> {
    let list = server.get(&format!("/api/integrations/tickets?group_id={group}")).await;
    list["tickets"].as_array().unwrap().first().cloned()
}

/// The ticket of a group, once nothing more is to be done about it.
async fn settled(server: &Server, group: i64, status: &str) -> Value {
    let what = format!("the ticket of {group} is {status}");
    until(&what, async || {
        let ticket = ticket(server, group).await?;
        (ticket["status"] == status && ticket["next_at"].is_null()).then_some(ticket)
    })
    .await
}

/// Lux beside a site that fails, registered with all providers.
async fn beside_a_site(database: &Database, simulator: &Simulator) -> (Server, Site) {
    let setup = Setup::new(database);
    let (site, url) = Site::start(setup.folder().to_owned()).await;
    let toml = format!(
        "[repair]\npasses = 2\nspacing = \"50ms\"\nprobes_per_second = 1000\ntry_failing = false\n\
         [schedule]\nrepair = \"off\"\n\
         [[sources]]\nname = \"site\"\npath = \"{}\"\n\
         [[apps]]\nname = \"site\"\nbase_url = \"{url}\"\n{}",
        setup.folder().join("site.log").display(),
        simulator.toml(),
    );
    let server = setup.toml(&toml).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    (server, site)
}

on_both!(a_ticket_lives_as_its_error_does);
async fn a_ticket_lives_as_its_error_does(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let (server, site) = beside_a_site(&database, &simulator).await;
    for tracker in &TRACKERS {
        let kind = tracker.kind;
        serve(&server, &simulator, tracker, true).await;
        site.spoil();
        let page = format!("cart_{kind}");
        let group = report(&server, &event(&page)).await;
        let wanted = json!({ "group_ids": [group] });
        let results = repair(&server, &wanted).await;
        assert_eq!(results["details"][0]["status"], "still_failing", "{results:#}");
        let open = settled(&server, group, "open").await;
        let tickets = tracker.tickets(&simulator).await;
        assert_eq!(tickets.len(), 1, "{kind}: {tickets:#?}");
        let mut text = tickets[0].to_string();
        if kind == "monday" {
            text += &simulator.created(tracker.app, "updates").await[0].to_string();
        }
        for part in [
            "[Lux] KeyError: GET /cart_",
            "lux-",
            "What to do",
            "still failing",
            "cart[",
            "/errors/",
        ] {
            assert!(text.contains(part), "{kind}: {part} is not in {text}");
        }
        assert!(
            open["key"].is_string() && open["asked_by"].as_str().unwrap().contains("repair run")
        );
        assert!(open["url"].as_str().unwrap().starts_with("https://"), "{open}");

        // The same once more is no news.
        let results = repair(&server, &wanted).await;
        assert_eq!(results["details"][0]["status"], "still_failing", "{results:#}");
        settled(&server, group, "open").await;
        assert_eq!(tracker.comments(&simulator).await, [""; 0], "{kind}");

        site.fix();
        let results = repair(&server, &wanted).await;
        assert_eq!(results["details"][0]["status"], "resolved", "{results:#}");
        settled(&server, group, "closed").await;
        let comments = tracker.comments(&simulator).await;
        assert_eq!(comments.len(), 1, "{kind}: {comments:#?}");
        for part in
            ["Resolved, with evidence", "by checks", "before failed", "500", "after passed", "200"]
        {
            assert!(comments[0].contains(part), "{kind}: {part} is not in {}", comments[0]);
        }
        assert!(!tracker.is_open(&tracker.tickets(&simulator).await[0]), "{kind}");

        site.spoil();
        report(&server, &event(&page)).await;
        settled(&server, group, "open").await;
        let comments = tracker.comments(&simulator).await;
        assert_eq!(comments.len(), 2, "{kind}: {comments:#?}");
        assert!(comments[1].contains("It came back"), "{kind}: {}", comments[1]);
        let tickets = tracker.tickets(&simulator).await;
        assert!(tickets.len() == 1 && tracker.is_open(&tickets[0]), "{kind}: {tickets:#?}");
    }
    simulator.assert_content().await;
}

on_both!(asked_by_many_on_two_replicas_there_is_one);
async fn asked_by_many_on_two_replicas_there_is_one(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let (server, _site) = beside_a_site(&database, &simulator).await;
    let toml = simulator.toml();
    let other = Setup::replica_of(&server).toml(&toml).start().await;
    for tracker in &TRACKERS {
        serve(&server, &simulator, tracker, false).await;
        let group = report(&server, &event(&format!("many_{}", tracker.kind))).await;
        let asked =
            (0..20).map(|number| ask(if number % 2 == 0 { &server } else { &other }, group));
        let answers = futures_util::future::join_all(asked).await;
        let first = answers[0].json()["id"].clone();
        for answer in &answers {
            assert!(answer.status == 200 || answer.status == 202, "{answer:?}");
            assert_eq!(answer.json()["id"], first, "{answer:?}");
        }
        settled(&server, group, "open").await;
        assert_eq!(ask(&other, group).await.status, 200);
        assert_eq!(tracker.tickets(&simulator).await.len(), 1, "{}", tracker.kind);
    }
    simulator.assert_content().await;
}

/// What is due later is due now.
async fn time_passes(server: &Server) {
    let sql = "update ticket set next_at = '2026-01-01T00:00:00+00:00'
               where next_at is not null and not is_queued";
    server.database().execute(&server.data(), sql).await;
}

on_both!(what_was_opened_and_not_written_down_is_found);
async fn what_was_opened_and_not_written_down_is_found(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let toml = simulator.toml();
    let (_, port) = toml.split_once("http://127.0.0.1:").unwrap();
    let port = port.split('/').next().unwrap();
    let wire = Wire::to(port.parse().unwrap()).await;
    // Only calls of the API go through the wire.
    let direct = format!("api_url = \"http://127.0.0.1:{port}");
    let toml = toml.replace(&direct, &format!("api_url = \"{}", wire.address));
    let setup = Setup::new(&database);
    let source =
        format!("[[sources]]\nname = \"app\"\npath = \"{}/app.log\"\n", setup.folder().display());
    let mut server = setup.toml(&format!("{source}{toml}")).start().await;
    for tracker in &TRACKERS {
        let kind = tracker.kind;
        serve(&server, &simulator, tracker, false).await;

        // Killed before the answer came.
        let killed = json!({ "error_type": format!("Killed_{kind}"), "error_message": "k", "endpoint": format!("/k_{kind}") });
        let killed = report(&server, &killed).await;
        wire.cut(Some(Cut::Silent(tracker.opening)));
        assert_eq!(ask(&server, killed).await.status, 202);
        until("it is opened there", async || {
            (tracker.tickets(&simulator).await.len() == 1).then_some(())
        })
        .await;
        assert_eq!(ticket(&server, killed).await.unwrap()["status"], "opening");
        server.kill().await;
        wire.cut(None);
        server.start().await;
        settled(&server, killed, "open").await;
        assert_eq!(tracker.tickets(&simulator).await.len(), 1, "{kind}");

        // The connection broke; nobody knows what came of it.
        let broken = json!({ "error_type": format!("Broken_{kind}"), "error_message": "b", "endpoint": format!("/b_{kind}") });
        let broken = report(&server, &broken).await;
        wire.cut(Some(Cut::Dropped(tracker.opening)));
        assert_eq!(ask(&server, broken).await.status, 202);
        until("the trouble is told", async || {
            ticket(&server, broken).await.filter(|it| it["last_error"].is_string())
        })
        .await;
        wire.cut(None);
        time_passes(&server).await;
        let found = settled(&server, broken, "open").await;
        assert_eq!(found["last_error"], Value::Null, "{kind}: {found}");
        let tickets = tracker.tickets(&simulator).await;
        assert_eq!(tickets.len(), 2, "{kind}: {tickets:#?}");
    }
    simulator.assert_content().await;
}

on_both!(no_tracker_acts_upon_what_an_error_says);
async fn no_tracker_acts_upon_what_an_error_says(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let secret = "sk-abcdefghijklmnopqrstuvwxyz0123456789ABCD";
    let nasty = "@channel @acme/admins <!here> fixes #12, closes acme/shop#3 GH-4 \
                 <script>alert(1)</script> <img src=x onerror=alert(1)> [x](https://evil.example) \
                 ```` </pre></body> ]]> \u{202e}\u{0}\u{7} \"}]}";
    for (number, tracker) in TRACKERS.iter().enumerate() {
        serve(&server, &simulator, tracker, false).await;
        let message =
            format!("{nasty} {secret} ada@example.com {}", "a long line @you #1 ".repeat(48_000));
        let hostile = json!({
            "error_type": format!("Evil_{}\u{2028}@team #{number}", tracker.kind), "error_message": message,
            "error_stack": format!("{nasty}\n{secret}\n").repeat(2000),
            "endpoint": format!("/x_{number}/{nasty}"),
        });
        let group = report(&server, &hostile).await;
        assert_eq!(ask(&server, group).await.status, 202);
        let open = settled(&server, group, "open").await;
        let mut text = tracker.tickets(&simulator).await[0].to_string();
        if tracker.kind == "monday" {
            text += &simulator.created(tracker.app, "updates").await[0].to_string();
        }
        assert!(text.len() < 100_000, "{}: {}", tracker.kind, text.len());
        for out in [secret, "ada@example.com", "\u{202e}"] {
            assert!(!text.contains(out), "{}: {out} is in {text}", tracker.kind);
        }
        let title = tracker.tickets(&simulator).await[0].clone();
        let title = [&title["title"], &title["name"], &title["fields"]["summary"]]
            .into_iter()
            .find_map(Value::as_str)
            .unwrap()
            .to_owned();
        for sign in ["@team", "#0", "@channel", "#12", "shop#3"] {
            assert!(!title.contains(sign), "{}: {title}", tracker.kind);
        }
        if matches!(tracker.kind, "asana" | "monday") {
            assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
        }
        assert!(!open.to_string().contains(secret), "{open}");
    }
    simulator.assert_content().await;
}

on_both!(what_cannot_be_done_is_said);
async fn what_cannot_be_done_is_said(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let group = report(&server, &json!({ "error_type": "KeyError", "error_message": "m" })).await;
    assert!(ask(&server, group).await.problem(409).contains("no tracker serves"), "nothing serves");
    ask(&server, 987_654_321).await.problem(404);
    let request = server.request_as(Role::Read, Method::GET, "/api/integrations/project-status");
    Answer::of(request).await.problem(409);

    let github = &TRACKERS[0];
    let mut browser = serve(&server, &simulator, github, false).await;
    simulator.control("github", json!({ "issues_enabled": false })).await;
    assert_eq!(ask(&server, group).await.status, 202);
    let failed = settled(&server, group, "failed").await;
    assert!(failed["last_error"].as_str().unwrap().contains("disabled"), "{failed}");
    let page = browser.get(&server, &format!("/errors/{group}")).await;
    assert!(page.text.contains("Try again") && page.text.contains("disabled"), "{page:?}");

    simulator.control("github", json!({ "issues_enabled": true })).await;
    let path = format!("/errors/{group}/ticket");
    let request = form(browser.request(&server, Method::POST, &path), &[]);
    assert_eq!(browser.send(request).await.status, 303);
    let open = settled(&server, group, "open").await;
    let page = browser.get(&server, &format!("/errors/{group}")).await;
    let url = open["url"].as_str().unwrap();
    assert!(page.text.contains(&format!("href=\"{url}\"")), "{url}: {}", page.text);
    assert!(!page.text.contains("Create ticket"), "there is one");

    // One that is resolved needs none, and its ticket is closed in an operator's words.
    let resolve = json!({ "status": "resolved", "reason": "Ada mended the price by hand" });
    let path = format!("/api/diagnostics/groups/{group}");
    assert_eq!(server.patch(&path, &resolve).await.status, 200);
    settled(&server, group, "closed").await;
    let comments = github.comments(&simulator).await;
    assert!(comments[0].contains("mended the price by hand"), "{comments:?}");
    let other = json!({ "error_type": "TypeError", "error_message": "n", "endpoint": "/other" });
    let other = report(&server, &other).await;
    assert_eq!(
        server.patch(&format!("/api/diagnostics/groups/{other}"), &resolve).await.status,
        200
    );
    assert!(ask(&server, other).await.problem(409).contains("resolved"), "nothing to track");
    assert_eq!(github.tickets(&simulator).await.len(), 1);
}

on_both!(projects_are_listed_and_stand_somehow);
async fn projects_are_listed_and_stand_somehow(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    for tracker in &TRACKERS {
        let kind = tracker.kind;
        serve(&server, &simulator, tracker, false).await;
        let projects = server.get("/api/integrations/projects").await;
        let listed = projects["projects"].as_array().unwrap().iter();
        let ids: Vec<&str> = listed.map(|it| it["id"].as_str().unwrap()).collect();
        assert!(ids.contains(&tracker.project), "{kind}: {ids:?}");
        let event = json!({ "error_type": format!("Listed_{kind}"), "error_message": "m", "endpoint": format!("/p_{kind}") });
        let group = report(&server, &event).await;

        // Asked for in the operator's own words.
        let question = json!({ "message": format!("please create a ticket for error {group}") });
        let answer = server.post("/chatbot/send", &question).await;
        assert!(answer.text.contains("The ticket"), "{kind}: {answer:?}");
        let open = settled(&server, group, "open").await;
        let status = server.get("/api/integrations/project-status").await;
        assert_eq!(status["open"], 1, "{kind}: {status:#}");
        let recent = &status["recent"][0];
        assert_eq!(recent["key"], open["key"], "{kind}: {status:#}");
        assert_eq!(recent["state"], "open", "{kind}: {status:#}");
        let answer =
            server.post("/chatbot/send", &json!({ "message": "which tickets are open?" })).await;
        assert!(answer.text.contains("1 open tickets"), "{kind}: {answer:?}");
    }
    simulator.assert_content().await;
}
