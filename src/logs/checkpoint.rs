//! How far logs were read, in the database: the positions and the totals of a
//! source move together, in one transaction.

use std::{fs::Metadata, os::unix::fs::MetadataExt};

use chrono::{DateTime, Utc};

use crate::{db::Db, error::Result};

/// What a file is whatever it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

impl FileId {
    pub(crate) fn of(found: &Metadata) -> Self {
        Self { dev: found.dev(), ino: found.ino() }
    }
}

/// How far one file (or the journal) was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Where the file was last seen; empty for the journal.
    pub(crate) path: String,
    pub(crate) id: FileId,
    /// Names this life of the file in record ids.
    pub(crate) tag: i64,
    /// Byte offset of the first line that was not counted yet.
    pub(crate) position: i64,
    /// The 1-based number of that line.
    pub(crate) line: i64,
    /// Records that begin before this line were told to whoever listens; a later one may
    /// have begun before `line` and still be open.
    pub(crate) told: i64,
    pub(crate) head_len: i64,
    pub(crate) head_hash: i64,
    pub(crate) mark_len: i64,
    pub(crate) mark_hash: i64,
    /// The journal's own name of the last entry that was counted.
    pub(crate) cursor: Option<String>,
    /// When this was so.
    pub(crate) updated_at: DateTime<Utc>,
}

/// Counts over a source's life.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Totals {
    pub(crate) lines: i64,
    pub(crate) bytes: i64,
    /// Bytes of lines that were too long to keep whole.
    pub(crate) dropped_bytes: i64,
    /// Entries that journald says it refused.
    pub(crate) lost: i64,
    pub(crate) last_line_at: Option<DateTime<Utc>>,
}

/// What one source has to keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) source: String,
    pub(crate) totals: Totals,
    pub(crate) moved: Vec<Checkpoint>,
    /// Files that were read to their end and are gone.
    pub(crate) ended: Vec<FileId>,
}

/// What is known of a source from before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) totals: Totals,
    pub(crate) checkpoints: Vec<Checkpoint>,
}

#[derive(sqlx::FromRow)]
struct Row {
    path: String,
    dev: i64,
    ino: i64,
    tag: i64,
    position: i64,
    line: i64,
    told: Option<i64>,
    head_len: i64,
    head_hash: i64,
    mark_len: i64,
    mark_hash: i64,
    journal_cursor: Option<String>,
    updated_at: DateTime<Utc>,
}

/// The most files of one source whose positions are remembered.
const MAX_FILES: i64 = 20_000;

/// Totals and positions of one moment: what a process that was killed has yet to commit, which
/// PostgreSQL may still be at, is waited for by the totals' row.
pub(crate) async fn load(db: &Db, host: &str, source: &str) -> Result<Known> {
    let mut tx = db.begin().await?;
    let sql = tx.dialect(
        "select lines, bytes, dropped_bytes, lost, last_line_at from log_source \
         where host = $1 and name = $2 for update",
        "select lines, bytes, dropped_bytes, lost, last_line_at from log_source \
         where host = $1 and name = $2",
    );
    let totals = tx
        .query(sql)
        .bind(host.to_owned())
        .bind(source.to_owned())
        .optional::<Totals>()
        .await?
        .unwrap_or_default();
    let rows: Vec<Row> = tx
        .query(
            "select path, dev, ino, tag, position, line, told, head_len, head_hash, mark_len, \
             mark_hash, journal_cursor, updated_at from log_checkpoint \
             where host = $1 and source = $2 order by updated_at desc limit $3",
        )
        .bind(host.to_owned())
        .bind(source.to_owned())
        .bind(MAX_FILES)
        .all()
        .await?;
    tx.commit().await?;
    let checkpoints = rows.into_iter().map(Row::read).collect();
    Ok(Known { totals, checkpoints })
}

/// Keeps all changes or none.
pub(crate) async fn save(db: &Db, host: &str, changes: &[Change]) -> Result<()> {
    let mut tx = db.begin().await?;
    for change in changes {
        tx.query(
            "insert into log_source (host, name, lines, bytes, dropped_bytes, lost, last_line_at) \
             values ($1, $2, $3, $4, $5, $6, $7) \
             on conflict (host, name) do update set lines = excluded.lines, \
             bytes = excluded.bytes, dropped_bytes = excluded.dropped_bytes, \
             lost = excluded.lost, last_line_at = excluded.last_line_at",
        )
        .bind(host.to_owned())
        .bind(change.source.clone())
        .bind(change.totals.lines)
        .bind(change.totals.bytes)
        .bind(change.totals.dropped_bytes)
        .bind(change.totals.lost)
        .bind(change.totals.last_line_at)
        .run()
        .await?;
        for id in &change.ended {
            tx.query(
                "delete from log_checkpoint \
                 where host = $1 and source = $2 and dev = $3 and ino = $4",
            )
            .bind(host.to_owned())
            .bind(change.source.clone())
            .bind(id.dev.cast_signed())
            .bind(id.ino.cast_signed())
            .run()
            .await?;
        }
        for at in &change.moved {
            tx.query(
                "insert into log_checkpoint (host, source, path, dev, ino, tag, position, line, \
                 head_len, head_hash, mark_len, mark_hash, journal_cursor, updated_at, told) \
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
                 on conflict (host, source, dev, ino) do update set path = excluded.path, \
                 tag = excluded.tag, position = excluded.position, line = excluded.line, \
                 head_len = excluded.head_len, head_hash = excluded.head_hash, \
                 mark_len = excluded.mark_len, mark_hash = excluded.mark_hash, \
                 journal_cursor = excluded.journal_cursor, updated_at = excluded.updated_at, \
                 told = excluded.told",
            )
            .bind(host.to_owned())
            .bind(change.source.clone())
            .bind(at.path.clone())
            .bind(at.id.dev.cast_signed())
            .bind(at.id.ino.cast_signed())
            .bind(at.tag)
            .bind(at.position)
            .bind(at.line)
            .bind(at.head_len)
            .bind(at.head_hash)
            .bind(at.mark_len)
            .bind(at.mark_hash)
            .bind(at.cursor.clone())
            .bind(at.updated_at)
            .bind(at.told)
            .run()
            .await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

impl Row {
    fn read(self) -> Checkpoint {
        Checkpoint {
            path: self.path,
            id: FileId { dev: self.dev.cast_unsigned(), ino: self.ino.cast_unsigned() },
            tag: self.tag,
            position: self.position.max(0),
            line: self.line.max(1),
            // Of before the mark was kept: whatever was counted was told.
            told: self.told.unwrap_or(self.line).max(0),
            head_len: self.head_len.max(0),
            head_hash: self.head_hash,
            mark_len: self.mark_len.max(0),
            mark_hash: self.mark_hash,
            cursor: self.journal_cursor,
            updated_at: self.updated_at,
        }
    }
}
