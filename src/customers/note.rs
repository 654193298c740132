//! What operators note about a customer. Customers do not see it: the routes are for operators.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::{Whose, find, store, unknown};
use crate::{
    auth::{Caller, account, audit},
    clock,
    db::Db,
    error::{Error, Result},
};

/// The longest note, in characters.
const MAX_TEXT: usize = 5000;
/// Notes about one customer.
pub(super) const MOST: i64 = 1000;

/// A note about a customer.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = CustomerNote)]
pub struct Note {
    pub id: i64,
    pub text: String,
    /// Who wrote it.
    pub made_by: String,
    pub created_at: DateTime<Utc>,
}

/// A page of the notes about a customer, newest first; those with an id below `below`. The caller
/// is an operator or admin; to others nothing was noted.
pub async fn notes(
    db: &Db,
    caller: &Caller,
    whose: Whose,
    below: Option<i64>,
    limit: i64,
) -> Result<Vec<Note>> {
    only_operators(caller)?;
    let id = find(db, caller, whose).await?.id;
    Ok(store::notes(db, caller.organization, id, below.unwrap_or(i64::MAX), limit).await?)
}

/// Notes something about a customer.
pub async fn note(db: &Db, caller: &Caller, whose: Whose, text: &str) -> Result<Note> {
    only_operators(caller)?;
    let id = find(db, caller, whose).await?.id;
    let text = text.replace('\0', "\u{fffd}");
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_TEXT {
        return Err(Error::invalid(format!("text: write 1 to {MAX_TEXT} characters")));
    }
    let mut tx = db.begin().await?;
    let by = caller.author();
    let added =
        store::add_note(&mut tx, caller.organization, id, (text, &by), MOST, clock::now()).await?;
    let note = added.ok_or_else(|| {
        Error::Conflict(format!("there are {MOST} notes about this customer; no more are kept"))
    })?;
    let (subject, detail) = (account::subject(id), json!({ "note": note.id }));
    audit::write(&mut tx, caller.organization, caller, "customer.note", &subject, &detail).await?;
    tx.commit().await?;
    Ok(note)
}

fn only_operators(caller: &Caller) -> Result<()> {
    if caller.role.may_operate() { Ok(()) } else { Err(unknown()) }
}
