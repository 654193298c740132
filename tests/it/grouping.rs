//! Merging, splitting, rules and releases, over real HTTP on both databases.

use std::{io::Write, process::Stdio, sync::atomic::Ordering};

use lux::{
    clock,
    errors::{Fingerprint, NewEvent, fingerprint},
};
use serde_json::{Value, json};

use crate::{
    crash::Reporters,
    support::{Database, Server, Setup, on_both, until},
};

async fn report(server: &Server, events: Value) -> Vec<i64> {
    let answer = server.post("/api/errors", &events).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

async fn groups(server: &Server) -> Vec<Value> {
    let page = server.get("/api/diagnostics/groups?limit=200").await;
    page["groups"].as_array().unwrap().clone()
}

async fn group(server: &Server, id: i64) -> Value {
    server.get(&format!("/api/diagnostics/groups/{id}")).await
}

async fn group_of(server: &Server, event: i64) -> Value {
    server.get(&format!("/api/diagnostics/errors/{event}")).await["group"].clone()
}

fn id(group: &Value) -> i64 {
    group["id"].as_i64().unwrap()
}

/// The group of that class of error; there must be one.
async fn of_type(server: &Server, error_type: &str) -> Value {
    let found = groups(server).await;
    let found: Vec<_> = found.iter().filter(|it| it["error_type"] == error_type).collect();
    assert_eq!(found.len(), 1, "{error_type}: {found:#?}");
    found[0].clone()
}

fn sum(buckets: &Value) -> i64 {
    buckets.as_array().unwrap().iter().map(|count| count.as_i64().unwrap()).sum()
}

async fn numbers(server: &Server, sql: &str) -> Vec<i64> {
    let rows = server.database().column(&server.data(), sql).await;
    rows.iter().map(|text| text.parse().unwrap()).collect()
}

/// Every group counts the events that it has, in its hours as well.
async fn everything_adds_up(server: &Server) {
    let wrong = "select cast(g.id as text) || ' counts ' || cast(g.count as text) || ', has '
             || cast((select count(*) from error_log as e where e.group_id = g.id) as text)
             || ', by hours '
             || cast((select coalesce(sum(b.count), 0) from error_bucket as b
                      where b.group_id = g.id) as text)
         from error_group as g
         where g.merged_into is null
           and (g.count <> (select count(*) from error_log as e where e.group_id = g.id)
             or g.count <> (select coalesce(sum(b.count), 0) from error_bucket as b
                            where b.group_id = g.id))";
    assert_eq!(server.database().column(&server.data(), wrong).await, [""; 0]);
    let left = "select cast(e.id as text) from error_log as e
                join error_group as g on g.id = e.group_id where g.merged_into is not null";
    assert_eq!(server.database().column(&server.data(), left).await, [""; 0]);
}

async fn merge(server: &Server, into: i64, ids: &[i64]) -> Value {
    let body = json!({ "into": into, "groups": ids });
    let answer = server.post("/api/diagnostics/groups/merge", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn split(server: &Server, id: i64, body: Value) -> Value {
    let answer = server.post(&format!("/api/diagnostics/groups/{id}/split"), &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn resolve(server: &Server, id: i64, more: Value) {
    let mut body = json!({ "status": "resolved", "reason": "mended and looked at" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = server.patch(&format!("/api/diagnostics/groups/{id}"), &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn events(error_type: &str, count: usize, user: &str) -> Value {
    (0..count)
        .map(|n| {
            json!({ "error_type": error_type, "error_message": "it broke", "app": "shop",
                    "user_id": format!("{user}{n}") })
        })
        .collect()
}

on_both!(merged_groups_are_one_until_they_are_taken_apart);
async fn merged_groups_are_one_until_they_are_taken_apart(database: Database) {
    let server = Server::plain(&database).await;
    report(&server, events("A", 30, "u")).await;
    report(&server, events("B", 20, "u")).await;
    report(&server, events("C", 5, "c")).await;
    let (a, b, c) = (
        id(&of_type(&server, "A").await),
        id(&of_type(&server, "B").await),
        id(&of_type(&server, "C").await),
    );
    let told = merge(&server, a, &[b]).await;
    assert_eq!((&told["group"], &told["continues"]), (&json!(a), &json!(false)), "{told}");
    // Merging into a merged group leads on; a chain has no middle.
    merge(&server, b, &[c]).await;
    assert_eq!(groups(&server).await.len(), 1);
    let one = group(&server, a).await;
    assert_eq!((&one["count"], &one["users"]), (&json!(55), &json!(35)), "{one:#}");
    assert_eq!(sum(&one["buckets"]), 55);
    assert!(one.get("merged_into").is_none(), "{one:#}");
    let merged: Vec<_> = one["merged"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(merged, [b, c]);
    everything_adds_up(&server).await;

    // An old id leads to the group, whatever is asked of it.
    let found = group(&server, b).await;
    assert_eq!((&found["id"], &found["merged_into"]), (&json!(a), &json!(a)));
    resolve(&server, b, json!({})).await;
    assert_eq!(group(&server, a).await["status"], "resolved");
    let late = json!({ "error_type": "B", "error_message": "it broke", "app": "shop",
                       "created_at": "2026-01-01T00:00:00Z" });
    report(&server, late).await;
    assert_eq!(group(&server, a).await["status"], "resolved", "it happened before");
    let new = report(&server, events("B", 1, "new")).await[0];
    let back = group_of(&server, new).await;
    assert_eq!(
        (&back["id"], &back["status"], &back["count"]),
        (&json!(a), &json!("regressed"), &json!(57))
    );

    let told = split(&server, a, json!({ "groups": [b] })).await;
    assert_eq!(told["groups"], json!([b]));
    let (one, other) = (group(&server, a).await, group(&server, b).await);
    assert_eq!((&one["count"], &other["count"]), (&json!(35), &json!(22)), "{one:#}\n{other:#}");
    assert_eq!((&other["id"], &other["status"]), (&json!(b), &json!("regressed")));
    assert_eq!(other["users"], 21);
    everything_adds_up(&server).await;
    let new = report(&server, events("B", 1, "new")).await[0];
    assert_eq!(group_of(&server, new).await["id"], b);
    let new = report(&server, events("C", 1, "new")).await[0];
    assert_eq!(group_of(&server, new).await["id"], a, "the other one stays merged");
    everything_adds_up(&server).await;
}

on_both!(what_does_not_belong_together_is_not_merged);
async fn what_does_not_belong_together_is_not_merged(database: Database) {
    let server = Server::plain(&database).await;
    report(&server, events("A", 1, "u")).await;
    report(&server, events("B", 1, "u")).await;
    report(&server, json!({ "error_type": "Other", "error_message": "m", "app": "cart" })).await;
    let (a, b) = (id(&of_type(&server, "A").await), id(&of_type(&server, "B").await));
    let other = id(&of_type(&server, "Other").await);
    database
        .execute(
            &server.data(),
            "insert into organization (name) values ('other');
             insert into error_group (organization_id, app, fingerprint, title, error_type,
                 cause_key, severity, first_seen, last_seen, status_at)
             select max(id), 'shop', '1:x', 't', 'T', 'c', 'error', '2026-01-01 00:00:00+00:00',
                 '2026-01-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00' from organization",
        )
        .await;
    let foreign =
        numbers(&server, "select cast(id as text) from error_group where fingerprint = '1:x'")
            .await[0];

    let merge = async |into: i64, groups: Value| {
        let body = json!({ "into": into, "groups": groups });
        server.post("/api/diagnostics/groups/merge", &body).await
    };
    assert!(merge(a, json!([a])).await.problem(409).contains("itself"));
    assert!(merge(a, json!([other])).await.problem(409).contains("cart"));
    merge(a, json!([foreign])).await.problem(404);
    merge(foreign, json!([a])).await.problem(404);
    merge(a, json!([b, 987_654_321])).await.problem(404);
    assert!(merge(a, json!([])).await.problem(400).contains("1 to 100"));
    assert!(merge(a, json!(vec![b; 101])).await.problem(400).contains("1 to 100"));
    resolve(&server, a, json!({})).await;
    assert!(merge(a, json!([b])).await.problem(409).contains("resolved on evidence"));
    assert_eq!(groups(&server).await.len(), 3, "nothing was merged");
    assert_eq!(merge(b, json!([a])).await.status, 200, "an open one takes a resolved one");
    assert_eq!(group(&server, a).await["status"], "unresolved");
    assert!(merge(other, json!([a])).await.problem(409).contains("merged into"));
    merge(a, json!([b])).await.problem(409);

    let split = async |id: i64, body: Value| {
        server.post(&format!("/api/diagnostics/groups/{id}/split"), &body).await
    };
    for (body, why) in [
        (json!({}), "either groups"),
        (json!({ "groups": [a], "by": "release" }), "either groups"),
        (json!({ "groups": [] }), "1 to 100"),
        (json!({ "by": "moon" }), "by is one of"),
        (json!({ "by": "tag:" }), "by is one of"),
        (json!({ "by": "tag:a\nb" }), "by is one of"),
    ] {
        assert!(split(b, body.clone()).await.problem(400).contains(why), "{body}");
    }
    split(foreign, json!({ "by": "release" })).await.problem(404);
    split(b, json!({ "groups": [foreign] })).await.problem(404);
    assert!(split(b, json!({ "groups": [other] })).await.problem(409).contains("not merged"));
    assert!(split(b, json!({ "by": "release" })).await.problem(409).contains("apart first"));
    assert!(split(a, json!({ "by": "release" })).await.problem(409).contains("merged into"));
}

on_both!(events_that_come_in_while_groups_are_merged_count_once);
async fn events_that_come_in_while_groups_are_merged_count_once(database: Database) {
    let server = Server::plain(&database).await;
    let reporters = Reporters::start(&server, 0, true);
    until("all kinds are there", async || (groups(&server).await.len() == 5).then_some(())).await;
    let ids: Vec<i64> = {
        let mut found = Vec::new();
        for n in 0..5 {
            found.push(id(&of_type(&server, &format!("Kind{n}")).await));
        }
        found
    };
    for round in 0..4 {
        merge(&server, ids[0], &ids[1..4]).await;
        let seen = reporters.acknowledged.load(Ordering::Relaxed);
        until("more come in", async || {
            (reporters.acknowledged.load(Ordering::Relaxed) > seen + 100).then_some(())
        })
        .await;
        if round < 3 {
            split(&server, ids[0], json!({ "groups": ids[1..4] })).await;
        }
    }
    let acknowledged = reporters.finish().await;
    until("all has followed", async || {
        let jobs = "select cast(count(*) as text) from job where kind = 'regroup'
                    and finished_at is null";
        (numbers(&server, jobs).await == [0]).then_some(())
    })
    .await;
    everything_adds_up(&server).await;
    let stored = numbers(&server, "select cast(count(*) as text) from error_log").await[0];
    assert_eq!(usize::try_from(stored).unwrap(), acknowledged.len());
    let counted = "select cast(sum(count) as text) from error_group where merged_into is null";
    assert_eq!(numbers(&server, counted).await, [stored]);
    assert_eq!(groups(&server).await.len(), 2);
    split(&server, ids[0], json!({ "groups": ids[1..4] })).await;
    everything_adds_up(&server).await;
}

on_both!(a_merge_survives_kill_9);
async fn a_merge_survives_kill_9(database: Database) {
    let mut server = Server::plain(&database).await;
    report(&server, events("A", 1, "u")).await;
    report(&server, events("B", 1, "u")).await;
    let (a, b) = (id(&of_type(&server, "A").await), id(&of_type(&server, "B").await));
    // A history of 60 000 events over a hundred days.
    let numbered =
        "with recursive n(n) as (select 1 union all select n + 1 from n where n < 60000)";
    let hour = match database {
        Database::Sqlite => {
            "strftime('%Y-%m-%dT%H:00:00+00:00', 1767225600 + (n % 2400) * 3600, 'unixepoch')"
        }
        Database::Postgres(_) => "to_timestamp(1767225600 + (n % 2400) * 3600)",
    };
    let history = format!(
        "insert into error_log (error_type, error_message, created_at, app, group_id)
             {numbered} select 'B', 'it broke', {hour}, 'shop', {b} from n;
         insert into error_bucket (group_id, hour_at, count)
             {numbered} select {b}, {hour}, count(*) from n group by 2;
         update error_group set count = count + 60000 where id = {b}"
    );
    database.execute(&server.data(), &history).await;

    let request = server
        .request_as(
            crate::support::Role::Operator,
            reqwest::Method::POST,
            "/api/diagnostics/groups/merge",
        )
        .json(&json!({ "into": a, "groups": [b] }));
    let asked = tokio::spawn(request.send());
    let left = format!("select cast(count(*) as text) from error_log where group_id = {b}");
    loop {
        let left = numbers(&server, &left).await[0];
        if left < 60_001 {
            break;
        }
    }
    server.kill().await;
    let _ = asked.await.unwrap();
    let at_death = numbers(&server, &left).await[0];
    assert!((1..60_001).contains(&at_death), "{at_death} were left");
    server.start().await;
    assert_eq!(group(&server, b).await["id"], a, "what was decided stands");
    until("the rest has followed", async || (numbers(&server, &left).await == [0]).then_some(()))
        .await;
    until("the hours have followed", async || {
        let hours = format!("select cast(count(*) as text) from error_bucket where group_id = {b}");
        (numbers(&server, &hours).await == [0]).then_some(())
    })
    .await;
    assert_eq!(group(&server, a).await["count"], 60_002);
    everything_adds_up(&server).await;
}

on_both!(a_group_is_split_by_what_its_events_differ_in);
async fn a_group_is_split_by_what_its_events_differ_in(database: Database) {
    let server = Server::plain(&database).await;
    let event = |shop: Option<&str>, endpoint: &str| {
        let tags = shop.map_or(json!({}), |shop| json!({ "shop": shop }));
        json!({ "error_type": "Timeout", "error_message": "no answer", "app": "shop",
                "endpoint": endpoint, "tags": tags, "user_id": "u" })
    };
    report(
        &server,
        json!([
            event(Some("north"), "/cart/1"),
            event(Some("north"), "/cart/2?a=b"),
            event(Some("south"), "/pay"),
            event(None, "/pay"),
        ]),
    )
    .await;
    let whole = id(&of_type(&server, "Timeout").await);
    let told = split(&server, whole, json!({ "by": "tag:shop" })).await;
    assert_eq!((&told["by"], &told["continues"]), (&json!("tag:shop"), &json!(false)));
    let titles = async || {
        let mut titles: Vec<(String, i64)> = groups(&server)
            .await
            .iter()
            .filter(|it| it["id"] != whole)
            .map(|it| (it["title"].as_str().unwrap().to_owned(), it["count"].as_i64().unwrap()))
            .collect();
        titles.sort();
        titles
    };
    let expected = |north: i64, south: i64, none: i64| {
        [
            ("Timeout: no answer [no shop]".to_owned(), none),
            ("Timeout: no answer [shop north]".to_owned(), north),
            ("Timeout: no answer [shop south]".to_owned(), south),
        ]
    };
    assert_eq!(titles().await, expected(2, 1, 1));
    everything_adds_up(&server).await;
    let old = group(&server, whole).await;
    assert_eq!(
        (&old["count"], &old["status"], &old["split_by"]),
        (&json!(0), &json!("ignored"), &json!("tag:shop"))
    );
    let ids = report(&server, json!([event(Some("north"), "/cart/3"), event(None, "/x")])).await;
    assert_eq!(titles().await, expected(3, 1, 2));
    let north = group_of(&server, ids[0]).await;
    assert_eq!(north["status"], "unresolved");

    // A part is a group like any other: it is split again, merged, and resolved.
    split(&server, id(&north), json!({ "by": "endpoint" })).await;
    let new = report(&server, event(Some("north"), "/cart/77")).await[0];
    let cart = group_of(&server, new).await;
    assert_eq!(cart["count"], 4, "{cart:#}");
    assert!(cart["title"].as_str().unwrap().ends_with("[endpoint /cart/<n>]"), "{cart:#}");
    let south = groups(&server).await;
    let south = south.iter().find(|it| it["title"].as_str().unwrap().contains("south")).unwrap();
    merge(&server, id(&cart), &[id(south)]).await;
    let new = report(&server, event(Some("south"), "/pay")).await[0];
    assert_eq!(group_of(&server, new).await["id"], cart["id"]);
    everything_adds_up(&server).await;

    split(&server, whole, json!({ "by": "none" })).await;
    let new = report(&server, event(None, "/x")).await[0];
    assert_eq!(group_of(&server, new).await["id"], whole);
    everything_adds_up(&server).await;
}

on_both!(groups_of_an_older_version_go_on);
async fn groups_of_an_older_version_go_on(database: Database) {
    let server = Server::plain(&database).await;
    let stack = |function: &str| {
        format!(
            "TypeError: price is undefined\n    at {function} (/srv/shop/cart.js:3:4)\n    \
             at /srv/shop/node_modules/express/lib/router.js:5:6"
        )
    };
    let event = |function: &str| {
        json!({ "error_type": "TypeError", "error_message": "price is undefined", "app": "shop",
                "error_stack": stack(function) })
    };
    let parsed = NewEvent::from_json(&event("Object.total").to_string()).unwrap();
    let parsed = parsed.check(clock::now()).unwrap();
    let newest = Fingerprint::of(&parsed).value;
    let [older] = &fingerprint::older(&parsed, &newest)[..] else { panic!("one older version") };
    database
        .execute(
            &server.data(),
            &format!(
                "insert into error_group (organization_id, app, fingerprint, title, error_type,
                     cause_key, severity, count, first_seen, last_seen, status_at)
                 values (1, 'shop', '{older}', 'TypeError: of old', 'TypeError', 'c', 'error', 7,
                     '2026-01-01 00:00:00+00:00', '2026-01-02 00:00:00+00:00',
                     '2026-01-01 00:00:00+00:00')"
            ),
        )
        .await;
    let old = id(&of_type(&server, "TypeError").await);
    for (count, function) in [(8, "Object.total"), (9, "Object.total"), (10, "total")] {
        let new = report(&server, event(function)).await[0];
        let group = group_of(&server, new).await;
        assert_eq!((id(&group), &group["count"]), (old, &json!(count)), "{group:#}");
        assert_eq!(group["title"], "TypeError: of old");
    }
    assert_eq!(groups(&server).await.len(), 1);
    resolve(&server, old, json!({})).await;
    report(&server, event("Object.total")).await;
    assert_eq!(group(&server, old).await["status"], "regressed");
    let signpost = numbers(
        &server,
        "select cast(id as text) from error_group where merged_into is not null and merged_by is null",
    )
    .await;
    assert_eq!(signpost.len(), 1);
    let body = json!({ "groups": signpost });
    let refused = server.post(&format!("/api/diagnostics/groups/{old}/split"), &body).await;
    assert!(refused.problem(409).contains("newer version"));

    // The old group is merged: its signpost leads on.
    report(&server, events("A", 1, "u")).await;
    let a = id(&of_type(&server, "A").await);
    merge(&server, a, &[old]).await;
    let new = report(&server, event("exports.total")).await[0];
    assert_eq!(group_of(&server, new).await["id"], a);
    assert_eq!(group(&server, a).await["count"], 13);
}

const RULES: &str = r#"
[[grouping]]
name = "deadlocks"
app = "shop"
type = "psycopg2.*"
message = "*deadlock*"
fingerprint = ["db-deadlock", "{{ endpoint }}"]
title = "Deadlock at {{ endpoint }}"

[[grouping]]
tags = { region = "eu-*" }
fingerprint = ["{{ default }}", "{{ tags.region }}"]
"#;

on_both!(rules_decide_what_is_one_error);
async fn rules_decide_what_is_one_error(database: Database) {
    let setup = Setup::new(&database);
    let server = setup.toml(RULES).start().await;
    let event = |app: &str, kind: &str, endpoint: &str| {
        json!({ "error_type": format!("psycopg2.{kind}"), "app": app, "endpoint": endpoint,
                "error_message": format!("Deadlock detected while {kind} waits") })
    };
    let ids = report(
        &server,
        json!([
            event("shop", "OperationalError", "/orders/1"),
            event("shop", "errors.DeadlockDetected", "/orders/2"),
            event("shop", "OperationalError", "/cart"),
            event("cart", "OperationalError", "/orders/1"),
        ]),
    )
    .await;
    let mut found = Vec::new();
    for id in &ids {
        found.push(group_of(&server, *id).await);
    }
    assert_eq!(found[0]["id"], found[1]["id"]);
    assert_eq!(found[0]["title"], "Deadlock at /orders/<n>");
    assert_ne!(found[0]["id"], found[2]["id"]);
    assert!(found[3]["fingerprint"].as_str().unwrap().starts_with("1:"), "{}", found[3]);
    let of_region = |region: &str| json!({ "error_type": "E", "error_message": "m", "tags": { "region": region } });
    let ids = report(&server, json!([of_region("eu-1"), of_region("eu-2"), of_region("us")])).await;
    let of = async |n: usize| id(&group_of(&server, ids[n]).await);
    assert!(of(0).await != of(1).await && of(1).await != of(2).await);
    // A program's own parts.
    let own = |message: &str| json!({ "error_type": "E", "error_message": message, "fingerprint": ["mine", "{{ level }}"] });
    let ids = report(&server, json!([own("one thing"), own("another")])).await;
    assert_eq!(group_of(&server, ids[0]).await["id"], group_of(&server, ids[1]).await["id"]);

    let mut command = server.command();
    command.args(["grouping", "test", "-", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text = event("shop", "OperationalError", "/orders/9").to_string();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    let shown: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(shown["rule"], "deadlocks");
    assert_eq!(shown["fingerprint"], found[0]["fingerprint"]);
    assert_eq!(shown["title"], "Deadlock at /orders/<n>");
}

#[tokio::test]
async fn mistakes_in_rules_are_named() {
    let server = Server::plain(&Database::sqlite()).await;
    let file = server.folder().join("wrong.toml");
    std::fs::write(
        &file,
        "[[grouping]]\nname = \"all\"\nfingerprint = [\"x\"]\n\
         [[grouping]]\ntype = \"T\"\nfingerprint = []\n\
         [[grouping]]\nname = \"odd\"\ntype = \"\"\nfingerprint = [\"{{ moon }}\"]\n\
         [[grouping]]\nname = \"misspelt\"\ntpye = \"T\"\nfingerprint = [\"x\"]\n",
    )
    .unwrap();
    let mut command = crate::support::lux(server.folder());
    command.arg("--config").arg(&file).args(["grouping", "test", "-"]);
    let said = crate::support::run(&mut command);
    assert_eq!(said.code, Some(2), "{said:?}");
    for part in [
        "grouping \"all\"",
        "nothing says which events",
        "grouping number 2",
        "fingerprint lists 1 to 20",
        "grouping \"odd\"",
        "type is empty",
        "{{ moon }}",
        "grouping \"misspelt\"",
        "tpye",
    ] {
        assert!(said.err.contains(part), "{part} is missing:\n{}", said.err);
    }
}

on_both!(a_release_mends_an_error);
async fn a_release_mends_an_error(database: Database) {
    let server = Server::plain(&database).await;
    let send = async |error_type: &str, release: Option<&str>| {
        let event = json!({ "error_type": error_type, "error_message": "m", "app": "shop",
                            "release": release });
        let id = report(&server, event).await[0];
        group_of(&server, id).await
    };
    let one = send("A", Some("shop@1.4.2")).await;
    let first = id(&one);
    send("A", Some("shop@1.4.10")).await;
    let seen = group(&server, first).await;
    assert_eq!(
        (&seen["first_release"], &seen["last_release"], &seen["release"]),
        (&json!("shop@1.4.2"), &json!("shop@1.4.10"), &json!("shop@1.4.2"))
    );
    resolve(&server, first, json!({ "in_release": "shop@1.4.11" })).await;
    assert_eq!(group(&server, first).await["resolved_in"], "shop@1.4.11");
    let still = send("A", Some("shop@1.4.10")).await;
    assert_eq!((&still["status"], &still["count"]), (&json!("resolved"), &json!(3)));
    let still = send("A", Some("shop@1.4.11-rc.1")).await;
    assert_eq!(still["status"], "resolved", "a release candidate comes before it");
    let back = send("A", Some("shop@1.4.11")).await;
    assert_eq!((&back["status"], &back["regressions"]), (&json!("regressed"), &json!(1)));
    assert_eq!(group(&server, first).await["resolved_in"], Value::Null);
    // A batch of several releases: the newest one counts.
    resolve(&server, first, json!({ "in_release": "shop@2.0.0" })).await;
    let of = |release: &str| json!({ "error_type": "A", "error_message": "m", "app": "shop", "release": release });
    report(&server, json!([of("shop@1.9"), of("shop@1.4.2")])).await;
    assert_eq!(group(&server, first).await["status"], "resolved");
    report(&server, json!([of("shop@1.9"), of("shop@2.1.0"), of("shop@1.4.2")])).await;
    assert_eq!(group(&server, first).await["status"], "regressed");
    // A merged group follows the releases of the one it is part of.
    let second = id(&send("B", Some("shop@1.0.0")).await);
    merge(&server, first, &[second]).await;
    resolve(&server, first, json!({ "in_release": "shop@3.0.0" })).await;
    assert_eq!(send("B", Some("shop@2.9.9")).await["status"], "resolved");
    let unknown = send("B", None).await;
    assert_eq!((&unknown["status"], id(&unknown)), (&json!("regressed"), first));

    // Commits have no order of their own: that of their first sight counts, or of a deploy.
    let third = id(&send("C", Some("9b1c2d3")).await);
    let deployed = json!({ "app": "shop", "release": "3f2a91c" });
    assert_eq!(server.post("/api/deploys", &deployed).await.status, 201);
    resolve(&server, third, json!({ "in_release": "3f2a91c" })).await;
    assert_eq!(send("C", Some("9b1c2d3")).await["status"], "resolved");
    assert_eq!(send("C", Some("3f2a91c")).await["status"], "regressed");
    resolve(&server, third, json!({ "in_release": "not-seen-yet" })).await;
    assert_eq!(send("C", Some("3f2a91c")).await["status"], "resolved");
    assert_eq!(send("C", Some("not-seen-yet")).await["status"], "regressed");

    // The next release, whatever its name.
    let fourth = id(&send("D", Some("0aa1bb2")).await);
    resolve(&server, fourth, json!({ "in_next_release": true })).await;
    let resolved = group(&server, fourth).await;
    assert_eq!(
        (&resolved["resolved_in"], &resolved["resolved_after"]),
        (&Value::Null, &json!("0aa1bb2"))
    );
    assert_eq!(send("D", Some("0aa1bb2")).await["status"], "resolved");
    assert_eq!(send("D", Some("9b1c2d3")).await["status"], "resolved", "an older one");
    assert_eq!(send("D", Some("77abc12")).await["status"], "regressed");
    // What happened before the resolution does not reopen it, whatever its release.
    resolve(&server, fourth, json!({ "in_release": "0aa1bb2" })).await;
    let late = json!({ "error_type": "D", "error_message": "m", "app": "shop",
                       "release": "77abc12", "created_at": "2026-01-01T00:00:00Z" });
    report(&server, late).await;
    assert_eq!(group(&server, fourth).await["status"], "resolved");

    let patch =
        async |body: Value| server.patch(&format!("/api/diagnostics/groups/{fourth}"), &body).await;
    for (body, why) in [
        (json!({ "status": "resolved", "in_release": "1.0" }), "reason"),
        (json!({ "status": "resolved", "reason": "r", "in_release": " " }), "in_release"),
        (
            json!({ "status": "resolved", "reason": "r", "in_release": "x".repeat(201) }),
            "in_release",
        ),
        (json!({ "status": "resolved", "reason": "r", "in_release": "a\nb" }), "in_release"),
        (json!({ "status": "ignored", "in_release": "1.0" }), "resolved"),
        (
            json!({ "status": "resolved", "reason": "r", "in_release": "1", "in_next_release": true }),
            "either",
        ),
    ] {
        assert!(patch(body.clone()).await.problem(400).contains(why), "{body}");
    }
    report(&server, json!({ "error_type": "E", "error_message": "m", "app": "new" })).await;
    let fifth = id(&of_type(&server, "E").await);
    let body = json!({ "status": "resolved", "reason": "r", "in_next_release": true });
    let refused = server.patch(&format!("/api/diagnostics/groups/{fifth}"), &body).await;
    assert!(refused.problem(400).contains("no release of app"));
    let both = json!({ "status": "resolved", "reason": "r", "in_release": "shop@9", "ids": [third, fourth] });
    assert_eq!(server.patch("/api/diagnostics/groups", &both).await.status, 200);
    assert_eq!(group(&server, third).await["resolved_in"], "shop@9");
}
