//! Repairs when Lux is killed, asked twice, loses its database or the time, or is flooded:
//! no action runs twice, and nothing is resolved without a proof.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Cluster, Database, Role, Server, Setup, Site, end_of_run, groups, on_both, repair, say,
    skip, start_repair, until,
};

/// What is between the beginning of the action and what it does.
const SETTING_UP: Setting = Setting { policy: Some("auto"), seconds: "0.2" };

#[derive(Clone, Copy)]
struct Setting {
    /// Of the action that mends; without one there is no action.
    policy: Option<&'static str>,
    seconds: &'static str,
}

/// Lux beside the site, with an action that mends it.
async fn watching(setup: Setup, setting: Setting) -> (Server, Site) {
    let folder = setup.folder().to_owned();
    let (site, url) = Site::start(folder.clone()).await;
    let script = folder.join("mend");
    let seconds = setting.seconds;
    let text =
        format!("#!/bin/sh\ncd '{}'\necho ran >>ran\nsleep {seconds}\n>fixed\n", folder.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let action = if let Some(policy) = setting.policy {
        format!(
            "[[actions]]\nname = \"mend\"\nargv = [\"{}\"]\npolicy = \"{policy}\"\n\
             cooldown = \"0s\"\nmax_per_day = 1000\nfixes = [\"code_bug_key_error\"]\n",
            script.display()
        )
    } else {
        String::new()
    };
    let toml = format!(
        "[repair]\npasses = 3\nspacing = \"100ms\"\nactions = {}\nprobes_per_second = 1000\n\
         try_failing = false\n\
         [schedule]\nrepair = \"off\"\n\
         [[sources]]\nname = \"site\"\npath = \"{}\"\n\
         [[apps]]\nname = \"site\"\nbase_url = \"{url}\"\n{action}",
        setting.policy.is_some(),
        folder.join("site.log").display()
    );
    let setup = setup
        .toml(&toml)
        .env("LUX_REQUESTS_PER_MINUTE", "1000000")
        .env("LUX_EVENTS_PER_MINUTE", "100000000");
    (setup.start().await, site)
}

/// What the site reports when a page fails.
fn event(page: &str) -> Value {
    json!({
        "app": "site",
        "error_type": "KeyError",
        "error_message": format!("'{page}'"),
        "error_stack": format!(
            "Traceback (most recent call last):\n  File \"/srv/site/pages.py\", line 7, in \
             {page}\n    return PAGES['{page}']\nKeyError: '{page}'\n"
        ),
        "endpoint": format!("/{page}"),
        "method": "GET",
    })
}

async fn report(server: &Server, page: &str) {
    let answer = server.post("/api/errors", &event(page)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// A name that is no other's, nor alike when numbers are masked.
fn page_name(number: usize) -> String {
    let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap());
    format!("page_{}{}", letter(number / 26), letter(number))
}

/// What is said to be resolved has its proof, and really works.
async fn only_proven(server: &Server, site: &Site) {
    for group in groups(server, "").await {
        if group["status"] == "resolved" {
            assert!(group["resolution"].is_string(), "resolved by nothing: {group:#}");
        }
    }
    let (database, data) = (server.database(), server.data());
    let unproven =
        "select cast(id as text) from error_log where is_resolved and evidence_id is null";
    assert_eq!(database.column(&data, unproven).await, [""; 0], "resolved by nothing");
    if !site.is_fixed() {
        let recent = groups(server, "").await;
        assert!(recent.iter().all(|group| group["status"] != "resolved"), "{recent:#?}");
    }
}

fn details(report: &Value) -> &Vec<Value> {
    let results = if report["results"].is_object() { &report["results"] } else { report };
    results["details"].as_array().unwrap_or_else(|| panic!("no details: {report:#}"))
}

/// A moment at random, up to so long.
fn some_of(span: Duration) -> Duration {
    let random = uuid::Uuid::now_v7().as_u128() % 1000;
    span * u32::try_from(random).unwrap() / 1000
}

on_both!(killed_at_twenty_points_of_a_run);
async fn killed_at_twenty_points_of_a_run(database: Database) {
    const POINTS: u32 = 20;
    let (mut server, site) = watching(Setup::new(&database), SETTING_UP).await;
    // One run in peace, to know how long it takes.
    report(&server, &page_name(0)).await;
    let started = Instant::now();
    let run = repair(&server, &json!({})).await;
    let length = started.elapsed();
    assert_eq!(details(&run)[0]["status"], "resolved", "{run:#}");
    assert_eq!(site.actions(), 1, "{run:#}");

    let (mut by_action, mut continued) = (0, 0);
    for point in 0..POINTS {
        let page = page_name(1 + point as usize);
        site.spoil();
        // What is resolved fails again now: its group is open before the next run.
        for number in 0..=point as usize {
            report(&server, &page_name(number)).await;
        }
        report(&server, &page).await;
        only_proven(&server, &site).await;
        let ids: Vec<Value> = groups(&server, "")
            .await
            .iter()
            .filter(|group| group["endpoint"] == format!("/{page}"))
            .map(|group| group["id"].clone())
            .collect();
        assert_eq!(ids.len(), 1, "{page}");
        let before = site.actions();
        let run = start_repair(&server, &json!({ "group_ids": ids })).await;
        let pause = length * point / POINTS + some_of(length / POINTS);
        tokio::time::sleep(pause).await;
        server.kill().await;
        server.start().await;
        let ended = end_of_run(&server, run).await;
        let ran = site.actions() - before;
        assert!(ran <= 1, "the action ran {ran} times, killed after {pause:?}: {ended:#}");
        let detail = &details(&ended)[0];
        let status = detail["status"].as_str();
        if status == Some("resolved") {
            assert!(detail["evidence_id"].is_i64(), "{ended:#}");
            assert!(site.is_fixed(), "resolved, but it fails: {ended:#}");
            continued += 1;
        } else {
            // Whoever closes a run says why.
            let said = detail["why"].as_str().or(ended["note"].as_str()).unwrap_or_default();
            assert!(!said.is_empty(), "closed without a word: {ended:#}");
        }
        by_action += ran;
        only_proven_of(&server, &ids[0], &site).await;
        // The next run finds it as it is.
        site.fix();
        let after = repair(&server, &json!({ "group_ids": ids })).await;
        let group = server.get(&format!("/api/diagnostics/groups/{}", ids[0])).await;
        assert_eq!(group["status"], "resolved", "{after:#}");
    }
    say(&format!(
        "{POINTS} kills within {length:?}: the action ran {by_action} times, {continued} runs were \
         carried on to a resolution"
    ));
}

async fn only_proven_of(server: &Server, group: &Value, site: &Site) {
    let group = server.get(&format!("/api/diagnostics/groups/{group}")).await;
    if group["status"] == "resolved" {
        assert!(group["resolution"].is_string(), "resolved by nothing: {group:#}");
        assert!(site.is_fixed(), "resolved, but it fails: {group:#}");
    }
}

on_both!(two_runs_at_once);
async fn two_runs_at_once(database: Database) {
    let (server, site) = watching(Setup::new(&database), SETTING_UP).await;
    report(&server, "page_aa").await;
    report(&server, "page_ab").await;
    let all = groups(&server, "").await;
    let one = json!({ "group_ids": [all[0]["id"]] });
    let everything = json!({});
    // The same wish is one run; another wish waits for its turn.
    let (first, second, third) = tokio::join!(
        start_repair(&server, &everything),
        start_repair(&server, &everything),
        start_repair(&server, &one),
    );
    assert_eq!(first, second, "the same wish twice");
    let (first, third) = tokio::join!(end_of_run(&server, first), end_of_run(&server, third));
    assert_eq!(site.actions(), 1, "{first:#} {third:#}");
    let proofs: Vec<_> = details(&first)
        .iter()
        .chain(details(&third))
        .filter(|detail| detail["status"] == "resolved")
        .collect();
    let proven: BTreeSet<_> = proofs.iter().map(|detail| detail["group_id"].as_i64()).collect();
    assert_eq!(proven.len(), all.len(), "{first:#} {third:#}");
    assert_eq!(proofs.len(), all.len(), "a group was resolved twice: {first:#} {third:#}");
    only_proven(&server, &site).await;
}

#[tokio::test]
async fn the_database_is_lost_in_the_middle() {
    let Some(cluster) = Cluster::start() else { return };
    let database = Database::of(&cluster).await;
    let (server, site) = watching(Setup::new(&database), SETTING_UP).await;
    for (number, crash) in [false, true, false, true].into_iter().enumerate() {
        site.spoil();
        let page = page_name(number);
        report(&server, &page).await;
        let all = groups(&server, "").await;
        let group = all.iter().find(|group| group["endpoint"] == format!("/{page}")).unwrap();
        let wanted = json!({ "group_ids": [group["id"]] });
        let (asked, before) = (site.asked(), site.actions());
        let run = start_repair(&server, &wanted).await;
        // Before the action, or right after it began.
        until("the run is in its middle", async || {
            let there = if number < 2 { site.asked() > asked } else { site.actions() > before };
            there.then_some(())
        })
        .await;
        if crash {
            cluster.crash();
        } else {
            cluster.stop();
        }
        tokio::time::sleep(some_of(Duration::from_secs(2))).await;
        cluster.start_again();
        let ended = end_of_run(&server, run).await;
        let ran = site.actions() - before;
        assert!(ran <= 1, "the action ran {ran} times: {ended:#}");
        if details(&ended).iter().any(|detail| detail["status"] == "resolved") {
            assert!(site.is_fixed(), "resolved, but it fails: {ended:#}");
        }
        only_proven_of(&server, &group["id"], &site).await;
        site.fix();
        let after = repair(&server, &wanted).await;
        let group = server.get(&format!("/api/diagnostics/groups/{}", group["id"])).await;
        assert_eq!(group["status"], "resolved", "{ended:#} {after:#}");
    }
}

#[tokio::test]
async fn the_clock_jumps_in_the_middle() {
    let setup = Setup::new(&Database::sqlite());
    let clock = setup.folder().join("clock");
    fs::write(&clock, "+0").unwrap();
    let Some(setup) = setup.with_clock(&clock) else { return skip("libfaketime") };
    let by_hand = Setting { policy: None, ..SETTING_UP };
    let (server, site) = watching(setup, by_hand).await;
    for (number, shift) in ["+0", "+400d", "-3d", "+0"].into_iter().enumerate() {
        fs::write(&clock, shift).unwrap();
        site.spoil();
        let page = page_name(number);
        report(&server, &page).await;
        let all = groups(&server, "").await;
        let group = all.iter().find(|group| group["endpoint"] == format!("/{page}")).unwrap();
        let wanted = json!({ "group_ids": [group["id"]] });
        let run = repair(&server, &wanted).await;
        assert_eq!(details(&run)[0]["status"], "still_failing", "at {shift}: {run:#}");
        site.fix();
        // The clock goes back and forth while it is verified.
        let run = start_repair(&server, &wanted).await;
        let asked = site.asked();
        until("it is verified", async || (site.asked() > asked).then_some(())).await;
        fs::write(&clock, "-1h").unwrap();
        tokio::time::sleep(some_of(Duration::from_millis(300))).await;
        fs::write(&clock, shift).unwrap();
        end_of_run(&server, run).await;
        let again = repair(&server, &wanted).await;
        let group = server.get(&format!("/api/diagnostics/groups/{}", group["id"])).await;
        assert_eq!(group["status"], "resolved", "at {shift}: {again:#}");
        // And it comes back, whatever the clock said when it was resolved.
        site.spoil();
        report(&server, &page).await;
        let run = repair(&server, &wanted).await;
        for detail in details(&run) {
            assert_ne!(detail["status"], "resolved", "at {shift}: {run:#}");
        }
    }
}

on_both!(a_storm_costs_one_diagnosis);
async fn a_storm_costs_one_diagnosis(database: Database) {
    let by_hand = Setting { policy: None, ..SETTING_UP };
    let (server, site) = watching(Setup::new(&database), by_hand).await;
    let storm = vec![event("page_aa"); 1000];
    for _ in 0..10 {
        assert_eq!(server.post("/api/errors", &storm).await.status, 201);
    }
    for (fixed, wanted) in [(false, "still_failing"), (true, "resolved")] {
        if fixed {
            site.fix();
        }
        let before = site.asked();
        let run = start_repair(&server, &json!({})).await;
        let report = end_of_run(&server, run).await;
        assert_eq!(details(&report).len(), 1, "{report:#}");
        assert_eq!(report["causes"].as_array().unwrap().len(), 1, "{report:#}");
        assert_eq!(details(&report)[0]["status"], wanted, "{report:#}");
        let asked = site.asked() - before;
        assert!(asked <= 8, "{asked} requests for one cause: {report:#}");
    }
    let request = server.request_as(
        Role::Read,
        Method::GET,
        "/api/diagnostics/errors?limit=200&resolved=false",
    );
    let answer = Answer::of(request).await;
    assert_eq!(answer.json()["errors"], json!([]), "every event of the group is resolved");
}

/// A run that waits for its action; the action as it is shown.
async fn proposed(database: &Database) -> (Server, Site, i64, Value) {
    let setting = Setting { policy: Some("approve"), seconds: "0" };
    let (server, site) = watching(Setup::new(database), setting).await;
    report(&server, "front").await;
    let run = start_repair(&server, &json!({})).await;
    let report = end_of_run(&server, run).await;
    assert_eq!(details(&report)[0]["status"], "awaiting_approval", "{report:#}");
    let waiting = server.get("/api/auto-repair/actions?status=proposed").await;
    let action = waiting["actions"][0].clone();
    assert_eq!(action["argv"], json!([server.folder().join("mend")]), "{waiting:#}");
    assert_eq!(site.actions(), 0);
    (server, site, run, action)
}

/// Decides about it; what becomes of the error.
async fn decided(server: &Server, run: i64, action: &Value, word: &str) -> Value {
    let path = format!("/api/auto-repair/actions/{}/{word}", action["id"]);
    let answer = server.post(&path, &json!({ "hash": action["hash"] })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let path = format!("/api/auto-repair/runs/{run}");
    until("the run went on", async || {
        let detail = details(&server.get(&path).await)[0].clone();
        let status = detail["status"].as_str()?;
        (status != "awaiting_approval").then_some(detail)
    })
    .await
}

on_both!(what_is_approved_runs_once_and_is_verified);
async fn what_is_approved_runs_once_and_is_verified(database: Database) {
    let (server, site, run, action) = proposed(&database).await;
    let detail = decided(&server, run, &action, "approve").await;
    assert_eq!(detail["status"], "resolved", "{detail:#}");
    assert_eq!(site.actions(), 1);
    only_proven(&server, &site).await;
}

on_both!(what_is_rejected_does_not_run);
async fn what_is_rejected_does_not_run(database: Database) {
    let (server, site, run, action) = proposed(&database).await;
    let detail = decided(&server, run, &action, "reject").await;
    assert_eq!(detail["status"], "still_failing", "{detail:#}");
    assert!(detail["why"].as_str().unwrap().contains("rejected"), "{detail:#}");
    assert_eq!(site.actions(), 0);
}

on_both!(what_is_stopped_ends_the_run_with_the_reason);
async fn what_is_stopped_ends_the_run_with_the_reason(database: Database) {
    let (server, site, run, action) = proposed(&database).await;
    fs::write(server.data().join("stop-actions"), "").unwrap();
    let detail = decided(&server, run, &action, "approve").await;
    assert_eq!(detail["status"], "still_failing", "{detail:#}");
    assert!(detail["why"].as_str().unwrap().contains("may not run now"), "{detail:#}");
    assert_eq!(site.actions(), 0);
}
