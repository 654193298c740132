//! What is done in a conversation. The assistant answers in its own time; the page follows.

use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{Form, Page, Told, see_other, told};
use crate::{
    app::App,
    customers::conversation::{self, New},
    error::Error,
    http::{Customer, Path, Result},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    text: String,
    /// Whom the team writes to; customers write to the team.
    customer_id: Option<i64>,
}

pub(super) async fn begin(
    page: Page<Customer>,
    State(app): State<App>,
    Form(written): Form<Written>,
) -> Result<Response> {
    let text = Some(written.text.replace("\r\n", "\n"));
    let new = New { customer_id: written.customer_id, subject: None, text };
    let back = written.customer_id.map_or("me".to_owned(), |id| id.to_string());
    match conversation::begin(&app, &page.caller, &new).await {
        Ok(sent) => {
            let next = format!("/conversations/{}", sent.conversation);
            Ok(see_other(&next, &Told::done("Sent")))
        }
        Err(error) => {
            let told = told(Err::<(), Error>(error), |()| String::new())?;
            Ok(see_other(&format!("/customers/{back}"), &told))
        }
    }
}

pub(super) async fn send(
    page: Page<Customer>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(written): Form<Written>,
) -> Result<Response> {
    let text = written.text.replace("\r\n", "\n");
    let done = conversation::send(&app, &page.caller, id, &text).await;
    let told = told(done, |_| "Sent".to_owned())?;
    Ok(see_other(&format!("/conversations/{id}#end"), &told))
}

pub(super) async fn hand_over(
    page: Page<Customer>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let done = conversation::hand_over(&app, &page.caller, id).await;
    let told = told(done, |_| "A person of the team will answer here".to_owned())?;
    Ok(see_other(&format!("/conversations/{id}#end"), &told))
}

pub(super) async fn close(
    page: Page<Customer>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let done = conversation::close(&app, &page.caller, id).await;
    let told = told(done, |_| "The conversation is closed".to_owned())?;
    Ok(see_other(&format!("/conversations/{id}"), &told))
}

pub(super) async fn reopen(
    page: Page<Customer>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let done = conversation::reopen(&app, &page.caller, id).await;
    let told = told(done, |_| "The conversation goes on".to_owned())?;
    Ok(see_other(&format!("/conversations/{id}"), &told))
}
