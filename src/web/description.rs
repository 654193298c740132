//! What Lux says of its own interface: `/openapi.json` and `lux openapi`.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, Ref, RefOr, Response,
        path::{Operation, ParameterIn},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use crate::http::Problem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lux",
        description = "Reads errors and live logs, names the cause with the lines that prove it. \
                       Every refusal is a problem document (RFC 9457)."
    ),
    components(schemas(Problem)),
    modifiers(&Ways),
    security(("token" = []))
)]
pub(super) struct Document;

/// The ways to say who one is.
struct Ways;

impl Modify for Ways {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, way) in [("token", HttpAuthScheme::Bearer), ("webhook", HttpAuthScheme::Basic)] {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(way)));
        }
    }
}

/// Adds the refusals that every operation shares to those that it names itself, all in the form
/// in which they come.
pub(super) fn complete(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let form = Form::of(path);
        for (operation, reads) in [
            (&mut item.get, true),
            (&mut item.post, false),
            (&mut item.put, false),
            (&mut item.patch, false),
            (&mut item.delete, false),
        ] {
            if let Some(operation) = operation {
                add_refusals(operation, reads, form);
            }
        }
    }
}

/// How refusals at an address look.
#[derive(Clone, Copy)]
enum Form {
    Problem,
    OpenAi,
    /// A JSON-RPC answer, or a problem where the request did not get that far.
    Rpc,
}

impl Form {
    fn of(path: &str) -> Self {
        match path {
            "/mcp" => Self::Rpc,
            path if path.starts_with("/v1/") => Self::OpenAi,
            _ => Self::Problem,
        }
    }

    fn fill(self, response: &mut Response) {
        let of = |name: &str| {
            let mut content = Content::default();
            content.schema = Some(RefOr::Ref(Ref::from_schema_name(name)));
            RefOr::T(content)
        };
        let problem = "application/problem+json".to_owned();
        response.content.clear();
        match self {
            Self::Problem => {
                response.content.insert(problem, of("Problem"));
            }
            Self::OpenAi => {
                response.content.insert("application/json".to_owned(), of("OpenAiError"));
            }
            Self::Rpc => {
                response.content.insert(problem, of("Problem"));
                response
                    .content
                    .insert("application/json".to_owned(), RefOr::T(Content::default()));
            }
        }
    }
}

fn add_refusals(operation: &mut Operation, reads: bool, form: Form) {
    let is_rpc = matches!(form, Form::Rpc);
    let parameters = operation.parameters.iter().flatten();
    let has_id = parameters.into_iter().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Path,
        RefOr::Ref(_) => false,
    });
    let has_body = operation.request_body.is_some();
    // `security(())` alone: there is nobody to be refused.
    let nobody = [SecurityRequirement::default()];
    let is_open = operation.security.as_ref().is_some_and(|ways| **ways == nobody);
    for (applies, status, words) in [
        (true, "400", "the request is not understood"),
        (!is_open, "401", "no token, or none that is known"),
        (!is_open, "403", "the caller's role does not allow it"),
        (has_id || has_body, "404", "there is no such thing"),
        (is_rpc, "406", "the client has to accept both JSON and events"),
        (true, "408", "the request took too long"),
        (!reads, "409", "it does not fit the present state"),
        (has_body, "413", "the body is too large"),
        (has_body, "415", "the body is not of the type application/json"),
        (!is_open, "429", "too many requests; Retry-After says when to come back"),
        (true, "500", "Lux failed; its log has the reason under the request id"),
        (true, "503", "not available right now; Retry-After says when to come back"),
    ] {
        if applies {
            let responses = &mut operation.responses.responses;
            responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(Response::new(words)));
        }
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && (status.starts_with('4') || status.starts_with('5'))
        {
            form.fill(response);
        }
    }
}
