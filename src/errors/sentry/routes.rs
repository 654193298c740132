//! The addresses that SDKs post to. They are no part of Lux's own interface and stand in none
//! of its descriptions: what they take and answer is laid down by the SDKs.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, request::Parts};
use serde_json::json;

use super::{
    auth, body,
    body::{Coding, Share},
    envelope,
    event::{self, Sender},
    origin,
    refusal::Refusal,
};
use crate::{
    app::App,
    apps::{Known, Outcome},
    errors::{Capture, NewEvent, store::write::Recorded},
    http::{Guess, limit::Peer},
};

/// Largest event, in bytes.
const MAX_EVENT: usize = 1 << 20;
/// A larger one is read away from the threads that serve, in bytes.
const IN_PLACE: usize = 256 << 10;

/// The routes; a [`Capture`] has to be added as an extension. They bring their own bounds.
pub fn router() -> Router<App> {
    let envelope = || post(take_envelope).options(preflight);
    let store = || post(take_event).options(preflight);
    let other = || post(refuse_other).options(preflight);
    Router::new()
        .route("/api/{app}/envelope/", envelope())
        .route("/api/{app}/envelope", envelope())
        .route("/api/{app}/store/", store())
        .route("/api/{app}/store", store())
        .route("/api/{app}/security/", other())
        .route("/api/{app}/security", other())
        .route("/api/{app}/minidump/", other())
        .route("/api/{app}/minidump", other())
}

/// What became of a report.
type Taken = Result<Option<String>, Refusal>;

async fn take_envelope(
    State(app): State<App>,
    Extension(capture): Extension<Capture>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let taken = async {
        let report = Report::begin(&app, &capture, &id, &head).await?;
        report.envelope(body).await
    };
    answer(taken.await, &head)
}

async fn take_event(
    State(app): State<App>,
    Extension(capture): Extension<Capture>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let taken = async {
        let report = Report::begin(&app, &capture, &id, &head).await?;
        report.event(body).await
    };
    answer(taken.await, &head)
}

/// Reports of browsers about a page's policy, and images of crashed processes.
async fn refuse_other(
    State(app): State<App>,
    Extension(capture): Extension<Capture>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let refused = async {
        let report = Report::begin(&app, &capture, &id, &head).await?;
        if let Some(known) = &report.known {
            app.apps.count(known, Outcome::Invalid, "security", 1);
        }
        Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "Lux takes errors (/envelope/, /store/), no reports of this kind",
        ))
    };
    answer(refused.await, &head)
}

fn answer(taken: Taken, head: &Parts) -> Response {
    let hidden = taken.as_ref().is_err_and(|refusal| refusal.hidden);
    let mut response = match taken {
        Ok(Some(id)) => Json(json!({ "id": id })).into_response(),
        Ok(None) => Json(json!({})).into_response(),
        Err(refusal) => refusal.into_response(),
    };
    if !hidden {
        origin::open(&mut response, origin::of(&head.headers).cloned());
    }
    response
}

/// Browsers ask first; most SDKs name the key in the query so that this can be told here.
async fn preflight(State(app): State<App>, Path(id): Path<String>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let origin = origin::of(&head.headers);
    let asked = async {
        if let Some(key) = auth::key(&head) {
            let known = recognise(&app, &id, &key, &head).await?;
            origin::check(&known, origin)?;
        }
        Ok::<_, Refusal>(())
    };
    match asked.await {
        Ok(()) => {
            let mut response = origin::preflight();
            origin::open(&mut response, origin.cloned());
            response
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn recognise(app: &App, id: &str, key: &str, head: &Parts) -> Result<Arc<Known>, Refusal> {
    let id: i64 = id.parse().map_err(|_| Refusal::unknown())?;
    if let Some(known) = app.apps.recall(id, key) {
        return known.ok_or_else(Refusal::unknown);
    }
    let guess = Guess::of(head);
    // What was good a moment ago is no guess.
    if !app.apps.knew(id, key) {
        guess.allowed()?;
    }
    let known = app.apps.recognise(&app.db, id, key).await?;
    guess.came_to(known, "").map_err(|_| Refusal::unknown())
}

/// One request on its way.
struct Report<'r> {
    app: &'r App,
    capture: &'r Capture,
    /// As the path names it.
    id: &'r str,
    head: &'r Parts,
    coding: Coding,
    /// `None`: the head names no key, the envelope may.
    known: Option<Arc<Known>>,
}

impl<'r> Report<'r> {
    /// Looks at the head: who reports, from which page, and how the body is packed.
    async fn begin(
        app: &'r App,
        capture: &'r Capture,
        id: &'r str,
        head: &'r Parts,
    ) -> Result<Self, Refusal> {
        let known = match auth::key(head) {
            Some(key) => Some(recognise(app, id, &key, head).await?),
            None => None,
        };
        if let Some(known) = &known {
            origin::check(known, origin::of(&head.headers))?;
        }
        let coding = Coding::of(&head.headers)?;
        Ok(Self { app, capture, id, head, coding, known })
    }

    async fn event(self, body: axum::body::Body) -> Taken {
        let Some(known) = self.known.clone() else { return Err(no_key()) };
        let mut share = Share::default();
        let packed = body::read(body, &mut share).await?;
        let (whole, broken) = body::unpack(packed, self.coding, &mut share).await?;
        let refused = |why: String| {
            self.app.apps.count(&known, Outcome::Invalid, "error", 1);
            Err(Refusal::new(StatusCode::BAD_REQUEST, why))
        };
        if let Some(broken) = broken {
            return refused(broken.to_owned());
        }
        if whole.iter().all(u8::is_ascii_whitespace) {
            return refused("the body is empty; send one event as JSON".to_owned());
        }
        self.store(&known, &[&whole], None).await
    }

    async fn envelope(self, body: axum::body::Body) -> Taken {
        let mut share = Share::default();
        let packed = body::read(body, &mut share).await?;
        let (whole, broken) = body::unpack(packed, self.coding, &mut share).await?;
        let invalid = |why: String| Refusal::new(StatusCode::BAD_REQUEST, why);
        let (header, rest) = match envelope::header(&whole) {
            Ok(header) => header,
            Err(why) => {
                if let Some(known) = &self.known {
                    self.app.apps.count(known, Outcome::Invalid, "error", 1);
                }
                return Err(invalid(broken.map_or(why, str::to_owned)));
            }
        };
        let known = match &self.known {
            Some(known) => Arc::clone(known),
            None => self.known_by_dsn(header.dsn.as_deref()).await?,
        };
        let (items, wrong) = envelope::items(rest);
        let wrong = broken.map(str::to_owned).or(wrong);
        let mut events = Vec::new();
        for item in &items {
            match category(&item.kind) {
                "error" => events.push(item.payload),
                category => self.app.apps.count(&known, Outcome::Accepted, category, 1),
            }
        }
        let stored = self.store(&known, &events, header.event_id.as_deref()).await;
        if let Some(why) = wrong {
            self.app.apps.count(&known, Outcome::Invalid, "error", 1);
            // A database that is away matters more: all of it has to come again.
            stored?;
            return Err(invalid(why));
        }
        Ok(stored?.or(header.event_id))
    }

    async fn known_by_dsn(&self, dsn: Option<&str>) -> Result<Arc<Known>, Refusal> {
        let dsn = dsn.ok_or_else(no_key)?;
        let id: i64 = self.id.parse().map_err(|_| Refusal::unknown())?;
        let key = auth::of_dsn(dsn, id).ok_or_else(Refusal::unknown)?;
        let known = recognise(self.app, self.id, &key, self.head).await?;
        origin::check(&known, origin::of(&self.head.headers))?;
        Ok(known)
    }

    /// Stores events; gives the first one's id. What can be stored is, whatever the others are.
    async fn store(&self, known: &Arc<Known>, payloads: &[&[u8]], told: Option<&str>) -> Taken {
        if payloads.is_empty() {
            return Ok(None);
        }
        let apps = &self.app.apps;
        let count = |outcome, n: usize| {
            if n > 0 {
                apps.count(known, outcome, "error", n as u64);
            }
        };
        let wanted = u32::try_from(payloads.len()).unwrap_or(u32::MAX);
        if let Err(over) = apps.admit(known, wanted) {
            count(Outcome::OverQuota, payloads.len());
            return Err(Refusal::over_quota(over.retry_after.as_secs().max(1), over.limit));
        }
        let mut refused = None;
        let mut first = None;
        let mut events = Vec::with_capacity(payloads.len());
        let (mut invalid, mut probes) = (0, 0);
        for payload in payloads {
            match self.read(known, payload, told).await {
                Ok(read) => {
                    first.get_or_insert(read.id);
                    // Else a check would feed what it checks.
                    if read.event.is_of_probe() {
                        probes += 1;
                    } else {
                        events.push(read.event);
                    }
                }
                Err(refusal) => {
                    invalid += 1;
                    refused.get_or_insert(refusal);
                }
            }
        }
        count(Outcome::Probe, probes);
        let outcomes = self.record(known, events).await;
        let mut accepted = 0;
        for outcome in outcomes {
            match outcome {
                Ok(_) => accepted += 1,
                Err(crate::error::Error::Unavailable(why)) => {
                    count(Outcome::Accepted, accepted);
                    count(Outcome::Invalid, invalid);
                    return Err(crate::error::Error::Unavailable(why).into());
                }
                Err(error) => {
                    invalid += 1;
                    refused.get_or_insert(error.into());
                }
            }
        }
        count(Outcome::Accepted, accepted);
        count(Outcome::Invalid, invalid);
        match refused {
            Some(refusal) => Err(refusal),
            None => Ok(first),
        }
    }

    async fn record(
        &self,
        known: &Known,
        events: Vec<NewEvent>,
    ) -> Vec<crate::error::Result<Recorded>> {
        if events.is_empty() {
            Vec::new()
        } else {
            self.capture.record(known.organization, events).await
        }
    }

    async fn read(
        &self,
        known: &Arc<Known>,
        payload: &[u8],
        told: Option<&str>,
    ) -> Result<event::Read, Refusal> {
        if payload.len() > MAX_EVENT {
            let (size, most) = (payload.len(), MAX_EVENT);
            let why = format!("the event has {size} bytes; at most {most} are taken");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        let address = self.head.extensions.get::<Peer>().map(|peer| peer.address);
        let read = if payload.len() <= IN_PLACE {
            event::read(payload, &sender(known, address, told))
        } else {
            let (known, payload) = (Arc::clone(known), payload.to_vec());
            let told = told.map(str::to_owned);
            tokio::task::spawn_blocking(move || {
                event::read(&payload, &sender(&known, address, told.as_deref()))
            })
            .await
            .unwrap_or_else(|_| Err("the event cannot be read".to_owned()))
        };
        read.map_err(|why| Refusal::new(StatusCode::BAD_REQUEST, why))
    }
}

fn sender<'s>(
    known: &'s Known,
    address: Option<std::net::IpAddr>,
    event_id: Option<&'s str>,
) -> Sender<'s> {
    Sender { app: &known.name, scrub: &known.scrub, address, event_id }
}

fn no_key() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "the request names no key; use the whole DSN that `lux apps list` shows",
    )
}

/// What a kind of item counts as; "error" is what is stored.
fn category(kind: &str) -> &'static str {
    match kind {
        "event" | "error" => "error",
        "transaction" => "transaction",
        "session" | "sessions" => "session",
        "attachment" => "attachment",
        "client_report" => "client_report",
        "check_in" => "monitor",
        "log" | "otel_log" => "log",
        "span" | "otel_span" => "span",
        "user_report" | "feedback" => "feedback",
        "statsd" | "metric_buckets" | "metric_meta" | "trace_metric" => "metric",
        "raw_security" | "nel" => "security",
        kind if kind.starts_with("replay") => "replay",
        kind if kind.starts_with("profile") => "profile",
        _ => "other",
    }
}
