//! Who is told what happens here, how that went lately, and ending it.

use askama::Template;
use axum::{extract::State, response::Response};

use super::{Page, Shell, filters, html, see_other, told};
use crate::{
    app::App,
    hooks::{self, Hook},
    http::{Operator, Path, Result},
};

#[derive(Template)]
#[template(path = "settings/hooks.html")]
struct Hooks {
    shell: Shell,
    section: &'static str,
    subscriptions: Vec<Hook>,
}

impl Hooks {
    /// The badge of how it goes, and its words.
    fn state(hook: &Hook) -> (&'static str, &'static str) {
        match hook {
            Hook { disabled_at: Some(_), .. } => ("bad", "given up"),
            Hook { failures: 1.., .. } => ("warn", "failing"),
            Hook { delivered: 0, .. } => ("", "nothing told yet"),
            _ => ("ok", "told"),
        }
    }
}

pub(super) async fn show(page: Page<Operator>, State(app): State<App>) -> Result<Response> {
    let subscriptions = hooks::list(&app.db, page.caller.organization).await?;
    html(&Hooks { section: "hooks", subscriptions, shell: page.shell })
}

pub(super) async fn remove(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let done = hooks::remove(&app, &page.caller, id).await;
    let words = |()| "The subscription is removed; nothing more is sent there".to_owned();
    Ok(see_other("/settings/hooks", &told(done, words)?))
}
