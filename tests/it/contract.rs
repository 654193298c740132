//! What every route does with callers and bodies that it should not accept: a problem
//! document, and nothing changed. The routes come from the description that the server
//! gives of itself, so none is forgotten.

use reqwest::{
    Method, RequestBuilder,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Value, json};

use crate::{
    authority,
    support::{Answer, Database, Role, Server, Setup, on_both},
};

/// One operation of the description.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: String,
    open: bool,
    pub(crate) has_body: bool,
    pub(crate) query: Vec<(String, String)>,
}

impl Operation {
    /// The path with ids that exist nowhere.
    pub(crate) fn nowhere(&self) -> String {
        self.with_id("987654321")
    }

    pub(crate) fn with_id(&self, id: &str) -> String {
        let path = self.path.replace("{duty}", "tickets");
        let parts = path.split('/').map(|part| if part.starts_with('{') { id } else { part });
        parts.collect::<Vec<_>>().join("/")
    }

    pub(crate) fn has_id(&self) -> bool {
        self.path.contains('{')
    }

    /// Whether it answers with events that do not end.
    pub(crate) fn is_stream(&self) -> bool {
        self.path.ends_with("/stream")
            || (self.path.ends_with("/events") && self.path != "/api/notifications/events")
    }

    /// Its refusals are read by OpenAI's clients, and so they have the form of OpenAI's.
    fn speaks_openai(&self) -> bool {
        self.path.starts_with("/v1/")
    }

    /// Its bodies are JSON-RPC, whose errors are answers of their own form; `front` sends it
    /// what is none.
    fn speaks_mcp(&self) -> bool {
        self.path == "/mcp"
    }

    /// Checks that this is a whole refusal of `status`.
    pub(crate) fn refused(&self, answer: &Answer, status: u16) {
        if self.speaks_openai() {
            answer.openai_error(status);
        } else {
            answer.problem(status);
        }
    }

    /// Whether it takes what other programs send, whose fields it does not all know.
    fn overlooks_fields(&self) -> bool {
        ["/api/errors", "/api/call-logs", "/chatbot/send"].contains(&self.path.as_str())
            || self.speaks_openai()
    }

    /// Whether each field of its body has a default.
    fn may_be_empty(&self) -> bool {
        [
            "/api/auto-repair/clear",
            "/api/auto-repair/start",
            "/api/diagnostics/diagnosis",
            "/api/integrations/report",
        ]
        .contains(&self.path.as_str())
    }

    /// A body that would be accepted, if the rest of the request were.
    pub(crate) fn body(&self) -> Value {
        match (self.method.as_str(), self.path.as_str()) {
            ("POST", "/api/errors") => json!({ "error_type": "E", "error_message": "m" }),
            ("POST", "/api/integrations/{provider}/place") => json!({ "id": "site-1" }),
            ("POST", "/api/integrations/tickets") => json!({ "group_id": 987_654_321 }),
            ("POST", "/api/conversations/{id}/messages" | "/api/integrations/messages") => {
                json!({ "text": "hello" })
            }
            ("POST", "/api/integrations/report") => json!({ "days": 7 }),
            ("POST", "/api/integrations/meetings") => {
                json!({ "title": "Look at it", "start": lux::clock::now() })
            }
            ("PUT", "/api/integrations/duties/{duty}") => {
                json!({ "integration_id": 987_654_321, "target": { "project": "OPS" } })
            }
            ("POST", "/api/auto-repair/clear") => json!({ "older_than_hours": 24 }),
            ("POST", "/api/auto-repair/start") => {
                json!({ "error_id": 987_654_321, "group_ids": [987_654_321] })
            }
            ("POST", "/api/deploys") => json!({ "app": "shop", "release": "abc1234" }),
            ("PATCH", "/api/diagnostics/groups") => {
                json!({ "ids": [987_654_321], "status": "ignored" })
            }
            ("PATCH", "/api/diagnostics/groups/{id}") => json!({ "status": "ignored" }),
            ("POST", "/api/diagnostics/groups/merge") => {
                json!({ "into": 987_654_321, "groups": [987_654_322] })
            }
            ("POST", "/api/diagnostics/groups/{id}/split") => json!({ "by": "release" }),
            ("POST", "/api/diagnostics/diagnosis") => json!({ "app": "shop", "model": false }),
            ("POST", "/chatbot/send") => {
                json!({ "message": "what is wrong?", "session_id": 987_654_321 })
            }
            (
                "POST",
                "/api/auto-repair/actions/{id}/approve" | "/api/auto-repair/actions/{id}/reject",
            ) => json!({ "hash": "0123abcd", "reason": "looked at it" }),
            ("POST", "/api/auto-repair/actions/{id}/edit") => {
                json!({ "hash": "0123abcd", "params": { "unit": "shop.service" } })
            }
            ("POST", "/v1/chat/completions") => json!({
                "model": "lux", "messages": [{ "role": "user", "content": "what is wrong?" }],
            }),
            ("POST", "/mcp") => json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }),
            ("PATCH", "/api/accounts/{id}") => {
                json!({ "role": "operator", "status": "active", "version": 1 })
            }
            ("POST", "/api/invitations") => {
                json!({ "role": "operator", "email": "ada@example.com" })
            }
            ("POST", "/api/apps") => json!({
                "name": "shop", "base_url": "http://127.0.0.1:8000",
                "allowed_origins": ["https://shop.example"],
                "scrub": { "emails": true, "keys": ["iban"] }, "events_per_minute": 600,
            }),
            ("PATCH", "/api/apps/{id}") => json!({ "base_url": "http://127.0.0.1:8000" }),
            ("POST", "/api/apps/{id}/keys") => json!({ "name": "mobile" }),
            ("POST", "/api/tokens") => {
                json!({ "name": "ci", "role": "read", "expires_in_days": 30 })
            }
            ("PATCH", "/api/agents/{key}") => {
                json!({ "schedule": "0 7 * * *", "timezone": "Europe/Berlin", "pages": [] })
            }
            ("PATCH", "/api/contacts/imports/{id}") => json!({
                "columns": { "Address": "email" }, "encoding": "UTF-8", "delimiter": ";",
                "tags": ["fair"], "source": "fair 2026",
                "consent": { "source": "paper forms", "wording": "I want mail" },
            }),
            ("POST", "/api/contacts/{id}/confirmation") => {
                json!({ "source": "newsletter form", "wording": "I want the newsletter" })
            }
            ("POST", "/api/contacts/{id}/consent") => {
                json!({ "status": "none", "source": "told on the telephone", "wording": "w" })
            }
            ("POST", "/api/contacts/{id}/erase" | "/api/customers/{id}/erase") => {
                json!({ "confirm": 987_654_321 })
            }
            ("POST", "/api/contacts/{id}/merge") => {
                json!({ "from": 987_654_322, "fields": { "email": "from" } })
            }
            ("POST", "/api/suppressions/remove") => {
                json!({ "email": "ada@example.com", "reason": "asked for it" })
            }
            ("POST", "/api/contacts") => json!({
                "email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace",
                "company": "Engines", "phone": "+442079460018", "source": "fair",
                "tags": ["vip"], "attributes": { "city": "London" },
                "consent": { "status": "confirmed", "source": "asked" },
            }),
            ("PATCH", "/api/contacts/{id}") => json!({ "version": 1, "first_name": "Ada" }),
            ("POST", "/api/contacts/{id}/activities") => json!({ "note": "called" }),
            ("POST", "/api/segments") => json!({
                "name": "Early", "rule": { "field": "tag", "op": "in", "value": ["early"] },
            }),
            ("PATCH", "/api/segments/{id}") => json!({ "name": "Late" }),
            ("POST", "/api/segments/try") => {
                json!({ "field": "tag", "op": "in", "value": ["early"] })
            }
            ("POST" | "DELETE", "/api/segments/{id}/members") => json!({ "contact_ids": [1] }),
            ("DELETE", "/api/hooks") => {
                json!({ "target_url": "https://hooks.zapier.com/hooks/standard/2/b" })
            }
            ("POST", "/api/hooks") => json!({
                "target_url": "https://hooks.zapier.com/hooks/catch/1/abc",
                "event": "contact.created", "expiration_date": "2046-11-20T10:00:00Z",
            }),
            (
                "POST" | "PUT",
                "/api/notifications/channels" | "/api/notifications/channels/{id}",
            ) => {
                json!({
                    "name": "Night watch", "kind": "mail", "events": ["error.storm"],
                    "least": "error", "recipients": ["ada@example.com"],
                    "quiet": { "from": "22:00", "to": "07:00", "zone": "UTC", "days": ["mon"] },
                })
            }
            ("POST", "/api/notifications/maintenance") => {
                json!({ "to": "2046-11-20T10:00:00Z", "from": "2046-11-20T09:00:00Z", "reason": "r" })
            }
            ("POST", "/api/notifications/inbox/read") => json!({ "ids": [987_654_321] }),
            ("POST" | "PUT", "/api/business/notification-emails") => {
                json!({ "emails": ["ada@example.com"] })
            }
            ("POST" | "PUT", "/api/business/notification-phone") => {
                json!({ "phone": "+442079460018" })
            }
            ("POST", "/api/webhook/credentials") => json!({ "name": "zapier" }),
            ("POST", "/api/suppressions" | "/api/webhook/zapier-contact") => {
                json!({ "email": "ada@example.com" })
            }
            ("POST", "/api/webhook/mail-bounce") => {
                json!({ "email": "ada@example.com", "type": "soft", "reason": "4.2.2 full" })
            }
            ("POST", "/api/campaigns/{id}/uncertain") => json!({ "decision": "leave" }),
            ("POST", "/api/conversations") => {
                json!({ "customer_id": 987_654_321, "subject": "Order", "text": "hello" })
            }
            ("PATCH", "/api/chat/sessions/{id}") => json!({ "title": "t" }),
            ("POST", "/api/probes") => json!({
                "name": "cart", "app": "shop", "kind": "http", "path": "/cart",
                "headers": { "Accept": "text/html" }, "expect": { "status": 200 },
                "covers": ["GET /cart"],
            }),
            ("POST", "/api/call-logs") => json!({
                "id": "c1", "from_number": "+442079460018", "started_at": "2026-11-20T10:00:00Z",
                "duration_seconds": 61,
            }),
            ("PUT", "/api/brand") => json!({
                "name": "Shop", "voice": "calm", "colours": { "accent": "#6b1fb8" },
                "links": [{ "label": "Home", "url": "https://shop.example/" }], "avoid": ["cheap"],
            }),
            ("POST", "/api/campaigns") => json!({
                "name": "Course", "brief": { "goal": "Sell the course" },
            }),
            ("PATCH", "/api/campaigns/{id}") => json!({
                "send_at": "", "timezone": "Europe/Berlin", "per_minute": 60,
            }),
            ("POST", "/api/campaigns/{id}/versions") => json!({
                "base": 1, "content": { "subjects": ["News"], "body": "Hello" },
            }),
            ("POST", "/api/campaigns/{id}/approve") => json!({ "hash": "0123abcd" }),
            ("POST", "/api/campaigns/{id}/reject") => json!({ "reason": "too loud" }),
            ("POST", "/api/customers/signup") => {
                json!({ "email": "ada@example.com", "name": "Ada", "company": "Engines" })
            }
            ("POST", "/api/customers/verify-email") => json!({ "token": "x".repeat(43) }),
            ("PUT", "/api/customers/{id}") => json!({
                "version": 1, "name": "Ada", "phone": "+442079460018", "company": "Engines",
                "website": "https://example.com", "industry": "steam", "company_size": "2-10",
                "country": "GB", "timezone": "Europe/London", "language": "en", "audience": "a",
                "goals": "b", "role": "operator", "status": "active",
            }),
            ("POST", "/api/customers/{id}/notes") => json!({ "text": "called" }),
            _ => panic!("{} {} takes a body: add one that is valid here", self.method, self.path),
        }
    }

    fn request(&self, server: &Server, role: Option<Role>, path: &str) -> RequestBuilder {
        match role {
            Some(role) => server.request_as(role, self.method.clone(), path),
            None => server.request(self.method.clone(), path),
        }
    }
}

pub(crate) async fn operations(server: &Server) -> Vec<Operation> {
    let document = server.get("/openapi.json").await;
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
            if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str()) {
                continue;
            }
            let open = operation["security"]
                .as_array()
                .is_some_and(|ways| ways.iter().any(|way| way == &json!({})));
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let query = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| {
                    let kind = parameter["schema"]["type"].to_string();
                    (parameter["name"].as_str().unwrap().to_owned(), kind)
                })
                .collect();
            found.push(Operation {
                method,
                path: path.clone(),
                open,
                has_body: operation.get("requestBody").is_some(),
                query,
            });
        }
    }
    assert!(found.len() >= 10, "the description lists too little: {found:#?}");
    found
}

/// All that a refused request could have changed.
pub(crate) async fn state(server: &Server) -> Vec<Value> {
    let mut state = Vec::new();
    for path in [
        "/api/diagnostics/errors?hours=8000&limit=200",
        "/api/diagnostics/groups?limit=200",
        "/api/chat/sessions?limit=200",
        "/api/auto-repair/actions?limit=200",
        "/api/probes",
        "/api/apps?archived=true",
        "/api/deploys?limit=200",
        "/api/accounts",
        "/api/customers",
        "/api/invitations",
        "/api/contacts",
        "/api/webhook/credentials",
        "/api/hooks",
        "/api/campaigns",
        "/api/brand",
        "/api/conversations",
        "/api/chat-logs",
        "/api/notifications/channels",
        "/api/notifications/maintenance",
        "/api/business/notification-phone",
    ] {
        let mut answer = server.get(path).await;
        // Counts of the last 24 hours move on by themselves when an hour is full.
        for group in answer["groups"].as_array_mut().into_iter().flatten() {
            group.as_object_mut().unwrap().remove("buckets");
        }
        state.push(answer);
    }
    state
}

pub(crate) async fn patient(database: &Database) -> Server {
    let setup = Setup::new(database).env("LUX_REQUESTS_PER_MINUTE", "1000000");
    setup.env("LUX_GUESSES_PER_MINUTE", "1000000").start().await
}

on_both!(refusals_are_problems_and_change_nothing);
async fn refusals_are_problems_and_change_nothing(database: Database) {
    let server = patient(&database).await;
    let event = json!({ "error_type": "KeyError", "error_message": "price", "endpoint": "/buy" });
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    let before = state(&server).await;
    for operation in operations(&server).await {
        if authority::route(&operation).needs == authority::Needs::Webhook {
            // It takes no token and many forms of bodies: `contacts::webhook` sends them.
            continue;
        }
        without_authority(&server, &operation).await;
        if operation.has_id() {
            with_unknown_ids(&server, &operation).await;
        }
        if operation.has_body && !operation.speaks_mcp() {
            with_bad_bodies(&server, &operation).await;
        }
        with_bad_queries(&server, &operation).await;
    }
    assert_eq!(state(&server).await, before, "a refused request changed something");
}

async fn without_authority(server: &Server, operation: &Operation) {
    let path = operation.nowhere();
    let body = |request: RequestBuilder| {
        if operation.has_body { request.json(&operation.body()) } else { request }
    };
    if operation.open && operation.has_body {
        // There is nobody to be refused; their bodies are looked at below.
        return;
    }
    if operation.open {
        // /metrics is for this host's own programs: not through a proxy without a token.
        let answer = Answer::of(operation.request(server, None, &path)).await;
        assert_eq!(answer.status, 200, "{operation:?}: {answer:?}");
        return;
    }
    let strangers = [
        None,
        Some("Bearer lux_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
        Some(format!("Basic {}", server.token(Role::Admin))),
        Some("Bearer ".to_owned() + &"x".repeat(5000)),
    ];
    for stranger in strangers {
        let mut request = operation.request(server, None, &path);
        if let Some(header) = stranger {
            request = request.header("authorization", header);
        }
        let answer = Answer::of(body(request)).await;
        operation.refused(&answer, 401);
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{operation:?}");
    }
    // Who may not call at all does not get to hear what is wrong with a body.
    if operation.has_body {
        let answer = Answer::of(operation.request(server, None, &path).body("{")).await;
        operation.refused(&answer, 401);
    }
    let needs = authority::route(operation).needs;
    for role in Role::ALL {
        let request = body(operation.request(server, Some(role), &path));
        if needs.allows(role) {
            // Streams do not end: only the head is looked at, and of requests that could
            // change something only those are sent that fail for another reason.
            if operation.has_body && !operation.has_id() {
                continue;
            }
            let status = request.send().await.unwrap().status();
            assert!(status != 403 && status != 401, "{operation:?} as {role:?}: {status}");
            assert!(!status.is_server_error(), "{operation:?} as {role:?}: {status}");
        } else {
            operation.refused(&Answer::of(request).await, 403);
        }
    }
}

async fn with_unknown_ids(server: &Server, operation: &Operation) {
    for id in
        ["987654321", "0", "-1", "9223372036854775807", "9223372036854775808", "x", "1'--", "%00"]
    {
        let mut request = operation.request(server, Some(Role::Admin), &operation.with_id(id));
        if operation.has_body {
            request = request.json(&operation.body());
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 404, "{operation:?} with id {id}: {answer:?}");
        operation.refused(&answer, 404);
    }
}

async fn with_bad_bodies(server: &Server, operation: &Operation) {
    let path = operation.with_id("1");
    let request = || operation.request(server, Some(Role::Admin), &path);
    let as_json = |body: Vec<u8>| request().header(CONTENT_TYPE, "application/json").body(body);
    let deep = "[".repeat(100_000);
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"null".to_vec(),
        b"42".to_vec(),
        b"\"text\"".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"{\"\xff\xfe\": 1}".to_vec(),
        b"\0\0\0\0".to_vec(),
        deep.clone().into_bytes(),
        format!("{{\"message\": {deep}").into_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        if shown == "{}" && operation.may_be_empty() {
            continue;
        }
        let answer = Answer::of(as_json(body)).await;
        assert_eq!(answer.status, 400, "{operation:?} with body {shown}: {answer:?}");
        operation.refused(&answer, 400);
    }
    // Every field of the valid body with a value of another type.
    let valid = operation.body();
    for (field, value) in valid.as_object().unwrap() {
        for wrong in [json!({ "a": [1] }), json!([[true]]), json!(1.5), json!(true), json!(-7)] {
            if wrong.is_number() && value.is_number() {
                continue;
            }
            let mut body = valid.clone();
            body[field] = wrong.clone();
            let answer = Answer::of(as_json(body.to_string().into_bytes())).await;
            assert_eq!(answer.status, 400, "{operation:?}, {field} = {wrong}: {answer:?}");
            operation.refused(&answer, 400);
        }
    }
    // Nor can a field be written that is not the caller's to write.
    if !operation.overlooks_fields() {
        for field in ["organization_id", "is_admin", "id"] {
            let mut body = valid.clone();
            body[field] = json!(2);
            let answer = Answer::of(as_json(body.to_string().into_bytes())).await;
            assert_eq!(answer.status, 400, "{operation:?} with {field}: {answer:?}");
        }
    }
    let text = operation.body().to_string();
    operation.refused(&Answer::of(request().body(text.clone())).await, 415);
    let plain = request().header(CONTENT_TYPE, "text/plain").body(text);
    operation.refused(&Answer::of(plain).await, 415);

    // The server does not take the rest of such a body: the connection is of no more use.
    let request = || request().header("connection", "close");
    let as_json = |body: Vec<u8>| request().header(CONTENT_TYPE, "application/json").body(body);
    let large = format!("{{\"error_type\": \"{}\"}}", "x".repeat(3 << 20));
    // The server may answer, and close, before it was sent everything.
    if let Ok(answer) = Answer::try_of(as_json(large.into_bytes())).await {
        operation.refused(&answer, 413);
    }
    // Without a length in its head, too.
    let chunks = (0..400).map(|_| Ok::<_, std::io::Error>(vec![b' '; 10_000]));
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let endless = request().header(CONTENT_TYPE, "application/json").body(stream);
    if let Ok(answer) = Answer::try_of(endless).await {
        operation.refused(&answer, 413);
    }
}

async fn with_bad_queries(server: &Server, operation: &Operation) {
    for (name, kind) in &operation.query {
        let mut values = Vec::new();
        if kind.contains("integer") {
            values.extend(["x", "1.5", "99999999999999999999", "%00"]);
        }
        if kind.contains("boolean") {
            values.extend(["maybe", "2"]);
        }
        if name == "cursor" {
            values.extend(["!!", "bm8", "eyJhIjoxfQ"]);
        }
        for value in values {
            let path = format!("{}?{name}={value}", operation.with_id("1"));
            let request = operation.request(server, Some(Role::Admin), &path);
            let answer = Answer::of(request).await;
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            operation.refused(&answer, 400);
        }
    }
}

#[tokio::test]
async fn unknown_addresses_and_methods() {
    let server = patient(&Database::sqlite()).await;
    for path in ["/nothing", "/api", "/api/diagnostics/nothing", "/healthz/x", "//", "/..%2f"] {
        for role in [None, Some(Role::Admin)] {
            let request = match role {
                Some(role) => server.request_as(role, Method::GET, path),
                None => server.request(Method::GET, path),
            };
            Answer::of(request).await.problem(404);
        }
    }
    let answer = Answer::of(server.request_as(Role::Read, Method::GET, "/v1/engines")).await;
    answer.openai_error(404);
    let all = operations(&server).await;
    let put = |path: &str| all.iter().any(|it| it.method == Method::PUT && it.path == path);
    for operation in all.iter().filter(|it| !put(&it.path)) {
        let request = server.request_as(Role::Admin, Method::PUT, &operation.nowhere());
        let answer = Answer::of(request).await;
        operation.refused(&answer, 405);
        let allow = answer.headers["allow"].to_str().unwrap().to_owned();
        assert!(allow.contains(operation.method.as_str()), "{operation:?}: Allow: {allow}");
    }
}

#[tokio::test]
async fn health_needs_no_token_but_metrics_are_not_for_everybody() {
    let server = patient(&Database::sqlite()).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = Answer::of(server.request(Method::GET, path)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let proxied = |request: RequestBuilder| request.header("x-forwarded-for", "203.0.113.9");
    Answer::of(proxied(server.request(Method::GET, "/metrics"))).await.problem(401);
    let answer = Answer::of(proxied(server.request_as(Role::Read, Method::GET, "/metrics"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text.contains("lux_http_requests_total"), "{answer:?}");
    let answer = Answer::of(proxied(server.request(Method::GET, "/readyz"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_callers_request_id_is_kept_if_it_is_harmless() {
    let server = patient(&Database::sqlite()).await;
    let ask = |id: &str| server.request(Method::GET, "/nothing").header("x-request-id", id);
    let answer = Answer::of(ask("shop-42")).await;
    answer.problem(404);
    assert_eq!(answer.json()["request_id"], "shop-42");
    for hostile in ["a b", "", &"x".repeat(65)] {
        let answer = Answer::of(ask(hostile)).await;
        answer.problem(404);
        assert_ne!(answer.json()["request_id"], hostile);
    }
}

#[tokio::test]
async fn callers_have_limits_of_their_own() {
    let setup = Setup::new(&Database::sqlite()).env("LUX_REQUESTS_PER_MINUTE", "5");
    let server = setup.env("LUX_EVENTS_PER_MINUTE", "3").start().await;
    let as_role = |role, path| Answer::of(server.request_as(role, Method::GET, path));
    for _ in 0..5 {
        let answer = as_role(Role::Read, "/api/diagnostics/groups").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let answer = as_role(Role::Read, "/api/diagnostics/groups").await;
    answer.problem(429);
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Another token, and what has no token, go on.
    let answer = as_role(Role::Operator, "/api/diagnostics/groups").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(Answer::of(server.request(Method::GET, "/healthz")).await.status, 200);
    // Reports have a budget of their own.
    let event = json!({ "error_type": "E", "error_message": "m" });
    let report =
        || Answer::of(server.request_as(Role::Ingest, Method::POST, "/api/errors").json(&event));
    for _ in 0..3 {
        assert_eq!(report().await.status, 201);
    }
    report().await.problem(429);
}

#[tokio::test]
async fn an_event_stream_is_refused_like_everything_else() {
    let server = patient(&Database::sqlite()).await;
    let ask = |body: &str| {
        server
            .request_as(Role::Admin, Method::POST, "/chatbot/send")
            .header(ACCEPT, "text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_owned())
    };
    Answer::of(ask("{")).await.problem(400);
    Answer::of(ask(r#"{"message": ""}"#)).await.problem(400);
    Answer::of(ask(r#"{"message": "x", "action": "destroy"}"#)).await.problem(400);
    Answer::of(ask(r#"{"message": "x", "session_id": 987654321}"#)).await.problem(404);
    let long = json!({ "message": "x".repeat(40_000) }).to_string();
    Answer::of(ask(&long)).await.problem(413);
}
