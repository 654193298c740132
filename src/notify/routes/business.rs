//! The settings of the product's first version, under their old addresses. They save what they are
//! sent, and say so.

use axum::Extension;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    http::{Json, Operator, Problem, Reader, Result},
    notify::{Notify, team},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read_emails, put_emails, post_emails))
        .routes(routes!(read_phone, put_phone, post_phone))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NotificationEmails {
    /// At most 20; none takes all away.
    emails: Vec<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SavedEmails {
    success: bool,
    message: String,
    /// As they are stored now.
    emails: Vec<String>,
}

/// Who is told by mail: the recipients of the channel "Team".
#[utoipa::path(
    get, path = "/api/business/notification-emails", responses((status = 200, body = SavedEmails))
)]
async fn read_emails(
    who: Reader,
    Extension(notify): Extension<Notify>,
) -> Result<Json<SavedEmails>> {
    let emails = team::emails(&notify, who.caller.organization).await?;
    let message = match emails.len() {
        0 => "nobody is told by mail".to_owned(),
        1 => "1 address is told by mail".to_owned(),
        many => format!("{many} addresses are told by mail"),
    };
    Ok(Json(SavedEmails { success: true, message, emails }))
}

async fn save_emails(
    caller: &Caller,
    notify: &Notify,
    wish: &NotificationEmails,
) -> Result<Json<SavedEmails>> {
    let emails = team::set_emails(notify, caller, &wish.emails).await?;
    let mut message = match emails.len() {
        0 => "saved: nobody is told by mail any more".to_owned(),
        1 => "saved: 1 address is told by mail".to_owned(),
        many => format!("saved: {many} addresses are told by mail"),
    };
    if !emails.is_empty() && !notify.app().mail.is_on() {
        message.push_str("; no mail goes out before LUX_SMTP_URL and LUX_MAIL_FROM are set");
    }
    Ok(Json(SavedEmails { success: true, message, emails }))
}

/// Saves who is told by mail. What is wrong is told with its place: `emails[2]: …`.
#[utoipa::path(
    put, path = "/api/business/notification-emails", request_body = NotificationEmails,
    responses((status = 200, body = SavedEmails), (status = 400, body = Problem))
)]
async fn put_emails(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Json(wish): Json<NotificationEmails>,
) -> Result<Json<SavedEmails>> {
    save_emails(&who.caller, &notify, &wish).await
}

/// The same as `PUT`.
#[utoipa::path(
    post, path = "/api/business/notification-emails", request_body = NotificationEmails,
    responses((status = 200, body = SavedEmails), (status = 400, body = Problem))
)]
async fn post_emails(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Json(wish): Json<NotificationEmails>,
) -> Result<Json<SavedEmails>> {
    save_emails(&who.caller, &notify, &wish).await
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NotificationPhone {
    /// With its country: "+442079460018"; empty takes it away.
    phone: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SavedPhone {
    success: bool,
    message: String,
    /// In E.164.
    phone: Option<String>,
}

/// Of what use the number is.
const USE: &str = "it is shown where something escalates; Lux itself sends no SMS and calls nobody";

/// The number that is shown where something escalates. Lux sends no SMS.
#[utoipa::path(
    get, path = "/api/business/notification-phone", responses((status = 200, body = SavedPhone))
)]
async fn read_phone(who: Reader, Extension(notify): Extension<Notify>) -> Result<Json<SavedPhone>> {
    let phone = team::phone(&notify, who.caller.organization).await?;
    let message = match phone {
        Some(_) => USE.to_owned(),
        None => "no number is stored".to_owned(),
    };
    Ok(Json(SavedPhone { success: true, message, phone }))
}

async fn save_phone(
    caller: &Caller,
    notify: &Notify,
    wish: &NotificationPhone,
) -> Result<Json<SavedPhone>> {
    let phone = team::set_phone(notify, caller, &wish.phone).await?;
    let message = match phone {
        Some(_) => format!("saved: {USE}"),
        None => "saved: there is no number any more".to_owned(),
    };
    Ok(Json(SavedPhone { success: true, message, phone }))
}

/// Saves the number.
#[utoipa::path(
    put, path = "/api/business/notification-phone", request_body = NotificationPhone,
    responses((status = 200, body = SavedPhone), (status = 400, body = Problem))
)]
async fn put_phone(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Json(wish): Json<NotificationPhone>,
) -> Result<Json<SavedPhone>> {
    save_phone(&who.caller, &notify, &wish).await
}

/// The same as `PUT`.
#[utoipa::path(
    post, path = "/api/business/notification-phone", request_body = NotificationPhone,
    responses((status = 200, body = SavedPhone), (status = 400, body = Problem))
)]
async fn post_phone(
    who: Operator,
    Extension(notify): Extension<Notify>,
    Json(wish): Json<NotificationPhone>,
) -> Result<Json<SavedPhone>> {
    save_phone(&who.caller, &notify, &wish).await
}
