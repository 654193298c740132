//! The audit log: one chain whoever writes, which nobody changes unseen.

use futures_util::future::join_all;
use lux::{
    auth::{OrganizationId, audit},
    db::Db,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::both;
use crate::support::{Answer, Database, Role, Said, Server, Setup, on_both, run};

/// Entries of each of 16 writers: together more than what is read at once.
const EACH: usize = 33;

/// Exchanges two entries, and back.
const SWAP: &[&str] = &[
    "update audit set number = case number when 3 then -4 else -3 end where number in (3, 4)",
    "update audit set number = -number where number < 0",
];

const AS_IT_WAS: &[&str] = &["update audit set
         actor = (select was.actor from audit_before was where was.id = audit.id),
         address = (select was.address from audit_before was where was.id = audit.id),
         subject = (select was.subject from audit_before was where was.id = audit.id)"];

/// Entries that a server has from its start: the tokens that were made for the rig.
const TOKENS: usize = Role::ALL.len();

/// Statements with which somebody tampers, those that take it back, and what shows.
type Tampering = (&'static [&'static str], &'static [&'static str], Vec<(String, i64)>);

/// Leaves an entry in the log.
async fn deed(server: &Server, name: &str) {
    let mark = json!({ "app": "shop", "release": name });
    let answer = server.post("/api/deploys", &mark).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn verified(server: &Server, heads: &[&str]) -> Said {
    let mut command = server.command();
    command.args(["audit", "verify", "--json"]);
    for head in heads {
        command.args(["--head", head]);
    }
    run(&mut command)
}

/// (check, number) of all problems that `lux audit verify` finds.
fn problems(server: &Server, heads: &[&str]) -> Vec<(String, i64)> {
    let said = verified(server, heads);
    let report = said.json();
    let found: Vec<_> = report["problems"].as_array().unwrap().clone();
    assert_eq!(said.code, Some(i32::from(!found.is_empty())), "{said:?}");
    assert_eq!(report["whole"], found.is_empty(), "{said:?}");
    let problem = |it: &Value| {
        assert!(it["detail"].as_str().unwrap().len() > 10, "{it}");
        (it["check"].as_str().unwrap().to_owned(), it["number"].as_i64().unwrap())
    };
    found.iter().map(problem).collect()
}

fn exported(server: &Server) -> Vec<Value> {
    let said = run(server.command().args(["audit", "export"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server whose tokens are all made, each an entry of the log.
async fn known(setup: Setup) -> Server {
    let server = setup.start().await;
    for role in Role::ALL {
        server.token(role);
    }
    server
}

on_both!(writers_of_two_servers_make_one_chain);
async fn writers_of_two_servers_make_one_chain(database: Database) {
    let one = known(Setup::new(&database)).await;
    let other = known(Setup::replica_of(&one)).await;
    let writers = [&one, &other].into_iter().cycle().take(16).enumerate();
    join_all(writers.map(async |(writer, server)| {
        for at in 0..EACH {
            deed(server, &format!("r{writer}-{at}")).await;
        }
    }))
    .await;
    let entries = exported(&one);
    let numbers: Vec<i64> = entries.iter().map(|it| it["number"].as_i64().unwrap()).collect();
    let expected: Vec<i64> = (1..=i64::try_from(16 * EACH + 2 * TOKENS).unwrap()).collect();
    assert_eq!(numbers, expected);
    assert_eq!(problems(&other, &[]), []);

    // The same by the API.
    let check = one.get("/api/audit/verify").await;
    let last = entries.last().unwrap();
    assert_eq!(check["whole"], true, "{check:#}");
    assert_eq!((&check["checked"], &check["next"]), (&json!(numbers.len()), &Value::Null));
    assert_eq!(
        (&check["head"]["entries"], &check["head"]["hash"]),
        (&last["number"], &last["hash"])
    );
    let path = format!("/api/audit/verify?after=100&head=536:{}", last["hash"].as_str().unwrap());
    let check = one.get(&path).await;
    assert_eq!((&check["whole"], &check["checked"]), (&json!(true), &json!(436)), "{check:#}");
    let request = one.request_as(Role::Admin, Method::GET, "/api/audit/export");
    let answer = Answer::of(request).await;
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> =
        answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, entries);
    let path = format!("/api/audit/export?after={}", entries[528]["id"]);
    let rest = Answer::of(one.request_as(Role::Admin, Method::GET, &path)).await;
    assert_eq!(rest.text.lines().count(), 7);
    let newest = one.get("/api/audit?limit=1").await["entries"][0].clone();
    assert_eq!(&newest, last);
    assert_eq!(newest["address"], "127.0.0.1", "{newest:#}");
    // Behind all there is, there is nothing to look at: the question is wrong, or the end is gone.
    for after in [537, i64::MAX] {
        let check = one.get(&format!("/api/audit/verify?after={after}")).await;
        assert_eq!((&check["checked"], &check["whole"]), (&json!(0), &json!(false)), "{check:#}");
        let detail = check["problems"][0]["detail"].as_str().unwrap();
        assert!(detail.starts_with("the chain ends with entry 536:"), "{check:#}");
        assert_eq!(check["problems"].as_array().unwrap().len(), 1, "{check:#}");
    }
    for bad in ["after=-1", "head=1:xyz", "head=0:", "head=x"] {
        let request = one.request_as(Role::Admin, Method::GET, &format!("/api/audit/verify?{bad}"));
        Answer::of(request).await.problem(400);
    }
}

/// Each database gives details back in a spelling of its own; the hash is of what they mean.
#[tokio::test]
async fn what_is_noted_is_hashed_as_it_is_kept() {
    for empty in [both::sqlite().await, both::postgres().await].into_iter().flatten() {
        let db = Db::connect(&empty.url, 2).await.unwrap();
        let here = OrganizationId::FIRST;
        let details = [
            json!(null),
            json!({ "z": 1, "a": { "y": [1, 2.5, -0.0], "b": null }, "": "" }),
            json!([1e16, -1e16, 1e300, 1e-7, 0.1, 1.0, u64::MAX, i64::MIN, 123_456_789.012_345_67]),
            json!("NUL \0, quotes \" and \\, ключ, \u{1f600}, \u{2028}, \u{7f}"),
            json!({ "key\0": "value", "password": "hunter22value" }),
            json!({ "long": "x".repeat(100_000) }),
        ];
        for (at, detail) in details.iter().enumerate() {
            let actor = "é\0".repeat(400);
            let subject = format!("subject {at}");
            audit::write(&db, here, actor.as_str(), "test", &subject, detail).await.unwrap();
        }
        let check = audit::verify(&db, here, 0, 1000, None).await.unwrap();
        assert!(check.whole, "{}: {check:#?}", db.name());
        assert_eq!(check.checked, 6);
        // What is undone leaves no gap.
        let mut tx = db.begin().await.unwrap();
        audit::write(&mut tx, here, "me", "test", "undone", &json!({})).await.unwrap();
        drop(tx);
        audit::write(&db, here, "me", "test", "done", &json!({})).await.unwrap();
        // In steps, as the API goes.
        let mut after = Some(0);
        let mut steps = 0;
        while let Some(from) = after {
            let check = audit::verify(&db, here, from, 3, None).await.unwrap();
            assert!(check.whole, "{check:#?}");
            after = check.next;
            steps += 1;
        }
        assert_eq!(steps, 3);
        db.close().await;
    }
}

/// Takes away what keeps the log from being changed, as its owner could.
async fn lay_open(server: &Server) {
    let triggers: &[&str] = match server.database() {
        Database::Sqlite => &["drop trigger audit_no_update", "drop trigger audit_no_delete"],
        Database::Postgres(_) => {
            &["drop trigger audit_no_change on audit", "drop trigger audit_no_truncate on audit"]
        }
    };
    for sql in triggers {
        server.database().execute(&server.data(), sql).await;
    }
}

on_both!(what_was_changed_shows);
async fn what_was_changed_shows(database: Database) {
    let mut server = known(Setup::new(&database)).await;
    // Together with the four that are there already they are six.
    for at in 1..=2 {
        deed(&server, &format!("r{at}")).await;
    }
    assert_eq!(server.stop().await, Some(0));
    let told = server.log();
    let told = told.lines().rfind(|line| line.contains("the audit log ends here")).unwrap();
    let head = told.split(['"', ' ']).find(|word| word.starts_with("6:")).unwrap();
    assert_eq!(problems(&server, &[head]), []);
    lay_open(&server).await;
    let sql = async |sql: &str| server.database().execute(&server.data(), sql).await;
    sql("create table audit_before as select * from audit").await;
    let found = |check: &str, number| (check.to_owned(), number);
    let cases: [Tampering; 10] = [
        (
            &["update audit set actor = 'eve' where number = 3"],
            AS_IT_WAS,
            vec![found("hash", 3)],
        ),
        (
            &["update audit set subject = 'blog' where number = 6"],
            AS_IT_WAS,
            vec![found("hash", 6)],
        ),
        (
            &["update audit set address = null where number = 5"],
            AS_IT_WAS,
            vec![found("hash", 5)],
        ),
        (
            &["update audit set address = '10.0.0.1', actor = 'eve' where number = 2"],
            AS_IT_WAS,
            vec![found("hash", 2)],
        ),
        (SWAP, SWAP, vec![found("hash", 3), found("hash", 4), found("hash", 5)]),
        (
            &["insert into audit (organization_id, actor, action, subject, detail, created_at)
               select organization_id, 'eve', action, subject, detail, created_at
               from audit where number = 2"],
            &["delete from audit where number is null"],
            vec![found("outside", 0)],
        ),
        (
            &["insert into audit (organization_id, actor, action, subject, detail, created_at, number, hash)
               select organization_id, 'eve', action, subject, detail, created_at, 7, hash
               from audit where number = 2"],
            &["delete from audit where number = 7"],
            vec![found("end", 7)],
        ),
        (
            &["update audit_head set entries = 8"],
            &["update audit_head set entries = 6"],
            vec![found("missing", 7)],
        ),
        (
            &["update audit_head set hash = (select hash from audit where number = 5)"],
            &["update audit_head set hash = (select hash from audit where number = 6)"],
            vec![found("end", 6)],
        ),
        // The end is cut off with care: only what was told before shows it.
        (
            &[
                "delete from audit where number > 4",
                "update audit_head set entries = 4, hash = (select hash from audit where number = 4)",
            ],
            &[],
            vec![],
        ),
    ];
    for (tampering, undoing, expected) in cases {
        for statement in tampering {
            sql(statement).await;
        }
        assert_eq!(problems(&server, &[]), expected, "{tampering:?}");
        for statement in undoing {
            sql(statement).await;
        }
        if !undoing.is_empty() {
            assert_eq!(problems(&server, &[head]), [], "{undoing:?}");
        }
    }
    assert_eq!(problems(&server, &[head]), [found("head", 6)]);
    sql("delete from audit where number = 2").await;
    assert_eq!(problems(&server, &[]), [found("missing", 2)]);
    let said = run(server.command().args(["audit", "verify"]));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("missing: entry 2 is missing"), "{said:?}");
    assert!(said.out.contains("the chain is broken"), "{said:?}");
    // The head itself is gone.
    sql("delete from audit_head").await;
    assert_eq!(problems(&server, &[]), [found("end", 1)]);
}

on_both!(nothing_is_taken_out);
async fn nothing_is_taken_out(database: Database) {
    let server = known(Setup::new(&database)).await;
    deed(&server, "r1").await;
    let mut refused = vec![
        "update audit set actor = 'eve'",
        "update audit set detail = detail where number = 1",
        "delete from audit where number = 1",
        "delete from audit",
    ];
    if matches!(database, Database::Postgres(_)) {
        refused.push("truncate audit");
        refused.push("truncate audit cascade");
    }
    for sql in refused {
        let error = database.try_execute(&server.data(), sql).await.unwrap_err().to_string();
        assert!(error.contains("the audit log is only ever added to"), "{sql}: {error}");
    }
    assert_eq!(exported(&server).len(), TOKENS + 1);
    assert_eq!(problems(&server, &[]), []);
}

on_both!(a_filtered_list_looks_at_so_many_entries_at_once);
async fn a_filtered_list_looks_at_so_many_entries_at_once(database: Database) {
    let server = known(Setup::new(&database)).await;
    deed(&server, "r1").await;
    let many = format!(
        "insert into audit (organization_id, created_at, actor, action, subject, detail)
         with recursive count(i) as (select 1 union all select i + 1 from count where i < {})
         select organization_id, created_at, 'somebody', 'noise.made', 'x', '{{}}'
         from audit, count where action = 'deploy.mark'",
        audit::SCAN
    );
    database.execute(&server.data(), &many).await;
    let list = async |query: &str| server.get(&format!("/api/audit?{query}")).await;
    let found = |page: &Value| page["entries"].as_array().unwrap().len();
    let first = list("action=token.").await;
    assert_eq!(found(&first), 0, "{first:#}");
    let second = list(&format!("action=token.&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((found(&second), &second["next"]), (TOKENS, &Value::Null), "{second:#}");
    // What is frequent fills its pages, and all of it is listed once.
    let (mut cursor, mut total) = (String::new(), 0);
    loop {
        let page = list(&format!("actor=some&limit=200{cursor}")).await;
        total += found(&page);
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(found(&page), 200);
        cursor = format!("&cursor={next}");
    }
    assert_eq!(i64::try_from(total).unwrap(), audit::SCAN);
    // The page of people says so.
    let page = server.request_as(Role::Admin, Method::GET, "/settings/audit?deed=token.");
    let page = Answer::of(page.header("accept", "text/html")).await.text;
    assert!(page.contains("a part was looked through") && page.contains("Keep looking"), "{page}");
    assert!(!page.contains("No entry matches"), "{page}");
}

on_both!(what_cannot_be_noted_does_not_happen);
async fn what_cannot_be_noted_does_not_happen(database: Database) {
    let server = known(Setup::new(&database)).await;
    let app = json!({ "name": "shop", "base_url": "http://127.0.0.1:8000" });
    let added = server.post("/api/apps", &app).await;
    assert_eq!(added.status, 201, "{added:?}");
    let id = added.json()["id"].as_i64().unwrap();
    let state = async || {
        let mut state = Vec::new();
        let keys = format!("/api/apps/{id}/keys");
        for path in ["/api/apps?archived=true", "/api/deploys", "/api/audit", &keys] {
            state.push(server.get(path).await);
        }
        state.push(
            server.get("/api/diagnostics/health").await["health"]["parts"]["actions"].clone(),
        );
        state
    };
    let before = state().await;
    let (full, free) = match &database {
        Database::Sqlite => (
            "create trigger audit_full before insert on audit begin
                 select raise(abort, 'full');
             end",
            "drop trigger audit_full",
        ),
        Database::Postgres(_) => (
            "alter table audit add constraint audit_full check (false) not valid",
            "alter table audit drop constraint audit_full",
        ),
    };
    database.execute(&server.data(), full).await;
    let deeds = [
        ("/api/apps".to_owned(), json!({ "name": "blog", "base_url": "http://127.0.0.1:8001" })),
        (format!("/api/apps/{id}/keys"), json!({ "name": "mobile" })),
        (format!("/api/apps/{id}/archive"), json!({})),
        ("/api/deploys".to_owned(), json!({ "app": "shop", "release": "r1" })),
        ("/api/auto-repair/stop".to_owned(), json!({})),
    ];
    for (path, body) in &deeds {
        let answer = server.post(path, body).await;
        assert!(answer.status.is_server_error(), "{path}: {answer:?}");
        let detail = answer.problem(answer.status.as_u16());
        assert!(!detail.contains("audit_full"), "{detail}");
    }
    assert_eq!(state().await, before);
    database.execute(&server.data(), free).await;
    for (path, body) in &deeds {
        let answer = server.post(path, body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    }
    assert_eq!(exported(&server).len(), TOKENS + 1 + deeds.len());
    assert_eq!(problems(&server, &[]), []);
}
