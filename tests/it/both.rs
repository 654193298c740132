//! Runs a test of the library on both databases: SQLite always, PostgreSQL where `LUX_TEST_POSTGRES`
//! holds a URL whose user may create schemas.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AssertSqlSafe, Executor};

use crate::support::{skip, variable};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A name that no other test uses, in this process or another.
fn unique() -> String {
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("t{}_{}_{count}", std::process::id(), uuid::Uuid::now_v7().simple())
}

/// An empty database, and what has to live as long as it.
pub(crate) struct Empty {
    pub(crate) url: String,
    _folder: Option<tempfile::TempDir>,
}

pub(crate) async fn sqlite() -> Option<Empty> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("lux.db").display());
    Some(Empty { url, _folder: Some(folder) })
}

pub(crate) async fn postgres() -> Option<Empty> {
    let Some(url) = variable("LUX_TEST_POSTGRES") else {
        skip("PostgreSQL (LUX_TEST_POSTGRES)");
        return None;
    };
    let schema = unique();
    let admin = sqlx::PgPool::connect(&url).await.unwrap();
    admin.execute(AssertSqlSafe(format!("create schema {schema}"))).await.unwrap();
    admin.close().await;
    let join = if url.contains('?') { '&' } else { '?' };
    Some(Empty { url: format!("{url}{join}options=-csearch_path%3D{schema}"), _folder: None })
}

/// Declares each test once; it runs as `sqlite::name` and `postgres::name` and is given
/// the URL of an empty database.
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
                }
            })+
        }
    };
}
pub(crate) use on_both;
