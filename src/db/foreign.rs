//! A table in another program's PostgreSQL database, for reading only.

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, FromRow, PgPool, Postgres, SqlSafeStr, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
};

use super::Result;

/// How long to wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// One table of a foreign database, over one connection that is opened when needed.
#[derive(Clone, Debug)]
pub struct Foreign {
    pool: PgPool,
    /// Quoted: it is put into statements.
    table: String,
}

/// A transaction that the server itself keeps from writing.
pub struct Reading {
    tx: Transaction<'static, Postgres>,
    table: String,
}

impl Foreign {
    /// `url` is `postgres://…`; `table` is a table's name, or schema and table with a
    /// dot between. Nothing is connected yet.
    pub fn new(url: &str, table: &str) -> Result<Self> {
        // Behind a connection pooler the next statement may meet another connection,
        // so none is prepared for longer than its use.
        let options =
            PgConnectOptions::from_str(url)?.application_name("lux").statement_cache_capacity(0);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE)
            .idle_timeout(Duration::from_mins(5))
            .connect_lazy_with(options);
        Ok(Self { pool, table: quoted(table) })
    }

    /// Begins a read-only transaction; each statement in it may take ten seconds.
    pub async fn read(&self) -> Result<Reading> {
        let mut tx = self.pool.begin_with("begin read only").await?;
        sqlx::raw_sql("set local statement_timeout = 10000; set local time zone 'UTC'")
            .execute(&mut *tx)
            .await?;
        Ok(Reading { tx, table: self.table.clone() })
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Reading {
    /// Runs a statement in which `{table}` stands for the table, with one number and
    /// one text bound as `$1` and `$2`.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the door to a database that is not Lux's own"
    )]
    pub async fn all<T>(&mut self, sql: &'static str, number: i64, text: &str) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let sql = AssertSqlSafe(sql.replace("{table}", &self.table)).into_sql_str();
        sqlx::query_as(sql).bind(number).bind(text).fetch_all(&mut *self.tx).await
    }
}

/// `shop.error_log` → `"shop"."error_log"`
fn quoted(table: &str) -> String {
    let parts: Vec<String> =
        table.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_table_name_cannot_leave_its_quotes() {
        assert_eq!(super::quoted("shop.error_log"), "\"shop\".\"error_log\"");
        assert_eq!(super::quoted("a\"; drop table b; --"), "\"a\"\"; drop table b; --\"");
    }
}
