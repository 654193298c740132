//! Lux's own errors and panics, captured like any application's: events of the application
//! "lux" of the first organization.
//!
//! No loops: what the capture and the database's layer themselves report is left alone (it
//! would have to go through them), as is what only says that the database is away; each place
//! in the source tells a few times a minute; and nobody waits: what finds the channel full,
//! or cannot be stored, is dropped.

use std::{
    collections::HashMap,
    fmt,
    panic::PanicHookInfo,
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::{Capture, NewEvent, detail::Detail, event::Origin, tree::Tree};
use crate::{auth::OrganizationId, clock, logs::Severity, redact};

/// The application that Lux itself is.
pub const APP: &str = "lux";
/// Events that may wait to be stored.
const WAITING: usize = 100;
/// How often one place in the source may tell …
const TIMES: u32 = 5;
/// … in this time.
const WINDOW: Duration = Duration::from_mins(1);
/// Longest message, in bytes.
const MAX_TEXT: usize = 4000;
/// Parts of Lux through which its own events go.
const CAPTURING: &[(&str, &str)] =
    &[("lux::errors", "src/errors/"), ("lux::db", "src/db/"), ("lux::apps", "src/apps/")];

static OWN: OnceLock<Own> = OnceLock::new();

/// The way from where something failed to where it is stored.
#[derive(Debug)]
struct Own {
    told: mpsc::Sender<NewEvent>,
    /// By file and line: since when it is counted, and how often it told.
    places: Mutex<HashMap<(String, u32), (Instant, u32)>>,
}

/// Captures from now on. Of several calls in one process only the first does something.
pub fn start(capture: Capture, tasks: &TaskTracker, shutdown: CancellationToken) {
    let (told, mut waiting) = mpsc::channel(WAITING);
    if OWN.set(Own { told, places: Mutex::default() }).is_err() {
        return;
    }
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        of_panic(panic);
        earlier(panic);
    }));
    tasks.spawn(async move {
        while let Some(Some(event)) = shutdown.run_until_cancelled(waiting.recv()).await {
            // Whoever cannot store it says so in the log already.
            let _ = capture.record(OrganizationId::FIRST, vec![event]).await;
        }
    });
}

impl Own {
    /// Never waits.
    fn tell(&self, file: &str, line: u32, event: impl FnOnce() -> NewEvent) {
        let Ok(mut places) = self.places.try_lock() else { return };
        let now = clock::instant();
        let place = places.entry((file.to_owned(), line)).or_insert((now, 0));
        if now.saturating_duration_since(place.0) >= WINDOW {
            *place = (now, 0);
        }
        place.1 += 1;
        let told = place.1;
        drop(places);
        if told <= TIMES {
            let _ = self.told.try_send(event());
        }
    }
}

fn of_panic(panic: &PanicHookInfo<'_>) {
    let Some(own) = OWN.get() else { return };
    let Some(place) = panic.location() else { return };
    if CAPTURING.iter().any(|(_, folder)| place.file().starts_with(folder)) {
        return;
    }
    let payload = panic.payload();
    let said = payload.downcast_ref::<&str>().copied();
    let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("a panic without a text").to_owned();
    own.tell(place.file(), place.line(), || {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("a thread without a name").to_owned();
        let place = format!("{thread} ({}:{}:{})", place.file(), place.line(), place.column());
        event("Panic", &said, &place, Severity::Critical, &Fields::default())
    });
}

/// Watches Lux's own log for errors.
#[derive(Clone, Copy, Debug)]
pub struct Watch;

impl<S: Subscriber> Layer<S> for Watch {
    fn on_event(&self, logged: &Event<'_>, _: Context<'_, S>) {
        let about = logged.metadata();
        if *about.level() != Level::ERROR {
            return;
        }
        let target = about.target();
        let is_own = target == "lux" || target.starts_with("lux::");
        if !is_own || CAPTURING.iter().any(|(module, _)| target.starts_with(module)) {
            return;
        }
        let Some(own) = OWN.get() else { return };
        let mut fields = Fields::default();
        logged.record(&mut fields);
        // The database is away, or too much came at once: nothing in Lux is broken.
        if fields.get("status") == Some("503") {
            return;
        }
        let (file, line) = (about.file().unwrap_or(target), about.line().unwrap_or(0));
        own.tell(file, line, || {
            let mut said = fields.message.clone();
            if let Some(why) = fields.get("error").or_else(|| fields.get("reason")) {
                said = format!("{said}: {why}");
            }
            event(
                "LuxError",
                &said,
                &format!("{target} ({file}:{line}:0)"),
                Severity::Error,
                &fields,
            )
        });
    }
}

/// What was logged with it.
#[derive(Clone, Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.others.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let value = value[..value.floor_char_boundary(MAX_TEXT)].to_owned();
        if field.name() == "message" {
            self.message = value;
        } else {
            self.others.push((field.name(), value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// `place` is written as a stack's frame.
fn event(kind: &str, said: &str, place: &str, severity: Severity, fields: &Fields) -> NewEvent {
    let said = redact::secrets(said).into_owned();
    let request_id = fields.get("request_id").map(str::to_owned);
    let text = |value: &str| Tree::Text(redact::secrets(value).into_owned().into());
    let extra = fields.others.iter().map(|(name, value)| ((*name).into(), text(value))).collect();
    let detail =
        Detail { platform: Some("rust".into()), extra: Tree::Map(extra), ..Detail::default() };
    NewEvent {
        error_type: kind.to_owned(),
        error_stack: Some(format!("{kind}: {said}\n    at {place}\n")),
        error_message: said,
        severity: Some(severity),
        app: Some(APP.to_owned()),
        release: Some(format!("lux@{}", env!("CARGO_PKG_VERSION"))),
        request_id: request_id.filter(|id| id.len() <= super::event::MAX_NAME),
        origin: Origin::Lux,
        detail: detail.pack().ok(),
        ..NewEvent::default()
    }
}
