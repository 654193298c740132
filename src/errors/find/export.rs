//! Events as JSON lines or CSV: page by page, so that memory does not grow with them. The
//! client sets the pace; when it leaves, the next page is not read.

use std::io;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde::Deserialize;

use crate::{
    app::App,
    auth::OrganizationId,
    errors::{
        shown::strike_event,
        store::{
            events::Position,
            search::{self, Found, Search},
        },
    },
};

/// Events that are read at once.
const PAGE: i64 = 500;

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// One JSON object in each line.
    #[default]
    Jsonl,
    /// RFC 4180, with a header. What a spreadsheet would take for a formula begins with `'`.
    Csv,
}

const HEADER: &str = "id,created_at,app,severity,type,message,endpoint,method,user,release,\
                      environment,origin,event_id,request_id,group_id,resolved,tags\r\n";

struct State {
    app: App,
    organization: OrganizationId,
    search: Search,
    format: Format,
    below: Option<Position>,
    left: i64,
    begun: bool,
    ended: bool,
}

/// The answer's body; at most `limit` events.
pub(super) fn body(
    app: App,
    organization: OrganizationId,
    search: Search,
    format: Format,
    limit: i64,
) -> Body {
    let state = State {
        app,
        organization,
        search,
        format,
        below: None,
        left: limit,
        begun: false,
        ended: false,
    };
    Body::from_stream(stream::try_unfold(state, |mut state| async move {
        if state.ended || state.app.shutdown.is_cancelled() {
            return Ok::<_, io::Error>(None);
        }
        let chunk = state.next().await?;
        Ok(Some((Bytes::from(chunk), state)))
    }))
}

impl State {
    async fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut chunk = Vec::new();
        if !self.begun && self.format == Format::Csv {
            chunk.extend_from_slice(HEADER.as_bytes());
        }
        self.begun = true;
        let limit = self.left.min(PAGE);
        let page = search::events(&self.app.db, self.organization, &self.search, limit, self.below);
        // A body that breaks off is the only way to say that it is not complete.
        let (events, next) = page.await.map_err(|error| {
            tracing::warn!(%error, "an export ended early");
            io::Error::other("the export cannot go on")
        })?;
        for mut found in events {
            self.left -= 1;
            strike_event(&mut found.event);
            match self.format {
                Format::Jsonl => {
                    serde_json::to_writer(&mut chunk, &found)?;
                    chunk.push(b'\n');
                }
                Format::Csv => write_row(&mut chunk, &found),
            }
        }
        self.below = next;
        self.ended = next.is_none() || self.left <= 0;
        Ok(chunk)
    }
}

fn write_row(out: &mut Vec<u8>, found: &Found) {
    let event = &found.event;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let cells = [
        event.id.to_string(),
        event.created_at.to_rfc3339(),
        event.app.clone(),
        event.severity.as_str().to_owned(),
        event.error_type.clone(),
        event.error_message.clone(),
        text(&event.endpoint),
        text(&event.method),
        text(&event.user_id),
        text(&found.release),
        text(&found.environment),
        found.origin.as_str().to_owned(),
        text(&found.event_id),
        text(&found.request_id),
        event.group_id.to_string(),
        event.resolved.to_string(),
        text(&found.tags),
    ];
    for (n, value) in cells.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(cell(value).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// A cell that is text in every spreadsheet: a formula would run with the reader's rights.
fn cell(value: &str) -> String {
    let formula = value.trim_start().starts_with(['=', '+', '-', '@'])
        || value.starts_with(['\t', '\r', '\n']);
    let quote = if formula { "'" } else { "" };
    if formula || value.contains([',', '"', '\n', '\r']) {
        format!("\"{quote}{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn cells_are_texts() {
        assert_eq!(cell("a b"), "a b");
        assert_eq!(cell("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " =x", "\t=x"] {
            assert!(cell(formula).starts_with("\"'"), "{formula}");
        }
    }
}
