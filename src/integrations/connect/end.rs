//! Disconnecting: the tokens leave the database first, then the provider is told; the card stays.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::super::{
    Integrations, Kind,
    grant::{
        access_field, refresh_field,
        store::{self as grants, Given},
    },
    provider::{self, Place, Revoke},
    store,
};
use crate::{
    auth::{Caller, audit},
    error::{Error, Result},
    outbound::Outbound,
};

/// How long a provider may take to hear of it.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 16 << 10;
const TRIES: u32 = 3;

/// What became of a connection.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = IntegrationDisconnected)]
pub struct Disconnected {
    /// The provider is told to forget the consent. Not where another connection rests on it, or
    /// the provider has no way to do so.
    pub revoking: bool,
    /// Where a person takes the access away by hand.
    pub remove_at: &'static str,
}

impl Integrations {
    /// Disconnects what a person connected.
    pub async fn disconnect(
        &self,
        caller: &Caller,
        account: i64,
        kind: &'static Kind,
    ) -> Result<Disconnected> {
        let organization = caller.organization;
        let mut tx = self.app().db.begin().await?;
        let gone = store::disconnect(&mut tx, organization, account, kind.key).await?;
        let (id, grant) = gone.ok_or(Error::NotFound("connection"))?;
        let given = match grant {
            Some(grant) => grants::give_back(&mut tx, grant, "it was disconnected").await?,
            None => None,
        };
        let detail = json!({"provider": kind.key, "account": account});
        let subject = format!("integration {id}");
        let action = "integration.disconnected";
        audit::write(&mut tx, organization, caller, action, &subject, &detail).await?;
        tx.commit().await?;
        let of = self.registered(kind.provider);
        let revoking = given.is_some() && of.is_ok_and(|of| of.endpoints.revoke.is_some());
        if let Some(given) = given {
            give_back(self, given);
        }
        Ok(Disconnected { revoking, remove_at: kind.provider.remove_at })
    }

    /// Chooses the site or location that a connection serves at.
    pub async fn choose_place(
        &self,
        caller: &Caller,
        account: i64,
        kind: &'static Kind,
        place: &str,
    ) -> Result<()> {
        let organization = caller.organization;
        let mut tx = self.app().db.begin().await?;
        let found = store::places(&mut tx, organization, account, kind.key).await?;
        let (grant, places) = found.ok_or(Error::NotFound("connection"))?;
        let places: Vec<Place> = serde_json::from_str(&places).unwrap_or_default();
        let Some(place) = places.iter().find(|known| known.id == place) else {
            let names: Vec<&str> = places.iter().map(|place| place.id.as_str()).collect();
            return Err(Error::invalid(format!(
                "id: there is no such place; there are {}",
                names.join(", ")
            )));
        };
        grants::set_place(&mut tx, grant, place).await?;
        let detail = json!({"provider": kind.key, "place": place.name});
        let subject = format!("account {account}");
        audit::write(&mut tx, organization, caller, "integration.place", &subject, &detail).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Tells the provider in the background that a consent is over. It cannot be told twice what is
/// not there any more, so what fails is only noted: the access ends with its token.
pub(super) fn give_back(integrations: &Integrations, given: Given) {
    let this = integrations.clone();
    integrations.app().tasks.spawn(async move {
        for attempt in 1..=TRIES {
            match this.revoke(&given).await {
                Ok(()) => return,
                Err(error) if attempt == TRIES => {
                    let provider = given.provider.as_str();
                    tracing::warn!(provider, %error, "a consent was not revoked at its provider");
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(attempt.into())).await,
            }
        }
    });
}

/// A form to be posted.
fn form(outbound: &Outbound, url: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let kind = "application/x-www-form-urlencoded";
    outbound.request(Method::POST, url).header(header::CONTENT_TYPE, kind).body(body)
}

impl Integrations {
    async fn revoke(&self, given: &Given) -> Result<()> {
        let provider = provider::find(&given.provider)?;
        let of = self.registered(provider)?;
        let Some(url) = &of.endpoints.revoke else { return Ok(()) };
        let open = |field, sealed: &Option<String>| {
            sealed.as_deref().map(|sealed| self.app().sealer.open(field, sealed)).transpose()
        };
        let access = open(access_field(&given.row_name), &given.access_sealed)?;
        let refresh = open(refresh_field(&given.row_name), &given.refresh_sealed)?;
        // Of the two the one that lasts longer takes the other along.
        let Some(token) = refresh.as_ref().or(access.as_ref()) else { return Ok(()) };
        let outbound = &self.app().outbound;
        let access: &SecretString = access.as_ref().unwrap_or(token);
        let (id, secret) = (&of.client.id, of.client.secret.expose_secret());
        let request = match provider.revoke {
            Revoke::None => return Ok(()),
            Revoke::Form(_) => {
                let hint = if refresh.is_some() { "refresh_token" } else { "access_token" };
                let token = ("token", token.expose_secret());
                let client = [("client_id", id.as_str()), ("client_secret", secret)];
                form(outbound, url, &[token, client[0], client[1], ("token_type_hint", hint)])
            }
            Revoke::Token(_) => form(outbound, url, &[("token", token.expose_secret())]),
            Revoke::Bearer(_) => {
                let bearer = format!("Bearer {}", access.expose_secret());
                outbound.request(Method::POST, url).header(header::AUTHORIZATION, bearer)
            }
            Revoke::Github(_) => {
                let basic = STANDARD.encode(format!("{id}:{secret}"));
                outbound
                    .request(
                        Method::DELETE,
                        &url.replace("{client_id}", id).replace("%7Bclient_id%7D", id),
                    )
                    .header(header::AUTHORIZATION, format!("Basic {basic}"))
                    .header(header::ACCEPT, "application/vnd.github+json")
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(json!({"access_token": access.expose_secret()}).to_string())
            }
        };
        let answer = outbound.send(request, TIMEOUT, MAX_ANSWER).await?;
        // What it does not know any more is as revoked as can be.
        if answer.status.is_server_error() || answer.status.as_u16() == 429 {
            return Err(Error::Unavailable(format!("status {}", answer.status.as_u16())));
        }
        Ok(())
    }
}
