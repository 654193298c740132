//! Services of others, connected once and kept alive: one way to consent ([`connect`]), one way
//! to call them ([`Connection::send`]), and what they are good for. What the services are is data
//! ([`provider`]).

pub mod call;
pub mod calls;
pub mod connect;
mod connection;
mod duty;
mod endpoints;
pub mod file;
mod grant;
pub mod meeting;
pub mod message;
pub mod outbox;
pub mod provider;
mod routes;
mod status;
mod store;
pub mod ticketing;
mod token;
pub mod tracker;
pub mod trouble;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{
    app::App,
    auth::oidc,
    config,
    error::{Error, Result},
};

pub use connection::Connection;
pub use duty::{Served, serve, served, stop_serving};
pub use grant::Status;
pub use provider::{Duty, KINDS, Kind};
pub use routes::router;
pub use status::{Card, Person, Standing, cards, people, standing};
pub use trouble::Trouble;

use endpoints::Endpoints;
use provider::Provider;

/// The connected services. Cheap to clone.
#[derive(Clone)]
pub struct Integrations(Arc<Shared>);

struct Shared {
    app: App,
    registered: Vec<Registered>,
    locks: Mutex<HashMap<i64, Arc<tokio::sync::Mutex<()>>>>,
    /// Until when a provider takes no more of a grant, by its own word.
    full: Mutex<HashMap<i64, Instant>>,
    /// Tokens of single locations, which a company's token is exchanged for.
    located: Mutex<HashMap<(i64, i64, String), connection::Located>>,
}

/// A provider that Lux is registered with.
pub(crate) struct Registered {
    provider: &'static Provider,
    client: config::Client,
    endpoints: Endpoints,
}

impl Integrations {
    /// Sets up what the configuration names, and renews tokens in the background.
    pub fn start(app: &App) -> Result<Self> {
        let mut registered = Vec::new();
        for client in &app.config.integrations {
            let provider = provider::find(client.provider)?;
            let endpoints = Endpoints::new(provider, client)?;
            registered.push(Registered { provider, client: client.clone(), endpoints });
        }
        let this = Self(Arc::new(Shared {
            app: app.clone(),
            registered,
            locks: Mutex::default(),
            full: Mutex::default(),
            located: Mutex::default(),
        }));
        this.keep_fresh(&app.tasks, &app.shutdown);
        this.fetch_calls();
        outbox::schedule(&this);
        outbox::start(&this);
        Ok(this)
    }

    pub(crate) fn app(&self) -> &App {
        &self.0.app
    }

    /// Whether Lux is registered with the provider.
    pub fn is_registered(&self, provider: &Provider) -> bool {
        self.0.registered.iter().any(|of| of.provider.key == provider.key)
    }

    fn registered(&self, provider: &'static Provider) -> Result<&Registered> {
        let found = self.0.registered.iter().find(|of| of.provider.key == provider.key);
        found.ok_or_else(|| {
            let Provider { key, label, console, .. } = provider;
            let variable = key.to_uppercase();
            Error::Conflict(format!(
                "Lux is not registered with {label}; register it at {console}, and set \
                 [integrations.{key}] client_id and client_secret in lux.toml (or \
                 LUX_{variable}_CLIENT_ID and LUX_{variable}_CLIENT_SECRET)"
            ))
        })
    }

    fn locks(&self) -> MutexGuard<'_, HashMap<i64, Arc<tokio::sync::Mutex<()>>>> {
        self.0.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a provider sends people back to, to be registered in its console.
    pub fn redirect_uri(&self, kind: &Kind) -> Result<String> {
        let address = oidc::address(&self.app().config).ok_or_else(|| {
            let why = "Lux does not know its own address; set public_url in lux.toml to the one \
                       that people reach it by";
            Error::Conflict(why.to_owned())
        })?;
        Ok(format!("{address}/api/integrations/{}/callback", kind.key))
    }
}
