//! Notifications: who is told what when something breaks.
//!
//! Triggers note what happens (`notify_event`, migration 0032), in the transaction in which it
//! happens, while an enabled channel wants it; `health` notes what becomes of Lux's own parts.
//! Then, on every replica, a second apart:
//!
//! - `sort` decides, one replica at a time, whom an event is told: errors wait for a grace, and
//!   what turns out to belong to a storm, or to come in a burst, is folded into one message;
//!   maintenance, quiet hours and digests hold the rest ([`quiet`]).
//! - `deliver` sends, never twice: it claims a row for a while (`tries` is the fence), and writes
//!   `sending` down right before a message leaves. What may have left without an answer is
//!   `uncertain` and left alone. A webhook alone is sent again: its `id` tells a repeat.
//! - `storm` brings a storm's message up to date, `gather` sums up what was held, `escalate` tells
//!   others of what nobody reacted to.
//!
//! An enabled channel of kind `slack` takes over what the duty "messages" of `integrations` tells
//! by itself: storms and repair runs are then told here alone.

pub mod channel;
mod deliver;
mod escalate;
pub mod event;
mod gather;
mod health;
pub mod inbox;
pub mod maintenance;
pub mod quiet;
mod routes;
mod sort;
pub mod store;
mod storm;
pub mod team;
mod test;
mod words;
mod work;

use crate::{app::App, integrations::Integrations};

pub use channel::{Channel, Wish};
pub use escalate::acknowledge;
pub use event::{Event, EventState, Topic};
pub use health::{Standing, Watch};
pub use routes::router;
pub use store::deliveries::{Delivery, State};
pub use store::standing;
pub use test::{Tested, test};

/// Tells what happens. Cheap to clone.
#[derive(Clone)]
pub struct Notify {
    app: App,
    integrations: Integrations,
}

impl Notify {
    /// Tells what there is to tell until the shutdown.
    pub fn start(app: &App, integrations: &Integrations) -> Self {
        let this = Self { app: app.clone(), integrations: integrations.clone() };
        work::start(&this);
        this
    }

    pub fn app(&self) -> &App {
        &self.app
    }
}
