//! A database of a test's own: a file, or a schema of the cluster in `LUX_TEST_POSTGRES`.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use super::{Cluster, skip, variable};

/// Where a server keeps its data.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    /// `lux.db` in the data directory.
    Sqlite,
    Postgres(String),
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite
    }

    /// A new empty schema; `None` (or a failure, see [`skip`]) without a cluster.
    pub(crate) async fn postgres() -> Option<Self> {
        let Some(url) = variable("LUX_TEST_POSTGRES") else {
            skip("PostgreSQL (LUX_TEST_POSTGRES)");
            return None;
        };
        Some(Self::schema_of(&url).await)
    }

    /// A schema of a cluster that the test may stop.
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        Self::schema_of(&cluster.url).await
    }

    async fn schema_of(url: &str) -> Self {
        let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
        let mut connection = PgConnection::connect(url).await.unwrap();
        connection.execute(AssertSqlSafe(format!("create schema {schema}"))).await.unwrap();
        let join = if url.contains('?') { '&' } else { '?' };
        Self::Postgres(format!("{url}{join}options=-csearch_path%3D{schema}"))
    }

    /// Makes a SQLite file of another program.
    pub(crate) async fn sqlite_file(path: &str, sql: &str) {
        let url = format!("sqlite:{path}?mode=rwc");
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Runs a statement as another program would, beside the server.
    pub(crate) async fn execute(&self, data: &std::path::Path, sql: &str) {
        self.try_execute(data, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// [`Database::execute`] for what the database may refuse.
    pub(crate) async fn try_execute(&self, data: &std::path::Path, sql: &str) -> sqlx::Result<()> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite => {
                let url = format!("sqlite:{}", data.join("lux.db").display());
                let mut connection = SqliteConnection::connect(&url).await.unwrap();
                let done = connection.execute(sql).await;
                connection.close().await.unwrap();
                done.map(drop)
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let done = connection.execute(sql).await;
                connection.close().await.unwrap();
                done.map(drop)
            }
        }
    }

    /// The first column of a query's rows, as text.
    pub(crate) async fn column(&self, data: &std::path::Path, sql: &str) -> Vec<String> {
        use sqlx::Row;
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite => {
                let url = format!("sqlite:{}", data.join("lux.db").display());
                let mut connection = SqliteConnection::connect(&url).await.unwrap();
                let rows = connection.fetch_all(sql).await.unwrap();
                // Closed here: what is dropped closes some time later, and removes the WAL then.
                connection.close().await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let rows = connection.fetch_all(sql).await.unwrap();
                connection.close().await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }
}
