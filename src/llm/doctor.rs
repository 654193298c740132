//! Trying the model's server before it is needed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::value::RawValue;

use super::{
    Call, Inputs, Llm, Message, Prompts, Purpose, Trouble,
    request::{self, Quirks, Shape},
    tries,
    wire::{Asked, Seen, Wire},
};
use crate::{auth::OrganizationId, config::Model};

/// How long a server may take to list its models, and for a first answer: one that runs on
/// this host may have to load a model from disk.
const LIST: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);

/// The answer that is asked for, in tokens: some models refuse fewer.
const TOKENS: u32 = 16;

/// Looks whether every model that is set up is there and answers: the list of models, which
/// needs the key, then a few words of each, since only they show a spent quota. Holds no data
/// of anybody. Gives what was found, in one line.
pub async fn check(model: &Model) -> Result<String, Trouble> {
    if !model.is_on() {
        return Err(Trouble::NoKey);
    }
    let broken = |error: crate::error::Error| Trouble::Withheld { why: error.to_string() };
    let wire = Wire::new(model).map_err(broken)?;
    let prompts = Prompts::load(model.prompts_dir.as_deref()).map_err(broken)?;
    list(&wire, model).await?;
    let uses = [&model.chat, &model.diagnose, &model.plan, &model.campaign];
    let names: BTreeSet<&str> = uses.iter().map(|it| it.name.as_str()).collect();
    for name in &names {
        let prompt = prompts.render("test", Inputs::new()).map_err(broken)?;
        ask(&wire, model, name, Message::User(prompt.text)).await?;
    }
    let names: Vec<&str> = names.into_iter().collect();
    let key = if model.key.is_some() { "the key is accepted by" } else { "no key is needed by" };
    Ok(format!("{key} {}; {} answered", model.host(), names.join(", ")))
}

/// Many servers have no list; that they answer is enough.
async fn list(wire: &Wire, model: &Model) -> Result<(), Trouble> {
    let asked = Asked { body: RawValue::NULL, host: model.host(), model: &model.name };
    let listed = tokio::time::timeout(LIST, wire.models(&asked)).await;
    match listed.unwrap_or_else(|_| Err(late(model, "its list of models", LIST))) {
        Ok(_) | Err(Trouble::NoSuchRoute { .. } | Trouble::Malformed { .. }) => Ok(()),
        Err(trouble) => Err(trouble),
    }
}

async fn ask(wire: &Wire, model: &Model, name: &str, message: Message) -> Result<(), Trouble> {
    let call = Call {
        purpose: Purpose::Chat,
        why: "lux doctor",
        organization: OrganizationId::FIRST,
        by: "lux doctor",
        messages: &[message],
        tools: &[],
        schema: None,
        max_output: None,
    };
    let mut quirks = Quirks::default();
    loop {
        let shape = Shape {
            model: name,
            max_output: TOKENS,
            stream: false,
            openai: tries::is_openai(model.host()),
            quirks,
            form: None,
        };
        let body = request::body(&call, &shape)?;
        let asked = Asked { body: &body, host: model.host(), model: name };
        let seen = Arc::new(Seen::default());
        let answer = tokio::time::timeout(ANSWER, wire.whole(&asked, &seen)).await;
        match answer.unwrap_or_else(|_| Err(late(model, "an answer", ANSWER))) {
            Ok(answer) => return tries::check_form(&answer, model.host()),
            Err(Trouble::Rejected { said, .. }) if quirks.learn(&said, false, false) => {}
            Err(trouble) => return Err(trouble),
        }
    }
}

fn late(model: &Model, waiting_for: &'static str, after: Duration) -> Trouble {
    Trouble::TimedOut { host: model.host().to_owned(), waiting_for, after }
}

impl Llm {
    /// Asks for the list of models once, so that health knows of a wrong key or address before
    /// anybody needs the model. Costs nothing.
    pub async fn look(&self) {
        if self.is_on()
            && let Err(trouble) = list(&self.0.wire, &self.0.config).await
        {
            tracing::warn!(%trouble, "the model cannot be used");
            self.note(Err(&trouble));
        }
    }
}
