//! How often what was done about a cause helped.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// What was done about a cause, and how often the resolution held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Recipe {
    pub cause: String,
    /// An action's name, or "by hand".
    pub recipe: String,
    pub worked: i64,
    pub failed: i64,
}

impl Recipe {
    /// "worked 7 of 8 times here"
    pub fn text(&self) -> String {
        format!("worked {} of {} times here", self.worked, self.worked + self.failed)
    }

    /// The share that worked, with one of two as the start: one success is not yet a rule.
    pub fn rank(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a ratio of small counts")]
        let share = (self.worked as f64 + 1.0) / ((self.worked + self.failed) as f64 + 2.0);
        share
    }
}

pub async fn of_cause(db: &Db, organization: OrganizationId, cause: &str) -> Result<Vec<Recipe>> {
    db.query(
        "select cause, recipe, worked, failed from recipe
         where organization_id = $1 and cause = $2 order by recipe limit 100",
    )
    .bind(organization)
    .bind(cause)
    .all()
    .await
}

pub async fn list(db: &Db, organization: OrganizationId) -> Result<Vec<Recipe>> {
    db.query(
        "select cause, recipe, worked, failed from recipe
         where organization_id = $1 order by cause, recipe limit 1000",
    )
    .bind(organization)
    .all()
    .await
}

/// When something was last done about a cause, among the newest 500 runs.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Used {
    pub cause: String,
    pub recipe: String,
    pub at: DateTime<Utc>,
}

/// Of each recipe, when it was last used.
pub async fn last_used(db: &Db, organization: OrganizationId) -> Result<Vec<Used>> {
    db.query(
        "select c.cause, coalesce(c.action, 'by hand') as recipe,
             max(coalesce(c.acted_at, a.finished_at)) as at
         from (select id from repair_run where organization_id = $1
               order by id desc limit 500) as r
         join repair_cause as c on c.run_id = r.id
         join repair_attempt as a on a.cause_id = c.id
         where c.acted_at is not null or a.verdict = 'resolved'
         group by c.cause, coalesce(c.action, 'by hand') limit 1000",
    )
    .bind(organization)
    .all()
    .await
}

/// Counts one more use.
pub async fn count(
    tx: &mut Tx,
    organization: i64,
    cause: &str,
    recipe: &str,
    worked: bool,
) -> Result<()> {
    tx.query(
        "insert into recipe (organization_id, cause, recipe, worked, failed)
         values ($1, $2, $3, $4, $5)
         on conflict (organization_id, cause, recipe) do update
             set worked = recipe.worked + excluded.worked, failed = recipe.failed + excluded.failed",
    )
    .bind(organization)
    .bind(cause)
    .bind(recipe)
    .bind(i64::from(worked))
    .bind(i64::from(!worked))
    .run()
    .await
    .map(drop)
}
