//! Mail by SMTP: the one door, as `outbound` is for HTTP.
//!
//! A [`Letter`] becomes MIME in `letter`, and goes over a [`Line`] to the server of `[mail]`.
//! What went wrong is a [`Trouble`] that says itself in a sentence, and whether another try may
//! help. [`Mail::send`] is for single mails; whoever sends many keeps lines open
//! ([`Mail::open`]) and is told, through [`Witness`], when a mail is out of its hands.

mod letter;
mod line;
mod trouble;
mod watch;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

use crate::{clock, config};

pub use letter::{Bulk, Letter, Ready};
pub use line::Line;
pub use trouble::{Trouble, enhanced, shown};
pub use watch::Witness;

/// The longest that one single mail may take, all tries included.
const TOTAL: Duration = Duration::from_mins(2);

/// How often a single mail is tried at once; what is put off for longer is the caller's to try.
const TRIES: u32 = 3;

/// The pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Single mails at once.
const AT_ONCE: usize = 4;

/// A mail that the server took.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Of the mail, without its angle brackets.
    pub message_id: String,
    /// What the server said to it.
    pub said: String,
}

/// How the mail server has been doing, as far as this process has seen.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Mail is not set up.
    Off,
    /// It has not been asked yet.
    Unknown,
    Well {
        at: DateTime<Utc>,
    },
    Ill {
        at: DateTime<Utc>,
        trouble: String,
    },
}

/// The way out for mail. Cheap to clone.
#[derive(Clone)]
pub struct Mail(Arc<Door>);

struct Door {
    config: config::Mail,
    slots: Semaphore,
    last: Mutex<Option<(DateTime<Utc>, Option<String>)>>,
}

impl Mail {
    pub fn new(config: config::Mail) -> Self {
        Self(Arc::new(Door { config, slots: Semaphore::new(AT_ONCE), last: Mutex::default() }))
    }

    pub fn config(&self) -> &config::Mail {
        &self.0.config
    }

    /// Whether there is a server to give mail to.
    pub fn is_on(&self) -> bool {
        self.0.config.is_on()
    }

    /// Sends one mail, trying again over some seconds what may go better then.
    ///
    /// # Errors
    /// [`Trouble::is_temporary`] says whether it may be worth another try later. After
    /// [`Trouble::Unknown`] the mail may have arrived: sending it again may double it.
    pub async fn send(&self, letter: &Letter) -> Result<Sent, Trouble> {
        let ready = letter.write(self.config())?;
        let Ok(_slot) = self.0.slots.acquire().await else { return Err(Trouble::NotSetUp) };
        let sending = async {
            let mut pause = PAUSE;
            let mut tried = 1;
            loop {
                let said = self.once(&ready).await;
                match said {
                    Err(trouble) if trouble.is_temporary() && tried < TRIES => {
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                        tried += 1;
                    }
                    said => break said,
                }
            }
        };
        let said = tokio::time::timeout(TOTAL, sending).await.unwrap_or_else(|_| {
            // It may have been on its way.
            Err(Trouble::Unknown(format!("it was not done within {} s", TOTAL.as_secs())))
        })?;
        Ok(Sent { message_id: ready.message_id, said })
    }

    async fn once(&self, ready: &Ready) -> Result<String, Trouble> {
        let mut line = self.open(None).await?;
        let said = line.hand_over(ready, 0).await;
        line.close().await;
        said
    }

    /// Connects and signs in. The witness is told of each mail that goes over the line.
    pub async fn open(&self, witness: Option<Arc<dyn Witness>>) -> Result<Line, Trouble> {
        let opened = Line::open(self.config(), witness).await;
        self.note(opened.as_ref().err());
        opened
    }

    /// Connects, signs in and leaves again.
    pub async fn check(&self) -> Result<(), Trouble> {
        self.open(None).await?.close().await;
        Ok(())
    }

    fn note(&self, trouble: Option<&Trouble>) {
        let trouble = trouble.filter(|trouble| !matches!(trouble, Trouble::NotSetUp));
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((clock::now(), trouble.map(ToString::to_string)));
    }

    /// How the server did when it was asked last; it is not asked for this.
    pub fn standing(&self) -> Standing {
        if !self.is_on() {
            return Standing::Off;
        }
        let last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.clone() {
            None => Standing::Unknown,
            Some((at, None)) => Standing::Well { at },
            Some((at, Some(trouble))) => Standing::Ill { at, trouble },
        }
    }
}
