//! Channels: ways to tell people and programs, and what each wants to hear.

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    event::Topic,
    quiet::{Digest, Hours, Quiet, time_of, zone_of},
    store::channels::{self as store, New, Row},
};
use crate::{
    app::App,
    auth::{Caller, OrganizationId, audit, secret},
    clock,
    contacts::Email,
    db::{Tx, is_duplicate},
    error::{Error, Result},
    hooks,
    logs::Severity,
    seal::Field,
};

/// Channels of an organization.
const MAX: i64 = 50;
/// Recipients of one channel for mail.
pub const MAX_RECIPIENTS: usize = 20;
const MAX_NAME: usize = 80;
/// A week.
const MAX_MINUTES: i64 = 7 * 24 * 60;

/// By which way a channel tells.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = NotifyChannelKind)]
pub enum Kind {
    /// By SMTP, to each recipient.
    Mail,
    /// By the connection that serves the duty "messages".
    Slack,
    /// By a signed POST.
    Webhook,
    /// In the dashboard's inbox.
    Browser,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Slack => "slack",
            Self::Webhook => "webhook",
            Self::Browser => "browser",
        }
    }
}

/// What a channel is to be. `PUT` replaces all of it; only `kind` stays as it was.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NotifyChannelWish)]
pub struct Wish {
    /// Unique, at most 80 characters.
    pub name: String,
    #[schema(inline)]
    pub kind: Kind,
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What it wants to hear of.
    #[serde(default)]
    pub events: Vec<Topic>,
    /// Nothing less bad is told: info, warning, error, critical.
    #[serde(default)]
    #[schema(inline)]
    pub least: Severity,
    /// Of this application only; empty: of all. What is about no application is told always.
    #[serde(default)]
    pub app: String,
    /// For mail: at most 20 addresses.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// For Slack: a channel's id; empty for that of the duty.
    #[serde(default)]
    pub slack_channel: String,
    /// For a webhook: the address; left out, it stays as it is.
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub quiet: Option<Quiet>,
    /// What is critical is told in quiet hours, too.
    #[serde(default = "yes")]
    pub quiet_lets_critical: bool,
    #[serde(default)]
    #[schema(inline)]
    pub digest: Digest,
    /// When the daily digest is due: "08:00" in `zone`.
    #[serde(default = "eight")]
    pub digest_at: String,
    #[serde(default = "utc")]
    pub zone: String,
    /// What is an error or worse, and nobody reacted to within so many minutes (1 to 10080), is
    /// told the channel `escalate_to` as well.
    #[serde(default)]
    pub escalate_after_minutes: Option<i64>,
    #[serde(default)]
    pub escalate_to: Option<i64>,
}

fn yes() -> bool {
    true
}

fn eight() -> String {
    "08:00".to_owned()
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A channel as it is shown.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = NotifyChannel)]
pub struct Channel {
    pub id: i64,
    pub name: String,
    #[schema(inline)]
    pub kind: Kind,
    pub enabled: bool,
    pub events: Vec<Topic>,
    #[schema(inline)]
    pub least: Severity,
    pub app: String,
    pub recipients: Vec<String>,
    pub slack_channel: String,
    /// Host and end of the address; the rest is a secret.
    pub url: Option<String>,
    pub quiet: Option<Quiet>,
    pub quiet_lets_critical: bool,
    #[schema(inline)]
    pub digest: Digest,
    pub digest_at: String,
    pub zone: String,
    pub escalate_after_minutes: Option<i64>,
    pub escalate_to: Option<i64>,
    pub made_by: String,
    pub created_at: DateTime<Utc>,
    /// When something arrived there last.
    pub sent_at: Option<DateTime<Utc>>,
    /// Tries that failed in a row.
    pub failures: i64,
    pub last_error: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) row_name: String,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) target_sealed: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) secret_sealed: Option<String>,
}

impl From<Row> for Channel {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            kind: row.kind,
            enabled: row.enabled,
            events: serde_json::from_str(&row.events).unwrap_or_default(),
            least: row.least,
            app: row.app,
            recipients: serde_json::from_str(&row.recipients).unwrap_or_default(),
            slack_channel: row.slack_channel,
            url: row.target_shown,
            quiet: row.quiet.and_then(|text| serde_json::from_str(&text).ok()),
            quiet_lets_critical: row.quiet_lets_critical,
            digest: row.digest,
            digest_at: row.digest_at,
            zone: row.zone,
            escalate_after_minutes: row.escalate_after_minutes,
            escalate_to: row.escalate_to,
            made_by: row.made_by,
            created_at: row.created_at,
            sent_at: row.sent_at,
            failures: row.failures,
            last_error: row.last_error,
            row_name: row.row_name,
            target_sealed: row.target_sealed,
            secret_sealed: row.secret_sealed,
        }
    }
}

impl Channel {
    /// Whether it wants to hear of something.
    pub fn wants(&self, topic: Topic, severity: Severity, app: &str) -> bool {
        self.events.contains(&topic)
            && severity >= self.least
            && (self.app.is_empty() || app.is_empty() || self.app == app)
    }

    /// Where it tells, each by a delivery of its own.
    pub(super) fn targets(&self) -> Vec<&str> {
        match self.kind {
            Kind::Mail => self.recipients.iter().map(String::as_str).collect(),
            _ => vec![""],
        }
    }

    /// Until when it is quiet, if it is at a moment.
    pub(super) fn quiet_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let hours: Hours = self.quiet.as_ref()?.read().ok()?;
        hours.until(now)
    }

    /// When its next digest is due.
    pub(super) fn digest_due(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let at: NaiveTime = time_of(&self.digest_at, "digest_at").ok()?;
        let zone: Tz = zone_of(&self.zone, "zone").ok()?;
        self.digest.next(now, at, zone)
    }
}

/// Where the address of a webhook is sealed.
pub(super) fn target_field(row: &str) -> Field<'_> {
    Field { table: "notify_channel", column: "target_sealed", row }
}

/// Where the key of its signatures is.
pub(super) fn secret_field(row: &str) -> Field<'_> {
    Field { table: "notify_channel", column: "secret_sealed", row }
}

/// Checks a list of addresses; what is wrong is told as `field[2]: …`.
pub(super) fn addresses(field: &str, given: &[String]) -> Result<Vec<String>> {
    if given.len() > MAX_RECIPIENTS {
        return Err(Error::invalid(format!("{field}: at most {MAX_RECIPIENTS} addresses")));
    }
    let mut all: Vec<Email> = Vec::new();
    for (index, text) in given.iter().enumerate() {
        let email =
            Email::parse(text).map_err(|why| Error::invalid(format!("{field}[{index}]: {why}")))?;
        if all.iter().any(|known| known.key == email.key) {
            return Err(Error::invalid(format!("{field}[{index}]: stands there twice")));
        }
        all.push(email);
    }
    Ok(all.into_iter().map(|email| email.given).collect())
}

/// A line of a person, within bounds.
pub(super) fn line(field: &str, text: &str, most: usize) -> Result<String> {
    let text = text.trim();
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{field}: one line of at most {most} characters")));
    }
    Ok(text.to_owned())
}

/// A wish that was checked, as it is stored.
struct Checked {
    name: String,
    app: String,
    events: String,
    recipients: String,
    slack_channel: String,
    quiet: Option<String>,
}

/// As JSON.
pub(super) fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Internal(error.into()))
}

fn check(wish: &Wish) -> Result<Checked> {
    let name = line("name", &wish.name, MAX_NAME)?;
    if name.is_empty() {
        return Err(Error::invalid("name: give it a name by which people know it"));
    }
    let app = line("app", &wish.app, 200)?;
    if wish.events.len() > Topic::ALL.len() {
        return Err(Error::invalid("events: name each once"));
    }
    let recipients = addresses("recipients", &wish.recipients)?;
    if wish.kind != Kind::Mail && !recipients.is_empty() {
        return Err(Error::invalid("recipients: only a channel of kind mail has some"));
    }
    if wish.kind == Kind::Mail && recipients.is_empty() && wish.enabled {
        return Err(Error::invalid(
            "recipients: name at least one address, or disable the channel",
        ));
    }
    let slack_channel = line("slack_channel", &wish.slack_channel, 80)?;
    if wish.kind != Kind::Slack && !slack_channel.is_empty() {
        return Err(Error::invalid("slack_channel: only a channel of kind slack has one"));
    }
    if wish.kind != Kind::Webhook && wish.url.is_some() {
        return Err(Error::invalid("url: only a channel of kind webhook has one"));
    }
    if let Some(quiet) = &wish.quiet {
        quiet.read()?;
        if quiet.days.len() > 7 {
            return Err(Error::invalid("quiet.days: name each day once"));
        }
    }
    time_of(&wish.digest_at, "digest_at")?;
    zone_of(&wish.zone, "zone")?;
    match (wish.escalate_after_minutes, wish.escalate_to) {
        (None, None) => {}
        (Some(minutes), Some(_)) if (1..=MAX_MINUTES).contains(&minutes) => {}
        (Some(_), Some(_)) => {
            return Err(Error::invalid("escalate_after_minutes: 1 to 10080, which is a week"));
        }
        (Some(_), None) => {
            return Err(Error::invalid("escalate_to: say which channel is told then"));
        }
        (None, Some(_)) => {
            return Err(Error::invalid("escalate_after_minutes: say after how many minutes"));
        }
    }
    Ok(Checked {
        name,
        app,
        events: text(&wish.events)?,
        recipients: text(&recipients)?,
        slack_channel,
        quiet: wish.quiet.as_ref().map(text).transpose()?,
    })
}

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

/// A channel.
pub async fn read(app: &App, organization: OrganizationId, id: i64) -> Result<Channel> {
    let found = store::find(&app.db, organization, id).await?;
    found.map(Channel::from).ok_or(Error::NotFound("channel"))
}

/// All channels of an organization.
pub async fn list(app: &App, organization: OrganizationId) -> Result<Vec<Channel>> {
    Ok(store::list(&app.db, organization).await?.into_iter().map(Channel::from).collect())
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
