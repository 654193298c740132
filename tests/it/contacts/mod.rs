//! Contacts: what comes about people, over real HTTP, on both databases.

mod segments;
mod webhook;

use serde_json::Value;

use crate::support::{Answer, Server, run};

/// A user name and a password of the webhook, made by the command line.
pub(crate) fn credential(server: &Server, name: &str) -> (String, String) {
    let mut command = server.command();
    command.args(["webhook-credential", "create", name, "--json"]);
    let made = run(&mut command).json();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    (text("username"), text("password"))
}

/// Posts a contact as Zapier does.
pub(crate) async fn zapier(server: &Server, who: &(String, String), body: &Value) -> Answer {
    let request = server.request(reqwest::Method::POST, "/api/webhook/zapier-contact");
    Answer::of(request.basic_auth(&who.0, Some(&who.1)).json(body)).await
}
