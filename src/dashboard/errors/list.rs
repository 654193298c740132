//! The list of groups.

use askama::Template;
use axum::{
    extract::{RawForm, State},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use url::form_urlencoded;

use super::{
    Page, Shell, Told,
    badge::{self, Badge},
    chart, filters, html,
    query::{Asked, SORTS, Tab, WITHIN, Wish},
    see_other, views,
};
use crate::{
    app::App,
    apps::{self, Address},
    auth::OrganizationId,
    clock,
    error::{Error, Result},
    errors::{
        shown::{self, GroupWithBuckets},
        store::groups::{self, MAX_COUNT, Position, Sort, Summary},
    },
    http::{Operator, Query, Reader, Result as Answer},
    repair::store::attempts,
};

/// Groups on a page.
const LIMIT: i64 = 50;
/// Looks that one page may take: a look is bounded, and may find few.
const LOOKS: usize = 4;
/// This page's views.
const PAGE: &str = "errors";

/// One group as a row.
struct Row {
    id: i64,
    kind: String,
    message: String,
    place: String,
    app: String,
    release: Option<String>,
    users: i64,
    count: i64,
    /// (class, icon, word)
    severity: (&'static str, &'static str, &'static str),
    spark: askama::filters::Safe<String>,
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    badge: Badge,
}

/// A tab with how many stand behind it; not told where the list is narrowed: they would be
/// those of another list.
struct TabLink {
    name: &'static str,
    href: String,
    here: bool,
    count: Option<String>,
}

/// Why there are no rows.
enum Empty {
    /// Nothing was ever reported.
    First { dsn: Option<String> },
    /// Nothing stands so, which is good or no matter.
    Quiet,
    /// The wish leaves everything out; what would widen it: (words, address).
    NoMatch(Vec<(&'static str, String)>),
    /// The words are not understood.
    Refused(String),
}

/// What was found.
struct Found {
    wish: Wish,
    rows: Vec<Row>,
    tabs: Vec<TabLink>,
    /// Groups that match, where that is known: "60", "10 000 or more".
    total: Option<String>,
    /// The same as a number.
    reach: Option<i64>,
    previous: Option<String>,
    next: Option<String>,
    /// The page is not full and yet there may be more.
    unfinished: bool,
    empty: Option<Empty>,
    last_event: Option<DateTime<Utc>>,
    /// It is sent to a page that is open.
    part: bool,
}

#[derive(Template)]
#[template(path = "errors/list.html")]
struct List {
    shell: Shell,
    found: Found,
    views: Vec<ViewLink>,
    max_name: usize,
    /// The list is one that could be kept under a name.
    may_be_kept: bool,
    withins: [(&'static str, &'static str, i64); 6],
    sorts: [(&'static str, &'static str, Sort); 3],
}

#[derive(Template)]
#[template(path = "errors/part.html")]
struct Part {
    shell: Shell,
    found: Found,
}

/// A view that is kept.
struct ViewLink {
    id: i64,
    name: String,
    href: String,
    /// It is this list.
    here: bool,
}

pub(super) async fn page(
    page: Page<Reader>,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Answer<Response> {
    let organization = page.caller.organization;
    let (found, status) = find(&app, organization, asked, page.shell.now).await?;
    let views = views::list(&app.db, &page.caller, PAGE).await.map_err(Error::from)?;
    let query = found.wish.query();
    let views: Vec<ViewLink> = views
        .into_iter()
        .map(|view| ViewLink {
            id: view.id,
            href: Wish::of_query(&view.query).unwrap_or_default().href(),
            here: view.query == query,
            name: view.name,
        })
        .collect();
    let list = List {
        may_be_kept: page.shell.may_operate()
            && !query.is_empty()
            && !views.iter().any(|view| view.here),
        shell: page.shell,
        found,
        views,
        max_name: views::MAX_NAME,
        withins: WITHIN,
        sorts: SORTS,
    };
    Ok((status, html(&list)?).into_response())
}

/// The rows and the tabs, for a page that is open.
pub(super) async fn rows(
    page: Page<Reader>,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Answer<Response> {
    let (mut found, _) = find(&app, page.caller.organization, asked, page.shell.now).await?;
    found.part = true;
    html(&Part { shell: page.shell, found })
}

async fn find(
    app: &App,
    organization: OrganizationId,
    asked: Asked,
    now: DateTime<Utc>,
) -> Result<(Found, StatusCode)> {
    let wish = Wish::read(asked)?;
    let summary = groups::summary(&app.db, organization, now).await?;
    let mut found = Found {
        tabs: tabs(&wish, &summary),
        rows: Vec::new(),
        total: None,
        reach: None,
        previous: wish.previous(),
        next: None,
        unfinished: false,
        empty: None,
        last_event: summary.last_event_at,
        part: false,
        wish,
    };
    let search = match found.wish.search(now) {
        Ok(search) => search,
        Err(Error::Invalid(why)) => {
            found.empty = Some(Empty::Refused(why));
            return Ok((found, StatusCode::BAD_REQUEST));
        }
        Err(error) => return Err(error),
    };
    let searched = looked(app, organization, &found.wish, &search).await;
    let (groups, next) = match searched {
        Ok(searched) => searched,
        Err(Error::Invalid(why)) => {
            found.empty = Some(Empty::Refused(why));
            return Ok((found, StatusCode::BAD_REQUEST));
        }
        Err(error) => return Err(error),
    };
    let ids: Vec<i64> = groups.iter().map(|it| it.group.id).collect();
    let under_way = attempts::under_way(&app.db, organization, &ids).await?;
    found.unfinished = next.is_some() && i64::try_from(groups.len()).is_ok_and(|n| n < LIMIT);
    found.next = next.map(|next| found.wish.next(&next)).transpose()?;
    found.rows = groups
        .iter()
        .map(|group| {
            let repair = under_way.iter().rfind(|it| it.group_id == group.group.id);
            Row::of(group, repair, now)
        })
        .collect();
    let all = standing(&summary, found.wish.tab);
    if !found.wish.is_narrowed() {
        found.total = Some(told(all));
        found.reach = Some(all);
    } else if found.next.is_none() && found.previous.is_none() {
        found.total = Some(found.rows.len().to_string());
    }
    if found.rows.is_empty() && found.next.is_none() {
        found.empty = Some(why_empty(app, organization, &found.wish, &summary).await?);
    }
    Ok((found, StatusCode::OK))
}

/// A page of groups, filled in a few looks.
async fn looked(
    app: &App,
    organization: OrganizationId,
    wish: &Wish,
    search: &crate::errors::store::search::GroupSearch,
) -> Result<(Vec<GroupWithBuckets>, Option<Position>)> {
    let mut after = wish.position()?;
    let mut groups: Vec<GroupWithBuckets> = Vec::new();
    for _ in 0..LOOKS {
        let left = LIMIT - i64::try_from(groups.len()).unwrap_or(LIMIT);
        let (more, next) = shown::page(app, organization, search, wish.sort(), left, after).await?;
        groups.extend(more);
        after = next;
        if after.is_none() || i64::try_from(groups.len()).is_ok_and(|n| n >= LIMIT) {
            break;
        }
    }
    Ok((groups, after))
}

impl Row {
    fn of(
        shown: &GroupWithBuckets,
        repair: Option<&attempts::UnderWay>,
        now: DateTime<Utc>,
    ) -> Self {
        let group = &shown.group;
        let events: i64 = shown.buckets.iter().sum();
        let label = match events {
            0 => "No events in 24 hours".to_owned(),
            1 => "1 event in 24 hours".to_owned(),
            _ => format!("{events} events in 24 hours"),
        };
        Self {
            id: group.id,
            kind: group.error_type.clone(),
            message: badge::message(group).to_owned(),
            place: badge::place(group),
            app: group.app.clone(),
            release: group.last_release.clone().or_else(|| shown.release.clone()),
            users: group.users,
            count: group.count,
            severity: badge::severity(group.severity),
            spark: chart::spark(&shown.buckets, &label, badge::is_hot(shown)),
            first_seen: group.first_seen,
            last_seen: group.last_seen,
            badge: Badge::of(group, repair, now),
        }
    }
}

fn standing(summary: &Summary, tab: Tab) -> i64 {
    let open = summary.unresolved + summary.regressed;
    match tab {
        Tab::Attention => open,
        Tab::Unresolved => summary.unresolved,
        Tab::Resolved => summary.resolved,
        Tab::Muted => summary.ignored,
        Tab::All => open + summary.resolved + summary.ignored,
    }
}

/// A number of groups; they are counted so far only.
fn told(count: i64) -> String {
    if count >= MAX_COUNT { format!("{MAX_COUNT}+") } else { count.to_string() }
}

fn tabs(wish: &Wish, summary: &Summary) -> Vec<TabLink> {
    let link = |(tab, _, name): (Tab, &str, &'static str)| TabLink {
        name,
        href: wish.with_tab(tab).href(),
        here: wish.tab == tab,
        count: (!wish.is_narrowed()).then(|| told(standing(summary, tab))),
    };
    Tab::ALL.map(link).into()
}

async fn why_empty(
    app: &App,
    organization: OrganizationId,
    wish: &Wish,
    summary: &Summary,
) -> Result<Empty> {
    if summary.last_event_at.is_none() {
        let apps = apps::store::list(&app.db, organization, false).await?;
        let first = apps.into_iter().find_map(|app| Some((app.id, app.public_key?)));
        let dsn = first.map(|(id, key)| Address::of(&app.config).dsn(id, &key));
        return Ok(Empty::First { dsn });
    }
    if !wish.is_narrowed() {
        return Ok(Empty::Quiet);
    }
    let mut wider = Vec::new();
    if matches!(wish.within, "1h" | "24h") {
        wider.push(("Show last 7 days", wish.with_within("7d").href()));
    }
    if !wish.within.is_empty() {
        wider.push(("Show any time", wish.with_within("").href()));
    }
    if wish.tab != Tab::All {
        wider.push(("Look in all states", wish.with_tab(Tab::All).href()));
    }
    if !wish.q.is_empty() {
        wider.push(("Clear the search", wish.without_words().href()));
    }
    Ok(Empty::NoMatch(wider))
}

/// Keeps the list under a name (`name`, `query`), or removes a view (`remove`).
pub(super) async fn keep_view(
    page: Page<Operator>,
    State(app): State<App>,
    RawForm(form): RawForm,
) -> Answer<Response> {
    let (mut name, mut query, mut remove) = (None, String::new(), None);
    for (field, value) in form_urlencoded::parse(&form) {
        match &*field {
            "name" => name = Some(value.into_owned()),
            "query" => query = value.into_owned(),
            "remove" => remove = Some(value.parse::<i64>().map_err(|_| Error::NotFound("view"))?),
            _ => {}
        }
    }
    if let Some(id) = remove {
        let view = views::remove(&app.db, &page.caller, id).await?;
        let back = Wish::of_query(&view.query).unwrap_or_default().href();
        let fields = [("name".to_owned(), view.name.clone()), ("query".to_owned(), view.query)];
        let told = Told::done(format!("View {} removed", view.name));
        return Ok(see_other(&back, &told.undo("/errors/views", fields.into())));
    }
    let name = name.ok_or_else(|| Error::invalid("give the view a name"))?;
    let wish = Wish::of_query(&query)?;
    // What cannot be searched is no view.
    wish.search(clock::now())?;
    let name = views::keep(&app.db, &page.caller, PAGE, &name, &wish.query(), clock::now()).await?;
    Ok(see_other(&wish.href(), &Told::done(format!("View {name} saved"))))
}
