//! The whole way over HTTP: the real program, the real provider, a browser with its cookies.

use lux::{
    auth::{OrganizationId, link},
    db::Db,
};
use reqwest::{Method, Response, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;

use super::{
    parameter,
    provider::{Browser, PUBLIC_CLIENT, Provider},
};
use crate::support::{Database, Server, Setup, on_both};

/// Lets everybody in; the first one needs the set-up link all the same.
pub(super) fn setup(database: &Database, provider: &Provider) -> Setup {
    let setup = Setup::new(database);
    let log = setup.folder().join("app.log");
    let sources = format!("[[sources]]\nname = \"app\"\npath = \"{}\"\n", log.display());
    setup
        .toml(&format!("[sign_in]\nsignup = \"open\"\n{sources}"))
        .env("REPL_ID", PUBLIC_CLIENT)
        .env("ISSUER_URL", &provider.issuer)
}

pub(super) fn at(server: &Server, path: &str) -> Url {
    Url::parse(&server.base).unwrap().join(path).unwrap()
}

/// The token of a set-up link, as the command line makes it.
pub(super) async fn setup_token(server: &Server) -> String {
    let url = match server.database() {
        Database::Sqlite => format!("sqlite:{}", server.data().join("lux.db").display()),
        Database::Postgres(url) => url.clone(),
    };
    let db = Db::open(&url, 1).await.unwrap();
    let made = link::for_setup(&db, OrganizationId::FIRST).await.unwrap();
    db.close().await;
    made.token.expose_secret().to_owned()
}

pub(super) fn location(answer: &Response) -> String {
    assert_eq!(answer.status(), 303, "{answer:?}");
    answer.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// Begins at a path and comes back to Lux's last answer.
pub(super) async fn sign_in(browser: &mut Browser, server: &Server, path: &str) -> Response {
    let answer = browser.send(Method::GET, &at(server, path), &[]).await;
    let way = Url::parse(&location(&answer)).unwrap();
    let back = browser.walk(&way, &server.base).await;
    browser.send(Method::GET, &back, &[]).await
}

/// The first administrator, signed in.
pub(super) async fn first_admin(browser: &mut Browser, server: &Server) {
    let token = setup_token(server).await;
    let url = at(server, "/auth/replit_auth/login");
    let answer = browser.post(&url, &[("link", &token), ("next", "/openapi.json")]).await;
    assert_eq!(answer.status(), 200);
    let way = answer.headers()["refresh"].to_str().unwrap().strip_prefix("0; url=").unwrap();
    let way = Url::parse(way).unwrap();
    let back = browser.walk(&way, &server.base).await;
    let answer = browser.send(Method::GET, &back, &[]).await;
    assert_eq!(location(&answer), "/openapi.json");
}

pub(super) async fn status(browser: &mut Browser, server: &Server) -> StatusCode {
    browser.send(Method::GET, &at(server, "/openapi.json"), &[]).await.status()
}

/// A page that says no: its status, and the name of the reason.
async fn refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    assert_eq!(headers["content-type"], "text/html; charset=utf-8", "{answer:?}");
    assert_eq!(headers["cache-control"], "no-store");
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    if status == 503 {
        assert_eq!(headers["retry-after"], "30");
    }
    let text = answer.text().await.unwrap();
    let id = headers["x-request-id"].to_str().unwrap();
    assert!(text.contains(&format!("Request: {id}")), "{text}");
    assert!(!text.contains("eyJ"), "{text}");
    let reason = text.split("Reason: ").nth(1).unwrap().split('.').next().unwrap();
    (status, reason.to_owned())
}

on_both!(the_whole_way);
async fn the_whole_way(database: Database) {
    let Some(provider) = Provider::start().await else { return };
    let server = setup(&database, &provider).start().await;
    let mut browser = Browser::default();
    let answer = browser.send(Method::GET, &at(&server, "/auth/sign-in?next=/a%26b"), &[]).await;
    assert_eq!(answer.status(), 200);
    let page = answer.text().await.unwrap().replace("&#x2f;", "/");
    assert!(page.contains("href=\"/auth/replit_auth/login?next=%2Fa%26b\""), "{page}");
    assert!(page.contains("Sign in with Replit"), "{page}");

    // Without the set-up link nobody is the first one.
    let answer = sign_in(&mut browser, &server, "/auth/replit_auth/login").await;
    assert_eq!(refusal(answer).await, (403, "not_admitted".to_owned()));
    assert_eq!(status(&mut browser, &server).await, 401);

    first_admin(&mut browser, &server).await;
    let jar = browser.cookies[&server.base].clone();
    assert_eq!(jar.keys().collect::<Vec<_>>(), ["lux-dev"]);
    assert_eq!(status(&mut browser, &server).await, 200);
    // The next sign-in of the same person gets another session, and ends this one.
    let answer = sign_in(&mut browser, &server, "/auth/replit_auth/login?next=/x%3Fy=1").await;
    assert_eq!(location(&answer), "/x?y=1");
    assert_ne!(browser.cookies[&server.base], jar);
    let mut before = Browser::default();
    before.cookies.insert(server.base.clone(), jar);
    crate::support::until("the session before has ended", async || {
        (status(&mut before, &server).await == 401).then_some(())
    })
    .await;

    // What the provider gave stands nowhere in the open.
    let sealed = "select refresh_sealed from session";
    let sealed = server.database().column(&server.data(), sealed).await;
    assert!(sealed.len() == 1 && sealed[0].starts_with("lx1."), "{sealed:?}");
    assert!(!server.log().contains("eyJ"));
    let entries = server.get("/api/audit").await;
    let done: Vec<_> = entries["entries"]
        .as_array()
        .unwrap_or_else(|| panic!("{entries:#}"))
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    assert!(done.contains(&"sign_in".to_owned()), "{done:?}");
    assert!(done.contains(&"sign_in.refuse".to_owned()), "{done:?}");

    // Another site's link only shows a page; so does one of unknown origin.
    let leave = at(&server, "/auth/replit_auth/replit-logout");
    for site in [&[("sec-fetch-site", "cross-site")][..], &[("sec-fetch-site", "same-site")], &[]] {
        let answer = browser.send(Method::GET, &leave, site).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().contains("method=\"post\""));
        assert_eq!(status(&mut browser, &server).await, 200);
    }
    let answer = browser.send(Method::POST, &leave, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(status(&mut browser, &server).await, 200);
    let session = browser.cookies[&server.base].clone();
    let to = Url::parse(&location(&browser.post(&leave, &[]).await)).unwrap();
    assert!(to.as_str().starts_with(&format!("{}/session/end?", provider.issuer)), "{to}");
    assert_eq!(parameter(&to, "post_logout_redirect_uri"), Some(format!("{}/", server.base)));
    assert_eq!(browser.send(Method::GET, &to, &[]).await.status(), 200);
    assert!(browser.cookies[&server.base].is_empty());
    browser.cookies.insert(server.base.clone(), session);
    assert_eq!(status(&mut browser, &server).await, 401);
}

on_both!(each_refusal_is_a_page);
async fn each_refusal_is_a_page(database: Database) {
    let Some(provider) = Provider::start().await else { return };
    let server = setup(&database, &provider).start().await;
    let mut browser = Browser::default();
    first_admin(&mut browser, &server).await;
    let login = "/auth/replit_auth/login";
    let mut stranger = Browser::default();
    for mode in ["wrong_nonce", "alg_none", "wrong_iss"] {
        provider.forge(mode).await;
        let answer = sign_in(&mut stranger, &server, login).await;
        let reason = if mode == "alg_none" { "wrong_algorithm" } else { mode };
        let reason = reason.replace("wrong_iss", "wrong_issuer");
        assert_eq!(refusal(answer).await, (403, reason));
    }
    provider.control("user", &json!({ "sub": "deny" })).await;
    let answer = sign_in(&mut stranger, &server, login).await;
    assert_eq!(refusal(answer).await, (403, "access_denied".to_owned()));
    // An address that nobody vouches for: known or not, the account is a new one. (The provider
    // remembers its browsers, too: each person has one of their own.)
    let mut stranger = Browser::default();
    let claims = json!({ "email": "ada@example.com", "email_verified": false });
    provider.control("user", &json!({ "sub": "40000009", "claims": claims })).await;
    let answer = sign_in(&mut stranger, &server, login).await;
    assert_eq!(location(&answer), "/");
    assert_eq!(status(&mut stranger, &server).await, 403);
    // A verified one that another identity has: that one comes first.
    provider.control("user", &json!({ "sub": "40000005" })).await;
    let mut other = Browser::default();
    let answer = sign_in(&mut other, &server, login).await;
    assert_eq!(refusal(answer).await, (403, "not_admitted".to_owned()));

    // Twice with one state, and from another browser.
    let mut stranger = Browser::default();
    provider.control("user", &json!({ "sub": "40000001" })).await;
    let begun = stranger.send(Method::GET, &at(&server, login), &[]).await;
    let way = Url::parse(&location(&begun)).unwrap();
    let back = stranger.walk(&way, &server.base).await;
    let mut swapped = Browser::default();
    let answer = swapped.send(Method::GET, &back, &[]).await;
    assert_eq!(refusal(answer).await, (400, "other_browser".to_owned()));
    let answer = stranger.send(Method::GET, &back, &[]).await;
    assert_eq!(refusal(answer).await, (400, "unknown_state".to_owned()));

    // A provider that is not there any more: who is signed in stays so.
    provider.control("fault", &json!({ "path": "/token", "drop": true })).await;
    let answer = sign_in(&mut stranger, &server, login).await;
    assert_eq!(refusal(answer).await, (503, "provider_down".to_owned()));
    assert_eq!(status(&mut browser, &server).await, 200);
    drop(provider);
    let leave = at(&server, "/auth/replit_auth/replit-logout");
    browser.post(&leave, &[]).await;
    assert_eq!(status(&mut browser, &server).await, 401);

    // What nobody can have meant is not written down without end.
    for n in 0..30 {
        let path = format!("/auth/replit_auth/authorized?state=s{n}&code=c");
        let answer = stranger.send(Method::GET, &at(&server, &path), &[]).await;
        let (status, reason) = refusal(answer).await;
        assert!(
            [(400, "unknown_state"), (429, "too_many_attempts")].contains(&(status, &reason)),
            "{status} {reason}"
        );
    }
    let refused = "select cast(count(*) as text) from audit where action = 'sign_in.refuse'";
    let refused = server.database().column(&server.data(), refused).await;
    assert!(refused[0].parse::<u32>().unwrap() < 20, "{refused:?}");
}

on_both!(a_provider_that_is_down_from_the_start);
async fn a_provider_that_is_down_from_the_start(database: Database) {
    let Some(provider) = Provider::start().await else { return };
    let server = setup(&database, &provider).start().await;
    drop(provider);
    let mut browser = Browser::default();
    for path in ["/auth/replit_auth/login", "/auth/replit_auth/login?next=/x"] {
        let answer = browser.send(Method::GET, &at(&server, path), &[]).await;
        assert_eq!(refusal(answer).await, (503, "provider_down".to_owned()));
    }
    let answer = browser.send(Method::GET, &at(&server, "/auth/oidc/nobody/login"), &[]).await;
    assert_eq!(answer.status(), 404);
    server.get("/api/audit").await;
}

on_both!(nothing_leads_elsewhere);
async fn nothing_leads_elsewhere(database: Database) {
    let Some(provider) = Provider::start().await else { return };
    let server = setup(&database, &provider).start().await;
    let mut browser = Browser::default();
    first_admin(&mut browser, &server).await;
    for next in [
        "//evil.example",
        "/%5Cevil.example",
        "%09//evil.example",
        "https://evil.example",
        "javascript:alert(1)",
    ] {
        let path = format!("/auth/replit_auth/login?next={next}");
        assert_eq!(location(&sign_in(&mut browser, &server, &path).await), "/", "{next}");
    }
    // Where the provider sends people back to comes from the configuration alone.
    let login = at(&server, "/auth/replit_auth/login");
    let wanted = format!("{}/auth/replit_auth/authorized", server.base);
    for spoofed in [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example"),
    ] {
        let answer = browser.send(Method::GET, &login, &[spoofed]).await;
        let way = Url::parse(&location(&answer)).unwrap();
        assert_eq!(
            parameter(&way, "redirect_uri").as_deref(),
            Some(wanted.as_str()),
            "{spoofed:?}"
        );
    }
    // Plain http is for this machine alone.
    let forwarded = [("x-forwarded-for", "203.0.113.9")];
    let answer = browser.send(Method::GET, &login, &forwarded).await;
    assert_eq!(refusal(answer).await, (403, "not_private".to_owned()));
}

on_both!(behind_a_proxy_with_tls);
async fn behind_a_proxy_with_tls(database: Database) {
    let public = "https://lux.example";
    let back = format!("{public}/auth/replit_auth/authorized");
    let Some(provider) = Provider::start_with(&back).await else { return };
    let server = setup(&database, &provider).env("LUX_PUBLIC_URL", public).start().await;
    let forwarded = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-host", "evil.example")];
    let mut browser = Browser::default();
    let answer =
        browser.send(Method::GET, &at(&server, "/auth/replit_auth/login"), &forwarded).await;
    let set = answer.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.starts_with("__Host-lux-flow="), "{set}");
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    let way = Url::parse(&location(&answer)).unwrap();
    assert_eq!(parameter(&way, "redirect_uri").as_deref(), Some(back.as_str()));
    // The browser comes back through the proxy.
    let to = browser.walk(&way, public).await;
    let here = at(&server, &format!("{}?{}", to.path(), to.query().unwrap()));
    let answer = browser.send(Method::GET, &here, &forwarded).await;
    assert_eq!(refusal(answer).await, (403, "not_admitted".to_owned()));
}
