//! People: the first one, those who are invited, their roles and their end.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Browser, Database, Role, Server, Setup, link, lux, on_both, run, until,
};

const ME: &str = "/api/auth/me";
const GROUPS: &str = "/api/diagnostics/groups";

async fn me(server: &Server, browser: &mut Browser) -> Value {
    browser.get(server, ME).await.json()
}

async fn account(server: &Server, id: &Value) -> Value {
    let all = server.get("/api/accounts").await;
    let found = all["accounts"].as_array().unwrap().iter().find(|it| it["id"] == *id).cloned();
    found.unwrap_or_else(|| panic!("{all:#}"))
}

async fn change(server: &Server, id: &Value, mut change: Value) -> Answer {
    if change.get("version").is_none() {
        change["version"] = account(server, id).await["version"].clone();
    }
    server.patch(&format!("/api/accounts/{id}"), &change).await
}

on_both!(the_first_start_makes_an_administrator);
async fn the_first_start_makes_an_administrator(database: Database) {
    let mut server = Server::plain(&database).await;
    server.stop().await;
    database.execute(&server.data(), "delete from api_token").await;
    server.start().await;
    let log = server.log();
    assert!(log.contains("first start: this admin token is shown once, keep it:\n\n    lux_"));
    let line = log.lines().map(str::trim).find(|line| line.contains("/auth/link/"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    let mut root = Browser::new();
    let page = root.get(&server, line.strip_prefix(&server.base).unwrap()).await;
    assert!(page.text.contains("Become the administrator"), "{page:?}");
    // Another is as good as the first; whichever is used, the other is of no use then.
    let other = link(&server, &["setup-link"]);
    assert_eq!(root.open_link(&server, line).await.status, 303);
    let who = me(&server, &mut root).await;
    assert_eq!((&who["role"], &who["name"]), (&json!("admin"), &json!("local admin")));
    assert_eq!(Browser::new().open_link(&server, &other).await.status, 403);
    let said = run(server.command().arg("setup-link"));
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    assert!(said.err.contains("lux login-link") && said.err.contains("lux invite"), "{said:?}");
    // Tokens do not come back: there is one.
    server.stop().await;
    server.start().await;
    assert_eq!(server.log().matches("/auth/link/").count(), 1);
}

on_both!(who_is_invited_has_the_role);
async fn who_is_invited_has_the_role(database: Database) {
    let server = Server::plain(&database).await;
    let mut root = Browser::signed_in(&server, &["login-link"]).await;
    let invite = json!({ "role": "operator", "email": " Ada@Example.com" });
    let made = root.with_body(&server, Method::POST, "/api/invitations", &invite).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    let link = made["link"].as_str().unwrap();
    let listed = root.get(&server, "/api/invitations").await;
    let token = link.rsplit('/').next().unwrap();
    assert!(!listed.text.contains(token) && listed.text.contains("\"made_by\":\"local admin\""));

    let mut ada = Browser::new();
    let page = ada.get(&server, link.strip_prefix(&server.base).unwrap()).await;
    assert!(page.text.contains("name=\"name\""), "{page:?}");
    assert_eq!(ada.open_link(&server, link).await.status, 303);
    let who = me(&server, &mut ada).await;
    assert_eq!(
        (&who["role"], &who["name"], &who["email"]),
        (&json!("operator"), &json!("Ada"), &json!("Ada@Example.com"))
    );
    assert_eq!(Browser::new().open_link(&server, link).await.status, 403);
    let accepted = root.get(&server, "/api/invitations").await.json();
    assert_eq!(accepted["invitations"][0]["account_id"], who["account"]);
    // Her role is an operator's, wherever it is asked for.
    assert_eq!(ada.get(&server, GROUPS).await.status, 200);
    for path in ["/api/accounts", "/api/invitations", "/api/audit"] {
        let told = ada.get(&server, path).await.problem(403);
        assert_eq!(told, "this needs the role admin; yours is operator");
    }
    let again = root.with_body(&server, Method::POST, "/api/invitations", &invite).await;
    assert!(again.problem(409).contains("there is an account with that address"));

    // Withdrawn, and of no use; accepted, and not to be withdrawn.
    let other = json!({ "role": "customer" });
    let other = root.with_body(&server, Method::POST, "/api/invitations", &other).await.json();
    let withdraw = async |root: &mut Browser, id: &Value| {
        let path = format!("/api/invitations/{id}");
        let request = root.request(&server, Method::DELETE, &path);
        root.send(request).await
    };
    assert_eq!(withdraw(&mut root, &other["id"]).await.status, 204);
    let answer = Browser::new().open_link(&server, other["link"].as_str().unwrap()).await;
    assert_eq!(answer.status, 403);
    withdraw(&mut root, &other["id"]).await.problem(404);
    withdraw(&mut root, &made["id"]).await.problem(404);
    for (body, told) in [
        (json!({ "role": "ingest" }), "people are of role admin, operator or customer"),
        (json!({ "role": "operator", "email": "ada" }), "no e-mail address"),
        (json!({ "role": "operator", "status": "active" }), "unknown field"),
    ] {
        let answer = root.with_body(&server, Method::POST, "/api/invitations", &body).await;
        assert!(answer.problem(400).contains(told), "{answer:?}");
    }
    // A person's name stands in the audit log.
    let audit = server.get("/api/audit").await;
    let by = |action: &str| {
        let entries = audit["entries"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["action"] == action);
        entry.unwrap_or_else(|| panic!("no {action}: {audit:#}"))["actor"].clone()
    };
    assert_eq!(by("invitation.create"), "local admin");
    assert_eq!(by("invitation.withdraw"), "local admin");
    assert_eq!(by("invitation.accept"), "Ada");
    // The command line finds her by her address, however it is spelled.
    let mut again =
        Browser::signed_in(&server, &["login-link", "--email", "ADA@EXAMPLE.COM"]).await;
    assert_eq!(me(&server, &mut again).await["account"], who["account"]);
    for args in [["--email", "eve@example.com"], ["--email", "eve"], ["--account", "987654321"]] {
        let said = run(server.command().arg("login-link").args(args));
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    }
}

on_both!(a_change_counts_on_every_server);
async fn a_change_counts_on_every_server(database: Database) {
    let one = Server::plain(&database).await;
    let url = match &database {
        Database::Sqlite => format!("sqlite:{}", one.data().join("lux.db").display()),
        Database::Postgres(url) => url.clone(),
    };
    let two = Setup::new(&database)
        .env("DATABASE_URL", &url)
        .env("LUX_MASTER_KEY_FILE", one.data().join("master.key").to_str().unwrap())
        .start()
        .await;
    let mut ada = Browser::signed_in(&one, &["invite", "--role", "operator"]).await;
    let id = me(&one, &mut ada).await["account"].clone();
    for server in [&one, &two] {
        assert_eq!(ada.get(server, GROUPS).await.status, 200);
    }
    // A customer sees nothing of the system, though still who they are.
    assert_eq!(change(&one, &id, json!({ "role": "customer" })).await.status, 200);
    ada.get(&one, GROUPS).await.problem(403);
    until("the other server knows", async || {
        let answer = ada.get(&two, GROUPS).await;
        (answer.status != 200).then(|| answer.problem(403))
    })
    .await;
    let document = one.get("/openapi.json").await;
    let mut refused = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        // What is their own is theirs.
        let own = ["/api/conversations", "/api/customers"].contains(&path.as_str());
        if own || path.contains('{') || path.starts_with("/api/auth/") {
            continue;
        }
        for (method, operation) in methods.as_object().unwrap() {
            let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
            let open = operation["security"].as_array();
            if open.is_some_and(|ways| ways.iter().any(|way| *way == json!({}))) {
                continue;
            }
            let request = ada.request(&one, method.clone(), path).json(&json!({}));
            let answer = ada.send(request).await;
            // A session is nothing to the webhook, whoever's it is.
            let status = if path == "/api/webhook/zapier-contact" { 401 } else { 403 };
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            refused += 1;
        }
    }
    assert!(refused > 20, "only {refused} routes were asked for");
    assert_eq!(me(&two, &mut ada).await["role"], "customer");
    assert_eq!(change(&two, &id, json!({ "role": "operator" })).await.status, 200);
    until("she may again", async || (ada.get(&one, GROUPS).await.status == 200).then_some(()))
        .await;

    // Deactivated: her sessions are gone, and she gets no other.
    let stale = account(&one, &id).await["version"].as_i64().unwrap() - 1;
    let answer = change(&one, &id, json!({ "status": "disabled", "version": stale })).await;
    assert!(answer.problem(409).contains("changed meanwhile"));
    assert_eq!(ada.get(&one, ME).await.status, 200);
    let said = link(&one, &["login-link", "--account", &id.to_string()]);
    let answer = change(&one, &id, json!({ "status": "disabled" })).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &json!("disabled")));
    ada.get(&one, ME).await.problem(401);
    until("the other server knows", async || {
        let answer = ada.get(&two, ME).await;
        (answer.status != 200).then(|| answer.problem(401))
    })
    .await;
    assert_eq!(Browser::new().open_link(&one, &said).await.status, 403);
    let refused = run(one.command().args(["login-link", "--account", &id.to_string()]));
    assert!(refused.code == Some(2) && refused.err.contains("deactivated"), "{refused:?}");
    // Active again: she has to sign in again.
    assert_eq!(change(&one, &id, json!({ "status": "active" })).await.status, 200);
    ada.get(&one, ME).await.problem(401);
    assert_eq!(ada.open_link(&one, &said).await.status, 303);
    assert_eq!(me(&two, &mut ada).await["role"], "operator");
}

on_both!(there_is_always_an_administrator);
async fn there_is_always_an_administrator(database: Database) {
    let server = Server::plain(&database).await;
    let mut root = Browser::signed_in(&server, &["login-link"]).await;
    let id = me(&server, &mut root).await["account"].clone();
    for body in [json!({ "role": "operator" }), json!({ "status": "disabled" })] {
        let told = change(&server, &id, body).await.problem(409);
        assert!(told.contains("last active administrator"), "{told}");
    }
    let mut other = Browser::signed_in(&server, &["invite", "--role", "admin"]).await;
    assert_eq!(change(&server, &id, json!({ "role": "operator" })).await.status, 200);
    root.get(&server, "/api/accounts").await.problem(403);
    let all = other.get(&server, "/api/accounts").await.json();
    assert_eq!(all["accounts"].as_array().unwrap().len(), 2);
    // Nobody makes themselves more than they are, nor anything else of themselves.
    let body = json!({ "role": "admin", "version": 2 });
    let path = format!("/api/accounts/{id}");
    root.with_body(&server, Method::PATCH, &path, &body).await.problem(403);
    for body in [
        json!({ "role": "admin" }),
        json!({ "role": "read", "version": 2 }),
        json!({ "version": 2, "email": "root@example.com" }),
        json!({ "version": 2, "organization_id": 2 }),
    ] {
        other.with_body(&server, Method::PATCH, &path, &body).await.problem(400);
    }
    // Another organization's account does not exist.
    let sql = "insert into organization (name) values ('other')";
    database.execute(&server.data(), sql).await;
    let sql = "insert into account (organization_id, name, role, created_at)
               select max(id), 'theirs', 'admin', '2026-01-01T00:00:00+00:00' from organization";
    database.execute(&server.data(), sql).await;
    let sql = "select cast(id as text) from account where name = 'theirs'";
    let theirs = database.column(&server.data(), sql).await[0].clone();
    let sql = format!(
        "insert into session (organization_id, account_id, hash, created_at, seen_at,
                              idle_ends_at, ends_at)
         select organization_id, id, 'x', created_at, created_at, '2099-01-01T00:00:00+00:00',
                '2099-01-01T00:00:00+00:00' from account where id = {theirs}"
    );
    database.execute(&server.data(), &sql).await;
    let sql = "select cast(id as text) from session where hash = 'x'";
    let session = database.column(&server.data(), sql).await[0].clone();
    let body = json!({ "role": "customer", "version": 1 });
    let path = format!("/api/accounts/{theirs}");
    other.with_body(&server, Method::PATCH, &path, &body).await.problem(404);
    other.get(&server, &format!("{path}/sessions")).await.problem(404);
    let request = other.request(&server, Method::DELETE, &format!("/api/auth/sessions/{session}"));
    other.send(request).await.problem(404);
    assert!(!other.get(&server, "/api/accounts").await.text.contains("theirs"));
    Answer::of(server.request_as(Role::Read, Method::GET, "/api/accounts")).await.problem(403);
}

#[test]
fn what_is_set_wrong_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = |toml: &str| {
        std::fs::write(folder.path().join("lux.toml"), toml).unwrap();
        run(lux(folder.path()).args(["doctor", "--json"])).json()
    };
    for (line, key, told) in [
        ("signup = \"all\"", "sign_in.signup", "neither \"invited\" nor \"open\""),
        ("domains = [\"@example.com\"]", "sign_in.domains", "write one like example.com"),
        ("domains = \"127.0.0.1\"", "sign_in.domains", "is no domain"),
        ("idle = \"1m\"", "sign_in.idle", "between 5m and 7days"),
        ("idle = \"8days\"", "sign_in.idle", "between 5m and 7days"),
        ("absolute = \"31days\"", "sign_in.absolute", "between 5m and 30days"),
        ("absolute = \"6h\"", "sign_in.idle", "longer than sign_in.absolute (6h)"),
    ] {
        let report = doctor(&format!("[sign_in]\n{line}\n"));
        let mistakes = report["mistakes"].as_array().unwrap();
        assert_eq!(mistakes.len(), 1, "{line}: {report:#}");
        assert_eq!(mistakes[0]["key"], key);
        let problem = mistakes[0]["problem"].as_str().unwrap();
        assert!(problem.contains(told), "{line}: {problem}");
    }
    let told = |toml: &str| {
        let report = doctor(toml);
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "sign-in").unwrap();
        (
            check["outcome"].as_str().unwrap().to_owned(),
            check["detail"].as_str().unwrap().to_owned(),
        )
    };
    let (outcome, detail) = told("");
    assert!(outcome == "ok" && detail.contains("only on this machine"), "{detail}");
    let (outcome, detail) = told("public_url = \"http://lux.example.com\"");
    assert!(outcome == "warn" && detail.contains("no https address"), "{detail}");
    let https = "public_url = \"https://lux.example.com\"\n[sign_in]\nidle = \"1h\"\n\
                 domains = [\"m\u{fc}nchen.example\", \"EXAMPLE.com\"]\n";
    let (outcome, detail) = told(https);
    assert_eq!(outcome, "ok");
    assert!(detail.contains("or of xn--mnchen-3ya.example, example.com; a session ends 1h after"));
}
