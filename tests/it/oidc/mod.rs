//! Sign-in against a real OpenID provider (npm `oidc-provider`), which can be made to lie.

mod chromium;
mod forgeries;
mod http;
mod keys;
mod provider;
mod refresh;
mod trouble;
mod ways;

use lux::{
    auth::oidc::{Begun, Finished, Providers, Refused, Start, Stopped},
    config::{Config, KeyOrigin, Overrides},
    db::Db,
    outbound::Outbound,
    seal::Sealer,
};
use secrecy::ExposeSecret;
use url::Url;

use provider::{Browser, Provider};

/// Where this Lux says it is; nothing listens there.
const ADDRESS: &str = "http://127.0.0.1:5000";

/// The library's part of the sign-in, on a database of its own.
struct Desk {
    db: Db,
    config: Config,
    folder: tempfile::TempDir,
    providers: Providers,
}

impl Desk {
    /// `more` is put into the configuration's file.
    async fn new(url: &str, provider: &Provider, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lux.toml");
        std::fs::write(&file, more).unwrap();
        let mut overrides = Overrides { file: Some(file), ..Overrides::default() };
        for (name, value) in [
            ("REPL_ID", provider::PUBLIC_CLIENT),
            ("ISSUER_URL", &provider.issuer),
            ("LUX_PUBLIC_URL", ADDRESS),
            ("CLIENT_SECRET", provider::SECRET),
        ] {
            overrides.environment.insert(name.to_owned(), value.to_owned());
        }
        let config = Config::load(overrides).unwrap();
        let db = Db::connect(url, 4).await.unwrap();
        let providers = Self::open(&config, &db, &folder);
        Self { db, config, folder, providers }
    }

    fn open(config: &Config, db: &Db, folder: &tempfile::TempDir) -> Providers {
        let keys = KeyOrigin::Own(folder.path().join("master.key"));
        let sealer = Sealer::open_keys(keys, true).unwrap();
        Providers::new(config, db.clone(), Outbound::new().unwrap(), sealer)
    }

    /// As after a restart: nothing of the provider is remembered.
    fn restart(&mut self) {
        self.providers = Self::open(&self.config, &self.db, &self.folder);
    }

    async fn begin(&self, name: &str) -> Result<Begun, Refused> {
        let start = Start { next: "/groups/7", ..Start::default() };
        self.providers.begin(name, start).await.map_err(refused)
    }

    async fn finish(&self, name: &str, back: &Url, begun: &Begun) -> Result<Finished, Refused> {
        let browser = Some(begun.browser.expose_secret());
        let query = back.query().unwrap_or_default();
        self.providers.finish(name, query, browser).await.map_err(refused)
    }

    /// A whole sign-in in a new browser.
    async fn sign_in(&self, name: &str) -> Result<Finished, Refused> {
        let begun = self.begin(name).await?;
        let back = Browser::default().walk(&begun.url, ADDRESS).await;
        self.finish(name, &back, &begun).await
    }

    async fn refusal(&self, name: &str) -> Refused {
        self.sign_in(name).await.map(drop).unwrap_err()
    }
}

fn refused(stopped: Stopped) -> Refused {
    match stopped {
        Stopped::Refused(refused) => refused,
        Stopped::Failed(error) => panic!("Lux itself failed: {error}"),
    }
}

/// The address with other parameters: those named are replaced, or taken out.
fn with(url: &Url, changes: &[(&str, Option<&str>)]) -> Url {
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(kept);
    for (name, value) in changes {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}
