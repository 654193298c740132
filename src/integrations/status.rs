//! How connections are, as cards and programs show it. A card never goes away: what is not, or no
//! longer, connected says so, and one that cannot be read takes no other along.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{
    Integrations, KINDS, Kind, Status,
    grant::shown,
    provider::Place,
    store::{self, Shown},
};
use crate::{
    auth::OrganizationId,
    clock,
    db::Db,
    error::{Error, Result},
};

/// How long before the end of a consent that cannot be prolonged it is said.
const WARN: TimeDelta = TimeDelta::days(14);

/// One connection, or that there is none. The field names are those of the first versions.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IntegrationCard)]
pub struct Card {
    /// Names the connection to the routes about duties; `null` if there never was one.
    pub id: Option<i64>,
    /// Whose it is.
    pub user_id: Option<i64>,
    /// "google_calendar"
    pub provider: &'static str,
    pub label: &'static str,
    pub purpose: &'static str,
    /// Lux is registered with the provider.
    pub configured: bool,
    pub connected: bool,
    #[schema(inline)]
    pub status: Option<Status>,
    pub username: Option<String>,
    pub email: Option<String>,
    pub avatar_url: Option<String>,
    pub name: Option<String>,
    /// The site, workspace or location that it works in.
    pub place: Option<Place>,
    /// Those to choose from, if there are several and none was chosen.
    pub places: Vec<Place>,
    pub connected_at: Option<DateTime<Utc>>,
    pub disconnected_at: Option<DateTime<Utc>>,
    /// When the access token ends; Lux renews it before.
    pub token_expiry: Option<DateTime<Utc>>,
    /// When the consent itself ends, however often its token is renewed, if that is soon.
    pub consent_ends_at: Option<DateTime<Utc>>,
    pub last_refresh_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
    pub last_error_at: Option<DateTime<Utc>>,
    /// Failures in a row.
    pub error_count: i64,
    pub scopes: Vec<String>,
    pub missing_scopes: Vec<&'static str>,
    /// A person has to connect it again.
    pub needs_reauth: bool,
    /// The address to register in the provider's console.
    pub callback_url: Option<String>,
    /// That console.
    pub console: &'static str,
}

impl Card {
    /// In one or two words, for people.
    pub fn word(&self) -> &'static str {
        match (self.connected, self.status) {
            (false, _) if !self.configured => "Not configured",
            (false, _) | (true, None) => "Not connected",
            (true, Some(Status::Active)) if !self.places.is_empty() => "Choose a place",
            (true, Some(Status::Active)) if self.needs_reauth => "Permission missing",
            (true, Some(Status::Active)) => "Connected",
            (true, Some(Status::Expired)) => "Sign-in expired",
            (true, Some(Status::Revoked)) => "Revoked",
            (true, Some(Status::Error)) => "Error",
        }
    }

    /// Whether somebody has to do something about it: error, three failures in a row, or over.
    pub fn is_problematic(&self, now: DateTime<Utc>) -> bool {
        self.connected
            && (self.status != Some(Status::Active)
                || self.error_count >= 3
                || self.needs_reauth
                || !self.places.is_empty()
                || self.token_expiry.is_some_and(|at| at < now))
    }
}

/// All cards of a person, in the order in which they are shown.
pub async fn cards(
    integrations: &Integrations,
    organization: OrganizationId,
    account: i64,
) -> Result<Vec<Card>> {
    let rows = store::shown(&integrations.app().db, organization, Some(account)).await?;
    Ok(KINDS
        .iter()
        .map(|kind| card(integrations, kind, rows.iter().find(|row| row.kind == kind.key)))
        .collect())
}

/// Everything that anybody of the organization has connected, or had.
pub(super) async fn all(
    integrations: &Integrations,
    organization: OrganizationId,
) -> Result<Vec<Card>> {
    let rows = store::shown(&integrations.app().db, organization, None).await?;
    let known = rows.iter().filter_map(|row| Some((Kind::find(&row.kind)?, row)));
    Ok(known.map(|(kind, row)| card(integrations, kind, Some(row))).collect())
}

/// One card of a person.
pub(super) async fn one(
    integrations: &Integrations,
    organization: OrganizationId,
    account: i64,
    kind: &'static Kind,
) -> Result<Card> {
    let all = cards(integrations, organization, account).await?;
    all.into_iter().find(|card| card.provider == kind.key).ok_or(Error::NotFound("provider"))
}

/// A person and what they connected.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IntegrationPerson)]
pub struct Person {
    pub user_id: i64,
    pub name: String,
    pub email: Option<String>,
    /// By the provider's name in answers: "googleCalendar".
    #[schema(value_type = std::collections::HashMap<String, Card>)]
    pub integrations: BTreeMap<&'static str, Card>,
}

/// Everybody who could connect something, with what they did; who connected nothing as well.
pub async fn people(
    integrations: &Integrations,
    organization: OrganizationId,
) -> Result<Vec<Person>> {
    let db = &integrations.app().db;
    let rows = store::shown(db, organization, None).await?;
    let people = store::people(db, organization).await?;
    Ok(people
        .into_iter()
        .map(|person| {
            let own = |kind: &Kind| {
                rows.iter().find(|row| row.account_id == person.id && row.kind == kind.key)
            };
            let all =
                KINDS.iter().map(|kind| (kind.answer_key, card(integrations, kind, own(kind))));
            Person {
                user_id: person.id,
                name: person.name.clone(),
                email: person.email.clone(),
                integrations: all.collect(),
            }
        })
        .collect())
}

fn card(integrations: &Integrations, kind: &'static Kind, row: Option<&Shown>) -> Card {
    let empty = Card {
        provider: kind.key,
        label: kind.label,
        purpose: kind.purpose,
        configured: integrations.is_registered(kind.provider),
        callback_url: integrations.redirect_uri(kind).ok(),
        console: kind.provider.console,
        ..Card::default()
    };
    let Some(row) = row else { return empty };
    let now = clock::now();
    let status = shown(row.status, row.expires_at, row.can_refresh, now);
    let missing = kind.missing(&row.granted_scopes);
    let places: Vec<Place> = serde_json::from_str(&row.places).unwrap_or_default();
    let ends_at = kind.provider.lasts.and_then(|lasts| TimeDelta::from_std(lasts).ok());
    let ends_at = ends_at.map(|lasts| row.consented_at + lasts);
    Card {
        id: Some(row.id),
        user_id: Some(row.account_id),
        connected: row.is_connected,
        status: Some(status),
        username: row.username.clone(),
        email: row.email.clone(),
        avatar_url: row.avatar_url.clone(),
        name: row.name.clone(),
        place: row.place_id.clone().map(|id| Place {
            name: row.place_name.clone().unwrap_or_else(|| id.clone()),
            url: row.place_url.clone(),
            id,
        }),
        places: if row.place_id.is_some() { Vec::new() } else { places },
        connected_at: Some(row.connected_at),
        disconnected_at: row.disconnected_at,
        token_expiry: row.expires_at.filter(|_| row.is_connected),
        consent_ends_at: ends_at.filter(|at| *at - now < WARN),
        last_refresh_at: row.refreshed_at,
        last_used_at: row.used_at,
        last_error: row.last_error.clone(),
        last_error_at: row.last_error_at,
        error_count: row.error_count,
        scopes: row.granted_scopes.split_whitespace().map(str::to_owned).collect(),
        needs_reauth: row.is_connected
            && (!missing.is_empty() || matches!(status, Status::Expired | Status::Revoked)),
        missing_scopes: if row.is_connected { missing } else { Vec::new() },
        ..empty
    }
}

/// How one connection is, for those who look after all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub id: i64,
    pub label: &'static str,
    /// Who connected it.
    pub account: i64,
    pub status: Status,
    pub error_count: i64,
    pub last_error: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
    /// A person has to connect it again.
    pub needs_reauth: bool,
    pub missing: Vec<&'static str>,
    /// A place has to be chosen.
    pub lacks_place: bool,
}

impl Standing {
    /// Whether somebody has to do something about it.
    pub fn is_problematic(&self) -> bool {
        self.status != Status::Active
            || self.error_count >= 3
            || self.needs_reauth
            || self.lacks_place
    }

    /// What is wrong, and what to do about it.
    pub fn advice(&self) -> String {
        let label = self.label;
        let why = self.last_error.as_deref().unwrap_or("its provider did not say why");
        if !self.missing.is_empty() {
            return format!(
                "{label} was not granted {}: connect it again",
                self.missing.join(", ")
            );
        }
        if self.lacks_place {
            return format!("{label} has several places to work in: choose one");
        }
        match self.status {
            Status::Expired | Status::Revoked => format!("connect {label} again: {why}"),
            Status::Error => format!("{label} fails: {why}"),
            Status::Active if self.error_count > 0 => {
                format!("{label} failed {} times in a row: {why}", self.error_count)
            }
            Status::Active => format!("{label} works"),
        }
    }
}

/// How the connections of an organization are; of all organizations if none is named.
pub async fn standing(db: &Db, organization: Option<OrganizationId>) -> Result<Vec<Standing>> {
    let now = clock::now();
    let rows = store::standing(db, organization).await?;
    let standing = rows.into_iter().filter_map(|row| {
        let kind = Kind::find(&row.kind)?;
        let status = shown(row.status, row.expires_at, row.can_refresh, now);
        let missing = kind.missing(&row.granted_scopes);
        Some(Standing {
            id: row.id,
            label: kind.label,
            account: row.account_id,
            error_count: row.error_count,
            last_error: row.last_error,
            expires_at: row.expires_at,
            needs_reauth: !missing.is_empty()
                || matches!(status, Status::Expired | Status::Revoked),
            missing,
            lacks_place: row.place_id.is_none() && row.places.len() > 2,
            status,
        })
    });
    Ok(standing.collect())
}

impl Integrations {
    /// Asks the provider who it is, with a token that is fresh.
    pub async fn test(
        &self,
        organization: OrganizationId,
        account: i64,
        kind: &'static Kind,
    ) -> Result<super::provider::Identity, super::Trouble> {
        let id = store::id_of(&self.app().db, organization, account, kind.key).await?;
        let id = id.ok_or(super::Trouble::NotConnected(kind.label))?;
        self.connection(organization, id).await?.identify().await
    }

    /// Renews the token now, whether or not it has to be.
    pub async fn renew(
        &self,
        organization: OrganizationId,
        account: i64,
        kind: &'static Kind,
    ) -> Result<(), super::Trouble> {
        let id = store::id_of(&self.app().db, organization, account, kind.key).await?;
        let id = id.ok_or(super::Trouble::NotConnected(kind.label))?;
        self.connection(organization, id).await?.renew().await
    }
}
