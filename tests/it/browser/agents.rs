//! The agents' tiles and pages.

use serde_json::Value;

use super::story;
use crate::{
    agents,
    support::{Database, Server, on_both},
};

on_both!(an_operator_lets_an_agent_work);
async fn an_operator_lets_an_agent_work(database: Database) {
    let server = Server::plain(&database).await;
    agents::contacts(&server).await;
    story(&server, "operator", "agents", async |ask: &str, _| {
        assert_eq!(ask, "outcome");
        let agent = server.get("/api/agents/email_crm").await;
        Value::from(agent["last"]["outcome"].as_str().unwrap())
    })
    .await;
}

on_both!(an_operator_asks_about_the_audience);
async fn an_operator_asks_about_the_audience(database: Database) {
    let server = Server::plain(&database).await;
    agents::contacts(&server).await;
    story(&server, "operator", "chat_marketing", async |ask: &str, _| {
        assert_eq!(ask, "mails");
        let sql = "select cast(count(*) as text) from campaign_mail";
        Value::from(server.database().column(&server.data(), sql).await[0].clone())
    })
    .await;
}
