//! All SQL of the agents but what they read for their work.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{input::Input, report::Report, roster::Key};
use crate::{
    auth::OrganizationId,
    db::{Db, Result, Tx},
};

/// Who had a run made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = AgentTrigger)]
pub enum Trigger {
    Manual,
    Schedule,
    Chat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = AgentRunStatus)]
pub enum Status {
    Queued,
    Running,
    Done,
    Failed,
}

impl Status {
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// A run with all that it read and said.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = AgentRun)]
pub struct Run {
    pub id: i64,
    #[schema(inline)]
    pub agent: Key,
    pub trigger: Trigger,
    pub requested_by: String,
    pub status: Status,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub inputs: Vec<Input>,
    /// "model" or "template"; `None` until it is over.
    pub engine: Option<String>,
    /// The prompt and its version: "agents/retention@1".
    pub prompt: Option<String>,
    /// As its server named it.
    pub model: Option<String>,
    pub tokens_in: i64,
    pub tokens_out: i64,
    /// Millionths of the prices' currency; `None` without prices.
    pub cost_micros: Option<i64>,
    pub result: Option<Report>,
    /// What came of it, in one line.
    pub outcome: String,
    pub error: Option<String>,
    #[serde(skip)]
    pub organization_id: i64,
}

impl Run {
    pub fn organization(&self) -> OrganizationId {
        OrganizationId(self.organization_id)
    }

    /// Proposals that nobody took up yet and that something can be made of.
    pub fn waiting(&self) -> usize {
        let proposals = self.result.iter().flat_map(|result| &result.proposals);
        proposals.filter(|it| it.taken.is_none() && super::may_be_taken(it.kind)).count()
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    agent: Key,
    trigger: Trigger,
    requested_by: String,
    status: Status,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    inputs: String,
    engine: Option<String>,
    prompt: Option<String>,
    model: Option<String>,
    tokens_in: i64,
    tokens_out: i64,
    cost_micros: Option<i64>,
    result: Option<String>,
    outcome: String,
    error: Option<String>,
    organization_id: i64,
}

impl From<Row> for Run {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            agent: row.agent,
            trigger: row.trigger,
            requested_by: row.requested_by,
            status: row.status,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            inputs: serde_json::from_str(&row.inputs).unwrap_or_default(),
            engine: row.engine,
            prompt: row.prompt,
            model: row.model,
            tokens_in: row.tokens_in,
            tokens_out: row.tokens_out,
            cost_micros: row.cost_micros,
            result: row.result.and_then(|text| serde_json::from_str(&text).ok()),
            outcome: row.outcome,
            error: row.error,
            organization_id: row.organization_id,
        }
    }
}

macro_rules! select_runs {
    ($rest:literal) => {
        concat!(
            "select id, agent, trigger, requested_by, status, created_at, started_at, finished_at,
                 inputs, engine, prompt, model, tokens_in, tokens_out, cost_micros, result, outcome,
                 error, organization_id
             from agent_run ",
            $rest
        )
    };
}

/// Makes a run, or finds the one of this agent that has not ended. The flag says whether it is new.
pub async fn open(
    tx: &mut Tx,
    organization: OrganizationId,
    agent: Key,
    trigger: Trigger,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(i64, bool)> {
    let made: Option<(i64,)> = tx
        .query(
            "insert into agent_run (organization_id, agent, trigger, requested_by, status, created_at)
             values ($1, $2, $3, $4, 'queued', $5) on conflict do nothing returning id",
        )
        .bind(organization)
        .bind(agent)
        .bind(trigger)
        .bind(by)
        .bind(now)
        .optional()
        .await?;
    if let Some((id,)) = made {
        return Ok((id, true));
    }
    let id = tx
        .query(
            "select id from agent_run where organization_id = $1 and agent = $2
             and status in ('queued', 'running')",
        )
        .bind(organization)
        .bind(agent)
        .scalar()
        .await?;
    Ok((id, false))
}

pub async fn find(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Run>> {
    let found: Option<Row> = db
        .query(select_runs!("where organization_id = $1 and id = $2"))
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(found.map(Run::from))
}

/// For the queue, which knows only the number.
pub async fn load(db: &Db, id: i64) -> Result<Option<Run>> {
    let found: Option<Row> = db.query(select_runs!("where id = $1")).bind(id).optional().await?;
    Ok(found.map(Run::from))
}

/// Runs of an agent below `before`, the newest first.
pub async fn list(
    db: &Db,
    organization: OrganizationId,
    agent: Key,
    before: i64,
    limit: i64,
) -> Result<Vec<Run>> {
    let found: Vec<Row> = db
        .query(select_runs!(
            "where organization_id = $1 and agent = $2 and id < $3 order by id desc limit $4"
        ))
        .bind(organization)
        .bind(agent)
        .bind(before)
        .bind(limit)
        .all()
        .await?;
    Ok(found.into_iter().map(Run::from).collect())
}

/// The newest run of each agent.
pub async fn newest(db: &Db, organization: OrganizationId) -> Result<BTreeMap<Key, Run>> {
    let found: Vec<Row> = db
        .query(select_runs!(
            "where id in (select max(id) from agent_run where organization_id = $1 group by agent)"
        ))
        .bind(organization)
        .all()
        .await?;
    Ok(found.into_iter().map(|row| (row.agent, Run::from(row))).collect())
}

pub async fn begin(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<bool> {
    let changed = tx
        .query(
            "update agent_run set status = 'running', started_at = coalesce(started_at, $2)
             where id = $1 and status in ('queued', 'running')",
        )
        .bind(id)
        .bind(now)
        .run()
        .await?;
    Ok(changed > 0)
}

/// What a run ends with.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    pub inputs: Vec<Input>,
    pub engine: Option<&'static str>,
    pub prompt: Option<String>,
    pub model: Option<String>,
    pub tokens_in: i64,
    pub tokens_out: i64,
    pub cost_micros: Option<i64>,
    pub result: Option<Report>,
    pub outcome: String,
    pub error: Option<String>,
}

pub async fn end(tx: &mut Tx, id: i64, ended: &Ended, now: DateTime<Utc>) -> Result<()> {
    tx.query(
        "update agent_run set status = $2, finished_at = $3, inputs = $4, engine = $5, prompt = $6,
             model = $7, tokens_in = $8, tokens_out = $9, cost_micros = $10, result = $11,
             outcome = $12, error = $13
         where id = $1",
    )
    .bind(id)
    .bind(if ended.error.is_some() { Status::Failed } else { Status::Done })
    .bind(now)
    .bind(json(&ended.inputs)?)
    .bind(ended.engine)
    .bind(&ended.prompt)
    .bind(&ended.model)
    .bind(ended.tokens_in)
    .bind(ended.tokens_out)
    .bind(ended.cost_micros)
    .bind(ended.result.as_ref().map(json).transpose()?)
    .bind(&ended.outcome)
    .bind(&ended.error)
    .run()
    .await
    .map(drop)
}

/// The result of a run, held until the transaction ends.
pub async fn result_for_change(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Report>> {
    // So that two who take up the same proposal take turns.
    tx.query("update agent_run set outcome = outcome where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .run()
        .await?;
    let found: Option<(Option<String>,)> = tx
        .query("select result from agent_run where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(found.and_then(|(text,)| serde_json::from_str(&text?).ok()))
}

pub async fn set_result(tx: &mut Tx, id: i64, result: &Report) -> Result<()> {
    tx.query("update agent_run set result = $2 where id = $1")
        .bind(id)
        .bind(json(result)?)
        .run()
        .await
        .map(drop)
}

/// Removes runs that ended before; the newest of each agent stays.
pub async fn forget(db: &Db, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    db.query(
        "delete from agent_run where id in
             (select id from agent_run where finished_at < $1 and id not in
                  (select max(id) from agent_run group by organization_id, agent)
              order by id limit $2)",
    )
    .bind(before)
    .bind(limit)
    .run()
    .await
}

/// What an operator set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    pub is_on: Option<bool>,
    pub schedule: Option<String>,
    pub timezone: Option<String>,
    pub pages: Vec<String>,
    pub changed_by: String,
    pub changed_at: DateTime<Utc>,
}

type SettingRow =
    (Key, Option<bool>, Option<String>, Option<String>, String, String, DateTime<Utc>);

pub async fn settings(db: &Db, organization: OrganizationId) -> Result<BTreeMap<Key, Setting>> {
    let found: Vec<SettingRow> = db
        .query(
            "select agent, is_on, schedule, timezone, pages, changed_by, changed_at
             from agent_setting where organization_id = $1",
        )
        .bind(organization)
        .all()
        .await?;
    let setting =
        |(agent, is_on, schedule, timezone, pages, changed_by, changed_at): SettingRow| {
            let pages = serde_json::from_str(&pages).unwrap_or_default();
            (agent, Setting { is_on, schedule, timezone, pages, changed_by, changed_at })
        };
    Ok(found.into_iter().map(setting).collect())
}

pub async fn set(
    tx: &mut Tx,
    organization: OrganizationId,
    agent: Key,
    setting: &Setting,
) -> Result<()> {
    tx.query(
        "insert into agent_setting
             (organization_id, agent, is_on, schedule, timezone, pages, changed_by, changed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (organization_id, agent) do update
         set is_on = excluded.is_on, schedule = excluded.schedule, timezone = excluded.timezone,
             pages = excluded.pages, changed_by = excluded.changed_by,
             changed_at = excluded.changed_at",
    )
    .bind(organization)
    .bind(agent)
    .bind(setting.is_on)
    .bind(&setting.schedule)
    .bind(&setting.timezone)
    .bind(json(&setting.pages)?)
    .bind(&setting.changed_by)
    .bind(setting.changed_at)
    .run()
    .await
    .map(drop)
}

/// As JSON; PostgreSQL's texts hold no zero byte.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    let text = serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))?;
    Ok(text.replace("\\u0000", "\u{fffd}"))
}
