//! The first page, and what stands around all pages.

use super::{nothing, story};
use crate::support::{Database, Server, on_both};

on_both!(somebody_looks_around);
async fn somebody_looks_around(database: Database) {
    let server = Server::plain(&database).await;
    story(&server, "operator", "looking_around", nothing).await;
}
