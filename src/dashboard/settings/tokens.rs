//! API tokens: making, seeing and ending them.

use askama::Template;
use axum::{extract::State, response::Response};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{Form, Page, Shell, Told, filters, html, refused, see_other, wrong_or};
use crate::{
    app::App,
    auth::{
        Role,
        token::{self, Listed, Made},
    },
    error::{Error, Result as Done},
    http::{Admin, Path, Result},
};

#[derive(Template)]
#[template(path = "settings/tokens.html")]
struct Tokens {
    shell: Shell,
    section: &'static str,
    live: Vec<Listed>,
    ended: Vec<Listed>,
    /// The token that was just made, with its name. It is shown this once.
    made: Option<(String, String)>,
    form: Wish,
    wrong: Option<String>,
}

async fn tokens(app: &App, page: Page<Admin>) -> Done<Tokens> {
    let now = page.shell.now;
    let is_live = |token: &Listed| {
        token.revoked_at.is_none() && token.expires_at.is_none_or(|expires| expires > now)
    };
    let all = token::list(&app.db, page.caller.organization).await?;
    let (live, ended) = all.into_iter().partition(is_live);
    Ok(Tokens {
        section: "tokens",
        live,
        ended,
        made: None,
        form: Wish::default(),
        wrong: None,
        shell: page.shell,
    })
}

pub(super) async fn show(page: Page<Admin>, State(app): State<App>) -> Result<Response> {
    html(&tokens(&app, page).await?)
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wish {
    name: String,
    role: String,
    days: String,
}

impl Wish {
    async fn make(&self, app: &App, page: &Page<Admin>) -> Done<Made> {
        let days = match self.days.as_str() {
            "" => None,
            days => Some(days.parse().map_err(|_| Error::invalid("days are a number"))?),
        };
        let (caller, role) = (&page.caller, self.role.parse::<Role>()?);
        let lifetime = Some(token::lifetime(days)?);
        token::make(&app.db, caller.organization, caller, role, &self.name, lifetime).await
    }
}

pub(super) async fn make(
    page: Page<Admin>,
    State(app): State<App>,
    Form(form): Form<Wish>,
) -> Result<Response> {
    match form.make(&app, &page).await {
        Ok(made) => {
            let made = Some((made.token.expose_secret().to_owned(), made.listed.name));
            html(&Tokens { made, ..tokens(&app, page).await? })
        }
        Err(error) => {
            let wrong = Some(wrong_or(error)?);
            Ok(refused(html(&Tokens { form, wrong, ..tokens(&app, page).await? })?))
        }
    }
}

pub(super) async fn revoke(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    app.tokens.revoke(&app.db, page.caller.organization, &page.caller, id).await?;
    Ok(see_other("/settings/tokens", &Told::done("The token is revoked; it opens nothing more")))
}
