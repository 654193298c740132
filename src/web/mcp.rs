//! The tools of the chat for other agents: the Model Context Protocol over Streamable HTTP.
//! There are no sessions, so that any replica can answer; each request brings its token.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
        ToolAnnotations,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth::Caller,
    chat::{
        Owner,
        tools::{self, Found, Spec, Tools, User},
    },
    config::Config,
    error::Error,
    http::{Problem, Reader},
};

/// What an agent is told about all of it.
const INSTRUCTIONS: &str = include_str!("../../prompts/mcp.txt");

/// Bytes of a refusal that are read.
const REFUSAL: usize = 4 << 10;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(speak))
}

/// The protocol's side of it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Mcp(StreamableHttpService<Server, NeverSessionManager>);

impl Mcp {
    pub(super) fn new(app: &App, tools: Tools) -> Self {
        let (hosts, origins) = allowed(&app.config);
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_allowed_hosts(hosts)
            .with_allowed_origins(origins)
            .with_max_request_body_bytes(app.config.http.max_body_bytes)
            .with_cancellation_token(app.shutdown.clone());
        let server = Server { app: app.clone(), tools };
        let sessions = Arc::new(NeverSessionManager::default());
        Self(StreamableHttpService::new(move || Ok(server.clone()), sessions, config))
    }
}

/// The names under which Lux may be called, and the pages that may do so: this host, the
/// address that is listened on, and what `public_url` says. Any other name may be one that a
/// web page made point here.
fn allowed(config: &Config) -> (Vec<String>, Vec<String>) {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let mut origins: Vec<String> =
        ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("http://{host}:*")).to_vec();
    if !config.listen.ip().is_unspecified() {
        hosts.push(config.listen.ip().to_string());
    }
    if let Some(url) = &config.public_url
        && let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default())
    {
        hosts.push(host.to_owned());
        origins.push(format!("{}://{host}:{port}", url.scheme()));
    }
    (hosts, origins)
}

/// Model Context Protocol: `initialize`, `tools/list`, `tools/call`, one JSON-RPC message a
/// request. What changes something is there for operators only.
#[utoipa::path(
    post,
    path = "/mcp",
    request_body(content = Object, description = "a JSON-RPC message"),
    responses(
        (status = 200, description = "its answer"),
        (status = 202, description = "a notification was taken"),
        (status = 403, body = Problem)
    )
)]
async fn speak(
    Reader { caller }: Reader,
    Extension(mcp): Extension<Mcp>,
    mut request: Request,
) -> Response {
    request.extensions_mut().insert(caller);
    explained(mcp.0.handle(request).await.map(Body::new)).await
}

/// A refusal that is no JSON-RPC message becomes a problem document that says what to do.
async fn explained(response: Response) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let said = axum::body::to_bytes(response.into_body(), REFUSAL).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let what = match status {
        StatusCode::FORBIDDEN => {
            "; names other than this host's own are taken from public_url in lux.toml"
        }
        _ => "; send one JSON-RPC message as the Model Context Protocol describes it",
    };
    // Lux itself is well: it is the request that did not fit.
    let status = if status.is_server_error() { StatusCode::BAD_REQUEST } else { status };
    Problem::new(status, format!("{}{what}", said.trim())).into_response()
}

/// Answers one agent.
#[derive(Clone)]
struct Server {
    app: App,
    tools: Tools,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let lux = Implementation::new("lux", env!("CARGO_PKG_VERSION")).with_title("Lux");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(lux)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = Tools::for_role(caller(&context)?.role).map(described).collect();
        Ok(ListToolsResult { tools, ..ListToolsResult::default() })
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = caller(&context)?;
        if !tools::specs().iter().any(|spec| spec.name == request.name) {
            let names: Vec<&str> = Tools::for_role(caller.role).map(|spec| spec.name).collect();
            let message = format!("there is no such tool; there are {}", names.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        }
        let owner = Owner::of(caller);
        let user = User {
            organization: owner.organization,
            role: caller.role,
            name: owner.name,
            app: None,
            // It is the operator's own program that asks, with the operator's token.
            wants_repair: caller.role.may_operate(),
            wants_marketing: caller.role.may_operate(),
            wants_ticket: caller.role.may_operate(),
        };
        let arguments = request.arguments.map_or(Value::Null, Value::Object);
        let found = match self.tools.call(&user, &request.name, &arguments).await {
            Ok(found) => found,
            Err(error @ (Error::Database(_) | Error::Io(_) | Error::Internal(_))) => {
                tracing::error!(%error, tool = %request.name, "a tool failed");
                let message = "Lux could not do this; its log has the reason";
                return Err(ErrorData::internal_error(message, None));
            }
            // What the agent can mend, it has to be able to read.
            Err(error) => {
                let text = ContentBlock::text(error.to_string());
                return Ok(CallToolResult::error(vec![text]).into());
            }
        };
        let result = self.result(&request.name, found).map_err(|error| {
            tracing::error!(%error, "the result of a tool cannot be shown");
            ErrorData::internal_error("Lux could not show the result; try again", None)
        })?;
        Ok(result.into())
    }
}

impl Server {
    /// Lux's own words, then the untrusted texts as data; secrets are struck out of both.
    fn result(&self, name: &str, found: Found) -> crate::error::Result<CallToolResult> {
        let mut desk = self.app.llm.desk();
        let mut content = vec![ContentBlock::text(found.summary.clone())];
        let mut items = Vec::with_capacity(found.items.len());
        let mut lines = Vec::with_capacity(found.items.len());
        for item in found.items {
            let text = desk.plain(&item.text);
            let text = desk.reveal(text.as_str());
            lines.push(format!("{}:{} ({}) {text}", item.source, item.line, item.about));
            items.push(json!({
                "source": item.source,
                "line": item.line,
                "about": item.about,
                "text": text,
            }));
        }
        if !lines.is_empty() {
            let data = desk.data(name, &lines.join("\n"))?;
            content.push(ContentBlock::text(desk.reveal(data.as_str())));
        }
        let mut result = CallToolResult::success(content);
        result.structured_content = Some(json!({
            "summary": found.summary,
            "items": items,
            "proposals": found.proposals,
            "run_id": found.run_id,
        }));
        Ok(result)
    }
}

fn described(spec: &Spec) -> Tool {
    let schema = spec.parameters.as_object().cloned().unwrap_or_default();
    let hints =
        ToolAnnotations::new().read_only(!spec.changes).destructive(false).open_world(false);
    Tool::new(spec.name, spec.description, Arc::new(schema)).with_annotations(hints)
}

/// Whose token the request brought.
fn caller(context: &RequestContext<RoleServer>) -> Result<&Caller, ErrorData> {
    let parts = context.extensions.get::<http::request::Parts>();
    parts
        .and_then(|parts| parts.extensions.get::<Caller>())
        .ok_or_else(|| ErrorData::internal_error("the request has no caller", None))
}
