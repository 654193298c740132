//! The budget of an organization and day: what a call may need is reserved before it and
//! corrected after it, in the database, so that replicas share it and restarts keep it.

use chrono::{DateTime, Utc};

use super::Trouble;
use crate::{
    auth::OrganizationId,
    config::Model,
    db::{Db, Result, Tx},
};

/// Tokens, and what they cost in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub tokens: i64,
    pub micros: i64,
}

/// What an organization has used today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Spent {
    pub tokens: i64,
    /// Millionths of the currency that the prices are in; 0 without prices.
    pub cost_micros: i64,
}

/// The day as the table names it.
pub(super) fn day(now: DateTime<Utc>) -> String {
    now.format("%F").to_string()
}

/// What tokens cost; `None` without prices. A price of a million is one in millionths of each.
pub(super) fn cost(model: &Model, tokens_in: u64, tokens_out: u64) -> Option<i64> {
    #[expect(clippy::cast_precision_loss, reason = "tokens of a call are far below 2^52")]
    let sum = tokens_in as f64 * model.input_price? + tokens_out as f64 * model.output_price?;
    #[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is meant")]
    let micros = sum.ceil() as i64;
    Some(micros)
}

/// The limits of a day.
pub(super) fn limits(model: &Model) -> Amount {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is meant")]
    let micros = model.daily_cost.map_or(i64::MAX, |cost| (cost * 1_000_000.0) as i64);
    Amount { tokens: i64::try_from(model.daily_tokens).unwrap_or(i64::MAX), micros }
}

/// Adds to the day's sums if they stay within the limits; whether they did.
pub(super) async fn reserve(
    tx: &mut Tx,
    organization: OrganizationId,
    day: &str,
    needed: Amount,
    limits: Amount,
) -> Result<bool> {
    if needed.tokens > limits.tokens || needed.micros > limits.micros {
        return Ok(false);
    }
    let changed = tx
        .query(
            "insert into model_spending (organization_id, day, tokens, cost_micros)
             values ($1, $2, $3, $4)
             on conflict (organization_id, day) do update
             set tokens = model_spending.tokens + excluded.tokens,
                 cost_micros = model_spending.cost_micros + excluded.cost_micros
             where model_spending.tokens + excluded.tokens <= $5
               and model_spending.cost_micros + excluded.cost_micros <= $6",
        )
        .bind(organization)
        .bind(day)
        .bind(needed.tokens)
        .bind(needed.micros)
        .bind(limits.tokens)
        .bind(limits.micros)
        .run()
        .await?;
    Ok(changed > 0)
}

/// Puts what was used in the place of what was reserved.
pub(super) async fn settle(
    tx: &mut Tx,
    organization: OrganizationId,
    day: &str,
    reserved: Amount,
    used: Amount,
) -> Result<()> {
    tx.query(
        "update model_spending set tokens = tokens + $3, cost_micros = cost_micros + $4
         where organization_id = $1 and day = $2",
    )
    .bind(organization)
    .bind(day)
    .bind(used.tokens - reserved.tokens)
    .bind(used.micros - reserved.micros)
    .run()
    .await
    .map(drop)
}

/// What was used on a day, with what is reserved just now.
pub(super) async fn spent(db: &Db, organization: OrganizationId, day: &str) -> Result<Spent> {
    let found: Option<(i64, i64)> = db
        .query(
            "select tokens, cost_micros from model_spending
             where organization_id = $1 and day = $2",
        )
        .bind(organization)
        .bind(day)
        .optional()
        .await?;
    Ok(found.map_or_else(Spent::default, |(tokens, cost_micros)| Spent { tokens, cost_micros }))
}

/// Which of the limits does not allow it. What is spent may have changed since.
pub(super) fn exceeded(model: &Model, spent: Spent, needed: Amount) -> Trouble {
    let tokens = spent.tokens.saturating_add(needed.tokens) > limits(model).tokens;
    match model.daily_cost {
        Some(cost) if !tokens => Trouble::BudgetSpent { what: "cost", limit: cost.to_string() },
        _ => Trouble::BudgetSpent { what: "tokens", limit: model.daily_tokens.to_string() },
    }
}
