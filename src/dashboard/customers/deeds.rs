//! What is done on a customer's page.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{Form, Page, see_other, show, told};
use crate::{
    app::App,
    auth::{Role, account},
    customers::{self, Change, Whose, attachment, person},
    error::Error,
    http::{Admin, Customer, JsonFile, Operator, Path, Result},
};

/// The fields of the profile; all are sent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Profile {
    version: i64,
    name: String,
    phone: String,
    company: String,
    website: String,
    industry: String,
    company_size: String,
    country: String,
    timezone: String,
    language: String,
    audience: String,
    goals: String,
    role: Option<String>,
    status: Option<String>,
}

pub(super) async fn change(
    page: Page<Customer>,
    State(app): State<App>,
    Path(whose): Path<String>,
    Form(profile): Form<Profile>,
) -> Result<Response> {
    let whom = Whose::read(&whose)?;
    // Fields that were left as they are must not be refused to who may not write them.
    let was = customers::find(&app.db, &page.caller, whom).await?;
    let roles = [Role::Customer, Role::Operator, Role::Admin];
    let role =
        profile.role.as_deref().and_then(|it| roles.into_iter().find(|role| role.as_str() == it));
    let status = match profile.status.as_deref() {
        Some("active") => Some(account::Status::Active),
        Some("disabled") => Some(account::Status::Disabled),
        _ => None,
    };
    let text = |given: String| Some(given.replace("\r\n", "\n"));
    let wish = Change {
        version: profile.version,
        name: text(profile.name),
        phone: text(profile.phone),
        company: text(profile.company),
        website: text(profile.website),
        industry: text(profile.industry),
        company_size: text(profile.company_size),
        country: text(profile.country),
        timezone: text(profile.timezone),
        language: text(profile.language),
        audience: text(profile.audience),
        goals: text(profile.goals),
        role: role.filter(|role| *role != was.role),
        status: status.filter(|status| *status != was.status),
    };
    match customers::change(&app, &page.caller, whom, &wish).await {
        Err(Error::Invalid(why) | Error::Conflict(why)) => {
            show::refused(&app, &page.caller, page.shell, &whose, wish, why).await
        }
        done => {
            let told = told(done, |_| "Saved".to_owned())?;
            Ok(see_other(&format!("/customers/{}", at(whom)), &told))
        }
    }
}

/// The part of an address that names whom it is about.
fn at(whose: Whose) -> String {
    match whose {
        Whose::Me => "me".to_owned(),
        Whose::Of(id) => id.to_string(),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    text: String,
}

pub(super) async fn note(
    page: Page<Operator>,
    State(app): State<App>,
    Path(whose): Path<String>,
    Form(written): Form<Written>,
) -> Result<Response> {
    let whose = Whose::read(&whose)?;
    let done = customers::note(&app.db, &page.caller, whose, &written.text).await;
    let told = told(done, |_| "Noted".to_owned())?;
    Ok(see_other(&format!("/customers/{}#notes", at(whose)), &told))
}

pub(super) async fn attach(
    page: Page<Customer>,
    State(app): State<App>,
    Path(whose): Path<String>,
    request: Request,
) -> Result<Response> {
    let whose = Whose::read(&whose)?;
    let next = format!("/customers/{}#files", at(whose));
    // Who may not does not get to send anything first.
    customers::find(&app.db, &page.caller, whose).await?;
    let done = match attachment::take("", request).await {
        Ok(brought) => attachment::attach(&app.db, &page.caller, whose, brought).await,
        Err(error) => Err(error),
    };
    Ok(see_other(&next, &told(done, |file| format!("{} is kept", file.name))?))
}

pub(super) async fn remove_file(
    page: Page<Customer>,
    State(app): State<App>,
    Path((whose, file)): Path<(String, i64)>,
) -> Result<Response> {
    let whose = Whose::read(&whose)?;
    let done = attachment::remove(&app.db, &page.caller, whose, file).await;
    let told = told(done, |()| "The file is gone".to_owned())?;
    Ok(see_other(&format!("/customers/{}#files", at(whose)), &told))
}

pub(super) async fn export(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let document = person::everything(&app, &page.caller, id).await?;
    Ok(JsonFile(format!("customer-{id}.json"), document).into_response())
}

pub(super) async fn erase(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let done = person::erase(&app, &page.caller, id, person::Erase { confirm: id }).await;
    let next = if done.is_ok() { "/customers".to_owned() } else { format!("/customers/{id}") };
    Ok(see_other(&next, &told(done, |()| "Erased for good".to_owned())?))
}
