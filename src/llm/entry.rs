//! A request in the ledger: noted before it leaves and completed when it has ended. What
//! cannot be noted is not sent.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    Counts, Purpose, Trouble,
    budget::{self, Amount},
};
use crate::{
    auth::OrganizationId,
    clock,
    config::Model,
    db::Db,
    error::Error,
    redact::{self, Known},
    seal::{Field, Sealer},
};

/// Bound of a text in the ledger, in bytes.
const MAX_TEXT: usize = 64 << 10;

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

/// What a text of the ledger is sealed for; `row` is its `texts_row`.
pub(super) fn field<'a>(column: &'static str, row: &'a str) -> Field<'a> {
    Field { table: "model_call", column, row }
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
    sealer: Sealer,
    row: String,
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
    sealer: &Sealer,
    opening: &Opening<'_>,
) -> Result<Entry, Trouble> {
    let reserved = amount(config, opening.tokens_in, opening.max_output);
    let now = clock::now();
    let day = budget::day(now);
    let row = Uuid::now_v7().to_string();
    let written = async {
        let mut tx = db.begin().await?;
        let limits = budget::limits(config);
        if !budget::reserve(&mut tx, opening.organization, &day, reserved, limits).await? {
            return Ok(None);
        }
        let sent = (!config.keep_texts.is_zero()).then(|| bounded(opening.sent));
        let sent = sent.map(|text| sealer.seal(field("sent", &row), &text)).transpose()?;
        let redacted: Value =
            opening.redacted.iter().map(|(kind, n)| (kind.as_str().to_owned(), json!(n))).collect();
        let id: i64 = tx
            .query(
                "insert into model_call (organization_id, at, purpose, why, made_for, model, host,
                     result, attempts, bytes_out, bytes_in, tokens_in, tokens_out, estimated,
                     redacted, sent, texts_row)
                 values ($1, $2, $3, $4, $5, $6, $7, 'under_way', 0, $8, 0, $9, 0, true, $10, $11,
                     $12)
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
            .bind(row.as_str())
            .scalar()
            .await?;
        tx.commit().await?;
        Ok::<_, Error>(Some(id))
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
        sealer: sealer.clone(),
        row,
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
            let answer = answer.map(|text| self.sealer.seal(field("answer", &self.row), &text));
            let answer = answer.transpose()?;
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
            tx.commit().await?;
            Ok::<_, Error>(())
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
