//! How often an address may begin a sign-in, and fail at it. Who is signed in is not concerned.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::http::limit::Peer;

/// Pages of a sign-in a minute: an office behind one address may come at once.
const REQUESTS: u32 = 120;

/// Failures a minute that are written down, and answered with their reason.
const FAILURES: u32 = 10;

/// Addresses that are kept before those that have been quiet are forgotten.
const MANY: usize = 10_000;

type Limiter = DefaultKeyedRateLimiter<IpAddr>;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Attempts(Arc<(Limiter, Limiter)>);

impl Attempts {
    pub(super) fn new() -> Self {
        let keyed = |count: u32| {
            RateLimiter::keyed(Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)))
        };
        Self(Arc::new((keyed(REQUESTS), keyed(FAILURES))))
    }

    /// Whether another request may be made.
    pub(super) fn request(&self, peer: Option<Peer>) -> bool {
        take(&self.0.0, peer)
    }

    /// Whether another failure may be told.
    pub(super) fn failure(&self, peer: Option<Peer>) -> bool {
        take(&self.0.1, peer)
    }
}

fn take(limiter: &Limiter, peer: Option<Peer>) -> bool {
    if limiter.len() > MANY {
        limiter.retain_recent();
    }
    peer.is_none_or(|peer| limiter.check_key(&network(peer.address)).is_ok())
}

/// Whoever has one address of IPv6 has the whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempts, FAILURES, Peer};

    #[test]
    fn addresses_are_counted_by_network() {
        let attempts = Attempts::new();
        let peer = |text: &str| Some(Peer { address: text.parse().unwrap(), forwarded: true });
        for n in 0..FAILURES {
            assert!(attempts.failure(peer(&format!("2001:db8::{n}"))));
        }
        assert!(!attempts.failure(peer("2001:db8::ffff:1")));
        assert!(attempts.failure(peer("2001:db8:0:1::1")));
        assert!(attempts.failure(peer("203.0.113.9")));
        assert!(attempts.request(peer("2001:db8::1")));
    }
}
