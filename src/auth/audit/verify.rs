//! Walking the chain: whether every entry is there, and as it was written.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;

use chrono::{DateTime, Utc};

use super::{Head, OrganizationId, chain::Link, head};
use crate::{
    db::{Db, Result},
    error::Error,
};

/// Entries that are read at once.
const PAGE: i64 = 500;

/// Problems that are told; one change shows in one or two.
const MOST: usize = 100;

/// An entry that was seen earlier: "57:6f1c…", as Lux writes it to its own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub number: i64,
    pub hash: String,
}

impl From<&Head> for Known {
    fn from(head: &Head) -> Self {
        Self { number: head.entries, hash: head.hash.clone() }
    }
}

impl FromStr for Known {
    type Err = Error;

    fn from_str(text: &str) -> std::result::Result<Self, Error> {
        let read = || {
            let (number, hash) = text.split_once(':')?;
            let number = number.parse().ok().filter(|number| *number > 0)?;
            let fits = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            fits.then(|| Self { number, hash: hash.to_ascii_lowercase() })
        };
        read().ok_or_else(|| {
            Error::invalid(
                "a head is NUMBER:HASH, as Lux's log has it (\"the audit log ends here\")",
            )
        })
    }
}

/// Something that is wrong with the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = AuditProblem)]
pub struct Problem {
    /// Of the entry, from 1.
    pub number: i64,
    /// Which check failed: "missing", "hash", "end", "head", "outside".
    pub check: &'static str,
    pub detail: String,
}

/// What a walk over the chain found.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditCheck)]
pub struct Check {
    /// Nothing is wrong with what was looked at.
    pub whole: bool,
    /// Entries that were looked at.
    pub checked: i64,
    /// The end of the chain; null while there is no entry.
    pub head: Option<Head>,
    /// At most 100.
    pub problems: Vec<Problem>,
    /// The number to go on behind; null at the end.
    pub next: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    number: i64,
    hash: Option<String>,
    at: DateTime<Utc>,
    actor: String,
    action: String,
    subject: String,
    address: Option<String>,
    detail: Json<Value>,
}

/// Looks at the entries behind number `after` (0: from the first), at most `most` of them, and
/// whether `known` is still one of them. What is written meanwhile is not looked at.
pub async fn verify(
    db: &Db,
    organization: OrganizationId,
    after: i64,
    most: i64,
    known: Option<&Known>,
) -> Result<Check> {
    let head = head::of(db, organization).await?;
    let end = head.as_ref().map_or(0, |head| head.entries);
    let mut walk = Walk {
        organization,
        expected: after.saturating_add(1),
        before: None,
        problems: Vec::new(),
    };
    if after == 0 {
        walk.before = Some(String::new());
        walk.problems.extend(put_in(db, organization).await?);
    } else {
        walk.before = hash_of(db, organization, after).await?;
    }
    if let Some(known) = known {
        walk.problems.extend(misses(db, organization, known).await?);
    }
    let mut checked = 0;
    while checked < most && walk.problems.len() < MOST {
        let rows: Vec<Row> = db
            .query(
                "select number, hash, created_at as at, actor, action, subject, address, detail
                 from audit where organization_id = $1 and number >= $2 and number <= $3
                 order by number limit $4",
            )
            .bind(organization)
            .bind(walk.expected)
            .bind(end)
            .bind(PAGE.min(most - checked))
            .all()
            .await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            checked += 1;
            walk.step(&row);
        }
    }
    let last = walk.expected - 1;
    let more = last < end && (checked >= most || walk.problems.len() >= MOST);
    if !more {
        walk.end(db, head.as_ref()).await?;
    }
    walk.problems.truncate(MOST);
    let whole = walk.problems.is_empty();
    Ok(Check { whole, checked, head, problems: walk.problems, next: more.then_some(last) })
}

/// Where a walk stands.
struct Walk {
    organization: OrganizationId,
    /// The number of the entry that comes next.
    expected: i64,
    /// The hash of the entry before; `None` where that is missing.
    before: Option<String>,
    problems: Vec<Problem>,
}

impl Walk {
    fn step(&mut self, row: &Row) {
        let number = row.number;
        if number != self.expected {
            self.missing(self.expected, number - 1);
            self.before = None;
        }
        let link = Link {
            organization: self.organization.0,
            number,
            at: row.at,
            actor: &row.actor,
            action: &row.action,
            subject: &row.subject,
            address: row.address.as_deref(),
            detail: &row.detail.0,
        };
        // Behind a gap it cannot be told from the one before.
        if let Some(before) = &self.before
            && row.hash.as_deref() != Some(&link.hash(before))
        {
            let detail = format!(
                "entry {number} of {} is not what its hash was made of: it was changed, or the \
                 one before was",
                row.at
            );
            self.problems.push(Problem { number, check: "hash", detail });
        }
        self.before.clone_from(&row.hash);
        self.expected = number + 1;
    }

    fn missing(&mut self, from: i64, to: i64) {
        let detail = if from == to {
            format!("entry {from} is missing")
        } else {
            format!("entries {from} to {to} are missing")
        };
        self.problems.push(Problem { number: from, check: "missing", detail });
    }

    /// Whether the last entry is the one that the head names, and nothing stands behind it.
    async fn end(&mut self, db: &Db, head: Option<&Head>) -> Result<()> {
        if let Some(head) = head {
            self.last(head);
        }
        // In one statement: who writes meanwhile moves the head in the same transaction.
        let behind: Option<(i64,)> = db
            .query(
                "select a.number from audit as a
                 left join audit_head as h on h.organization_id = a.organization_id
                 where a.organization_id = $1 and a.number > coalesce(h.entries, 0)
                 order by a.number limit 1",
            )
            .bind(self.organization)
            .optional()
            .await?;
        if let Some((number,)) = behind {
            let detail = format!("entry {number} stands behind the end of the chain");
            self.problems.push(Problem { number, check: "end", detail });
        }
        Ok(())
    }

    fn last(&mut self, head: &Head) {
        if self.expected <= head.entries {
            self.missing(self.expected, head.entries);
        } else if self.expected - 1 > head.entries {
            let (number, end) = (self.expected - 1, head.entries);
            let detail = format!("the chain ends with entry {end}: there is no entry {number}");
            self.problems.push(Problem { number, check: "end", detail });
        } else if self.before.as_ref() != Some(&head.hash) {
            let number = head.entries;
            let detail = format!("the chain does not end with the hash of entry {number}");
            self.problems.push(Problem { number, check: "end", detail });
        }
    }
}

async fn hash_of(db: &Db, organization: OrganizationId, number: i64) -> Result<Option<String>> {
    let found: Option<(Option<String>,)> = db
        .query("select hash from audit where organization_id = $1 and number = $2")
        .bind(organization)
        .bind(number)
        .optional()
        .await?;
    Ok(found.and_then(|(hash,)| hash))
}

/// What is wrong if an entry that was seen earlier is not in the chain any more.
pub(super) async fn misses(
    db: &Db,
    organization: OrganizationId,
    known: &Known,
) -> Result<Option<Problem>> {
    let found = hash_of(db, organization, known.number).await?;
    if found.as_ref() == Some(&known.hash) {
        return Ok(None);
    }
    let number = known.number;
    let detail = match found {
        None => format!("the chain had an entry {number}, and has it no more: its end was cut off"),
        Some(_) => format!("entry {number} had another hash: the chain was made anew"),
    };
    Ok(Some(Problem { number, check: "head", detail }))
}

/// Entries without a number are from before there was a chain: none may follow its first.
async fn put_in(db: &Db, organization: OrganizationId) -> Result<Option<Problem>> {
    let found: Option<(i64,)> = db
        .query(
            "select id from audit
             where organization_id = $1 and number is null and id > (
                 select min(id) from audit where organization_id = $1 and number is not null)
             order by id limit 1",
        )
        .bind(organization)
        .optional()
        .await?;
    Ok(found.map(|(id,)| {
        let detail = format!("the entry with id {id} stands outside of the chain: it was put in");
        Problem { number: 0, check: "outside", detail }
    }))
}
