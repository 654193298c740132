//! A record that may be an event, as it is held until that is decided.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use aws_lc_rs::digest;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    errors::{
        Event, Fingerprint, NewEvent,
        event::Origin,
        fingerprint,
        traceback::{Trace, class},
    },
    logs::{Heard, Severity},
};

/// How much a record tells, the most telling first: of one error seen in several places the
/// first becomes the event, the others are sightings of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Rank {
    /// It holds a stack trace.
    Trace,
    /// A message of severity error or worse.
    Message,
    /// systemd or the kernel says that something failed.
    Host,
    /// nginx's error log.
    Nginx,
    /// A request that was answered with 5xx: never an event by itself.
    Access,
}

impl Rank {
    /// How long after it was read a record waits. SDKs send in the background; and what
    /// tells less waits longer, so that it finds what tells more, which may be read later
    /// by the two seconds after which a record of several lines is known to be complete.
    pub(super) const fn grace(self) -> Duration {
        Duration::from_secs(match self {
            Self::Trace => 5,
            Self::Message | Self::Host => 6,
            Self::Nginx => 9,
            Self::Access => 13,
        })
    }

    pub(super) const fn is_event(self) -> bool {
        !matches!(self, Self::Access)
    }
}

/// See the module's first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Candidate {
    /// 32 hexadecimal digits, the same whenever the record is read again.
    pub(super) id: String,
    pub(super) rank: Rank,
    pub(super) source: String,
    /// Source with file, or with unit of the journal.
    pub(super) place: String,
    pub(super) record: String,
    pub(super) line: u64,
    /// When it was written, else when it was read.
    pub(super) at: DateTime<Utc>,
    pub(super) dated: bool,
    /// When it is decided on, in microseconds since 1970.
    pub(super) due: i64,
    pub(super) app: String,
    pub(super) severity: Severity,
    /// The class, where the record's form tells it.
    pub(super) class: Option<String>,
    /// The message, and behind it the stack trace if there is one.
    pub(super) text: String,
    pub(super) method: Option<String>,
    /// Without its query.
    pub(super) endpoint: Option<String>,
    pub(super) request: Option<String>,
    /// Seconds that the request took.
    pub(super) duration: Option<f64>,
    /// A request of a probe of Lux.
    pub(super) probe: bool,
    /// What failed underneath ("oom", "segv"): systemd and the kernel both tell of it.
    pub(super) fault: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Candidate {
    /// About how much memory it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        400 + self.text.len() + self.place.len()
    }
}

/// The event's id: of the journal's own name of the entry, which is the same in whatever
/// source it is read, else of the place in the log.
pub(super) fn id(host: &str, heard: &Heard<'_>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |part: &[u8]| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    };
    let cursor = heard.record.journal().and_then(|journal| journal.cursor);
    if let Some(cursor) = cursor {
        add(b"journal");
        add(cursor.as_bytes());
    } else {
        add(host.as_bytes());
        add(heard.name.as_bytes());
        add(&heard.tag.to_be_bytes());
        add(&heard.record.line.to_be_bytes());
    }
    let digest = context.finish();
    digest.as_ref()[..16].iter().fold(String::new(), |mut id, byte| {
        // Writing to a string never fails.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// A candidate read as the event that it would be.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) candidate: Candidate,
    pub(super) event: Event,
    pub(super) fingerprint: Fingerprint,
    /// The masked first line of the message.
    pub(super) masked: String,
}

impl Ready {
    pub(super) fn of(candidate: Candidate, now: DateTime<Utc>) -> Self {
        let event = event(&candidate).fit(now);
        let fingerprint = Fingerprint::of(&event);
        let masked = masked(&event.error_message);
        Self { candidate, event, fingerprint, masked }
    }

    /// What is reported.
    pub(super) fn reported(&self) -> NewEvent {
        let event = self.event.clone();
        NewEvent {
            error_type: event.error_type,
            error_message: event.error_message,
            error_stack: event.error_stack,
            endpoint: event.endpoint,
            method: event.method,
            severity: Some(event.severity),
            created_at: Some(event.created_at),
            app: Some(event.app),
            request_id: event.request_id,
            tags: event.tags,
            event_id: event.event_id,
            origin: Origin::Log,
            ..NewEvent::default()
        }
    }
}

pub(super) fn masked(message: &str) -> String {
    fingerprint::mask(message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default())
}

fn event(candidate: &Candidate) -> NewEvent {
    let stack = (candidate.rank == Rank::Trace).then(|| stack(&candidate.text));
    let trace = stack.and_then(Trace::parse);
    let raised = trace.as_ref().and_then(Trace::raised).filter(|raised| !raised.name.is_empty());
    let first = candidate.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let (class, message) = match (raised, &candidate.class) {
        (Some(raised), _) => (raised.name.clone(), raised.message.clone()),
        (None, Some(class)) => (class.clone(), candidate.text.clone()),
        (None, None) => match exception(first) {
            Some((class, _)) => {
                let message = candidate.text.split_once(": ").map_or("", |(_, rest)| rest);
                (class.to_owned(), message.to_owned())
            }
            None if candidate.severity == Severity::Critical => {
                ("Critical".to_owned(), candidate.text.clone())
            }
            None => ("Error".to_owned(), candidate.text.clone()),
        },
    };
    let is_method = |method: &String| {
        method.len() <= 20 && method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
    };
    NewEvent {
        error_type: class,
        error_message: message,
        error_stack: stack.map(str::to_owned),
        endpoint: candidate.endpoint.clone(),
        method: candidate.method.clone().filter(is_method),
        severity: Some(candidate.severity),
        created_at: Some(candidate.at),
        app: Some(candidate.app.clone()),
        request_id: candidate.request.clone(),
        tags: candidate.tags.clone(),
        event_id: Some(candidate.id.clone()),
        origin: Origin::Log,
        ..NewEvent::default()
    }
}

/// The text from where the stack trace begins. Java's and JavaScript's begin with the line
/// that names what was thrown, after whatever the logger wrote above.
fn stack(text: &str) -> &str {
    let begins = |mark: &str| text.find(mark);
    if let Some(at) = begins("Traceback (most recent call last)") {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        // A logger's own words may stand before it on the line.
        let margin = text[line..at].trim_start_matches([' ', '|', '+']);
        return &text[if margin.is_empty() || margin == "Exception Group " { line } else { at }..];
    }
    text
}

/// "KeyError: 'GBP'"
fn exception(line: &str) -> Option<(&str, &str)> {
    let (name, message) = line.split_once(": ")?;
    let named = name.len() <= 200
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$'));
    let ends = ["Error", "Exception", "Rejection", "Fault"];
    (named && ends.iter().any(|end| class(name).ends_with(end))).then_some((name, message))
}
