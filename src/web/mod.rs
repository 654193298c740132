//! Everything that is served: the features' routers, the health routes, the API's
//! own description, and the layers around them.

mod accounts;
mod apps;
mod audit;
mod confirm;
mod description;
pub mod host;
mod ledger;
mod links;
mod logs;
mod mcp;
mod openai;
mod pages;
pub(crate) mod sessions;
mod sign_in;
mod sign_up;
mod tokens;
mod unsubscribe;
mod verify;
mod waiting;

use std::time::Duration;

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware};
use http::StatusCode;
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, limit::RequestBodyLimitLayer,
    timeout::TimeoutLayer,
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    chat::{self, Chat, tools::Tools},
    contacts::{
        self, Contacts,
        import::{self, Imports},
    },
    customers, dashboard, deploys,
    diagnose::{self, Analyst},
    errors::{self, Capture},
    health::{self, Health},
    hooks,
    http::{Json, Reader, edge, limit::Limits},
    integrations::{
        self, Integrations,
        ticketing::{self, Tickets},
    },
    marketing::{
        self,
        agent::{self, Agents},
        sending::{self, Sending},
    },
    notify::{self, Notify},
    probe::{self, Probes},
    repair::{self, Repair, action::Actions},
    statistics,
};

pub use sign_in::SignIn;
pub use waiting::waiting;

/// The running features that handlers reach as extensions.
#[derive(Clone)]
pub struct Features {
    pub actions: Actions,
    pub agents: Agents,
    pub analyst: Analyst,
    pub capture: Capture,
    pub chat: Chat,
    pub contacts: Contacts,
    pub health: Health,
    pub imports: Imports,
    pub integrations: Integrations,
    pub notify: Notify,
    pub probes: Probes,
    pub repair: Repair,
    pub sending: Sending,
    pub sign_in: SignIn,
    pub tickets: Tickets,
    pub tools: Tools,
}

/// All routes with their description. Each feature reaches its own routes only: what a layer
/// around all of them carried, every request would pay for.
fn routes(running: Option<(&App, &Features)>) -> OpenApiRouter<App> {
    let of = running.map(|(_, features)| features);
    let mcp = running.map(|(app, of)| mcp::Mcp::new(app, of.tools.clone()));
    let repair = repair::router().merge(repair::action::router());
    let repair = reach(repair, of.map(|of| of.repair.clone()));
    // Files have bounds of their own: where it runs, their route stands beside the layers.
    let described = match running {
        Some(_) => OpenApiRouter::new(),
        None => import::upload_router().merge(customers::upload_router()),
    };
    OpenApiRouter::with_openapi(description::Document::openapi())
        .merge(reach(agent::router(), of.map(|of| of.agents.clone())))
        .merge(reach(health::router(), of.map(|of| of.health.clone())))
        .merge(reach(errors::router(), of.map(|of| of.capture.clone())))
        .merge(reach(chat::router(), of.map(|of| of.chat.clone())))
        .merge(reach(contacts::router(), of.map(|of| of.contacts.clone())))
        .merge(reach(import::router().merge(described), of.map(|of| of.imports.clone())))
        .merge(reach(diagnose::router(), of.map(|of| of.analyst.clone())))
        .merge(reach(integrations::router(), of.map(|of| of.integrations.clone())))
        .merge(reach(notify::router(), of.map(|of| of.notify.clone())))
        .merge(reach(ticketing::router(), of.map(|of| of.tickets.clone())))
        .merge(reach(probe::router(), of.map(|of| of.probes.clone())))
        .merge(reach(repair, of.map(|of| of.actions.clone())))
        .merge(reach(sending::router(), of.map(|of| of.sending.clone())))
        .merge(logs::router())
        .merge(accounts::router())
        .merge(apps::router())
        .merge(customers::router())
        .merge(audit::router())
        .merge(ledger::router())
        .merge(marketing::router())
        .merge(sessions::router())
        .merge(tokens::router())
        .merge(deploys::router())
        .merge(hooks::router())
        .merge(statistics::router())
        .merge(reach(openai::router(), of.map(|of| of.chat.clone())))
        .merge(reach(mcp::router(), mcp))
        .routes(routes!(read_openapi))
}

/// Hands the running feature to the handlers of its routes; for their description alone there
/// is none.
fn reach<T>(router: OpenApiRouter<App>, feature: Option<T>) -> OpenApiRouter<App>
where
    T: Clone + Send + Sync + 'static,
{
    match feature {
        Some(feature) => router.layer(Extension(feature)),
        None => router,
    }
}

/// The description of everything served, as `/openapi.json` and `lux openapi` give it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = routes(None).into_openapi();
    description::complete(&mut document);
    document
}

/// The OpenAPI document of this server.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "OpenAPI 3.1")))]
async fn read_openapi(_: Reader) -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}

/// The whole service, ready to be served.
pub fn router(app: App, features: &Features) -> Router {
    let limits = Limits::new(&app.config.http);
    forget_idle_callers(&app, limits.clone());
    let http = &app.config.http;
    // Reports of SDKs have bounds of their own for their bodies.
    let layers = tower::ServiceBuilder::new()
        .layer(middleware::from_fn_with_state((app.clone(), limits.clone()), edge::wrap))
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, http.request_timeout))
        .layer(middleware::from_fn(edge::read_small_body))
        .layer(Extension(features.capture.clone()));
    let sentry = errors::sentry::router().layer(layers);
    let layers = tower::ServiceBuilder::new()
        .layer(middleware::from_fn_with_state((app.clone(), limits.clone()), edge::wrap))
        .layer(CatchPanicLayer::new())
        .layer(DefaultBodyLimit::disable())
        .layer(Extension(features.imports.clone()));
    let (files, _) = import::upload_router().merge(customers::upload_router()).split_for_parts();
    let files = files.merge(dashboard::upload_router(&app)).layer(layers);
    let (router, _) = routes(Some((&app, features))).split_for_parts();
    let sign_in = sign_in::router().layer(Extension(features.sign_in.clone()));
    let pages = links::router()
        .merge(confirm::router())
        .merge(unsubscribe::router())
        .merge(verify::router())
        .merge(sign_in)
        .merge(sign_up::router())
        .merge(pages(&app, features));
    guard(router.merge(pages).fallback(dashboard::nothing_here), &app, limits)
        .merge(sentry)
        .merge(files)
        .with_state(app)
}

/// Puts around routes what every request passes: its id, limits of rate, size and time, and an
/// end for a handler that panics. One stack: each `Router::layer` boxes every route once more,
/// for every request.
pub fn guard(router: Router<App>, app: &App, limits: Limits) -> Router<App> {
    let http = &app.config.http;
    let layers = tower::ServiceBuilder::new()
        .layer(middleware::from_fn_with_state((app.clone(), limits), edge::wrap))
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, http.request_timeout))
        .layer(middleware::from_fn(host::redirect))
        .layer(middleware::from_fn(edge::read_small_body))
        .layer(RequestBodyLimitLayer::new(http.max_body_bytes))
        .layer(DefaultBodyLimit::max(http.max_body_bytes))
        .layer(CompressionLayer::new());
    router.layer(layers)
}

/// The dashboard, with the features that its pages show.
fn pages(app: &App, features: &Features) -> Router<App> {
    let features = tower::ServiceBuilder::new()
        .layer(Extension(features.actions.clone()))
        .layer(Extension(features.agents.clone()))
        .layer(Extension(features.analyst.clone()))
        .layer(Extension(features.capture.clone()))
        .layer(Extension(features.chat.clone()))
        .layer(Extension(features.contacts.clone()))
        .layer(Extension(features.health.clone()))
        .layer(Extension(features.notify.clone()))
        .layer(Extension(features.imports.clone()))
        .layer(Extension(features.integrations.clone()))
        .layer(Extension(features.probes.clone()))
        .layer(Extension(features.repair.clone()))
        .layer(Extension(features.tickets.clone()));
    dashboard::router(app).layer(features)
}

fn forget_idle_callers(app: &App, limits: Limits) {
    let shutdown = app.shutdown.clone();
    app.tasks.spawn(async move {
        let mut timer = tokio::time::interval(Duration::from_mins(1));
        while shutdown.run_until_cancelled(timer.tick()).await.is_some() {
            limits.forget_idle();
        }
    });
}
