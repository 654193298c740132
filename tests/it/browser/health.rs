//! Whether all is well: a real application that fails and is mended.

use serde_json::Value;

use super::story;
use crate::support::{Database, Setup, Site, on_both};

on_both!(somebody_looks_after_the_health);
async fn somebody_looks_after_the_health(database: Database) {
    let setup = Setup::new(&database);
    let (site, url) = Site::start(setup.folder().to_owned()).await;
    let log = setup.folder().join("app.log");
    let toml = format!(
        "[[apps]]\nname = \"shop\"\nbase_url = \"{url}\"\n\
         [[probes]]\nname = \"shop front\"\nkind = \"http\"\napp = \"shop\"\npath = \"/\"\n\
         [[sources]]\nname = \"app\"\npath = \"{}\"\n",
        log.display()
    );
    std::fs::write(&log, "a line\n").unwrap();
    let server = setup.toml(&toml).start().await;
    story(&server, "operator", "looking_after_health", async |ask, _| {
        match ask {
            "fix" => site.fix(),
            "spoil" => site.spoil(),
            other => panic!("{other}?"),
        }
        Value::Null
    })
    .await;
}
