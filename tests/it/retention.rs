//! Retention: what is old or too much goes; the first, the newest, the rarest and what a
//! resolution rests on stay, and all counts stay true.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use lux::clock;
use serde_json::{Value, json};

use crate::support::{Database, Server, Setup, on_both, until};

on_both!(the_first_the_newest_and_the_rarest_stay);
on_both!(what_is_old_goes_but_for_evidence);

async fn keeping(database: &Database, settings: &str) -> Server {
    let setup = Setup::new(database);
    let toml = format!(
        "[capture]\nretain_every = \"1s\"\n{settings}\n[[sources]]\nname = \"app\"\npath = \"{}\"\n",
        setup.folder().join("app.log").display()
    );
    setup.toml(&toml).start().await
}

async fn stored(server: &Server, kind: &str) -> BTreeSet<i64> {
    let sql = format!("select cast(id as text) from error_log where error_type = '{kind}'");
    let ids = server.database().column(&server.data(), &sql).await;
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

async fn send(server: &Server, events: Vec<Value>) -> Vec<i64> {
    let answer = server.post("/api/errors", &events).await.json();
    answer["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

async fn the_first_the_newest_and_the_rarest_stay(database: Database) {
    let server = keeping(&database, "max_group_events = 100\nmax_events = 160").await;
    let start = clock::now() - TimeDelta::minutes(30);
    let event = |kind: &str, n: i64| {
        let mut event = json!({
            "error_type": kind, "error_message": format!("order {n} is odd"), "app": "shop",
            "created_at": (start + TimeDelta::seconds(n)).to_rfc3339(), "release": "r1",
            "endpoint": format!("/order/{n}"), "tags": { "browser": "Firefox", "trace": format!("t{n}") },
        });
        match n {
            40 => event["release"] = json!("r0"),
            41 => event["tags"]["browser"] = json!("Lynx"),
            42 => event["endpoint"] = json!("/cart"),
            43 => event["error_message"] = json!("quite another wording"),
            _ => {}
        }
        // One group, whatever the wording.
        event["error_stack"] = json!(format!(
            "Traceback (most recent call last):\n  File \"/srv/shop/cart.py\", line 3, in total\n{kind}: odd\n"
        ));
        event
    };
    let large = send(&server, (0..400).map(|n| event("Large", n)).collect()).await;
    send(&server, (0..130).map(|n| event("Middle", n)).collect()).await;
    let small = send(&server, (0..15).map(|n| event("Small", n)).collect()).await;
    let left = until("only so many are left", async || {
        let all = stored(&server, "Large").await;
        let count = all.len() + stored(&server, "Middle").await.len() + small.len();
        (count <= 160).then_some(all)
    })
    .await;
    assert_eq!(stored(&server, "Small").await.len(), 15, "the fullest groups shrink first");
    assert!(left.len() >= 70, "not more than needed goes: {}", left.len());
    assert!(left.contains(&large[0]), "the first");
    assert!(large[40..44].iter().all(|id| left.contains(id)), "the rare ones");
    assert!(large[360..].iter().all(|id| left.contains(id)), "the newest");
    let groups = server.get("/api/diagnostics/groups?sort=count").await;
    let counts: Vec<&Value> =
        groups["groups"].as_array().unwrap().iter().map(|group| &group["count"]).collect();
    assert_eq!(counts, [&json!(400), &json!(130), &json!(15)], "counts stay true");
    let series = server.get("/api/diagnostics/errors/series?hours=2").await;
    assert_eq!(series["total"], json!(545));
}

async fn what_is_old_goes_but_for_evidence(database: Database) {
    let server = keeping(&database, "keep = \"2h\"").await;
    let old = clock::now() - TimeDelta::hours(3);
    let at = |kind: &str, minutes: i64| {
        let at = old + TimeDelta::minutes(minutes);
        json!({ "error_type": kind, "error_message": "x", "created_at": at.to_rfc3339() })
    };
    // Two old events of a proven group: one is the evidence's, the other is not. All at once,
    // or it might look in between.
    let fresh = json!({ "error_type": "Proven", "error_message": "x" });
    send(&server, vec![fresh]).await;
    let old_row = |message: &str| {
        format!(
            "insert into error_log (error_type, error_message, created_at, group_id)
             select 'Proven', '{message}', '2024-01-01T00:00:00+00:00', id from error_group
             where error_type = 'Proven';"
        )
    };
    let sql = format!(
        "begin; {} {}
         insert into evidence (organization_id, kind, detail, made_by, created_at)
             values (1, 'probe', 'green', 'lux', current_timestamp);
         insert into repair_run (organization_id, trigger, requested_by, scope, status, created_at)
             values (1, 'api', 'ann', '{{}}', 'done', current_timestamp);
         insert into repair_cause (run_id, app, cause, title, confidence, plan)
             values (1, '', 'unknown', 't', 'low', '{{}}');
         insert into repair_attempt (organization_id, run_id, cause_id, group_id, error_id, verdict,
                 evidence_id, started_at)
             select 1, 1, 1, group_id, id, 'resolved', 1, current_timestamp from error_log
             where error_message = 'rests on it';
         update error_group set status = 'resolved', evidence_id = 1 where error_type = 'Proven';
         commit;",
        old_row("rests on it"),
        old_row("does not"),
    );
    server.database().execute(&server.data(), &sql).await;
    let open = send(&server, (0..40).map(|n| at("Open", n)).collect()).await;
    let ignored = send(&server, (0..40).map(|n| at("Ignored", n)).collect()).await;
    let fresh = json!({ "error_type": "Ignored", "error_message": "x" });
    let groups = server.get("/api/diagnostics/groups?q=Ignored").await;
    let ids = json!({ "ids": [groups["groups"][0]["id"]], "status": "ignored" });
    server.patch("/api/diagnostics/groups", &ids).await;
    let fresh = send(&server, vec![fresh]).await;
    until("the old ones are gone", async || {
        let left = (stored(&server, "Open").await, stored(&server, "Ignored").await);
        (left == (BTreeSet::from([open[39]]), BTreeSet::from([fresh[0]]))).then_some(())
    })
    .await;
    assert!(ignored.iter().all(|id| *id != fresh[0]));
    let proven = until("the other is gone", async || {
        let sql = "select error_message from error_log where error_type = 'Proven' order by id";
        let left = server.database().column(&server.data(), sql).await;
        (!left.contains(&"does not".to_owned())).then_some(left)
    })
    .await;
    assert_eq!(proven, ["x", "rests on it"]);
    let groups = server.get("/api/diagnostics/groups?sort=count").await;
    assert_eq!(groups["groups"][0]["count"], json!(41));
}
