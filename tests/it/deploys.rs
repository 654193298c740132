//! Deploys: told by API or seen in files, and what diagnoses and groups say of them.

use std::{fs, os::unix::fs::symlink, path::Path};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, Role, Server, Setup, on_both, until};

on_both!(a_deploy_is_told_once);
on_both!(who_tells_twice_means_one_deploy);
on_both!(nonsense_is_refused);
on_both!(groups_and_diagnoses_know_the_deploy);
on_both!(changed_files_are_deploys);

fn minutes_ago(minutes: i64) -> String {
    let at: DateTime<Utc> = lux::clock::now() - TimeDelta::minutes(minutes);
    at.to_rfc3339()
}

async fn deploys(server: &Server) -> Vec<Value> {
    server.get("/api/deploys").await["deploys"].as_array().unwrap().clone()
}

async fn a_deploy_is_told_once(database: Database) {
    let server = Server::plain(&database).await;
    let at = "2026-11-20T10:00:00.123456789+01:00";
    let mark = json!({ "app": "shop", "release": " abc1234 ", "at": at, "note": "by hand" });
    let tell = || server.request_as(Role::Ingest, Method::POST, "/api/deploys").json(&mark);
    let first = Answer::of(tell()).await;
    assert_eq!(first.status, 201, "{first:?}");
    let deploy = first.json()["deploy"].clone();
    for (key, value) in [
        ("app", "shop"),
        ("release", "abc1234"),
        ("at", "2026-11-20T09:00:00.123456Z"),
        ("note", "by hand"),
        ("source", "api"),
        ("made_by", "rig"),
    ] {
        assert_eq!(deploy[key], value, "{deploy:#}");
    }
    let again = Answer::of(tell()).await;
    assert_eq!((again.status.as_u16(), &again.json()["deploy"]), (200, &deploy));
    assert_eq!(deploys(&server).await, std::slice::from_ref(&deploy));
    // Another time is another deploy; the newest comes first, page by page.
    for (app, release) in [("shop", "abc1234"), ("api", "v2"), ("shop", "v3")] {
        let answer = server.post("/api/deploys", &json!({ "app": app, "release": release })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let mut seen = Vec::new();
    let mut path = "/api/deploys?app=shop&limit=1".to_owned();
    loop {
        let page = server.get(&path).await;
        seen.extend(page["deploys"].as_array().unwrap().iter().map(|it| it["release"].clone()));
        let Value::String(next) = &page["next"] else { break };
        path = format!("/api/deploys?app=shop&limit=1&cursor={next}");
    }
    assert_eq!(seen, ["v3", "abc1234", "abc1234"]);
    let audit = server.deeds().await;
    assert_eq!(audit.len(), 4);
    assert_eq!(audit[3]["action"], "deploy.mark");
}

async fn who_tells_twice_means_one_deploy(database: Database) {
    let server = Server::plain(&database).await;
    let mark = |release: &str| json!({ "app": "shop", "release": release });
    let tell = async |release: &str| {
        let answer = server.post("/api/deploys", &mark(release)).await;
        (answer.status.as_u16(), answer.json()["deploy"]["id"].clone())
    };
    let (status, first) = tell("a").await;
    assert_eq!(status, 201);
    assert_eq!(tell("a").await, (200, first.clone()));
    // Back to what it was: that is a deploy, though its name is known.
    assert_eq!(tell("b").await.0, 201);
    let (status, back) = tell("a").await;
    assert!(status == 201 && back != first, "{back}");
    // Many at the same time.
    let (one, two, three, four) = tokio::join!(tell("c"), tell("c"), tell("c"), tell("c"));
    let told = [one, two, three, four];
    assert_eq!(told.iter().filter(|(status, _)| *status == 201).count(), 1, "{told:?}");
    assert!(told.iter().all(|(_, id)| *id == told[0].1), "{told:?}");
    // An hour later it is another one.
    let hour_ago = minutes_ago(60);
    let earlier = format!("update deploy set at = '{hour_ago}' where release = 'c'");
    server.database().execute(&server.data(), &earlier).await;
    let others = "delete from deploy where release <> 'c'";
    server.database().execute(&server.data(), others).await;
    assert_eq!(tell("c").await.0, 201);
    assert_eq!(deploys(&server).await.len(), 2);
}

async fn nonsense_is_refused(database: Database) {
    let server = Server::plain(&database).await;
    let long = "x".repeat(201);
    for (body, told) in [
        (json!({ "app": "", "release": "1" }), "app is one line"),
        (json!({ "app": "shop", "release": "  " }), "release is one line"),
        (json!({ "app": "shop", "release": "a\nb" }), "release is one line"),
        (json!({ "app": "shop", "release": "a\u{0}b" }), "release is one line"),
        (json!({ "app": "shop", "release": long }), "release is one line"),
        (json!({ "app": "shop", "release": "1", "note": "\u{1b}[31m" }), "note is one line"),
        (json!({ "app": "shop", "release": "1", "at": "yesterday" }), "expected form"),
        (json!({ "app": "shop", "release": "1", "at": "2999-01-01T00:00:00Z" }), "yet to come"),
        (json!({ "app": "shop", "release": "1", "at": "2001-01-01T00:00:00Z" }), "a year ago"),
        (json!({ "app": "shop", "release": "1", "relaese": "2" }), "relaese"),
    ] {
        let detail = server.post("/api/deploys", &body).await.problem(400);
        assert!(detail.contains(told), "{body}: {detail}");
    }
    let good = json!({ "app": "shop", "release": "1" });
    let reader = server.request_as(Role::Read, Method::POST, "/api/deploys").json(&good);
    Answer::of(reader).await.problem(403);
    assert_eq!(deploys(&server).await, Vec::<Value>::new());
}

async fn groups_and_diagnoses_know_the_deploy(database: Database) {
    let server = Server::plain(&database).await;
    for (release, minutes) in [("old1111", 600), ("new2222", 14)] {
        let at = minutes_ago(minutes);
        let mark = json!({ "app": "shop", "release": release, "at": at });
        assert_eq!(server.post("/api/deploys", &mark).await.status, 201);
    }
    let report = async |kind: &str, app: &str, minutes: i64| {
        let event = json!({
            "error_type": kind,
            "error_message": "could not connect to server: Connection refused",
            "error_stack": format!(
                "Traceback (most recent call last):\n  File \"/srv/shop/{kind}.py\", line 3, in total\n\
                 psycopg2.OperationalError: connection to server at \"127.0.0.1\", port 5432 failed: \
                 Connection refused\n"
            ),
            "app": app,
            "created_at": minutes_ago(minutes),
        });
        let id = server.post("/api/errors", &event).await.json()["ids"][0].clone();
        let error = server.get(&format!("/api/diagnostics/errors/{id}")).await;
        error["group"]["id"].as_i64().unwrap()
    };
    let before = report("Before", "shop", 700).await;
    let between = report("Between", "shop", 20).await;
    let other = report("Other", "api", 5).await;
    let release = async |id: i64| {
        server.get(&format!("/api/diagnostics/groups/{id}")).await["release"].clone()
    };
    assert_eq!(release(before).await, Value::Null);
    assert_eq!(release(between).await, "old1111");
    assert_eq!(release(other).await, Value::Null);

    // Of what began before the deploy, or in another application, it is not said.
    let question = json!({ "message": "what is wrong?", "action": "diagnose" });
    let answer = server.post("/chatbot/send", &question).await.json();
    let finding = &answer["diagnosis"]["findings"][0];
    assert!(finding["cause"].is_string(), "{:#}", answer["diagnosis"]);
    assert_eq!(finding["deploy"], Value::Null, "{:#}", answer["diagnosis"]);
    let resolve = json!({ "ids": [before, between, other], "status": "ignored" });
    assert_eq!(server.patch("/api/diagnostics/groups", &resolve).await.status, 200);
    let after = report("OperationalError", "shop", 10).await;
    assert_eq!(release(after).await, "new2222");
    let listed = server.get("/api/diagnostics/groups?status=unresolved").await;
    assert_eq!(listed["groups"][0]["release"], "new2222");
    // An answer serves whoever asks the same within a second.
    let answer = until("the deploy is told", async || {
        let answer = server.post("/chatbot/send", &question).await.json();
        let finding = &answer["diagnosis"]["findings"][0];
        finding["deploy"].is_object().then_some(answer)
    })
    .await;
    let finding = &answer["diagnosis"]["findings"][0];
    assert_eq!(finding["deploy"]["release"], "new2222", "{:#}", answer["diagnosis"]);
    let told = finding["deploy"]["text"].as_str().unwrap();
    assert!(told.contains(" minutes after deploy new2222 of shop"), "{told}");
    assert!(answer["response"].as_str().unwrap().contains(told), "{answer:#}");
}

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A checkout as git leaves it, at a commit.
fn checkout(folder: &Path, commit: &str) {
    let git = folder.join(".git");
    fs::create_dir_all(git.join("refs/heads")).unwrap();
    fs::write(git.join("refs/heads/main"), format!("{commit}\n")).unwrap();
    fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
}

/// Waits until the paths' present state is known.
async fn watched(server: &Server, paths: usize) {
    until("all paths were looked at", async || {
        let sql = "select release from deploy_watch";
        let known = server.database().column(&server.data(), sql).await;
        (known.len() == paths).then_some(())
    })
    .await;
}

async fn changed_files_are_deploys(database: Database) {
    let setup = Setup::new(&database);
    let root = setup.folder().join("srv");
    let (shop, lock) = (root.join("shop"), root.join("api/requirements.txt"));
    checkout(&shop, A);
    fs::create_dir_all(root.join("api")).unwrap();
    fs::write(&lock, "flask==3.0\n").unwrap();
    for release in ["1", "2"] {
        fs::create_dir_all(root.join("releases").join(release)).unwrap();
    }
    symlink("releases/1", root.join("current")).unwrap();
    let app = |name: &str, path: &Path| {
        format!(
            "[[apps]]\nname = \"{name}\"\nbase_url = \"http://127.0.0.1:1\"\n\
             deploy_paths = [\"{}\", \"{}/not-there\"]\n",
            path.display(),
            root.display()
        )
    };
    let toml = app("shop", &shop) + &app("api", &lock) + &app("web", &root.join("current"));
    let mut server = setup.toml(&toml).start().await;
    watched(&server, 3).await;
    assert_eq!(deploys(&server).await, Vec::<Value>::new(), "where it begins is no deploy");

    fs::write(shop.join(".git/refs/heads/main"), format!("{B}\n")).unwrap();
    let of = async |app: &str| {
        until(&format!("a deploy of {app}"), async || {
            deploys(&server).await.into_iter().find(|deploy| deploy["app"] == app)
        })
        .await
    };
    let deploy = of("shop").await;
    assert_eq!((&deploy["release"], &deploy["made_by"]), (&json!("bbbbbbb"), &json!("watch")));
    assert_eq!(deploy["source"], format!("git {}", shop.display()));

    // What changes while Lux is down is noticed when it is back.
    assert_eq!(server.stop().await, Some(0));
    fs::write(&lock, "flask==3.1\n").unwrap();
    fs::remove_file(root.join("current")).unwrap();
    symlink("releases/2", root.join("current")).unwrap();
    server.start().await;
    let of = async |app: &str| {
        until(&format!("a deploy of {app}"), async || {
            deploys(&server).await.into_iter().find(|deploy| deploy["app"] == app)
        })
        .await
    };
    let deploy = of("api").await;
    let release = deploy["release"].as_str().unwrap();
    assert!(release.len() == 12 && release.bytes().all(|b| b.is_ascii_hexdigit()), "{release}");
    assert_eq!(of("web").await["release"], "2");
    assert_eq!(deploys(&server).await.len(), 3);
    assert_eq!(server.log().matches("a deploy path cannot be read").count(), 6, "once a start");
}

#[test]
fn paths_are_checked_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let toml = "[[apps]]\nname = \"shop\"\nbase_url = \"http://127.0.0.1:1\"\n\
                deploy_paths = [\"srv/shop\", \"/a\", \"/a\"]\n";
    fs::write(folder.path().join("lux.toml"), toml).unwrap();
    let report = crate::support::run(crate::support::lux(folder.path()).args(["doctor", "--json"]));
    let mistakes = report.json()["mistakes"].to_string();
    assert!(mistakes.contains("srv/shop") && mistakes.contains("no absolute path"), "{mistakes}");
    assert!(mistakes.contains("listed twice"), "{mistakes}");
}
