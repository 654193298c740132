//! A provider that is down, slow, set up otherwise, or not what it says it is.

use lux::auth::oidc::Refused;
use serde_json::{Value, json};

use super::{Desk, Provider, provider::PUBLIC_CLIENT};
use crate::both::on_both;

const DISCOVERY: &str = "/.well-known/openid-configuration";

on_both! {
    async fn a_description_that_does_not_fit(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let mut desk = Desk::new(url, &provider, "").await;
        for (described, refused) in [
            (json!({ "issuer": format!("{}/", provider.issuer) }), Refused::DiscoveryIssuer),
            (json!({ "issuer": "https://replit.com/oidc" }), Refused::DiscoveryIssuer),
            (json!({ "issuer": null }), Refused::DiscoveryInvalid),
            (json!({ "token_endpoint": "https://evil.example/token" }), Refused::DiscoveryEndpoint),
            (json!({ "token_endpoint": null }), Refused::DiscoveryInvalid),
            (json!({ "jwks_uri": "http://10.0.0.1/jwks" }), Refused::DiscoveryEndpoint),
            (json!({ "code_challenge_methods_supported": ["plain"] }), Refused::NoPkce),
            (json!({ "code_challenge_methods_supported": null }), Refused::NoPkce),
            (json!({ "id_token_signing_alg_values_supported": ["HS256"] }), Refused::NoRs256),
        ] {
            provider.control("describe", &described).await;
            desk.restart();
            assert_eq!(desk.begin("replit_auth").await.err(), Some(refused), "{described}");
        }
        provider.control("describe", &json!({})).await;
        desk.sign_in("replit_auth").await.unwrap();
    }

    async fn a_provider_that_is_down(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let mut desk = Desk::new(url, &provider, "").await;
        let elsewhere = format!("{}{DISCOVERY}?moved", provider.issuer);
        for (fault, refused) in [
            (json!({ "status": 503 }), Refused::ProviderDown),
            (json!({ "status": 429 }), Refused::ProviderDown),
            (json!({ "drop": true }), Refused::ProviderDown),
            (json!({ "truncate": true }), Refused::ProviderDown),
            (json!({ "status": 404 }), Refused::DiscoveryInvalid),
            (json!({ "flood": 70_000 }), Refused::DiscoveryInvalid),
            // It would be a whole description, were it followed.
            (json!({ "redirect": elsewhere }), Refused::DiscoveryInvalid),
        ] {
            provider.control("fault", &at(DISCOVERY, &fault)).await;
            desk.restart();
            assert_eq!(desk.begin("replit_auth").await.err(), Some(refused), "{fault}");
        }
        desk.sign_in("replit_auth").await.unwrap();
        // Known as it was an instant ago, it is not even asked.
        provider.control("fault", &json!({ "path": DISCOVERY, "drop": true })).await;
        desk.sign_in("replit_auth").await.unwrap();
        for fault in [json!({ "status": 500 }), json!({ "drop": true }), json!({ "truncate": true })] {
            provider.control("reset", &json!({})).await;
            desk.restart();
            provider.control("fault", &at("/jwks", &fault)).await;
            assert_eq!(desk.refusal("replit_auth").await, Refused::ProviderDown, "{fault}");
        }
    }

    async fn a_code_is_sent_once(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        desk.sign_in("replit_auth").await.unwrap();
        let elsewhere = format!("{}/token?moved", provider.issuer);
        for (fault, refused) in [
            (json!({ "status": 503 }), Refused::ProviderDown),
            (json!({ "drop": true }), Refused::ProviderDown),
            (json!({ "truncate": true }), Refused::ProviderDown),
            (json!({ "flood": 70_000 }), Refused::AnswerInvalid),
            (json!({ "redirect": elsewhere }), Refused::AnswerInvalid),
            (json!({ "status": 400, "error": "invalid_grant" }), Refused::CodeRefused),
            (json!({ "status": 401, "error": "invalid_client" }), Refused::ClientRefused),
            (json!({ "status": 400, "error": "whatever" }), Refused::ProviderRefused),
        ] {
            let before = provider.asked("token").await;
            provider.control("fault", &at("/token", &fault)).await;
            assert_eq!(desk.refusal("replit_auth").await, refused, "{fault}");
            assert_eq!(provider.asked("token").await, before + 1, "{fault}");
        }
        let pending: i64 = desk.db.query("select count(*) from sign_in").scalar().await.unwrap();
        assert_eq!(pending, 0);
    }

    async fn a_provider_that_does_not_end_its_answer(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        provider.control("fault", &json!({ "path": "/token", "delay": 600_000 })).await;
        assert_eq!(desk.refusal("replit_auth").await, Refused::ProviderDown);
        assert_eq!(provider.asked("token").await, 1);
    }

    async fn clients_with_a_secret(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let entry = |name: &str, client: &str, secret: &str| {
            format!(
                "[[sign_in.providers]]\nname = \"{name}\"\nissuer = \"{}\"\n\
                 client_id = \"{client}\"\n{secret}\n",
                provider.issuer
            )
        };
        let known = "client_secret_env = \"CLIENT_SECRET\"";
        let other = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(other.path(), "another\n").unwrap();
        let other = format!("client_secret_file = \"{}\"", other.path().display());
        let toml = [
            entry("basic", "confidential", known),
            entry("post", "confidential-post", known),
            entry("wrong", "confidential", &other),
            entry("stranger", "nobody", ""),
            entry("public", PUBLIC_CLIENT, "scopes = [\"openid\", \"email\", \"offline_access\"]"),
        ];
        let mut desk = Desk::new(url, &provider, &toml.concat()).await;
        assert!(desk.sign_in("basic").await.unwrap().refresh.is_none());
        assert!(desk.sign_in("public").await.unwrap().refresh.is_some());
        assert_eq!(desk.refusal("wrong").await, Refused::ClientRefused);
        let methods = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
        provider.control("describe", &methods).await;
        desk.restart();
        desk.sign_in("post").await.unwrap();
    }
}

fn at(path: &str, fault: &Value) -> Value {
    let mut fault = fault.clone();
    fault["path"] = json!(path);
    fault["times"] = json!(1);
    fault
}
