//! The loop over all its parts: what a diagnosis names reaches actions and checks, and only
//! what the operator allowed.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::{
    Database, Server, Setup, Site, end_of_run, free_port, groups, on_both, repair, start_repair,
    until,
};

/// Lux beside the site, with an action of these keys that notes its arguments and mends it.
async fn mending(database: &Database, policy: &str, keys: &str) -> (Server, Site) {
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
         [[actions]]\nname = \"mend\"\nargv = [\"{script}\", \"{{what}}\"]\npolicy = \"{policy}\"\n\
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
    let (server, site) = mending(&database, "auto", keys).await;
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
    let (server, site) = mending(&database, "auto", keys).await;
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
    let (server, site) = mending(&database, "auto", keys).await;
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
    let (server, _) = mending(&database, "auto", keys).await;
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

/// An action for an error that names a module, which has the policy "approve".
const ASKED: &str = "fixes = [\"missing_python_module\"]\n\
                     params = { what = { one_of = [\"shopkit\", \"paykit\"], from = \"module\" } }";

/// Decides about the only action that waits; the report of its run once that is done.
async fn decide(server: &Server, word: &str) -> Value {
    let waiting = server.get("/api/auto-repair/actions?status=proposed").await;
    let action = &waiting["actions"][0];
    let path = format!("/api/auto-repair/actions/{}/{word}", action["id"]);
    let answer = server.post(&path, &json!({ "hash": action["hash"] })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let path = format!("/api/auto-repair/runs/{}", action["run_id"]);
    until("the run is done", async || {
        let report = server.get(&path).await;
        (report["status"] == "done").then_some(report)
    })
    .await
}

async fn sql(server: &Server, statement: &str) {
    server.database().execute(&server.data(), statement).await;
}

async fn number(server: &Server, from: &str) -> usize {
    let counted = format!("select cast(count(*) as text) from {from}");
    server.database().column(&server.data(), &counted).await[0].parse().unwrap()
}

on_both!(an_action_that_did_not_help_is_counted_once);
async fn an_action_that_did_not_help_is_counted_once(database: Database) {
    let keys = "fixes = [\"code_bug_key_error\"]\nparams = { what = { one_of = [\"x\"] } }\n\
                [[actions]]\nname = \"idle\"\nargv = [\"true\"]\npolicy = \"auto\"\n\
                fixes = [\"missing_python_module\"]\n";
    let (server, site) = mending(&database, "approve", keys).await;
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    report(&server, "KeyError", "'total'", "/pay").await;
    let run = start_repair(&server, &json!({})).await;
    let first = end_of_run(&server, run).await;
    assert_eq!(first["status"], "waiting", "{first:#}");
    let second = decide(&server, "reject").await;
    assert_eq!(second["results"]["resolved"], 0, "{second:#}");
    let recipes = server.get("/api/auto-repair/recipes").await;
    let known = json!([{ "cause": "missing_python_module", "recipe": "idle",
                         "worked": 0, "failed": 1 }]);
    assert_eq!(recipes["recipes"], known, "{second:#}");
    assert!(!site.is_fixed());
}

/// What the list of errors says of each event, oldest first: whether it is resolved.
async fn resolved(server: &Server) -> Vec<bool> {
    let errors = server.get("/api/diagnostics/errors?limit=200").await;
    let errors = errors["errors"].as_array().unwrap();
    errors.iter().rev().map(|error| error["resolved"] == true).collect()
}

on_both!(what_broke_under_watch_was_not_resolved);
async fn what_broke_under_watch_was_not_resolved(database: Database) {
    let (server, site) = mending(&database, "auto", ASKED).await;
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    let health = server.get("/api/diagnostics/health").await;
    assert_eq!(health["endpoints"], json!([]), "{health:#}");
    let results = repair(&server, &json!({})).await;
    assert_eq!(results["resolved"], 1, "{results:#}");
    assert_eq!(resolved(&server).await, [true, true]);
    assert_eq!(number(&server, "error_log where is_resolved").await, 2);
    let watches = server.get("/api/auto-repair/watches").await;
    let watch = &watches["watches"][0];
    let health = server.get("/api/diagnostics/health").await;
    let told = json!([{ "name": "GET /cart", "app": "site", "group_id": watch["group_id"],
                        "outcome": "pass", "since": watch["started_at"],
                        "next_look": watch["ends_at"] }]);
    assert_eq!(health["endpoints"], told, "{health:#}");

    site.spoil();
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    let group = groups(&server, "").await.remove(0);
    assert_eq!(group["status"], "regressed", "{group:#}");
    until("nothing is said to be resolved", async || {
        (resolved(&server).await == [false; 3]).then_some(())
    })
    .await;
    until("the attempt did not hold", async || {
        let path = format!("/api/diagnostics/groups/{}/attempts", group["id"]);
        let attempts = server.get(&path).await;
        (attempts["attempts"][0]["held"] == false).then_some(())
    })
    .await;
    let rows = "error_log where is_resolved or resolution_notes is not null or evidence_id is \
                not null";
    assert_eq!(number(&server, rows).await, 0);
    // The proof of then is still known.
    assert_eq!(number(&server, "evidence").await, 1);
    let health = server.get("/api/diagnostics/health").await;
    assert_eq!(health["endpoints"], json!([]), "{health:#}");
}

on_both!(a_resolution_that_held_stays_one);
async fn a_resolution_that_held_stays_one(database: Database) {
    let (server, site) = mending(&database, "auto", ASKED).await;
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    repair(&server, &json!({})).await;
    sql(&server, &format!("update watch set ends_at = '{}'", ago(1))).await;
    until("it held", async || {
        (number(&server, "watch where status = 'held'").await == 1).then_some(())
    })
    .await;
    site.spoil();
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    assert_eq!(groups(&server, "").await[0]["status"], "regressed");
    // The first was over; this is another one.
    let again = repair(&server, &json!({})).await;
    assert_eq!(again["resolved"], 1, "{again:#}");
    assert_eq!(resolved(&server).await, [true, true]);
    site.spoil();
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    until("only what held is resolved", async || {
        (resolved(&server).await == [true, false, false]).then_some(())
    })
    .await;
}

/// So many days ago, as both databases read it.
fn ago(days: i64) -> String {
    let at: DateTime<Utc> = lux::clock::now() - TimeDelta::days(days);
    at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// Makes all that was done so far so many days old.
async fn age(server: &Server, days: i64) {
    let at = ago(days);
    for statement in [
        "repair_run set created_at = $, started_at = $, finished_at = $",
        "repair_attempt set started_at = $, finished_at = $",
        "probe_result set started_at = $, finished_at = $",
        "action_run set proposed_at = $",
        "action_run set decided_at = $ where decided_at is not null",
        "action_run set started_at = $, finished_at = $ where started_at is not null",
    ] {
        sql(server, &format!("update {}", statement.replace('$', &format!("'{at}'")))).await;
    }
}

/// Has the job done that follows the nightly clearing.
async fn forget(server: &Server, name: &str) {
    let at = ago(0);
    sql(
        server,
        &format!(
            "insert into job (kind, payload, dedupe, run_at, max_attempts, created_at)
             values ('clear', '{{\"schedule\": true}}', 'clear@{name}', '{at}', 5, '{at}')"
        ),
    )
    .await;
    until("it is cleared and forgotten", async || {
        let done = number(server, "job where kind = 'forget' and status = 'done'").await;
        let all = number(server, "job where kind = 'clear'").await;
        (done == all).then_some(())
    })
    .await;
}

/// The ids of the runs that are known, and of those that have results of probes.
async fn runs(server: &Server) -> (Vec<String>, Vec<String>) {
    let column = async |sql: &str| server.database().column(&server.data(), sql).await;
    (
        column("select cast(id as text) from repair_run order by id").await,
        column("select distinct cast(attempt_id as text) as run from probe_result order by run")
            .await,
    )
}

on_both!(what_is_old_goes_but_not_what_a_resolution_rests_on);
async fn what_is_old_goes_but_not_what_a_resolution_rests_on(database: Database) {
    let (server, site) = mending(&database, "approve", ASKED).await;
    // 1: a resolution that stands. 2: nothing came of it. 3: waits for an approval.
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    let run = start_repair(&server, &json!({})).await;
    end_of_run(&server, run).await;
    let cart = decide(&server, "approve").await;
    assert_eq!(cart["results"]["resolved"], 1, "{cart:#}");
    let cart = cart["results"]["details"][0]["group_id"].clone();
    site.spoil();
    report(&server, "KeyError", "'total'", "/pay").await;
    repair(&server, &json!({})).await;
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/buy").await;
    let run = start_repair(&server, &json!({})).await;
    assert_eq!(end_of_run(&server, run).await["status"], "waiting");
    let (all, probed) = runs(&server).await;
    assert_eq!((all.len(), &all), (3, &probed));
    let evidence = number(&server, "evidence").await;
    let step = |run: &str| format!("repair_event where run_id = {run}");
    assert!(number(&server, &step(&all[1])).await > 0);

    // Younger than what is kept.
    age(&server, 89).await;
    forget(&server, "young").await;
    assert_eq!(runs(&server).await, (all.clone(), all.clone()));
    age(&server, 91).await;
    forget(&server, "old").await;
    let kept = vec![all[0].clone(), all[2].clone()];
    assert_eq!(runs(&server).await, (kept.clone(), kept));
    for table in ["repair_event", "repair_attempt", "repair_cause"] {
        let rows = format!("{table} where run_id = {}", all[1]);
        assert_eq!(number(&server, &rows).await, 0, "{table}");
    }
    assert_eq!(number(&server, "action_run").await, 2);
    assert_eq!(number(&server, "evidence").await, evidence);
    let group = server.get(&format!("/api/diagnostics/groups/{cart}/attempts")).await;
    assert_eq!(group["attempts"][0]["status"], "resolved", "{group:#}");

    // What waited is decided, and the resolution is withdrawn.
    decide(&server, "reject").await;
    let open = json!({ "status": "unresolved" });
    server.patch(&format!("/api/diagnostics/groups/{cart}"), &open).await;
    age(&server, 91).await;
    forget(&server, "watched").await;
    assert_eq!(runs(&server).await.0, [all[0].clone()], "its watch goes on");
    sql(&server, &format!("update watch set ends_at = '{}'", ago(91))).await;
    until("the watch is over", async || {
        (number(&server, "watch where status = 'watching'").await == 0).then_some(())
    })
    .await;
    forget(&server, "all").await;
    assert_eq!(runs(&server).await, (Vec::new(), Vec::new()));
    // From its start the cooldown is counted.
    assert_eq!(number(&server, "action_run").await, 1);
    assert_eq!(number(&server, "evidence").await, evidence);
}
