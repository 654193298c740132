//! The chat in a browser: answers of a scripted model over real logs, and repairs of an
//! application that really fails.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::story;
use crate::support::{Database, Model, Reply, Server, Setup, Site, groups, on_both, until};

const LINES: &[&str] = &[
    "2026-11-22 08:00:01 INFO worker 21377 booted",
    "2026-11-22 08:00:02 INFO basket 17 was opened",
    "2026-11-22 08:00:03 ERROR KeyError: 'sku' while pricing the basket of 17",
    "2026-11-22 08:00:04 INFO closed <script>alert('x')</script> ![x](https://evil.example/?q=1)",
    "2026-11-22 08:00:05 INFO worker 21377 waits",
];

/// Writes lines into the log that the server watches, and waits until it has read them.
async fn log(server: &Server) {
    fs::write(server.folder().join("app.log"), format!("{}\n", LINES.join("\n"))).unwrap();
    until("the log is read", async || {
        let records = server.get("/api/diagnostics/logs?limit=200").await;
        (records["records"].as_array()?.len() >= LINES.len()).then_some(())
    })
    .await;
}

async fn report(server: &Server, kind: &str, message: &str, endpoint: &str) -> i64 {
    let function = endpoint.replace('/', "_");
    let stack = format!(
        "Traceback (most recent call last):\n  File \"/srv/site/pages.py\", line 7, in {function}\n    \
         serve()\n{kind}: {message}\n"
    );
    let event = json!({ "app": "site", "error_type": kind, "error_message": message,
                        "error_stack": stack, "endpoint": endpoint, "method": "GET" });
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    until("it has a group", async || {
        let all = groups(server, "").await;
        all.iter().find(|it| it["endpoint"] == endpoint).map(|it| it["id"].as_i64().unwrap())
    })
    .await
}

/// What the model answers: it cites what it read, what it did not, and a place elsewhere.
fn told() -> String {
    let paragraphs: Vec<String> = (1..=30)
        .map(|number| format!("Paragraph {number} says what was seen at that moment of the day."))
        .collect();
    format!(
        "## The basket cannot be priced\n\nThe log says `KeyError: 'sku' while pricing the basket \
         of 17` [1], see [9] and [the docs](https://evil.example/docs). It also says \"the disk \
         is on fire again\" [1]. The line after it holds <script>alert('y')</script> and \
         ![x](https://evil.example/?q=2).\n\n```\nlux logs --source app\n```\n\n{}\n\nThe end.",
        paragraphs.join("\n\n")
    )
}

on_both!(somebody_asks_a_model);
async fn somebody_asks_a_model(database: Database) {
    let model = Model::scripted().await;
    let server = Setup::new(&database).model(&model).start().await;
    log(&server).await;
    let gate = Arc::new(Semaphore::new(0));
    story(&server, "operator", "chat_asking", async |ask, _| {
        match ask {
            "answer" => {
                model.push(Reply::tool("search_logs", json!({ "text": "pricing" })));
                model.push(Reply::text(told()).hold_after(200, &gate));
            }
            "go on" => gate.add_permits(1),
            "hang" => model.push(Reply::text("One two three four five six").hang_after(4)),
            "say" => model.push(Reply::text("All is well now.")),
            "fail" => model.push(Reply::status(500)),
            "asked" => return json!(model.asked().len()),
            other => panic!("{other}"),
        }
        Value::Null
    })
    .await;
}

on_both!(a_model_that_fails_is_said_to);
async fn a_model_that_fails_is_said_to(database: Database) {
    let model = Model::scripted().await;
    let setup = Setup::new(&database).model(&model);
    let source = setup.folder().join("app.log");
    let toml = format!(
        "[model]\nretries = 0\n[model.chat]\nfirst_token = \"500ms\"\n[[sources]]\nname = \
         \"app\"\npath = \"{}\"\n",
        source.display()
    );
    let server = setup.toml(&toml).start().await;
    report(&server, "KeyError", "'sku'", "/basket").await;
    story(&server, "operator", "chat_model_fails", async |ask, _| {
        match ask {
            "fail" => model.push(Reply::status(429).retry_after("1")),
            "hang" => model.push(Reply::hang()),
            "say" => model.push(Reply::text("All is well now.")),
            other => panic!("{other}"),
        }
        Value::Null
    })
    .await;
}

/// Lux beside the site, with an action that an operator has to approve.
async fn mending(database: &Database) -> (Server, Site) {
    let setup = Setup::new(database);
    let folder = setup.folder().to_owned();
    let (site, url) = Site::start(folder.clone()).await;
    let script = folder.join("mend");
    let text = format!("#!/bin/sh\ncd '{}'\necho \"$@\" >>ran\n>fixed\n", folder.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let toml = format!(
        "[repair]\npasses = 3\nspacing = \"700ms\"\nactions = true\nprobes_per_second = 1000\n\
         try_failing = false\n[schedule]\nrepair = \"off\"\n\
         [[sources]]\nname = \"site\"\npath = \"{log}\"\n\
         [[apps]]\nname = \"site\"\nbase_url = \"{url}\"\n\
         [[actions]]\nname = \"mend\"\ntitle = \"Install the missing module\"\nargv = [\"{script}\", \"{{what}}\"]\n\
         policy = \"approve\"\ncooldown = \"0s\"\nmax_per_day = 100\nfixes = [\"missing_python_module\"]\n\
         params = {{ what = {{ one_of = [\"shopkit\", \"paykit\"], from = \"module\" }} }}\n",
        log = folder.join("site.log").display(),
        script = script.display(),
    );
    let server = setup.toml(&toml).start().await;
    (server, site)
}

on_both!(somebody_repairs_in_the_chat);
async fn somebody_repairs_in_the_chat(database: Database) {
    let (server, site) = mending(&database).await;
    let group = report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    story(&server, "operator", "chat_repairing", async |ask, _| match ask {
        "group" => json!(group),
        "state" => {
            let found = server.get(&format!("/api/diagnostics/groups/{group}")).await;
            found["group"]["status"].as_str().or(found["status"].as_str()).into()
        }
        "ran" => json!(site.actions()),
        "fix" => {
            site.fix();
            Value::Null
        }
        "break" => {
            site.spoil();
            report(&server, "ModuleNotFoundError", "No module named 'paykit'", "/pay").await.into()
        }
        "deeds" => server.deeds().await.iter().map(|deed| deed["action"].clone()).collect(),
        "runs" => {
            let runs = server.get("/api/auto-repair/runs").await;
            let runs = runs["runs"].as_array().unwrap().iter();
            runs.map(|run| run["requested_by"].clone()).collect()
        }
        other => panic!("{other}"),
    })
    .await;
}
