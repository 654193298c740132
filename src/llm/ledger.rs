//! The ledger: each request to a model's server, noted before it leaves and completed when it
//! has ended. What cannot be noted is not sent.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::types::Json;

use super::{
    Counts, Llm, Purpose, Trouble,
    budget::{self, Amount, Spent},
};
use crate::{
    auth::OrganizationId,
    clock,
    config::Model,
    db::{Db, Result},
    redact::{self, Known},
};

/// Bound of a text in the ledger, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// Rows that one statement clears.
const BATCH: i64 = 1000;

/// What is known before a request leaves.
pub(super) struct Opening<'a> {
    pub organization: OrganizationId,
    pub purpose: Purpose,
    pub why: &'a str,
    pub by: &'a str,
    pub model: &'a str,
    pub host: &'a str,
    pub sent: &'a str,
    pub redacted: &'a Counts,
    pub tokens_in: u64,
    pub max_output: u64,
}

/// How it ended.
#[derive(Debug, Default)]
pub(super) struct Closing {
    pub result: &'static str,
    pub detail: Option<String>,
    pub attempts: u32,
    pub bytes_in: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub estimated: bool,
    pub latency: Duration,
    pub answer: Option<String>,
}

/// A request that is in the ledger and has not ended. Dropped, it is closed as stopped.
pub(super) struct Entry {
    pub id: i64,
    open: Option<Open>,
    /// What a stop is to be noted with.
    pub so_far: Arc<std::sync::Mutex<Closing>>,
}

/// What it takes to close.
struct Open {
    db: Db,
    config: Arc<Model>,
    known: Arc<Known>,
    id: i64,
    organization: OrganizationId,
    day: String,
    reserved: Amount,
}

/// Reserves what the request may use and notes it; both or neither.
pub(super) async fn open(
    db: &Db,
    config: &Arc<Model>,
    known: &Arc<Known>,
    opening: &Opening<'_>,
) -> Result<Entry, Trouble> {
    let reserved = amount(config, opening.tokens_in, opening.max_output);
    let now = clock::now();
    let day = budget::day(now);
    let written = async {
        let mut tx = db.begin().await?;
        let limits = budget::limits(config);
        if !budget::reserve(&mut tx, opening.organization, &day, reserved, limits).await? {
            return Ok(None);
        }
        let sent = (!config.keep_texts.is_zero()).then(|| bounded(opening.sent));
        let redacted: Value =
            opening.redacted.iter().map(|(kind, n)| (kind.as_str().to_owned(), json!(n))).collect();
        let id: i64 = tx
            .query(
                "insert into model_call (organization_id, at, purpose, why, made_for, model, host,
                     result, attempts, bytes_out, bytes_in, tokens_in, tokens_out, estimated,
                     redacted, sent)
                 values ($1, $2, $3, $4, $5, $6, $7, 'under_way', 0, $8, 0, $9, 0, true, $10, $11)
                 returning id",
            )
            .bind(opening.organization)
            .bind(now)
            .bind(opening.purpose.as_str())
            .bind(short(opening.why))
            .bind(short(opening.by))
            .bind(short(opening.model))
            .bind(short(opening.host))
            .bind(signed(opening.sent.len()))
            .bind(signed(opening.tokens_in))
            .bind(Json(redacted))
            .bind(sent)
            .scalar()
            .await?;
        tx.commit().await?;
        Ok::<_, crate::db::Error>(Some(id))
    };
    let id = match written.await {
        Ok(Some(id)) => id,
        Ok(None) => {
            let spent = budget::spent(db, opening.organization, &day).await.unwrap_or_default();
            return Err(budget::exceeded(config, spent, reserved));
        }
        Err(error) => {
            tracing::warn!(%error, "a request to the model could not be noted and was not sent");
            return Err(Trouble::NoLedger);
        }
    };
    let open = Open {
        db: db.clone(),
        config: Arc::clone(config),
        known: Arc::clone(known),
        id,
        organization: opening.organization,
        day,
        reserved,
    };
    let so_far = Closing {
        result: "stopped",
        tokens_in: opening.tokens_in,
        estimated: true,
        ..Closing::default()
    };
    Ok(Entry { id, open: Some(open), so_far: Arc::new(std::sync::Mutex::new(so_far)) })
}

impl Entry {
    /// Notes how it ended. Where the database does not take it the reservation stands.
    pub(super) async fn close(mut self, closing: Closing) {
        if let Some(open) = self.open.take() {
            open.close(closing).await;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (Some(open), Ok(runtime)) = (self.open.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let closing = self.so_far.lock().map(|mut so_far| std::mem::take(&mut *so_far));
        if let Ok(closing) = closing {
            runtime.spawn(open.close(closing));
        }
    }
}

impl Open {
    async fn close(self, closing: Closing) {
        let used = amount(&self.config, closing.tokens_in, closing.tokens_out);
        let answer = closing.answer.filter(|_| !self.config.keep_texts.is_zero());
        let answer = answer.map(|text| bounded(&redact::secrets(&self.known.strike(&text).0)));
        let written = async {
            let mut tx = self.db.begin().await?;
            budget::settle(&mut tx, self.organization, &self.day, self.reserved, used).await?;
            tx.query(
                "update model_call set result = $2, detail = $3, attempts = $4, bytes_in = $5,
                     tokens_in = $6, tokens_out = $7, estimated = $8, cost_micros = $9,
                     latency_ms = $10, answer = $11
                 where id = $1",
            )
            .bind(self.id)
            .bind(closing.result)
            .bind(closing.detail)
            .bind(i64::from(closing.attempts))
            .bind(signed(closing.bytes_in))
            .bind(signed(closing.tokens_in))
            .bind(signed(closing.tokens_out))
            .bind(closing.estimated)
            .bind(budget::cost(&self.config, closing.tokens_in, closing.tokens_out))
            .bind(signed(closing.latency.as_millis()))
            .bind(answer)
            .run()
            .await?;
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, id = self.id, "how a request to the model ended was not noted");
        }
    }
}

fn amount(config: &Model, tokens_in: u64, tokens_out: u64) -> Amount {
    Amount {
        tokens: signed(tokens_in.saturating_add(tokens_out)),
        micros: budget::cost(config, tokens_in, tokens_out).unwrap_or(0),
    }
}

fn signed<T: TryInto<i64>>(count: T) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn short(text: &str) -> String {
    let text = redact::secrets(text);
    text.replace('\0', "\u{fffd}").chars().take(300).collect()
}

/// PostgreSQL's text holds no NUL.
fn bounded(text: &str) -> String {
    let kept = text[..text.floor_char_boundary(MAX_TEXT)].replace('\0', "\u{fffd}");
    if text.len() <= MAX_TEXT {
        return kept;
    }
    format!("{kept}\n[cut here: {} bytes in all]", text.len())
}

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

/// One request with its texts.
pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Whole>> {
    let line: Option<Line> = db
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
    let texts: Option<(Option<String>, Option<String>)> = db
        .query("select sent, answer from model_call where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    let (sent, answer) = texts.unwrap_or_default();
    Ok(Some(Whole { line, sent, answer }))
}

impl Llm {
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
