//! The routes that a service manager, a balancer, Prometheus and an operator ask.

use std::time::Duration;

use axum::{Extension, extract::State};
use http::StatusCode;
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Health;
use crate::{
    app::App,
    clock,
    errors::store::groups,
    http::{Json, Problem, Reader, Result, limit::Peer},
    repair::store::watches,
};

/// How long the counts of errors may take before the answer goes without them.
const SUMMARY: Duration = Duration::from_secs(2);

/// Endpoints under watch that are told; `GET /api/auto-repair/watches` tells more.
const MOST_ENDPOINTS: i64 = 50;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read_alive))
        .routes(routes!(read_ready))
        .routes(routes!(read_metrics))
        .routes(routes!(read_health))
}

/// Lux is alive. Says nothing about the database.
#[utoipa::path(get, path = "/healthz", security(()), responses((status = 200, body = str)))]
async fn read_alive() -> &'static str {
    "ok\n"
}

/// Lux can do its work: the database answers (it was migrated at the start).
#[utoipa::path(
    get,
    path = "/readyz",
    security(()),
    responses((status = 200, body = str), (status = 503, body = Problem))
)]
async fn read_ready(Extension(health): Extension<Health>) -> Result<&'static str> {
    match health.ready().await {
        Ok(()) => Ok("ready\n"),
        Err(detail) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(5)),
    }
}

/// Counters and histograms for Prometheus. Without a token only for programs on this
/// host that did not come through a proxy.
#[utoipa::path(
    get,
    path = "/metrics",
    security((), ("token" = [])),
    responses((status = 200, body = str), (status = 401, body = Problem))
)]
async fn read_metrics(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    reader: Result<Reader>,
) -> Result<String> {
    let local = peer.is_some_and(|Extension(peer)| peer.address.is_loopback() && !peer.forwarded);
    if !local {
        reader?;
    }
    Ok(app.metrics.render())
}

/// The parts Lux depends on, each with its state, since when, and what to do; beside them the
/// endpoints whose resolution is under watch (at most 50, those that are decided first) and
/// what runs next by schedule.
#[utoipa::path(
    get,
    path = "/api/diagnostics/health",
    responses((status = 200, body = Value), (status = 401, body = Problem))
)]
async fn read_health(
    State(app): State<App>,
    Reader { caller }: Reader,
    Extension(health): Extension<Health>,
) -> Result<Json<Value>> {
    let snapshot = health.snapshot().await;
    // A database that is away is what this answer is for: it must not fail on it.
    let summary = groups::summary(&app.db, caller.organization, clock::now());
    let summary = match tokio::time::timeout(SUMMARY, summary).await {
        Ok(Ok(summary)) => Some(summary),
        Ok(Err(_)) | Err(_) => None,
    };
    let endpoints = watches::endpoints(&app.db, caller.organization, MOST_ENDPOINTS);
    let endpoints = match tokio::time::timeout(SUMMARY, endpoints).await {
        Ok(Ok(endpoints)) => Some(endpoints),
        Ok(Err(_)) | Err(_) => None,
    };
    let next_runs: Vec<_> = app
        .jobs
        .next_runs()
        .into_iter()
        .map(|(name, at)| json!({ "name": name, "at": at }))
        .collect();
    Ok(Json(json!({
        "success": true,
        "health": snapshot,
        "error_summary": summary,
        "endpoints": endpoints,
        "next_runs": next_runs,
    })))
}
