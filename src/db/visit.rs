//! A look at a database that is not Lux's own, which changes nothing in it.

use std::str::FromStr;

use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection,
    postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};

use super::{Error, Result};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Tables that are not there.
    pub missing: Vec<String>,
    /// Whether the statement gave a row; `None` without a statement.
    pub row: Option<bool>,
}

/// Where a PostgreSQL database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub database: String,
}

/// Where the database of a URL is; `None` for a file, a socket, or what is no URL.
pub fn server_of(url: &str) -> Option<Server> {
    let options = (url.starts_with("postgres:") || url.starts_with("postgresql:"))
        .then(|| PgConnectOptions::from_str(url).ok())??;
    let host = options.get_host();
    let by_socket = options.get_socket().is_some() || host.starts_with('/');
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    (!by_socket).then(|| Server {
        host: host.to_owned(),
        port: options.get_port(),
        database: database.to_owned(),
    })
}

/// Connects, reads a `1`, looks for `tables` and runs `query`, which must be a statement
/// that reads: the server itself is told to refuse writing. The caller bounds the time.
///
/// `url` is `postgres://…` or `sqlite:PATH`.
pub async fn visit(url: &str, tables: &[String], query: Option<&str>) -> Result<Found> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        postgres(url, tables, query).await
    } else {
        sqlite(url, tables, query).await
    }
}

async fn postgres(url: &str, tables: &[String], query: Option<&str>) -> Result<Found> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("lux")
        .statement_cache_capacity(0)
        .options([("default_transaction_read_only", "on"), ("statement_timeout", "25000")]);
    let mut connection = PgConnection::connect_with(&options).await?;
    connection.execute("begin read only").await?;
    connection.execute("select 1").await?;
    let mut found = Found::default();
    for table in tables {
        let sql = format!("select to_regclass('{}') is not null", table.replace('\'', "''"));
        let row = connection.fetch_one(AssertSqlSafe(sql)).await?;
        if !row.try_get::<bool, _>(0)? {
            found.missing.push(table.clone());
        }
    }
    if let Some(query) = query {
        let row = connection.fetch_optional(AssertSqlSafe(query.to_owned())).await?;
        found.row = Some(row.is_some());
    }
    connection.execute("rollback").await?;
    connection.close().await?;
    Ok(found)
}

async fn sqlite(url: &str, tables: &[String], query: Option<&str>) -> Result<Found> {
    let options = SqliteConnectOptions::from_str(url)?.read_only(true).create_if_missing(false);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    connection.execute("pragma query_only = on").await?;
    // A file that is no database is noticed at the first read only.
    connection.fetch_all("select name from sqlite_master limit 1").await?;
    let mut found = Found::default();
    for table in tables {
        let name = table.strip_prefix("main.").unwrap_or(table).replace('\'', "''");
        let sql = format!(
            "select 1 from sqlite_master where type in ('table', 'view') and name = '{name}'"
        );
        if connection.fetch_optional(AssertSqlSafe(sql)).await?.is_none() {
            found.missing.push(table.clone());
        }
    }
    if let Some(query) = query {
        let row = connection.fetch_optional(AssertSqlSafe(query.to_owned())).await?;
        found.row = Some(row.is_some());
    }
    connection.close().await?;
    Ok(found)
}

/// What the database said, without the address (which may hold a password).
pub fn said(error: &Error) -> String {
    match error {
        Error::Database(error) => error.message().to_owned(),
        Error::Configuration(_) => "its URL is not valid".to_owned(),
        error => error.to_string(),
    }
}
