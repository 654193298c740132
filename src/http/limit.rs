//! Rate limits per caller, and of guesses per address. They are kept in this process:
//! N replicas allow N times the quota.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use http::StatusCode;

use super::Problem;
use crate::{auth::Who, clock, config};

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub address: IpAddr,
    /// It came through a proxy, so even a local address is not the operator's shell.
    pub forwarded: bool,
}

/// Whom an address stands for: a home or a server has a whole /64 of IPv6.
pub(super) fn bucket(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The limiters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Limiters>);

#[derive(Debug)]
struct Limiters {
    /// Wrong tokens and keys by address.
    guesses: Guesses,
    /// Tries to sign in by address.
    sign_ins: Guesses,
    /// Sign-ups by address.
    sign_ups: Guesses,
    requests: DefaultKeyedRateLimiter<Who>,
    events: DefaultKeyedRateLimiter<Who>,
    clock: DefaultClock,
}

/// Tries to sign in a minute from one address: people do that by hand.
const SIGN_INS_PER_MINUTE: u32 = 10;
/// Sign-ups a minute from one address: each is a letter to somebody.
const SIGN_UPS_PER_MINUTE: u32 = 6;

impl Limits {
    pub fn new(config: &config::Http) -> Self {
        let per_minute =
            |count: u32| Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN));
        Self(Arc::new(Limiters {
            guesses: Guesses::new(config.guesses_per_minute),
            sign_ins: Guesses::new(SIGN_INS_PER_MINUTE),
            sign_ups: Guesses::new(SIGN_UPS_PER_MINUTE),
            requests: RateLimiter::keyed(per_minute(config.requests_per_minute)),
            events: RateLimiter::keyed(per_minute(config.events_per_minute)),
            clock: DefaultClock::default(),
        }))
    }

    /// Refuses an address that has guessed wrong too often of late. To be asked before
    /// credentials are looked up in the database.
    pub(super) fn may_guess(&self, peer: Peer) -> Result<(), Problem> {
        match self.0.guesses.wait(peer.address, clock::instant()) {
            None => Ok(()),
            Some(wait) => Err(refusal("too many wrong credentials from your address", wait)),
        }
    }

    /// Counts credentials that were wrong.
    pub(super) fn guessed_wrong(&self, peer: Peer) {
        metrics::counter!("lux_http_wrong_credentials_total").increment(1);
        self.0.guesses.count(peer.address, clock::instant());
    }

    /// Counts a link or the like that is looked up, right or wrong.
    pub fn check_try(&self, peer: Peer) -> Result<(), Problem> {
        self.may_guess(peer)?;
        self.0.guesses.count(peer.address, clock::instant());
        Ok(())
    }

    /// Counts a try to sign in.
    pub fn check_sign_in(&self, peer: Peer) -> Result<(), Problem> {
        let now = clock::instant();
        if let Some(wait) = self.0.sign_ins.wait(peer.address, now) {
            return Err(refusal("too many tries to sign in from your address", wait));
        }
        self.0.sign_ins.count(peer.address, now);
        Ok(())
    }

    /// Counts a sign-up.
    pub fn check_sign_up(&self, peer: Peer) -> Result<(), Problem> {
        let now = clock::instant();
        if let Some(wait) = self.0.sign_ups.wait(peer.address, now) {
            return Err(refusal("too many sign-ups from your address", wait));
        }
        self.0.sign_ups.count(peer.address, now);
        Ok(())
    }

    /// Counts a request of a known caller; reporting errors has a budget of its own.
    pub(super) fn check_caller(&self, who: Who, path: &str) -> Result<(), Problem> {
        let limiter = if path == "/api/errors" { &self.0.events } else { &self.0.requests };
        limiter.check_key(&who).map_err(|not_until| {
            refusal("too many requests", not_until.wait_time_from(self.0.clock.now()))
        })
    }

    /// Forgets callers that have their whole budget again; called from a timer, or the
    /// tables would grow for ever.
    pub fn forget_idle(&self) {
        self.0.guesses.forget_idle(clock::instant());
        self.0.sign_ins.forget_idle(clock::instant());
        self.0.sign_ups.forget_idle(clock::instant());
        self.0.requests.retain_recent();
        self.0.events.retain_recent();
    }
}

fn refusal(what: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + 1;
    let detail = format!("{what}; try again in {seconds} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds)
}

/// How many addresses are remembered at once.
const MAX_ADDRESSES: usize = 100_000;

/// Wrong guesses by address. Each costs a while; an address may be a minute ahead. (GCRA: what is
/// kept is when an address would have served its time.)
#[derive(Debug)]
struct Guesses {
    each: Duration,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    served: HashMap<IpAddr, Instant>,
    /// When those who have served were last forgotten because it was full.
    swept: Option<Instant>,
}

/// How far ahead of its time an address may be.
const AHEAD: Duration = Duration::from_mins(1);

impl Guesses {
    fn new(per_minute: u32) -> Self {
        Self { each: AHEAD / per_minute.max(1), table: Mutex::default() }
    }

    /// How long an address has to wait until its next guess, if it has to.
    fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *table.served.get(&table.key(address))?;
        let ahead = until.checked_duration_since(now)? + self.each;
        ahead.checked_sub(AHEAD).filter(|wait| !wait.is_zero())
    }

    fn count(&self, address: IpAddr, now: Instant) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.make_room(now);
        let key = table.key(address);
        let until = table.served.entry(key).or_insert(now);
        *until = (*until).max(now) + self.each;
    }

    fn forget_idle(&self, now: Instant) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.served.retain(|_, until| *until > now);
        table.served.shrink_to_fit();
    }
}

impl Table {
    /// While it is full, those who are not in it share one place for each first byte.
    fn key(&self, address: IpAddr) -> IpAddr {
        let address = bucket(address);
        if self.served.len() < MAX_ADDRESSES || self.served.contains_key(&address) {
            return address;
        }
        let first = match address {
            IpAddr::V4(address) => u128::from(address.octets()[0]),
            IpAddr::V6(address) => 256 + (address.to_bits() >> 120),
        };
        // No client has an address of the unspecified network.
        IpAddr::V6(Ipv6Addr::from_bits(first))
    }

    /// Looks through a full table at most once a second.
    fn make_room(&mut self, now: Instant) {
        let lately = |swept| now.saturating_duration_since(swept) < Duration::from_secs(1);
        if self.served.len() >= MAX_ADDRESSES && !self.swept.is_some_and(lately) {
            self.served.retain(|_, until| *until > now);
            self.swept = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
        time::Duration,
    };

    use super::{AHEAD, Guesses, MAX_ADDRESSES, bucket};
    use crate::clock;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        assert_eq!(bucket(ip("2001:db8:1:2:3:4:5:6")), bucket(ip("2001:db8:1:2:ffff::1")));
        assert_ne!(bucket(ip("2001:db8:1:2::1")), bucket(ip("2001:db8:1:3::1")));
        assert_eq!(bucket(ip("::ffff:203.0.113.9")), ip("203.0.113.9"));
        assert_ne!(bucket(ip("203.0.113.9")), bucket(ip("203.0.113.8")));
    }

    #[test]
    fn guessing_costs_those_who_guess_and_time_heals() {
        let (guesses, now) = (Guesses::new(60), clock::instant());
        let (one, another) = (ip("203.0.113.9"), ip("203.0.113.8"));
        for guess in 0..60 {
            assert_eq!(guesses.wait(one, now), None, "guess {guess}");
            guesses.count(one, now);
        }
        let wait = guesses.wait(one, now).unwrap();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(guesses.wait(another, now), None);
        assert_eq!(guesses.wait(one, now + wait), None);
        // One who goes on regardless waits longer.
        guesses.count(one, now);
        assert!(guesses.wait(one, now).unwrap() > wait);
        guesses.forget_idle(now + AHEAD);
        assert!(!guesses.table.lock().unwrap().served.is_empty());
        guesses.forget_idle(now + AHEAD * 2);
        assert!(guesses.table.lock().unwrap().served.is_empty());
    }

    #[test]
    fn a_million_addresses_are_not_remembered() {
        let (guesses, now) = (Guesses::new(60), clock::instant());
        for number in 0..500_000_u32 {
            guesses.count(IpAddr::V4(Ipv4Addr::from_bits(number.wrapping_mul(7919))), now);
            let network = u128::from(number) << 80;
            guesses.count(IpAddr::V6(Ipv6Addr::from_bits(network | (0x2001 << 112))), now);
        }
        let remembered = guesses.table.lock().unwrap().served.len();
        assert!(remembered <= MAX_ADDRESSES + 512, "{remembered}");
        // Those who share a place are still held back.
        assert!(guesses.wait(ip("2001:ffff::1"), now).is_some());
        // And all are forgiven, however many they were.
        let later = now + Duration::from_hours(24 * 365);
        guesses.count(ip("192.0.2.1"), later);
        assert_eq!(guesses.table.lock().unwrap().served.len(), 1);
    }
}
