//! What waits for a person's word, and what was said.

pub(crate) mod card;

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    Extension, Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use http::HeaderMap;
use serde::Deserialize;

use self::card::{Card, cards};
use super::{Form, Page, Shell, Told, campaigns, filters, html, is_fragment, see_other};
use crate::{
    app::App,
    auth::Caller,
    error::{self, Error},
    http::{Operator, Path, Query, Reader, Result, paging, safe_next},
    repair::{
        Repair,
        action::{ActionRun, Actions, Decided, Edit, Status, Word},
        store::attempts,
    },
};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/approvals", get(show))
        .route("/approvals/{id}/approve", post(approve))
        .route("/approvals/{id}/reject", post(reject))
        .route("/approvals/{id}/edit", post(edit))
        .route("/approvals/{id}/undo", post(undo))
}

/// Actions on one page.
const LIMIT: i64 = 20;

#[derive(Deserialize)]
struct Wanted {
    /// "waiting" (the default), "decided", "expired"
    #[serde(default)]
    show: String,
    cursor: Option<String>,
}

#[derive(Template)]
#[template(path = "approvals/list.html", blocks = ["queue"])]
struct List {
    shell: Shell,
    /// Which tab: "waiting", "decided", "expired".
    tab: &'static str,
    /// Where a decision leads back to.
    here: &'static str,
    /// Campaigns that wait, above the actions.
    campaigns: Vec<campaigns::card::Card>,
    cards: Vec<Card>,
    /// The cursor of what is older.
    next: Option<String>,
    is_first: bool,
    /// Why nothing is ever proposed, if so.
    off: Option<String>,
    /// Why nothing runs although it may be approved.
    stopped: Option<String>,
}

async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(actions): Extension<Actions>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response> {
    let organization = page.caller.organization;
    let before = wanted.cursor.as_deref().map(paging::position).transpose()?;
    let is_first = before.is_none();
    let before = before.unwrap_or(i64::MAX);
    let of = |status| Actions::list(&app.db, organization, Some(status), before, LIMIT);
    let (tab, found) = match wanted.show.as_str() {
        "decided" => {
            ("decided", Actions::list_decided(&app.db, organization, before, LIMIT).await?)
        }
        "expired" => ("expired", of(Status::Expired).await?),
        _ => ("waiting", of(Status::Proposed).await?),
    };
    let next = paging::after(&found, LIMIT, |action| action.id)?;
    let mut cards = cards(found, actions.catalogue());
    let causes: Vec<i64> = cards.iter().map(|card| card.run.cause_id).collect();
    let errors = attempts::of_causes(&app.db, organization, &causes).await.map_err(Error::from)?;
    for (cause, group, title) in errors {
        let of_cause = cards.iter_mut().filter(|card| card.run.cause_id == cause);
        of_cause.for_each(|card| card.errors.push((group, title.clone())));
    }
    let campaigns = if tab == "waiting" && is_first {
        campaigns::card::waiting(&app, organization).await?
    } else {
        Vec::new()
    };
    let list = List {
        campaigns,
        tab,
        here: "/approvals",
        cards,
        next,
        is_first,
        off: actions.catalogue().off().map(str::to_owned),
        stopped: actions.standing().await?.reason,
        shell: page.shell,
    };
    if is_fragment(&headers) {
        return html(&list.as_queue());
    }
    html(&list)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    hash: String,
    reason: String,
    /// Where to go afterwards.
    next: String,
}

impl Said {
    fn next(&self) -> &str {
        if self.next.is_empty() { "/approvals" } else { safe_next(Some(&self.next)) }
    }
}

async fn approve(
    page: Page<Operator>,
    Extension(repair): Extension<Repair>,
    Extension(actions): Extension<Actions>,
    Path(id): Path<i64>,
    Form(said): Form<Said>,
) -> Result<Response> {
    decide(&page.caller, &repair, &actions, id, Decided::Approved, said).await
}

async fn reject(
    page: Page<Operator>,
    Extension(repair): Extension<Repair>,
    Extension(actions): Extension<Actions>,
    Path(id): Path<i64>,
    Form(said): Form<Said>,
) -> Result<Response> {
    decide(&page.caller, &repair, &actions, id, Decided::Rejected, said).await
}

async fn decide(
    caller: &Caller,
    repair: &Repair,
    actions: &Actions,
    id: i64,
    decided: Decided,
    said: Said,
) -> Result<Response> {
    let next = said.next().to_owned();
    let word = Word { hash: said.hash, reason: Some(said.reason) };
    let told = told(caller, repair, actions, id, decided, word).await?;
    Ok(see_other(&next, &told))
}

/// Decides, and says what was done: the same button twice is the first press.
pub(super) async fn told(
    caller: &Caller,
    repair: &Repair,
    actions: &Actions,
    id: i64,
    decided: Decided,
    word: Word,
) -> error::Result<Told> {
    match repair.decide(caller, id, decided, word).await {
        Ok(run) => Ok(done(&run, decided)),
        Err(Error::Conflict(why)) => {
            let run = actions.find(caller.organization, id).await?;
            let told = is_said(&run, caller, decided);
            Ok(if told { done(&run, decided) } else { Told::bad(why) })
        }
        Err(error) => Err(error),
    }
}

/// Whether this caller has decided so already.
fn is_said(run: &ActionRun, caller: &Caller, decided: Decided) -> bool {
    let rejected = run.status == Status::Rejected;
    let open = matches!(run.status, Status::Proposed | Status::Expired);
    run.decided_by.as_deref() == Some(&caller.author())
        && !open
        && rejected == (decided == Decided::Rejected)
}

fn done(run: &ActionRun, decided: Decided) -> Told {
    match decided {
        Decided::Approved => Told::done(format!("{} is approved; it runs once", run.action)),
        Decided::Rejected => Told::done(format!("{} is rejected; nothing was run", run.action)),
    }
}

/// Fields of parameters, beside those that every form has.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Values(BTreeMap<String, String>);

impl Values {
    /// "param-unit" → "unit"
    pub(super) fn params(self) -> BTreeMap<String, String> {
        let fields = self.0.into_iter();
        fields
            .filter_map(|(name, value)| Some((name.strip_prefix("param-")?.into(), value)))
            .collect()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Edited {
    hash: String,
    next: String,
    #[serde(flatten)]
    values: Values,
}

async fn edit(
    page: Page<Operator>,
    Extension(actions): Extension<Actions>,
    Path(id): Path<i64>,
    Form(edited): Form<Edited>,
) -> Result<Response> {
    let edit = Edit { hash: edited.hash, params: edited.values.params() };
    let said = Said { next: edited.next, ..Said::default() };
    Ok(see_other(said.next(), &told_of_edit(&page.caller, &actions, id, edit).await?))
}

/// Gives an action other values, and says what came of it.
pub(super) async fn told_of_edit(
    caller: &Caller,
    actions: &Actions,
    id: i64,
    edit: Edit,
) -> error::Result<Told> {
    match actions.edit(caller, id, edit).await {
        Ok(run) if run.id == id => Ok(Told::done(format!("{} is as it was", run.action))),
        Ok(run) => Ok(Told::done(format!("{} is changed; approve what it shows now", run.action))),
        Err(Error::Conflict(why) | Error::Invalid(why)) => Ok(Told::bad(why)),
        Err(error) => Err(error),
    }
}

async fn undo(
    page: Page<Operator>,
    Extension(actions): Extension<Actions>,
    Path(id): Path<i64>,
    Form(said): Form<Said>,
) -> Result<Response> {
    let told = match actions.take_back(&page.caller, id).await {
        Ok((true, run)) => Told::done(format!("{} runs now, to take it back", run.action)),
        Ok((false, run)) => Told::done(format!("{} was run before", run.action)),
        Err(Error::Conflict(why)) => Told::bad(why),
        Err(error) => return Err(error.into()),
    };
    Ok(see_other(said.next(), &told))
}
