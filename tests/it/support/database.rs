//! A database of a test's own: a file, or one of the cluster in `LUX_TEST_POSTGRES`.

use std::hash::{DefaultHasher, Hash, Hasher};

use lux::db::Db;
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

    /// A new one with Lux's tables; `None` (or a failure, see [`skip`]) without a cluster.
    pub(crate) async fn postgres() -> Option<Self> {
        let Some(url) = variable("LUX_TEST_POSTGRES") else {
            skip("PostgreSQL (LUX_TEST_POSTGRES)");
            return None;
        };
        let template = template(&url).await;
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        run(&url, &format!("create database {name} template {template}")).await;
        Some(Self::Postgres(in_database(&url, &name)))
    }

    /// An empty schema in a database whose `public` is another Lux's.
    pub(crate) async fn in_a_schema() -> Option<Self> {
        let Self::Postgres(url) = Self::postgres().await? else { unreachable!("it is one") };
        Some(Self::Postgres(schema(&url).await))
    }

    /// An empty schema, in which Lux makes its tables, of a cluster that the test may stop.
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        Self::Postgres(schema(&cluster.url).await)
    }

    /// As after the loss of a disk: it is there, and empty.
    pub(crate) async fn lose(&self, data: &std::path::Path) {
        match self {
            Self::Sqlite => {
                for name in ["lux.db", "lux.db-wal", "lux.db-shm"] {
                    let file = data.join(name);
                    if file.exists() {
                        std::fs::remove_file(file).unwrap();
                    }
                }
            }
            Self::Postgres(_) => {
                let sql = "do $$ declare mine text := current_schema(); begin
                    execute format('drop schema %I cascade', mine);
                    execute format('create schema %I', mine); end $$";
                self.execute(data, sql).await;
            }
        }
    }

    /// The test is over: a cluster with the tables of hundreds of tests is a slow one.
    pub(crate) async fn drop(self) {
        if let (Self::Postgres(url), Some(cluster)) = (self, variable("LUX_TEST_POSTGRES")) {
            let url: url::Url = url.parse().unwrap();
            let name = url.path().trim_start_matches('/');
            run(&cluster, &format!("drop database {name} with (force)")).await;
        }
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

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let sql = AssertSqlSafe(sql.to_owned());
    connection.execute(sql).await.unwrap_or_else(|error| panic!("{error}"));
    connection.close().await.unwrap();
}

/// The URL of another database of the cluster.
fn in_database(url: &str, name: &str) -> String {
    let mut url: url::Url = url.parse().unwrap();
    url.set_path(name);
    url.into()
}

/// The URL of a new empty schema in this database.
pub(crate) async fn schema(url: &str) -> String {
    let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
    run(url, &format!("create schema {schema}")).await;
    let join = if url.contains('?') { '&' } else { '?' };
    format!("{url}{join}options=-csearch_path%3D{schema}")
}

/// The name of the database that is copied for each test: Lux's tables without rows, made once for
/// each cluster and set of migrations. To make them anew takes a second each time.
async fn template(cluster: &str) -> String {
    let mut hasher = DefaultHasher::new();
    for migration in sqlx::migrate!("./migrations").iter() {
        migration.checksum.hash(&mut hasher);
    }
    let name = format!("template_{:x}", hasher.finish());
    let mut connection = PgConnection::connect(cluster).await.unwrap();
    // Other tests want it at the same time.
    connection.execute("select pg_advisory_lock(1)").await.unwrap();
    let known = AssertSqlSafe(format!("select 1 from pg_database where datname = '{name}'"));
    if connection.fetch_optional(known).await.unwrap().is_none() {
        run(cluster, &format!("drop database if exists {name}_new with (force)")).await;
        run(cluster, &format!("create database {name}_new")).await;
        let db = Db::connect(&in_database(cluster, &format!("{name}_new")), 1).await.unwrap();
        db.close().await;
        run(cluster, &format!("alter database {name}_new rename to {name}")).await;
    }
    connection.close().await.unwrap();
    name
}
