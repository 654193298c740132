//! An ID token, checked (OpenID Connect Core 3.1.3.7 and 12.2, RFC 8725). The library checks the
//! signature, and nothing else: each claim has its own check here, and so its own refusal.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use super::Refused;

/// How far the provider's clock may be from ours, in seconds.
const LEEWAY: i64 = 60;

/// How long ago a token may have been made that was asked for just now, in seconds.
const MAX_AGE: i64 = 600;

/// The longest subject, in bytes (OpenID Connect Core, section 2).
const MAX_SUBJECT: usize = 255;

/// The longest text of another claim that is kept, in characters.
const MAX_TEXT: usize = 300;

/// The longest token, in bytes.
const MAX_TOKEN: usize = 32 << 10;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// A token whose header is as it must be, and of which nothing is believed yet.
pub(super) struct Unverified<'a> {
    header: Header,
    /// Header and claims, as they were signed.
    signed: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Unverified<'a> {
    /// Takes the token apart. Keys that it brings along (`jwk`, `jku`, `x5c`, `x5u`) are not
    /// looked at.
    pub(super) fn read(token: &'a str) -> Result<Self, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::MalformedToken);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::MalformedToken)?;
        let (head, claims) = signed.split_once('.').ok_or(Refused::MalformedToken)?;
        if claims.contains('.') {
            return Err(Refused::MalformedToken);
        }
        let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| Refused::MalformedToken)?;
        let header: Header = serde_json::from_slice(&head).map_err(|_| Refused::MalformedToken)?;
        if header.alg != "RS256" {
            return Err(Refused::WrongAlgorithm);
        }
        if header.typ.as_ref().is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(Refused::WrongType);
        }
        if header.crit.is_some() {
            return Err(Refused::CriticalHeader);
        }
        Ok(Self { header, signed, claims, signature })
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The claims, once the signature holds.
    pub(super) fn verified(&self, key: &DecodingKey) -> Result<Verified, Refused> {
        let bytes = self.signed.as_bytes();
        let holds = jsonwebtoken::crypto::verify(self.signature, bytes, key, Algorithm::RS256);
        if !holds.unwrap_or(false) {
            return Err(Refused::BadSignature);
        }
        let claims = URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| Refused::MalformedToken)?;
        serde_json::from_slice(&claims).map(Verified).map_err(|_| Refused::MalformedToken)
    }
}

/// Whom a token must be for, and from whom.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// Other audiences that may be there.
    pub(super) audiences: &'a [String],
    pub(super) access_token: &'a str,
    pub(super) now: DateTime<Utc>,
    pub(super) of: Of<'a>,
}

/// What the token was asked for with.
pub(super) enum Of<'a> {
    SignIn { nonce: &'a str },
    Refresh { subject: &'a str, auth_time: Option<i64> },
}

/// Claims that the provider signed.
pub(super) struct Verified(Map<String, Value>);

/// Who signed in, as the provider vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub issuer: String,
    pub subject: String,
    pub email: Option<String>,
    /// Only if the provider says so by the JSON value `true`.
    pub email_verified: bool,
    pub name: Option<String>,
    /// An https address.
    pub picture: Option<String>,
    /// When the person last proved themselves to the provider, in seconds since 1970.
    pub auth_time: Option<i64>,
}

impl Verified {
    pub(super) fn check(&self, expected: &Expected<'_>) -> Result<Claims, Refused> {
        match self.0.get("iss") {
            None => return Err(Refused::MissingIssuer),
            Some(Value::String(issuer)) if issuer == expected.issuer => {}
            Some(_) => return Err(Refused::WrongIssuer),
        }
        self.check_audience(expected)?;
        self.check_times(expected.now.timestamp())?;
        let subject = self.subject()?;
        self.check_binding(expected, subject)?;
        Ok(Claims {
            issuer: expected.issuer.to_owned(),
            subject: subject.to_owned(),
            email: self.text("email"),
            email_verified: self.0.get("email_verified") == Some(&Value::Bool(true)),
            name: self.name(),
            picture: ["picture", "profile_image_url"]
                .iter()
                .find_map(|claim| self.text(claim))
                .filter(|url| url.starts_with("https://")),
            auth_time: self.0.get("auth_time").and_then(seconds),
        })
    }

    fn check_audience(&self, expected: &Expected<'_>) -> Result<(), Refused> {
        let audiences: Vec<&str> = match self.0.get("aud") {
            None => return Err(Refused::MissingAudience),
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(all)) => {
                let all: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
                all.ok_or(Refused::WrongAudience)?
            }
            Some(_) => return Err(Refused::WrongAudience),
        };
        if !audiences.contains(&expected.client_id) {
            return Err(Refused::WrongAudience);
        }
        match self.0.get("azp") {
            None if audiences.len() > 1 => return Err(Refused::MissingAuthorizedParty),
            None => {}
            Some(Value::String(party)) if party == expected.client_id => {}
            Some(_) => return Err(Refused::WrongAuthorizedParty),
        }
        let known = |audience: &&str| {
            *audience == expected.client_id
                || expected.audiences.iter().any(|known| known == audience)
        };
        if audiences.iter().all(known) { Ok(()) } else { Err(Refused::ForeignAudience) }
    }

    fn check_times(&self, now: i64) -> Result<(), Refused> {
        let expires = self.0.get("exp").and_then(seconds).ok_or(Refused::BadExpiry)?;
        if now >= expires.saturating_add(LEEWAY) {
            return Err(Refused::Expired);
        }
        let issued = self.0.get("iat").and_then(seconds).ok_or(Refused::BadIssuedAt)?;
        let age = now.saturating_sub(issued);
        if age < -LEEWAY {
            return Err(Refused::IssuedInFuture);
        }
        if age > MAX_AGE + LEEWAY {
            return Err(Refused::IssuedLongAgo);
        }
        match self.0.get("nbf").map(seconds) {
            None => Ok(()),
            Some(Some(from)) if from <= now.saturating_add(LEEWAY) => Ok(()),
            Some(_) => Err(Refused::NotYetValid),
        }
    }

    fn subject(&self) -> Result<&str, Refused> {
        let subject = self.0.get("sub").and_then(Value::as_str).ok_or(Refused::BadSubject)?;
        let is_good = (1..=MAX_SUBJECT).contains(&subject.len())
            && subject.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if is_good { Ok(subject) } else { Err(Refused::BadSubject) }
    }

    /// That the token belongs to this attempt, and to the access token beside it.
    fn check_binding(&self, expected: &Expected<'_>, subject: &str) -> Result<(), Refused> {
        match expected.of {
            Of::SignIn { nonce } => match self.0.get("nonce") {
                None => return Err(Refused::MissingNonce),
                Some(Value::String(told))
                    if bool::from(told.as_bytes().ct_eq(nonce.as_bytes())) => {}
                Some(_) => return Err(Refused::WrongNonce),
            },
            Of::Refresh { subject: before, auth_time } => {
                let told = self.0.get("auth_time").and_then(seconds);
                let another_login = told.is_some() && auth_time.is_some() && told != auth_time;
                if subject != before || another_login {
                    return Err(Refused::OtherPerson);
                }
            }
        }
        let digest = digest::digest(&digest::SHA256, expected.access_token.as_bytes());
        let half = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]);
        match self.0.get("at_hash") {
            None => Ok(()),
            Some(Value::String(told)) if *told == half => Ok(()),
            Some(_) => Err(Refused::WrongAccessToken),
        }
    }

    /// A text for people: without control characters, and not longer than is shown.
    fn text(&self, claim: &str) -> Option<String> {
        let text: String = self.0.get(claim)?.as_str()?.trim().chars().take(MAX_TEXT).collect();
        (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
    }

    /// The name as most providers give it, or as Replit does.
    fn name(&self) -> Option<String> {
        let parts = ["first_name", "last_name"].iter().filter_map(|claim| self.text(claim));
        let parts = parts.collect::<Vec<_>>().join(" ");
        self.text("name")
            .or((!parts.is_empty()).then_some(parts))
            .or_else(|| self.text("preferred_username"))
            .or_else(|| self.text("username"))
    }
}

/// Seconds since 1970; RFC 7519 allows fractions.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates, and fractions do not count"
        )]
        (number.is_finite()).then_some(number as i64)
    })
}

#[cfg(test)]
mod tests;
