//! A page's visitor: who it is, with the right that the page needs, and what stands around it.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::{
    Shell,
    live::{Live, Pulse},
    reply::Slot,
    told::Told,
};
use crate::{app::App, auth::Caller, clock, error::Error, http::Problem, logs};

/// The first argument of every page's handler: `Page<Reader>` is reached by who may read.
pub struct Page<Authority> {
    pub caller: Caller,
    pub shell: Shell,
    authority: PhantomData<fn() -> Authority>,
}

impl<Authority> FromRequestParts<App> for Page<Authority>
where
    Authority: FromRequestParts<App, Rejection = Problem> + Into<Caller> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Authority::from_request_parts(parts, app).await?.into();
        let live = parts.extensions.get::<Live>();
        let live = live.ok_or_else(|| Error::Internal(anyhow::anyhow!("no pulse at a page")))?;
        // Customers see nothing of the system, its numbers included.
        let pulse = if caller.role.may_read() {
            live.pulse_of(&caller, None).await
        } else {
            Pulse::default()
        };
        let shell = Shell {
            name: caller.name.clone(),
            role: Some(caller.role),
            here: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            host: logs::host_name(),
            database: super::shell::database(&app.db),
            pulse,
            told: Told::read(&parts.headers),
            now: clock::now(),
        };
        if let Some(slot) = parts.extensions.get::<Slot>() {
            let _ = slot.set(shell.clone());
        }
        Ok(Self { caller, shell, authority: PhantomData })
    }
}
