//! The channels' page and form, and the log of what was told.

use askama::Template;
use axum::{Extension, response::Response};
use http::StatusCode;
use serde::Deserialize;

use super::{
    Form, HERE, Page, Shell, Told,
    fields::{DAYS, Fields},
    filters, html, see_other, told, wrong_or,
};
use crate::{
    error::{Error, Result as Done},
    http::{Operator, Path, Query, Reader, Result},
    notify::{
        self, Channel, Delivery, Notify, State, Topic, channel,
        maintenance::{self, Window},
        store::deliveries::{self, Filter},
        team,
    },
};

/// Deliveries of a page of the log.
const LISTED: i64 = 25;
/// Windows that are shown.
const WINDOWS: i64 = 20;

#[derive(Template)]
#[template(path = "notifications/list.html")]
struct List {
    shell: Shell,
    section: &'static str,
    channels: Vec<Channel>,
    windows: Vec<Window>,
    log: Vec<Delivery>,
    /// Where the log goes on.
    older: Option<String>,
    asked: Asked,
    phone: Option<String>,
    wrong: Option<String>,
}

/// Which part of the log is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    channel: Option<i64>,
    state: Option<State>,
    before: Option<i64>,
}

impl Asked {
    fn is_of(&self, channel: &Channel) -> bool {
        self.channel == Some(channel.id)
    }

    fn is_in(&self, state: &str) -> bool {
        self.state.is_some_and(|it| it.as_str() == state)
    }

    fn older(&self, before: i64) -> String {
        let mut link = format!("{HERE}?before={before}");
        if let Some(channel) = self.channel {
            link = format!("{link}&channel={channel}");
        }
        if let Some(state) = self.state {
            link = format!("{link}&state={}", state.as_str());
        }
        link
    }
}

impl List {
    /// The badge of a channel, and its word.
    fn standing(channel: &Channel) -> (&'static str, &'static str) {
        match channel {
            Channel { enabled: false, .. } => ("", "off"),
            Channel { failures: 1.., .. } => ("bad", "failing"),
            Channel { sent_at: None, .. } => ("", "nothing told yet"),
            _ => ("ok", "works"),
        }
    }

    fn about(channel: &Channel) -> String {
        let wants = match channel.events.len() {
            0 => "wants nothing".to_owned(),
            all if all == Topic::ALL.len() => "everything".to_owned(),
            _ => {
                let names: Vec<&str> = channel.events.iter().map(|it| it.as_str()).collect();
                names.join(", ")
            }
        };
        let app = match channel.app.as_str() {
            "" => String::new(),
            app => format!(" of {app}"),
        };
        format!("{wants}{app}, from {} up", channel.least)
    }

    fn target(channel: &Channel) -> String {
        match channel.kind {
            channel::Kind::Mail => match channel.recipients.as_slice() {
                [] => "no recipients".to_owned(),
                [one] => one.clone(),
                [one, rest @ ..] => format!("{one} and {} more", rest.len()),
            },
            channel::Kind::Slack if channel.slack_channel.is_empty() => {
                "the channel of the duty".to_owned()
            }
            channel::Kind::Slack => channel.slack_channel.clone(),
            channel::Kind::Webhook => channel.url.clone().unwrap_or_default(),
            channel::Kind::Browser => "the inbox, and open pages".to_owned(),
        }
    }

    fn tone(one: &Delivery) -> &'static str {
        match one.state {
            State::Sent => "ok",
            State::Failed => "bad",
            State::Uncertain => "warn",
            State::Waiting | State::Sending => "live",
            State::Held | State::Digested | State::Dropped => "",
        }
    }

    fn is_over(&self, window: &Window) -> bool {
        window.to <= self.shell.now
    }

    fn is_on(&self, window: &Window) -> bool {
        window.from <= self.shell.now && !self.is_over(window)
    }
}

async fn page<Authority>(
    notify: &Notify,
    page: Page<Authority>,
    asked: Asked,
    wrong: Option<String>,
) -> Done<List> {
    let (app, organization) = (notify.app(), page.caller.organization);
    let filter = Filter { channel: asked.channel, event: None, state: asked.state };
    let before = asked.before.unwrap_or(i64::MAX);
    let log = deliveries::list(&app.db, organization, filter, before, LISTED).await?;
    let is_full = i64::try_from(log.len()).is_ok_and(|count| count >= LISTED);
    Ok(List {
        section: "notifications",
        channels: channel::list(app, organization).await?,
        windows: maintenance::list(&app.db, organization, WINDOWS).await?,
        older: log.last().filter(|_| is_full).map(|last| asked.older(last.id)),
        log,
        asked,
        phone: team::phone(notify, organization).await?,
        wrong,
        shell: page.shell,
    })
}

pub(super) async fn list(
    visit: Page<Reader>,
    Extension(notify): Extension<Notify>,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    html(&page(&notify, visit, asked, None).await?)
}

/// The page with what is wrong with a window.
pub(super) async fn refused(
    notify: &Notify,
    visit: Page<Operator>,
    wrong: String,
) -> Result<Response> {
    let mut response = html(&page(notify, visit, Asked::default(), Some(wrong)).await?)?;
    *response.status_mut() = StatusCode::BAD_REQUEST;
    Ok(response)
}

#[derive(Template)]
#[template(path = "notifications/edit.html")]
struct Edit {
    shell: Shell,
    section: &'static str,
    id: Option<i64>,
    fields: Fields,
    /// What is shown of a webhook's address.
    url: Option<String>,
    /// Where it may escalate to.
    others: Vec<Channel>,
    topics: [Topic; 7],
    days: [(&'static str, &'static str); 7],
    /// The key of a webhook that was just made; shown this once.
    made: Option<String>,
    wrong: Option<String>,
}

impl Edit {
    fn action(&self) -> String {
        self.id.map_or_else(|| HERE.to_owned(), |id| format!("{HERE}/{id}"))
    }
}

async fn edit<Authority>(
    notify: &Notify,
    visit: Page<Authority>,
    id: Option<i64>,
    fields: Fields,
) -> Done<Edit> {
    let mut others = channel::list(notify.app(), visit.caller.organization).await?;
    let url = others.iter().find(|it| Some(it.id) == id).and_then(|it| it.url.clone());
    others.retain(|it| Some(it.id) != id);
    Ok(Edit {
        section: "notifications",
        id,
        fields,
        url,
        others,
        topics: Topic::ALL,
        days: DAYS,
        made: None,
        wrong: None,
        shell: visit.shell,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kind {
    kind: String,
}

pub(super) async fn blank(
    visit: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Query(wish): Query<Kind>,
) -> Result<Response> {
    let kind = match wish.kind.as_str() {
        kind @ ("slack" | "webhook" | "browser") => kind,
        _ => "mail",
    };
    html(&edit(&notify, visit, None, Fields::new(kind)).await?)
}

pub(super) async fn show(
    visit: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let channel = channel::read(notify.app(), visit.caller.organization, id).await?;
    html(&edit(&notify, visit, Some(id), Fields::of(&channel)).await?)
}

/// The form once more, with what is wrong with it.
async fn again(
    notify: &Notify,
    visit: Page<Operator>,
    id: Option<i64>,
    fields: Fields,
    error: Error,
) -> Result<Response> {
    let wrong = Some(wrong_or(error)?);
    let mut response = html(&Edit { wrong, ..edit(notify, visit, id, fields).await? })?;
    *response.status_mut() = StatusCode::BAD_REQUEST;
    Ok(response)
}

pub(super) async fn make(
    visit: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Form(fields): Form<Fields>,
) -> Result<Response> {
    let made = match fields.wish() {
        Ok(wish) => channel::create(notify.app(), &visit.caller, &wish).await,
        Err(error) => Err(error),
    };
    match made {
        Ok((channel, Some(secret))) => {
            let form = edit(&notify, visit, Some(channel.id), Fields::of(&channel)).await?;
            html(&Edit { made: Some(secret), ..form })
        }
        Ok((channel, None)) => {
            let words = format!("\"{}\" is set up; try it with its test button", channel.name);
            Ok(see_other(HERE, &Told::done(words)))
        }
        Err(error) => again(&notify, visit, None, fields, error).await,
    }
}

pub(super) async fn change(
    visit: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
    Form(fields): Form<Fields>,
) -> Result<Response> {
    channel::read(notify.app(), visit.caller.organization, id).await?;
    let changed = match fields.wish() {
        Ok(wish) => channel::replace(notify.app(), &visit.caller, id, &wish).await,
        Err(error) => Err(error),
    };
    match changed {
        Ok(channel) => Ok(see_other(HERE, &Told::done(format!("\"{}\" is saved", channel.name)))),
        Err(error) => again(&notify, visit, Some(id), fields, error).await,
    }
}

pub(super) async fn test(
    visit: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let told = match notify::test(&notify, &visit.caller, id).await {
        Ok(tested) if tested.success => Told::done(format!("The test: {}", tested.message)),
        Ok(tested) => Told::bad(format!("The test: {}", tested.message)),
        Err(error) => Told::bad(wrong_or(error)?),
    };
    Ok(see_other(HERE, &told))
}

pub(super) async fn remove(
    visit: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let done = channel::remove(notify.app(), &visit.caller, id).await;
    Ok(see_other(HERE, &told(done, |()| "The channel is removed, with its log".to_owned())?))
}
