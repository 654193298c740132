//! The loop over all its parts: what a diagnosis names reaches actions and checks, and only
//! what the operator allowed.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use serde_json::{Value, json};

use crate::support::{Database, Server, Setup, Site, on_both, repair};

/// Lux beside the site, with an action of these keys that notes its arguments and mends it.
async fn mending(database: &Database, keys: &str) -> (Server, Site) {
    let setup = Setup::new(database);
    let folder = setup.folder().to_owned();
    let (site, url) = Site::start(folder.clone()).await;
    let script = folder.join("mend");
    let text = format!("#!/bin/sh\ncd '{}'\necho \"$@\" >>ran\n>fixed\n", folder.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let toml = format!(
        "[repair]\npasses = 2\nspacing = \"50ms\"\nactions = true\nprobes_per_second = 1000\n\
         try_failing = false\n[schedule]\nrepair = \"off\"\n\
         [[sources]]\nname = \"site\"\npath = \"{log}\"\n\
         [[apps]]\nname = \"site\"\nbase_url = \"{url}\"\n\
         [[actions]]\nname = \"mend\"\nargv = [\"{script}\", \"{{what}}\"]\npolicy = \"auto\"\n\
         cooldown = \"0s\"\nmax_per_day = 100\n{keys}\n",
        log = folder.join("site.log").display(),
        script = script.display(),
    );
    let server = setup.toml(&toml).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    (server, site)
}

async fn report(server: &Server, kind: &str, message: &str, endpoint: &str) {
    let function = endpoint.replace('/', "_");
    let stack = format!(
        "Traceback (most recent call last):\n  File \"/srv/site/pages.py\", line 7, in {function}\n    \
         serve()\n{kind}: {message}\n"
    );
    let event = json!({ "app": "site", "error_type": kind, "error_message": message,
                        "error_stack": stack, "endpoint": endpoint, "method": "GET" });
    let answer = server.post("/api/errors", &event).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// What the script was called with, once a line.
fn calls(server: &Server) -> Vec<String> {
    let text = fs::read_to_string(server.folder().join("ran")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn steps(report: &Value, kind: &str) -> Vec<Value> {
    let steps = report["causes"][0]["fix_plan"]["steps"].as_array().unwrap();
    steps.iter().filter(|step| step["kind"] == kind).cloned().collect()
}

async fn preview(server: &Server) -> Value {
    let answer = server.post("/api/auto-repair/start", &json!({ "dry_run": true })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

on_both!(what_the_diagnosis_names_fills_an_action);
async fn what_the_diagnosis_names_fills_an_action(database: Database) {
    let keys = "fixes = [\"missing_python_module\"]\n\
                params = { what = { one_of = [\"shopkit\", \"paykit\"], from = \"module\" } }";
    let (server, site) = mending(&database, keys).await;
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    let plan = preview(&server).await;
    let actions = steps(&plan, "action");
    assert_eq!(actions[0]["argv"][1], "shopkit", "{plan:#}");
    assert_eq!(plan["causes"][0]["finding"]["captured"]["module"], json!(["shopkit"]));
    assert!(!site.is_fixed(), "a preview runs nothing");
    let results = repair(&server, &json!({})).await;
    assert_eq!(results["details"][0]["status"], "resolved", "{results:#}");
    assert_eq!(calls(&server), ["shopkit"], "{results:#}");
}

on_both!(of_two_that_are_named_none_is_chosen);
async fn of_two_that_are_named_none_is_chosen(database: Database) {
    let keys = "fixes = [\"missing_python_module\"]\n\
                params = { what = { one_of = [\"shopkit\", \"paykit\"], from = \"module\" } }";
    let (server, site) = mending(&database, keys).await;
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    report(&server, "ModuleNotFoundError", "No module named 'paykit'", "/pay").await;
    let plan = preview(&server).await;
    assert_eq!(plan["causes"].as_array().unwrap().len(), 1, "{plan:#}");
    assert_eq!(steps(&plan, "action"), [Value::Null; 0], "{plan:#}");
    let results = repair(&server, &json!({})).await;
    for detail in results["details"].as_array().unwrap() {
        assert_eq!(detail["status"], "still_failing", "{results:#}");
    }
    assert!(!site.is_fixed() && calls(&server).is_empty(), "{results:#}");
}

/// What anybody may make an application log.
const HOSTILE: [&str; 9] = [
    "'evil'",
    "'shopkit; reboot'",
    "'$(reboot)'",
    "'../../etc/passwd'",
    "'-rf'",
    "'--help'",
    "'shopkit\u{202e}'",
    "'shopkit\n'",
    "'SHOPKIT'",
];

on_both!(hostile_text_fills_nothing);
async fn hostile_text_fills_nothing(database: Database) {
    // The key is captured as it was written, quotes and all.
    let keys = "fixes = [\"code_bug_key_error\"]\n\
                params = { what = { matches = \"^'[a-z]{7}'$\", from = \"key\" } }";
    let (server, site) = mending(&database, keys).await;
    for (letter, value) in ('a'..).zip(HOSTILE) {
        report(&server, "KeyError", value, &format!("/hostile_{letter}")).await;
    }
    let plan = preview(&server).await;
    assert_eq!(plan["causes"][0]["cause"], "code_bug_key_error", "{plan:#}");
    assert_eq!(steps(&plan, "action"), [Value::Null; 0], "{plan:#}");
    let results = repair(&server, &json!({})).await;
    assert_eq!(results["resolved"], 0, "{results:#}");
    assert!(calls(&server).is_empty() && !site.is_fixed(), "{results:#}");
}

on_both!(one_hostile_line_does_not_hide_what_is_allowed);
async fn one_hostile_line_does_not_hide_what_is_allowed(database: Database) {
    let keys = "fixes = [\"code_bug_key_error\"]\n\
                params = { what = { matches = \"^'[a-z]{7}'$\", from = \"key\" } }";
    let (server, _) = mending(&database, keys).await;
    report(&server, "KeyError", "'shopkit'", "/cart").await;
    report(&server, "KeyError", "'shopkit'; reboot", "/pay").await;
    let results = repair(&server, &json!({})).await;
    assert_eq!(calls(&server), ["'shopkit'"], "{results:#}");
    assert_eq!(results["resolved"], 2, "{results:#}");
}
