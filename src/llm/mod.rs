//! Everything between Lux and a model's server: one call at a time, with timeouts, retries,
//! a circuit breaker, a budget and a ledger of all that was sent. It knows no features.
//!
//! Only [`Outgoing`] texts can be sent, and only a [`Desk`] (which strikes out secrets) and
//! the [`Prompts`] make them. Every failure is a [`Trouble`] that says itself in one line.

mod answer;
mod breaker;
mod budget;
mod doctor;
mod entry;
mod inert;
pub mod ledger;
mod message;
mod outgoing;
mod prompts;
mod refusal;
mod request;
mod run;
mod tries;
mod trouble;
mod wire;

pub use budget::Spent;
pub use doctor::check;
pub use inert::{inert, is_hidden, visible};
pub use message::{Call, Finish, Message, Purpose, Schema, Told, Tool, ToolCall, estimate};
pub use outgoing::{Counts, Desk, MAX_TEXT, Outgoing, Reveal};
pub use prompts::{Inputs, Prompt, Prompts};
pub use trouble::Trouble;

use breaker::Breaker;
use request::Quirks;
use wire::Wire;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};

use crate::{
    config::{Config, Model, ModelUse},
    db::Db,
    error::Result,
    redact::Known,
    seal::Sealer,
};

/// The model. Cheap to clone.
#[derive(Clone)]
pub struct Llm(Arc<Parts>);

struct Parts {
    config: Arc<Model>,
    db: Db,
    sealer: Sealer,
    known: Arc<Known>,
    prompts: Prompts,
    wire: Wire,
    breaker: Breaker,
    /// What servers were seen not to take, by model.
    quirks: Mutex<HashMap<String, Quirks>>,
    standing: Mutex<Standing>,
}

/// How the model has been doing, without asking it.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Neither key nor server is set.
    Off,
    /// Not asked since the start.
    Unknown,
    /// The last call was answered.
    Well { at: DateTime<Utc> },
    /// The last call was not.
    Ill { at: DateTime<Utc>, trouble: Trouble },
}

impl Llm {
    /// Fails where a prompt is broken (the error names its file) or the secrets of the
    /// configuration cannot be looked for.
    pub fn new(db: Db, config: &Config, sealer: Sealer) -> Result<Self> {
        let model = &config.model;
        let standing = if model.is_on() { Standing::Unknown } else { Standing::Off };
        Ok(Self(Arc::new(Parts {
            db,
            sealer,
            known: Arc::new(Known::new(config.secrets())?),
            prompts: Prompts::load(model.prompts_dir.as_deref())?,
            wire: Wire::new(model)?,
            breaker: Breaker::new(model.circuit_pause),
            quirks: Mutex::default(),
            standing: Mutex::new(standing),
            config: Arc::new(model.clone()),
        })))
    }

    /// Whether there is a model to ask.
    pub fn is_on(&self) -> bool {
        self.0.config.is_on()
    }

    /// Where the texts of a new conversation are made fit to leave.
    pub fn desk(&self) -> Desk {
        Desk::new(Arc::clone(&self.0.known))
    }

    pub fn prompts(&self) -> &Prompts {
        &self.0.prompts
    }

    /// Model and limits for a use.
    pub fn limits(&self, purpose: Purpose) -> &ModelUse {
        let config = &self.0.config;
        match purpose {
            Purpose::Chat => &config.chat,
            Purpose::Diagnose => &config.diagnose,
            Purpose::Plan => &config.plan,
            Purpose::Campaign => &config.campaign,
        }
    }

    /// Asks and waits for the whole answer. Dropping the future ends the call.
    pub async fn ask(&self, call: Call<'_>) -> Result<Told, Trouble> {
        self.run(call, None).await
    }

    /// The same, handing text over as it comes. The pieces make up the text of the answer; one
    /// that was handed over is never taken back: after that a failure is final.
    pub async fn stream(
        &self,
        call: Call<'_>,
        mut on_text: impl FnMut(&str) + Send,
    ) -> Result<Told, Trouble> {
        self.run(call, Some(&mut on_text)).await
    }

    /// How the model has been doing.
    pub fn standing(&self) -> Standing {
        self.0.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
