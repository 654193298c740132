//! The program that plays all providers, and the way of a browser through one of them.

use std::{path::PathBuf, process::Stdio};

use reqwest::{Client, Method, header, redirect::Policy};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use url::Url;

use crate::support::{
    Answer, Browser, Database, PATIENCE, Server, Setup, repository, skip, until, variable,
};

/// What can be connected, and whose it is.
pub(super) const KINDS: [(&str, &str); 10] = [
    ("github", "github"),
    ("slack", "slack"),
    ("google_calendar", "google"),
    ("google_meet", "google"),
    ("google_drive", "google"),
    ("dropbox", "dropbox"),
    ("asana", "asana"),
    ("jira", "atlassian"),
    ("monday", "monday"),
    ("highlevel", "highlevel"),
];

/// Each application's addresses in the simulator.
const ADDRESSES: [(&str, &[(&str, &str)]); 8] = [
    (
        "github",
        &[
            ("authorize", "/login/oauth/authorize"),
            ("token", "/login/oauth/access_token"),
            ("revoke", "/api/applications/github-client/grant"),
            ("api", "/api"),
        ],
    ),
    (
        "slack",
        &[
            ("authorize", "/oauth/v2/authorize"),
            ("token", "/api/oauth.v2.access"),
            ("revoke", "/api/auth.revoke"),
            ("api", "/api"),
        ],
    ),
    (
        "google",
        &[
            ("authorize", "/o/oauth2/v2/auth"),
            ("token", "/token"),
            ("revoke", "/revoke"),
            ("api", ""),
            ("content", "/upload"),
            ("meet", ""),
        ],
    ),
    (
        "dropbox",
        &[
            ("authorize", "/oauth2/authorize"),
            ("token", "/oauth2/token"),
            ("revoke", "/2/auth/token/revoke"),
            ("api", ""),
        ],
    ),
    (
        "asana",
        &[
            ("authorize", "/-/oauth_authorize"),
            ("token", "/-/oauth_token"),
            ("revoke", "/-/oauth_revoke"),
            ("api", "/api/1.0"),
        ],
    ),
    ("atlassian", &[("authorize", "/authorize"), ("token", "/oauth/token"), ("api", "/api")]),
    (
        "monday",
        &[
            ("authorize", "/oauth2/authorize"),
            ("token", "/oauth_ms/oauth/token"),
            ("revoke", "/oauth_ms/oauth/revoke"),
            ("api", "/api"),
        ],
    ),
    (
        "highlevel",
        &[("authorize", "/oauth/chooselocation"), ("token", "/oauth/token"), ("api", "")],
    ),
];

/// tests/providers/server.py, until it is dropped.
pub(crate) struct Simulator {
    _program: Child,
    base: String,
    client: Client,
}

/// Python with what the simulator needs; `None` where it is missing.
pub(super) fn python() -> Option<PathBuf> {
    let venv = variable("LUX_TEST_VENV").map(PathBuf::from);
    let installed = venv.filter(|venv| {
        let found = glob::glob(&format!("{}/lib/python3*/site-packages/aiohttp", venv.display()));
        found.unwrap().next().is_some()
    });
    if installed.is_none() {
        skip("Python with aiohttp (LUX_TEST_VENV)");
    }
    installed.map(|venv| venv.join("bin/python"))
}

impl Simulator {
    pub(crate) async fn start() -> Option<Self> {
        let mut command = Command::new(python()?);
        command.arg(repository("tests/providers/server.py"));
        for (app, _) in ADDRESSES {
            command.arg("--client").arg(format!("{app}:{app}-client:{}", secret(app)));
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut program = command.kill_on_drop(true).spawn().unwrap();
        let mut stdout = BufReader::new(program.stdout.take().unwrap());
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await;
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("{read:?}: {line:?}"));
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Some(Self { _program: program, base: format!("http://127.0.0.1:{port}"), client })
    }

    /// Where its pages are.
    pub(crate) fn origin(&self) -> &str {
        &self.base
    }

    /// What `lux.toml` has to hold to be led here.
    pub(crate) fn toml(&self) -> String {
        let application = |(app, addresses): &(&str, &[(&str, &str)])| {
            let secret = secret(app);
            let urls = addresses.iter();
            let urls =
                urls.map(|(name, path)| format!("{name}_url = \"{}/{app}{path}\"\n", self.base));
            format!(
                "[integrations.{app}]\nclient_id = \"{app}-client\"\nclient_secret = \"{secret}\"\n{}",
                urls.collect::<String>()
            )
        };
        ADDRESSES.iter().map(application).collect()
    }

    /// A server that is registered with all providers.
    pub(crate) fn setup(&self, database: &Database) -> Setup {
        self.registered(Setup::new(database))
    }

    pub(super) fn registered(&self, setup: Setup) -> Setup {
        let log = setup.folder().join("app.log");
        let source = format!("[[sources]]\nname = \"app\"\npath = \"{}\"\n", log.display());
        setup.toml(&format!("{source}{}", self.toml()))
    }

    /// Turns knobs of an application, or all: see the heads of tests/providers.
    pub(crate) async fn control(&self, app: &str, body: Value) {
        let url = format!("{}/control/{app}", self.base);
        let answer = Answer::of(self.client.post(url).json(&body)).await;
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
    }

    async fn read(&self, path: &str) -> Value {
        Answer::of(self.client.get(format!("{}/control/{path}", self.base))).await.json()
    }

    /// What an application counted.
    pub(super) async fn stats(&self, app: &str) -> Value {
        self.read(&format!("stats/{app}")).await["apps"][app].take()
    }

    /// One of its counts.
    pub(super) async fn count(&self, app: &str, name: &str) -> i64 {
        self.stats(app).await[name].as_i64().unwrap()
    }

    /// Its calls below a path.
    pub(super) async fn calls(&self, app: &str, path: &str) -> i64 {
        let stats = self.stats(app).await;
        let calls = stats["calls"].as_object().unwrap().iter();
        calls.filter(|(name, _)| name.contains(path)).map(|(_, n)| n.as_i64().unwrap()).sum()
    }

    /// What was sent to an application, in order.
    pub(super) async fn requests(&self, app: &str) -> Vec<Value> {
        self.read(&format!("stats/{app}")).await["requests"].as_array().unwrap().clone()
    }

    /// Things of a kind that were made there.
    pub(super) async fn created(&self, app: &str, kind: &str) -> Vec<Value> {
        self.stats(app).await["created"][kind].as_array().cloned().unwrap_or_default()
    }

    /// Waits until answers are held back.
    pub(super) async fn holds(&self, app: &str) {
        until("an answer is held back", async || (self.count(app, "held").await > 0).then_some(()))
            .await;
    }

    /// No provider had anything to complain of, and no token went anywhere else.
    pub(crate) async fn assert_content(&self) {
        let stats = self.read("stats").await;
        assert_eq!(stats["invalid"], json!([]), "what no provider would take");
        assert_eq!(stats["stolen"], json!([]), "another host was asked");
    }

    pub(super) async fn stolen(&self) -> Value {
        self.read("stats").await["stolen"].take()
    }

    /// Whatever was issued or given, by name; `state`s are no secrets after their use.
    pub(super) async fn secrets(&self) -> Vec<(String, String)> {
        let secrets = self.read("secrets").await;
        let text = |secret: &Value, key: &str| secret[key].as_str().unwrap().to_owned();
        let every = secrets.as_array().unwrap().iter();
        every.map(|secret| (text(secret, "name"), text(secret, "value"))).collect()
    }

    /// Allows it, as a person would: where the browser is sent back to.
    pub(super) async fn allow(&self, url: &str) -> Url {
        self.decide(url, "allow").await
    }

    pub(super) async fn decide(&self, url: &str, decision: &str) -> Url {
        assert!(url.starts_with(&self.base), "{url}");
        let answer = Answer::of(self.client.get(format!("{url}&decision={decision}"))).await;
        assert_eq!(answer.status, 302, "{url}: {answer:?}");
        answer.headers[header::LOCATION].to_str().unwrap().parse().unwrap()
    }
}

fn secret(app: &str) -> String {
    format!("{app}-s3cret-4fd8a1c07be2")
}

/// A browser of the first administrator.
pub(crate) async fn admin(server: &Server) -> Browser {
    Browser::signed_in(server, &["login-link"]).await
}

/// Whose browser it is.
pub(super) async fn account(browser: &mut Browser, server: &Server) -> i64 {
    browser.get(server, "/api/auth/me").await.json()["account"].as_i64().unwrap()
}

/// Begins to connect: the address at the provider.
pub(super) async fn begin(browser: &mut Browser, server: &Server, kind: &str) -> String {
    let path = format!("/api/integrations/{kind}/connect");
    let request = browser.request(server, Method::POST, &path);
    let answer = browser.send(request).await;
    assert_eq!(answer.status, 200, "{kind}: {answer:?}\n{}", server.log());
    answer.json()["url"].as_str().unwrap().to_owned()
}

/// Opens the page that a provider sends back to.
pub(super) async fn come_back(browser: &mut Browser, server: &Server, back: &Url) -> Answer {
    let path = back.as_str().strip_prefix(&server.base);
    let path = path.unwrap_or_else(|| panic!("{back} is not at {}", server.base));
    // It comes from another site.
    let request = browser.bare(server, Method::GET, path).header("sec-fetch-site", "cross-site");
    browser.send(request).await
}

/// The whole way, whatever came of it.
pub(super) async fn try_connect(
    browser: &mut Browser,
    server: &Server,
    simulator: &Simulator,
    kind: &str,
) -> Answer {
    let url = begin(browser, server, kind).await;
    let back = simulator.allow(&url).await;
    come_back(browser, server, &back).await
}

/// The whole way.
pub(crate) async fn connect(
    browser: &mut Browser,
    server: &Server,
    simulator: &Simulator,
    kind: &str,
) {
    let answer = try_connect(browser, server, simulator, kind).await;
    assert_eq!(answer.status, 303, "{kind}: {answer:?}\n{}", server.log());
    let next = answer.headers[header::LOCATION].to_str().unwrap();
    assert_eq!(next, format!("/integrations?connected={kind}"));
}

/// One of one's own cards.
pub(super) async fn card(browser: &mut Browser, server: &Server, kind: &str) -> Value {
    let answer = browser.get(server, "/api/integrations").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cards = answer.json();
    let found = cards["integrations"].as_array().unwrap().iter().find(|it| it["provider"] == kind);
    found.unwrap_or_else(|| panic!("{kind}: {cards}")).clone()
}

/// Does something to a connection: "test", "refresh".
pub(crate) async fn deed(browser: &mut Browser, server: &Server, kind: &str, deed: &str) -> Answer {
    let path = format!("/api/integrations/{kind}/{deed}");
    let request = browser.request(server, Method::POST, &path);
    browser.send(request).await
}

/// The provider knows whose it is.
pub(super) async fn works(browser: &mut Browser, server: &Server, kind: &str) {
    let answer = deed(browser, server, kind, "test").await;
    assert_eq!(answer.status, 200, "{kind}: {answer:?}\n{}", server.log());
    assert_eq!(answer.json()["success"], true, "{kind}: {answer:?}");
}

pub(super) async fn disconnect(browser: &mut Browser, server: &Server, kind: &str) -> Value {
    let request = browser.request(server, Method::DELETE, &format!("/api/integrations/{kind}"));
    let answer = browser.send(request).await;
    assert_eq!(answer.status, 200, "{kind}: {answer:?}");
    answer.json()
}

/// All tokens are past their life, by the clocks of both sides.
pub(crate) async fn expire(server: &Server, simulator: &Simulator, app: &str) {
    simulator.control(app, json!({ "expire": "access" })).await;
    let past = "'2020-01-01T00:00:00+00:00'";
    let sql = format!("update oauth_grant set expires_at = {past} where provider = '{app}'");
    server.database().execute(&server.data(), &sql).await;
}
