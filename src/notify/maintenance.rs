//! Maintenance windows: what happens in one is recorded, and told in one summary after its end.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use super::{Notify, channel::line, store::windows as store};
use crate::{
    auth::{Caller, audit},
    clock,
    error::{Error, Result},
};

pub use store::{Window, list};

/// Windows that are open or to come.
const MAX: i64 = 100;
const LONGEST: TimeDelta = TimeDelta::days(31);

/// A window to be announced.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MaintenanceWish)]
pub struct Wish {
    /// Now, if it is left out.
    #[serde(default)]
    pub from: Option<DateTime<Utc>>,
    /// At most 31 days after `from`.
    pub to: DateTime<Utc>,
    /// Of this application only; empty: of all, Lux's own health included.
    #[serde(default)]
    pub app: String,
    /// Why: one line that people are shown.
    pub reason: String,
}

/// Announces a window.
pub async fn create(notify: &Notify, caller: &Caller, wish: &Wish) -> Result<Window> {
    let now = clock::now();
    let reason = line("reason", &wish.reason, 200)?;
    if reason.is_empty() {
        return Err(Error::invalid("reason: say in a line what is being done"));
    }
    let from = wish.from.unwrap_or(now);
    if wish.to <= from || wish.to <= now {
        return Err(Error::invalid("to: lies before the beginning, or is over already"));
    }
    if wish.to - from > LONGEST || from - now > TimeDelta::days(366) {
        return Err(Error::invalid("to: at most 31 days after `from`, which is within a year"));
    }
    let mut window = Window {
        id: 0,
        app: line("app", &wish.app, 200)?,
        reason,
        from,
        to: wish.to,
        made_by: caller.author(),
        created_at: now,
    };
    let mut tx = notify.app.db.begin().await?;
    if store::count(&mut tx, caller.organization, now).await? >= MAX {
        return Err(Error::Conflict(format!("there are {MAX} windows; remove one first")));
    }
    window.id = store::insert(&mut tx, caller.organization, &window).await?;
    let subject = format!("maintenance {}", window.id);
    let detail = json!({
        "from": window.from, "to": window.to, "app": window.app, "reason": window.reason,
    });
    let action = "notify.maintenance_announced";
    audit::write(&mut tx, caller.organization, caller, action, &subject, &detail).await?;
    tx.commit().await?;
    Ok(window)
}

/// Ends a window now: what it holds is summed up.
pub async fn end(notify: &Notify, caller: &Caller, id: i64) -> Result<Window> {
    let now = clock::now();
    let mut tx = notify.app.db.begin().await?;
    let found = store::find(&mut tx, caller.organization, id).await?;
    let mut window = found.ok_or(Error::NotFound("maintenance window"))?;
    if window.to <= now {
        return Err(Error::Conflict("the window is over already".to_owned()));
    }
    store::end(&mut tx, id, now).await?;
    store::release(&mut tx, id, now).await?;
    let subject = format!("maintenance {id}");
    let action = "notify.maintenance_ended";
    audit::write(&mut tx, caller.organization, caller, action, &subject, &json!({})).await?;
    tx.commit().await?;
    (window.from, window.to) = (window.from.min(now), now);
    Ok(window)
}

/// Removes a window; what it holds is summed up now.
pub async fn remove(notify: &Notify, caller: &Caller, id: i64) -> Result<()> {
    let now = clock::now();
    let mut tx = notify.app.db.begin().await?;
    if store::find(&mut tx, caller.organization, id).await?.is_none() {
        return Err(Error::NotFound("maintenance window"));
    }
    store::release(&mut tx, id, now).await?;
    store::remove(&mut tx, id).await?;
    let subject = format!("maintenance {id}");
    let action = "notify.maintenance_removed";
    audit::write(&mut tx, caller.organization, caller, action, &subject, &json!({})).await?;
    Ok(tx.commit().await?)
}
