//! Another master key: everything is sealed anew with it while Lux runs, in small steps; then
//! the old one can go.

use secrecy::ExposeSecret;

use super::{Field, KeyId, Sealer, keys, store};
use crate::{
    config::KeyOrigin,
    db::{Db, Query},
    error::{Error, Result},
};

/// Rows that are read at once.
const STEP: i64 = 500;

/// Every field that holds sealed texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Sent,
    Answer,
    Transcript,
    Refresh,
    Lasting,
    HookTarget,
    HookSecret,
    NotifyTarget,
    NotifySecret,
    GrantAccess,
    GrantRefresh,
}

const ALL: [Kept; 11] = [
    Kept::Sent,
    Kept::Answer,
    Kept::Transcript,
    Kept::Refresh,
    Kept::Lasting,
    Kept::HookTarget,
    Kept::HookSecret,
    Kept::NotifyTarget,
    Kept::NotifySecret,
    Kept::GrantAccess,
    Kept::GrantRefresh,
];

impl Kept {
    fn field(self, row: &str) -> Field<'_> {
        let (table, column) = match self {
            Self::Sent => ("model_call", "sent"),
            Self::Answer => ("model_call", "answer"),
            Self::Transcript => ("chat_transcript", "sealed"),
            Self::Refresh => ("session", "refresh_sealed"),
            Self::Lasting => ("lasting_key", "sealed"),
            Self::HookTarget => ("hook", "target_sealed"),
            Self::HookSecret => ("hook", "secret_sealed"),
            Self::NotifyTarget => ("notify_channel", "target_sealed"),
            Self::NotifySecret => ("notify_channel", "secret_sealed"),
            Self::GrantAccess => ("oauth_grant", "access_sealed"),
            Self::GrantRefresh => ("oauth_grant", "refresh_sealed"),
        };
        Field { table, column, row }
    }

    /// Rows whose text is like $1, above the key $2, at most $3.
    fn page(self, db: &Db) -> Query<'_> {
        match self {
            Self::Sent => db.query(
                "select id as at, texts_row as name, sent as sealed from model_call
                 where sent like $1 and id > $2 order by id limit $3",
            ),
            Self::Answer => db.query(
                "select id as at, texts_row as name, answer as sealed from model_call
                 where answer like $1 and id > $2 order by id limit $3",
            ),
            Self::Transcript => db.query(
                "select message_id as at, cast(message_id as text) as name, sealed
                 from chat_transcript
                 where sealed like $1 and message_id > $2 order by message_id limit $3",
            ),
            Self::Refresh => db.query(
                "select id as at, cast(id as text) as name, refresh_sealed as sealed
                 from session where refresh_sealed like $1 and id > $2 order by id limit $3",
            ),
            Self::Lasting => db.query(
                "select id as at, name, sealed
                 from lasting_key where sealed like $1 and id > $2 order by id limit $3",
            ),
            Self::HookTarget => db.query(
                "select id as at, row_name as name, target_sealed as sealed
                 from hook where target_sealed like $1 and id > $2 order by id limit $3",
            ),
            Self::HookSecret => db.query(
                "select id as at, row_name as name, secret_sealed as sealed
                 from hook where secret_sealed like $1 and id > $2 order by id limit $3",
            ),
            Self::NotifyTarget => db.query(
                "select id as at, row_name as name, target_sealed as sealed
                 from notify_channel where target_sealed like $1 and id > $2 order by id limit $3",
            ),
            Self::NotifySecret => db.query(
                "select id as at, row_name as name, secret_sealed as sealed
                 from notify_channel where secret_sealed like $1 and id > $2 order by id limit $3",
            ),
            Self::GrantAccess => db.query(
                "select id as at, row_name as name, access_sealed as sealed
                 from oauth_grant where access_sealed like $1 and id > $2 order by id limit $3",
            ),
            Self::GrantRefresh => db.query(
                "select id as at, row_name as name, refresh_sealed as sealed
                 from oauth_grant where refresh_sealed like $1 and id > $2 order by id limit $3",
            ),
        }
    }

    /// Puts $1 in the place of $3 in row $2; what changed meanwhile is left alone.
    fn replace(self, db: &Db) -> Query<'_> {
        match self {
            Self::Sent => db.query("update model_call set sent = $1 where id = $2 and sent = $3"),
            Self::Answer => {
                db.query("update model_call set answer = $1 where id = $2 and answer = $3")
            }
            Self::Transcript => db.query(
                "update chat_transcript set sealed = $1 where message_id = $2 and sealed = $3",
            ),
            Self::Refresh => db.query(
                "update session set refresh_sealed = $1 where id = $2 and refresh_sealed = $3",
            ),
            Self::Lasting => {
                db.query("update lasting_key set sealed = $1 where id = $2 and sealed = $3")
            }
            Self::HookTarget => {
                db.query("update hook set target_sealed = $1 where id = $2 and target_sealed = $3")
            }
            Self::HookSecret => {
                db.query("update hook set secret_sealed = $1 where id = $2 and secret_sealed = $3")
            }
            Self::NotifyTarget => db.query(
                "update notify_channel set target_sealed = $1
                 where id = $2 and target_sealed = $3",
            ),
            Self::NotifySecret => db.query(
                "update notify_channel set secret_sealed = $1
                 where id = $2 and secret_sealed = $3",
            ),
            Self::GrantAccess => db.query(
                "update oauth_grant set access_sealed = $1 where id = $2 and access_sealed = $3",
            ),
            Self::GrantRefresh => db.query(
                "update oauth_grant set refresh_sealed = $1 where id = $2 and refresh_sealed = $3",
            ),
        }
    }

    fn count(self, db: &Db) -> Query<'_> {
        match self {
            Self::Sent => db.query("select count(*) from model_call where sent like $1"),
            Self::Answer => db.query("select count(*) from model_call where answer like $1"),
            Self::Transcript => {
                db.query("select count(*) from chat_transcript where sealed like $1")
            }
            Self::Refresh => db.query("select count(*) from session where refresh_sealed like $1"),
            Self::Lasting => db.query("select count(*) from lasting_key where sealed like $1"),
            Self::HookTarget => db.query("select count(*) from hook where target_sealed like $1"),
            Self::HookSecret => db.query("select count(*) from hook where secret_sealed like $1"),
            Self::NotifyTarget => {
                db.query("select count(*) from notify_channel where target_sealed like $1")
            }
            Self::NotifySecret => {
                db.query("select count(*) from notify_channel where secret_sealed like $1")
            }
            Self::GrantAccess => {
                db.query("select count(*) from oauth_grant where access_sealed like $1")
            }
            Self::GrantRefresh => {
                db.query("select count(*) from oauth_grant where refresh_sealed like $1")
            }
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    at: i64,
    name: String,
    sealed: String,
}

/// How much one key sealed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Count {
    pub key: String,
    /// It seals what comes.
    pub active: bool,
    /// Texts that it sealed.
    pub texts: i64,
}

/// What a rotation came to.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Rotated {
    pub active: String,
    pub sealed_anew: u64,
    /// Texts that could not be opened and were left as they are.
    pub refused: u64,
}

fn pattern(id: &KeyId) -> String {
    format!("{}.{id}.%", super::FORM)
}

async fn texts(db: &Db, id: &KeyId) -> Result<i64> {
    let mut all = 0;
    for kept in ALL {
        all += kept.count(db).bind(pattern(id)).scalar::<i64>().await?;
    }
    Ok(all)
}

/// How much each key sealed; the one that seals comes first.
pub async fn count(db: &Db, sealer: &Sealer) -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    for (index, id) in sealer.ids().iter().enumerate() {
        counts.push(Count { key: id.to_string(), active: index == 0, texts: texts(db, id).await? });
    }
    Ok(counts)
}

/// Makes a new key where Lux keeps the keys itself (else the operator has put one in the first
/// place), and seals with it what the others had sealed. What was interrupted goes on with the
/// next call.
pub async fn rotate(db: &Db, sealer: &Sealer, make: bool) -> Result<Rotated> {
    if make {
        let KeyOrigin::Own(path) = sealer.origin() else {
            return Err(Error::Invalid(format!(
                "Lux does not write {}: put a new key before the others there (`head -c 32 \
                 /dev/urandom | base64`), start Lux anew if systemd hands the keys over, then \
                 `lux keys rotate --no-new-key`",
                sealer.place()
            )));
        };
        keys::change(path, |mut known| {
            known.insert(0, keys::new_line()?);
            Ok(known)
        })?;
    }
    store::note(db, sealer).await?;
    let ids = sealer.ids();
    let mut done = Rotated {
        active: ids.first().map(ToString::to_string).unwrap_or_default(),
        ..Rotated::default()
    };
    for id in ids.iter().skip(1) {
        for kept in ALL {
            seal_anew(db, sealer, id, kept, &mut done).await?;
        }
    }
    Ok(done)
}

async fn seal_anew(
    db: &Db,
    sealer: &Sealer,
    old: &KeyId,
    kept: Kept,
    done: &mut Rotated,
) -> Result<()> {
    let mut after = i64::MIN;
    loop {
        let rows: Vec<Row> = kept.page(db).bind(pattern(old)).bind(after).bind(STEP).all().await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.at;
        for row in rows {
            let Ok(text) = sealer.open(kept.field(&row.name), &row.sealed) else {
                done.refused += 1;
                continue;
            };
            let sealed = sealer.seal(kept.field(&row.name), text.expose_secret())?;
            let replaced =
                kept.replace(db).bind(sealed).bind(row.at).bind(row.sealed).run().await?;
            done.sealed_anew += replaced;
        }
    }
}

fn named(id: &str) -> Result<KeyId> {
    KeyId::read(id)
        .ok_or_else(|| Error::Invalid(format!("\"{id}\" is no key; `lux keys list` names them")))
}

/// Lets the database forget a key that is lost: what it sealed stays as it is, and cannot be
/// opened.
pub async fn forget(db: &Db, id: &str) -> Result<()> {
    if store::forget(db, &named(id)?).await? { Ok(()) } else { Err(Error::NotFound("key")) }
}

/// Takes a key away that seals nothing any more.
pub async fn remove(db: &Db, sealer: &Sealer, id: &str) -> Result<()> {
    let id = named(id)?;
    let ids = sealer.ids();
    if ids.first() == Some(&id) {
        return Err(Error::Conflict(format!(
            "the key {id} is the one that seals; `lux keys rotate` puts another in its place"
        )));
    }
    let left = texts(db, &id).await?;
    if left > 0 {
        return Err(Error::Conflict(format!(
            "the key {id} still seals {left} texts; `lux keys rotate` seals them anew"
        )));
    }
    if ids.contains(&id) {
        let KeyOrigin::Own(path) = sealer.origin() else {
            return Err(Error::Invalid(format!(
                "Lux does not write {}: take the key out there",
                sealer.place()
            )));
        };
        keys::change(path, |mut known| {
            known.retain(|(known, _)| *known != id);
            Ok(known)
        })?;
    }
    if store::forget(db, &id).await? || ids.contains(&id) {
        return Ok(());
    }
    Err(Error::NotFound("key"))
}
