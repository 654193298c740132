//! Contacts that may be one person.

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{Form, Page, Shell, consent_words, filters, html, list::called, see_other, told};
use crate::{
    app::App,
    contacts::{
        self,
        duplicates::{self, Alike, By, Duplicates, Merge, Side},
    },
    http::{Operator, Query, Reader, Result, paging},
};

/// Groups on a page.
const LIMIT: i64 = 20;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    by: By,
    after: Option<String>,
    /// A contact that is to be merged with another one, by its id.
    with: Option<i64>,
}

#[derive(Template)]
#[template(path = "contacts/duplicates.html")]
struct List {
    shell: Shell,
    by: By,
    groups: Vec<Duplicates>,
    next: Option<String>,
    /// The contact that is to be merged by hand: id and name.
    with: Option<(i64, String)>,
}

impl List {
    fn name(alike: &Alike) -> String {
        let other = || alike.email.clone().or_else(|| alike.phone.clone()).unwrap_or_default();
        if alike.name.is_empty() { other() } else { alike.name.clone() }
    }

    fn consent(alike: &Alike) -> (&'static str, &'static str) {
        consent_words(alike.consent)
    }
}

pub(super) async fn page(
    page: Page<Reader>,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let after: String =
        wanted.after.as_deref().map(paging::position).transpose()?.unwrap_or_default();
    let groups = duplicates::duplicates(&app.db, organization, wanted.by, &after, LIMIT).await?;
    let next = paging::after(&groups, LIMIT, |last| last.same.clone())?;
    let with = match wanted.with {
        Some(id) => {
            let contact = contacts::find(&app.db, organization, id).await?;
            Some((id, called(&contact)))
        }
        None => None,
    };
    html(&List {
        next: next
            .map(|next| format!("/contacts/duplicates?by={}&after={next}", wanted.by.as_str())),
        by: wanted.by,
        groups,
        with,
        shell: page.shell,
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Pair {
    into: String,
    from: String,
    by: By,
    /// Whose address stays: "into" or "from".
    email: String,
}

pub(super) async fn merge(
    page: Page<Operator>,
    State(app): State<App>,
    Form(form): Form<Pair>,
) -> Result<Response> {
    let id = |text: &str| text.trim().trim_start_matches('#').parse::<i64>().unwrap_or(0);
    let mut fields = std::collections::BTreeMap::new();
    if form.email == "from" {
        fields.insert("email".to_owned(), Side::From);
    }
    let (into, from) = (id(&form.into), id(&form.from));
    let merged = duplicates::join(&app, &page.caller, into, Merge { from, fields }).await;
    let done = merged.is_ok();
    let told = told(merged, |contact| format!("They are one contact now: {}", called(&contact)))?;
    let back = format!("/contacts/duplicates?by={}", form.by.as_str());
    let next =
        if done && !page.shell.query.is_empty() { format!("/contacts/{into}") } else { back };
    Ok(see_other(&next, &told))
}
