//! Who is signed in, and the sessions of their browsers.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::{
        Caller, OrganizationId, Role, Who,
        account::{self, Linked},
        session::{self, Listed, Old, Shown},
    },
    clock,
    error::{self, Error},
    http::{Admin, Json, Known, Path, Result},
    jobs::{Done, Lease, NewJob},
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read_me))
        .routes(routes!(list_own))
        .routes(routes!(end_one))
        .routes(routes!(list_of_account))
}

/// Who is calling.
#[derive(Serialize, utoipa::ToSchema)]
struct Me {
    /// "person" or "token"
    kind: &'static str,
    name: String,
    role: Role,
    organization: OrganizationId,
    /// Of a person: the account.
    account: Option<i64>,
    email: Option<String>,
    picture: Option<String>,
    /// Of a person: this browser's session, with its ends.
    session: Option<Listed>,
    /// Of a person: what the account is linked with.
    providers: Vec<Linked>,
}

/// Who is calling, with which role, and when their session ends.
#[utoipa::path(get, path = "/api/auth/me", responses((status = 200, body = Me)))]
async fn read_me(who: Known, State(app): State<App>) -> Result<Json<Me>> {
    let Caller { organization, role, name, who, .. } = who.caller;
    let Who::Person { account, session } = who else {
        return Ok(Json(Me {
            kind: "token",
            name,
            role,
            organization,
            account: None,
            email: None,
            picture: None,
            session: None,
            providers: Vec::new(),
        }));
    };
    let shown = account::find(&app.db, organization, account).await?;
    Ok(Json(Me {
        kind: "person",
        name,
        role,
        organization,
        account: Some(account),
        email: shown.email,
        picture: shown.picture,
        session: session::find(&app.db, organization, session).await?,
        providers: account::linked(&app.db, organization, Some(account)).await?,
    }))
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = BrowserSessions)]
struct Sessions {
    sessions: Vec<Shown>,
}

async fn sessions(app: &App, caller: &Caller, account: i64) -> error::Result<Json<Sessions>> {
    Ok(Json(Sessions { sessions: session::shown(&app.db, caller, account).await? }))
}

/// One's own sessions, the newest first. A token has none.
#[utoipa::path(get, path = "/api/auth/sessions", responses((status = 200, body = Sessions)))]
async fn list_own(who: Known, State(app): State<App>) -> Result<Json<Sessions>> {
    match who.caller.who {
        Who::Person { account, .. } => Ok(sessions(&app, &who.caller, account).await?),
        Who::Token(_) => Ok(Json(Sessions { sessions: Vec::new() })),
    }
}

/// Ends a session: one's own, or as an administrator anybody's.
#[utoipa::path(
    delete, path = "/api/auth/sessions/{id}", params(("id" = i64, Path)),
    responses(
        (status = 204),
        (status = 404, description = "there is no such session that the caller may end")
    )
)]
async fn end_one(who: Known, State(app): State<App>, Path(id): Path<i64>) -> Result<StatusCode> {
    app.sessions.end(&app.db, &who.caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The sessions of an account, the newest first.
#[utoipa::path(
    get, path = "/api/accounts/{id}/sessions", params(("id" = i64, Path)),
    responses((status = 200, body = Sessions), (status = 404, description = "no such account"))
)]
async fn list_of_account(
    who: Admin,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Sessions>> {
    let account = account::find(&app.db, who.caller.organization, id).await?;
    Ok(sessions(&app, &who.caller, account.id).await?)
}

/// The kind of the job that removes what ended.
const EXPIRE: &str = "expire";

/// How often; what ended is refused from its end on in any case.
const EVERY: Duration = Duration::from_mins(10);

/// Lets jobs remove ended sessions, links and invitations, and makes such a job from time to
/// time: one over all replicas. To be called before jobs are started.
pub(crate) fn start_expiring(app: &App) {
    let own = app.clone();
    app.jobs.handle(EXPIRE, 1, move |lease| {
        let app = own.clone();
        async move { expire(&app, &lease).await }
    });
    let app = app.clone();
    app.tasks.clone().spawn(async move {
        let ask = async {
            loop {
                tokio::time::sleep(EVERY).await;
                let slot = clock::now().timestamp() / EVERY.as_secs().cast_signed();
                let job = NewJob::new(EXPIRE, json!({})).dedupe(format!("{EXPIRE}:{slot}"));
                if let Err(error) = app.jobs.enqueue(job).await {
                    tracing::debug!(%error, "no job to remove ended sessions could be made");
                }
            }
        };
        app.shutdown.run_until_cancelled(ask).await;
    });
}

async fn expire(app: &App, lease: &Lease) -> error::Result<Done> {
    let mut removed = 0;
    for old in Old::ALL {
        loop {
            if lease.lost.is_cancelled() {
                return Err(Error::Unavailable("removing sessions was interrupted".to_owned()));
            }
            let mut tx = app.db.begin().await?;
            lease.hold(&mut tx).await?;
            let some = old.remove(&mut tx).await?;
            tx.commit().await?;
            removed += some;
            if some == 0 {
                break;
            }
        }
    }
    tracing::debug!(removed, "ended sessions, links and invitations are removed");
    Ok(Done::Finished)
}
