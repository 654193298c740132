//! The loop over all its parts: what a diagnosis names reaches actions and checks, and only
//! what the operator allowed.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use serde_json::{Value, json};

use crate::support::{Database, Server, Setup, Site, free_port, groups, on_both, repair};

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

/// Lux with these probes; nothing may run, and no request is tried.
async fn probing(database: &Database, probes: &str) -> Server {
    let setup = Setup::new(database);
    let toml = format!(
        "[repair]\npasses = 2\nspacing = \"50ms\"\nprobes_per_second = 1000\ntry_failing = false\n\
         [schedule]\nrepair = \"off\"\n\
         [[sources]]\nname = \"shop\"\npath = \"{log}\"\n\
         [[apps]]\nname = \"shop\"\nbase_url = \"http://127.0.0.1:1\"\n\
         [[apps]]\nname = \"blog\"\nbase_url = \"http://127.0.0.1:2\"\n{probes}",
        log = setup.folder().join("shop.log").display(),
    );
    setup.toml(&toml).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await
}

fn tcp_probe(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[probes]]\nname = \"{name}\"\nkind = \"tcp\"\ntarget = \"127.0.0.1:{port}\"\n{more}\n"
    )
}

/// An error of the shop's database, at an endpoint that cannot be asked for.
async fn database_error(server: &Server, endpoint: &str, message: &str) {
    let event = json!({ "app": "shop", "error_type": "psycopg2.OperationalError",
                        "error_message": message, "endpoint": endpoint, "method": "POST" });
    let answer = server.post("/api/errors", &event).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn refused(port: u16) -> String {
    format!(
        "connection to server at \"127.0.0.1\", port {port} failed: Connection refused Is the \
         server running on that host and accepting TCP/IP connections?"
    )
}

/// The verdict for the group of an endpoint.
fn verdict<'a>(results: &'a Value, error: &Value) -> &'a Value {
    let details = results["details"].as_array().unwrap();
    let found = details.iter().find(|detail| detail["group_id"] == error["id"]);
    &found.unwrap_or_else(|| panic!("{error:#} is not in {results:#}"))["status"]
}

async fn group_of(server: &Server, endpoint: &str) -> Value {
    let all = groups(server, "").await;
    all.into_iter().find(|group| group["endpoint"] == endpoint).unwrap()
}

on_both!(a_probe_of_what_the_error_names_is_tied_to_its_cause);
async fn a_probe_of_what_the_error_names_is_tied_to_its_cause(database: Database) {
    let (port, other) = (free_port(), free_port());
    let probes = [
        tcp_probe("database", port, ""),
        tcp_probe("replica", other, ""),
        tcp_probe("of the blog", port, "app = \"blog\""),
    ];
    let server = probing(&database, &probes.concat()).await;
    database_error(&server, "/checkout", &refused(port)).await;
    // The same cause; but which server does it mean?
    database_error(&server, "/basket", "FATAL: the database system is starting up").await;
    let plan = preview(&server).await;
    let checks = steps(&plan, "probe");
    assert_eq!(checks.len(), 1, "{plan:#}");
    assert_eq!(checks[0]["name"], "database");
    assert_eq!(checks[0]["shared"], format!("localhost port {port}"), "{plan:#}");
    assert_eq!(plan["causes"].as_array().unwrap().len(), 1, "{plan:#}");

    let (checkout, basket) =
        (group_of(&server, "/checkout").await, group_of(&server, "/basket").await);
    let live = repair(&server, &json!({})).await;
    assert_eq!(*verdict(&live, &checkout), "still_failing", "{live:#}");
    assert_eq!(*verdict(&live, &basket), "inconclusive", "{live:#}");
    let database = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mended = repair(&server, &json!({})).await;
    assert_eq!(*verdict(&mended, &checkout), "resolved", "{mended:#}");
    assert_eq!(*verdict(&mended, &basket), "inconclusive", "{mended:#}");
    drop(database);
}

on_both!(a_probe_of_another_target_proves_nothing);
async fn a_probe_of_another_target_proves_nothing(database: Database) {
    let (port, other) = (free_port(), free_port());
    let server = probing(&database, &tcp_probe("another", other, "")).await;
    database_error(&server, "/checkout", &refused(port)).await;
    for open in [false, true, true] {
        // It turns green just as if it had been mended.
        let listener = if open {
            Some(tokio::net::TcpListener::bind(("127.0.0.1", other)).await.unwrap())
        } else {
            None
        };
        let results = repair(&server, &json!({})).await;
        assert_eq!(results["details"][0]["status"], "inconclusive", "{results:#}");
        assert_eq!(results["details"][0]["probes"], json!([]), "{results:#}");
        drop(listener);
    }
}

on_both!(who_says_what_a_probe_is_for_is_taken_at_their_word);
async fn who_says_what_a_probe_is_for_is_taken_at_their_word(database: Database) {
    let (port, other) = (free_port(), free_port());
    let probes = [
        tcp_probe("for redis", port, "causes = [\"redis_down\"]"),
        tcp_probe("for it", other, "causes = [\"postgres_down\"]"),
    ];
    let server = probing(&database, &probes.concat()).await;
    database_error(&server, "/checkout", &refused(port)).await;
    let plan = preview(&server).await;
    let checks = steps(&plan, "probe");
    assert_eq!(checks.len(), 1, "{plan:#}");
    assert_eq!((&checks[0]["name"], &checks[0]["shared"]), (&json!("for it"), &Value::Null));
}
