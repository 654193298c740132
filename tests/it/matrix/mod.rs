//! The verdict matrix: every kind of fault, really produced and really mended, and what a
//! repair says of it meanwhile. Nothing that still fails may be resolved, and what is
//! mended must be.

mod kinds;
mod ledger;
mod neighbour;
mod rig;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::support::{Answer, Database, Role, Server, groups, repair, say, until};
use kinds::{BY_ERROR, BY_GROUP, Fault, KINDS, Kind, Mended, Told};
use ledger::Ledger;
use rig::Rig;

/// Between two visits of one user.
const PAUSE: Duration = Duration::from_millis(1200);

/// The market with its users.
struct Scene {
    rig: Rig,
    /// By the kind's place in the table: its fault is there, or was until a moment ago.
    live: Vec<AtomicBool>,
    /// Held for reading by a user, for writing by who breaks or mends.
    gates: Vec<RwLock<()>>,
}

fn place(kind: &Kind) -> usize {
    KINDS.iter().position(|other| other.name == kind.name).unwrap()
}

fn named(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap()
}

/// Whose group this is.
fn kind_of(group: &Value) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| {
        group["app"] == kind.app
            && group["endpoint"] == kind.endpoint()
            && group["method"].as_str().is_none_or(|method| method == kind.method)
    })
}

/// The newest events of a kind.
async fn events(server: &Server, kind: &Kind) -> Vec<Value> {
    let request = server
        .request_as(Role::Read, reqwest::Method::GET, "/api/diagnostics/errors")
        .query(&[("limit", "200"), ("app", kind.app), ("endpoint", kind.endpoint())]);
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer.json()["errors"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["method"] == kind.method).collect()
}

impl Scene {
    fn is_live(&self, kind: &Kind) -> bool {
        self.live[place(kind)].load(Ordering::SeqCst)
    }

    /// Users of one kind's page, before, while and after it fails.
    async fn use_it(&self, kind: &'static Kind) {
        loop {
            {
                let _open = self.gates[place(kind)].read().await;
                let (status, _) = self.rig.visit(kind).await;
                if kind.told == Told::Browser
                    && (status.is_server_error() || status.is_client_error())
                {
                    self.rig.report(kind, status).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn break_all(&self, kinds: &[&'static Kind]) {
        join_all(kinds.iter().map(|kind| async move {
            let _closed = self.gates[place(kind)].write().await;
            self.rig.set(kind, true).await;
        }))
        .await;
        for kind in kinds {
            until(&format!("errors of {} have arrived", kind.name), async || {
                let mut count = 0;
                for group in groups(&self.rig.server, "").await {
                    if kind_of(&group).is_some_and(|of| of.name == kind.name)
                        && group["status"] != "resolved"
                    {
                        count += group["count"].as_u64().unwrap();
                    }
                }
                (count >= 3).then_some(())
            })
            .await;
            self.live[place(kind)].store(true, Ordering::SeqCst);
        }
    }

    /// When it returns, no request that began before is under way, and users are served.
    async fn mend(&self, kinds: &[&'static Kind]) {
        join_all(kinds.iter().map(|kind| async move {
            let _closed = self.gates[place(kind)].write().await;
            self.live[place(kind)].store(false, Ordering::SeqCst);
            self.rig.set(kind, false).await;
        }))
        .await;
    }

    /// Looks all the time for what is resolved while it still fails.
    async fn watch(&self, ledger: &Ledger) {
        loop {
            for group in groups(&self.rig.server, "status=resolved&").await {
                if let Some(kind) = kind_of(&group) {
                    if self.is_live(kind) {
                        ledger.falsely(kind, &format!("its group is shown as resolved: {group}"));
                    } else {
                        ledger.is_resolved(kind);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Repairs and writes the verdicts down.
    async fn round(&self, ledger: &Ledger, what: &str, wanted: &Value) {
        let started = Instant::now();
        let report = repair(&self.rig.server, wanted).await;
        say(&format!("{what}: {:.1} s", started.elapsed().as_secs_f64()));
        let all = groups(&self.rig.server, "").await;
        for detail in report["details"].as_array().unwrap() {
            let group = all.iter().find(|group| group["id"] == detail["group_id"]);
            let Some(kind) = group.and_then(kind_of) else { continue };
            let status = detail["status"].as_str().unwrap();
            if (status == "resolved") != detail["evidence_id"].is_i64() {
                ledger.wrongly(
                    kind,
                    &format!("resolved means proven, and nothing else does: {detail}"),
                );
            }
            if detail["why"].as_str().is_none_or(str::is_empty) {
                ledger.wrongly(kind, &format!("a verdict without a reason: {detail}"));
            }
            ledger.note(kind, self.is_live(kind), detail);
        }
        for kind in self.rig.kinds().filter(|kind| self.is_live(kind)) {
            // Older ones may have been resolved truly, before it came back.
            if let Some(event) = events(&self.rig.server, kind).await.first()
                && event["resolved"] == true
            {
                ledger.falsely(kind, &format!("its error is shown as resolved: {event}"));
            }
        }
    }

    /// What must be proven by now is, everywhere it is shown.
    async fn is_proven(&self, ledger: &Ledger, kind: &'static Kind) {
        let all = groups(&self.rig.server, "").await;
        let of_kind: Vec<_> = all
            .iter()
            .filter(|group| kind_of(group).is_some_and(|of| of.name == kind.name))
            .collect();
        assert!(!of_kind.is_empty(), "{} has no group", kind.name);
        for group in of_kind {
            if group["status"] != "resolved" {
                ledger.missed(kind);
                return;
            }
            if !group["resolution"].is_string() {
                ledger.wrongly(kind, &format!("resolved by nothing: {group}"));
            }
        }
        for event in events(&self.rig.server, kind).await {
            if event["resolved"] != true {
                ledger.wrongly(kind, &format!("the group is resolved, but not {event}"));
            }
        }
    }
}

#[tokio::test]
async fn sqlite() {
    verdicts(Database::sqlite()).await;
}

#[tokio::test]
async fn postgres() {
    if let Some(database) = Database::postgres().await {
        verdicts(database).await;
    }
}
async fn verdicts(database: Database) {
    let Some(rig) = Rig::start(&database).await else { return };
    let kinds: Vec<_> = rig.kinds().collect();
    assert!(kinds.len() >= 25);
    let mut broken = Vec::new();
    for kind in &kinds {
        let (status, text) = rig.visit(kind).await;
        if !status.is_success() {
            broken.push(format!("{}: {status} {text}", kind.name));
        }
    }
    assert_eq!(broken, [""; 0], "while all is well");
    assert_eq!(groups(&rig.server, "").await, [Value::Null; 0], "while all is well");

    let scene = Arc::new(Scene {
        rig,
        live: KINDS.iter().map(|_| AtomicBool::new(false)).collect(),
        gates: KINDS.iter().map(|_| RwLock::new(())).collect(),
    });
    let ledger = Arc::new(Ledger::default());
    let mut crowd = tokio::task::JoinSet::new();
    for kind in &kinds {
        let (scene, kind) = (Arc::clone(&scene), *kind);
        crowd.spawn(async move { scene.use_it(kind).await });
    }
    let (watched, written) = (Arc::clone(&scene), Arc::clone(&ledger));
    crowd.spawn(async move { watched.watch(&written).await });

    let story = story(&scene, &ledger, &kinds);
    tokio::select! {
        () = story => {}
        // They never end but by a panic.
        ended = crowd.join_next() => panic!("{ended:?}"),
    }
    crowd.shutdown().await;
    only_permitted_requests(&scene.rig);
    ledger.settle(&kinds);
}

async fn story(scene: &Arc<Scene>, ledger: &Ledger, kinds: &[&'static Kind]) {
    let of = |mended: &[Mended]| -> Vec<_> {
        kinds.iter().copied().filter(|kind| mended.contains(&kind.mended)).collect()
    };
    let server = &scene.rig.server;
    let started = Instant::now();
    scene.break_all(kinds).await;
    say(&format!("all is broken and felt: {:.1} s", started.elapsed().as_secs_f64()));

    // While they fail. More than once: some fail only now and then.
    for round in 1..=2 {
        scene.round(ledger, &format!("all live, {round}"), &json!({})).await;
    }

    // One error, one group.
    let one = named(BY_ERROR);
    let error_id = events(server, one).await[0]["id"].clone();
    scene.mend(&[one]).await;
    ledger.is_mended(one);
    scene.round(ledger, "one error", &json!({ "error_id": error_id })).await;
    scene.is_proven(ledger, one).await;
    let one = named(BY_GROUP);
    scene.mend(&[one]).await;
    ledger.is_mended(one);
    scene.round(ledger, "one group", &json!({ "group_ids": ids_of(scene, one).await })).await;
    scene.is_proven(ledger, one).await;

    // Another deploy takes the application away in the middle of the checks.
    for kind in of(&[Mended::Eventually]) {
        scene.mend(&[kind]).await;
        ledger.is_mended(kind);
        let wanted = json!({ "group_ids": ids_of(scene, kind).await });
        let deploy = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let _closed = scene.gates[place(kind)].write().await;
            scene.rig.stop_for_a_deploy(kind.app).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            scene.rig.start_after_a_deploy(kind.app).await;
        };
        tokio::join!(scene.round(ledger, "during a deploy", &wanted), deploy);
        for _ in 0..3 {
            scene.round(ledger, "after the deploy", &wanted).await;
        }
        scene.is_proven(ledger, kind).await;
    }

    // All that one repair must resolve.
    let mut mended = of(&[Mended::Resolved]);
    mended.retain(|kind| ![BY_ERROR, BY_GROUP].contains(&kind.name));
    let started = Instant::now();
    scene.mend(&mended).await;
    say(&format!("all is mended: {:.1} s", started.elapsed().as_secs_f64()));
    for kind in &mended {
        ledger.is_mended(kind);
    }
    scene.round(ledger, "mended", &json!({})).await;
    for kind in &mended {
        scene.is_proven(ledger, kind).await;
    }
    scene.round(ledger, "the rest still live", &json!({})).await;
    // Those that pass now and then are asked again and again.
    let mut flapping = Vec::new();
    for kind in kinds.iter().filter(|kind| matches!(kind.fault, Fault::Switch(_))) {
        flapping.extend(ids_of(scene, kind).await);
    }
    for round in 1..=3 {
        let wanted = json!({ "group_ids": flapping });
        scene.round(ledger, &format!("those that flap, {round}"), &wanted).await;
    }

    // What only its users can see.
    let rest = of(&[Mended::Either, Mended::Inconclusive]);
    scene.mend(&rest).await;
    for kind in &rest {
        ledger.is_mended(kind);
    }
    scene.round(ledger, "the rest mended", &json!({})).await;
    for kind in of(&[Mended::Inconclusive]) {
        ledger.stays_open(kind);
    }

    // It comes back: reopened, not resolved again while it fails, resolved again after.
    let again = named("type_error");
    scene.break_all(&[again]).await;
    for id in ids_of(scene, again).await {
        let group = server.get(&format!("/api/diagnostics/groups/{id}")).await;
        if group["status"] != "regressed" {
            ledger.wrongly(again, &format!("it is back, but not a regression: {group}"));
        }
    }
    scene.round(ledger, "one is back", &json!({})).await;
    scene.mend(&[again]).await;
    ledger.is_mended(again);
    scene.round(ledger, "and gone", &json!({})).await;
    scene.is_proven(ledger, again).await;
}

async fn ids_of(scene: &Scene, kind: &Kind) -> Vec<Value> {
    let all = groups(&scene.rig.server, "").await;
    let of_kind = all.iter().filter(|group| kind_of(group).is_some_and(|of| of.name == kind.name));
    of_kind.map(|group| group["id"].clone()).collect()
}

/// Lux changed nothing at the applications but by the probes that it was given.
fn only_permitted_requests(rig: &Rig) {
    let requests = rig.requests();
    let probes: Vec<_> =
        requests.iter().filter(|line| line.to_lowercase().contains("lux-probe")).collect();
    assert!(!probes.is_empty(), "no probe arrived: {:?}", &requests[..requests.len().min(5)]);
    for line in probes {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        assert_ne!(path, "/logout", "{line}");
        assert!(
            ["GET", "HEAD", "OPTIONS"].contains(&method)
                || KINDS.iter().any(|kind| {
                    kind.method == method
                        && kind.path == path
                        && kind.probes.contains("method = 'POST'")
                }),
            "{line}"
        );
    }
}
