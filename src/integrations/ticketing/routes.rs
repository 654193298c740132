//! Tickets over HTTP.

use axum::Extension;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Status, Ticket, Tickets};
use crate::{
    app::App,
    http::{Json, Operator, Problem, Query, Reader, Result},
    integrations::tracker::{Project, ProjectStatus},
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_tickets, ask_for_ticket))
        .routes(routes!(list_projects))
        .routes(routes!(read_project_status))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only those of this error group; without it the newest of all.
    group_id: Option<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = TicketList)]
struct List {
    tickets: Vec<Ticket>,
}

/// The tickets of an error group, or the newest of all.
#[utoipa::path(
    get, path = "/api/integrations/tickets", params(Wanted),
    responses((status = 200, body = List), (status = 400, body = Problem))
)]
async fn list_tickets(
    who: Reader,
    Extension(tickets): Extension<Tickets>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<List>> {
    let organization = who.caller.organization;
    let tickets = match wanted.group_id {
        Some(group) => tickets.of_group(organization, group).await?,
        None => tickets.newest(organization).await?,
    };
    Ok(Json(List { tickets }))
}

/// An error group whose ticket is wished for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TicketWish)]
struct Wish {
    group_id: i64,
}

/// Opens the ticket of an error group in the tracker that serves; there is never a second one.
#[utoipa::path(
    post, path = "/api/integrations/tickets", request_body = Wish,
    responses(
        (status = 200, body = Ticket, description = "it is there"),
        (status = 202, body = Ticket, description = "it is being opened"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "nothing serves tickets, or the error is not open"),
    )
)]
async fn ask_for_ticket(
    who: Operator,
    Extension(tickets): Extension<Tickets>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Ticket>)> {
    let caller = &who.caller;
    let ticket =
        tickets.ask(caller.organization, &caller.author(), caller.into(), wish.group_id).await?;
    let status = match ticket.status {
        Status::Opening | Status::Failed => StatusCode::ACCEPTED,
        Status::Open | Status::Closed => StatusCode::OK,
    };
    Ok((status, Json(ticket)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Of {
    /// The connection; without it the one that serves tickets.
    integration_id: Option<i64>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = TrackerProjectList)]
struct Projects {
    /// By name, at most 200.
    projects: Vec<Project>,
}

/// What tickets could be opened in.
#[utoipa::path(
    get, path = "/api/integrations/projects", params(Of),
    responses(
        (status = 200, body = Projects), (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "nothing serves tickets"),
        (status = 503, body = Problem, description = "the tracker does not answer"),
    )
)]
async fn list_projects(
    who: Operator,
    Extension(tickets): Extension<Tickets>,
    Query(of): Query<Of>,
) -> Result<Json<Projects>> {
    let projects = tickets.projects(who.caller.organization, of.integration_id).await?;
    Ok(Json(Projects { projects }))
}

/// How the project stands that tickets go to; at most a minute old.
#[utoipa::path(
    get, path = "/api/integrations/project-status",
    responses(
        (status = 200, body = ProjectStatus), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "nothing serves tickets"),
        (status = 503, body = Problem, description = "the tracker does not answer"),
    )
)]
async fn read_project_status(
    who: Reader,
    Extension(tickets): Extension<Tickets>,
) -> Result<Json<ProjectStatus>> {
    Ok(Json(tickets.project_status(who.caller.organization).await?))
}
