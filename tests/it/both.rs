//! Runs a test of the library on both databases: SQLite always, PostgreSQL where `LUX_TEST_POSTGRES`
//! holds a URL whose user may create databases.

use crate::support::Database;

/// A database without rows, and what has to live as long as it.
pub(crate) struct Empty {
    pub(crate) url: String,
    folder: Option<tempfile::TempDir>,
}

impl Empty {
    /// The test is over.
    pub(crate) async fn drop(self) {
        if self.folder.is_none() {
            Database::Postgres(self.url).drop().await;
        }
    }
}

pub(crate) async fn sqlite() -> Option<Empty> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("lux.db").display());
    Some(Empty { url, folder: Some(folder) })
}

pub(crate) async fn postgres() -> Option<Empty> {
    let Database::Postgres(url) = Database::postgres().await? else { unreachable!("it is one") };
    Some(Empty { url, folder: None })
}

/// Declares each test once; it runs as `sqlite::name` and `postgres::name` and is given
/// the URL of a database without rows.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($url:ident: &str) $body:block)+) => {
        mod cases {
            use super::*;
            $($(#[$meta])* pub(super) async fn $name($url: &str) $body)+
        }
        on_both!(@mod sqlite, $($name)+);
        on_both!(@mod postgres, $($name)+);
    };
    (@mod $kind:ident, $($name:ident)+) => {
        mod $kind {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(empty) = crate::both::$kind().await {
                    super::cases::$name(&empty.url).await;
                    empty.drop().await;
                }
            })+
        }
    };
}
pub(crate) use on_both;
