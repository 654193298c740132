//! The list of errors and an error's page.

use std::{fmt::Write as _, fs, io::Write as _};

use chrono::{DateTime, TimeDelta, Utc};
use lux::clock;
use serde_json::{Value, json};

use super::story;
use crate::support::{Database, Server, Setup, Site, on_both, repair, until};

async fn send(server: &Server, events: &Value) -> Vec<i64> {
    let answer = server.post("/api/errors", events).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

async fn group_of(server: &Server, event: i64) -> Value {
    server.get(&format!("/api/diagnostics/errors/{event}")).await["group"]["id"].clone()
}

fn ago(hours: i64, minutes: i64) -> DateTime<Utc> {
    clock::now() - TimeDelta::minutes(hours * 60 + minutes)
}

/// A shop that fails in all the ways that the mock-up of the list shows.
async fn shop(database: &Database) -> (Server, Site) {
    let setup = Setup::new(database);
    let (site, url) = Site::start(setup.folder().to_owned()).await;
    let toml = format!(
        "[repair]\npasses = 2\nspacing = \"50ms\"\nprobes_per_second = 1000\n\
         try_failing = false\n[schedule]\nrepair = \"off\"\n\
         [[sources]]\nname = \"app\"\napp = \"shop\"\npath = \"{}\"\n\
         [[apps]]\nname = \"shop\"\nbase_url = \"{url}\"\n",
        setup.folder().join("app.log").display()
    );
    let server = setup.toml(&toml).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    let event = |kind: &str, message: &str, request: &str, at: DateTime<Utc>, user: &str| {
        let (method, path) = request.split_once(' ').unwrap();
        json!({ "app": "shop", "error_type": kind, "error_message": message, "method": method,
                "endpoint": path, "created_at": at, "user_id": user, "release": "v2.14" })
    };
    let mut events = Vec::new();
    for n in 0..148_i64 {
        let mut one = event(
            "OperationalError",
            "FATAL: sorry, too many clients already",
            "POST /checkout",
            ago(0, 12) - TimeDelta::seconds(n * 40),
            &format!("customer-{}", n % 37),
        );
        one["severity"] = json!("critical");
        events.push(one);
    }
    for n in 0..83_i64 {
        let message = "OpenAI returned 401: the API key is not set for this process";
        let at = ago(n % 24, n % 55 + 4);
        let user = format!("customer-{}", n % 9);
        events.push(event("AuthenticationError", message, "POST /chatbot/send", at, &user));
    }
    for n in 0..13_i64 {
        let mut one = event(
            "SlowQuery",
            "orders by customer took 4.2 s, sequential scan on 1.9 M rows",
            "GET /account/orders",
            ago(24 * (n % 12), n * 7 + 120),
            &format!("customer-{}", n % 6),
        );
        one["severity"] = json!("warning");
        events.push(one);
    }
    for n in 0..8_i64 {
        events.push(
            json!({ "app": "shop", "error_type": "DeprecationWarning", "severity": "warning",
            "error_message": "datetime.utcnow() is deprecated", "created_at": ago(n * 29 + 3, 0) }),
        );
    }
    for n in 0..89_i64 {
        let (at, user) = (ago(10, 0) - TimeDelta::milliseconds(n), format!("customer-{}", n % 21));
        let message = "SMTP relay closed the connection";
        events.push(event("ConnectionResetError", message, "GET /newsletter", at, &user));
    }
    for n in 0..3_i64 {
        let (at, user) = (ago(0, 22) - TimeDelta::seconds(n), format!("customer-{}", n % 2));
        let message = "'shipping_zone' missing from cart metadata";
        events.push(event("KeyError", message, "GET /cart/summary", at, &user));
    }
    for some in events.chunks(200) {
        send(&server, &json!(some)).await;
    }
    // The relay answers again, and checks that failed before prove it; then the cart breaks anew.
    let groups = server.get("/api/diagnostics/groups?limit=200").await;
    let id = |kind: &str| {
        let mut groups = groups["groups"].as_array().unwrap().iter();
        groups.find(|it| it["error_type"] == kind).unwrap()["id"].clone()
    };
    let proven = json!({ "group_ids": [id("ConnectionResetError"), id("KeyError")] });
    repair(&server, &proven).await;
    site.fix();
    let results = repair(&server, &proven).await;
    assert_eq!(results["resolved"], 2, "{results:#}");
    let message = "'shipping_zone' missing from cart metadata";
    send(&server, &event("KeyError", message, "GET /cart/summary", clock::now(), "customer-3"))
        .await;
    let path = format!("/api/diagnostics/groups/{}", id("DeprecationWarning"));
    assert_eq!(server.patch(&path, &json!({ "status": "ignored" })).await.status, 200);
    (server, site)
}

on_both!(the_list_is_filtered_and_decided_upon);
async fn the_list_is_filtered_and_decided_upon(database: Database) {
    let (server, _site) = shop(&database).await;
    story(&server, "operator", "errors_list", async |ask, data| match ask {
        "report" => json!(send(&server, &data).await),
        "many" => {
            let events: Vec<Value> = (0..57)
                .map(|n| {
                    json!({ "app": "shop", "error_type": format!("Batch{n:02}Error"),
                                 "error_message": "the nightly import failed" })
                })
                .collect();
            json!(send(&server, &json!(events)).await.len())
        }
        "statuses" => {
            let found = server.get("/api/diagnostics/groups?limit=200").await;
            let groups = found["groups"].as_array().unwrap().iter();
            Value::Object(
                groups
                    .map(|it| (it["error_type"].as_str().unwrap().to_owned(), it["status"].clone()))
                    .collect(),
            )
        }
        "muted until" => {
            let found = server.get("/api/diagnostics/groups?status=ignored&limit=200").await;
            let groups = found["groups"].as_array().unwrap().iter();
            groups.map(|it| it["muted_until"].clone()).collect()
        }
        "wait for unmuting" => {
            // A time that is over, as if the week had passed.
            let sql = "update error_group set muted_until = '2026-01-05T00:00:00+00:00'
                       where muted_until is not null";
            server.database().execute(&server.data(), sql).await;
            until("nothing is muted for a time", async || {
                let found = server.get("/api/diagnostics/groups?status=ignored&limit=200").await;
                (found["groups"].as_array().unwrap().len() == 1).then_some(Value::Null)
            })
            .await
        }
        _ => panic!("nobody is there to do {ask}"),
    })
    .await;
}

on_both!(a_fresh_list_says_what_to_do);
async fn a_fresh_list_says_what_to_do(database: Database) {
    let server = Server::plain(&database).await;
    story(&server, "operator", "errors_fresh", async |ask, _| match ask {
        "report" => {
            let title = "<img src=x onerror=alert(1)> **bold** [x](https://evil.example/)";
            json!(
                send(
                    &server,
                    &json!({ "error_type": "<script>alert(1)</script>",
                "error_message": title, "endpoint": "/<b>x</b>", "method": "GET" })
                )
                .await
            )
        }
        "resolve" => {
            let groups = server.get("/api/diagnostics/groups").await;
            let path = format!("/api/diagnostics/groups/{}", groups["groups"][0]["id"]);
            let body = json!({ "status": "resolved", "reason": "it was a test" });
            assert_eq!(server.patch(&path, &body).await.status, 200);
            Value::Null
        }
        _ => panic!("nobody is there to do {ask}"),
    })
    .await;
}

/// What an SDK sends of a checkout that failed, 14 calls deep.
fn checkout(at: DateTime<Utc>) -> Value {
    let foreign = |n: usize| {
        json!({ "filename": format!("flask/app{n}.py"), "function": format!("dispatch_{n}"),
                "abs_path": format!("/srv/venv/lib/python3.13/site-packages/flask/app{n}.py"),
                "lineno": 880 + n, "context_line": "    return self.ensure_sync(rv)", "in_app": false })
    };
    let own = |file: &str, function: &str, line: usize, source: [&str; 5], vars: Value| {
        json!({ "filename": file, "abs_path": format!("/srv/{file}"), "function": function,
                "lineno": line, "in_app": true, "pre_context": [source[0], source[1]],
                "context_line": source[2], "post_context": [source[3], source[4]], "vars": vars })
    };
    let mut frames: Vec<Value> = (0..12).map(foreign).collect();
    frames.push(own(
        "shop/views.py",
        "checkout",
        63,
        [
            "@app.post('/checkout')",
            "def checkout():",
            "    db = pool.connect()",
            "    cart = Cart.load(db, session)",
            "    return pay(cart)",
        ],
        json!({ "pool.size": 15, "pool.checkedout": 15,
                "DATABASE_URL": "postgres://shop:hunter2hunter2@db/shop" }),
    ));
    frames.push(own(
        "shop/db.py",
        "connect",
        28,
        [
            "    def connect(self):",
            "        if self.free:",
            "            raise Exhausted(self.size)",
            "        return self.free.pop()",
            "",
        ],
        json!({ "self": "<Pool 15/15>" }),
    ));
    json!({
        "event_id": "35d8e71f6a10434193eb71066b913493", "timestamp": at, "platform": "python",
        "level": "fatal", "release": "v2.14", "environment": "production", "transaction": "checkout",
        "tags": { "browser": "Firefox 128", "plan": "pro" },
        "user": { "id": "customer-7", "email": "mara@example.com" },
        "request": { "url": "https://shop.example/checkout", "method": "POST",
            "headers": { "X-Request-Id": "7f3a91c2d4e8", "Authorization": "Bearer abcdefghijklmnop" },
            "data": { "items": 3, "card": "4111111111111111" } },
        "breadcrumbs": { "values": [
            { "timestamp": at - TimeDelta::seconds(4), "category": "query", "message": "select 1 from cart" },
            { "timestamp": at - TimeDelta::seconds(1), "category": "httplib", "level": "warning",
              "message": "GET /stock 503" },
        ] },
        "contexts": { "runtime": { "name": "CPython", "version": "3.13.2" } },
        "exception": { "values": [
            { "type": "OperationalError", "module": "psycopg2",
              "value": "FATAL: sorry, too many clients already",
              "stacktrace": { "frames": [foreign(20)] } },
            { "type": "Exhausted", "module": "shop.db", "value": "all 15 connections are in use",
              "mechanism": { "type": "generic", "handled": false, "source": "__cause__" },
              "stacktrace": { "frames": frames } },
        ] },
    })
}

on_both!(an_error_is_read_and_decided_upon);
async fn an_error_is_read_and_decided_upon(database: Database) {
    let setup = Setup::new(&database);
    let (site, url) = Site::start(setup.folder().to_owned()).await;
    let access = setup.folder().join("access.log");
    let toml = format!(
        "[repair]\npasses = 2\nspacing = \"50ms\"\nprobes_per_second = 1000\n\
         try_failing = false\n[schedule]\nrepair = \"off\"\n\
         [[sources]]\nname = \"gunicorn\"\napp = \"shop\"\ntimezone = \"UTC\"\npath = \"{}\"\n\
         [[sources]]\nname = \"nginx\"\napp = \"shop\"\npath = \"{}\"\n\
         [[apps]]\nname = \"shop\"\nbase_url = \"{url}\"\n",
        setup.folder().join("app.log").display(),
        access.display(),
    );
    let server = setup.toml(&toml).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    let answer = server.get("/api/apps").await;
    let app = &answer["apps"][0];
    let dsn = app["dsn"].as_str().unwrap_or_else(|| panic!("{answer:#}"));
    let key = dsn.split("//").nth(1).unwrap().split('@').next().unwrap().to_owned();
    let at = clock::now() - TimeDelta::seconds(20);
    // 147 reports with different ids are the same error as what the SDK tells in full.
    let deploy = json!({ "app": "shop", "release": "v2.14", "at": at - TimeDelta::seconds(90) });
    assert!(server.post("/api/deploys", &deploy).await.status.is_success());
    let envelope = |event: &Value| {
        let event = event.to_string();
        format!("{{}}\n{{\"type\":\"event\",\"length\":{}}}\n{event}\n", event.len())
    };
    for n in 0..4_i64 {
        let mut event = checkout(at - TimeDelta::seconds(60 - n * 15));
        event["event_id"] = json!(format!("{:032x}", 77_000 + n));
        event["user"] = json!({ "id": format!("customer-{n}") });
        let path = format!("/api/{}/envelope/?sentry_key={key}", app["id"]);
        let request = server.request(reqwest::Method::POST, &path).body(envelope(&event));
        assert_eq!(crate::support::Answer::of(request).await.status, 200);
    }
    let path = format!("/api/{}/envelope/?sentry_key={key}", app["id"]);
    let request = server.request(reqwest::Method::POST, &path).body(envelope(&checkout(at)));
    assert_eq!(crate::support::Answer::of(request).await.status, 200);
    let mut log = fs::File::options().create(true).append(true).open(&access).unwrap();
    let stamp = at.format("%d/%b/%Y:%H:%M:%S +0000");
    writeln!(
        log,
        "198.51.100.7 - - [{stamp}] \"POST /checkout?rid=7f3a91c2d4e8 HTTP/1.1\" 500 4 \"-\" \"Firefox\""
    )
    .unwrap();
    let mut text = String::new();
    let stamp = at.format("%Y-%m-%d %H:%M:%S,%3f");
    writeln!(text, "{stamp} WARNING shop: pool has no free connection [7f3a91c2d4e8]").unwrap();
    writeln!(text, "{stamp} INFO shop: another request [000000000000]").unwrap();
    fs::write(server.folder().join("app.log"), text).unwrap();
    until("both logs are read", async || {
        let found = server.get("/api/diagnostics/logs?q=7f3a91c2d4e8").await;
        (found["records"].as_array()?.len() == 2).then_some(())
    })
    .await;
    let found = server.get("/api/diagnostics/errors/35d8e71f6a10434193eb71066b913493").await;
    let (group, event) = (found["group"]["id"].clone(), found["error"]["id"].clone());
    story(&server, "operator", "error_page", async |ask, data| match ask {
        "where" => json!({ "group": group, "event": event, "sdk": "35d8e71f6a10434193eb71066b913493" }),
        "fix" => {
            site.fix();
            Value::Null
        }
        "plain" => {
            let ids = send(&server, &json!([
                { "app": "shop", "error_type": "KeyError", "error_message": "'GBP'", "method": "GET",
                  "endpoint": "/price", "user_id": "ann",
                  "error_stack": "Traceback (most recent call last):\n  File \"/srv/shop/shop.py\", line 31, in price\n    return PRICES[item]\nKeyError: 'GBP'\n" },
                { "app": "shop", "error_type": "ValueError", "error_message": "odd", "method": "GET",
                  "endpoint": "/odd" },
            ])).await;
            json!([group_of(&server, ids[0]).await, group_of(&server, ids[1]).await])
        }
        "verify" => {
            // The site fails while it is looked at, and then does not.
            site.spoil();
            repair(&server, &json!({ "group_ids": [data] })).await;
            site.fix();
            let results = repair(&server, &json!({ "group_ids": [data] })).await;
            assert_eq!(results["resolved"], 1, "{results:#}");
            Value::Null
        }
        "again" => {
            let event = json!({ "app": "shop", "error_type": "KeyError", "error_message": "'GBP'",
                "method": "GET", "endpoint": "/price", "user_id": "ann", "release": "v2.15",
                "error_stack": "Traceback (most recent call last):\n  File \"/srv/shop/shop.py\", line 31, in price\n    return PRICES[item]\nKeyError: 'GBP'\n" });
            json!(send(&server, &event).await)
        }
        _ => panic!("nobody is there to do {ask}"),
    })
    .await;
}
