//! The ledger, read: what was sent to a model, and for how long that is kept.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;

use super::{
    Llm, Purpose,
    budget::{self, Spent},
    entry,
};
use crate::{
    auth::OrganizationId,
    clock,
    db::{Db, Result},
};

/// What the texts are sealed for, and they.
type Texts = (Option<String>, Option<String>, Option<String>);

/// Rows that one statement clears.
const BATCH: i64 = 1000;

/// A request, without its texts.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Line {
    pub id: i64,
    pub at: DateTime<Utc>,
    /// "chat", "diagnose", "plan", "campaign"
    pub purpose: String,
    /// "message 12 of session 4"
    pub why: String,
    /// For whom.
    pub made_for: String,
    pub model: String,
    pub host: String,
    /// "told", "under_way", "stopped", "lost", or the class of what went wrong.
    pub result: String,
    pub detail: Option<String>,
    pub attempts: i64,
    pub bytes_out: i64,
    pub bytes_in: i64,
    pub tokens_in: i64,
    pub tokens_out: i64,
    /// The tokens are a guess: the server did not count.
    pub estimated: bool,
    /// Millionths of the currency that the prices are in.
    pub cost_micros: Option<i64>,
    pub latency_ms: Option<i64>,
    /// How often something of each kind was struck out before it was sent.
    #[schema(value_type = Object)]
    pub redacted: Json<Value>,
}

/// A request with its texts, as far as they are kept.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Whole {
    #[serde(flatten)]
    pub line: Line,
    /// The body as it was sent.
    pub sent: Option<String>,
    pub answer: Option<String>,
}

/// Which requests to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub purpose: Option<Purpose>,
    /// A result, exactly: "told", "timed_out".
    pub result: Option<String>,
    pub made_for: Option<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

/// The last request of a page; the next page begins below it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Position {
    pub id: i64,
}

/// A page of requests, newest first, and where the next one begins.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    filter: &Filter,
    limit: i64,
    after: Option<Position>,
) -> Result<(Vec<Line>, Option<Position>)> {
    let mut lines: Vec<Line> = db
        .query(
            "select id, at, purpose, why, made_for, model, host, result, detail, attempts,
                 bytes_out, bytes_in, tokens_in, tokens_out, estimated, cost_micros, latency_ms,
                 redacted
             from model_call
             where organization_id = $1 and id < $2 and (cast($3 as text) is null or purpose = $3)
               and (cast($4 as text) is null or result = $4)
               and (cast($5 as text) is null or made_for = $5)
               and at >= $6 and at < $7
             order by id desc limit $8",
        )
        .bind(organization)
        .bind(after.map_or(i64::MAX, |after| after.id))
        .bind(filter.purpose.map(Purpose::as_str))
        .bind(filter.result.clone())
        .bind(filter.made_for.clone())
        .bind(filter.since.unwrap_or(DateTime::UNIX_EPOCH))
        .bind(filter.until.unwrap_or_else(|| clock::now() + TimeDelta::days(1)))
        .bind(limit + 1)
        .all()
        .await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = lines.len() > page;
    lines.truncate(page);
    let next = lines.last().filter(|_| more).map(|line| Position { id: line.id });
    Ok((lines, next))
}

impl Llm {
    /// One request with its texts.
    pub async fn find(&self, organization: OrganizationId, id: i64) -> Result<Option<Whole>> {
        let line: Option<Line> = self
            .0
            .db
            .query(
                "select id, at, purpose, why, made_for, model, host, result, detail, attempts,
                     bytes_out, bytes_in, tokens_in, tokens_out, estimated, cost_micros, latency_ms,
                     redacted
                 from model_call where organization_id = $1 and id = $2",
            )
            .bind(organization)
            .bind(id)
            .optional()
            .await?;
        let Some(line) = line else { return Ok(None) };
        let texts: Option<Texts> = self
            .0
            .db
            .query(
                "select texts_row, sent, answer from model_call
                 where organization_id = $1 and id = $2",
            )
            .bind(organization)
            .bind(id)
            .optional()
            .await?;
        let (row, sent, answer) = texts.unwrap_or_default();
        let open = |column, text: Option<String>| match (&row, text) {
            // Of before texts were sealed.
            (None, text) => text,
            (_, None) => None,
            (Some(row), Some(text)) => {
                Some(match self.0.sealer.open(entry::field(column, row), &text) {
                    Ok(text) => text.expose_secret().to_owned(),
                    Err(error) => format!("({error})"),
                })
            }
        };
        let (sent, answer) = (open("sent", sent), open("answer", answer));
        Ok(Some(Whole { line, sent, answer }))
    }

    /// What an organization has used today, and the limits: tokens, and the cost in millionths.
    pub async fn spent_today(&self, organization: OrganizationId) -> Result<Spent> {
        budget::spent(&self.0.db, organization, &budget::day(clock::now())).await
    }

    /// Removes what is older than it is to be kept: texts first, then the rows. To be called
    /// once a day; gives the number of rows that were removed.
    pub async fn clear_ledger(&self) -> Result<u64> {
        let (db, config) = (&self.0.db, &self.0.config);
        let before = |age: Duration| {
            let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
            clock::now().checked_sub_signed(age).unwrap_or(DateTime::UNIX_EPOCH)
        };
        batches(|| {
            db.query(
                "update model_call set sent = null, answer = null where id in
                     (select id from model_call
                      where at < $1 and (sent is not null or answer is not null)
                      order by at limit $2)",
            )
            .bind(before(config.keep_texts))
            .bind(BATCH)
            .run()
        })
        .await?;
        // Its process did not live to close it.
        db.query("update model_call set result = 'lost' where result = 'under_way' and at < $1")
            .bind(before(Duration::from_hours(1)))
            .run()
            .await?;
        let removed = batches(|| {
            db.query(
                "delete from model_call where id in
                     (select id from model_call where at < $1 order by at limit $2)",
            )
            .bind(before(config.keep_ledger))
            .bind(BATCH)
            .run()
        })
        .await?;
        db.query("delete from model_spending where day < $1")
            .bind(budget::day(before(config.keep_ledger)))
            .run()
            .await?;
        Ok(removed)
    }
}

/// Repeats a statement until it changes nothing; others get their turn between two.
async fn batches<F: Future<Output = Result<u64>>>(statement: impl Fn() -> F) -> Result<u64> {
    let mut changed = 0;
    loop {
        match statement().await? {
            0 => return Ok(changed),
            more => changed += more,
        }
    }
}
