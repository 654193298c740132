//! The rows that were not taken, as a table that can be mended and brought again.

use std::io;

use axum::body::{Body, Bytes};
use futures_util::stream;

use super::{Import, Imports, store};
use crate::contacts::table;

/// Rows that are read at once.
const PAGE: i64 = 500;

impl Imports {
    /// The table, page by page. The columns are the file's own, and before them where the row
    /// stood and why it was refused.
    pub fn rejected(&self, import: &Import) -> Body {
        let db = self.app.db.clone();
        let id = import.id;
        let columns = import.settings.columns.iter().map(|column| column.name.clone());
        let names = ["lux line", "lux column", "lux reason"].map(str::to_owned);
        let header: Vec<String> = names.into_iter().chain(columns).collect();
        Body::from_stream(stream::try_unfold(Some(0), move |after| {
            let (db, header) = (db.clone(), header.clone());
            async move {
                let Some(after) = after else { return Ok::<_, io::Error>(None) };
                let rows = store::rejected(&db, id, after, PAGE).await.map_err(|error| {
                    tracing::warn!(%error, "a download of rejected rows ended early");
                    io::Error::other("the download cannot go on")
                })?;
                let mut chunk = Vec::new();
                if after == 0 {
                    table::row(&mut chunk, &header);
                }
                let next = rows.last().map(|row| row.number);
                for row in rows {
                    let told = [row.line.to_string(), row.place.clone(), row.reason.clone()];
                    table::row(&mut chunk, told.into_iter().chain(row.cells()));
                }
                Ok(Some((Bytes::from(chunk), next)))
            }
        }))
    }
}
