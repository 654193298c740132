//! Connections: the way to a provider and back in a browser, and what the cards say.

use serde_json::{Value, json};

use super::{play, story};
use crate::{
    authority::person,
    integrations::simulator::{Simulator, expire},
    support::{Database, Server, on_both},
};

on_both!(an_operator_connects_services);
async fn an_operator_connects_services(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let server = simulator.setup(&database).start().await;
    let several = json!({ "sites": [
        { "id": "site-1", "name": "shop", "url": "https://shop.atlassian.net" },
        { "id": "site-2", "name": "lab", "url": "https://lab.atlassian.net" },
    ] });
    simulator.control("atlassian", several).await;
    story(&server, "operator", "connecting", async |ask: &str, data: Value| match ask {
        "provider" => json!(simulator.origin()),
        "control" => {
            simulator.control(data[0].as_str().unwrap(), data[1].clone()).await;
            Value::Null
        }
        "end" => {
            simulator.control("dropbox", json!({ "revoke_all": true })).await;
            expire(&server, &simulator, "dropbox").await;
            Value::Null
        }
        _ => panic!("nobody is there to do {ask}"),
    })
    .await;
    simulator.assert_content().await;

    // An administrator sees everybody's; a customer none of it.
    let folder = server.folder().to_owned();
    let admin = person(&server, "admin").await;
    let told = play(&server.base, &folder, &admin, "everybodys_connections", super::nothing).await;
    told.unwrap_or_else(|failed| panic!("{failed}\n{}", server.log()));
}

on_both!(nothing_is_registered);
async fn nothing_is_registered(database: Database) {
    let server = Server::plain(&database).await;
    story(&server, "operator", "unregistered", super::nothing).await;
}
