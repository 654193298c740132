//! Stock SDKs, unchanged, from their registries, in applications as people write them: they
//! get a DSN and nothing else, real requests make them fail, and what they told is read by
//! the API.

mod browser;
mod node;
mod python;
mod rust;

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{
    Answer, Database, Role, Running, Server, listens, run, skip, until, variable,
};

/// What stands in local variables of the applications and must never be stored: by the
/// variables that give it to them.
const SECRETS: [(&str, &str); 2] =
    [("TILL_PASSWORD", "swordfish-7731"), ("TILL_CARD", "4111 1111 1111 1111")];

/// A server with one application whose SDK reports to it.
struct Shop {
    server: Server,
    id: i64,
    dsn: String,
}

impl Shop {
    async fn new(database: &Database) -> Self {
        Self::with(Server::plain(database).await, &[])
    }

    /// Adds it as people do, by the command line.
    fn with(server: Server, arguments: &[&str]) -> Self {
        let said = run(server.command().args(["apps", "add", "shop", "--json"]).args(arguments));
        assert_eq!(said.code, Some(0), "{said:?}");
        let added = said.json();
        let (id, dsn) = (added["id"].as_i64().unwrap(), added["dsn"].as_str().unwrap().to_owned());
        Self { server, id, dsn }
    }

    /// All captured events, newest first.
    async fn events(&self) -> Vec<Value> {
        let page = self.server.get("/api/diagnostics/errors?limit=200").await;
        page["errors"].as_array().unwrap().clone()
    }

    /// The events, once there are as many, and not more.
    async fn awaited(&self, count: usize) -> Vec<Value> {
        let events = until(&format!("{count} events are captured"), async || {
            let events = self.events().await;
            (events.len() >= count).then_some(events)
        })
        .await;
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    /// Everything that is known of an event.
    async fn whole(&self, event: &Value) -> Value {
        let whole = self.server.get(&format!("/api/diagnostics/errors/{}", event["id"])).await;
        let text = whole.to_string();
        for (_, secret) in SECRETS {
            assert!(!text.contains(secret), "{secret} was stored: {whole:#}");
        }
        whole
    }

    /// How much came of a category with an outcome.
    async fn used(&self, category: &str, outcome: &str) -> i64 {
        let usage = self.server.get(&format!("/api/apps/{}/usage", self.id)).await;
        let rows = usage["usage"].as_array().unwrap().clone();
        let rows =
            rows.iter().filter(|row| row["category"] == category && row["outcome"] == outcome);
        rows.filter_map(|row| row["count"].as_i64()).sum()
    }

    async fn use_of(&self, category: &str, outcome: &str, least: i64) -> i64 {
        until(&format!("{least} of {category} are {outcome}"), async || {
            Some(self.used(category, outcome).await).filter(|used| *used >= least)
        })
        .await
    }
}

/// An application that runs.
struct Site {
    program: Running,
    port: u16,
}

impl Site {
    async fn start(command: &mut std::process::Command, port: u16) -> Self {
        let site = Self { program: Running::start(command), port };
        listens(port).await;
        until("the application answers", async || {
            site.visit(Method::GET, "/").await.filter(|status| *status == 200)
        })
        .await;
        site
    }

    async fn visit(&self, method: Method, path: &str) -> Option<StatusCode> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method, format!("http://127.0.0.1:{}{path}", self.port));
        Answer::try_of(request.header("x-request-id", "shop-req-1")).await.ok().map(|it| it.status)
    }

    /// The request that fails.
    async fn buy_a_pear(&self) {
        assert_eq!(self.visit(Method::POST, "/buy/pear?coupon=1").await.unwrap(), 500);
    }

    /// As systemd would; the SDK sends what it still has.
    async fn stop(mut self) {
        rustix::process::kill_process(self.program.pid(), rustix::process::Signal::TERM).unwrap();
        self.program.ended().await;
    }
}

/// What any SDK must have told of the failing request.
fn check_request(whole: &Value) {
    let event = &whole["error"];
    assert_eq!(event["app"], "shop");
    assert_eq!(event["endpoint"], "/buy/pear", "{whole:#}");
    assert_eq!(event["method"], "POST", "{whole:#}");
    check_told(whole);
}

/// What the application told by the SDK.
fn check_told(whole: &Value) {
    let report = &whole["report"];
    assert_eq!(report["origin"], "sentry");
    assert_eq!(report["release"], "shop@1.2.3");
    assert_eq!(report["environment"], "staging");
    assert_eq!(report["tags"]["shelf"], "7");
    assert_eq!(report["event_id"].as_str().unwrap().len(), 32);
    assert_eq!(whole["error"]["user_id"], "u-42");
    let steps = whole["detail"]["breadcrumbs"].as_array().unwrap();
    assert!(
        steps.iter().any(|step| {
            step["category"] == "cart" && step["message"] == "put a plum into the cart"
        }),
        "{whole:#}"
    );
}

/// The frame of a function, from the exception that was raised last.
fn frame<'a>(whole: &'a Value, function: &str) -> &'a Value {
    let raised = whole["detail"]["exceptions"].as_array().unwrap().last().unwrap();
    let mut frames = raised["frames"].as_array().unwrap().iter();
    let found = frames.find(|frame| frame["function"] == function);
    found.unwrap_or_else(|| panic!("no frame of {function}: {whole:#}"))
}

/// The one group that there is.
async fn only_group(shop: &Shop) -> Value {
    let groups = shop.server.get("/api/diagnostics/groups").await;
    let groups = groups["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{groups:#?}");
    groups[0].clone()
}

/// A folder that `tests/run.sh` fills by npm, if it is there.
fn node_modules() -> Option<PathBuf> {
    let folder = variable("LUX_TEST_NODE").map(|folder| PathBuf::from(folder).join("node_modules"));
    let folder = folder.filter(|folder| folder.join("@sentry").is_dir());
    if folder.is_none() {
        skip("@sentry/node from npm (LUX_TEST_NODE)");
    }
    folder
}

/// A stranger's request, for comparison with what an SDK sends.
async fn report_as(server: &Server, path: &str, key: &str) -> Answer {
    let request = server.request(Method::POST, path).header("x-sentry-auth", key);
    Answer::of(request.body("{}\n{\"type\":\"event\"}\n{\"message\":\"m\"}\n")).await
}

crate::support::on_both!(the_test_event_of_the_command_line);
async fn the_test_event_of_the_command_line(database: Database) {
    let mut shop = Shop::new(&database).await;
    let said = run(shop.server.command().args(["apps", "test", "shop"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    let event = &shop.awaited(1).await[0];
    assert_eq!((&event["type"], &event["app"]), (&"LuxTestError".into(), &"shop".into()));
    // A key that ends, and an application that is none, look the same from outside.
    let key = shop.dsn.strip_prefix("http://").unwrap().split('@').next().unwrap();
    let key = format!("Sentry sentry_key={key}");
    let path = format!("/api/{}/envelope/", shop.id);
    assert_eq!(report_as(&shop.server, &path, &key).await.status, 200);
    let keys = shop.server.get(&format!("/api/apps/{}/keys", shop.id)).await;
    let first = format!("/api/apps/{}/keys/{}", shop.id, keys["keys"][0]["id"]);
    Answer::of(shop.server.request_as(Role::Admin, Method::DELETE, &first)).await;
    let revoked = report_as(&shop.server, &path, &key).await;
    let unknown = report_as(&shop.server, "/api/987654/envelope/", &key).await;
    assert_eq!(revoked.status, unknown.status);
    let detail = |answer: &Answer| answer.json()["detail"].clone();
    assert_eq!(detail(&revoked), detail(&unknown));
    let said = run(shop.server.command().args(["apps", "test", "shop"]));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("lux apps keys shop --make"), "{said:?}");
    let made = run(shop.server.command().args(["apps", "keys", "shop", "--make", "web"]));
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(shop.server.stop().await, Some(0));
    let said = run(shop.server.command().args(["apps", "test", "shop"]));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("start it"), "{said:?}");
}
