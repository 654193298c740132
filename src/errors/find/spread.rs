//! How the events of a group spread: over users, and over the values of tags and fields.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    db::{Db, Result},
    errors::store::series,
};

/// Values that are told of each tag.
const TOP: usize = 10;

/// Somebody who was affected.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Affected {
    pub user: String,
    /// Events among the newest of the group that were looked at (`sampled`).
    pub events: i64,
    /// The newest of those.
    pub last_seen: Option<DateTime<Utc>>,
}

/// The next users of a group by name, after one, and how many events were looked at.
pub async fn users(db: &Db, group: i64, after: &str, limit: i64) -> Result<(Vec<Affected>, usize)> {
    let names = series::users(db, group, after, limit).await?;
    let sample = series::sample(db, group).await?;
    let mut seen: HashMap<&str, (i64, DateTime<Utc>)> = HashMap::new();
    for event in &sample {
        if let Some(user) = &event.user_id {
            let entry = seen.entry(user).or_insert((0, event.created_at));
            *entry = (entry.0 + 1, entry.1.max(event.created_at));
        }
    }
    let users = names.into_iter().map(|user| {
        let found = seen.get(user.as_str());
        Affected {
            events: found.map_or(0, |(count, _)| *count),
            last_seen: found.map(|(_, at)| *at),
            user,
        }
    });
    Ok((users.collect(), sample.len()))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TagValue {
    pub value: String,
    pub count: i64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Tag {
    pub name: String,
    /// The most frequent ten.
    pub values: Vec<TagValue>,
    /// Different values in the sample.
    pub distinct: usize,
}

/// What events have in common.
#[derive(Debug)]
pub struct Tags {
    pub tags: Vec<Tag>,
    /// So many of the newest events were looked at.
    pub sampled: usize,
    /// Whom they affected, who is affected most first; at most ten.
    pub users: Vec<TagValue>,
}

/// Values of release, environment, endpoint and tags, from the newest thousand events of a
/// group, as they were stored: secrets are not struck.
pub async fn tags(db: &Db, group: i64) -> Result<Tags> {
    let sample = series::sample(db, group).await?;
    let mut counts: BTreeMap<String, HashMap<String, i64>> = BTreeMap::new();
    let mut users: HashMap<String, i64> = HashMap::new();
    for event in &sample {
        for (name, value) in event.values() {
            *counts.entry(name).or_default().entry(value).or_default() += 1;
        }
        if let Some(user) = &event.user_id {
            *users.entry(user.clone()).or_default() += 1;
        }
    }
    let tags = counts.into_iter().map(|(name, values)| {
        let distinct = values.len();
        Tag { name, values: most(values), distinct }
    });
    Ok(Tags { tags: tags.collect(), sampled: sample.len(), users: most(users) })
}

fn most(counts: HashMap<String, i64>) -> Vec<TagValue> {
    let mut values: Vec<TagValue> =
        counts.into_iter().map(|(value, count)| TagValue { value, count }).collect();
    values.sort_unstable_by(|one, two| {
        two.count.cmp(&one.count).then_with(|| one.value.cmp(&two.value))
    });
    values.truncate(TOP);
    values
}
