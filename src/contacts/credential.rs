//! Who may post to the webhook: user names and passwords that Lux makes, several at once, so
//! that one can take over from another.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use subtle::{Choice, ConstantTimeEq};

use super::merge::tidy;
use crate::{
    auth::{OrganizationId, audit, secret},
    clock, config,
    db::{self, Db},
    error::{Error, Result},
};

/// How long what was right is believed without asking the database.
const REMEMBERED: Duration = Duration::from_secs(2);
/// How many are remembered.
const MOST: usize = 1000;
/// What an unknown user's password is compared with, so that it takes as long.
const NOBODY: [u8; 32] = [0; 32];

/// A credential as it is listed; the password is told once, when it is made.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = WebhookCredential)]
pub struct Credential {
    pub id: i64,
    pub name: String,
    pub username: String,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A credential that was just made.
#[derive(Debug)]
pub struct Made {
    pub id: i64,
    pub username: String,
    pub password: SecretString,
}

/// Makes a credential; `name` tells it from others.
pub async fn create(
    db: &Db,
    organization: OrganizationId,
    actor: audit::Actor<'_>,
    name: &str,
) -> Result<Made> {
    let name = tidy(name, 60);
    if name.is_empty() {
        return Err(Error::invalid("name: give the credential a name, such as \"zapier\""));
    }
    // None of its 43 characters has a meaning to Zapier.
    let (user, password) = (secret::random()?, secret::random()?);
    let username = format!("lux-{}", &user[..12]);
    let mut tx = db.begin().await?;
    let id: i64 = tx
        .query(
            "insert into webhook_credential (organization_id, name, username, secret_hash, made_by,
                 created_at)
             values ($1, $2, $3, $4, $5, $6) returning id",
        )
        .bind(organization)
        .bind(&name)
        .bind(&username)
        .bind(URL_SAFE_NO_PAD.encode(sha256(password.as_bytes())))
        .bind(actor.name)
        .bind(clock::now())
        .scalar()
        .await
        .map_err(|error| {
            if db::is_duplicate(&error) {
                Error::Conflict(format!(
                    "there is a credential {name:?} already; choose another name"
                ))
            } else {
                error.into()
            }
        })?;
    let subject = format!("webhook_credential {id}");
    let detail = json!({"name": name});
    audit::write(&mut tx, organization, actor, "webhook_credential.created", &subject, &detail)
        .await?;
    tx.commit().await?;
    Ok(Made { id, username, password: password.into() })
}

/// All credentials, those that hold first.
pub async fn list(db: &Db, organization: OrganizationId) -> db::Result<Vec<Credential>> {
    db.query(
        "select id, name, username, made_by, created_at, last_used_at, revoked_at
         from webhook_credential where organization_id = $1
         order by revoked_at is not null, id limit 200",
    )
    .bind(organization)
    .all()
    .await
}

/// Ends a credential; within two seconds no replica takes it any more.
pub async fn revoke(
    db: &Db,
    organization: OrganizationId,
    actor: audit::Actor<'_>,
    id: i64,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let name: Option<(String,)> = tx
        .query(
            "update webhook_credential set revoked_at = $3, name = name || ' (' || $4 || ')'
             where organization_id = $1 and id = $2 and revoked_at is null returning name",
        )
        .bind(organization)
        .bind(id)
        .bind(clock::now())
        .bind(id.to_string())
        .optional()
        .await?;
    let (name,) = name.ok_or(Error::NotFound("credential"))?;
    let subject = format!("webhook_credential {id}");
    let detail = json!({"name": name});
    audit::write(&mut tx, organization, actor, "webhook_credential.revoked", &subject, &detail)
        .await?;
    Ok(tx.commit().await?)
}

/// Who posts, as far as the activity of a contact tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    pub organization: OrganizationId,
    /// The credential's name.
    pub name: String,
}

/// Recognises user names with passwords. What was right lately is remembered for two seconds.
#[derive(Debug, Default)]
pub(super) struct Guard(Mutex<HashMap<[u8; 32], (Instant, Sender)>>);

impl Guard {
    /// Who a header `Authorization: Basic …` belongs to.
    pub(super) async fn recognise(
        &self,
        db: &Db,
        config: &config::Contacts,
        header: &str,
    ) -> Result<Option<Sender>> {
        let Some((user, password)) = basic(header) else { return Ok(None) };
        let whole = sha256(format!("{user}\0{password}").as_bytes());
        if let Some(sender) = self.remembered(&whole) {
            return Ok(Some(sender));
        }
        // Both ways are gone in any case, so that nothing is told by the time it takes.
        let configured = configured(config, &user, &password);
        let found = stored(db, &user, &password).await?;
        let sender = found.or_else(|| {
            bool::from(configured)
                .then(|| Sender { organization: OrganizationId::FIRST, name: "zapier".to_owned() })
        });
        if let Some(sender) = &sender {
            self.remember(whole, sender.clone());
        }
        Ok(sender)
    }

    fn remembered(&self, whole: &[u8; 32]) -> Option<Sender> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, sender) = known.get(whole)?;
        (since.elapsed() < REMEMBERED).then(|| sender.clone())
    }

    fn remember(&self, whole: [u8; 32], sender: Sender) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
        }
        if known.len() < MOST {
            known.insert(whole, (clock::instant(), sender));
        }
    }
}

fn configured(config: &config::Contacts, user: &str, password: &str) -> Choice {
    let (Some(name), Some(secret)) = (&config.webhook_username, &config.webhook_password) else {
        return Choice::from(0);
    };
    let same = |one: &[u8], other: &[u8]| sha256(one).ct_eq(&sha256(other));
    same(name.as_bytes(), user.as_bytes())
        & same(secret.expose_secret().as_bytes(), password.as_bytes())
}

/// Id, organization, name, hash, last use.
type Stored = (i64, OrganizationId, String, String, Option<DateTime<Utc>>);

async fn stored(db: &Db, user: &str, password: &str) -> Result<Option<Sender>> {
    let row: Option<Stored> = db
        .query(
            "select id, organization_id, name, secret_hash, last_used_at from webhook_credential
             where username = $1 and revoked_at is null",
        )
        .bind(user)
        .optional()
        .await?;
    let kept = row.as_ref().and_then(|row| URL_SAFE_NO_PAD.decode(&row.3).ok());
    let kept = kept.unwrap_or_else(|| NOBODY.to_vec());
    let is_right = bool::from(sha256(password.as_bytes()).as_slice().ct_eq(&kept));
    let Some((id, organization, name, _, used)) = row.filter(|_| is_right) else { return Ok(None) };
    let now = clock::now();
    if used.is_none_or(|used| (now - used).num_seconds() >= 60) {
        db.query("update webhook_credential set last_used_at = $2 where id = $1")
            .bind(id)
            .bind(now)
            .run()
            .await?;
    }
    Ok(Some(Sender { organization, name }))
}

/// User name and password of RFC 7617, in UTF-8.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, coded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || coded.len() > 1000 {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(coded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}
