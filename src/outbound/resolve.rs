//! Names to addresses, for targets that an operator configured: what is always refused
//! never comes out, and a name keeps the reach it had when it was first looked up.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{self, Reach};

/// A look-up as the system does it.
pub type Lookup = Arc<
    dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync,
>;

/// Gives out addresses that may be connected to, and those very addresses are connected
/// to: there is no second look-up in which another answer could come. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    lookup: Lookup,
    /// The reach of each name's first answer.
    pinned: Arc<Mutex<HashMap<String, Reach>>>,
}

/// Names that are remembered; they come from the configuration, so there are few.
const MAX_NAMES: usize = 10_000;

/// Why a name gave no address that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Astray {
    /// It does not resolve: the application's (or its host's) fault.
    Unknown(String),
    /// It leads where Lux does not go.
    Forbidden(String),
}

impl std::fmt::Display for Astray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(why) | Self::Forbidden(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Astray {}

impl Resolver {
    /// Asks the system (its hosts file, its name servers).
    pub fn system() -> Self {
        Self::with(Arc::new(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        }))
    }

    /// Asks another source of addresses.
    pub fn with(lookup: Lookup) -> Self {
        Self { lookup, pinned: Arc::default() }
    }

    /// The addresses of a name that may be connected to; never an empty list.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Astray> {
        let found = (self.lookup)(name.to_owned()).await.map_err(|error| {
            Astray::Unknown(format!("the name {name} does not resolve: {error}"))
        })?;
        self.allowed(name, &found)
    }

    /// What a name resolves to, for a check that connects to none of it.
    pub async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Astray> {
        (self.lookup)(name.to_owned())
            .await
            .map_err(|error| Astray::Unknown(format!("the name {name} does not resolve: {error}")))
    }

    fn allowed(&self, name: &str, found: &[IpAddr]) -> Result<Vec<IpAddr>, Astray> {
        if found.is_empty() {
            return Err(Astray::Unknown(format!("the name {name} has no address")));
        }
        let (good, bad): (Vec<IpAddr>, Vec<IpAddr>) =
            found.iter().partition(|address| address::refused(**address).is_none());
        let Some(farthest) = good.iter().map(|address| address::reach(*address)).max() else {
            let address = bad[0];
            let why = address::refused(address).unwrap_or_default();
            return Err(Astray::Forbidden(format!(
                "the name {name} points to {address}, {why}; Lux never asks it"
            )));
        };
        let key = name.trim_end_matches('.').to_ascii_lowercase();
        let reach = {
            let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
            match pinned.get(&key) {
                Some(reach) => *reach,
                None if pinned.len() < MAX_NAMES => *pinned.entry(key).or_insert(farthest),
                None => return Err(Astray::Forbidden("too many names were looked up".to_owned())),
            }
        };
        let kept: Vec<IpAddr> =
            good.into_iter().filter(|address| address::reach(*address) == reach).collect();
        if kept.is_empty() {
            return Err(Astray::Forbidden(format!(
                "the name {name} now points to {}, and had {} when Lux first looked it up; that \
                 is how an attack looks. If it is right, restart Lux",
                found[0],
                reach.as_str()
            )));
        }
        Ok(kept)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers one list after the other, the last one for ever.
    fn answering(answers: &[&[&str]]) -> Resolver {
        let answers: Vec<Vec<IpAddr>> = answers
            .iter()
            .map(|list| list.iter().map(|text| text.parse().unwrap()).collect())
            .collect();
        let asked = AtomicUsize::new(0);
        Resolver::with(Arc::new(move |_| {
            let turn = asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
            let answer = answers[turn].clone();
            Box::pin(async move { Ok(answer) })
        }))
    }

    async fn ask(resolver: &Resolver) -> Result<Vec<String>, String> {
        let found = resolver.addresses("shop.example").await.map_err(|error| error.to_string())?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn a_name_that_turns_inwards_is_refused() {
        for inward in ["127.0.0.1", "10.0.0.7", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            let resolver = answering(&[&["93.184.216.34"], &[inward], &["93.184.216.35"]]);
            assert_eq!(ask(&resolver).await.unwrap(), ["93.184.216.34"]);
            let why = ask(&resolver).await.unwrap_err();
            assert!(why.contains("now points to"), "{inward}: {why}");
            // Another public address is what load balancers do.
            assert_eq!(ask(&resolver).await.unwrap(), ["93.184.216.35"]);
        }
        let resolver = answering(&[&["127.0.0.1"], &["10.0.0.7"]]);
        assert!(ask(&resolver).await.is_ok());
        assert!(ask(&resolver).await.is_err());
    }

    #[tokio::test]
    async fn metadata_never_comes_out_first_or_later() {
        for bad in ["169.254.169.254", "fe80::1", "0.0.0.0", "::ffff:169.254.169.254"] {
            assert!(ask(&answering(&[&[bad]])).await.unwrap_err().contains("never asks"));
            let resolver = answering(&[&["93.184.216.34"], &[bad]]);
            assert!(ask(&resolver).await.is_ok());
            assert!(ask(&resolver).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn of_a_mixed_answer_only_the_farthest_reach_is_kept() {
        let mixed = ["127.0.0.1", "93.184.216.34", "169.254.169.254", "10.0.0.1"];
        assert_eq!(ask(&answering(&[&mixed])).await.unwrap(), ["93.184.216.34"]);
        assert!(ask(&answering(&[&[]])).await.unwrap_err().contains("no address"));
    }
}
