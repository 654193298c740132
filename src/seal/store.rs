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
    present(&origin, &rows)?;
    let sealer = Sealer::open_keys(origin, rows.is_empty())?;
    compare(&sealer, &rows)?;
    note(db, &sealer).await?;
    Ok(sealer)
}

/// The same for a look that makes and changes nothing. `None` if the first start is still to
/// make the key. Without a database (`None`) nothing is compared.
pub async fn look(db: Option<&Db>, origin: KeyOrigin) -> Result<Option<Sealer>> {
    let rows = match db {
        Some(db) => known(db).await?,
        None => Vec::new(),
    };
    if rows.is_empty() && matches!(&origin, KeyOrigin::Own(path) if !path.exists()) {
        return Ok(None);
    }
    present(&origin, &rows)?;
    let sealer = Sealer::open_keys(origin, false)?;
    compare(&sealer, &rows)?;
    Ok(Some(sealer))
}

/// Lux's own file is there if the database knows of keys.
fn present(origin: &KeyOrigin, rows: &[Known]) -> Result<()> {
    let KeyOrigin::Own(path) = origin else { return Ok(()) };
    if rows.is_empty() || path.exists() {
        return Ok(());
    }
    let ids: Vec<&str> = rows.iter().map(|row| row.key_id.as_str()).collect();
    Err(Error::Invalid(format!(
        "the database holds secrets sealed with the master key {}, but {} is missing; put it back \
         from its backup (nothing was changed), or name the one that replicas share with \
         LUX_MASTER_KEY_FILE. If it is lost: `lux keys forget {}` gives up what it sealed, and the \
         accounts have to be connected again",
        ids.join(", "),
        path.display(),
        ids.first().unwrap_or(&"")
    )))
}

fn compare(sealer: &Sealer, rows: &[Known]) -> Result<()> {
    let ids = sealer.ids();
    for row in rows {
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
    Ok(())
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
    let mut tx = db.begin().await?;
    // Nobody can sign with it any more; another is made when it is needed.
    tx.query("delete from lasting_key where sealed like $1")
        .bind(format!("lx1.{id}.%"))
        .run()
        .await?;
    let gone =
        tx.query("delete from seal_key where key_id = $1").bind(id.to_string()).run().await?;
    tx.commit().await?;
    Ok(gone > 0)
}
