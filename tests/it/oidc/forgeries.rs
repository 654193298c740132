//! ID tokens that are forged, one field each: every one is refused, and for its own reason.

use lux::auth::oidc::Refused;

use super::{Desk, Provider, provider::PUBLIC_CLIENT};
use crate::both::on_both;

/// How the token is forged, and what it has to be refused for. `None`: it is a good one.
const FORGERIES: [(&str, Option<Refused>); 36] = [
    ("claims", None),
    ("bad_signature", Some(Refused::BadSignature)),
    ("unknown_kid", Some(Refused::UnknownKey)),
    // There is one key.
    ("no_kid", None),
    ("embedded_jwk", Some(Refused::UnknownKey)),
    ("jku", Some(Refused::UnknownKey)),
    ("wrong_iss", Some(Refused::WrongIssuer)),
    ("iss_slash", Some(Refused::WrongIssuer)),
    ("missing_iss", Some(Refused::MissingIssuer)),
    ("wrong_aud", Some(Refused::WrongAudience)),
    ("missing_aud", Some(Refused::MissingAudience)),
    ("aud_array_ok", None),
    ("aud_extra_no_azp", Some(Refused::MissingAuthorizedParty)),
    ("aud_extra_azp_ok", Some(Refused::ForeignAudience)),
    ("azp_wrong", Some(Refused::WrongAuthorizedParty)),
    ("expired", Some(Refused::Expired)),
    ("exp_string", Some(Refused::BadExpiry)),
    ("missing_exp", Some(Refused::BadExpiry)),
    ("iat_future", Some(Refused::IssuedInFuture)),
    ("missing_iat", Some(Refused::BadIssuedAt)),
    ("nbf_future", Some(Refused::NotYetValid)),
    ("missing_sub", Some(Refused::BadSubject)),
    ("empty_sub", Some(Refused::BadSubject)),
    ("number_sub", Some(Refused::BadSubject)),
    ("wrong_nonce", Some(Refused::WrongNonce)),
    ("missing_nonce", Some(Refused::MissingNonce)),
    ("wrong_at_hash", Some(Refused::WrongAccessToken)),
    ("email_unverified", None),
    ("email_verified_string", None),
    ("alg_none", Some(Refused::WrongAlgorithm)),
    ("hs256_pubkey", Some(Refused::WrongAlgorithm)),
    ("rs512", Some(Refused::WrongAlgorithm)),
    ("ps256", Some(Refused::WrongAlgorithm)),
    ("crit", Some(Refused::CriticalHeader)),
    ("garbage", Some(Refused::MalformedToken)),
    ("absent", Some(Refused::NoToken)),
];

on_both! {
    async fn each_is_refused_for_its_own_reason(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        let good = desk.sign_in("replit_auth").await.unwrap().claims;
        assert_eq!((good.subject.as_str(), good.email_verified), ("40000001", true));
        assert_eq!(good.email.as_deref(), Some("ada@example.com"));
        assert_eq!(good.name.as_deref(), Some("Ada Byron"));
        for (mode, expected) in FORGERIES {
            provider.forge(mode).await;
            let ended = desk.sign_in("replit_auth").await.map(|finished| finished.claims);
            match (ended, expected) {
                (Ok(claims), None) => {
                    let unverified = mode.starts_with("email_");
                    assert_eq!(claims.email_verified, !unverified, "{mode}");
                }
                (ended, expected) => assert_eq!(ended.err(), expected, "{mode}"),
            }
        }
        // What the forger published himself was not even asked for.
        assert_eq!(provider.asked("jwks").await, 2);
    }

    /// Another audience is fine if it is configured, and the token was made for Lux.
    async fn other_audiences_are_configured(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let toml = format!(
            "[[sign_in.providers]]\nname = \"own\"\nissuer = \"{}\"\nclient_id = \"{}\"\n\
             audiences = [\"other\"]\n",
            provider.issuer, PUBLIC_CLIENT
        );
        let desk = Desk::new(url, &provider, &toml).await;
        provider.forge("aud_extra_azp_ok").await;
        desk.sign_in("own").await.unwrap();
        provider.forge("aud_extra_no_azp").await;
        assert_eq!(desk.refusal("own").await, Refused::MissingAuthorizedParty);
    }
}
