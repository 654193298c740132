//! Files of customers. Their bytes are rows of the database, so that each replica has them and a
//! backup is whole; what a file is called never is the name of anything on a disk. No file is ever
//! shown: it is handed out to be saved.

mod kind;
mod routes;
mod store;

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::{Whose, find};
use crate::{
    auth::{Caller, account, audit},
    clock,
    db::Db,
    error::{Error, Result},
};
use kind::Kind;

pub(crate) use routes::take;
pub use routes::{router, upload_router};

/// The largest file, in bytes.
pub const MAX_FILE: usize = 10 << 20;
/// Files of one customer.
pub const MOST: i64 = 50;
/// The longest name, in characters.
const MAX_NAME: usize = 150;

/// A file of a customer.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
#[schema(as = CustomerAttachment)]
pub struct Attachment {
    pub id: i64,
    /// As its owner called it, without a path.
    pub name: String,
    /// As its bytes were found to be: "image/png", "image/jpeg", "image/webp", "image/gif",
    /// "application/pdf", "text/plain" or "text/csv".
    pub media_type: String,
    /// In bytes.
    pub size: i64,
    /// Who brought it.
    pub made_by: String,
    pub created_at: DateTime<Utc>,
}

/// A file as somebody brings it.
#[derive(Clone, Debug)]
pub struct Brought {
    pub name: String,
    /// The `Content-Type` that is claimed.
    pub claims: String,
    /// At most [`MAX_FILE`].
    pub bytes: Bytes,
}

/// The files of a customer, the newest first.
pub async fn list(db: &Db, caller: &Caller, whose: Whose) -> Result<Vec<Attachment>> {
    let id = find(db, caller, whose).await?.id;
    Ok(store::list(db, caller.organization, id, MOST).await?)
}

/// Keeps a file of a customer.
pub async fn attach(
    db: &Db,
    caller: &Caller,
    whose: Whose,
    brought: Brought,
) -> Result<Attachment> {
    let organization = caller.organization;
    let id = find(db, caller, whose).await?.id;
    if brought.bytes.is_empty() {
        return Err(Error::invalid("the file is empty"));
    }
    if brought.bytes.len() > MAX_FILE {
        return Err(too_large());
    }
    let kind = Kind::claimed(&brought.claims).filter(|kind| kind.fits(&brought.bytes));
    let kind = kind.ok_or_else(|| {
        Error::invalid(
            "the file is not what its Content-Type says, or of a type that is not taken; send PNG, \
             JPEG, WebP, GIF, PDF, plain text or CSV (in UTF-8) by its own name",
        )
    })?;
    let name = name(&brought.name);
    let size = i64::try_from(brought.bytes.len()).unwrap_or(i64::MAX);
    let mut tx = db.begin().await?;
    // One after another, or two could be the fiftieth.
    store::take_turn(&mut tx, organization, id).await?;
    if store::count(&mut tx, organization, id).await? >= MOST {
        return Err(Error::Conflict(format!(
            "there are {MOST} files of this customer already; remove one first"
        )));
    }
    let new = store::New {
        organization,
        account: id,
        name: &name,
        media_type: kind.name(),
        size,
        bytes: &brought.bytes,
        made_by: &caller.author(),
        now: clock::now(),
    };
    let kept = store::insert(&mut tx, new).await?;
    let detail = json!({ "attachment": kept.id, "type": kept.media_type, "bytes": kept.size });
    let subject = account::subject(id);
    audit::write(&mut tx, organization, caller, "customer.attach", &subject, &detail).await?;
    tx.commit().await?;
    Ok(kept)
}

/// A file and its bytes.
pub async fn read(
    db: &Db,
    caller: &Caller,
    whose: Whose,
    attachment: i64,
) -> Result<(Attachment, Vec<u8>)> {
    let id = find(db, caller, whose).await?.id;
    let whole = store::find_whole(db, caller.organization, id, attachment).await?;
    let whole = whole.ok_or_else(unknown)?;
    Ok((whole.shown, whole.bytes))
}

/// Removes a file.
pub async fn remove(db: &Db, caller: &Caller, whose: Whose, attachment: i64) -> Result<()> {
    let organization = caller.organization;
    let id = find(db, caller, whose).await?.id;
    let mut tx = db.begin().await?;
    if !store::remove(&mut tx, organization, id, attachment).await? {
        return Err(unknown());
    }
    let (subject, detail) = (account::subject(id), json!({ "attachment": attachment }));
    audit::write(&mut tx, organization, caller, "customer.detach", &subject, &detail).await?;
    Ok(tx.commit().await?)
}

fn unknown() -> Error {
    Error::NotFound("attachment")
}

fn too_large() -> Error {
    Error::TooLarge("the file is larger than 10 MiB; bring a smaller one".to_owned())
}

/// What a file is called: the last part of a path, in one line, without what turns the direction
/// of letters and so makes "exe.txt" of "txt.exe".
fn name(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let odd = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
    };
    let name: String = last.chars().filter(odd).collect();
    let name: String = name.trim().trim_start_matches('.').chars().take(MAX_NAME).collect();
    if name.is_empty() { "file".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_name_is_no_path() {
        for (given, kept) in [
            ("plan.pdf", "plan.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Windows\\system.ini", "system.ini"),
            ("..", "file"),
            (".bashrc", "bashrc"),
            ("a\r\nSet-Cookie: x=1", "aSet-Cookie: x=1"),
            ("\u{202e}fdp.exe", "fdp.exe"),
            ("", "file"),
            ("größe.png", "größe.png"),
        ] {
            assert_eq!(name(given), kept, "{given:?}");
        }
        assert_eq!(name(&"x".repeat(1000)).len(), 150);
    }
}
