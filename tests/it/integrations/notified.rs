//! A notification channel for Slack takes over what the duty "messages" tells by itself.

use serde_json::json;

use super::{
    simulator::{Simulator, admin},
    working::serve,
};
use crate::support::{Database, Setup, on_both, until};

on_both!(a_channel_for_slack_tells_of_a_storm_once_and_edits_it);
async fn a_channel_for_slack_tells_of_a_storm_once_and_edits_it(database: Database) {
    let Some(simulator) = Simulator::start().await else { return };
    let setup = Setup::new(&database);
    let log = setup.folder().join("app.log");
    let toml = format!(
        "[capture]\nstorm = 40\nstorm_calm = \"5s\"\n[notify]\npoll = \"200ms\"\n\
         [[sources]]\nname = \"app\"\npath = \"{}\"\n{}",
        log.display(),
        simulator.toml()
    );
    let server = setup.toml(&toml).start().await;
    let mut browser = admin(&server).await;
    let target = json!({"channel": "C0LUX"});
    serve(&mut browser, &server, &simulator, "slack", "messages", target).await;
    let wish = json!({"name": "slack", "kind": "slack", "events": ["error.storm"]});
    let made = server.post("/api/notifications/channels", &wish).await;
    assert_eq!(made.status, 201, "{made:?}");
    let event =
        json!({"error_type": "Stormy", "error_message": "<!here> @channel & more", "app": "shop"});
    until("a message is sent", async || {
        server.post("/api/errors", &json!([event, event, event, event, event])).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let sent = simulator.created("slack", "messages").await;
        (!sent.is_empty()).then_some(())
    })
    .await;
    let sent = until("its end is told by an edit", async || {
        let sent = simulator.created("slack", "messages").await;
        sent[0].to_string().contains("is over").then_some(sent)
    })
    .await;
    assert_eq!(sent.len(), 1, "{sent:#?}");
    let text = sent[0].to_string();
    assert!(text.contains("Stormy") && !text.contains("<!here") && !text.contains("@channel"));
    let others = server.get("/api/integrations/deliveries?kind=storm").await;
    assert_eq!(others["deliveries"], json!([]), "the duty tells nothing besides");
    simulator.assert_content().await;
}
