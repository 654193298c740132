//! Probes of every kind against real things, over the API and from the command line.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use chrono::TimeDelta;
use lux::probe::{Failing, Outcome};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::{
    probe_safety::{Canary, Inside, answer, changing, ok},
    support::{Answer, Database, Model, Role, Script, Server, Setup, on_both, run, variable},
};

/// A server with one application and more settings.
async fn server(database: &Database, app: &Canary, toml: &str) -> Server {
    let setup = Setup::new(database);
    let log = setup.folder().join("app.log");
    let toml = format!(
        "[[sources]]\nname = \"app\"\npath = \"{}\"\n[[apps]]\nname = \"shop\"\nbase_url = \"{}\"\n{toml}",
        log.display(),
        app.url()
    );
    setup.toml(&toml).start().await
}

async fn run_probe(server: &Server, name: &str) -> Value {
    let answer = server.post(&format!("/api/probes/{name}/run"), &json!({})).await;
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    answer.json()
}

on_both!(results_are_kept_without_secrets);
async fn results_are_kept_without_secrets(database: Database) {
    let app = Canary::start(|path| {
        if path.starts_with("/ok") {
            ok("password=hunter22secret and token sk-proj-abcdefghijklmnopqrstuvwxyz012345 \0 fine")
        } else {
            answer("500 Internal Server Error", "text/plain", "boom")
        }
    })
    .await;
    let toml = r#"
        [[probes]]
        name = "well"
        app = "shop"
        kind = "http"
        path = "/ok?access_token=hunter22query"
        headers = { Authorization = "Bearer hunter22header" }
        expect = { status = 200, contains = "fine" }
        covers = ["GET /ok"]
        [[probes]]
        name = "ill"
        kind = "http"
        path = "/ill"
    "#;
    let server = server(&database, &app, toml).await;
    let well = run_probe(&server, "well").await;
    assert_eq!((&well["outcome"], &well["status"]), (&json!("pass"), &json!(200)), "{well}");
    for _ in 0..3 {
        let ill = run_probe(&server, "ill").await;
        assert_eq!((&ill["outcome"], &ill["status"]), (&json!("fail"), &json!(500)), "{ill}");
        assert_eq!((&ill["phase"], &ill["excerpt"]), (&json!("manual"), &json!("boom")), "{ill}");
    }
    assert!(app.heads.lock().unwrap()[0].contains("Bearer hunter22header"));

    let page = server.get("/api/probes/ill/results?limit=2").await;
    assert_eq!(page["results"].as_array().unwrap().len(), 2, "{page}");
    let next = page["next"].as_str().unwrap();
    let last = server.get(&format!("/api/probes/ill/results?limit=2&cursor={next}")).await;
    assert_eq!(last["results"].as_array().unwrap().len(), 1, "{last}");
    assert_eq!(last["next"], Value::Null);
    let list = server.get("/api/probes").await;
    let listed = list["probes"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{list}");
    assert_eq!(listed[0]["last"]["id"], well["id"]);
    assert_eq!(listed[0]["key"], well["key"]);
    assert_eq!(listed[0]["headers"], json!(["Authorization"]));

    let sql = "select request || why || coalesce(excerpt, '') from probe_result";
    let mut texts = database.column(&server.data(), sql).await;
    assert_eq!(texts.len(), 4);
    texts.extend([list.to_string(), page.to_string(), well.to_string(), server.log()]);
    for text in texts {
        assert!(!text.contains("hunter22") && !text.contains("abcdefghijk"), "{text}");
    }
}

on_both!(operators_make_probes_within_bounds);
async fn operators_make_probes_within_bounds(database: Database) {
    let app = Canary::start(|_| answer("200 OK", "application/json", r#"{"n": {"x": 1}}"#)).await;
    let toml = "[[probes]]\nname = \"cache\"\nkind = \"tcp\"\ntarget = \"127.0.0.1:1\"\n";
    let server = server(&database, &app, toml).await;
    let as_role = |role, body: &Value| {
        Answer::of(server.request_as(role, Method::POST, "/api/probes").json(body))
    };
    let cart = json!({
        "name": "cart page", "app": "shop", "kind": "http", "path": "/cart",
        "expect": { "json": { "/n/x": 1 } }, "covers": ["GET /cart"],
    });
    as_role(Role::Read, &cart).await.problem(403);
    let made = as_role(Role::Operator, &cart).await;
    assert_eq!(made.status, 201, "{made:?}");
    as_role(Role::Operator, &cart).await.problem(409);
    let mut clash = cart.clone();
    clash["name"] = json!("cache");
    as_role(Role::Operator, &clash).await.problem(409);
    let sample = run_probe(&server, "cart%20page").await;
    assert_eq!(sample["outcome"], "pass", "{sample}");

    // What may change data is an administrator's to allow.
    let order = json!({
        "name": "order", "app": "shop", "kind": "http", "path": "/order", "method": "POST",
        "body": "{\"dry_run\": true}",
    });
    assert!(as_role(Role::Operator, &order).await.problem(403).contains("administrator"));
    assert_eq!(as_role(Role::Admin, &order).await.status, 201);
    assert_eq!(run_probe(&server, "order").await["outcome"], "pass");
    let head = app.heads.lock().unwrap().last().unwrap().to_lowercase();
    assert!(head.starts_with("post /order ") && head.contains("content-type: application/json"));

    // Targets come from the configuration.
    for refused in [
        json!({ "name": "a", "kind": "tcp", "target": "127.0.0.1:22" }),
        json!({ "name": "b", "kind": "dns", "target": "intranet" }),
        json!({ "name": "c", "kind": "disk", "target": "/root" }),
        json!({ "name": "d", "kind": "database", "url": "sqlite:/etc/passwd" }),
        json!({ "name": "e", "kind": "config", "target": "1", "variables": ["PATH"] }),
        json!({ "name": "f", "kind": "api-key", "target": "http://x/v1", "key_file": "/etc/shadow" }),
    ] {
        as_role(Role::Admin, &refused).await.problem(403);
    }
    let known = json!({ "name": "cache again", "kind": "tcp", "target": "127.0.0.1:1" });
    assert_eq!(as_role(Role::Operator, &known).await.status, 201);

    // Every mistake at once.
    let wrong = json!({
        "name": "a/b", "app": "nowhere", "kind": "http", "path": "//evil/x", "method": "get",
        "headers": { "Host": "evil" }, "target": "x", "expect": { "regex": "(" },
    });
    let detail = as_role(Role::Admin, &wrong).await.problem(400);
    for word in ["name", "nowhere", "//", "method", "Host", "target", "expect.regex"] {
        assert!(detail.contains(word), "{word} is missing: {detail}");
    }

    let delete = |name: &str| {
        let path = format!("/api/probes/{name}");
        Answer::of(server.request_as(Role::Operator, Method::DELETE, &path))
    };
    delete("cache").await.problem(409);
    assert_eq!(delete("cart%20page").await.status, 204);
    delete("cart%20page").await.problem(404);
}

/// A file that may be run.
fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A TLS server for "localhost", and its authority's certificate.
async fn tls(folder: &Path, name: &str, days: i64) -> (u16, std::path::PathBuf) {
    let now = lux::clock::now();
    let date = |at: chrono::DateTime<chrono::Utc>| {
        use chrono::Datelike;
        let (month, day) = (u8::try_from(at.month()).unwrap(), u8::try_from(at.day()).unwrap());
        rcgen::date_time_ymd(at.year(), month, day)
    };
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date(now - TimeDelta::days(400));
    params.not_after = date(now + TimeDelta::days(days));
    let certificate = params.signed_by(&key, &authority).unwrap();
    let file = folder.join(format!("{name}.pem"));
    fs::write(&file, authority.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    (port, file)
}

#[tokio::test]
async fn every_kind_is_green_and_red_against_real_things() {
    let folder = tempfile::Builder::new().prefix("lux-kinds").tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let app = Canary::start(|path| match path {
        "/json" => answer("200 OK", "application/json", r#"{"status": "ok", "n": [1, 2]}"#),
        "/soft" => answer("200 OK", "text/html", "<title>Internal Server Error</title>"),
        "/moved" => b"HTTP/1.1 301 Moved\r\nLocation: /json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        "/ill" => answer("503 Service Unavailable", "text/plain", "later"),
        _ => ok("all is well"),
    })
    .await;
    // A port that nothing listens on any more.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (tls_port, ca) = tls(folder.path(), "ca", 30).await;
    let (expired_port, expired_ca) = tls(folder.path(), "expired", -2).await;
    let model = Model::start(Script::Key("sk-good")).await;
    fs::write(path("key"), "sk-good\n").unwrap();
    fs::write(path("bad-key"), "sk-bad\n").unwrap();
    let mut sleeper = Command::new("sleep")
        .arg("600")
        .env("SHOP_KEY", "hunter22value")
        .env("SHOP_EMPTY", "")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let pid = sleeper.id();
    fs::write(path("shop.pid"), format!("{pid}\n")).unwrap();
    script(
        &folder.path().join("systemctl"),
        &format!(
            "#!/bin/sh\nfor unit; do :; done\ncase \"$unit\" in\n\
             shop.service) echo LoadState=loaded; echo ActiveState=active; echo SubState=running; echo Result=success; echo MainPID={pid};;\n\
             broken.service) echo LoadState=loaded; echo ActiveState=failed; echo SubState=failed; echo Result=exit-code; echo MainPID=0;;\n\
             bus.service) echo 'Failed to connect to bus' >&2; exit 1;;\n\
             *) echo LoadState=not-found; echo ActiveState=inactive; echo SubState=dead;; esac\n"
        ),
    );
    let sqlite = path("shop.db");
    Database::sqlite_file(
        &sqlite,
        "create table orders (id integer); insert into orders values (1)",
    )
    .await;
    fs::write(path("db-url"), format!("sqlite:{sqlite}")).unwrap();
    fs::write(path("no-db-url"), format!("sqlite:{}", path("nothing.db"))).unwrap();
    let me = std::env::current_exe().unwrap().file_name().unwrap().to_str().unwrap().to_owned();

    let mut toml = format!("[repair]\nsystemctl = \"{}\"\n", path("systemctl"));
    let mut expected: Vec<(String, &str, &str)> = Vec::new();
    let mut probe = |kind: &str, outcome: &'static str, told: &'static str, keys: String| {
        let name = format!("{kind}-{}", expected.len());
        write!(toml, "[[probes]]\nname = \"{name}\"\nkind = \"{kind}\"\n{keys}\n").unwrap();
        expected.push((name, outcome, told));
    };
    let (pass, fail, unclear) = ("pass", "fail", "unclear");
    for (outcome, told, keys) in [
        (
            pass,
            "200",
            "path = \"/x\"\nexpect = { contains = \"well\", regex = \"^all\", max_ms = 20000 }",
        ),
        (
            pass,
            "200",
            "path = \"/json\"\nexpect = { status = 200, json = { \"/status\" = \"ok\", \"/n/1\" = 2 } }",
        ),
        (pass, "301", "path = \"/moved\"\nexpect = { status = 301 }"),
        (pass, "200", "path = \"/moved\"\nexpect = { json = { \"/status\" = \"ok\" } }"),
        (pass, "503", "path = \"/ill\"\nexpect = { status = 503 }"),
        (fail, "204 is expected", "path = \"/x\"\nexpect = { status = 204 }"),
        (fail, "does not hold", "path = \"/x\"\nexpect = { contains = \"ill\" }"),
        (fail, "does not match", "path = \"/x\"\nexpect = { regex = \"^well\" }"),
        (fail, "/n/1 is 2", "path = \"/json\"\nexpect = { json = { \"/n/1\" = 3 } }"),
        (fail, "no /m", "path = \"/json\"\nexpect = { json = { \"/m\" = 3 } }"),
        (fail, "no valid JSON", "path = \"/x\"\nexpect = { json = { \"/m\" = 3 } }"),
        (fail, "answered 503", "path = \"/ill\""),
        (fail, "Internal Server Error", "path = \"/soft\""),
        (fail, "without TLS", "path = \"/x\"\nexpect = { certificate_days = 1 }"),
    ] {
        probe("http", outcome, told, keys.to_owned());
    }
    probe("tcp", pass, "takes connections", format!("target = \"127.0.0.1:{}\"", app.port));
    probe("tcp", pass, "takes connections", format!("target = \"localhost:{}\"", app.port));
    probe("tcp", fail, "refused", format!("target = \"127.0.0.1:{closed}\""));
    probe("tcp", fail, "does not resolve", "target = \"nothing.invalid:80\"".to_owned());
    probe("tcp", unclear, "never asks", "target = \"169.254.169.254:80\"".to_owned());
    let ca = ca.display();
    let at = |port| format!("target = \"localhost:{port}\"\n");
    probe(
        "tls",
        pass,
        "valid",
        at(tls_port) + &format!("ca_file = \"{ca}\"\nexpect = {{ certificate_days = 10 }}"),
    );
    probe(
        "tls",
        fail,
        "60 are expected",
        at(tls_port) + &format!("ca_file = \"{ca}\"\nexpect = {{ certificate_days = 60 }}"),
    );
    probe(
        "tls",
        fail,
        "handshake fails",
        at(tls_port) + &format!("ca_file = \"{ca}\"\nserver_name = \"other.example\""),
    );
    probe("tls", fail, "handshake fails", at(tls_port));
    probe(
        "tls",
        fail,
        "xpired",
        at(expired_port) + &format!("ca_file = \"{}\"", expired_ca.display()),
    );
    probe(
        "tls",
        fail,
        "handshake",
        at(app.port) + &format!("timeout = \"2s\"\nca_file = \"{ca}\""),
    );
    probe("tls", unclear, "cannot be read", at(tls_port) + "ca_file = \"/nowhere.pem\"");
    let url_file = |name: &str| format!("url_file = \"{}\"\n", path(name));
    probe("database", pass, "answers", url_file("db-url"));
    probe(
        "database",
        pass,
        "gives a row",
        url_file("db-url") + "tables = [\"orders\"]\nquery = \"select id from orders\"",
    );
    probe(
        "database",
        fail,
        "no table invoices",
        url_file("db-url") + "tables = [\"orders\", \"invoices\"]",
    );
    probe(
        "database",
        fail,
        "no row",
        url_file("db-url") + "query = \"select id from orders where id = 7\"",
    );
    probe(
        "database",
        fail,
        "database says",
        url_file("db-url") + "query = \"select nothing from orders\"",
    );
    probe("database", fail, "database says", url_file("no-db-url"));
    probe("database", unclear, "cannot read", url_file("no-such-file"));
    let postgres = variable("LUX_TEST_POSTGRES").is_some();
    if postgres {
        let url = "url_env = \"SHOP_DATABASE\"\n";
        probe(
            "database",
            pass,
            "every table",
            format!("{url}tables = [\"pg_catalog.pg_class\"]\nquery = \"select 1\""),
        );
        probe("database", fail, "no table nothing", format!("{url}tables = [\"nothing\"]"));
        probe(
            "database",
            fail,
            "read-write",
            format!("{url}query = \"select set_config('transaction_read_only', 'off', false)\""),
        );
        probe(
            "database",
            fail,
            "database says",
            format!("url = \"postgres://nobody@127.0.0.1:{closed}/x\""),
        );
    }
    let base = format!("target = \"{}\"\n", model.url);
    probe("api-key", pass, "accepted", format!("{base}key_file = \"{}\"", path("key")));
    probe("api-key", fail, "refused", format!("{base}key_file = \"{}\"", path("bad-key")));
    probe("api-key", fail, "refused", format!("{base}key_env = \"SHOP_MODEL_KEY\""));
    probe(
        "api-key",
        fail,
        "cannot be reached",
        format!("target = \"http://127.0.0.1:{closed}/v1\"\nkey_file = \"{}\"", path("key")),
    );
    probe("api-key", unclear, "cannot read", format!("{base}key_file = \"/no/such/file\""));
    probe(
        "config",
        pass,
        "every variable",
        format!("target = \"{}\"\nvariables = [\"SHOP_KEY\"]", path("shop.pid")),
    );
    probe(
        "config",
        pass,
        "every variable",
        "target = \"shop.service\"\nvariables = [\"SHOP_KEY\"]".to_owned(),
    );
    probe(
        "config",
        pass,
        "every variable",
        format!("target = \"{pid}\"\nvariables = [\"SHOP_KEY\"]"),
    );
    probe(
        "config",
        fail,
        "does not have SHOP_OTHER",
        format!("target = \"{pid}\"\nvariables = [\"SHOP_KEY\", \"SHOP_OTHER\"]"),
    );
    probe(
        "config",
        fail,
        "SHOP_EMPTY is there but empty",
        format!("target = \"{pid}\"\nvariables = [\"SHOP_EMPTY\"]"),
    );
    probe(
        "config",
        unclear,
        "no running main process",
        "target = \"broken.service\"\nvariables = [\"A\"]".to_owned(),
    );
    probe("config", unclear, "not running", "target = \"4194304\"\nvariables = [\"A\"]".to_owned());
    probe(
        "disk",
        pass,
        "are free",
        format!(
            "target = \"{}\"\nexpect = {{ min_free_bytes = 1, min_free_inodes_percent = 1 }}",
            folder.path().display()
        ),
    );
    probe(
        "disk",
        fail,
        "are expected",
        "target = \"/\"\nexpect = { min_free_bytes = 9000000000000000000 }".to_owned(),
    );
    probe("disk", fail, "cannot be looked at", "target = \"/no/such/folder\"".to_owned());
    probe("unit", pass, "active (running)", "target = \"shop.service\"".to_owned());
    probe("unit", fail, "exit-code", "target = \"broken.service\"".to_owned());
    probe(
        "unit",
        pass,
        "failed",
        "target = \"broken.service\"\nexpect = { state = \"failed\" }".to_owned(),
    );
    probe("unit", fail, "no unit", "target = \"nothing.service\"".to_owned());
    probe("unit", unclear, "Failed to connect to bus", "target = \"bus.service\"".to_owned());
    probe("port", pass, "listens", format!("target = \"{}\"", app.port));
    probe(
        "port",
        pass,
        "listens",
        format!("target = \"127.0.0.1:{}\"\nprocess = \"{me}\"", app.port),
    );
    probe(
        "port",
        fail,
        "is expected",
        format!("target = \"{}\"\nprocess = \"gunicorn\"", app.port),
    );
    probe("port", fail, "nothing listens", format!("target = \"{closed}\""));
    probe("port", fail, "nothing listens", format!("target = \"127.0.0.9:{}\"", app.port));
    probe(
        "dns",
        pass,
        "127.0.0.1",
        "target = \"localhost\"\nexpect = { addresses = [\"127.0.0.1\"] }".to_owned(),
    );
    probe(
        "dns",
        fail,
        "192.0.2.1 is expected",
        "target = \"localhost\"\nexpect = { addresses = [\"192.0.2.1\"] }".to_owned(),
    );
    probe("dns", fail, "does not resolve", "target = \"nothing.invalid\"".to_owned());

    let setup = Setup::new(&Database::sqlite())
        .toml(&format!(
            "[[sources]]\nname = \"app\"\npath = \"{}\"\n[[apps]]\nname = \"shop\"\nbase_url = \"{}\"\n{toml}",
            path("app.log"),
            app.url()
        ))
        .env("SHOP_MODEL_KEY", "sk-wrong-hunter22")
        .env("SHOP_DATABASE", &variable("LUX_TEST_POSTGRES").unwrap_or_default());
    let server = setup.start().await;
    for (name, outcome, told) in &expected {
        let sample = run_probe(&server, name).await;
        assert_eq!(sample["outcome"], *outcome, "{name}: {sample:#}");
        assert!(sample["why"].as_str().unwrap().contains(told), "{name}, {told}: {sample:#}");
        assert!(!sample["request"].as_str().unwrap().is_empty(), "{name}: {sample:#}");
        assert!(!sample.to_string().contains("hunter22"), "{name}: {sample:#}");
    }
    assert!(!server.log().contains("hunter22"));
    // It is read from the process, so it is gone with the process.
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    let name = expected.iter().find(|(name, ..)| name.starts_with("config")).unwrap();
    assert_eq!(run_probe(&server, &name.0).await["outcome"], "unclear");
}

#[tokio::test]
async fn the_failing_request_is_believed_only_when_nothing_speaks_against_it() {
    let (app, now) = changing().await;
    let inside = Inside::of(&app).await;
    let failing = Failing {
        error_type: "psycopg2.OperationalError".to_owned(),
        message: "could not connect to server: Connection refused".to_owned(),
        body_hash: None,
    };
    let html = |title: &str, body: &str| {
        answer(
            "200 OK",
            "text/html",
            &format!("<html><title>{title}</title><body>{body}</body></html>"),
        )
    };
    let show = |bytes: Vec<u8>| *now.lock().unwrap() = bytes;
    let sorry = html("Shop", "<p>We could not show your cart 17.</p>");
    let cases: Vec<(&str, Vec<u8>, Outcome)> = vec![
        (
            "server error",
            answer(
                "500 Oops",
                "text/html",
                "<html><title>Shop</title><body><p>We could not show your cart 16.</p></body></html>",
            ),
            Outcome::Fail,
        ),
        ("the same body as when it failed", sorry, Outcome::Fail),
        ("error page", html("500 Internal Server Error", ""), Outcome::Fail),
        ("traceback", html("Shop", "<pre>Traceback (most recent call last):</pre>"), Outcome::Fail),
        ("json", answer("200 OK", "application/json", r#"{"success": false}"#), Outcome::Fail),
        (
            "json error",
            answer("200 OK", "application/json", r#"{"error": {"code": 1}}"#),
            Outcome::Fail,
        ),
        (
            "its message",
            html("Shop", "Sorry: could not connect to server: Connection refused"),
            Outcome::Fail,
        ),
        ("its type", html("Shop", "OperationalError while loading"), Outcome::Fail),
        ("cut off", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec(), Outcome::Fail),
        ("401", answer("401 Unauthorized", "text/plain", "no"), Outcome::Unclear),
        ("403", answer("403 Forbidden", "text/plain", "no"), Outcome::Unclear),
        ("429", answer("429 Too Many Requests", "text/plain", "no"), Outcome::Unclear),
        ("404", answer("404 Not Found", "text/plain", "no"), Outcome::Unclear),
        ("400", answer("400 Bad Request", "text/plain", "no"), Outcome::Unclear),
        (
            "login form",
            html("Log in", "<form><input type=password name=p></form>"),
            Outcome::Unclear,
        ),
        ("well", html("Shop", "<h1>Your cart</h1><p>2 things</p>"), Outcome::Pass),
        (
            "well in JSON",
            answer("200 OK", "application/json", r#"{"error": null, "items": [1]}"#),
            Outcome::Pass,
        ),
        ("nothing, where something was", answer("200 OK", "text/html", ""), Outcome::Fail),
    ];
    for (what, bytes, outcome) in cases {
        show(bytes);
        let sample = inside.learn("/cart", &failing).await;
        assert_eq!(sample.outcome, outcome, "{what}: {sample:#?}");
        assert!(sample.why.len() > 10, "{what}: {sample:#?}");
    }
    drop(app);
    let sample = inside.learn("/cart", &failing).await;
    assert_eq!((sample.outcome, sample.status), (Outcome::Fail, None), "{sample:#?}");
}

on_both!(what_a_probe_causes_is_no_occurrence);
async fn what_a_probe_causes_is_no_occurrence(database: Database) {
    let server = Server::plain(&database).await;
    let event = json!({ "error_type": "KeyError", "error_message": "'GBP'", "endpoint": "/cart" });
    let mut marked = event.clone();
    marked["request_headers"] = json!({ "Host": "shop", "X-Lux-Probe": "0190" });
    let mut agent = event.clone();
    agent["user_agent"] = json!("Lux-Probe/0.1.0");
    let answer = server.post("/api/errors", &marked).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json(), json!({ "accepted": 1, "ids": [], "rejected": [], "probe": [0] }));
    assert_eq!(server.get("/api/diagnostics/groups").await["groups"], json!([]));

    let answer = server.post("/api/errors", &json!([event, agent, marked, {}])).await.json();
    assert_eq!((&answer["accepted"], &answer["probe"]), (&json!(3), &json!([1, 2])), "{answer}");
    assert_eq!(answer["rejected"][0]["index"], 3, "{answer}");
    let groups = server.get("/api/diagnostics/groups").await;
    assert_eq!(groups["groups"][0]["count"], 1, "{groups}");
    let group = format!("/api/diagnostics/groups/{}", groups["groups"][0]["id"]);
    let resolved = json!({ "status": "resolved", "reason": "looked" });
    assert_eq!(server.patch(&group, &resolved).await.status, 200);
    server.post("/api/errors", &marked).await;
    assert_eq!(server.get(&group).await["status"], "resolved");
    server.post("/api/errors", &event).await;
    assert_eq!(server.get(&group).await["status"], "regressed");
}

// Commands are waited for on this thread, and the canary has to answer them meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_runs_probes() {
    let app = Canary::start(|path| match path {
        "/ill" => answer("500 Oops", "text/plain", "boom"),
        "/soft" => answer("200 OK", "application/json", r#"{"ok": false}"#),
        _ => ok("fine"),
    })
    .await;
    let toml = "[[probes]]\nname = \"the shop\"\nkind = \"http\"\npath = \"/\"\n\
                [[probes]]\nname = \"ill\"\nkind = \"http\"\npath = \"/ill\"\n";
    let server = server(&Database::sqlite(), &app, toml).await;
    let probe = |arguments: &[&str]| run(server.command().arg("probe").args(arguments));
    let said = probe(&["the shop"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("pass  GET http://127.0.0.1"), "{said:?}");
    let said = probe(&["ill", "--json"]);
    assert_eq!((said.code, &said.json()["status"]), (Some(1), &json!(500)), "{said:?}");
    assert_eq!(probe(&["nothing"]).code, Some(2));
    let said = probe(&[]);
    assert!(
        said.code == Some(0) && said.out.contains("the shop") && said.out.contains("fail"),
        "{said:?}"
    );

    let alone = tempfile::tempdir().unwrap();
    let once = |url: &str| run(crate::support::lux(alone.path()).args(["probe", url, "--json"]));
    assert_eq!(once(&app.url()).code, Some(0));
    for bad in ["/ill", "/soft"] {
        let said = once(&format!("{}{bad}", app.url()));
        assert_eq!((said.code, &said.json()["outcome"]), (Some(1), &json!("fail")), "{said:?}");
    }
    let said = once("http://169.254.169.254/latest/");
    assert_eq!((said.code, &said.json()["outcome"]), (Some(1), &json!("unclear")), "{said:?}");
    assert_eq!(once("https://").code, Some(2));
}
