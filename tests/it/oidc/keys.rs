//! The provider's keys change; and tokens that name keys which do not exist.

use lux::auth::oidc::Refused;
use serde_json::json;

use super::{Desk, Provider};
use crate::both::on_both;

on_both! {
    async fn the_next_sign_in_works_after_a_rotation(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let mut desk = Desk::new(url, &provider, "").await;
        for mode in ["overlap", "hard", "publish"] {
            desk.restart();
            desk.sign_in("replit_auth").await.unwrap();
            provider.control("rotate", &json!({ "mode": mode })).await;
            let before = provider.asked("jwks").await;
            desk.sign_in("replit_auth").await.unwrap();
            let again = u64::from(mode != "publish");
            assert_eq!(provider.asked("jwks").await, before + again, "{mode}");
            desk.sign_in("replit_auth").await.unwrap();
            assert_eq!(provider.asked("jwks").await, before + again, "{mode}");
        }
        // With several keys, a token has to name its own.
        desk.restart();
        provider.forge("no_kid").await;
        assert_eq!(desk.refusal("replit_auth").await, Refused::KeyNotNamed);
    }

    async fn unknown_keys_do_not_make_lux_ask(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        desk.sign_in("replit_auth").await.unwrap();
        let before = provider.asked("jwks").await;
        provider.control("forge", &json!({ "mode": "unknown_kid" })).await;
        for _ in 0..12 {
            let many = (0..8).map(|_| desk.refusal("replit_auth"));
            for refused in futures_util::future::join_all(many).await {
                assert_eq!(refused, Refused::UnknownKey);
            }
        }
        for _ in 0..4 {
            assert_eq!(desk.refusal("replit_auth").await, Refused::UnknownKey);
        }
        assert_eq!(provider.asked("jwks").await, before + 1);
        // Known keys are found all the while.
        provider.control("forge", &json!({})).await;
        desk.sign_in("replit_auth").await.unwrap();
        assert_eq!(provider.asked("jwks").await, before + 1);
        assert_eq!(provider.asked("discovery").await, 1);
    }

    async fn a_failed_fetch_keeps_the_keys(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        desk.sign_in("replit_auth").await.unwrap();
        provider.control("fault", &json!({ "path": "/jwks", "status": 500 })).await;
        provider.forge("unknown_kid").await;
        assert_eq!(desk.refusal("replit_auth").await, Refused::ProviderDown);
        desk.sign_in("replit_auth").await.unwrap();
    }
}
