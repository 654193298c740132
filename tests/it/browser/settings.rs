//! Settings: people, tokens and apps made and ended by clicking, and what others see of it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{nothing, story};
use crate::{
    authority::person,
    support::{Answer, Database, Model, Reply, Server, Setup, on_both},
};

on_both!(an_administrator_sets_things_up);
async fn an_administrator_sets_things_up(database: Database) {
    let model = Model::scripted().await;
    model.always(Reply::text("Nothing is wrong."));
    let server = Setup::new(&database).model(&model).start().await;
    person(&server, "operator").await;
    story(&server, "admin", "setting_up", async |ask, data| match ask {
        // What a program is answered that uses a token.
        "use" => {
            let token = data.as_str().unwrap();
            let request = server.request(Method::GET, "/api/diagnostics/groups").bearer_auth(token);
            json!(Answer::of(request).await.status.as_u16())
        }
        // What an SDK is answered that reports with a DSN.
        "report" => {
            let dsn = url::Url::parse(data.as_str().unwrap()).unwrap();
            let path = format!("/api{}/store/?sentry_key={}", dsn.path(), dsn.username());
            let event = json!({ "event_id": "fc6d8c0c43fc4630ad850ee518f1b9d0", "level": "error",
                                "message": "a test", "platform": "python" });
            let request = server.request(Method::POST, &path).json(&event);
            json!(Answer::of(request).await.status.as_u16())
        }
        "ask the model" => {
            let question = json!({ "message": "why is the cart slow?" });
            let answer = server.post("/chatbot/send", &question).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            Value::Null
        }
        other => panic!("{other}"),
    })
    .await;
    let deeds: Vec<Value> =
        server.deeds().await.iter().map(|entry| entry["action"].clone()).collect();
    for deed in [
        "token.create",
        "token.revoke",
        "invitation.create",
        "invitation.withdraw",
        "account.change",
        "app.add",
        "app.change",
        "app.key.make",
        "app.key.revoke",
        "app.archive",
    ] {
        assert!(deeds.contains(&json!(deed)), "{deed}: {deeds:?}");
    }
}

on_both!(an_operator_sees_what_is_theirs);
async fn an_operator_sees_what_is_theirs(database: Database) {
    let server = Server::plain(&database).await;
    story(&server, "operator", "seeing_settings", nothing).await;
    story(&server, "customer", "seeing_nothing", nothing).await;
}
