//! A diagnosis on request, outside of a conversation.

use std::time::Duration;

use axum::{Extension, extract::State};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Analyst, Diagnosis, Scope};
use crate::{
    app::App,
    http::{Json, Operator, Problem},
};

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(diagnose))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDiagnosis {
    /// Only the logs and errors of this monitored application.
    app: Option<String>,
    /// Ask the model, too, if there is one; default true.
    model: Option<bool>,
}

/// A diagnosis, and who made it.
#[derive(Serialize, utoipa::ToSchema)]
struct Diagnosed {
    /// As `lux diagnose --json` prints it; with `model`, what a model makes of it.
    diagnosis: Diagnosis,
    /// "model" where the model's answer could be used, else "advisor".
    engine: &'static str,
    /// Why the advisor stands alone, in one line.
    notice: Option<String>,
    /// What the numbers in the model's sentences stand for.
    citations: Vec<Cited>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Cited {
    id: u32,
    source: String,
    line: u64,
    text: String,
}

/// Diagnoses the running system. The advisor answers in any case; a model, if there is one,
/// is asked once.
#[utoipa::path(
    post,
    path = "/api/diagnostics/diagnosis",
    request_body = NewDiagnosis,
    responses((status = 200, body = Diagnosed), (status = 400, body = Problem))
)]
async fn diagnose(
    Operator { caller }: Operator,
    State(app): State<App>,
    Extension(analyst): Extension<Analyst>,
    Json(new): Json<NewDiagnosis>,
) -> crate::http::Result<Json<Diagnosed>> {
    app.apps.check(&app.config, new.app.as_deref())?;
    let scope = Scope { organization: caller.organization, app: new.app };
    let mut desk = app.llm.desk();
    if new.model == Some(false) {
        let diagnosis = analyst.advise(scope).await?;
        let (engine, citations) = ("advisor", Vec::new());
        return Ok(Json(Diagnosed { diagnosis, engine, notice: None, citations }));
    }
    // the answer has to leave before the server's own limit
    let patience = app.config.http.request_timeout.saturating_sub(Duration::from_secs(2));
    let by = caller.author();
    let consulted = analyst.diagnose(scope, &mut desk, &by, "a diagnosis", patience).await?;
    let engine = consulted.engine();
    let cited = consulted.cited_by_model();
    let citations = cited.filter_map(|id| {
        let cited = consulted.pack.cited(id)?;
        let text = cited.text[..cited.text.floor_char_boundary(2000)].to_owned();
        Some(Cited { id, source: cited.source.clone(), line: cited.line, text })
    });
    let citations = citations.collect();
    let (diagnosis, notice) = (consulted.diagnosis, consulted.notice);
    Ok(Json(Diagnosed { diagnosis, engine, notice, citations }))
}
