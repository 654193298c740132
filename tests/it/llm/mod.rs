//! What stands between Lux and a model's server: the library itself, over real HTTP with the
//! scripted server, and the program around it.

mod answers;
mod leaving;
mod ledger;
mod program;

use std::path::Path;

use lux::{
    auth::OrganizationId,
    config::{Config, KeyOrigin, Overrides},
    db::Db,
    llm::{Call, Desk, Llm, Message, Purpose, Told, Trouble},
    seal::Sealer,
};

use crate::support::Model;

/// A library with a database of its own, pointed at a scripted server.
pub(super) struct Rig {
    pub(super) llm: Llm,
    pub(super) db: Db,
    pub(super) model: Model,
    url: String,
    folder: tempfile::TempDir,
}

/// Timeouts short enough to wait for, but not for an answer on a busy machine.
const QUICK: &str = "
    retries = 2
    max_retry_after = \"5s\"
    between_tokens = \"5s\"
    [model.chat]
    first_token = \"5s\"
    timeout = \"50s\"
";

impl Rig {
    pub(super) async fn new(url: &str) -> Self {
        Self::with(url, QUICK).await
    }

    /// With these settings below `[model]`.
    pub(super) async fn with(url: &str, settings: &str) -> Self {
        let model = Model::scripted().await;
        let folder = tempfile::tempdir().unwrap();
        let db = Db::connect(url, 4).await.unwrap();
        let llm = make(&db, &config(folder.path(), &model.url, settings));
        Self { llm, db, model, url: url.to_owned(), folder }
    }

    /// Another replica on the same database.
    pub(super) async fn replica(&self, settings: &str) -> Llm {
        let db = Db::connect(&self.url, 4).await.unwrap();
        make(&db, &config(self.folder.path(), &self.model.url, settings))
    }

    pub(super) async fn ask(&self, words: &str) -> Result<Told, Trouble> {
        let messages = [user(&mut self.llm.desk(), words)];
        self.llm.ask(call(&messages)).await
    }

    /// The answer with the text as it was handed over.
    pub(super) async fn stream(&self, words: &str) -> (Result<Told, Trouble>, String) {
        let messages = [user(&mut self.llm.desk(), words)];
        let mut shown = String::new();
        let told = self.llm.stream(call(&messages), |piece| shown.push_str(piece)).await;
        (told, shown)
    }
}

pub(super) fn config(folder: &Path, url: &str, settings: &str) -> Config {
    let file = folder.join("lux.toml");
    let text = format!("[model]\nkey = \"sk-scripted\"\nbase_url = \"{url}\"\n{settings}");
    std::fs::write(&file, text).unwrap();
    Config::load(Overrides { file: Some(file), ..Overrides::default() }).unwrap()
}

fn make(db: &Db, config: &Config) -> Llm {
    let folder = tempfile::tempdir().unwrap();
    let origin = KeyOrigin::Own(folder.path().join("master.key"));
    Llm::new(db.clone(), config, Sealer::open_keys(origin, true).unwrap()).unwrap()
}

pub(super) fn user(desk: &mut Desk, words: &str) -> Message {
    Message::User(desk.plain(words))
}

pub(super) fn call(messages: &[Message]) -> Call<'_> {
    Call {
        purpose: Purpose::Chat,
        why: "message 12",
        organization: OrganizationId::FIRST,
        by: "anna",
        messages,
        tools: &[],
        schema: None,
        max_output: None,
    }
}
