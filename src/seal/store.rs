//! Which keys the database knows of, and whether those that are there are the right ones.

use secrecy::ExposeSecret;

use super::{Field, KeyId, Sealer};
use crate::{
    clock,
    config::KeyOrigin,
    db::Db,
    error::{Error, Result},
};

/// What is sealed with each key to know it by.
const CANARY: &str = "lux";

fn field(key: &str) -> Field<'_> {
    Field { table: "seal_key", column: "canary", row: key }
}

#[derive(sqlx::FromRow)]
struct Known {
    key_id: String,
    canary: String,
}

async fn known(db: &Db) -> Result<Vec<Known>> {
    Ok(db.query("select key_id, canary from seal_key order by created_at limit 1000").all().await?)
}

/// Reads the master keys and compares them with those the database knows of: so a wrong file
/// is found at the start, before anything is sealed with it. The first start makes the key.
///
/// # Errors
/// [`Error::Invalid`] if a key is missing, wrong or unreadable; nothing was changed then.
pub async fn check(db: &Db, origin: KeyOrigin) -> Result<Sealer> {
    let rows = known(db).await?;
    let sealer = Sealer::open_keys(origin, rows.is_empty())?;
    let ids = sealer.ids();
    for row in &rows {
        let shown = sealer.place();
        if !ids.iter().any(|id| id.to_string() == row.key_id) {
            return Err(Error::Invalid(format!(
                "the database holds secrets sealed with the master key {}, which is not in {shown}; \
                 put that key back (nothing was changed). If it is lost: `lux keys forget {0}` \
                 gives up what it sealed, and the accounts have to be connected again",
                row.key_id
            )));
        }
        let opened = sealer.open(field(&row.key_id), &row.canary);
        if !opened.is_ok_and(|text| text.expose_secret() == CANARY) {
            return Err(Error::Invalid(format!(
                "the key {} in {shown} is not the one that sealed the database's secrets",
                row.key_id
            )));
        }
    }
    note(db, &sealer).await?;
    Ok(sealer)
}

/// Lets the database know of the key that seals. Another replica may do so at the same time.
pub(super) async fn note(db: &Db, sealer: &Sealer) -> Result<()> {
    let Some(id) = sealer.ids().into_iter().next() else { return Ok(()) };
    let id = id.to_string();
    db.query(
        "insert into seal_key (key_id, canary, created_at) values ($1, $2, $3)
         on conflict (key_id) do nothing",
    )
    .bind(id.as_str())
    .bind(sealer.seal(field(&id), CANARY)?)
    .bind(clock::now())
    .run()
    .await?;
    Ok(())
}

pub(super) async fn forget(db: &Db, id: &KeyId) -> Result<bool> {
    let gone =
        db.query("delete from seal_key where key_id = $1").bind(id.to_string()).run().await?;
    Ok(gone > 0)
}
