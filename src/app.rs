//! What every part of the running program may reach. No logic.

use std::{ops::Deref, sync::Arc};

use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    apps::Apps,
    auth::{session::Sessions, token::Tokens},
    config::Config,
    db::Db,
    jobs::Jobs,
    llm::Llm,
    logs::Live,
    mail::Mail,
    outbound::Outbound,
    seal::{Lasting, Sealer},
};

/// The running program. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

pub struct Parts {
    pub config: Config,
    /// The monitored applications and their keys.
    pub apps: Apps,
    pub db: Db,
    /// The logs, as they are written.
    pub live: Live,
    /// The way out for mail, if one is set up.
    pub mail: Mail,
    pub outbound: Outbound,
    /// The model, if there is one.
    pub llm: Llm,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// Seals what is secret before the database has it.
    pub sealer: Sealer,
    /// Keys that stay when the master key changes: for signatures and hashes that are kept.
    pub lasting: Lasting,
    /// The sessions of browsers that were recognised lately.
    pub sessions: Sessions,
    pub tokens: Tokens,
    /// Durable work; features register what they do with it before it is started.
    pub jobs: Jobs,
    /// Background work; shutdown waits for it.
    pub tasks: TaskTracker,
    /// Cancelled when the program is asked to end.
    pub shutdown: CancellationToken,
    pub started_at: DateTime<Utc>,
}

impl App {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
