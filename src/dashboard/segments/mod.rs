//! Segments: all of them, and a rule put together without code.

mod rule;

use askama::Template;
use axum::{
    Router,
    extract::{RawForm, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;

use super::{Page, Shell, Told, filters, html, see_other};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    contacts::{
        export::attribute_names,
        segment::{self, Change, Rule, Segment, Wish},
    },
    error::{Error, Result as Done},
    http::{Operator, Path, Reader, Result},
};

use rule::{FIELDS, Form, OPS, Row};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/segments", get(list).post(add))
        .route("/segments/new", get(new))
        .route("/segments/try", post(attempt))
        .route("/segments/{id}", get(show).post(change))
        .route("/segments/{id}/remove", post(remove))
}

#[derive(Template)]
#[template(path = "segments/list.html")]
struct List {
    shell: Shell,
    /// Each with its rule in words.
    segments: Vec<(Segment, String)>,
}

async fn list(page: Page<Reader>, State(app): State<App>) -> Result<Response> {
    let segments = segment::list(&app.db, page.caller.organization).await.map_err(Error::from)?;
    let segments = segments.into_iter().map(|segment| {
        let words = match segment.next_rule.as_ref().or(segment.rule.as_ref()) {
            Some(rule) => rule::words(rule),
            None => "put together by hand".to_owned(),
        };
        (segment, words)
    });
    html(&List { segments: segments.collect(), shell: page.shell })
}

#[derive(Template)]
#[template(path = "segments/edit.html")]
struct Edit {
    shell: Shell,
    /// `None`: a new one.
    segment: Option<Segment>,
    form: Form,
    /// Names of attributes that contacts have.
    attributes: Vec<String>,
    /// The rule is one that only the API can write; it is kept unless it is replaced.
    foreign: Option<String>,
    wrong: Option<String>,
}

impl Edit {
    fn fields() -> &'static [(&'static str, &'static str)] {
        FIELDS
    }

    fn ops() -> &'static [(&'static str, &'static str)] {
        OPS
    }

    fn is_attribute(row: &Row, name: &str) -> bool {
        row.field.strip_prefix("attributes.") == Some(name)
    }

    /// The field is an attribute that nobody has any more.
    fn is_lost(&self, row: &Row) -> bool {
        let name = row.field.strip_prefix("attributes.");
        name.is_some_and(|name| !self.attributes.iter().any(|known| known == name))
    }
}

async fn editor(
    app: &App,
    shell: Shell,
    organization: OrganizationId,
    segment: Option<Segment>,
    form: Option<Form>,
    wrong: Option<String>,
) -> Done<Edit> {
    let kept = segment.as_ref().and_then(|it| it.next_rule.as_ref().or(it.rule.as_ref()));
    let own = match kept {
        Some(rule) => Form::of(rule),
        None => Some(Form::default()),
    };
    let foreign = own.is_none().then(|| serde_json::json!(kept).to_string());
    let mut form = form.or(own).unwrap_or_default();
    if form.name.is_empty()
        && let Some(segment) = &segment
    {
        form.name.clone_from(&segment.name);
    }
    if segment.as_ref().is_some_and(|it| it.rule.is_none() && it.next_rule.is_none())
        && wrong.is_none()
    {
        "hand".clone_into(&mut form.matching);
    }
    if form.rows.is_empty() {
        form.rows.push(Row::default());
    }
    let attributes = attribute_names(&app.db, organization).await?;
    Ok(Edit { shell, segment, form, attributes, foreign, wrong })
}

async fn new(page: Page<Operator>, State(app): State<App>) -> Result<Response> {
    let organization = page.caller.organization;
    html(&editor(&app, page.shell, organization, None, None, None).await?)
}

async fn found(app: &App, organization: OrganizationId, id: i64) -> Done<Segment> {
    segment::find(&app.db, organization, id).await?.ok_or(Error::NotFound("segment"))
}

async fn show(page: Page<Reader>, State(app): State<App>, Path(id): Path<i64>) -> Result<Response> {
    let organization = page.caller.organization;
    let segment = found(&app, organization, id).await?;
    html(&editor(&app, page.shell, organization, Some(segment), None, None).await?)
}

/// The editor once more: with another row, or with what is wrong.
async fn again(
    app: &App,
    page: Page<Operator>,
    segment: Option<Segment>,
    mut form: Form,
    wrong: Option<String>,
) -> Result<Response> {
    let organization = page.caller.organization;
    if wrong.is_none() {
        form.rows.push(Row::default());
    }
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let edit = editor(app, page.shell, organization, segment, Some(form), wrong).await?;
    Ok((status, html(&edit)?).into_response())
}

async fn add(
    page: Page<Operator>,
    State(app): State<App>,
    RawForm(body): RawForm,
) -> Result<Response> {
    let form = Form::read(&body);
    if form.more {
        return again(&app, page, None, form, None).await;
    }
    let made = match form.rule() {
        Ok(rule) => segment::add(&app, &page.caller, Wish { name: form.name.clone(), rule }).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(made) => {
            let told = Told::done(format!("{} is made", made.name));
            Ok(see_other(&format!("/contacts?segment={}", made.id), &told))
        }
        Err(Error::Invalid(why) | Error::Conflict(why)) => {
            again(&app, page, None, form, Some(why)).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn change(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    RawForm(body): RawForm,
) -> Result<Response> {
    let segment = found(&app, page.caller.organization, id).await?;
    let form = Form::read(&body);
    if form.more {
        return again(&app, page, Some(segment), form, None).await;
    }
    let before = segment.next_rule.as_ref().or(segment.rule.as_ref());
    let changed = match form.rule() {
        // A rule that is as it was is not counted out again.
        Ok(rule) => {
            let rule = (rule.as_ref() != before && !form.keeps).then_some(rule);
            let name = Some(form.name.clone());
            segment::change(&app, &page.caller, id, Change { name, rule }).await
        }
        Err(error) => Err(error),
    };
    match changed {
        Ok(changed) => {
            let told = Told::done(format!("{} is saved", changed.name));
            Ok(see_other("/segments", &told))
        }
        Err(Error::Invalid(why) | Error::Conflict(why)) => {
            again(&app, page, Some(segment), form, Some(why)).await
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Template)]
#[template(path = "segments/tried.html")]
struct Tried {
    /// How many fit, of how many that were looked at, and whether these were all.
    fits: Option<(i64, i64, bool)>,
    /// Why it cannot be told.
    why: String,
}

/// How many a rule would fit; nothing is changed.
async fn attempt(
    page: Page<Operator>,
    State(app): State<App>,
    RawForm(body): RawForm,
) -> Result<Response> {
    let form = Form::read(&body);
    let tried = match form.rule().and_then(|rule| {
        let rule: Option<Rule> = rule;
        rule.as_ref().map_or(Ok(()), Rule::check)?;
        Ok(rule)
    }) {
        Ok(Some(rule)) => {
            let organization = page.caller.organization;
            let fits = segment::matching(&app.db, organization, &rule, clock::now()).await;
            Tried { fits: Some(fits.map_err(Error::from)?), why: String::new() }
        }
        Ok(None) => Tried { fits: None, why: String::new() },
        Err(Error::Invalid(why)) => Tried { fits: None, why },
        Err(error) => return Err(error.into()),
    };
    html(&tried)
}

async fn remove(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    segment::remove(&app.db, &page.caller, id).await?;
    Ok(see_other("/segments", &Told::done("The segment is removed; its contacts stay")))
}
