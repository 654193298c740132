//! The provider's keys. They are fetched when a token names one that is not known, at most once
//! a minute: else whoever sends tokens with invented keys would make Lux ask on their behalf.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::{Refused, discovery::within, fetch};
use crate::{clock, outbound::Outbound};

/// The least time between two fetches that unknown keys cause. It is also how long an unknown
/// key stays unknown.
const PAUSE: TimeDelta = TimeDelta::seconds(60);

/// How long the keys are used without asking whether they are still published.
const FRESH: TimeDelta = TimeDelta::hours(1);

/// How long they are used while the provider does not answer.
const STALE: TimeDelta = TimeDelta::hours(24);

/// Keys that are read of one answer.
const MAX_KEYS: usize = 50;

/// The least length of a modulus, in bits.
const MIN_BITS: usize = 2048;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A key as it is published; those that are none of RSA have no `n` and `e`.
#[derive(Deserialize)]
struct Published {
    kid: Option<String>,
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Clone)]
struct Known {
    kid: Option<String>,
    /// `None`: not for signatures with RS256, or too weak.
    key: Option<DecodingKey>,
}

impl Published {
    fn key(&self) -> Option<DecodingKey> {
        let for_signatures = self.kty == "RSA"
            && self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == "RS256")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures {
            return None;
        }
        let number = |text: &Option<String>| {
            let bytes = URL_SAFE_NO_PAD.decode(text.as_ref()?).ok()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            Some(bytes[zeros..].to_vec())
        };
        let (modulus, exponent) = (number(&self.n)?, number(&self.e)?);
        let first = *modulus.first()?;
        let bits = modulus.len() * 8 - first.leading_zeros() as usize;
        let odd = exponent.last()? % 2 == 1 && exponent != [1];
        (bits >= MIN_BITS && odd && exponent.len() <= 8)
            .then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
    }
}

/// The keys that this process knows of one provider.
#[derive(Default)]
pub(super) struct Keys(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    keys: Vec<Known>,
    fetched_at: DateTime<Utc>,
    /// When an unknown key last caused a fetch, or a fetch failed.
    asked_at: DateTime<Utc>,
}

impl Keys {
    /// The key that a token names, or the only one where it names none.
    pub(super) async fn find(
        &self,
        outbound: &Outbound,
        url: &str,
        kid: Option<&str>,
    ) -> Result<DecodingKey, Refused> {
        let mut kept = self.0.lock().await;
        let mut fetched = false;
        if !within(kept.fetched_at, FRESH) && !within(kept.asked_at, PAUSE) {
            match fetch(outbound, url).await {
                Ok(keys) => {
                    (kept.keys, kept.fetched_at, fetched) = (keys, clock::now(), true);
                }
                Err(refused) => {
                    // With none at hand, each attempt asks; attempts are limited.
                    if kept.keys.is_empty() || !within(kept.fetched_at, STALE) {
                        return Err(refused);
                    }
                    kept.asked_at = clock::now();
                }
            }
        }
        match choose(&kept.keys, kid) {
            Err(Refused::UnknownKey) if !fetched && !within(kept.asked_at, PAUSE) => {}
            chosen => return chosen,
        }
        kept.asked_at = clock::now();
        // A failed fetch keeps what there is.
        kept.keys = fetch(outbound, url).await?;
        kept.fetched_at = clock::now();
        choose(&kept.keys, kid)
    }
}

async fn fetch(outbound: &Outbound, url: &str) -> Result<Vec<Known>, Refused> {
    let set: Set = fetch::document(outbound, url).await?;
    // Keys of kinds yet to come are no reason to refuse the others.
    let published = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| {
        let published: Published = serde_json::from_value(key).ok()?;
        let key = published.key();
        Some(Known { kid: published.kid, key })
    });
    Ok(published.collect())
}

fn choose(keys: &[Known], kid: Option<&str>) -> Result<DecodingKey, Refused> {
    if let Some(kid) = kid {
        let mut named = keys.iter().filter(|known| known.kid.as_deref() == Some(kid)).peekable();
        named.peek().ok_or(Refused::UnknownKey)?;
        return named.find_map(|known| known.key.clone()).ok_or(Refused::UnusableKey);
    }
    let mut usable = keys.iter().filter_map(|known| known.key.as_ref());
    match (usable.next(), usable.next()) {
        (Some(key), None) => Ok(key.clone()),
        _ => Err(Refused::KeyNotNamed),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::{Known, Published, Refused, choose};

    fn jwk(change: impl Fn(&mut Value)) -> Known {
        let modulus = [&[0xc1][..], &[7; 255]].concat();
        let mut jwk = json!({
            "kty": "RSA", "kid": "a", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB",
        });
        change(&mut jwk);
        let published: Published = serde_json::from_value(jwk).unwrap();
        Known { key: published.key(), kid: published.kid }
    }

    #[test]
    fn only_keys_for_rs256_are_used() {
        assert!(jwk(|_| {}).key.is_some());
        let short = URL_SAFE_NO_PAD.encode([&[0xc1][..], &[7; 127]].concat());
        // 2047 bits, and 2048 bits' worth of bytes whose first is zero.
        let nearly = URL_SAFE_NO_PAD.encode([&[0x71][..], &[7; 255]].concat());
        let padded = URL_SAFE_NO_PAD.encode([&[0, 0x71][..], &[7; 255]].concat());
        for (field, value) in [
            ("kty", json!("EC")),
            ("use", json!("enc")),
            ("alg", json!("RS512")),
            ("alg", json!("HS256")),
            ("key_ops", json!(["encrypt"])),
            ("n", json!(short)),
            ("n", json!(nearly)),
            ("n", json!(padded)),
            ("n", json!("?")),
            ("n", json!("")),
            ("e", json!("AQ")),
            ("e", json!("Ag")),
            ("e", json!("")),
        ] {
            assert!(jwk(|jwk| jwk[field] = value.clone()).key.is_none(), "{field} = {value}");
        }
    }

    #[test]
    fn a_key_is_chosen_by_name_or_as_the_only_one() {
        let (good, weak) = (jwk(|_| {}), jwk(|jwk| jwk["kid"] = json!("w")));
        let weak = Known { key: None, ..weak };
        let other = jwk(|jwk| jwk["kid"] = json!("b"));
        let chosen = |keys: &[Known], kid| choose(keys, kid).map(drop);
        assert_eq!(chosen(&[good.clone(), weak.clone()], None), Ok(()));
        assert_eq!(chosen(&[good.clone(), weak.clone()], Some("a")), Ok(()));
        assert_eq!(chosen(&[good.clone(), weak.clone()], Some("w")), Err(Refused::UnusableKey));
        assert_eq!(chosen(&[good.clone(), weak], Some("x")), Err(Refused::UnknownKey));
        assert_eq!(chosen(&[good, other], None), Err(Refused::KeyNotNamed));
        assert_eq!(chosen(&[], None), Err(Refused::KeyNotNamed));
    }
}
