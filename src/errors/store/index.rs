//! The index that searches use, and the counters by endpoint: both follow the writer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::Serialize;

use crate::{
    db::{Db, Result, Tx},
    errors::find::{Field, Text, facet, facets},
    logs::template,
    redact,
};

/// Events that one transaction indexes.
const BATCH: i64 = 500;
/// Ids below the mark that are looked at again for rows that came late.
const LATE: i64 = 10_000;
/// How long a transaction that is open may hold up the index.
const PATIENCE: TimeDelta = TimeDelta::minutes(1);
/// Endpoints of an organization that are told apart; more are counted together.
const MAX_ENDPOINTS: i64 = 5000;
/// Users of an endpoint that are told apart in an hour.
pub const MAX_USERS: i64 = 1000;
/// Where endpoints beyond the bound are counted.
const OTHER: &str = "(other)";

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    group_id: i64,
    organization_id: i64,
    app: String,
    error_type: String,
    error_message: String,
    endpoint: Option<String>,
    method: Option<String>,
    severity: String,
    user_id: Option<String>,
    release: Option<String>,
    environment: Option<String>,
    origin: String,
    tags: Option<String>,
    created_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Terms {
    id: i64,
    terms: String,
}

#[derive(Clone, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::FromRow)]
struct Place {
    organization_id: i64,
    app: String,
    endpoint: String,
    method: String,
}

#[derive(Serialize)]
struct HourRow {
    hour: String,
    endpoint: i64,
    group: i64,
    count: i64,
    last: String,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct UserRow {
    hour: String,
    endpoint: i64,
    user: String,
}

/// The text of an event that is searched: the same for the index and for the look at a row.
pub fn text(
    error_type: &str,
    message: &str,
    endpoint: Option<&str>,
    tags: &BTreeMap<String, String>,
) -> Text {
    // What answers do not show cannot be found either.
    let (message, endpoint) =
        (redact::secrets(message), redact::secrets(endpoint.unwrap_or_default()));
    let fields = [error_type, message.as_ref(), endpoint.as_ref()];
    Text::of(fields.into_iter().chain(tags.values().map(String::as_str)))
}

/// The tags column.
pub fn tags(column: Option<&str>) -> BTreeMap<String, String> {
    column.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// By what the index knows a group.
pub fn of_group(id: i64) -> String {
    facet("group", &id.to_string())
}

impl Row {
    fn terms(&self) -> Terms {
        let tags = tags(self.tags.as_deref());
        let text = text(&self.error_type, &self.error_message, self.endpoint.as_deref(), &tags);
        let mut terms: Vec<String> = text.terms().into_iter().map(str::to_owned).collect();
        terms.push(of_group(self.group_id));
        let mut add = |field: &Field, value: Option<&str>| {
            terms.extend(value.into_iter().flat_map(|value| facets(field, value)));
        };
        add(&Field::Type, Some(&self.error_type));
        add(&Field::App, Some(&self.app));
        add(&Field::Severity, Some(&self.severity));
        add(&Field::Origin, Some(&self.origin));
        add(&Field::Endpoint, self.endpoint.as_deref());
        add(&Field::Method, self.method.as_deref());
        add(&Field::User, self.user_id.as_deref());
        add(&Field::Release, self.release.as_deref());
        add(&Field::Environment, self.environment.as_deref());
        for (name, value) in tags {
            add(&Field::Tag(name), Some(&value));
        }
        Terms { id: self.id, terms: terms.join(" ") }
    }

    fn endpoint(&self) -> Option<Place> {
        self.endpoint.as_deref().map(|endpoint| Place {
            organization_id: self.organization_id,
            app: self.app.clone(),
            endpoint: template::path(endpoint),
            method: self.method.clone().unwrap_or_default(),
        })
    }
}

fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(|error| crate::db::Error::Encode(error.into()))
}

/// Events up to this id are in the index.
pub async fn mark(db: &Db) -> Result<i64> {
    db.query("select last_id from error_index_mark where id = 1").scalar().await
}

/// The newest id, 0 without any.
pub async fn newest(db: &Db) -> Result<i64> {
    db.query("select coalesce(max(id), 0) from error_log").scalar().await
}

/// Indexes the next events; says how many. 0: nothing may be indexed now, or another
/// replica is at it.
pub async fn step(db: &Db, now: DateTime<Utc>) -> Result<usize> {
    // Without a reason no lock is taken.
    if newest(db).await? <= mark(db).await? {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    let sql = tx.dialect(
        "select last_id, next_id, open_to, noted_at from error_index_mark
         where id = 1 for update skip locked",
        "select last_id, next_id, open_to, noted_at from error_index_mark where id = 1",
    );
    let held: Option<(i64, i64, String, DateTime<Utc>)> = tx.query(sql).optional().await?;
    let Some((last, next, open_to, noted_at)) = held else { return Ok(0) };
    let upper = match &tx {
        // There is one writer: what is there has come in order.
        Tx::Lite(..) => tx.query("select coalesce(max(id), 0) from error_log").scalar().await?,
        Tx::Pg(_) => settled(&mut tx, last, next, &open_to, noted_at, now).await?,
    };
    let ungrouped: Option<i64> = tx
        .query("select min(id) from error_log where group_id is null and refused is null")
        .scalar()
        .await?;
    let upper = ungrouped.map_or(upper, |id| upper.min(id - 1));
    let mut count = 0;
    if upper > last {
        // What another transaction is deleting is passed over: were it waited for, the two
        // could deadlock. If it stays after all, `late` finds it.
        let sql = tx.dialect(
            "select id, group_id, organization_id, app, error_type, error_message, endpoint,
                 method, severity, user_id, release, environment, origin, tags, created_at
             from error_log where id > $1 and id <= $2 and group_id is not null
             order by id limit $3 for key share skip locked",
            "select id, group_id, organization_id, app, error_type, error_message, endpoint,
                 method, severity, user_id, release, environment, origin, tags, created_at
             from error_log where id > $1 and id <= $2 and group_id is not null
             order by id limit $3",
        );
        let rows: Vec<Row> = tx.query(sql).bind(last).bind(upper).bind(BATCH).all().await?;
        count = rows.len();
        let to = if count < usize::try_from(BATCH).unwrap_or(0) {
            upper
        } else {
            rows.last().map_or(upper, |row| row.id)
        };
        add(&mut tx, &rows).await?;
        tx.query("update error_index_mark set last_id = $1 where id = 1").bind(to).run().await?;
    }
    tx.commit().await?;
    Ok(count)
}

/// Up to which id no row can come any more: what was noted, once every transaction has
/// ended that was open then. Notes the newest id for the next time.
async fn settled(
    tx: &mut Tx,
    last: i64,
    next: i64,
    open_to: &str,
    noted_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<i64> {
    let (oldest, after, newest): (String, String, i64) = tx.query(OPEN).one().await?;
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let is_settled = number(&oldest) >= number(open_to) || now - noted_at > PATIENCE;
    if !is_settled && next > last {
        return Ok(last);
    }
    // With nothing open at all, what is there is complete already.
    let complete = number(&oldest) >= number(&after);
    let upper = if complete { newest } else { next };
    tx.query("update error_index_mark set next_id = $1, open_to = $2, noted_at = $3 where id = 1")
        .bind(newest)
        .bind(after)
        .bind(now)
        .run()
        .await?;
    Ok(upper)
}

// For PostgreSQL only.
const OPEN: &str = "select cast(pg_snapshot_xmin(pg_current_snapshot()) as text),
    cast(pg_snapshot_xmax(pg_current_snapshot()) as text),
    (select coalesce(max(id), 0) from error_log)";
const LATE_ROWS: &str = "select e.id, e.group_id, e.organization_id, e.app, e.error_type,
        e.error_message, e.endpoint, e.method, e.severity, e.user_id, e.release, e.environment,
        e.origin, e.tags, e.created_at
    from error_log as e
    where e.id > $1 and e.id <= $2 and e.group_id is not null
      and not exists (select 1 from error_term as t where t.event_id = e.id)
    order by e.id limit $3 for key share of e skip locked";

/// Indexes rows that came below the mark all the same (PostgreSQL: a program that takes its
/// ids long before it inserts); says how many.
pub async fn late(db: &Db) -> Result<usize> {
    if matches!(db, Db::Lite(..)) {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    let sql = tx.dialect(
        "select last_id from error_index_mark where id = 1 for update skip locked",
        "select last_id from error_index_mark where id = 1",
    );
    let held: Option<(i64,)> = tx.query(sql).optional().await?;
    let Some((last,)) = held else { return Ok(0) };
    let rows: Vec<Row> = tx.query(LATE_ROWS).bind(last - LATE).bind(last).bind(BATCH).all().await?;
    add(&mut tx, &rows).await?;
    tx.commit().await?;
    Ok(rows.len())
}

/// Of rows that the transaction holds: none of them goes meanwhile.
async fn add(tx: &mut Tx, rows: &[Row]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let terms: Vec<Terms> = rows.iter().map(Row::terms).collect();
    let sql = tx.dialect(
        "insert into error_term (event_id, terms)
         select r.id, array_to_tsvector(string_to_array(r.terms, ' '))
         from json_to_recordset(cast($1 as json)) as r(id bigint, terms text)
         on conflict (event_id) do nothing",
        "insert into error_term (rowid, terms)
         select value ->> 'id', value ->> 'terms' from json_each($1)",
    );
    tx.query(sql).bind(json(&terms)?).run().await?;
    count_endpoints(tx, rows).await
}

/// Hour, endpoint, group.
type Key = (DateTime<Utc>, i64, i64);

async fn count_endpoints(tx: &mut Tx, rows: &[Row]) -> Result<()> {
    let keyed: Vec<(&Row, Place)> =
        rows.iter().filter_map(|row| Some((row, row.endpoint()?))).collect();
    if keyed.is_empty() {
        return Ok(());
    }
    let ids = endpoint_ids(tx, keyed.iter().map(|(_, key)| key.clone()).collect()).await?;
    let mut hours: BTreeMap<Key, (i64, DateTime<Utc>)> = BTreeMap::new();
    let mut users: BTreeSet<(DateTime<Utc>, i64, &str)> = BTreeSet::new();
    for (row, key) in &keyed {
        let Some(&endpoint) = ids.get(key) else { continue };
        let at = row.created_at;
        let hour = at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at);
        let entry = hours.entry((hour, endpoint, row.group_id)).or_insert((0, at));
        *entry = (entry.0 + 1, entry.1.max(at));
        users.extend(row.user_id.as_deref().map(|user| (hour, endpoint, user)));
    }
    let counted: Vec<HourRow> = hours
        .into_iter()
        .map(|((hour, endpoint, group), (count, last))| HourRow {
            hour: super::write::text(hour),
            endpoint,
            group,
            count,
            last: super::write::text(last),
        })
        .collect();
    let sql = tx.dialect(
        "insert into error_endpoint_hour (hour_at, endpoint_id, group_id, count, last_seen)
         select r.hour, r.endpoint, r.group, r.count, r.last
         from json_to_recordset(cast($1 as json)) as r(hour timestamptz, endpoint bigint,
             \"group\" bigint, count bigint, last timestamptz)
         on conflict (hour_at, endpoint_id, group_id) do update set
             count = error_endpoint_hour.count + excluded.count,
             last_seen = greatest(error_endpoint_hour.last_seen, excluded.last_seen)",
        "insert into error_endpoint_hour (hour_at, endpoint_id, group_id, count, last_seen)
         select value ->> 'hour', value ->> 'endpoint', value ->> 'group', value ->> 'count',
             value ->> 'last'
         from json_each($1) where true
         on conflict (hour_at, endpoint_id, group_id) do update set
             count = error_endpoint_hour.count + excluded.count,
             last_seen = max(error_endpoint_hour.last_seen, excluded.last_seen)",
    );
    tx.query(sql).bind(json(&counted)?).run().await?;

    let mut known: HashMap<(DateTime<Utc>, i64), i64> = HashMap::new();
    let mut new = Vec::new();
    for (hour, endpoint, user) in users {
        let count = match known.get(&(hour, endpoint)) {
            Some(count) => *count,
            None => {
                tx.query(
                    "select count(*) from error_endpoint_user
                     where hour_at = $1 and endpoint_id = $2",
                )
                .bind(hour)
                .bind(endpoint)
                .scalar()
                .await?
            }
        };
        known.insert((hour, endpoint), count + 1);
        if count < MAX_USERS {
            new.push(UserRow { hour: super::write::text(hour), endpoint, user: user.to_owned() });
        }
    }
    let sql = tx.dialect(
        "insert into error_endpoint_user (hour_at, endpoint_id, user_id)
         select r.hour, r.endpoint, r.user
         from json_to_recordset(cast($1 as json)) as r(hour timestamptz, endpoint bigint,
             \"user\" text)
         on conflict (hour_at, endpoint_id, user_id) do nothing",
        "insert into error_endpoint_user (hour_at, endpoint_id, user_id)
         select value ->> 'hour', value ->> 'endpoint', value ->> 'user'
         from json_each($1) where true
         on conflict (hour_at, endpoint_id, user_id) do nothing",
    );
    tx.query(sql).bind(json(&new)?).run().await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Numbered {
    id: i64,
    #[sqlx(flatten)]
    key: Place,
}

/// The ids of endpoints; new ones are added up to the bound.
async fn endpoint_ids(tx: &mut Tx, wanted: BTreeSet<Place>) -> Result<HashMap<Place, i64>> {
    let mut ids = known_endpoints(tx, &wanted).await?;
    let missing: BTreeSet<Place> =
        wanted.into_iter().filter(|key| !ids.contains_key(key)).collect();
    if missing.is_empty() {
        return Ok(ids);
    }
    let mut others: Vec<(Place, Place)> = Vec::new();
    let mut new: BTreeSet<Place> = BTreeSet::new();
    let mut room: HashMap<i64, i64> = HashMap::new();
    for key in missing {
        let organization = key.organization_id;
        let left = if let Some(left) = room.get(&organization) {
            *left
        } else {
            let used: i64 = tx
                .query(
                    "select count(*) from (select 1 from error_endpoint
                         where organization_id = $1 limit $2) as used",
                )
                .bind(organization)
                .bind(MAX_ENDPOINTS)
                .scalar()
                .await?;
            MAX_ENDPOINTS - used
        };
        room.insert(organization, left - 1);
        if left > 0 {
            new.insert(key);
        } else {
            let other = Place {
                organization_id: organization,
                app: String::new(),
                endpoint: OTHER.to_owned(),
                method: String::new(),
            };
            new.insert(other.clone());
            others.push((key, other));
        }
    }
    let sql = tx.dialect(
        "insert into error_endpoint (organization_id, app, endpoint, method)
         select r.organization_id, r.app, r.endpoint, r.method
         from json_to_recordset(cast($1 as json)) as r(organization_id bigint, app text,
             endpoint text, method text)
         on conflict (organization_id, app, endpoint, method) do nothing",
        "insert into error_endpoint (organization_id, app, endpoint, method)
         select value ->> 'organization_id', value ->> 'app', value ->> 'endpoint',
             value ->> 'method'
         from json_each($1) where true
         on conflict (organization_id, app, endpoint, method) do nothing",
    );
    tx.query(sql).bind(json(&new)?).run().await?;
    ids.extend(known_endpoints(tx, &new).await?);
    for (key, other) in others {
        if let Some(&id) = ids.get(&other) {
            ids.insert(key, id);
        }
    }
    Ok(ids)
}

async fn known_endpoints(tx: &mut Tx, wanted: &BTreeSet<Place>) -> Result<HashMap<Place, i64>> {
    let sql = tx.dialect(
        "select e.id, e.organization_id, e.app, e.endpoint, e.method
         from json_to_recordset(cast($1 as json)) as r(organization_id bigint, app text,
             endpoint text, method text)
         join error_endpoint as e on e.organization_id = r.organization_id and e.app = r.app
             and e.endpoint = r.endpoint and e.method = r.method",
        "select e.id, e.organization_id, e.app, e.endpoint, e.method
         from json_each($1) as r
         join error_endpoint as e on e.organization_id = r.value ->> 'organization_id'
             and e.app = r.value ->> 'app' and e.endpoint = r.value ->> 'endpoint'
             and e.method = r.value ->> 'method'",
    );
    let rows: Vec<Numbered> = tx.query(sql).bind(json(wanted)?).all().await?;
    Ok(rows.into_iter().map(|row| (row.key, row.id)).collect())
}
