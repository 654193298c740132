//! Signing in by a link, and what a session is: its cookie, its ends, who may end it.

use std::fs;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::{
    Answer, Browser, Database, Role, Server, Setup, form, link, on_both, skip, until,
};

const ME: &str = "/api/auth/me";
const PATH: &str = "/api/diagnostics/groups";

fn at(value: &Value) -> chrono::DateTime<chrono::Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// The number of a count.
async fn count(server: &Server, of: &str) -> i64 {
    let sql = format!("select cast(count(*) as text) from {of}");
    server.database().column(&server.data(), &sql).await[0].parse().unwrap()
}

async fn sql(server: &Server, sql: &str) {
    server.database().execute(&server.data(), sql).await;
}

/// Waits until a cookie is not believed any more.
async fn ended(server: &Server, browser: &mut Browser) {
    until("the session has ended", async || {
        let answer = browser.get(server, ME).await;
        (answer.status != 200).then(|| answer.problem(401))
    })
    .await;
}

async fn actions(server: &Server) -> Vec<String> {
    let audit = server.get("/api/audit?limit=200").await;
    let entries = audit["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
}

on_both!(a_link_signs_in_once);
async fn a_link_signs_in_once(database: Database) {
    let server = Server::plain(&database).await;
    let printed = link(&server, &["login-link"]);
    let path = printed.strip_prefix(&server.base).unwrap_or_else(|| panic!("{printed}"));
    let token = path.strip_prefix("/auth/link/").unwrap();
    assert_eq!(token.len(), 43);
    let mut browser = Browser::new();
    browser.get(&server, ME).await.problem(401);
    // Looked at as often as one likes: by a person, by a program that follows links.
    for wanted in ["", "?next=/errors", "?next=//evil.example"] {
        let page = browser.get(&server, &format!("{path}{wanted}")).await;
        assert_eq!((page.status.as_u16(), browser.cookies.len()), (200, 0), "{page:?}");
        assert!(page.text.contains("<form method=\"post\">"), "{page:?}");
        assert!(!page.text.contains("evil"), "{page:?}");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("form-action 'self'"));
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    let style = browser.get(&server, "/assets/lux.css").await;
    assert!(style.status == 200 && style.headers["content-type"] == "text/css; charset=utf-8");
    assert_eq!(count(&server, "one_time_link where used_at is not null").await, 0);

    let next = [("next", "/errors?tab=1")];
    let request = form(browser.request(&server, Method::POST, path), &next);
    let answer = browser.send(request).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["location"]),
        (303, &"/errors?tab=1".parse().unwrap())
    );
    let set = answer.headers["set-cookie"].to_str().unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=604800; HttpOnly; SameSite=Lax");
    assert!(pair.starts_with("lux-dev=") && pair.len() == "lux-dev=".len() + 43, "{set}");

    let answer = browser.get(&server, ME).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let me = answer.json();
    assert_eq!(
        (&me["kind"], &me["name"], &me["role"]),
        (&json!("person"), &json!("local admin"), &json!("admin"))
    );
    let session = &me["session"];
    let (idle, whole) = (
        at(&session["idle_ends_at"]) - at(&session["seen_at"]),
        at(&session["ends_at"]) - at(&session["created_at"]),
    );
    assert_eq!((idle.num_minutes(), whole.num_minutes()), (12 * 60, 7 * 24 * 60), "{me:#}");
    assert_eq!(session["address"], "127.0.0.1");
    assert_eq!(browser.get(&server, PATH).await.status, 200);

    // Used up; and nothing tells that from a link that never was.
    let mut other = Browser::new();
    let used = other.open_link(&server, path).await;
    let wrong = other.open_link(&server, &format!("/auth/link/{}", "A".repeat(43))).await;
    let odd = other.open_link(&server, "/auth/link/%00'--").await;
    for answer in [&used, &wrong, &odd, &other.get(&server, path).await] {
        assert_eq!((answer.status.as_u16(), &answer.text), (403, &used.text), "{answer:?}");
        assert!(answer.text.contains("it was used already"), "{answer:?}");
    }
    assert!(other.cookies.is_empty());

    // What the database and the log hold is of no use to a thief.
    let cookie = browser.cookie().to_owned();
    let mut kept = server.log();
    if let Database::Sqlite = database {
        for file in ["lux.db", "lux.db-wal"] {
            let bytes = fs::read(server.data().join(file)).unwrap_or_default();
            kept.push_str(&String::from_utf8_lossy(&bytes));
        }
    } else {
        for table in ["session", "one_time_link", "audit"] {
            let rows = format!("select t::text from {table} t");
            kept.push_str(&database.column(&server.data(), &rows).await.join("\n"));
        }
    }
    assert!(kept.contains("local admin") || kept.len() > 100);
    assert!(!kept.contains(&cookie) && !kept.contains(token));

    let request = browser.request(&server, Method::POST, "/auth/sign-out");
    let answer = browser.send(request.header("accept", "text/html")).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["location"]), (303, &"/".parse().unwrap()));
    assert!(browser.cookies.is_empty());
    browser.cookies.insert("lux-dev".to_owned(), cookie);
    browser.get(&server, ME).await.problem(401);
    assert_eq!(count(&server, "session").await, 0);
    // Once more, for a session that is gone.
    let request = browser.request(&server, Method::POST, "/auth/sign-out");
    let answer = browser.send(request).await;
    assert_eq!((answer.status.as_u16(), browser.cookies.len()), (204, 0));
    let actions = actions(&server).await;
    for action in ["link.create", "link.use", "sign_in", "session.end"] {
        assert_eq!(actions.iter().filter(|it| *it == action).count(), 1, "{action}: {actions:?}");
    }
}

on_both!(many_with_one_link_are_one);
async fn many_with_one_link_are_one(database: Database) {
    let server = Server::plain(&database).await;
    let old = link(&server, &["login-link"]);
    sql(&server, "update one_time_link set expires_at = created_at").await;
    let token = link(&server, &["login-link"]);
    let tries = (0..8).map(|_| async {
        let mut browser = Browser::new();
        browser.open_link(&server, &token).await.status.as_u16()
    });
    let mut answers = futures_util::future::join_all(tries).await;
    answers.sort_unstable();
    assert_eq!(answers, [303, 403, 403, 403, 403, 403, 403, 403]);
    let mut browser = Browser::new();
    assert_eq!(browser.open_link(&server, &old).await.status, 403);
    // Who goes on like that is told to wait.
    let answer = until("there were too many", async || {
        let answer = browser.open_link(&server, &old).await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    assert!(answer.headers.contains_key("retry-after") && answer.text.contains("too many"));
    // Those who are signed in already do not notice.
    assert_eq!(count(&server, "session").await, 1);
}

on_both!(a_planted_cookie_is_never_a_session);
async fn a_planted_cookie_is_never_a_session(database: Database) {
    let server = Server::plain(&database).await;
    let planted = "x".repeat(43);
    let mut victim = Browser::new();
    victim.cookies.insert("lux-dev".to_owned(), planted.clone());
    victim.get(&server, ME).await.problem(401);
    victim.open_link(&server, &link(&server, &["login-link"])).await;
    assert_ne!(victim.cookie(), planted);
    assert_eq!(victim.get(&server, ME).await.status, 200);
    let mut attacker = Browser::new();
    attacker.cookies.insert("lux-dev".to_owned(), planted);
    attacker.get(&server, ME).await.problem(401);

    // The attacker's own session in the victim's browser: it ends with the sign-in.
    let mut attacker = Browser::signed_in(&server, &["login-link"]).await;
    let mut victim = attacker.clone();
    assert_eq!(victim.get(&server, ME).await.status, 200);
    victim.open_link(&server, &link(&server, &["login-link"])).await;
    assert_ne!(victim.cookie(), attacker.cookie());
    assert_eq!(victim.get(&server, ME).await.status, 200);
    attacker.get(&server, ME).await.problem(401);

    // Two cookies of the name: one of them is somebody else's.
    let both = format!("lux-dev={}; lux-dev={}", victim.cookie(), "y".repeat(43));
    let request = victim.bare(&server, Method::GET, ME).header("cookie", both);
    Answer::of(request).await.problem(401);
}

on_both!(sessions_are_listed_and_ended);
async fn sessions_are_listed_and_ended(database: Database) {
    let server = Server::plain(&database).await;
    let mut one = Browser::signed_in(&server, &["login-link"]).await;
    let mut two = Browser::signed_in(&server, &["login-link"]).await;
    let mut ada = Browser::signed_in(&server, &["invite", "--role", "operator"]).await;
    let id = async |browser: &mut Browser| {
        browser.get(&server, ME).await.json()["session"]["id"].as_i64().unwrap()
    };
    let (first, second, hers) = (id(&mut one).await, id(&mut two).await, id(&mut ada).await);
    let listed = one.get(&server, "/api/auth/sessions").await.json();
    let listed: Vec<_> = listed["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["id"].as_i64().unwrap(), it["current"].as_bool().unwrap()))
        .collect();
    assert_eq!(listed, [(second, false), (first, true)]);
    let end = async |browser: &mut Browser, id: i64| {
        let request = browser.request(&server, Method::DELETE, &format!("/api/auth/sessions/{id}"));
        browser.send(request).await
    };
    // Ada sees and ends her own only.
    let of_ada = ada.get(&server, "/api/auth/sessions").await.json();
    assert_eq!(of_ada["sessions"].as_array().unwrap().len(), 1);
    end(&mut ada, first).await.problem(404);
    assert_eq!(end(&mut one, second).await.status, 204);
    two.get(&server, ME).await.problem(401);
    end(&mut one, second).await.problem(404);
    // An administrator ends anybody's.
    let account = ada.get(&server, ME).await.json()["account"].as_i64().unwrap();
    let path = format!("/api/accounts/{account}/sessions");
    ada.get(&server, &path).await.problem(403);
    assert_eq!(one.get(&server, &path).await.json()["sessions"][0]["id"], hers);
    assert_eq!(end(&mut one, hers).await.status, 204);
    ada.get(&server, ME).await.problem(401);
    assert_eq!(one.get(&server, ME).await.status, 200);
    // A token is somebody, but has no session.
    for role in Role::ALL {
        let me = Answer::of(server.request_as(role, Method::GET, ME)).await.json();
        assert_eq!(
            (&me["kind"], &me["name"], &me["session"]),
            (&json!("token"), &json!("rig"), &Value::Null)
        );
        let none = server.request_as(role, Method::GET, "/api/auth/sessions");
        assert_eq!(Answer::of(none).await.json(), json!({ "sessions": [] }));
        if role != Role::Admin {
            let path = format!("/api/auth/sessions/{first}");
            Answer::of(server.request_as(role, Method::DELETE, &path)).await.problem(404);
        }
    }
    assert_eq!(one.get(&server, ME).await.status, 200);
}

on_both!(a_session_ends_by_itself);
async fn a_session_ends_by_itself(database: Database) {
    let mut server = Server::plain(&database).await;
    let past = "'2020-01-01T00:00:00+00:00'";
    for column in ["idle_ends_at", "ends_at"] {
        let mut browser = Browser::signed_in(&server, &["login-link"]).await;
        assert_eq!(browser.get(&server, ME).await.status, 200);
        sql(&server, &format!("update session set {column} = {past}")).await;
        ended(&server, &mut browser).await;
        // It does not come back by being used.
        browser.get(&server, ME).await.problem(401);
    }
    // Use moves the one end, not the other, and is noted once a minute.
    let mut browser = Browser::signed_in(&server, &["login-link"]).await;
    let seen =
        "select cast(seen_at as text) || cast(ends_at as text) from session order by id desc";
    let column = async |server: &Server, sql: &str| {
        server.database().column(&server.data(), sql).await[0].clone()
    };
    let before = column(&server, seen).await;
    // A server that was never asked before.
    server.kill().await;
    server.start().await;
    assert_eq!(browser.get(&server, ME).await.status, 200);
    assert_eq!(column(&server, seen).await, before);
    let soon = (lux::clock::now() + chrono::TimeDelta::minutes(2)).to_rfc3339();
    let noted = format!("update session set seen_at = {past}, idle_ends_at = '{soon}'");
    sql(&server, &noted).await;
    let moved = until("the use is noted", async || {
        let me = browser.get(&server, ME).await.json();
        (at(&me["session"]["seen_at"]) > at(&json!("2020-01-02T00:00:00Z"))).then_some(me)
    })
    .await;
    let idle = at(&moved["session"]["idle_ends_at"]) - at(&moved["session"]["seen_at"]);
    assert_eq!(idle.num_minutes(), 12 * 60, "{moved:#}");

    // Ended ones, and old links, are removed; what lives stays.
    sql(&server, &format!("update one_time_link set created_at = {past}, expires_at = {past}"))
        .await;
    link(&server, &["invite", "--role", "customer"]);
    let (sessions, links) =
        (count(&server, "session").await, count(&server, "one_time_link").await);
    assert_eq!((sessions, links), (3, 4));
    let job = format!(
        "insert into job (kind, payload, dedupe, run_at, max_attempts, created_at)
         values ('expire', '{{}}', 'expire:now', {past}, 5, {past})"
    );
    sql(&server, &job).await;
    until("they are gone", async || {
        let left = (count(&server, "session").await, count(&server, "one_time_link").await);
        (left == (1, 1)).then_some(())
    })
    .await;
    assert_eq!(browser.get(&server, ME).await.status, 200);
    assert_eq!(count(&server, "invitation").await, 1);
}

/// Ends are by the database's clock: a server whose own is wrong ends no session, and makes none
/// that lasts longer.
#[tokio::test]
async fn a_wrong_clock_ends_nothing() {
    let Some(database) = Database::postgres().await else { return };
    let right = Server::plain(&database).await;
    let wrong = Setup::new(&database)
        .env("LUX_MASTER_KEY_FILE", right.data().join("master.key").to_str().unwrap());
    let clock = wrong.folder().join("clock");
    fs::write(&clock, "+30d").unwrap();
    let Some(wrong) = wrong.with_clock(&clock) else { return skip("libfaketime") };
    let wrong = wrong.start().await;
    let mut browser = Browser::signed_in(&right, &["login-link"]).await;
    let me = browser.get(&wrong, ME).await.json();
    assert_eq!(me["name"], "local admin", "{me:#}");
    let mut other = Browser::signed_in(&wrong, &["login-link"]).await;
    let theirs = other.get(&right, ME).await.json();
    let between = at(&theirs["session"]["ends_at"]) - at(&me["session"]["ends_at"]);
    assert!(between.num_days() == 0, "{me:#}, {theirs:#}");
}

on_both!(a_session_outlives_kill_9);
async fn a_session_outlives_kill_9(database: Database) {
    let mut server = Server::plain(&database).await;
    let mut browser = Browser::signed_in(&server, &["login-link"]).await;
    server.kill().await;
    server.start().await;
    let me = browser.get(&server, ME).await.json();
    assert_eq!(me["name"], "local admin");
}

on_both!(another_site_changes_nothing);
async fn another_site_changes_nothing(database: Database) {
    let server = Server::plain(&database).await;
    let mut browser = Browser::signed_in(&server, &["login-link"]).await;
    let invitation = json!({ "role": "customer" });
    let foreign: [&[(&str, &str)]; 9] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "nonsense")],
        &[("sec-fetch-site", "cross-site"), ("origin", server.base.as_str())],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:1")],
        &[("referer", "http://127.0.0.1/")],
    ];
    let unused = link(&server, &["login-link"]);
    let unused = &unused[server.base.len()..];
    for headers in foreign {
        let with = |mut request: reqwest::RequestBuilder| {
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request
        };
        let request = browser.bare(&server, Method::POST, "/api/invitations").json(&invitation);
        let told = browser.send(with(request)).await.problem(403);
        assert!(told.contains("did not come from a page of Lux"), "{told}");
        for (method, path) in [
            (Method::PATCH, "/api/accounts/1"),
            (Method::DELETE, "/api/auth/sessions/1"),
            (Method::POST, "/auth/sign-out"),
        ] {
            let request = browser.bare(&server, method, path).json(&json!({ "version": 1 }));
            browser.send(with(request)).await.problem(403);
        }
        // Nobody is signed in as somebody else behind their back.
        let mut victim = Browser::new();
        let request = form(victim.bare(&server, Method::POST, unused), &[("next", "/")]);
        let answer = victim.send(with(request)).await;
        assert_eq!((answer.status.as_u16(), victim.cookies.len()), (403, 0), "{answer:?}");
        // Looking changes nothing, so anybody may make a browser look.
        let request = browser.bare(&server, Method::GET, ME);
        assert_eq!(browser.send(with(request)).await.status, 200);
    }
    assert_eq!(count(&server, "invitation").await, 0);
    let own: [&[(&str, &str)]; 4] = [
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
        &[("origin", server.base.as_str())],
        &[("sec-fetch-site", "same-origin"), ("origin", "null")],
    ];
    for headers in own {
        let mut request = browser.bare(&server, Method::POST, "/api/invitations").json(&invitation);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = browser.send(request).await;
        assert_eq!(answer.status, 201, "{headers:?}: {answer:?}");
    }
    // A token goes before the cookie, and needs no origin.
    let request = browser.bare(&server, Method::POST, "/api/invitations").json(&invitation);
    let request = request.header("sec-fetch-site", "cross-site");
    let answer = browser.send(request.bearer_auth(server.token(Role::Operator))).await;
    assert!(answer.problem(403).contains("yours is operator"), "{answer:?}");
    let request = browser.bare(&server, Method::GET, ME).bearer_auth("lux_wrong");
    browser.send(request).await.problem(401);
    // A body that a form of another site could send is not taken.
    let request = browser.request(&server, Method::POST, "/api/invitations");
    let request = request.header("content-type", "text/plain").body(invitation.to_string());
    browser.send(request).await.problem(415);
    let mut victim = Browser::new();
    assert_eq!(victim.open_link(&server, unused).await.status, 303);
}

#[tokio::test]
async fn plain_http_is_for_this_machine_only() {
    let server = Server::plain(&Database::sqlite()).await;
    let printed = link(&server, &["login-link"]);
    let path = &printed[server.base.len()..];
    let mut browser = Browser::new();
    let through_proxy = |request: reqwest::RequestBuilder| {
        request.header("x-forwarded-for", "203.0.113.9").header("host", "lux.example.com")
    };
    for method in [Method::GET, Method::POST] {
        let request = through_proxy(browser.request(&server, method, path));
        let answer = browser.send(request).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.text.contains("set public_url"), "{answer:?}");
    }
    assert_eq!(browser.open_link(&server, path).await.status, 303);
    assert_eq!(browser.get(&server, ME).await.status, 200);
    let request = through_proxy(browser.request(&server, Method::GET, ME));
    browser.send(request).await.problem(403);
}

#[tokio::test]
async fn behind_https_the_cookie_is_for_the_host() {
    let setup = Setup::new(&Database::sqlite()).env("LUX_PUBLIC_URL", "https://lux.example.com");
    let server = setup.start().await;
    let printed = link(&server, &["login-link"]);
    let path =
        printed.strip_prefix("https://lux.example.com").unwrap_or_else(|| panic!("{printed}"));
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.build().unwrap();
    let post = |path: &str, origin: &str| {
        let request = client.post(format!("{}{path}", server.base)).header("origin", origin);
        form(request.header("x-forwarded-for", "203.0.113.9"), &[("next", "/")])
    };
    // Whatever it is called on the way: people know it by its address.
    for origin in [server.base.as_str(), "http://lux.example.com", "https://lux.example.com:444"] {
        assert_eq!(post(path, origin).send().await.unwrap().status(), 403, "{origin}");
    }
    let answer = post(path, "https://lux.example.com").send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure");
    let (name, value) = pair.split_once('=').unwrap();
    assert_eq!(name, "__Host-lux");
    let me = |cookie: String| {
        let request = client.get(format!("{}{ME}", server.base)).header("cookie", cookie);
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(me(pair.to_owned()).await, 200);
    // Cookies that a neighbour could set count for nothing.
    assert_eq!(me(format!("lux-dev={value}")).await, 401);
    assert_eq!(me(format!("lux={value}")).await, 401);
}
