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
