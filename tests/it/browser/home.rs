//! The first page, the way in, and what stands around all pages.

use std::fs;

use serde_json::{Value, json};

use super::{nothing, story};
use crate::support::{Database, Server, Setup, on_both, run};

on_both!(somebody_looks_around);
async fn somebody_looks_around(database: Database) {
    let setup = Setup::new(&database);
    let (app, later) = (setup.folder().join("app.log"), setup.folder().join("later.log"));
    fs::write(&app, "2026-11-20 10:00:00 INFO shop: started\n").unwrap();
    let toml = format!(
        "[[sources]]\nname = \"app\"\npath = \"{}\"\n[[sources]]\nname = \"later\"\npath = \"{}\"\n",
        app.display(),
        later.display()
    );
    let server = setup.toml(&toml).start().await;
    let mut reported = 0;
    story(&server, "operator", "looking_around", async |ask: &str, _| {
        assert_eq!(ask, "report");
        reported += 1;
        let event = json!({
            "error_type": format!("Reported{}", ["One", "Two"][reported - 1]),
            "error_message": "reported while the page is open",
        });
        let answer = server.post("/api/errors", &event).await;
        assert!(answer.status.is_success(), "{answer:?}");
        Value::Null
    })
    .await;
    assert_eq!(reported, 2);
}

on_both!(scripts_are_off);
async fn scripts_are_off(database: Database) {
    let server = Server::plain(&database).await;
    story(&server, "operator", "without_scripts", nothing).await;
}

on_both!(somebody_comes_in);
async fn somebody_comes_in(database: Database) {
    let server = Server::plain(&database).await;
    story(&server, "-", "coming_in", async |ask: &str, _| {
        assert_eq!(ask, "link");
        let mut command = server.command();
        command.arg("setup-link");
        let said = run(&mut command);
        assert_eq!(said.code, Some(0), "{said:?}");
        let link = said.out.split_whitespace().find(|word| word.starts_with("http")).unwrap();
        Value::from(link)
    })
    .await;
}
