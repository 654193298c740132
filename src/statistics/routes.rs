//! The numbers over HTTP.

use axum::extract::State;
use chrono_tz::Tz;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{MAX_DAYS, Statistics, count};
use crate::{
    app::App,
    clock,
    error::Error,
    http::{Json, Problem, Query, Reader, Result},
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read_statistics))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// 1 to 92; 30 if it is left out.
    days: Option<u32>,
    /// Whose days they are, as "Europe/Berlin"; that of the schedules if it is left out.
    timezone: Option<String>,
}

/// Calls, contacts, conversations, errors and repairs by day.
#[utoipa::path(
    get, path = "/api/dashboard/statistics", params(Asked),
    responses((status = 200, body = Statistics), (status = 400, body = Problem))
)]
async fn read_statistics(
    who: Reader,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<Json<Statistics>> {
    let days = asked.days.unwrap_or(30);
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(Error::invalid(format!("days: 1 to {MAX_DAYS}")).into());
    }
    let zone = match &asked.timezone {
        None => app.config.schedule.timezone,
        Some(name) => name.parse::<Tz>().map_err(|_| {
            Error::invalid("timezone: a name of the time zone database, such as Europe/Berlin")
        })?,
    };
    Ok(Json(count(&app.db, who.caller.organization, days, zone, clock::now()).await?))
}
