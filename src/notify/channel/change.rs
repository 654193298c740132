//! Making, changing and removing channels, each audited.

use serde_json::json;

use super::{
    Channel, Kind, Wish, read, secret_field, target_field,
    wish::{Checked, check},
};
use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit, secret},
    clock,
    db::{Tx, is_duplicate},
    error::{Error, Result},
    hooks,
    notify::store::channels::{self as store, New},
};

/// Channels of an organization.
const MAX: i64 = 50;

/// A webhook's sealed address, what is shown of it, and the sealed key of its signatures.
type Sealed = (Option<String>, Option<String>, Option<String>);

fn sealed(app: &App, row: &str, url: Option<&str>, key: &str) -> Result<Sealed> {
    let Some(url) = url else {
        return Err(Error::invalid("url: say where it is to post"));
    };
    let url = hooks::allowed(&app.config.hooks, url)
        .map_err(|why| Error::invalid(format!("url: {why}")))?;
    let target = app.sealer.seal(target_field(row), url.as_str())?;
    let secret = app.sealer.seal(secret_field(row), key)?;
    Ok((Some(target), Some(hooks::shown(&url)), Some(secret)))
}

fn new<'a>(wish: &'a Wish, checked: &'a Checked, sealed: &'a Sealed) -> New<'a> {
    New {
        name: &checked.name,
        kind: wish.kind,
        enabled: wish.enabled,
        events: &checked.events,
        least: wish.least,
        app: &checked.app,
        recipients: &checked.recipients,
        slack_channel: &checked.slack_channel,
        target_sealed: sealed.0.as_deref(),
        target_shown: sealed.1.as_deref(),
        secret_sealed: sealed.2.as_deref(),
        quiet: checked.quiet.as_deref(),
        quiet_lets_critical: wish.quiet_lets_critical,
        digest: wish.digest,
        digest_at: &wish.digest_at,
        zone: &wish.zone,
        escalate_after_minutes: wish.escalate_after_minutes,
        escalate_to: wish.escalate_to,
    }
}

fn taken(error: crate::db::Error) -> Error {
    if is_duplicate(&error) {
        return Error::Conflict(
            "a channel of this name is there already; choose another".to_owned(),
        );
    }
    error.into()
}

async fn check_escalation(
    app: &App,
    organization: OrganizationId,
    own: Option<i64>,
    to: Option<i64>,
) -> Result<()> {
    let Some(to) = to else { return Ok(()) };
    if own == Some(to) {
        return Err(Error::invalid("escalate_to: name another channel than this one"));
    }
    match store::find(&app.db, organization, to).await? {
        Some(_) => Ok(()),
        None => Err(Error::invalid("escalate_to: there is no such channel")),
    }
}

/// What is audited of a wish: no address of people, nothing of a webhook.
fn detail(wish: &Wish) -> serde_json::Value {
    json!({
        "name": wish.name, "kind": wish.kind, "enabled": wish.enabled, "events": wish.events,
        "least": wish.least, "app": wish.app, "recipients": wish.recipients.len(),
        "digest": wish.digest, "escalate_after_minutes": wish.escalate_after_minutes,
    })
}

/// Makes a channel; gives it, and the key of its signatures where it has some.
pub async fn create(app: &App, caller: &Caller, wish: &Wish) -> Result<(Channel, Option<String>)> {
    let checked = check(wish)?;
    let organization = caller.organization;
    check_escalation(app, organization, None, wish.escalate_to).await?;
    let row_name = uuid::Uuid::now_v7().to_string();
    let key = if wish.kind == Kind::Webhook { Some(secret::random()?) } else { None };
    let sealed = match &key {
        Some(key) => sealed(app, &row_name, wish.url.as_deref(), key)?,
        None => (None, None, None),
    };
    let mut tx = app.db.begin().await?;
    if store::count(&mut tx, organization).await? >= MAX {
        return Err(Error::Conflict(format!("there are {MAX} channels; remove one first")));
    }
    let new = new(wish, &checked, &sealed);
    let by = caller.author();
    let id = store::insert(&mut tx, organization, &row_name, &new, &by, clock::now())
        .await
        .map_err(taken)?;
    audited(&mut tx, caller, "notify.channel_created", id, &detail(wish)).await?;
    tx.commit().await?;
    Ok((read(app, organization, id).await?, key))
}

async fn audited(
    tx: &mut Tx,
    caller: &Caller,
    action: &str,
    id: i64,
    detail: &serde_json::Value,
) -> Result<()> {
    let subject = format!("channel {id}");
    audit::write(tx, caller.organization, caller, action, &subject, detail).await?;
    Ok(())
}

/// Replaces a channel.
pub async fn replace(app: &App, caller: &Caller, id: i64, wish: &Wish) -> Result<Channel> {
    let organization = caller.organization;
    let before = read(app, organization, id).await?;
    let checked = check(wish)?;
    if wish.kind != before.kind {
        let why = format!(
            "kind: a channel stays of its kind ({}); make another one, and remove this one",
            before.kind.as_str()
        );
        return Err(Error::invalid(why));
    }
    check_escalation(app, organization, Some(id), wish.escalate_to).await?;
    let sealed = match wish.url.as_deref() {
        Some(url) => {
            let known = match &before.secret_sealed {
                Some(sealed) => Some(app.sealer.open(secret_field(&before.row_name), sealed)?),
                None => None,
            };
            let key = match &known {
                Some(known) => secrecy::ExposeSecret::expose_secret(known).to_owned(),
                None => secret::random()?,
            };
            self::sealed(app, &before.row_name, Some(url), &key)?
        }
        None => (before.target_sealed, before.url, before.secret_sealed),
    };
    let mut tx = app.db.begin().await?;
    let new = new(wish, &checked, &sealed);
    if !store::replace(&mut tx, organization, id, &new).await.map_err(taken)? {
        return Err(Error::NotFound("channel"));
    }
    audited(&mut tx, caller, "notify.channel_changed", id, &detail(wish)).await?;
    tx.commit().await?;
    read(app, organization, id).await
}

/// Removes a channel, with its log.
pub async fn remove(app: &App, caller: &Caller, id: i64) -> Result<()> {
    let mut tx = app.db.begin().await?;
    if !store::remove(&mut tx, caller.organization, id).await? {
        return Err(Error::NotFound("channel"));
    }
    audited(&mut tx, caller, "notify.channel_removed", id, &json!({})).await?;
    Ok(tx.commit().await?)
}
