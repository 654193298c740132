//! Signing up by letter: the real program, a real mail server on loopback.

use reqwest::Method;
use serde_json::{Value, json};

use super::sql;
use crate::{
    mail::{
        posting,
        sink::{Act, Sink},
    },
    support::{Answer, Browser, Database, Server, Setup, link, on_both, until},
};

fn open(database: &Database, sink: &Sink) -> Setup {
    posting(database, sink).toml(
        "[sign_in]\nsignup = \"open\"\n[mail]\ntimeout = \"5s\"\nfrom_name = \"Shop\"\n\
         [[sources]]\nname = \"app\"\npath = \"/nonexistent/app.log\"\n",
    )
}

/// Asks as somebody at a network address of their own.
async fn ask_from(server: &Server, address: &str, body: &Value) -> Answer {
    let request = server.request(Method::POST, "/api/customers/signup").json(body);
    Answer::of(request.header("x-forwarded-for", address)).await
}

async fn ask(server: &Server, email: &str) -> Answer {
    let body = json!({ "email": email, "name": "Cheap pills", "company": "https://evil.example" });
    ask_from(server, "203.0.113.1", &body).await
}

/// The text of the newest of so many letters.
async fn letter(sink: &Sink, to: &str, count: usize) -> String {
    until("the letter comes", async || (sink.to(to).len() == count).then_some(())).await;
    sink.to(to)[count - 1].body()
}

/// The token of a letter.
fn token(letter: &str) -> String {
    let (_, rest) = letter.split_once("https://lux.example.com/auth/verify/").unwrap();
    let token = rest.split_whitespace().next().unwrap();
    assert_eq!(token.len(), 43, "{letter}");
    token.to_owned()
}

async fn verify(server: &Server, token: &str) -> Answer {
    let request = server.request(Method::POST, "/api/customers/verify-email");
    Answer::of(request.json(&json!({ "token": token }))).await
}

on_both!(a_letter_makes_an_account_and_signs_in);
async fn a_letter_makes_an_account_and_signs_in(database: Database) {
    let sink = Sink::new().await;
    let server = open(&database, &sink).start().await;
    let body = json!({ "email": " Ada@Example.com", "name": "Ada\r\nL.", "company": "Engines" });
    let asked = ask_from(&server, "203.0.113.1", &body).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let text = letter(&sink, "Ada@Example.com", 1).await;
    assert!(text.contains("account with this address at Shop"), "{text}");
    let token = token(&text);
    let kept = server.database().column(&server.data(), "select hash from customer_signup").await;
    assert!(kept.iter().all(|hash| *hash != token), "the token itself is kept");
    // Programs that look at links in letters make nothing happen.
    let mut browser = Browser::new();
    let path = format!("/auth/verify/{token}");
    for _ in 0..2 {
        let page = browser.get(&server, &path).await;
        assert!(page.status == 200 && page.text.contains("Ada@Example.com"), "{page:?}");
    }
    assert_eq!(server.get("/api/customers").await["customers"], json!([]));
    // Nor does another site's page.
    let forged = browser.bare(&server, Method::POST, &path).header("sec-fetch-site", "cross-site");
    assert_eq!(browser.send(forged).await.status, 403);
    let press = browser.request(&server, Method::POST, &path);
    let pressed = browser.send(press).await;
    assert_eq!(pressed.status, 303, "{pressed:?}");
    let me = browser.get(&server, "/api/customers/me").await.json();
    assert_eq!((&me["name"], &me["company"]), (&json!("Ada L."), &json!("Engines")));
    assert_eq!((&me["role"], &me["verified"]), (&json!("customer"), &json!(true)));
    assert!(me["verified_at"].is_string(), "{me}");
    let press = Browser::new().request(&server, Method::POST, &path);
    assert_eq!(Browser::new().send(press).await.status, 403, "the link works twice");
    verify(&server, &token).await.problem(403);

    // Whoever comes again is signed in as who they are.
    assert_eq!(ask(&server, "ada@example.com").await.status, 202);
    let text = letter(&sink, "ada@example.com", 1).await;
    assert!(text.contains("has an account already; this link signs you in"), "{text}");
    assert!(!text.contains("pills") && !text.contains("evil"), "{text}");
    let proven = verify(&server, &self::token(&text)).await;
    assert_eq!(proven.status, 200, "{proven:?}");
    let cookie = proven.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("Secure"), "{cookie}");
    let proven = proven.json();
    assert_eq!((&proven["verified"], &proven["customer"]["id"]), (&json!(true), &me["id"]));
    assert_eq!(proven["customer"]["name"], "Ada L.");
    let found = server.get("/api/customers?q=ada").await;
    assert_eq!(found["customers"].as_array().unwrap().len(), 1, "{found}");
    let deeds: Vec<_> = server.deeds().await.iter().map(|it| it["action"].clone()).collect();
    for action in ["account.create", "sign_in", "sign_up.letter", "link.use"] {
        assert!(deeds.contains(&json!(action)), "{deeds:?}");
    }
}

on_both!(the_answer_tells_nobody_who_is_known);
async fn the_answer_tells_nobody_who_is_known(database: Database) {
    let sink = Sink::new().await;
    let server = open(&database, &sink).start().await;
    for (role, email) in [("operator", "op@example.com"), ("customer", "gone@example.com")] {
        sql(
            &server,
            &format!(
                "insert into account (organization_id, name, email, email_key, role, status,
                     created_at)
                 values (1, 'X', '{email}', '{email}', '{role}',
                     '{}', '2026-11-20T10:00:00+00:00')",
                if role == "customer" { "disabled" } else { "active" }
            ),
        )
        .await;
    }
    let mut said = Vec::new();
    for email in ["new@example.com", "op@example.com", "gone@example.com"] {
        let answer = ask(&server, email).await;
        said.push((answer.status, answer.text.clone()));
    }
    assert_eq!(said[0].0, 202);
    assert!(said.iter().all(|it| *it == said[0]), "{said:?}");
    token(&letter(&sink, "new@example.com", 1).await);
    for email in ["op@example.com", "gone@example.com"] {
        let text = letter(&sink, email, 1).await;
        assert!(!text.contains("/auth/verify/"), "{text}");
        assert!(text.contains("https://lux.example.com/auth/sign-in"), "{text}");
    }
    let hashes = "select email from customer_signup where hash is not null";
    let hashes = server.database().column(&server.data(), hashes).await;
    assert_eq!(hashes, ["new@example.com"]);
    // Who became an operator meanwhile is not signed in by a letter from before.
    ask(&server, "late@example.com").await;
    let late = token(&letter(&sink, "late@example.com", 1).await);
    sql(
        &server,
        "insert into account (organization_id, name, email, email_key, role, created_at)
         values (1, 'L', 'late@example.com', 'late@example.com', 'admin',
             '2026-11-20T10:00:00+00:00')",
    )
    .await;
    verify(&server, &late).await.problem(403);
}

on_both!(a_link_ends);
async fn a_link_ends(database: Database) {
    let sink = Sink::new().await;
    let server = open(&database, &sink).start().await;
    ask(&server, "ada@example.com").await;
    let token = token(&letter(&sink, "ada@example.com", 1).await);
    let end = "update customer_signup set expires_at = '2026-01-01T00:00:00+00:00'";
    sql(&server, end).await;
    let mut said = Vec::new();
    for token in [token.as_str(), &"x".repeat(43), "", "' or 1=1 --"] {
        let answer = verify(&server, token).await;
        said.push(answer.problem(403));
        let page = Browser::new();
        let page = Answer::of(page.request(&server, Method::GET, "/auth/verify/x")).await;
        assert_eq!(page.status, 403);
    }
    assert!(said.iter().all(|it| *it == said[0]), "{said:?}");
    assert_eq!(server.get("/api/customers").await["customers"], json!([]));
}

on_both!(letters_are_few);
async fn letters_are_few(database: Database) {
    let sink = Sink::new().await;
    let server = open(&database, &sink).start().await;
    let body = json!({ "email": "ada@example.com" });
    // However often, and from wherever.
    for number in 0..6 {
        let asked = ask_from(&server, &format!("203.0.113.{number}"), &body).await;
        assert_eq!(asked.status, 202, "{asked:?}");
    }
    let other = json!({ "email": "eve@example.com" });
    assert_eq!(ask_from(&server, "203.0.113.9", &other).await.status, 202);
    letter(&sink, "eve@example.com", 1).await;
    assert_eq!(sink.to("ada@example.com").len(), 3);
    // And from one place not many.
    let mut refused = None;
    for number in 0..20 {
        let body = json!({ "email": format!("u{number}@example.com") });
        let asked = ask_from(&server, "198.51.100.7", &body).await;
        if asked.status == 429 {
            refused = Some((number, asked));
            break;
        }
    }
    let (after, refused) = refused.unwrap();
    assert!((3..=10).contains(&after), "{after}");
    refused.problem(429);
    assert!(refused.headers.contains_key("retry-after"));
}

on_both!(who_may_sign_up);
async fn who_may_sign_up(database: Database) {
    let sink = Sink::new().await;
    let toml = "[sign_in]\ndomains = \"example.com\"\n\
                [[sources]]\nname = \"app\"\npath = \"/nonexistent/app.log\"\n";
    let server = posting(&database, &sink).toml(toml).start().await;
    assert_eq!(ask(&server, "ada@Example.COM").await.status, 202);
    for email in ["ada@example.org", "ada@sub.example.com", "ada@example.com.evil.example"] {
        ask(&server, email).await.problem(403);
    }
    for email in ["", "ada", "ada@localhost", "a\r\nb@example.com"] {
        let body = json!({ "email": email });
        let said = ask_from(&server, "203.0.113.5", &body).await.problem(400);
        assert!(said.starts_with("email:"), "{said}");
    }
    letter(&sink, "ada@Example.COM", 1).await;
    assert_eq!(sink.count(), 1);
    if matches!(database, Database::Sqlite) {
        let plain = Setup::new(&database).toml("[sign_in]\nsignup = \"open\"\n").start().await;
        ask(&plain, "ada@example.com").await.problem(503);
        // Operators sign in as ever.
        Browser::signed_in(&plain, &["login-link"]).await;
        assert!(link(&plain, &["login-link"]).contains("/auth/link/"));
    }
}

#[tokio::test]
async fn a_letter_that_is_put_off_comes_later() {
    let sink = Sink::acting(|_, before| match before {
        0..2 => Act::Rcpt("451 4.7.1 come again"),
        _ => Act::Take,
    })
    .await;
    let server = open(&Database::sqlite(), &sink).start().await;
    ask(&server, "ada@example.com").await;
    token(&letter(&sink, "ada@example.com", 1).await);
}
