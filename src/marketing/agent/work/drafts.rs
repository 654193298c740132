//! The newest version of each campaign, which several agents look at.

use serde_json::json;

use super::super::input::{Gather, Line};
use crate::{db::Query, error::Result};

/// A campaign's newest version.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub id: i64,
    pub name: String,
    pub status: String,
    pub subjects: Vec<String>,
    pub body: String,
}

/// Longest body that is looked at, in bytes.
const MOST_BODY: usize = 32 << 10;

/// Those that are still to be approved.
pub(super) fn open<'a>(gather: &Gather<'a>) -> Query<'a> {
    gather
        .app
        .db
        .query(
            "select c.id, c.name, c.status, v.subjects, v.body from campaign c
             join campaign_version v on v.campaign_id = c.id and v.version = c.version
             where c.organization_id = $1 and c.status in ('draft', 'in_review')
             order by c.updated_at desc limit 20",
        )
        .bind(gather.organization)
}

/// Those that somebody approved.
pub(super) fn approved<'a>(gather: &Gather<'a>) -> Query<'a> {
    gather
        .app
        .db
        .query(
            "select c.id, c.name, c.status, v.subjects, v.body from campaign c
             join campaign_version v on v.campaign_id = c.id and v.version = c.approved_version
             where c.organization_id = $1 and c.status in ('approved', 'sending', 'paused', 'sent')
             order by c.updated_at desc limit 10",
        )
        .bind(gather.organization)
}

/// Reads drafts, and gives each a line of checks.
pub(super) async fn read(
    gather: &mut Gather<'_>,
    id: &str,
    name: &str,
    columns: &[&str],
    query: Query<'_>,
    line: impl Fn(&Draft) -> Line,
) -> Result<()> {
    let line = |(id, name, status, subjects, body): (i64, String, String, String, String)| {
        let body = body[..body.floor_char_boundary(MOST_BODY)].to_owned();
        let subjects = serde_json::from_str(&subjects).unwrap_or_default();
        let draft = Draft { id, name, status, subjects, body };
        line(&draft).to(format!("/campaigns/{}", draft.id))
    };
    gather.table(id, name, columns, query, line).await
}

impl Draft {
    pub(super) fn words(&self) -> i64 {
        i64::try_from(self.body.split_whitespace().count()).unwrap_or(i64::MAX)
    }

    /// Its plain text: links by their words, no marks.
    pub(super) fn plain(&self) -> String {
        use pulldown_cmark::{Event, Parser};
        let mut text = String::new();
        for event in Parser::new(&self.body) {
            match event {
                Event::Text(words) | Event::Code(words) => text.push_str(&words),
                Event::SoftBreak | Event::HardBreak | Event::End(_) => text.push(' '),
                _ => {}
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What a check found, as a cell.
pub(super) fn found(what: &[String]) -> serde_json::Value {
    json!(what.join("; "))
}
