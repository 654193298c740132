//! What is done about several contacts at once.

use std::collections::BTreeMap;

use axum::{
    extract::{RawForm, State},
    response::Response,
};
use url::form_urlencoded;

use super::{Page, Told, count, query::Wish, see_other, told};
use crate::{
    app::App,
    auth::{Caller, OrganizationId},
    contacts::{bulk, segment},
    error::{Error, Result as Deed},
    http::{Operator, Result as Answer, safe_next},
};

/// A deed for more than these cannot be taken back by a click: its form would not fit.
const UNDONE: usize = 250;

#[derive(Debug, Default)]
struct Form {
    deed: String,
    ids: Vec<i64>,
    /// All that match, whether they are on the page or not.
    all: bool,
    /// Where to go afterwards; of the list it is also what matches.
    back: String,
    tag: String,
    into: i64,
}

impl Form {
    fn read(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            match &*name {
                "do" => form.deed = value.into_owned(),
                "id" => form.ids.extend(value.parse::<i64>().ok()),
                "ids" => form.ids.extend(value.split(',').filter_map(|id| id.parse::<i64>().ok())),
                "all" => form.all = true,
                "back" => form.back = value.into_owned(),
                "tag" => value.trim().clone_into(&mut form.tag),
                "into" => form.into = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        form
    }

    fn back(&self) -> String {
        let back = safe_next(Some(&self.back));
        let ours = back == "/contacts" || back.starts_with("/contacts?");
        if ours { back.to_owned() } else { "/contacts".to_owned() }
    }

    /// The contacts that are meant, and whether there were more.
    async fn meant(&self, app: &App, organization: OrganizationId) -> Deed<(Vec<i64>, bool)> {
        if self.all {
            return Wish::of_address(&self.back())?.ids(app, organization, bulk::MOST).await;
        }
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let more = ids.len() > bulk::MOST;
        ids.truncate(bulk::MOST);
        Ok((ids, more))
    }

    /// The form that takes a deed back for these contacts.
    fn undo(&self, deed: &str, ids: &[i64]) -> BTreeMap<String, String> {
        let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        [
            ("do", deed.to_owned()),
            ("ids", ids),
            ("tag", self.tag.clone()),
            ("into", self.into.to_string()),
            ("back", self.back()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

pub(super) async fn change(
    page: Page<Operator>,
    State(app): State<App>,
    RawForm(body): RawForm,
) -> Answer<Response> {
    let form = Form::read(&body);
    let (ids, more) = form.meant(&app, page.caller.organization).await?;
    if ids.is_empty() {
        return Ok(see_other(&form.back(), &Told::bad("Select some contacts first")));
    }
    let done = act(&app, &page.caller, &form, &ids).await;
    let (undo, news) = match &done {
        Ok((_, Some((undo, news)))) => (Some(*undo), news.clone()),
        _ => (None, Vec::new()),
    };
    let mut told = told(done, |(text, _)| {
        let rest = format!(". At most {} at once: do it again for the rest", bulk::MOST);
        format!("{text}{}", if more { rest.as_str() } else { "" })
    })?;
    if let Some(undo) = undo.filter(|_| !news.is_empty() && news.len() <= UNDONE) {
        told = told.undo("/contacts/bulk", form.undo(undo, &news));
    }
    Ok(see_other(&form.back(), &told))
}

/// What was done in words; and the deed that takes it back, with those it would be for.
type Outcome = (String, Option<(&'static str, Vec<i64>)>);

async fn act(app: &App, caller: &Caller, form: &Form, ids: &[i64]) -> Deed<Outcome> {
    match form.deed.as_str() {
        "tag" | "untag" => {
            let on = form.deed == "tag";
            let news = bulk::tag(app, caller, ids, &form.tag, on).await?;
            let (has, undo) = if on { ("now have", "untag") } else { ("no longer have", "tag") };
            let text = format!("{} {has} the tag {}", count(news.len()), form.tag);
            Ok((text, Some((undo, news))))
        }
        "put" | "take" => {
            let into = segment::find(&app.db, caller.organization, form.into).await?;
            let into = into.ok_or(Error::NotFound("segment"))?;
            let mut changed = 0;
            for ids in ids.chunks(1000) {
                changed += if form.deed == "put" {
                    segment::put(&app.db, caller, into.id, ids).await?
                } else {
                    segment::take(&app.db, caller, into.id, ids).await?
                };
            }
            let (words, undo) =
                if form.deed == "put" { ("put into", "take") } else { ("taken out of", "put") };
            let changed = usize::try_from(changed).unwrap_or(usize::MAX);
            let text = format!("{} {words} {}", count(changed), into.name);
            // Those who were there before are not told from the others.
            let all = (changed == ids.len()).then(|| (undo, ids.to_vec()));
            Ok((text, all))
        }
        "remove" => {
            let removed = bulk::remove(app, caller, ids).await?;
            Ok((format!("{} removed", count(usize::try_from(removed).unwrap_or(0))), None))
        }
        _ => Err(Error::invalid("choose what to do with the selected contacts")),
    }
}
