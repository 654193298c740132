//! What is decided about several groups at once; about one it is the same.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Extension,
    extract::{RawForm, State},
    response::Response,
};
use chrono::{DateTime, Datelike, Days, FixedOffset, SubsecRound, TimeDelta, TimeZone, Utc};
use url::form_urlencoded;

use super::{Page, Told, count, query::Wish, see_other};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    error::{Error, Result},
    errors::{
        grouping::merge,
        routes::reason,
        store::{
            changes,
            groups::{self, Decision, MAX_CHANGED, Status},
            search,
        },
    },
    http::{Operator, Result as Answer, safe_next},
    repair::{Repair, store::runs::Trigger},
};

/// Pages of a list that are gone through for "all that match".
const MAX_PAGES: usize = 30;
/// Groups that are named in what is told.
const NAMED: usize = 3;

/// A form of the list or of a group's page.
#[derive(Debug, Default)]
struct Form {
    deed: String,
    ids: Vec<i64>,
    /// All that match, whether they are on the page or not.
    all: bool,
    /// Where to go afterwards; of the list it is also what matches.
    back: String,
    reason: Option<String>,
    /// Minutes that the viewer's clock is ahead of UTC.
    offset: i32,
}

impl Form {
    fn read(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            match &*name {
                "do" => form.deed = value.into_owned(),
                "id" => form.ids.extend(value.parse::<i64>().ok()),
                "all" => form.all = true,
                "back" => form.back = value.into_owned(),
                "reason" => form.reason = Some(value.into_owned()),
                "offset" => form.offset = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        form
    }

    /// A page of the errors.
    fn back(&self) -> String {
        let back = safe_next(Some(&self.back));
        let ours =
            back == "/errors" || back.starts_with("/errors?") || back.starts_with("/errors/");
        if ours { back.to_owned() } else { "/errors".to_owned() }
    }
}

pub(super) async fn change(
    page: Page<Operator>,
    State(app): State<App>,
    Extension(repair): Extension<Repair>,
    RawForm(body): RawForm,
) -> Answer<Response> {
    let form = Form::read(&body);
    let (caller, now) = (&page.caller, clock::now());
    let organization = caller.organization;
    let (ids, more) = meant(&app, organization, &form, now).await?;
    // Only groups of one's own, and none twice.
    let known = groups::these(&app.db, organization, &ids).await.map_err(Error::from)?;
    if known.is_empty() {
        return Err(Error::NotFound("error").into());
    }
    let back = form.back();
    let more = if more {
        format!(" At most {MAX_CHANGED} at once: do it again for the rest.")
    } else {
        String::new()
    };
    let ids: Vec<i64> = known.iter().map(|(id, ..)| *id).collect();
    match form.deed.as_str() {
        "repair" => {
            let open = |status: Status| matches!(status, Status::Unresolved | Status::Regressed);
            let groups: Vec<i64> =
                known.iter().filter(|(_, status, _)| open(*status)).map(|it| it.0).collect();
            if groups.is_empty() {
                let text = "Only errors that are unresolved are repaired; reopen them first";
                return Ok(see_other(&back, &Told::bad(text)));
            }
            let chosen = groups.len();
            let scope = repair.scope(organization, None, Some(groups), None).await?;
            let run = repair.start(organization, Trigger::Api, &caller.author(), &scope).await?;
            let text = format!("Repair of {} started.{more}", count(chosen, "error", "errors"));
            Ok(see_other(&format!("/repairs/{}", run.id), &Told::done(text)))
        }
        "merge" => {
            let into = *ids.iter().min().ok_or(Error::NotFound("error"))?;
            let others: Vec<i64> = ids.iter().copied().filter(|id| *id != into).collect();
            if others.is_empty() || others.len() > merge::MOST {
                let detail = format!("select 2 to {} errors to merge", merge::MOST + 1);
                return Err(Error::Invalid(detail).into());
            }
            let merged = merge::merge_now(&app, organization, into, &others, caller.into()).await;
            let (into, merged, _) = match merged {
                Ok(merged) => merged,
                // Why they do not belong together is told beside them.
                Err(Error::Conflict(why)) => {
                    return Ok(see_other(&back, &Told::bad(format!("Not merged: {why}"))));
                }
                Err(error) => return Err(error.into()),
            };
            let joined = merged.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
            let fields = BTreeMap::from([
                ("from".to_owned(), into.to_string()),
                ("ids".to_owned(), joined),
                ("back".to_owned(), back),
            ]);
            let text = format!(
                "{} merged into error {into}",
                count(merged.len(), "error is", "errors are")
            );
            let told = Told::done(text).undo("/errors/undo", fields);
            Ok(see_other(&format!("/errors/{into}"), &told))
        }
        deed => {
            let (decision, verb) = decision(deed, &form, now)?;
            let aim = match decision {
                Decision::Resolve(_) | Decision::ResolveFrom(..) => Status::Resolved,
                Decision::Ignore(_) => Status::Ignored,
                Decision::Reopen => Status::Unresolved,
            };
            let stays = |status: Status| status == aim;
            let (same, wanted): (Vec<_>, Vec<_>) =
                known.into_iter().partition(|(_, status, _)| stays(*status));
            let ids: Vec<i64> = wanted.iter().map(|(id, ..)| *id).collect();
            let left = left_out(&same, aim);
            if ids.is_empty() {
                return Ok(see_other(&back, &Told::bad(format!("Nothing changed:{left}"))));
            }
            // As both databases keep it: by this moment it is found again.
            let at = now.trunc_subsecs(6);
            groups::decide(&app.db, organization, &ids, &decision, &caller.name, at).await?;
            let text = format!("{} {verb}.{left}{more}", count(ids.len(), "error", "errors"));
            let fields = BTreeMap::from([
                ("at".to_owned(), at.to_rfc3339()),
                ("back".to_owned(), back.clone()),
            ]);
            Ok(see_other(&back, &Told::done(text).undo("/errors/undo", fields)))
        }
    }
}

fn decision<'f>(
    deed: &str,
    form: &'f Form,
    now: DateTime<Utc>,
) -> Result<(Decision<'f>, &'static str)> {
    Ok(match deed {
        "resolve" => (Decision::Resolve(reason(form.reason.as_deref())?), "resolved by hand"),
        "mute" => (Decision::Ignore(None), "muted"),
        "mute-hour" => (Decision::Ignore(Some(now + TimeDelta::hours(1))), "muted for an hour"),
        "mute-day" => (Decision::Ignore(Some(now + TimeDelta::hours(24))), "muted for 24 hours"),
        "mute-monday" => (Decision::Ignore(Some(monday(now, form.offset))), "muted until Monday"),
        "reopen" => (Decision::Reopen, "reopened"),
        _ => {
            return Err(Error::invalid(
                "do is one of repair, resolve, mute, mute-hour, mute-day, mute-monday, reopen \
                 and merge",
            ));
        }
    })
}

/// The beginning of the next Monday where the viewer's clock is so far ahead of UTC.
fn monday(now: DateTime<Utc>, offset: i32) -> DateTime<Utc> {
    let zone = FixedOffset::east_opt(offset.clamp(-14 * 60, 14 * 60) * 60);
    let zone = zone.unwrap_or_else(|| FixedOffset::east_opt(0).expect("UTC is a zone"));
    let today = now.with_timezone(&zone).date_naive();
    let days = 7 - u64::from(today.weekday().num_days_from_monday());
    let day = today.checked_add_days(Days::new(days)).unwrap_or(today);
    let midnight = zone.from_local_datetime(&day.and_time(chrono::NaiveTime::MIN)).earliest();
    midnight.map_or(now + TimeDelta::days(7), |at| at.to_utc())
}

/// " 2 were muted already: a, b."
fn left_out(same: &[(i64, Status, String)], aim: Status) -> String {
    if same.is_empty() {
        return String::new();
    }
    let state = match aim {
        Status::Ignored => "muted",
        Status::Resolved => "resolved",
        _ => "open",
    };
    let names = same.iter().take(NAMED).map(|(id, _, title)| {
        let title: String = crate::redact::secrets(title).chars().take(40).collect();
        format!("{title} ({id})")
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let rest = if same.len() > NAMED { ", …" } else { "" };
    let were = if same.len() == 1 { "was" } else { "were" };
    format!(" {} {were} {state} already: {names}{rest}.", same.len())
}

/// The groups that a form means, at most [`MAX_CHANGED`], and whether there are more.
async fn meant(
    app: &App,
    organization: OrganizationId,
    form: &Form,
    now: DateTime<Utc>,
) -> Result<(Vec<i64>, bool)> {
    if !form.all {
        let ids: BTreeSet<i64> = form.ids.iter().copied().collect();
        if ids.is_empty() || ids.len() > MAX_CHANGED {
            return Err(Error::Invalid(format!("select 1 to {MAX_CHANGED} errors")));
        }
        return Ok((ids.into_iter().collect(), false));
    }
    let query = form.back.split_once('?').map_or("", |(_, query)| query);
    let wish = Wish::of_query(query)?;
    let search = wish.search(now)?;
    let (mut ids, mut after) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let found = search::groups(&app.db, organization, &search, wish.sort(), 200, after).await?;
        ids.extend(found.0.iter().map(|group| group.id));
        after = found.1;
        if after.is_none() || ids.len() >= MAX_CHANGED {
            break;
        }
    }
    let more = after.is_some() || ids.len() > MAX_CHANGED;
    ids.truncate(MAX_CHANGED);
    Ok((ids, more))
}

/// Takes back what was just decided (`at`), or a merge (`from`, `ids`).
pub(super) async fn undo(
    page: Page<Operator>,
    State(app): State<App>,
    RawForm(body): RawForm,
) -> Answer<Response> {
    let mut fields: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let form = Form { back: fields.remove("back").unwrap_or_default(), ..Form::default() };
    let (back, organization) = (form.back(), page.caller.organization);
    if let Some(from) = fields.get("from").and_then(|it| it.parse::<i64>().ok()) {
        let ids = fields.get("ids").map(String::as_str).unwrap_or_default();
        let ids: Vec<i64> = ids.split(',').filter_map(|id| id.parse().ok()).collect();
        if ids.is_empty() || ids.len() > merge::MOST {
            return Err(Error::invalid("ids lists the errors that were merged").into());
        }
        let by = (&page.caller).into();
        let (apart, _) = merge::undo_now(&app, organization, from, &ids, by).await?;
        let text = format!("{} taken apart again", count(apart.len(), "error", "errors"));
        return Ok(see_other(&back, &Told::done(text)));
    }
    let at = fields.get("at").and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    let at = at.ok_or_else(|| Error::invalid("at says when it was decided"))?.to_utc();
    let (restored, decided) = changes::take_back(&app.db, organization, at, &page.caller.name)
        .await
        .map_err(Error::from)?;
    let told = match decided - restored {
        0 if decided == 0 => Told::bad("There is nothing to take back any more"),
        0 => Told::done(format!("{} as before", count(restored, "error is", "errors are"))),
        rest => Told::bad(format!(
            "{} as before; {rest} stayed, as something happened since",
            count(restored, "error is", "errors are")
        )),
    };
    Ok(see_other(&back, &told))
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::{Form, monday};

    #[test]
    fn monday_begins_where_the_viewer_is() {
        // A Sunday.
        let now = Utc.with_ymd_and_hms(2026, 11, 22, 23, 30, 0).unwrap();
        assert_eq!(monday(now, 0), Utc.with_ymd_and_hms(2026, 11, 23, 0, 0, 0).unwrap());
        // In Berlin it is Monday already.
        assert_eq!(monday(now, 60), Utc.with_ymd_and_hms(2026, 11, 29, 23, 0, 0).unwrap());
        assert_eq!(monday(now, -480), Utc.with_ymd_and_hms(2026, 11, 23, 8, 0, 0).unwrap());
        assert!(monday(now, i32::MAX) > now);
    }

    #[test]
    fn the_way_back_stays_here() {
        let back = |path: &str| Form { back: path.to_owned(), ..Form::default() }.back();
        assert_eq!(back("/errors?q=a%20b"), "/errors?q=a%20b");
        assert_eq!(back("/errors/7"), "/errors/7");
        for path in ["", "/settings", "//evil.example", "https://evil.example/errors"] {
            assert_eq!(back(path), "/errors", "{path}");
        }
    }
}
