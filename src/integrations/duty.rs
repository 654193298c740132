//! What a connection does for the whole organization: its tickets go into one tracker, its
//! messages into one channel. Who connected it lends it; an administrator or operator says so.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Connection, Duty, Integrations, Kind, Trouble, store};
use crate::{
    auth::{Caller, OrganizationId, audit},
    db::Db,
    error::{Error, Result},
};

/// The longest that says where, in bytes.
const MAX_TARGET: usize = 500;

/// What serves a duty, and where.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = IntegrationDuty)]
pub struct Served {
    #[schema(inline)]
    pub duty: Duty,
    pub integration_id: i64,
    /// "jira".
    pub provider: String,
    /// Where: `{"project": "OPS"}`, `{"channel": "C123"}`, `{"folder": "…"}`.
    pub target: Value,
    /// Lux does it by itself when there is occasion; else only when it is asked to.
    pub automatic: bool,
    pub set_by: String,
    pub set_at: DateTime<Utc>,
}

/// All duties of an organization that something serves.
pub async fn served(db: &Db, organization: OrganizationId) -> Result<Vec<Served>> {
    let rows = store::duties(db, organization).await?;
    let served = rows.into_iter().map(|row| Served {
        duty: row.duty,
        integration_id: row.integration_id,
        provider: row.kind,
        target: serde_json::from_str(&row.target).unwrap_or_default(),
        automatic: row.is_automatic,
        set_by: row.set_by,
        set_at: row.set_at,
    });
    Ok(served.collect())
}

impl Integrations {
    /// The connection that serves a duty, and what was said of it; `None` if nothing does.
    pub async fn serving(
        &self,
        organization: OrganizationId,
        duty: Duty,
    ) -> Result<Option<(Connection, Served)>, Trouble> {
        let all = served(&self.app().db, organization).await?;
        let Some(served) = all.into_iter().find(|served| served.duty == duty) else {
            return Ok(None);
        };
        let connection = self.connection(organization, served.integration_id).await?;
        Ok(Some((connection, served)))
    }
}

/// Lets a connection serve a duty from now on.
pub async fn serve(
    db: &Db,
    caller: &Caller,
    duty: Duty,
    integration: i64,
    target: &BTreeMap<String, String>,
    automatic: bool,
) -> Result<()> {
    let text = checked(duty, target)?;
    let organization = caller.organization;
    let mut tx = db.begin().await?;
    let found = store::kind_of(&mut tx, organization, integration).await?;
    let (kind, is_connected) = found.ok_or(Error::NotFound("connection"))?;
    let kind = Kind::find(&kind).ok_or(Error::NotFound("connection"))?;
    if !kind.duties.contains(&duty) {
        let can: Vec<&str> = kind.duties.iter().map(|duty| duty.as_str()).collect();
        return Err(Error::invalid(format!(
            "{} cannot do {}; it can do {}",
            kind.label,
            duty.as_str(),
            can.join(", ")
        )));
    }
    if !is_connected {
        return Err(Trouble::NotConnected(kind.label).into());
    }
    let by = caller.author();
    store::set_duty(&mut tx, organization, duty, integration, &text, automatic, &by).await?;
    let detail = json!({"provider": kind.key, "target": target, "automatic": automatic});
    let subject = format!("duty {}", duty.as_str());
    audit::write(&mut tx, organization, caller, "integration.duty", &subject, &detail).await?;
    tx.commit().await?;
    Ok(())
}

/// Where, as it is stored.
fn checked(duty: Duty, target: &BTreeMap<String, String>) -> Result<String> {
    let place = duty.place();
    if let Some(key) = target.keys().find(|key| place.is_none_or(|(place, _)| place != *key)) {
        let takes = place.map_or("nothing", |(place, _)| place);
        let key: String = key.chars().take(40).collect();
        return Err(Error::invalid(format!("target.{key}: {} take {takes}", duty.as_str())));
    }
    if let Some((place, true)) = place
        && target.get(place).is_none_or(|value| value.trim().is_empty())
    {
        return Err(Error::invalid(format!("target.{place} is missing: say which {place}")));
    }
    let is_wrong = |value: &String| value.len() > MAX_TARGET || value.contains(char::is_control);
    if target.values().any(is_wrong) {
        let why = format!("target: longer than {MAX_TARGET} bytes, or with line breaks");
        return Err(Error::invalid(why));
    }
    serde_json::to_string(target).map_err(|error| Error::Internal(error.into()))
}

/// Nothing serves a duty any more.
pub async fn stop_serving(db: &Db, caller: &Caller, duty: Duty) -> Result<()> {
    let mut tx = db.begin().await?;
    if !store::end_duty(&mut tx, caller.organization, duty).await? {
        return Err(Error::NotFound("duty"));
    }
    let subject = format!("duty {}", duty.as_str());
    let nothing = json!({});
    let action = "integration.duty_ended";
    audit::write(&mut tx, caller.organization, caller, action, &subject, &nothing).await?;
    tx.commit().await?;
    Ok(())
}
