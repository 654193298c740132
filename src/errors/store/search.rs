//! Searching events and groups. Candidates come from the index, from a walk down the newest
//! ones, or both; each is looked at, and everything is bounded.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::{
    events::{Listed, Position},
    groups::{self, Group, Sort, Status},
    index,
    intake::json_ids,
    second,
};
use crate::{
    auth::OrganizationId,
    db::{self, Db},
    error::{Error, Result},
    errors::{
        event::Origin,
        find::{Field, Subject, Term, Text, What, expression, forms},
    },
};

/// Rows that are looked at in one statement at most, …
const CHUNK: i64 = 500;
/// … and for one page. A page may be short, even empty, and have a successor.
const SCAN: usize = 5000;
/// So many of the newest are looked at before the index is asked.
const LOOK: usize = 300;
/// More candidates than these are no help: a walk finds enough of them.
const CANDIDATES: usize = 2000;
/// Rows that are not indexed yet and are looked at besides; with more of them the index is of
/// no use for the moment.
const TAIL: usize = 5000;
/// Groups that are looked up one by one for a page.
const LOOKUPS: usize = 500;

/// Which events.
#[derive(Clone, Debug)]
pub struct Search {
    pub since: DateTime<Utc>,
    /// Exclusive.
    pub until: DateTime<Utc>,
    pub group: Option<i64>,
    pub resolved: Option<bool>,
    pub terms: Vec<Term>,
}

/// An event as a search shows it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Found {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub event: Listed,
    pub release: Option<String>,
    pub environment: Option<String>,
    pub origin: Origin,
    pub event_id: Option<String>,
    pub request_id: Option<String>,
    /// Name → value.
    #[serde(serialize_with = "as_object")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub tags: Option<String>,
}

#[expect(clippy::ref_option, reason = "serde gives the field as it is")]
fn as_object<S: Serializer>(tags: &Option<String>, to: S) -> std::result::Result<S::Ok, S::Error> {
    index::tags(tags.as_deref()).serialize(to)
}

/// An event while it is looked at.
struct Looked<'a> {
    found: &'a Found,
    tags: BTreeMap<String, String>,
    text: Text,
}

impl<'a> Looked<'a> {
    fn at(found: &'a Found) -> Self {
        let (event, tags) = (&found.event, index::tags(found.tags.as_deref()));
        let endpoint = event.endpoint.as_deref();
        let text = index::text(&event.error_type, &event.error_message, endpoint, &tags);
        Self { found, tags, text }
    }

    fn fits(found: &'a Found, terms: &[Term]) -> bool {
        terms.is_empty() || {
            let subject = Self::at(found);
            terms.iter().all(|term| term.matches(&subject))
        }
    }
}

impl Subject for Looked<'_> {
    fn text(&self) -> &Text {
        &self.text
    }

    fn any(&self, field: &Field, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let event = &self.found.event;
        let value = match field {
            Field::Type => Some(event.error_type.as_str()),
            Field::Endpoint => event.endpoint.as_deref(),
            Field::Method => event.method.as_deref(),
            Field::App => Some(event.app.as_str()),
            Field::Release => self.found.release.as_deref(),
            Field::Environment => self.found.environment.as_deref(),
            Field::User => event.user_id.as_deref(),
            Field::Severity => Some(event.severity.as_str()),
            Field::Origin => Some(self.found.origin.as_str()),
            Field::RequestId => self.found.request_id.as_deref(),
            Field::EventId => self.found.event_id.as_deref(),
            Field::Tag(name) => {
                return self
                    .tags
                    .iter()
                    .any(|(own, value)| own.eq_ignore_ascii_case(name) && test(value));
            }
        };
        value.is_some_and(|value| forms(field, value).iter().any(|form| test(form)))
    }
}

/// Where candidates come from.
#[derive(Clone)]
enum Source {
    Recent,
    Group(i64),
    /// A JSON array.
    Ids(String),
}

macro_rules! select_found {
    ($where:literal) => {
        concat!(
            "select e.id, e.error_type, e.error_message, e.endpoint, e.method, e.severity,
                 (e.is_resolved or g.status = 'resolved') as resolved, e.created_at, e.group_id,
                 coalesce(e.resolution_notes, v.detail) as resolution_notes, e.app, e.user_id,
                 e.release, e.environment, e.origin, e.event_id, e.request_id, e.tags
             from (select id from error_log
                   where ",
            $where,
            " organization_id = $1 and created_at >= $2 and created_at < $3
                     and (created_at, id) < ($4, $5) and group_id is not null
                   order by created_at desc, id desc limit $6) as scanned
             join error_log as e on e.id = scanned.id
             join error_group as g on g.id = e.group_id
             left join evidence as v on v.id = g.evidence_id and g.status = 'resolved'
             order by e.created_at desc, e.id desc"
        )
    };
}

async fn fetch(
    db: &Db,
    organization: OrganizationId,
    search: &Search,
    source: &Source,
    below: Position,
    limit: i64,
) -> db::Result<Vec<Found>> {
    let sql = match source {
        Source::Recent => select_found!(""),
        Source::Group(_) => select_found!("group_id = $7 and "),
        Source::Ids(_) => db.dialect(
            select_found!(
                "id in (select cast(value as bigint)
                        from json_array_elements_text(cast($7 as json)))
                 and (group_id = $8 or $8 is null) and "
            ),
            select_found!(
                "id in (select value from json_each($7)) and (group_id = $8 or $8 is null) and "
            ),
        ),
    };
    let query = db
        .query(sql)
        .bind(organization)
        .bind(search.since)
        .bind(search.until)
        .bind(below.at)
        .bind(below.id)
        .bind(limit);
    match source {
        Source::Recent => query,
        Source::Group(group) => query.bind(*group),
        Source::Ids(ids) => query.bind(ids.clone()).bind(search.group),
    }
    .all()
    .await
}

/// How many rows the next statement of a walk looks at. Of a common word the first few dozens
/// fill the page; where they do not, it is a rare one, and the steps grow.
fn longer(chunk: i64) -> i64 {
    (chunk * 2).min(CHUNK)
}

/// A page of events, newest first, and where the next one begins.
pub async fn events(
    db: &Db,
    organization: OrganizationId,
    search: &Search,
    limit: i64,
    after: Option<Position>,
) -> Result<(Vec<Found>, Option<Position>)> {
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut below = after.unwrap_or_else(Position::top);
    let place = |found: &Found| Position { at: found.event.created_at, id: found.event.id };
    let filtered = !search.terms.is_empty() || search.resolved.is_some();
    let mut source = search.group.map_or(Source::Recent, Source::Group);
    // Who asks for one request or one event means few rows.
    let mut asked = !filtered;
    if let Some(ids) = by_name(db, &search.terms).await? {
        source = Source::Ids(json_ids(&ids));
        asked = true;
    }
    let (mut found, mut looked) = (Vec::new(), 0);
    let mut chunk = if filtered { longer(limit) } else { limit + 1 };
    loop {
        let rows = fetch(db, organization, search, &source, below, chunk).await?;
        let ended = rows.len() < usize::try_from(chunk).unwrap_or(0);
        looked += rows.len();
        for row in rows {
            let at = place(&row);
            let fits = search.resolved.is_none_or(|resolved| row.event.resolved == resolved)
                && Looked::fits(&row, &search.terms);
            if fits {
                if found.len() == page {
                    return Ok((found, Some(below)));
                }
                found.push(row);
            }
            below = at;
        }
        if ended {
            return Ok((found, None));
        }
        if looked >= SCAN {
            return Ok((found, Some(below)));
        }
        chunk = longer(chunk);
        if !asked && looked >= LOOK {
            // The newest hold too few: what is rare is known to the index.
            asked = true;
            if let Some(ids) = candidates(db, &search.terms).await? {
                source = Source::Ids(json_ids(&ids));
            }
        }
    }
}

/// Ids of rows with a request's or an event's own id that is asked for.
async fn by_name(db: &Db, terms: &[Term]) -> Result<Option<Vec<i64>>> {
    for term in terms.iter().filter(|term| term.wanted) {
        let What::Field { field, value } = &term.what else { continue };
        if value.open {
            continue;
        }
        let query = match field {
            Field::RequestId => db.query(
                "select id from error_log where request_id is not null and request_id in ($1, $2)
                 limit $3",
            ),
            Field::EventId => db.query(
                "select id from error_log where event_id is not null and event_id in ($1, $2)
                 limit $3",
            ),
            _ => continue,
        };
        let most = i64::try_from(CANDIDATES).unwrap_or(i64::MAX);
        let query = query.bind(value.given.as_str()).bind(value.text.as_str());
        let ids: Vec<(i64,)> = query.bind(most + 1).all().await?;
        return Ok((ids.len() <= CANDIDATES).then(|| ids.into_iter().map(|(id,)| id).collect()));
    }
    Ok(None)
}

/// Ids of all rows that may match: those the index names, and those it does not know yet.
/// `None` if they are too many, or if the index cannot help.
async fn candidates(db: &Db, terms: &[Term]) -> Result<Option<Vec<i64>>> {
    let Some(expression) = expression(terms, matches!(db, Db::Pg(_))) else { return Ok(None) };
    let mark = index::mark(db).await?;
    let Some(mut ids) = indexed(db, &expression, CANDIDATES).await? else { return Ok(None) };
    let Some(tail) = tail(db, mark).await? else { return Ok(None) };
    ids.extend(tail);
    Ok(Some(ids.into_iter().collect()))
}

/// What the index names, unless that is more than `most`.
async fn indexed(db: &Db, expression: &str, most: usize) -> Result<Option<BTreeSet<i64>>> {
    let sql = db.dialect(
        "select event_id from error_term where terms @@ cast($1 as tsquery) limit $2",
        "select rowid from error_term where error_term match $1 limit $2",
    );
    let limit = i64::try_from(most).unwrap_or(i64::MAX - 1) + 1;
    let ids: Vec<(i64,)> = db.query(sql).bind(expression).bind(limit).all().await?;
    Ok((ids.len() <= most).then(|| ids.into_iter().map(|(id,)| id).collect()))
}

/// The rows above the mark, unless they are too many.
async fn tail(db: &Db, mark: i64) -> Result<Option<Vec<i64>>> {
    let ids: Vec<(i64,)> = db
        .query("select id from error_log where id > $1 order by id limit $2")
        .bind(mark)
        .bind(i64::try_from(TAIL).unwrap_or(i64::MAX - 1) + 1)
        .all()
        .await?;
    Ok((ids.len() <= TAIL).then(|| ids.into_iter().map(|(id,)| id).collect()))
}

/// Which groups.
#[derive(Clone, Debug, Default)]
pub struct GroupSearch {
    pub status: Option<Status>,
    /// Instead of a status: those that wait for somebody, unresolved and regressed.
    pub open: bool,
    pub app: Option<String>,
    /// Seen since, …
    pub since: Option<DateTime<Utc>>,
    /// … and first seen before.
    pub until: Option<DateTime<Utc>>,
    pub terms: Vec<Term>,
}

/// A group while it is looked at.
struct LookedGroup<'a> {
    group: &'a Group,
    text: Text,
}

impl<'a> LookedGroup<'a> {
    fn at(group: &'a Group) -> Self {
        let none = BTreeMap::new();
        let title = format!("{} {}", group.title, group.culprit.as_deref().unwrap_or_default());
        let text = index::text(&group.error_type, &title, group.endpoint.as_deref(), &none);
        Self { group, text }
    }
}

impl Subject for LookedGroup<'_> {
    fn text(&self) -> &Text {
        &self.text
    }

    fn any(&self, field: &Field, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let value = match field {
            Field::Type => self.group.error_type.as_str(),
            Field::App => self.group.app.as_str(),
            Field::Severity => self.group.severity.as_str(),
            _ => return false,
        };
        forms(field, value).iter().any(|form| test(form))
    }
}

/// Groups that have an event as some terms say.
struct Having {
    wanted: bool,
    /// With a text of the group's own it need have no such event.
    or_text: Option<Term>,
    /// Of the index.
    expression: String,
    /// All groups that have one; `None`: too many, each is looked up.
    groups: Option<BTreeSet<i64>>,
    /// Groups of events that are not in the index yet.
    new: BTreeSet<i64>,
}

impl Having {
    async fn of(
        db: &Db,
        organization: OrganizationId,
        terms: &[Term],
        wanted: bool,
        or_text: Option<Term>,
    ) -> Result<Self> {
        let expression = expression(terms, matches!(db, Db::Pg(_))).unwrap_or_default();
        let everything = Search {
            since: DateTime::UNIX_EPOCH,
            until: Position::top().at,
            group: None,
            resolved: None,
            terms: terms.to_vec(),
        };
        if let Some(ids) = by_name(db, terms).await? {
            let new = groups_of(db, organization, &everything, &ids, true).await?;
            return Ok(Self {
                wanted,
                or_text,
                expression,
                groups: Some(new),
                new: BTreeSet::new(),
            });
        }
        let mark = index::mark(db).await?;
        let ids = indexed(db, &expression, CANDIDATES).await?;
        let groups = match &ids {
            None => None,
            Some(ids) => {
                let ids: Vec<i64> = ids.iter().copied().collect();
                Some(groups_of(db, organization, &everything, &ids, false).await?)
            }
        };
        let tail = tail(db, mark).await?.unwrap_or_default();
        let new = groups_of(db, organization, &everything, &tail, true).await?;
        Ok(Self { wanted, or_text, expression, groups, new })
    }

    async fn fits(&self, db: &Db, group: &Group, lookups: &mut usize) -> Result<bool> {
        if let Some(term) = &self.or_text
            && term.matches(&LookedGroup::at(group))
        {
            return Ok(self.wanted);
        }
        let has = if self.new.contains(&group.id) {
            true
        } else if let Some(groups) = &self.groups {
            groups.contains(&group.id)
        } else {
            *lookups += 1;
            let (own, postgres) = (index::of_group(group.id), matches!(db, Db::Pg(_)));
            let both = if postgres {
                format!("'{own}' & {}", self.expression)
            } else {
                format!("\"{own}\" AND {}", self.expression)
            };
            indexed(db, &both, 0).await?.is_none()
        };
        Ok(has == self.wanted)
    }
}

/// The groups of some events; those of merged ones are where they were merged into.
async fn groups_of(
    db: &Db,
    organization: OrganizationId,
    search: &Search,
    ids: &[i64],
    look: bool,
) -> Result<BTreeSet<i64>> {
    let mut of = BTreeSet::new();
    if ids.is_empty() {
        return Ok(of);
    }
    if look {
        let source = Source::Ids(json_ids(ids));
        let mut below = Position::top();
        loop {
            let rows = fetch(db, organization, search, &source, below, CHUNK).await?;
            for row in &rows {
                if Looked::fits(row, &search.terms) {
                    of.insert(row.event.group_id);
                }
                below = Position { at: row.event.created_at, id: row.event.id };
            }
            if rows.len() < usize::try_from(CHUNK).unwrap_or(0) {
                return Ok(of);
            }
        }
    }
    let sql = db.dialect(
        "select distinct coalesce(g.merged_into, g.id)
         from error_log as e join error_group as g on g.id = e.group_id
         where e.organization_id = $1
           and e.id in (select cast(value as bigint)
                        from json_array_elements_text(cast($2 as json)))",
        "select distinct coalesce(g.merged_into, g.id)
         from error_log as e join error_group as g on g.id = e.group_id
         where +e.organization_id = $1 and e.id in (select value from json_each($2))",
    );
    let rows: Vec<(i64,)> = db.query(sql).bind(organization).bind(json_ids(ids)).all().await?;
    of.extend(rows.into_iter().map(|(id,)| id));
    Ok(of)
}

/// A page of groups and where the next one begins.
pub async fn groups(
    db: &Db,
    organization: OrganizationId,
    search: &GroupSearch,
    sort: Sort,
    limit: i64,
    after: Option<groups::Position>,
) -> Result<(Vec<Group>, Option<groups::Position>)> {
    let app = search.app.as_deref();
    let filter = groups::Filter { status: search.status, open: search.open, app, q: None };
    let in_status = |status: Status| {
        search.status.is_none_or(|wanted| status == wanted)
            && (!search.open || matches!(status, Status::Unresolved | Status::Regressed))
    };
    if search.terms.is_empty() && search.since.is_none() && search.until.is_none() {
        return groups::list(db, organization, &filter, sort, limit, after).await;
    }
    let (own, having) = split(db, organization, &search.terms).await?;
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let fits = |group: &Group| {
        let subject = LookedGroup::at(group);
        search.since.is_none_or(|since| group.last_seen >= since)
            && search.until.is_none_or(|until| group.first_seen < until)
            && own.iter().all(|term| term.matches(&subject))
    };
    // Few groups: no walk has to find them.
    let few = having
        .iter()
        .filter(|having| having.wanted && having.or_text.is_none())
        .filter_map(|having| Some((having, having.groups.as_ref()?)))
        .min_by_key(|(_, groups)| groups.len());
    let mut few = match few {
        Some((having, groups)) => {
            let ids: Vec<i64> = groups.union(&having.new).copied().collect();
            Some(in_order(db, organization, &ids, sort, after).await?.into_iter())
        }
        None => None,
    };
    let mut after = after;
    let (mut found, mut looked, mut lookups): (Vec<Group>, usize, usize) = (Vec::new(), 0, 0);
    let mut chunk = longer(limit);
    loop {
        let (groups, next, ended) = match &mut few {
            None => {
                let (groups, next) =
                    groups::list(db, organization, &filter, sort, chunk, after).await?;
                chunk = longer(chunk);
                (groups, next, next.is_none())
            }
            Some(ids) => {
                let mut groups = Vec::new();
                for id in ids.by_ref().take(LOOKUPS) {
                    let group = groups::find(db, organization, id).await?;
                    groups.extend(group.filter(|group| {
                        in_status(group.status)
                            && search.app.as_ref().is_none_or(|app| group.app == *app)
                    }));
                    if groups.len() > page {
                        break;
                    }
                }
                (groups, None, ids.len() == 0)
            }
        };
        looked += groups.len();
        for group in groups {
            let at = groups::Position::of(&group, sort);
            // In the order of their last event none of the others is new enough.
            if sort == Sort::LastSeen
                && search.since.is_some_and(|since| group.last_seen < second(since))
            {
                return Ok((found, None));
            }
            let mut suits = fits(&group);
            for having in &having {
                suits = suits && having.fits(db, &group, &mut lookups).await?;
            }
            if suits {
                if found.len() == page {
                    return Ok((found, after));
                }
                found.push(group);
            }
            after = Some(at);
            if lookups > LOOKUPS {
                return Ok((found, after));
            }
        }
        if ended {
            return Ok((found, None));
        }
        after = next.or(after);
        if looked >= SCAN {
            return Ok((found, after));
        }
    }
}

/// The terms that a group answers by itself, and those that its events do: the wanted
/// ones together (one event has them all), each of the others alone. Words may stand in either.
async fn split(
    db: &Db,
    organization: OrganizationId,
    terms: &[Term],
) -> Result<(Vec<Term>, Vec<Having>)> {
    let (mut own, mut together, mut having) = (Vec::new(), Vec::new(), Vec::new());
    for term in terms {
        match &term.what {
            // A group's text is masked; its events have the words in full.
            What::Words { open: false, .. } if term.wanted => {
                let text = Some(term.clone());
                having.push(
                    Having::of(db, organization, std::slice::from_ref(term), true, text).await?,
                );
            }
            What::Words { .. } => own.push(term.clone()),
            What::Field { field, .. } if field.is_of_group() => own.push(term.clone()),
            What::Field { value, .. } if value.open => {
                return Err(Error::invalid(
                    "beginnings (value*) of what only events have can be looked for in events, \
                     not in groups; give the whole value",
                ));
            }
            What::Field { .. } if term.wanted => together.push(term.clone()),
            What::Field { field, value } => {
                let term = Term::field(field.clone(), &value.given);
                having.push(Having::of(db, organization, &[term], false, None).await?);
            }
            What::Either { tag, value, words } => {
                let text = What::Words { words: words.clone(), open: value.open };
                let text = Term { wanted: true, what: text };
                if value.open {
                    own.push(Term { wanted: term.wanted, what: text.what });
                    continue;
                }
                let tag = Term::field(tag.clone(), &value.given);
                having.push(Having::of(db, organization, &[tag], term.wanted, Some(text)).await?);
            }
        }
    }
    if !together.is_empty() {
        having.push(Having::of(db, organization, &together, true, None).await?);
    }
    Ok((own, having))
}

/// Those of some groups that stand below a position, in order.
async fn in_order(
    db: &Db,
    organization: OrganizationId,
    ids: &[i64],
    sort: Sort,
    after: Option<groups::Position>,
) -> Result<Vec<i64>> {
    use groups::Position::{Count, FirstSeen, LastSeen};
    let sql = db.dialect(
        "select id, first_seen, seen_at, weight from error_group
         where organization_id = $1 and merged_into is null
           and id in (select cast(value as bigint)
                      from json_array_elements_text(cast($2 as json)))",
        "select id, first_seen, seen_at, weight from error_group
         where +organization_id = $1 and merged_into is null
           and id in (select value from json_each($2))",
    );
    let rows: Vec<(i64, DateTime<Utc>, DateTime<Utc>, i64)> =
        db.query(sql).bind(organization).bind(json_ids(ids)).all().await?;
    let mut keyed = Vec::with_capacity(rows.len());
    for (id, first, seen, weight) in rows {
        let by = match sort {
            Sort::LastSeen => seen.timestamp_micros(),
            Sort::FirstSeen => first.timestamp_micros(),
            Sort::Count => weight,
        };
        keyed.push((by, id));
    }
    let below = match (sort, after) {
        (_, None) => (i64::MAX, i64::MAX),
        (Sort::LastSeen, Some(LastSeen(at, id))) | (Sort::FirstSeen, Some(FirstSeen(at, id))) => {
            (at.timestamp_micros(), id)
        }
        (Sort::Count, Some(Count(weight, id))) => (weight, id),
        _ => {
            return Err(Error::invalid(
                "the cursor belongs to another order; start without a cursor",
            ));
        }
    };
    keyed.retain(|place| *place < below);
    keyed.sort_unstable_by(|one, two| two.cmp(one));
    Ok(keyed.into_iter().map(|(_, id)| id).collect())
}
