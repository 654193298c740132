//! The way to the provider and back: what is sent along, and who may come back with it.

use lux::auth::oidc::{Refused, Start};
use secrecy::ExposeSecret;

use super::{ADDRESS, Browser, Desk, Provider, parameter, provider::PUBLIC_CLIENT, refused, with};
use crate::both::on_both;

on_both! {
    async fn what_is_sent_along(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        let begun = desk.begin("replit_auth").await.unwrap();
        let sent = |name: &str| parameter(&begun.url, name).unwrap_or_default();
        assert!(begun.url.as_str().starts_with(&format!("{}/auth?", provider.issuer)));
        assert_eq!(sent("response_type"), "code");
        assert_eq!(sent("client_id"), PUBLIC_CLIENT);
        assert_eq!(sent("redirect_uri"), format!("{ADDRESS}/auth/replit_auth/authorized"));
        assert_eq!(sent("scope"), "openid email profile offline_access");
        assert_eq!(sent("prompt"), "login consent");
        assert_eq!(sent("code_challenge_method"), "S256");
        // 256 bits each, and none of them again.
        let other = desk.begin("replit_auth").await.unwrap();
        for name in ["state", "nonce", "code_challenge"] {
            assert_eq!(sent(name).len(), 43, "{name}");
            assert_ne!(Some(sent(name)), parameter(&other.url, name), "{name}");
        }
        assert_ne!(begun.browser.expose_secret(), other.browser.expose_secret());
        // What is kept tells nobody who reads the database how to end it.
        let rows: Vec<(String, String, String, String)> = desk
            .db
            .query("select state_hash, nonce, verifier, browser_hash from sign_in")
            .all()
            .await
            .unwrap();
        let kept = format!("{rows:?}");
        assert_eq!(rows.len(), 2);
        for secret in [sent("state"), sent("nonce"), begun.browser.expose_secret().to_owned()] {
            assert!(!kept.contains(&secret), "{kept}");
        }
    }

    async fn each_way_back_is_used_once(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        let begun = desk.begin("replit_auth").await.unwrap();
        let back = Browser::default().walk(&begun.url, ADDRESS).await;
        let finished = desk.finish("replit_auth", &back, &begun).await.unwrap();
        assert_eq!(finished.next, "/groups/7");
        assert!(finished.refresh.is_some());
        let again = desk.finish("replit_auth", &back, &begun).await;
        assert_eq!(again.err(), Some(Refused::UnknownState));

        // Two at once: one gets in.
        let begun = desk.begin("replit_auth").await.unwrap();
        let back = Browser::default().walk(&begun.url, ADDRESS).await;
        let both = futures_util::future::join_all(
            (0..8).map(|_| desk.finish("replit_auth", &back, &begun)),
        );
        let ended = both.await;
        assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 1);
        assert!(ended.iter().filter_map(|it| it.as_ref().err()).all(|it| *it == Refused::UnknownState));
    }

    async fn what_comes_back_is_distrusted(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        let state = |url| parameter(url, "state");
        for (changes, refused) in [
            (vec![("state", None)], Refused::UnknownState),
            (vec![("state", Some(""))], Refused::UnknownState),
            (vec![("state", Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))], Refused::UnknownState),
            (vec![("iss", None)], Refused::ResponseIssuerMissing),
            (vec![("iss", Some("https://evil.example/oidc"))], Refused::ResponseIssuerWrong),
            (vec![("iss", Some(""))], Refused::ResponseIssuerWrong),
            (vec![("code", None)], Refused::NoCode),
            (vec![("code", Some(""))], Refused::NoCode),
            (vec![("code", Some("AAAA"))], Refused::CodeRefused),
            (vec![("error", Some("access_denied"))], Refused::AccessDenied),
            (vec![("error", Some("temporarily_unavailable"))], Refused::ProviderDown),
            (vec![("error", Some("invalid_scope"))], Refused::ProviderRefused),
            (
                vec![("error", Some("access_denied")), ("iss", Some("https://evil.example"))],
                Refused::ResponseIssuerWrong,
            ),
        ] {
            let begun = desk.begin("replit_auth").await.unwrap();
            let back = Browser::default().walk(&begun.url, ADDRESS).await;
            let ended = desk.finish("replit_auth", &with(&back, &changes), &begun).await;
            assert_eq!(ended.err(), Some(refused), "{changes:?}");
        }
        for name in ["state", "code", "iss", "error"] {
            let begun = desk.begin("replit_auth").await.unwrap();
            let mut back = Browser::default().walk(&begun.url, ADDRESS).await;
            for _ in 0..2 {
                back.query_pairs_mut().append_pair(name, "x");
            }
            let ended = desk.finish("replit_auth", &back, &begun).await;
            assert_eq!(ended.err(), Some(Refused::RepeatedParameter), "{name}");
        }
        // The code of another attempt: its verifier is another one.
        let (one, other) = (desk.begin("replit_auth").await.unwrap(), desk.begin("replit_auth").await.unwrap());
        let back = Browser::default().walk(&one.url, ADDRESS).await;
        let swapped = with(&back, &[("state", state(&other.url).as_deref())]);
        let ended = desk.finish("replit_auth", &swapped, &other).await;
        assert_eq!(ended.err(), Some(Refused::CodeRefused));
    }

    async fn another_browser_gets_nothing(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        for stranger in [None, Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Some("")] {
            let begun = desk.begin("replit_auth").await.unwrap();
            let back = Browser::default().walk(&begun.url, ADDRESS).await;
            let before = provider.asked("token").await;
            let query = back.query().unwrap();
            let ended = desk.providers.finish("replit_auth", query, stranger).await;
            assert_eq!(ended.map_err(refused).err(), Some(Refused::OtherBrowser));
            // Nor does the right one, now.
            let ended = desk.finish("replit_auth", &back, &begun).await;
            assert_eq!(ended.err(), Some(Refused::UnknownState));
            assert_eq!(provider.asked("token").await, before);
        }
        // Two windows of one browser do not end each other.
        let one = desk.begin("replit_auth").await.unwrap();
        let cookie = one.browser.expose_secret();
        let start = Start { next: "/", browser: Some(cookie), ..Start::default() };
        let two = desk.providers.begin("replit_auth", start).await.map_err(refused).unwrap();
        assert_eq!(two.browser.expose_secret(), cookie);
        for begun in [&one, &two] {
            let back = Browser::default().walk(&begun.url, ADDRESS).await;
            desk.finish("replit_auth", &back, begun).await.unwrap();
        }
        // A cookie that Lux could not have made is not taken over.
        let start = Start { browser: Some("planted"), ..Start::default() };
        let three = desk.providers.begin("replit_auth", start).await.map_err(refused).unwrap();
        assert_ne!(three.browser.expose_secret(), "planted");
    }

    async fn a_sign_in_that_takes_too_long(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let desk = Desk::new(url, &provider, "").await;
        let begun = desk.begin("replit_auth").await.unwrap();
        let back = Browser::default().walk(&begun.url, ADDRESS).await;
        let age = async |minutes| {
            let at = lux::clock::now() - chrono::TimeDelta::minutes(minutes);
            desk.db.query("update sign_in set created_at = $1").bind(at).run().await.unwrap();
        };
        age(11).await;
        let ended = desk.finish("replit_auth", &back, &begun).await;
        assert_eq!(ended.err(), Some(Refused::TooLate));
        // What nobody comes back from is removed.
        desk.begin("replit_auth").await.unwrap();
        age(11).await;
        desk.begin("replit_auth").await.unwrap();
        let pending: i64 = desk.db.query("select count(*) from sign_in").scalar().await.unwrap();
        assert_eq!(pending, 1);
    }

    /// One provider cannot be made to speak for another.
    async fn two_providers_are_not_mixed_up(url: &str) {
        let Some(honest) = Provider::start().await else { return };
        let Some(other) = Provider::start().await else { return };
        let toml = format!(
            "[[sign_in.providers]]\nname = \"other\"\nissuer = \"{}\"\nclient_id = \"{PUBLIC_CLIENT}\"\n",
            other.issuer
        );
        let desk = Desk::new(url, &honest, &toml).await;
        assert_eq!(desk.providers.list().map(|(name, _)| name).collect::<Vec<_>>(), ["replit_auth", "other"]);
        let claims = desk.sign_in("other").await.unwrap().claims;
        assert_eq!(claims.issuer, other.issuer);
        // Begun with the honest one, ended at the other's address: the code stays here.
        let begun = desk.begin("replit_auth").await.unwrap();
        let back = Browser::default().walk(&begun.url, ADDRESS).await;
        let ended = desk.finish("other", &back, &begun).await;
        assert_eq!(ended.err(), Some(Refused::OtherProvider));
        // Begun with the other, which sends the browser on to the honest one with its own state.
        let begun = desk.begin("other").await.unwrap();
        let state = parameter(&begun.url, "state");
        let honestly = desk.begin("replit_auth").await.unwrap();
        let back = Browser::default().walk(&honestly.url, ADDRESS).await;
        let mixed = with(&back, &[("state", state.as_deref())]);
        let before = other.asked("token").await;
        let ended = desk.finish("other", &mixed, &begun).await;
        assert_eq!(ended.err(), Some(Refused::ResponseIssuerWrong));
        assert_eq!(other.asked("token").await, before);
        let gone = desk.providers.begin("nobody", Start::default()).await;
        assert!(matches!(gone, Err(lux::auth::oidc::Stopped::Failed(lux::error::Error::NotFound(_)))));
    }

    async fn the_session_ends_at_the_provider(url: &str) {
        let Some(provider) = Provider::start().await else { return };
        let mut desk = Desk::new(url, &provider, "").await;
        let end = desk.providers.end_session_url("replit_auth").await.unwrap();
        assert!(end.as_str().starts_with(&format!("{}/session/end?", provider.issuer)));
        assert_eq!(parameter(&end, "client_id").as_deref(), Some(PUBLIC_CLIENT));
        let root = format!("{ADDRESS}/");
        assert_eq!(parameter(&end, "post_logout_redirect_uri"), Some(root));
        desk.restart();
        let none = serde_json::json!({ "end_session_endpoint": null });
        provider.control("describe", &none).await;
        assert_eq!(desk.providers.end_session_url("replit_auth").await, None);
    }
}
