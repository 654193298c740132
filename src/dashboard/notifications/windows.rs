//! Announcing and ending maintenance.

use axum::{Extension, response::Response};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;

use super::{Form, HERE, Page, Told, channels::refused, see_other, told, wrong_or};
use crate::{
    error::{Error, Result as Done},
    http::{Operator, Path, Result},
    notify::{
        Notify,
        maintenance::{self, Wish},
    },
};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    from: String,
    to: String,
    app: String,
    reason: String,
}

/// A moment in UTC, as forms send it: "2026-11-20T10:00".
fn moment(field: &str, text: &str) -> Done<Option<DateTime<Utc>>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let read = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let read = read.ok_or_else(|| {
        Error::invalid(format!("{field}: write date and time in UTC: 2026-11-20 10:00"))
    })?;
    Ok(Some(read.and_utc()))
}

fn wish(fields: &Fields) -> Done<Wish> {
    let to = moment("to", &fields.to)?;
    Ok(Wish {
        from: moment("from", &fields.from)?,
        to: to.ok_or_else(|| Error::invalid("to: say when it ends"))?,
        app: fields.app.clone(),
        reason: fields.reason.clone(),
    })
}

pub(super) async fn announce(
    page: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Form(fields): Form<Fields>,
) -> Result<Response> {
    let done = match wish(&fields) {
        Ok(wish) => maintenance::create(&notify, &page.caller, &wish).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(_) => {
            let words = "Announced: what happens then is told in one summary after its end";
            Ok(see_other(HERE, &Told::done(words)))
        }
        Err(error) => {
            let wrong = wrong_or(error)?;
            refused(&notify, page, wrong).await
        }
    }
}

pub(super) async fn end(
    page: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let done = maintenance::end(&notify, &page.caller, id).await;
    Ok(see_other(HERE, &told(done, |_| "The maintenance is over".to_owned())?))
}

pub(super) async fn remove(
    page: Page<Operator>,
    Extension(notify): Extension<Notify>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let done = maintenance::remove(&notify, &page.caller, id).await;
    Ok(see_other(HERE, &told(done, |()| "The window is removed".to_owned())?))
}
