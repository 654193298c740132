//! A campaign from the brief to its approval, and back to the queue after an edit.

use serde_json::{Value, json};

use super::story;
use crate::{
    campaigns::people,
    support::{Database, Server, on_both},
};

on_both!(an_operator_brings_a_campaign_out);
async fn an_operator_brings_a_campaign_out(database: Database) {
    let server = Server::plain(&database).await;
    story(&server, "operator", "campaigning", async |ask, _| match ask {
        "people sign up" => {
            people(&server).await;
            Value::Null
        }
        "waiting mails" => {
            let sql = "select cast(count(*) as text) from campaign_mail where status = 'waiting'";
            json!(server.database().column(&server.data(), sql).await[0])
        }
        other => panic!("{other}"),
    })
    .await;
}
