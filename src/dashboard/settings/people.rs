//! People: their accounts, and who was invited.

use askama::Template;
use axum::{extract::State, response::Response};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{Form, Page, Shell, Told, filters, html, refused, see_other, told, wrong_or};
use crate::{
    app::App,
    auth::{
        Role,
        account::{self, Change, Shown, Status},
        invitation::{self, Invitation},
        link,
    },
    error::{Error, Result as Done},
    http::{Admin, Path, Result},
};

#[derive(Template)]
#[template(path = "settings/people.html")]
struct People {
    shell: Shell,
    section: &'static str,
    accounts: Vec<Shown>,
    invitations: Vec<Invitation>,
    /// The link of the invitation that was just made. It is shown this once.
    link: Option<String>,
    form: Invite,
    wrong: Option<String>,
}

async fn people(app: &App, page: Page<Admin>) -> Done<People> {
    let organization = page.caller.organization;
    Ok(People {
        section: "people",
        accounts: account::shown(&app.db, organization).await?,
        invitations: invitation::list(&app.db, organization).await?,
        link: None,
        form: Invite::default(),
        wrong: None,
        shell: page.shell,
    })
}

pub(super) async fn show(page: Page<Admin>, State(app): State<App>) -> Result<Response> {
    html(&people(&app, page).await?)
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wish {
    /// Empty: as it is.
    role: String,
    status: String,
    version: i64,
}

pub(super) async fn change(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(wish): Form<Wish>,
) -> Result<Response> {
    let organization = page.caller.organization;
    account::find(&app.db, organization, id).await?;
    let role = match wish.role.as_str() {
        "" => None,
        role => Some(role.parse()?),
    };
    let status = match wish.status.as_str() {
        "" => None,
        "active" => Some(Status::Active),
        "disabled" => Some(Status::Disabled),
        _ => return Err(Error::invalid("an account is active or disabled").into()),
    };
    let change = Change { role, status, version: wish.version };
    let changed = account::change(&app.db, organization, &page.caller, id, change).await;
    app.sessions.forget_account(id);
    let told = told(changed, |account| match status {
        Some(Status::Disabled) => {
            format!("{} is deactivated; their sessions are ended", account.name)
        }
        Some(Status::Active) => format!("{} may sign in again", account.name),
        None => format!("{} is {} now", account.name, account.role),
    })?;
    Ok(see_other("/settings/people", &told))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Invite {
    role: String,
    email: String,
}

pub(super) async fn invite(
    page: Page<Admin>,
    State(app): State<App>,
    Form(form): Form<Invite>,
) -> Result<Response> {
    let email = Some(form.email.trim()).filter(|email| !email.is_empty());
    let made = match form.role.parse::<Role>() {
        Ok(role) => {
            let organization = page.caller.organization;
            invitation::create(&app.db, organization, &page.caller, role, email).await
        }
        Err(error) => Err(error),
    };
    match made {
        Ok((_, made)) => {
            let link = link::url(&app.config, made.token.expose_secret());
            html(&People { link: Some(link), ..people(&app, page).await? })
        }
        Err(error) => {
            let wrong = Some(wrong_or(error)?);
            Ok(refused(html(&People { form, wrong, ..people(&app, page).await? })?))
        }
    }
}

pub(super) async fn withdraw(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    invitation::withdraw(&app.db, page.caller.organization, &page.caller, id).await?;
    let told = Told::done("The invitation is withdrawn; its link is of no use");
    Ok(see_other("/settings/people", &told))
}
