//! Applications as people see and change them: the API and the pages do it by these.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    Address, Apps, Change, Scrub, Wish,
    store::{self, Added, Key, Listed},
};
use crate::{
    auth::{Caller, OrganizationId},
    config::Config,
    db::Db,
    error::{Error, Result},
};

/// An application.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ShownApp)]
pub struct Shown {
    pub id: i64,
    pub name: String,
    pub base_url: Option<String>,
    pub allowed_origins: Vec<String>,
    pub scrub: Scrub,
    /// What applies: its own quota, or `[capture] quota`.
    pub events_per_minute: i64,
    /// Whether `[[apps]]` of lux.toml lists it, and so says its base_url.
    pub configured: bool,
    pub created_at: DateTime<Utc>,
    pub archived_at: Option<DateTime<Utc>>,
    /// What its SDK is given: `http://KEY@HOST:PORT/ID` with the newest live key; null if
    /// there is none.
    pub dsn: Option<String>,
}

/// A key with the DSN that holds it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ShownKey {
    #[serde(flatten)]
    pub key: Key,
    pub dsn: String,
}

impl Apps {
    fn shown(&self, address: &Address, organization: OrganizationId, listed: Listed) -> Shown {
        let default = i64::from(self.default_quota().events_per_minute);
        Shown {
            id: listed.id,
            configured: self.is_configured(organization, &listed.name),
            dsn: listed.public_key.map(|key| address.dsn(listed.id, &key)),
            name: listed.name,
            base_url: listed.base_url,
            allowed_origins: listed.allowed_origins.0,
            scrub: listed.scrub.0,
            events_per_minute: listed.events_per_minute.unwrap_or(default),
            created_at: listed.created_at,
            archived_at: listed.archived_at,
        }
    }

    /// The applications by name, at most 1000; archived ones only if they are wanted.
    pub async fn listed(
        &self,
        db: &Db,
        config: &Config,
        organization: OrganizationId,
        archived: bool,
    ) -> Result<Vec<Shown>> {
        let listed = store::list(db, organization, archived).await?;
        let address = Address::of(config);
        Ok(listed.into_iter().map(|listed| self.shown(&address, organization, listed)).collect())
    }

    /// One application; of another organization there is none.
    pub async fn find(
        &self,
        db: &Db,
        config: &Config,
        organization: OrganizationId,
        id: i64,
    ) -> Result<Shown> {
        let listed = store::find(db, organization, id).await?.ok_or(Error::NotFound("app"))?;
        Ok(self.shown(&Address::of(config), organization, listed))
    }

    /// Adds an application with its first key. One of the name that was archived comes back.
    pub async fn add(
        &self,
        db: &Db,
        config: &Config,
        caller: &Caller,
        wish: Wish,
    ) -> Result<Shown> {
        let wish = wish.check()?;
        let id = match store::add(db, caller.organization, caller, &wish).await? {
            Added::New(id) => id,
            Added::Known(id) => {
                let detail = format!("there is an application \"{}\" already: {id}", wish.name);
                return Err(Error::Conflict(detail));
            }
        };
        self.changed(db).await?;
        self.find(db, config, caller.organization, id).await
    }

    /// Changes an application; what is left out stays as it is.
    pub async fn change(
        &self,
        db: &Db,
        config: &Config,
        caller: &Caller,
        id: i64,
        change: Change,
    ) -> Result<Shown> {
        let change = change.check()?;
        let before = self.find(db, config, caller.organization, id).await?;
        if before.configured && change.base_url.is_some() && change.base_url != before.base_url {
            let detail = "base_url is what [[apps]] of lux.toml says; change it there";
            return Err(Error::Conflict(detail.to_owned()));
        }
        store::change(db, caller.organization, caller, id, &change).await?;
        self.changed(db).await?;
        self.find(db, config, caller.organization, id).await
    }

    /// Ends an application: its keys are revoked, its events stay.
    pub async fn archive(
        &self,
        db: &Db,
        config: &Config,
        caller: &Caller,
        id: i64,
    ) -> Result<Shown> {
        if self.find(db, config, caller.organization, id).await?.configured {
            let detail = "[[apps]] of lux.toml lists this application; remove it there, restart, \
                          then archive it";
            return Err(Error::Conflict(detail.to_owned()));
        }
        store::archive(db, caller.organization, caller, id).await?;
        self.changed(db).await?;
        self.find(db, config, caller.organization, id).await
    }

    /// The keys of an application, the newest first, revoked ones included.
    pub async fn keys(
        &self,
        db: &Db,
        config: &Config,
        organization: OrganizationId,
        id: i64,
    ) -> Result<Vec<ShownKey>> {
        self.find(db, config, organization, id).await?;
        let address = Address::of(config);
        let keys = store::keys(db, id).await?;
        Ok(keys.into_iter().map(|key| with_dsn(&address, id, key)).collect())
    }

    /// Makes another key, so that one can be replaced without a gap.
    pub async fn make_key(
        &self,
        db: &Db,
        config: &Config,
        caller: &Caller,
        id: i64,
        name: &str,
    ) -> Result<ShownKey> {
        let key = store::make_key(db, caller.organization, caller, id, name).await?;
        self.changed(db).await?;
        Ok(with_dsn(&Address::of(config), id, key))
    }

    /// Ends a key: this server refuses it at once, replicas within two seconds.
    pub async fn revoke_key(&self, db: &Db, caller: &Caller, id: i64, key: i64) -> Result<()> {
        store::revoke_key(db, caller.organization, caller, id, key).await?;
        self.changed(db).await
    }
}

fn with_dsn(address: &Address, app: i64, key: Key) -> ShownKey {
    ShownKey { dsn: address.dsn(app, &key.public_key), key }
}
