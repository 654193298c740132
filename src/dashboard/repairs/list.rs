//! All runs, and what stands around them: the schedule, the switch, recipes, watches.

use std::collections::HashMap;

use askama::Template;
use axum::{Extension, extract::State, response::Response};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Deserialize;

use super::{
    Page, Shell, filters, html, is_fragment,
    words::{self, Outcomes},
};
use crate::{
    app::App,
    auth::OrganizationId,
    config::Config,
    error::{Error, Result},
    http::{Query, Reader, Result as Answer, paging},
    jobs::Scheduled,
    repair::{
        action::{Actions, switch},
        store::{
            attempts,
            recipes::{self, Recipe},
            runs::{self, Run},
            watches::{self, Watched},
        },
    },
};

/// Runs on one page.
const LIMIT: i64 = 20;
/// Watches and recipes that are shown.
const SOME: i64 = 12;

#[derive(Deserialize)]
pub(super) struct Wanted {
    cursor: Option<String>,
}

/// A run in the list.
pub(super) struct Row {
    pub run: Run,
    pub outcomes: Outcomes,
    pub state: words::State,
    pub scope: String,
    pub trigger: &'static str,
    pub took: String,
}

impl Row {
    fn new(run: Run, outcomes: Outcomes, now: DateTime<Utc>) -> Self {
        Self {
            state: words::of_run(&run, outcomes),
            scope: words::scope(&run.scope()),
            trigger: words::trigger(run.trigger),
            took: words::took(&run, now),
            outcomes,
            run,
        }
    }

    /// Of the errors, those that have a verdict.
    fn judged(&self) -> i64 {
        self.outcomes.total() - self.outcomes.open
    }
}

/// A recipe with when it was last used, as far as runs still tell.
struct Known {
    recipe: Recipe,
    at: Option<DateTime<Utc>>,
}

/// What is done unasked.
struct Sweep {
    next: Option<DateTime<Utc>>,
    /// "0 */6 * * * (UTC)"
    cron: Option<String>,
    /// Where that is set.
    origin: String,
    last: Option<Row>,
}

/// Whether actions may run, and why not.
pub(super) struct Switch {
    /// By the configuration.
    off: Option<String>,
    /// By the switch in the database.
    stopped: Option<String>,
    /// By the file, which no page can take away.
    file: Option<String>,
    listed: usize,
}

#[derive(Template)]
#[template(path = "repairs/list.html", blocks = ["live"])]
struct List {
    shell: Shell,
    /// Under way, the first of them on top.
    going: Vec<Row>,
    rows: Vec<Row>,
    next: Option<String>,
    is_first: bool,
    sweep: Sweep,
    switch: Switch,
    recipes: Vec<Known>,
    watches: Vec<Watched>,
}

pub(super) async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(actions): Extension<Actions>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Answer<Response> {
    let (organization, now) = (page.caller.organization, page.shell.now);
    let before = wanted.cursor.as_deref().map(paging::position).transpose()?;
    let is_first = before.is_none();
    let db = &app.db;
    let before = before.unwrap_or(i64::MAX);
    let found = runs::list(db, organization, before, LIMIT).await.map_err(Error::from)?;
    let next = paging::after(&found, LIMIT, |run| run.id)?;
    let rows = rows(&app, found, now).await?;
    let (going, rows) = rows.into_iter().partition(|row| !row.run.status.is_settled());
    let list = List {
        going,
        rows,
        next,
        is_first,
        sweep: sweep(&app, organization, now).await?,
        switch: Switch::of(&app, &actions).await?,
        recipes: known(&app, organization).await?,
        watches: watches::open(db, organization, SOME).await.map_err(Error::from)?,
        shell: page.shell,
    };
    if is_fragment(&headers) {
        return html(&list.as_live());
    }
    html(&list)
}

/// Runs with what became of their errors.
async fn rows(app: &App, found: Vec<Run>, now: DateTime<Utc>) -> Result<Vec<Row>> {
    let ids: Vec<i64> = found.iter().map(|run| run.id).collect();
    let mut outcomes: HashMap<i64, Outcomes> = HashMap::new();
    for (run, verdict, count) in attempts::outcomes(&app.db, &ids).await? {
        outcomes.entry(run).or_default().add(verdict, count);
    }
    let row = |run: Run| {
        let outcomes = outcomes.get(&run.id).copied().unwrap_or_default();
        Row::new(run, outcomes, now)
    };
    Ok(found.into_iter().map(row).collect())
}

async fn sweep(app: &App, organization: OrganizationId, now: DateTime<Utc>) -> Result<Sweep> {
    let schedules = Scheduled::of_config(&app.config.schedule);
    let own = schedules.iter().find(|schedule| schedule.name == "repair");
    let last = runs::last_scheduled(&app.db, organization).await?;
    Ok(Sweep {
        next: own.and_then(|schedule| schedule.next(now)),
        cron: own.map(|schedule| format!("{} ({})", schedule.cron, schedule.zone)),
        origin: origin(&app.config, "schedule.repair"),
        last: rows(app, last.into_iter().collect(), now).await?.pop(),
    })
}

/// Where a setting comes from: "file /etc/lux/lux.toml".
fn origin(config: &Config, key: &str) -> String {
    let setting = config.settings.iter().find(|setting| setting.key == key);
    setting.map_or_else(|| "default".to_owned(), |setting| setting.origin.to_string())
}

impl Switch {
    pub(super) async fn of(app: &App, actions: &Actions) -> Result<Self> {
        Ok(Self {
            off: actions.catalogue().off().map(str::to_owned),
            // How an API lets them go is no help here.
            stopped: switch::stopped_by_database(&app.db)
                .await?
                .and_then(|why| why.split(';').next().map(str::to_owned)),
            file: switch::stopped_by_file(&app.config),
            listed: actions.catalogue().len(),
        })
    }
}

async fn known(app: &App, organization: OrganizationId) -> Result<Vec<Known>> {
    let used = recipes::last_used(&app.db, organization).await?;
    let at = |recipe: &Recipe| {
        let same = |it: &&recipes::Used| it.cause == recipe.cause && it.recipe == recipe.recipe;
        used.iter().find(same).map(|it| it.at)
    };
    let recipes = recipes::list(&app.db, organization).await?;
    let mut known: Vec<Known> =
        recipes.into_iter().map(|recipe| Known { at: at(&recipe), recipe }).collect();
    known.sort_by_key(|known| std::cmp::Reverse((known.at, known.recipe.worked)));
    known.truncate(usize::try_from(SOME).unwrap_or_default());
    Ok(known)
}
