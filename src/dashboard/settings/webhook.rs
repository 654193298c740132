//! The webhook that forms and Zapier post to: its address, who may, and what came lately.

use askama::Template;
use axum::{extract::State, response::Response};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{Form, Page, Shell, Told, filters, html, refused, see_other, wrong_or};
use crate::{
    app::App,
    contacts::{
        credential::{self, Credential},
        receipt::{self, Noted},
    },
    error::Result as Done,
    http::{Admin, Path, Result},
};

/// Requests that are shown.
const RECEIPTS: i64 = 30;

#[derive(Template)]
#[template(path = "settings/webhook.html")]
struct Webhook {
    shell: Shell,
    section: &'static str,
    address: String,
    live: Vec<Credential>,
    ended: Vec<Credential>,
    receipts: Vec<Noted>,
    /// User name and password of the one that was just made. They are shown this once.
    made: Option<(String, String)>,
    name: String,
    wrong: Option<String>,
}

impl Webhook {
    /// What was answered, in a few words.
    fn answer(noted: &Noted) -> String {
        let answer = &noted.answer;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        match noted.status {
            200 | 201 => {
                let action =
                    if text("action").is_empty() { text("status") } else { text("action") };
                if action.is_empty() { "taken".to_owned() } else { action }
            }
            _ => [text("detail"), text("message"), text("error")]
                .into_iter()
                .find(|it| !it.is_empty())
                .unwrap_or_else(|| "refused".to_owned()),
        }
    }

    fn is_taken(noted: &Noted) -> bool {
        noted.status < 300
    }
}

async fn webhook(app: &App, page: Page<Admin>) -> Done<Webhook> {
    let organization = page.caller.organization;
    let all = credential::list(&app.db, organization).await?;
    let (live, ended) = all.into_iter().partition(|it| it.revoked_at.is_none());
    let base = app.config.public_url.as_ref().map(ToString::to_string);
    let base = base.unwrap_or_else(|| app.config.base_url());
    Ok(Webhook {
        section: "webhook",
        address: format!("{}/api/webhook/zapier-contact", base.trim_end_matches('/')),
        live,
        ended,
        receipts: receipt::list(&app.db, organization, None, RECEIPTS).await?,
        made: None,
        name: String::new(),
        wrong: None,
        shell: page.shell,
    })
}

pub(super) async fn show(page: Page<Admin>, State(app): State<App>) -> Result<Response> {
    html(&webhook(&app, page).await?)
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wish {
    name: String,
}

pub(super) async fn make(
    page: Page<Admin>,
    State(app): State<App>,
    Form(form): Form<Wish>,
) -> Result<Response> {
    let made =
        credential::create(&app.db, page.caller.organization, (&page.caller).into(), &form.name)
            .await;
    match made {
        Ok(made) => {
            let made = Some((made.username, made.password.expose_secret().to_owned()));
            html(&Webhook { made, ..webhook(&app, page).await? })
        }
        Err(error) => {
            let wrong = Some(wrong_or(error)?);
            Ok(refused(html(&Webhook { name: form.name, wrong, ..webhook(&app, page).await? })?))
        }
    }
}

pub(super) async fn revoke(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    credential::revoke(&app.db, page.caller.organization, (&page.caller).into(), id).await?;
    let told = Told::done("The credential is revoked; who still uses it is refused");
    Ok(see_other("/settings/webhook", &told))
}
