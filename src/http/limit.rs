//! Rate limits per caller. They are kept in this process: N replicas allow N times
//! the quota.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use http::StatusCode;

use super::Problem;
use crate::{auth::Who, config};

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub address: IpAddr,
    /// It came through a proxy, so even a local address is not the operator's shell.
    pub forwarded: bool,
}

/// The limiters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Limiters>);

#[derive(Debug)]
struct Limiters {
    /// Token tries by address.
    tries: DefaultKeyedRateLimiter<IpAddr>,
    /// Sign-ins by address.
    sign_ins: DefaultKeyedRateLimiter<IpAddr>,
    requests: DefaultKeyedRateLimiter<Who>,
    events: DefaultKeyedRateLimiter<Who>,
    clock: DefaultClock,
}

/// Token tries a minute from one address: ample for scripts, hopeless for guessing.
const TRIES_PER_MINUTE: u32 = 240;

/// Sign-ins a minute from one address: people do that by hand.
const SIGN_INS_PER_MINUTE: u32 = 10;

impl Limits {
    pub fn new(config: &config::Http) -> Self {
        let per_minute =
            |count: u32| Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
        Self(Arc::new(Limiters {
            tries: RateLimiter::keyed(per_minute(TRIES_PER_MINUTE)),
            sign_ins: RateLimiter::keyed(per_minute(SIGN_INS_PER_MINUTE)),
            requests: RateLimiter::keyed(per_minute(config.requests_per_minute)),
            events: RateLimiter::keyed(per_minute(config.events_per_minute)),
            clock: DefaultClock::default(),
        }))
    }

    /// Counts a token, cookie or link that has to be looked up.
    pub fn check_try(&self, peer: Peer) -> Result<(), Problem> {
        self.0
            .tries
            .check_key(&peer.address)
            .map_err(|not_until| self.refusal(not_until.wait_time_from(self.0.clock.now())))
    }

    /// Counts a try to sign in.
    pub fn check_sign_in(&self, peer: Peer) -> Result<(), Problem> {
        self.0
            .sign_ins
            .check_key(&peer.address)
            .map_err(|not_until| self.refusal(not_until.wait_time_from(self.0.clock.now())))
    }

    /// Counts a request of a known caller; reporting errors has a budget of its own.
    pub(super) fn check_caller(&self, who: Who, path: &str) -> Result<(), Problem> {
        let limiter = if path == "/api/errors" { &self.0.events } else { &self.0.requests };
        limiter
            .check_key(&who)
            .map_err(|not_until| self.refusal(not_until.wait_time_from(self.0.clock.now())))
    }

    /// Forgets callers that have their whole budget again; called from a timer, or the
    /// tables would grow for ever.
    pub fn forget_idle(&self) {
        self.0.tries.retain_recent();
        self.0.tries.shrink_to_fit();
        self.0.sign_ins.retain_recent();
        self.0.requests.retain_recent();
        self.0.events.retain_recent();
    }

    #[expect(clippy::unused_self, reason = "reads as part of the limiter")]
    fn refusal(&self, wait: Duration) -> Problem {
        let seconds = wait.as_secs() + 1;
        let detail = format!("too many requests; try again in {seconds} s");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds)
    }
}
