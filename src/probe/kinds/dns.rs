//! Whether a name resolves.

use std::{net::IpAddr, time::Duration};

use super::Seen;
use crate::{
    outbound::{Resolver, visit::shown},
    probe::Outcome,
};

/// Addresses that are shown.
const MAX_SHOWN: usize = 20;

pub(super) async fn run(
    resolver: &Resolver,
    name: &str,
    expected: &[IpAddr],
    timeout: Duration,
) -> Seen {
    let request = format!("resolve {name}");
    let found = match tokio::time::timeout(timeout, resolver.look_up(name)).await {
        Ok(Ok(found)) => found,
        Ok(Err(astray)) => return Seen::new(Outcome::Fail, request, astray.to_string()),
        Err(_) => {
            let why = format!("the name servers did not answer within {}", shown(timeout));
            return Seen::new(Outcome::Fail, request, why);
        }
    };
    if found.is_empty() {
        return Seen::new(Outcome::Fail, request, format!("{name} has no address"));
    }
    let list = |addresses: &mut dyn Iterator<Item = &IpAddr>| {
        let texts: Vec<String> = addresses.take(MAX_SHOWN).map(ToString::to_string).collect();
        texts.join(", ")
    };
    let all = list(&mut found.iter());
    let missing = list(&mut expected.iter().filter(|address| !found.contains(address)));
    if missing.is_empty() {
        return Seen::new(Outcome::Pass, request, format!("{name} resolves to {all}"));
    }
    Seen::new(Outcome::Fail, request, format!("{name} resolves to {all}; {missing} is expected"))
}
