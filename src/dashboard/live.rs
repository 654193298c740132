//! The pulse: a few numbers of the whole that every open page shows, and by which it knows what
//! to ask for again. Asked of the database at most once a second, however many look, so that all
//! replicas tell the same.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::stream;
use serde::Serialize;

use crate::{
    app::App,
    auth::{Caller, OrganizationId},
    clock,
    error::Result,
    errors::store::groups,
    http::Reader,
    marketing::campaign,
    notify::inbox,
    repair::{action::Actions, store::runs},
};

pub(super) fn router() -> Router<App> {
    Router::new().route("/ui/pulse", get(follow))
}

/// How the whole stands, as the frame of every page tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pulse {
    /// Groups that somebody should look at.
    pub errors: i64,
    /// Actions and campaigns that wait for an approval.
    pub approvals: i64,
    /// The campaigns among them.
    pub campaigns: i64,
    /// Repair runs under way.
    pub running: i64,
    /// Notifications that who looks has not read, counted up to 100; of each person.
    pub inbox: i64,
    /// Whether the database answered.
    pub known: bool,
    /// Changes with every error that arrives.
    errors_mark: String,
    /// Changes with every step of a repair.
    repairs_mark: String,
    /// Changes with every notification, and with everything that is read.
    inbox_mark: String,
}

impl Pulse {
    /// What pages are made of, in one word: a page that was made of another has to ask again.
    pub fn mark(&self) -> String {
        let Self { errors, errors_mark, running, repairs_mark, approvals, .. } = self;
        format!("{errors} {errors_mark} {running} {repairs_mark} {approvals}")
    }

    /// What is not as it was: the names of the events that pages wait for.
    fn changes(&self, before: &Self) -> Vec<&'static str> {
        let mut changed = Vec::new();
        if (self.errors, &self.errors_mark) != (before.errors, &before.errors_mark) {
            changed.push("errors");
        }
        if (self.running, &self.repairs_mark) != (before.running, &before.repairs_mark) {
            changed.push("repairs");
        }
        if self.approvals != before.approvals {
            changed.push("approvals");
        }
        if (self.inbox, &self.inbox_mark) != (before.inbox, &before.inbox_mark) {
            changed.push("inbox");
        }
        changed
    }
}

/// How old a pulse may be when it is told.
const FRESH: Duration = Duration::from_secs(1);

/// After this time a browser asks again, and who may no longer look learns it.
const LASTS: Duration = Duration::from_mins(2);

/// Each organization's pulse, with when it was felt.
type Felt = HashMap<OrganizationId, (Instant, Pulse)>;

/// Feels the pulse. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    app: App,
    felt: Arc<Mutex<Felt>>,
}

impl Live {
    pub(super) fn new(app: App) -> Self {
        Self { app, felt: Arc::default() }
    }

    /// The pulse, not older than a second; `known` is false while the database is away.
    pub(super) async fn pulse(&self, organization: OrganizationId) -> Pulse {
        let now = clock::instant();
        let felt =
            self.felt.lock().unwrap_or_else(PoisonError::into_inner).get(&organization).cloned();
        if let Some((at, pulse)) = felt
            && now.duration_since(at) < FRESH
        {
            return pulse;
        }
        let pulse = self.feel(organization).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "no pulse");
            Pulse::default()
        });
        let mut felt = self.felt.lock().unwrap_or_else(PoisonError::into_inner);
        felt.insert(organization, (now, pulse.clone()));
        pulse
    }

    /// The same as one person is told it: with what they have not read, if that is not known from
    /// the beat before.
    pub(super) async fn pulse_of(&self, caller: &Caller, before: Option<&Pulse>) -> Pulse {
        let mut pulse = self.pulse(caller.organization).await;
        pulse.inbox = match before {
            Some(before) if before.inbox_mark == pulse.inbox_mark => before.inbox,
            _ if !pulse.known => 0,
            _ => inbox::unread(&self.app.db, caller).await.unwrap_or_default(),
        };
        pulse
    }

    async fn feel(&self, organization: OrganizationId) -> Result<Pulse> {
        let db = &self.app.db;
        let attention = groups::attention(db, organization).await?;
        let campaigns = campaign::store::awaiting(db, organization).await?;
        let (running, repairs_mark) = runs::progress(db, organization).await?;
        Ok(Pulse {
            errors: attention.groups,
            approvals: Actions::awaiting(db, organization).await? + campaigns,
            campaigns,
            running,
            inbox: 0,
            known: true,
            errors_mark: attention.newest.map_or_else(String::new, |at| at.to_rfc3339()),
            repairs_mark,
            inbox_mark: inbox::mark(db, organization).await?,
        })
    }
}

/// What is sent: the pulse, and what changed since it was last sent.
#[derive(Serialize)]
struct Beat<'p> {
    #[serde(flatten)]
    pulse: &'p Pulse,
    changed: Vec<&'static str>,
    /// [`Pulse::mark`]
    mark: String,
}

/// The pulse whenever it changes, as events named `pulse`.
async fn follow(
    Reader { caller }: Reader,
    State(app): State<App>,
    Extension(live): Extension<Live>,
) -> Response {
    let ends = clock::instant() + LASTS;
    let timer = tokio::time::interval(FRESH);
    let state = (live, timer, None::<Pulse>);
    let beats = stream::unfold(state, move |(live, mut timer, before)| {
        let shutdown = app.shutdown.clone();
        let caller = caller.clone();
        async move {
            loop {
                shutdown.run_until_cancelled(timer.tick()).await?;
                if clock::instant() >= ends {
                    return None;
                }
                let pulse = live.pulse_of(&caller, before.as_ref()).await;
                if before.as_ref() == Some(&pulse) {
                    continue;
                }
                let changed = before.as_ref().map_or_else(Vec::new, |it| pulse.changes(it));
                let mark = pulse.mark();
                let beat = serde_json::to_string(&Beat { pulse: &pulse, changed, mark });
                let event = Event::default().event("pulse").data(beat.unwrap_or_default());
                return Some((Ok::<_, Infallible>(event), (live, timer, Some(pulse))));
            }
        }
    });
    Sse::new(beats).keep_alive(KeepAlive::default()).into_response()
}

#[cfg(test)]
mod tests {
    use super::Pulse;

    #[test]
    fn pages_hear_what_changed() {
        let before = Pulse { errors: 1, ..Pulse::default() };
        let after = Pulse { approvals: 1, repairs_mark: "1 Done".to_owned(), ..before.clone() };
        assert_eq!(after.changes(&before), ["repairs", "approvals"]);
        let after = Pulse { errors_mark: "later".to_owned(), ..before.clone() };
        assert_eq!(after.changes(&before), ["errors"]);
        assert!(before.changes(&before).is_empty());
    }
}
