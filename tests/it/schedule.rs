//! Schedules: when they tick, and that each tick makes one job over all replicas.

use std::{collections::BTreeSet, fs};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{Europe::Berlin, Tz};
use lux::{
    clock,
    db::Db,
    jobs::{Done, Jobs, Pace, Scheduled, next_runs},
};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    both::on_both,
    support::{Database, Server, Setup, lux, run, until},
};

fn scheduled(expression: &str, zone: Tz) -> Scheduled {
    Scheduled {
        name: "clear",
        cron: expression.parse().unwrap(),
        zone,
        kind: "clear",
        payload: json!({ "schedule": true }),
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The ticks between two times, as a process that always runs sees them come.
fn ticks(schedule: &Scheduled, from: &str, to: &str) -> Vec<String> {
    let (mut now, to) = (at(from), at(to));
    let mut seen = BTreeSet::new();
    while now < to {
        seen.extend(schedule.latest(now).filter(|tick| *tick >= at(from)));
        now += TimeDelta::minutes(15);
    }
    let mut next = Vec::new();
    let mut last = at(from) - TimeDelta::seconds(1);
    while let Some(tick) = schedule.next(last).filter(|tick| *tick < to) {
        next.push(tick);
        last = tick;
    }
    assert_eq!(Vec::from_iter(seen), next, "forwards and backwards");
    let local = |tick: &DateTime<Utc>| tick.with_timezone(&schedule.zone).to_rfc3339();
    next.iter().map(local).collect()
}

#[test]
fn a_nightly_schedule_runs_once_a_night_also_when_the_clocks_change() {
    for (expression, in_spring, in_autumn) in [
        ("0 2 * * *", "2026-03-29T03:00:00+02:00", "2026-10-25T02:00:00+02:00"),
        ("30 2 * * *", "2026-03-29T03:00:00+02:00", "2026-10-25T02:30:00+02:00"),
        ("0 3 * * *", "2026-03-29T03:00:00+02:00", "2026-10-25T03:00:00+01:00"),
    ] {
        let schedule = scheduled(expression, Berlin);
        let spring = ticks(&schedule, "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z");
        assert_eq!(spring.len(), 3, "{expression}: {spring:?}");
        assert_eq!(spring[1], in_spring, "{expression}");
        let autumn = ticks(&schedule, "2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z");
        assert_eq!(autumn.len(), 3, "{expression}: {autumn:?}");
        assert_eq!(autumn[1], in_autumn, "{expression}");
    }
}

#[test]
fn every_six_hours_is_the_zones_own() {
    let schedule = scheduled("0 */6 * * *", Berlin);
    assert_eq!(
        ticks(&schedule, "2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z"),
        [
            "2026-11-21T00:00:00+01:00",
            "2026-11-21T06:00:00+01:00",
            "2026-11-21T12:00:00+01:00",
            "2026-11-21T18:00:00+01:00",
        ]
    );
    let utc = Scheduled { name: "repair", ..scheduled("0 */6 * * *", Tz::UTC) };
    let next = next_runs(&[schedule, utc], at("2026-11-21T05:30:00Z"));
    assert_eq!(
        next,
        [
            ("repair".to_owned(), at("2026-11-21T06:00:00Z")),
            ("clear".to_owned(), at("2026-11-21T11:00:00Z")),
        ]
    );
}

const DAILY: &str = "0 0 * * *";

struct Replicas {
    db: Db,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Runs some replicas with one schedule.
async fn replicas(url: &str, count: usize, schedule: &Scheduled) -> Replicas {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let mut db = None;
    for number in 0..count {
        let own = Db::connect(url, 2).await.unwrap();
        let pace = Pace { poll: std::time::Duration::from_millis(20), ..Pace::default() };
        let jobs = Jobs::with_pace(own.clone(), format!("replica {number}"), pace);
        jobs.handle("clear", 1, |_| async { Ok(Done::Finished) });
        // To see that a round is over.
        jobs.handle("marker", 1, |_| async { Ok(Done::Finished) });
        jobs.schedule(vec![schedule.clone()]);
        jobs.start(&tasks, stop.clone());
        db = Some(own);
    }
    Replicas { db: db.unwrap(), stop, tasks }
}

impl Replicas {
    /// Waits until the schedule's stored tick is this one.
    async fn come_to(&self, tick: DateTime<Utc>) {
        until("the schedule has come there", async || {
            let stored: Option<(DateTime<Utc>,)> = self
                .db
                .query("select tick from schedule where name = 'clear'")
                .optional()
                .await
                .unwrap();
            (stored == Some((tick,))).then_some(())
        })
        .await;
    }

    async fn end(self) -> Db {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.db
    }
}

async fn store(db: &Db, expression: &str, tick: DateTime<Utc>) {
    db.query(
        "insert into schedule (name, expression, tick) values ('clear', $1, $2)
         on conflict (name) do update set expression = excluded.expression, tick = excluded.tick",
    )
    .bind(expression)
    .bind(tick)
    .run()
    .await
    .unwrap();
}

async fn jobs(db: &Db) -> Vec<(String, String, i64)> {
    db.query("select dedupe, status, attempts from job order by id").all().await.unwrap()
}

on_both! {
    async fn four_replicas_make_one_job_of_a_tick(url: &str) {
        let schedule = scheduled(DAILY, Tz::UTC);
        let latest = schedule.latest(clock::now()).unwrap();
        let db = Db::connect(url, 1).await.unwrap();
        // Lux was down for some days: one run makes up for all of them.
        store(&db, "0 0 * * * UTC", latest - TimeDelta::days(3)).await;
        let replicas = replicas(url, 4, &schedule).await;
        replicas.come_to(latest).await;
        until("the job is done", async || {
            jobs(&db).await.iter().all(|(_, status, _)| status == "done").then_some(())
        })
        .await;
        let db = replicas.end().await;
        let name = format!("clear@{}", latest.format("%Y-%m-%dT%H:%MZ"));
        assert_eq!(jobs(&db).await, [(name, "done".to_owned(), 1)]);
    }

    async fn a_new_schedule_waits_for_its_first_tick(url: &str) {
        let schedule = scheduled(DAILY, Tz::UTC);
        let latest = schedule.latest(clock::now()).unwrap();
        let replicas = replicas(url, 2, &schedule).await;
        replicas.come_to(latest).await;
        assert_eq!(jobs(&replicas.end().await).await, []);
    }

    async fn another_expression_begins_anew(url: &str) {
        let schedule = scheduled(DAILY, Tz::UTC);
        let latest = schedule.latest(clock::now()).unwrap();
        let db = Db::connect(url, 1).await.unwrap();
        store(&db, "0 3 * * * UTC", latest - TimeDelta::days(3)).await;
        let replicas = replicas(url, 1, &schedule).await;
        replicas.come_to(latest).await;
        assert_eq!(jobs(&replicas.end().await).await, []);
    }

    async fn what_was_missed_long_ago_is_not_made_up_for(url: &str) {
        // The last tick is at least two days old.
        let two_days_ago = clock::now() - TimeDelta::days(2);
        let schedule = scheduled(&two_days_ago.format("0 0 %-d %-m *").to_string(), Tz::UTC);
        let latest = schedule.latest(clock::now()).unwrap();
        let db = Db::connect(url, 1).await.unwrap();
        let expression = format!("{} UTC", schedule.cron);
        store(&db, &expression, latest - TimeDelta::days(365)).await;
        let replicas = replicas(url, 1, &schedule).await;
        replicas.come_to(latest).await;
        assert_eq!(jobs(&replicas.end().await).await, []);
    }

    async fn a_clock_that_was_far_ahead_does_not_stop_a_schedule(url: &str) {
        let schedule = scheduled(DAILY, Tz::UTC);
        let latest = schedule.latest(clock::now()).unwrap();
        let db = Db::connect(url, 1).await.unwrap();
        store(&db, "0 0 * * * UTC", latest + TimeDelta::days(365)).await;
        let replicas = replicas(url, 1, &schedule).await;
        replicas.come_to(latest).await;
        assert_eq!(jobs(&replicas.end().await).await, []);
    }
}

#[tokio::test]
async fn four_servers_make_one_job_of_a_tick() {
    let Some(database) = Database::postgres().await else { return };
    let toml = "[schedule]\nclear = \"0 0 * * *\"\nrepair = \"off\"\n";
    let mut first = Setup::new(&database).toml(toml).start().await;
    // The agents have schedules of their own.
    let sql = "select to_char(tick, 'YYYY-MM-DD') from schedule where name = 'clear'";
    let stored = async |server: &Server| database.column(&server.data(), sql).await;
    let tick = until("it has begun", async || stored(&first).await.pop()).await;
    assert_eq!(first.stop().await, Some(0));
    let sql = "update schedule set tick = tick - interval '2 days' where name = 'clear'";
    database.execute(&first.data(), sql).await;
    let server = async || Setup::replica_of(&first).toml(toml).start().await;
    let servers = [server().await, server().await, server().await, server().await];
    until("it is made up for", async || (stored(&servers[0]).await == [&*tick]).then_some(()))
        .await;
    let sql = "select dedupe || ' ' || kind || ' ' || coalesce(payload ->> 'schedule', '') from job \
               order by id";
    let made = database.column(&servers[0].data(), sql).await;
    assert_eq!(made[0], format!("clear@{tick}T00:00Z clear true"), "{made:?}");
    until("what follows it is done once", async || {
        let made = database.column(&servers[0].data(), sql).await;
        assert!(made.len() <= 2, "{made:?}");
        made.get(1).map(|next| assert!(next.ends_with(" forget "), "{made:?}"))
    })
    .await;
    let health = servers[3].get("/api/diagnostics/health").await;
    let next = health["next_runs"].as_array().unwrap();
    let own = |run: &&Value| !run["name"].as_str().unwrap().starts_with("agent:");
    let next: Vec<&Value> = next.iter().filter(own).collect();
    assert_eq!((next.len(), &next[0]["name"]), (1, &json!("clear")), "{health:#}");
    assert!(at(next[0]["at"].as_str().unwrap()) > clock::now());
}

fn doctor(toml: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lux.toml"), toml).unwrap();
    run(lux(folder.path()).args(["doctor", "--json"])).json()
}

fn check(report: &Value, name: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name).unwrap();
    check["detail"].as_str().unwrap().to_owned()
}

#[test]
fn wrong_expressions_are_told_at_the_start() {
    for (value, told) in [
        ("61 2 * * *", "\"61 2 * * *\" is no cron expression"),
        ("every night", "is no cron expression"),
        ("0 2 * *", "is no cron expression"),
        ("0 0 2 * * *", "is no cron expression"),
        ("0 0 30 2 *", "never comes"),
    ] {
        let report = doctor(&format!("[schedule]\nclear = \"{value}\"\n"));
        let mistakes = report["mistakes"].as_array().unwrap();
        assert_eq!(mistakes.len(), 1, "{value}: {report:#}");
        assert_eq!(mistakes[0]["key"], "schedule.clear");
        let problem = mistakes[0]["problem"].as_str().unwrap();
        assert!(problem.contains(told), "{value}: {problem}");
    }
    for value in ["0h", "59m", "9000h"] {
        let report = doctor(&format!("[schedule]\nclear_older_than = \"{value}\"\n"));
        let problem = report["mistakes"][0]["problem"].as_str().unwrap();
        assert!(problem.contains("between 1h and 8760h"), "{problem}");
    }
}

#[test]
fn the_doctor_says_what_runs_when() {
    let told = check(&doctor(""), "schedules");
    assert!(told.contains("repair at ") && told.contains("clear at "), "{told}");
    let told =
        check(&doctor("[schedule]\nrepair = \"off\"\ntimezone = \"Europe/Berlin\"\n"), "schedules");
    assert!(told.starts_with("clear at ") && told.contains("02:00 CE"), "{told}");
    let report = doctor("[schedule]\nrepair = \"\"\nclear = \"off\"\n");
    assert_eq!(report["mistakes"], json!([]));
    let told = check(&report, "schedules");
    assert!(told.starts_with("forget at ") && told.contains("02:00 UTC"), "{told}");
    assert!(!told.contains("clear") && !told.contains("repair"), "{told}");
}
