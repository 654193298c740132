//! What becomes of Lux's own parts, told when it has been so for a while.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    event::Topic,
    store::{events, rest},
    words::short,
};
use crate::{app::App, clock, error::Result, logs, logs::Severity};

/// Parts whose changes are told.
const TOLD: [&str; 6] = ["database", "disk", "capture", "model", "mail", "integrations"];

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Ok,
    Degraded,
    Down,
}

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "degraded" => Self::Degraded,
            "down" => Self::Down,
            _ => Self::Ok,
        }
    }
}

/// What is known of a part.
#[derive(Clone, Debug)]
struct Seen {
    told: Standing,
    is: Standing,
    since: DateTime<Utc>,
    /// It was ill from then on, and that could not be noted.
    missed: Option<(Standing, DateTime<Utc>)>,
}

/// Something to be told of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct News {
    was: Standing,
    is: Standing,
    since: DateTime<Utc>,
    /// Since when it was ill, where nobody heard of that.
    missed: Option<DateTime<Utc>>,
}

/// Watches the parts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Option<BTreeMap<String, Seen>>>>);

impl Watch {
    /// Takes in how the parts are now; parts of which nothing is known are left out. What has been
    /// so for a while is told.
    pub async fn look(&self, app: &App, parts: &[(&str, Standing, &str)]) {
        let owner = logs::host_name();
        let is_new = self.lock().is_none();
        if is_new {
            // What was told before a restart is not told again.
            let Ok(told) = rest::health(&app.db, &owner).await else { return };
            let now = clock::now();
            let seen = told.into_iter().map(|(part, state)| {
                let told = Standing::read(&state);
                (part, Seen { told, is: told, since: now, missed: None })
            });
            *self.lock() = Some(seen.collect());
        }
        let settle = TimeDelta::from_std(app.config.notify.settle).unwrap_or_default();
        for (part, is, detail) in parts.iter().filter(|(part, ..)| TOLD.contains(part)) {
            let now = clock::now();
            let news = self.lock().as_mut().and_then(|seen| {
                let fresh = Seen { told: Standing::Ok, is: *is, since: now, missed: None };
                judge(seen.entry((*part).to_owned()).or_insert(fresh), *is, now, settle)
            });
            let Some(news) = news else { continue };
            let noted = note(app, &owner, part, news, detail).await;
            if let Err(error) = &noted {
                tracing::debug!(%error, part, "a change of health could not be noted");
            }
            if let Some(seen) = self.lock().as_mut().and_then(|seen| seen.get_mut(*part)) {
                if noted.is_ok() {
                    (seen.told, seen.missed) = (news.is, None);
                } else if news.is != Standing::Ok && seen.missed.is_none() {
                    seen.missed = Some((news.is, news.since));
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<BTreeMap<String, Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be told of a part that is like this now.
fn judge(seen: &mut Seen, is: Standing, now: DateTime<Utc>, settle: TimeDelta) -> Option<News> {
    if seen.is != is {
        (seen.is, seen.since) = (is, now);
    }
    if now - seen.since < settle {
        return None;
    }
    let News { was, missed, .. } = match seen.missed {
        Some((was, since)) if is == Standing::Ok => {
            News { was, is, since: seen.since, missed: Some(since) }
        }
        _ if seen.told != is => News { was: seen.told, is, since: seen.since, missed: None },
        _ => return None,
    };
    Some(News { was, is, since: seen.since, missed })
}

async fn note(app: &App, owner: &str, part: &str, news: News, detail: &str) -> Result<()> {
    let now = clock::now();
    let mut tx = app.db.begin().await?;
    let is_new = rest::set_health(&mut tx, owner, part, news.is.as_str(), now).await?;
    if !is_new && news.missed.is_none() {
        return Ok(());
    }
    let is_well = news.is == Standing::Ok;
    let state = if is_well { "well again" } else { news.is.as_str() };
    let title = format!("Lux on {}: {part} is {state}", short(owner, 60));
    let ill = if is_well { news.was } else { news.is };
    let severity = if ill == Standing::Down { Severity::Critical } else { Severity::Error };
    let detail = match news.missed {
        Some(since) => format!(
            "It was {} from {} on, which could not be told then. {}",
            news.was.as_str(),
            since.format("%Y-%m-%d %H:%M UTC"),
            short(detail, 400)
        ),
        None => short(detail, 500),
    };
    let occasion = format!("health {owner} {part} {state} {}", news.since.timestamp());
    for organization in events::caring(&mut tx).await? {
        let new = events::New {
            organization,
            kind: Topic::HealthChanged,
            occasion: &occasion,
            app: "",
            severity,
            title: &title,
            detail: &detail,
            settled: is_well,
            at: now,
        };
        events::insert(&mut tx, &new).await?;
    }
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::{Seen, Standing, judge};

    #[test]
    fn what_flaps_is_not_told() {
        let begin: DateTime<Utc> = "2026-11-20T10:00:00Z".parse().unwrap();
        let at = |seconds| begin + TimeDelta::seconds(seconds);
        let minute = TimeDelta::minutes(1);
        let mut seen = Seen { told: Standing::Ok, is: Standing::Ok, since: begin, missed: None };
        for second in (0..600).step_by(30) {
            let is = if second % 60 == 0 { Standing::Down } else { Standing::Ok };
            assert_eq!(judge(&mut seen, is, at(second), minute), None);
        }
        assert_eq!(judge(&mut seen, Standing::Down, at(600), minute), None);
        let news = judge(&mut seen, Standing::Down, at(660), minute).unwrap();
        assert_eq!((news.was, news.is, news.since), (Standing::Ok, Standing::Down, at(600)));
        seen.told = Standing::Down;
        assert_eq!(judge(&mut seen, Standing::Down, at(700), minute), None);
        assert_eq!(judge(&mut seen, Standing::Ok, at(710), minute), None);
        let news = judge(&mut seen, Standing::Ok, at(770), minute).unwrap();
        assert_eq!((news.was, news.is), (Standing::Down, Standing::Ok));
    }

    #[test]
    fn what_nobody_heard_of_is_told_afterwards() {
        let at: DateTime<Utc> = "2026-11-20T10:00:00Z".parse().unwrap();
        let missed = Some((Standing::Down, at));
        let mut seen = Seen { told: Standing::Ok, is: Standing::Ok, since: at, missed };
        let news = judge(&mut seen, Standing::Ok, at, TimeDelta::zero()).unwrap();
        assert_eq!((news.was, news.is, news.missed), (Standing::Down, Standing::Ok, Some(at)));
    }
}
