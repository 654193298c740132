//! The database as a whole: copies of it, and whether it is sound.

use std::path::Path;

use sqlx::{Arguments, Executor, sqlite::SqliteArguments};

use super::{Db, Error, MIGRATIONS, Result};

/// The newest migration that this Lux knows.
pub fn newest_migration() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

impl Db {
    /// Writes an embedded database, as it is at this moment, to a new file, while others read
    /// and write it.
    ///
    /// # Errors
    /// [`Error::Configuration`] for PostgreSQL, whose own tools do that.
    pub async fn copy_to(&self, path: &Path) -> Result<()> {
        let Self::Lite(pool, _) = self else {
            return Err(Error::Configuration("pg_dump copies this database".into()));
        };
        let mut path_of_copy = SqliteArguments::default();
        path_of_copy.add(path.to_string_lossy().into_owned()).map_err(Error::Encode)?;
        pool.execute(sqlx::query_with("vacuum into $1", path_of_copy)).await.map(drop)
    }

    /// What SQLite finds wrong with its file. PostgreSQL looks after its own.
    pub async fn faults(&self) -> Result<Vec<String>> {
        let found: Vec<(String,)> =
            self.query(self.dialect("select 'ok'", "pragma integrity_check(20)")).all().await?;
        Ok(found.into_iter().map(|(text,)| text).filter(|text| text != "ok").collect())
    }

    /// The newest migration that was applied; `None` without any.
    pub async fn newest_applied(&self) -> Result<Option<i64>> {
        if !self.has_migrations().await? {
            return Ok(None);
        }
        self.query("select max(version) from _sqlx_migrations where success").scalar().await
    }

    /// The schema that holds the tables ("main" of SQLite).
    pub async fn schema(&self) -> Result<String> {
        self.query(self.dialect("select coalesce(current_schema()::text, '')", "select 'main'"))
            .scalar()
            .await
    }

    /// Connections of Lux to the same tables besides those of this pool, which must be a pool of
    /// one. 0 for SQLite, which does not know.
    pub async fn others(&self) -> Result<i64> {
        self.query(self.dialect(
            "select count(*) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()
                 and application_name = current_setting('application_name')",
            "select 0",
        ))
        .scalar()
        .await
    }
}
