//! Meetings over HTTP.

use axum::Extension;
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Meeting, Wish, room, schedule};
use crate::{
    app::App,
    auth::{Caller, audit, secret},
    clock,
    error::{Error, Result as Deed},
    http::{Json, Operator, Problem, Result},
    integrations::{Duty, Integrations},
};

pub(in crate::integrations) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(schedule_meeting))
}

impl Integrations {
    /// Makes a meeting with what serves the duty `meetings`: an entry with a link, or with Google
    /// Meet alone a room.
    pub async fn meet(&self, caller: &Caller, wish: &Wish) -> Deed<Meeting> {
        wish.check(clock::now())?;
        let app = self.app();
        let serving = self.serving(caller.organization, Duty::Meetings).await?;
        let Some((connection, served)) = serving else {
            return Err(Error::Conflict(
                "nothing serves meetings; connect Google Calendar or Google Meet, and let it \
                 serve them (PUT /api/integrations/duties/meetings)"
                    .to_owned(),
            ));
        };
        let meeting = if connection.kind().key == "google_meet" {
            room(&connection).await?
        } else {
            let key = match &wish.key {
                Some(key) => format!("{}\n{key}", caller.organization.0),
                None => secret::random()?,
            };
            let calendar = served.target["calendar"].as_str().unwrap_or("primary");
            let own = app.config.schedule.timezone.name();
            let zone = wish.time_zone.as_deref().unwrap_or(own);
            schedule(&connection, calendar, wish, &key, zone).await?
        };
        let detail = json!({
            "title": wish.title, "start": wish.start, "attendees": wish.attendees.len(),
            "is_new": meeting.is_new,
        });
        let subject = format!("meeting {}", meeting.id);
        let organization = caller.organization;
        audit::write(&app.db, organization, caller, "meeting.schedule", &subject, &detail).await?;
        Ok(meeting)
    }
}

/// Puts a meeting with a link into the calendar.
#[utoipa::path(
    post, path = "/api/integrations/meetings", request_body = Wish,
    responses(
        (status = 200, body = Meeting), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "nothing serves meetings"),
        (status = 503, body = Problem, description = "Google does not answer"),
    )
)]
async fn schedule_meeting(
    who: Operator,
    Extension(integrations): Extension<Integrations>,
    Json(wish): Json<Wish>,
) -> Result<Json<Meeting>> {
    Ok(Json(integrations.meet(&who.caller, &wish).await?))
}
