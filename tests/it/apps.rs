//! Monitored applications by HTTP and by command line, on both databases.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    Answer, Database, Role, Server, Setup, Site, lux, on_both, repair, run, until,
};

async fn delete(server: &Server, path: &str) -> Answer {
    Answer::of(server.request_as(Role::Admin, Method::DELETE, path)).await
}

/// The key and the id that a DSN of this server holds.
fn parts(server: &Server, dsn: &Value) -> (String, i64) {
    let address = server.base.strip_prefix("http://").unwrap();
    let rest = dsn.as_str().unwrap().strip_prefix("http://").unwrap();
    let (key, rest) = rest.split_once('@').unwrap();
    assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{dsn}");
    let id = rest.strip_prefix(address).and_then(|rest| rest.strip_prefix('/')).unwrap();
    (key.to_owned(), id.parse().unwrap())
}

on_both!(applications_are_managed_by_the_api);
async fn applications_are_managed_by_the_api(database: Database) {
    let toml =
        "[[apps]]\nname = \"blog\"\nbase_url = \"http://127.0.0.1:1\"\n[capture]\nquota = 50";
    let server = Setup::new(&database).toml(toml).start().await;
    let made = server
        .post("/api/apps", &json!({ "name": " shop ", "base_url": "http://127.0.0.1:8000" }))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    let id = made["id"].as_i64().unwrap();
    assert_eq!(parts(&server, &made["dsn"]).1, id);
    assert_eq!(made["name"], "shop");
    assert_eq!(made["base_url"], "http://127.0.0.1:8000/");
    assert_eq!(made["allowed_origins"], json!(["*"]));
    assert_eq!(made["events_per_minute"], 50);
    assert_eq!(made["configured"], false);

    let listed = server.get("/api/apps").await;
    let names: Vec<_> = listed["apps"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["blog", "shop"]);
    let blog = &listed["apps"][0];
    assert_eq!(blog["configured"], true);
    parts(&server, &blog["dsn"]);

    // Refusals name the field.
    for (body, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "name": "a\nb" }), "name"),
        (json!({ "name": "x".repeat(101) }), "name"),
        (json!({ "name": "a", "base_url": "ftp://x" }), "base_url"),
        (json!({ "name": "a", "base_url": "http://u:p@x" }), "base_url"),
        (json!({ "name": "a", "allowed_origins": ["x"] }), "allowed_origins"),
        (json!({ "name": "a", "scrub": { "keys": [""] } }), "scrub.keys"),
        (json!({ "name": "a", "events_per_minute": 0 }), "events_per_minute"),
        (json!({ "name": "a", "colour": "red" }), "colour"),
    ] {
        let detail = server.post("/api/apps", &body).await.problem(400);
        assert!(detail.contains(field), "{body}: {detail}");
    }
    let taken = server.post("/api/apps", &json!({ "name": "shop" })).await.problem(409);
    assert!(taken.contains(&id.to_string()), "{taken}");

    let path = format!("/api/apps/{id}");
    let change = json!({
        "base_url": "https://shop.example", "allowed_origins": ["https://*.shop.example"],
        "scrub": { "emails": true, "keys": ["iban"] }, "events_per_minute": 7,
    });
    let changed = server.patch(&path, &change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let changed = server.get(&path).await;
    assert_eq!(changed["base_url"], "https://shop.example/");
    assert_eq!(changed["allowed_origins"], json!(["https://*.shop.example"]));
    assert_eq!(changed["scrub"]["emails"], true);
    assert_eq!(changed["scrub"]["keys"], json!(["iban"]));
    assert_eq!(changed["events_per_minute"], 7);
    let changed = server.patch(&path, &json!({ "base_url": "", "events_per_minute": 0 })).await;
    assert_eq!(changed.json()["base_url"], Value::Null);
    assert_eq!(changed.json()["events_per_minute"], 50);
    assert_eq!(changed.json()["scrub"]["emails"], true);

    // Another key; the first one ends.
    let keys = format!("{path}/keys");
    let made = server.post(&keys, &json!({ "name": "mobile" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(parts(&server, &made.json()["dsn"]).1, id);
    let listed = server.get(&keys).await;
    let first = &listed["keys"][1];
    assert_eq!((&listed["keys"][0]["name"], &first["name"]), (&json!("mobile"), &json!("first")));
    let first = format!("{keys}/{}", first["id"]);
    // By another application's address it is not there.
    delete(&server, &first.replace(&path, &format!("/api/apps/{}", blog["id"]))).await.problem(404);
    assert_eq!(delete(&server, &first).await.status, StatusCode::NO_CONTENT);
    delete(&server, &first).await.problem(404);

    let usage = server.get(&format!("{path}/usage?hours=48")).await;
    assert_eq!(usage, json!({ "usage": [] }));
    let far =
        Answer::of(server.request_as(Role::Read, Method::GET, &format!("{path}/usage?hours=9999")));
    assert!(far.await.problem(400).contains("hours"));

    // lux.toml has the last word.
    let blog_path = format!("/api/apps/{}", blog["id"]);
    let moved = server.patch(&blog_path, &json!({ "base_url": "http://127.0.0.1:2" })).await;
    assert!(moved.problem(409).contains("lux.toml"));
    let quota = server.patch(&blog_path, &json!({ "events_per_minute": 3 })).await;
    assert_eq!(quota.json()["events_per_minute"], 3);
    server.post(&format!("{blog_path}/archive"), &json!(null)).await.problem(409);

    let archived = server.post(&format!("{path}/archive"), &json!(null)).await;
    assert_eq!(archived.status, 200, "{archived:?}");
    assert_eq!(archived.json()["dsn"], Value::Null);
    server.patch(&path, &json!({ "events_per_minute": 3 })).await.problem(404);
    server.post(&keys, &json!({ "name": "late" })).await.problem(404);
    assert_eq!(server.get("/api/apps").await["apps"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/api/apps?archived=true").await["apps"].as_array().unwrap().len(), 2);

    let audit = server.get("/api/audit?limit=100").await;
    let actions: Vec<_> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["action"].as_str())
        .collect();
    for action in ["app.add", "app.change", "app.key.make", "app.key.revoke", "app.archive"] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
}

on_both!(the_command_line_adds_applications);
async fn the_command_line_adds_applications(database: Database) {
    let mut server = Server::plain(&database).await;
    let apps =
        |server: &Server, arguments: &[&str]| run(server.command().arg("apps").args(arguments));
    // While the server runs.
    let said = apps(&server, &["add", "shop", "--base-url", "http://127.0.0.1:8000", "--json"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let shop = said.json();
    let (key, id) = parts(&server, &shop["dsn"]);
    assert_eq!(shop, json!({ "id": id, "name": "shop", "dsn": shop["dsn"] }));
    assert_eq!(server.get(&format!("/api/apps/{id}")).await["dsn"], shop["dsn"]);
    // Again: the same, and it says so.
    let said = apps(&server, &["add", "shop", "--base-url", "http://127.0.0.1:9", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.json(), shop);
    for words in ["is there already", "http://127.0.0.1:8000/"] {
        assert!(said.err.contains(words), "{said:?}");
    }

    let dsn = shop["dsn"].as_str().unwrap();
    let said = apps(&server, &["show", "shop"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for words in ["Flask", "Django", "FastAPI", "Node", "Browser", "lux apps test shop"] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    assert!(said.out.matches(dsn).count() >= 6, "{}", said.out);
    let said = apps(&server, &["show", "shop", "--for", "fastapi"]);
    assert!(said.out.contains("FastAPI()") && !said.out.contains("Flask"), "{}", said.out);
    let said = apps(&server, &["list"]);
    assert!(said.out.contains(dsn), "{said:?}");
    assert_eq!(apps(&server, &["list", "--json"]).json()[0]["dsn"], shop["dsn"]);

    let said = apps(&server, &["keys", "shop", "--make", "mobile"]);
    let made = json!(said.out.trim());
    assert_ne!(parts(&server, &made).0, key);
    let keys = apps(&server, &["keys", "shop", "--json"]).json();
    assert_eq!(keys[0]["dsn"], made);
    assert_eq!(keys[1]["dsn"], shop["dsn"]);
    let first = keys[1]["id"].to_string();
    assert_eq!(apps(&server, &["keys", "shop", "--revoke", &first]).code, Some(0));
    assert_eq!(apps(&server, &["show", "shop", "--json"]).json()["dsn"], made);
    let said = apps(&server, &["keys", "shop"]);
    assert!(said.out.contains("revoked") && said.out.contains("never used"), "{said:?}");

    for (arguments, words) in [
        (&["show", "nothing"][..], "lux apps list"),
        (&["add", ""], "name"),
        (&["add", "x", "--base-url", "nonsense"], "base_url"),
        (&["add", "x", "--origin", "nonsense"], "allowed_origins"),
        (&["add", "x", "--for", "cobol"], "fastapi"),
        (&["archive", "nothing"], "lux apps list"),
    ] {
        let said = apps(&server, arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{arguments:?}: {said:?}");
        assert!(said.err.contains(words), "{arguments:?}: {said:?}");
    }

    assert_eq!(apps(&server, &["archive", "shop"]).code, Some(0));
    assert!(apps(&server, &["list"]).out.contains("no applications"));
    assert!(apps(&server, &["list", "--archived"]).out.contains("archived"));
    let said = apps(&server, &["add", "shop", "--json"]);
    assert_eq!(said.json()["id"], id, "{said:?}");
    // The address of the last start is the next one's, too, until that says another.
    server.stop().await;
    assert_eq!(apps(&server, &["show", "shop", "--json"]).json(), said.json());
}

/// `public_url` is what applications are given; those of lux.toml have a DSN at once.
#[test]
fn a_dsn_before_the_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lux.toml");
    let toml = "public_url = \"https://lux.example.com/errors/\"\n\
         [[apps]]\nname = \"shop\"\nbase_url = \"http://127.0.0.1:8000\"";
    std::fs::write(&file, toml).unwrap();
    let apps = |arguments: &[&str]| {
        run(lux(folder.path()).arg("--config").arg(&file).arg("apps").args(arguments))
    };
    let shop = apps(&["show", "shop", "--json"]).json();
    let dsn = shop["dsn"].as_str().unwrap();
    assert!(dsn.ends_with(&format!("@lux.example.com/errors/{}", shop["id"])), "{dsn}");
    assert_eq!(apps(&["add", "shop", "--json"]).json(), shop);
    let said = apps(&["archive", "shop"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("lux.toml"), "{said:?}");
}

on_both!(probes_reach_an_application_that_was_added_later);
async fn probes_reach_an_application_that_was_added_later(database: Database) {
    let server = Server::plain(&database).await;
    let (site, url) = Site::start(server.folder().to_owned()).await;
    let event = json!({
        "error_type": "KeyError", "error_message": "price", "endpoint": "/cart", "method": "GET",
        "app": "shop",
    });
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    let probe = json!({
        "name": "cart", "app": "shop", "kind": "http", "path": "/cart", "covers": ["GET /cart"],
    });
    let detail = server.post("/api/probes", &probe).await.problem(400);
    assert!(detail.contains("lux apps add"), "{detail}");
    let said = run(server.command().args(["apps", "add", "shop", "--base-url", &url]));
    assert_eq!(said.code, Some(0), "{said:?}");
    until("the running server knows the application", async || {
        (server.post("/api/probes", &probe).await.status == 201).then_some(())
    })
    .await;
    site.fix();
    let done = repair(&server, &json!({})).await;
    assert_eq!(done["resolved"], 1, "{done}");
    assert!(site.asked() > 0);
}
