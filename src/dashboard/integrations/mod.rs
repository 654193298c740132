//! Connections to the services of others: a card for each, the way to a provider and back, what
//! they do for the organization, and for administrators what everybody connected.

mod asked;
mod duties;
mod returned;

use askama::Template;
use axum::{
    Extension, Router,
    response::Response,
    routing::{get, post},
};
use http::{HeaderValue, header};
use serde::Deserialize;

use super::{Form, Page, Shell, Told, filters, html, see_other};
use crate::{
    app::App,
    auth::{Caller, Who},
    error::Error,
    http::{Admin, Operator, Path, Query, Reader, Result},
    integrations::{
        Card, Integrations, Kind, Person, Status,
        calls::{self, SyncStatus},
        cards,
        outbox::{self, Delivery, State},
        people,
    },
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/integrations", get(show))
        .route("/integrations/people", get(show_people))
        .route("/integrations/{provider}/connect", post(connect))
        .route("/integrations/messages", post(asked::message))
        .route("/integrations/meetings", post(asked::meeting))
        .route("/integrations/{provider}/test", post(test))
        .route("/integrations/{provider}/place", post(choose_place))
        .route("/integrations/{provider}/disconnect", post(disconnect))
        .route("/integrations/duties/{duty}", post(duties::set))
        .route("/integrations/duties/{duty}/end", post(duties::end))
        .route("/api/integrations/{provider}/callback", get(returned::named))
        // Addresses that are registered with providers from earlier versions.
        .route("/api/integrations/callback", get(returned::unnamed))
        .route("/oauth/callback", get(returned::unnamed))
}

/// Deliveries that the page shows.
const DELIVERIES: i64 = 15;

fn kind(name: &str) -> Result<&'static Kind> {
    Ok(Kind::find(name).ok_or(Error::NotFound("provider"))?)
}

/// Whose connections a page's buttons are about.
fn account(caller: &Caller) -> Result<i64> {
    match caller.who {
        Who::Person { account, .. } => Ok(account),
        Who::Token(_) => {
            let why = "a token has no connections of its own; sign in with a browser";
            Err(Error::Denied(why.to_owned()).into())
        }
    }
}

#[derive(Template)]
#[template(path = "integrations/list.html")]
struct List {
    shell: Shell,
    cards: Vec<Card>,
    duties: Vec<duties::Row>,
    /// What was told to others lately.
    deliveries: Vec<Delivery>,
    /// How fetching from services went.
    fetched: Vec<SyncStatus>,
    /// What was connected a moment ago.
    connected: Option<Card>,
}

/// The badge's colour.
fn tone(card: &Card) -> &'static str {
    match (card.connected, card.status) {
        (true, Some(Status::Active)) if !card.places.is_empty() || card.needs_reauth => "warn",
        (true, Some(Status::Active)) => "ok",
        (true, _) => "bad",
        (false, _) => "",
    }
}

impl List {
    fn tone(card: &Card) -> &'static str {
        tone(card)
    }

    /// The names by which an administrator registers Lux.
    fn table(card: &Card) -> &'static str {
        Kind::find(card.provider).map_or("", |kind| kind.provider.key)
    }

    /// The badge of a delivery: its colour and its word.
    fn state(delivery: &Delivery) -> (&'static str, &'static str) {
        match delivery.status {
            State::Sent => ("ok", "Sent"),
            State::Failed => ("bad", "Failed"),
            State::Uncertain => ("warn", "Uncertain"),
            State::Dropped => ("", "Dropped"),
            State::Waiting | State::Sending => ("live", "Waiting"),
        }
    }

    /// What was fetched from a card's service, and how it went.
    fn fetched<'a>(&'a self, card: &Card) -> Option<&'a SyncStatus> {
        self.fetched.iter().find(|status| status.service == card.provider)
    }

    fn plain(scopes: &[&'static str]) -> String {
        scopes.join(", ")
    }
}

#[derive(Debug, Deserialize)]
struct Asked {
    connected: Option<String>,
}

async fn show(
    page: Page<Reader>,
    Extension(integrations): Extension<Integrations>,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    let cards = match page.caller.who {
        Who::Person { account, .. } => {
            cards(&integrations, page.caller.organization, account).await?
        }
        Who::Token(_) => Vec::new(),
    };
    let duties = duties::rows(&integrations, &page).await?;
    let (db, organization) = (&integrations.app().db, page.caller.organization);
    let deliveries = outbox::deliveries(db, organization, None, i64::MAX, DELIVERIES).await?;
    let fetched = calls::statuses(db, organization).await?;
    let connected = cards
        .iter()
        .find(|card| card.connected && Some(card.provider) == asked.connected.as_deref())
        .cloned();
    html(&List { shell: page.shell, cards, duties, deliveries, fetched, connected })
}

#[derive(Template)]
#[template(path = "integrations/people.html")]
struct People {
    shell: Shell,
    people: Vec<Person>,
}

impl People {
    fn tone(card: &Card) -> &'static str {
        tone(card)
    }

    /// What a person has, or had: a card does not go away.
    fn known(person: &Person) -> Vec<&Card> {
        person.integrations.values().filter(|card| card.id.is_some()).collect()
    }
}

async fn show_people(
    page: Page<Admin>,
    Extension(integrations): Extension<Integrations>,
) -> Result<Response> {
    let people = people(&integrations, page.caller.organization).await?;
    html(&People { shell: page.shell, people })
}

#[derive(Template)]
#[template(path = "integrations/onward.html")]
struct Onward {
    shell: Shell,
    label: &'static str,
    url: String,
}

/// To the provider. A page leads there: a redirect would be held against the `form-action` of the
/// page with the form.
async fn connect(
    page: Page<Operator>,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
) -> Result<Response> {
    let kind = kind(&provider)?;
    let url = integrations.begin(&page.caller, kind).await?;
    let refresh = HeaderValue::from_str(&format!("0; url={url}"));
    let onward = Onward { shell: page.shell, label: kind.label, url: url.to_string() };
    let mut response = html(&onward)?;
    if let Ok(refresh) = refresh {
        response.headers_mut().insert(header::REFRESH, refresh);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn test(
    page: Page<Operator>,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
) -> Result<Response> {
    let kind = kind(&provider)?;
    let account = account(&page.caller)?;
    let told = match integrations.test(page.caller.organization, account, kind).await {
        Ok(identity) => {
            let name = identity.username.or(identity.name).unwrap_or_else(|| identity.id.clone());
            Told::done(format!("{} answers, and knows you as {name}", kind.label))
        }
        Err(trouble) => Told::bad(Error::from(trouble).to_string()),
    };
    Ok(see_other(&format!("/integrations#{}", kind.key), &told))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Place {
    id: String,
}

async fn choose_place(
    page: Page<Operator>,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
    Form(place): Form<Place>,
) -> Result<Response> {
    let kind = kind(&provider)?;
    let account = account(&page.caller)?;
    let told = match integrations.choose_place(&page.caller, account, kind, &place.id).await {
        Ok(()) => Told::done(format!("{} works there from now on", kind.label)),
        Err(Error::Invalid(_)) => Told::bad("Choose one of the places"),
        Err(other) => return Err(other.into()),
    };
    Ok(see_other(&format!("/integrations#{}", kind.key), &told))
}

/// Whose connection is to end: one's own, or for administrators another's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Whose {
    account: Option<i64>,
}

async fn disconnect(
    page: Page<Operator>,
    Extension(integrations): Extension<Integrations>,
    Path(provider): Path<String>,
    Form(whose): Form<Whose>,
) -> Result<Response> {
    let kind = kind(&provider)?;
    let own = account(&page.caller)?;
    let account = whose.account.unwrap_or(own);
    if account != own && !page.caller.role.may_administer() {
        return Err(Error::NotFound("connection").into());
    }
    let done = integrations.disconnect(&page.caller, account, kind).await?;
    let label = kind.label;
    let told = if done.revoking {
        format!("{label} is disconnected, and told to forget the consent")
    } else {
        format!("{label} is disconnected; take the access away there as well: {}", done.remove_at)
    };
    let next = if account == own { "/integrations" } else { "/integrations/people" };
    Ok(see_other(next, &Told::done(told)))
}
