//! Being told: channels, their tests, maintenance, the inbox.

use serde_json::{Value, json};

use super::story;
use crate::support::{Database, Setup, on_both};

on_both!(somebody_is_told);
async fn somebody_is_told(database: Database) {
    let toml = "[notify]\ngrace = \"1s\"\npoll = \"200ms\"\n\
                [[sources]]\nname = \"app\"\npath = \"/nonexistent/app.log\"\n";
    let server = Setup::new(&database).toml(toml).start().await;
    story(&server, "operator", "being_told", async |ask: &str, _: Value| match ask {
        "error" => {
            let event = json!({
                "error_type": "KeyError", "error_message": "'price' <b>", "endpoint": "/buy",
                "method": "POST", "app": "shop",
            });
            assert_eq!(server.post("/api/errors", &event).await.status, 201);
            Value::Null
        }
        _ => panic!("nobody is there to do {ask}"),
    })
    .await;
}
