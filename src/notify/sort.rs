//! Whom an event is told, and when. One replica decides at a time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Notify,
    channel::{Channel, Kind},
    event::{Event, Topic},
    store::{
        channels,
        deliveries::{self, Kind as What, New, State},
        events::{self, Decided},
        inbox,
        windows::{self, Window},
    },
    words::{self, Words},
};
use crate::{auth::OrganizationId, clock, db::Tx, error::Result, logs::Severity};

/// More new errors than this within a grace are told as one.
const BURST: usize = 5;
/// After a burst, the next one is told after so many graces at the soonest.
const GRACES: i32 = 10;
/// How often a storm's message is brought up to date.
pub(super) const LOOK: TimeDelta = TimeDelta::minutes(1);

/// How long an error waits, to see whether it is one of many.
fn grace(notify: &Notify) -> TimeDelta {
    TimeDelta::from_std(notify.app.config.notify.grace).unwrap_or(TimeDelta::seconds(30))
}

/// Decides about what waits; whether there was anything.
pub(super) async fn step(notify: &Notify) -> Result<bool> {
    let now = clock::now();
    let ripe = now - grace(notify);
    let db = &notify.app.db;
    if !events::is_waiting(db, ripe).await? {
        return Ok(false);
    }
    let mut tx = db.begin().await?;
    events::take_turn(&mut tx, now).await?;
    let mut any = false;
    for organization in events::organizations(&mut tx).await? {
        let channels = channels::enabled(&mut tx, organization).await?;
        let sorting = Sorting {
            notify,
            organization,
            channels: channels.into_iter().map(Channel::from).collect(),
            windows: windows::open(&mut tx, organization, now).await?,
            now,
        };
        any |= sorting.sort(&mut tx, ripe).await?;
    }
    tx.commit().await?;
    Ok(any)
}

/// What decides about the events of an organization.
struct Sorting<'n> {
    notify: &'n Notify,
    organization: OrganizationId,
    channels: Vec<Channel>,
    windows: Vec<Window>,
    now: DateTime<Utc>,
}

impl Sorting<'_> {
    async fn sort(&self, tx: &mut Tx, ripe: DateTime<Utc>) -> Result<bool> {
        let waiting = events::waiting(tx, self.organization).await?;
        let is_error =
            |event: &Event| matches!(event.kind, Topic::ErrorOpened | Topic::ErrorRegressed);
        let (errors, others): (Vec<Event>, Vec<Event>) = waiting.into_iter().partition(is_error);
        let mut any = !others.is_empty();
        for event in &others {
            self.tell(tx, event).await?;
        }
        if errors.first().is_some_and(|first| first.at <= ripe) && !self.is_cooling(tx).await? {
            any = true;
            self.errors(tx, &errors, ripe).await?;
        }
        Ok(any)
    }

    async fn is_cooling(&self, tx: &mut Tx) -> Result<bool> {
        let last = events::last_burst(tx, self.organization).await?;
        Ok(last.is_some_and(|last| self.now - last < grace(self.notify) * GRACES))
    }

    /// What is told of an event, if anything.
    async fn words(&self, tx: &mut Tx, event: &Event) -> Result<Option<Words>> {
        if event.kind == Topic::ErrorStorm {
            let Some(id) = event.subject_id else { return Ok(None) };
            let storm = crate::errors::store::storms::find(&self.notify.app.db, id).await?;
            return Ok(storm.map(|storm| words::storm(&storm, event.folded, self.now, false)));
        }
        words::of(&self.notify.app, tx, event).await
    }

    async fn tell(&self, tx: &mut Tx, event: &Event) -> Result<()> {
        let wanting: Vec<&Channel> = self
            .channels
            .iter()
            .filter(|channel| channel.wants(event.kind, event.severity, &event.app))
            .collect();
        let words = if wanting.is_empty() { None } else { self.words(tx, event).await? };
        match words {
            Some(words) => self.post(tx, event, &wanting, &words).await,
            None => Ok(events::left(tx, event.id, "", None).await?),
        }
    }

    /// Tells the channels of an event.
    async fn post(
        &self,
        tx: &mut Tx,
        event: &Event,
        channels: &[&Channel],
        words: &Words,
    ) -> Result<()> {
        let occasion = format!("event {}", event.id);
        let mut escalation: Option<(i64, i64)> = None;
        for channel in channels {
            let message = Message {
                organization: self.organization,
                event: Some(event.id),
                kind: What::Event,
                occasion: &occasion,
                severity: event.severity,
                words,
            };
            let place = place(channel, event.severity, &event.app, &self.windows, self.now, true);
            let is_now = matches!(place, Place::Now);
            post(tx, channel, &message, place, self.now).await?;
            let asked = channel.escalate_after_minutes.zip(channel.escalate_to);
            if let Some(asked) = asked
                && is_now
                && escalation.is_none_or(|known| asked.0 < known.0)
            {
                escalation = Some(asked);
            }
        }
        let escalation = escalation.filter(|_| event.needs_somebody());
        let decided = Decided {
            id: event.id,
            title: &words.title,
            detail: &words.body,
            folded: event.folded,
            next_at: (event.kind == Topic::ErrorStorm).then(|| self.now + LOOK),
            escalate_at: escalation.map(|(minutes, _)| self.now + TimeDelta::minutes(minutes)),
            escalate_to: escalation.map(|(_, to)| to),
            now: self.now,
        };
        Ok(events::told(tx, &decided).await?)
    }

    /// Errors: those of a storm are told by its message, many at once by one.
    async fn errors(&self, tx: &mut Tx, errors: &[Event], ripe: DateTime<Utc>) -> Result<()> {
        let Some(oldest) = errors.first() else { return Ok(()) };
        let stormy = events::storms(tx, self.organization, oldest.at).await?;
        let storm_of = |event: &Event| {
            stormy.iter().find(|storm| {
                storm.ended_at.is_none_or(|ended| ended >= event.at)
                    && match storm.group_id {
                        Some(group) => event.subject_id == Some(group),
                        None => storm.app == event.app,
                    }
            })
        };
        // Storms that are told; what belongs to another one would be told by nobody.
        let mut told: BTreeMap<i64, i64> = BTreeMap::new();
        for storm in &stormy {
            let occasion = format!("storm {}", storm.id);
            if let Some(id) = events::of_occasion(tx, self.organization, &occasion).await? {
                told.insert(storm.id, id);
            }
        }
        let storm_of =
            |event: &Event| storm_of(event).and_then(|storm| told.get(&storm.id).copied());
        let fresh = errors.iter().filter(|event| storm_of(event).is_none()).count();
        let is_told = |event: &&Event| fresh > BURST || event.at <= ripe;
        let considered: Vec<&Event> = errors.iter().filter(is_told).collect();
        let mut alone: BTreeMap<i64, Vec<&Channel>> = BTreeMap::new();
        let mut together: Vec<(&Channel, Vec<&Event>)> = Vec::new();
        for channel in &self.channels {
            let hears_storms =
                |event: &Event| channel.wants(Topic::ErrorStorm, Severity::Critical, &event.app);
            let mine: Vec<&Event> = considered
                .iter()
                .copied()
                .filter(|event| channel.wants(event.kind, event.severity, &event.app))
                .filter(|event| storm_of(event).is_none() || !hears_storms(event))
                .collect();
            if mine.len() > BURST {
                together.push((channel, mine));
            } else {
                for event in mine {
                    alone.entry(event.id).or_default().push(channel);
                }
            }
        }
        let burst = self.burst(tx, &together).await?;
        let gathered: BTreeSet<i64> =
            together.iter().flat_map(|(_, mine)| mine.iter().map(|event| event.id)).collect();
        let mut folded: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for event in considered {
            if let Some(channels) = alone.get(&event.id) {
                match self.words(tx, event).await? {
                    Some(words) => self.post(tx, event, channels, &words).await?,
                    None => events::left(tx, event.id, "", None).await?,
                }
                continue;
            }
            let into = storm_of(event);
            match into.or(burst.filter(|_| gathered.contains(&event.id))) {
                Some(into) => folded.entry(into).or_default().push(event.id),
                None => events::left(tx, event.id, "", None).await?,
            }
        }
        for (into, ids) in folded {
            events::fold(tx, into, &ids).await?;
        }
        Ok(())
    }

    /// One event for many, told each channel with those that it wants.
    async fn burst(
        &self,
        tx: &mut Tx,
        together: &[(&Channel, Vec<&Event>)],
    ) -> Result<Option<i64>> {
        let all = together.iter().flat_map(|(_, mine)| mine.iter());
        let Some(severity) = all.map(|event| event.severity).max() else { return Ok(None) };
        let occasion = format!("errors {}", uuid::Uuid::now_v7().simple());
        let new = events::New {
            organization: self.organization,
            kind: Topic::ErrorOpened,
            occasion: &occasion,
            app: "",
            severity,
            title: "",
            detail: "",
            settled: false,
            at: self.now,
        };
        let Some(id) = events::insert(tx, &new).await? else { return Ok(None) };
        let mut title = String::new();
        let mut detail = String::new();
        let occasion = format!("event {id}");
        let mut escalation: Option<(i64, i64)> = None;
        for (channel, mine) in together {
            let words = words::burst(tx, mine, grace(self.notify)).await?;
            let mine_worst = mine.iter().map(|event| event.severity).max().unwrap_or(severity);
            let app = mine.first().map_or("", |event| event.app.as_str());
            let app = if mine.iter().all(|event| event.app == app) { app } else { "" };
            let message = Message {
                organization: self.organization,
                event: Some(id),
                kind: What::Event,
                occasion: &occasion,
                severity: mine_worst,
                words: &words,
            };
            let place = place(channel, mine_worst, app, &self.windows, self.now, true);
            if let Some(asked) = channel.escalate_after_minutes.zip(channel.escalate_to)
                && matches!(place, Place::Now)
                && mine_worst >= Severity::Error
                && escalation.is_none_or(|known| asked.0 < known.0)
            {
                escalation = Some(asked);
            }
            post(tx, channel, &message, place, self.now).await?;
            if words.body.len() > detail.len() {
                (title, detail) = (words.title, words.body);
            }
        }
        let decided = Decided {
            id,
            title: &title,
            detail: &detail,
            folded: 0,
            next_at: None,
            escalate_at: escalation.map(|(minutes, _)| self.now + TimeDelta::minutes(minutes)),
            escalate_to: escalation.map(|(_, to)| to),
            now: self.now,
        };
        events::told(tx, &decided).await?;
        Ok(Some(id))
    }
}

/// What is told a channel.
pub(super) struct Message<'a> {
    pub(super) organization: OrganizationId,
    pub(super) event: Option<i64>,
    pub(super) kind: What,
    pub(super) occasion: &'a str,
    pub(super) severity: Severity,
    pub(super) words: &'a Words,
}

/// When a channel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Now,
    /// In a summary at this time.
    Later {
        state: State,
        reason: String,
        at: DateTime<Utc>,
        window: Option<i64>,
    },
}

/// Maintenance goes before digests (`digests`: whether there are any), and those before quiet hours.
pub(super) fn place(
    channel: &Channel,
    severity: Severity,
    app: &str,
    windows: &[Window],
    now: DateTime<Utc>,
    digests: bool,
) -> Place {
    let covering = windows.iter().filter(|window| window.covers(app, now)).max_by_key(|it| it.to);
    if let Some(window) = covering {
        let until = window.to.format("%Y-%m-%d %H:%M UTC");
        let reason = format!("maintenance until {until}: {}", window.reason);
        return Place::Later { state: State::Held, reason, at: window.to, window: Some(window.id) };
    }
    if digests && let Some(at) = channel.digest_due(now) {
        let reason = format!("for the digest of {}", at.format("%Y-%m-%d %H:%M UTC"));
        return Place::Later { state: State::Digested, reason, at, window: None };
    }
    let passes = severity >= Severity::Critical && channel.quiet_lets_critical;
    if !passes && let Some(at) = channel.quiet_until(now) {
        let reason = format!("quiet hours until {}", at.format("%Y-%m-%d %H:%M UTC"));
        return Place::Later { state: State::Held, reason, at, window: None };
    }
    Place::Now
}

/// Notes the deliveries of a message: one for each target, or one that waits for a summary.
pub(super) async fn post(
    tx: &mut Tx,
    channel: &Channel,
    message: &Message<'_>,
    place: Place,
    now: DateTime<Utc>,
) -> Result<()> {
    let words = message.words;
    let new = New {
        organization: message.organization,
        channel: channel.id,
        event: message.event,
        kind: message.kind,
        occasion: message.occasion,
        target: "",
        severity: message.severity,
        title: &words.title,
        body: &words.body,
        path: &words.path,
        state: State::Waiting,
        reason: None,
        next_at: Some(now),
        gather_at: None,
        window: None,
        sent_at: None,
        now,
    };
    match place {
        Place::Later { state, reason, at, window } => {
            let reason = Some(reason.as_str());
            let new = New { state, reason, next_at: None, gather_at: Some(at), window, ..new };
            deliveries::insert(tx, &new).await?;
        }
        Place::Now if channel.kind == Kind::Browser => {
            let new = New { state: State::Sent, next_at: None, sent_at: Some(now), ..new };
            if deliveries::insert(tx, &new).await?.is_some() {
                let texts = (words.title.as_str(), words.body.as_str(), words.path.as_str());
                let (organization, event) = (message.organization, message.event);
                inbox::insert(tx, organization, event, message.severity, texts, now).await?;
                channels::reached(tx, channel.id, now).await?;
            }
        }
        Place::Now => {
            for target in channel.targets() {
                deliveries::insert(tx, &New { target, ..new }).await?;
            }
        }
    }
    Ok(())
}
