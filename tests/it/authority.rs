//! Who may call what: every route is called with every kind of credentials and none, and what
//! happens is compared with one table, `authority.txt`. What belongs to another organization
//! is not there.

use std::{collections::BTreeMap, fs, path::Path};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{
    Method, RequestBuilder,
    header::{CONTENT_TYPE, COOKIE},
};
use serde_json::{Value, json};

use crate::{
    contract::{Operation, operations, patient, state},
    support::{Answer, Cluster, Database, Role, Server, on_both, repository, run},
};

/// Whom the table lets call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Open,
    Local,
    Key,
    Page,
    Webhook,
    Known,
    Customer,
    Ingest,
    Reader,
    Operator,
    Admin,
}

impl Needs {
    fn named(name: &str) -> Self {
        match name {
            "open" => Self::Open,
            "local" => Self::Local,
            "key" => Self::Key,
            "page" => Self::Page,
            "webhook" => Self::Webhook,
            "known" => Self::Known,
            "customer" => Self::Customer,
            "ingest" => Self::Ingest,
            "reader" => Self::Reader,
            "operator" => Self::Operator,
            "admin" => Self::Admin,
            other => panic!("authority.txt: {other} is none of the words at its top"),
        }
    }

    /// Whether a person of a role may.
    fn allows_person(self, role: &str) -> bool {
        match role {
            "admin" => self.allows(Role::Admin),
            "operator" => self.allows(Role::Operator),
            // What is about the caller alone is for customers, too.
            _ => matches!(self, Self::Open | Self::Local | Self::Known | Self::Customer),
        }
    }

    pub(crate) fn allows(self, role: Role) -> bool {
        match self {
            Self::Open | Self::Local | Self::Known => true,
            Self::Key | Self::Page | Self::Webhook => false,
            Self::Ingest => role != Role::Read,
            Self::Reader => role != Role::Ingest,
            // No token is a customer's.
            Self::Customer | Self::Operator => matches!(role, Role::Operator | Role::Admin),
            Self::Admin => role == Role::Admin,
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) needs: Needs,
    /// Who is not known is led to the sign-in, and refusals are pages.
    pub(crate) page: bool,
    /// The largest body; `None` where there is none, or its bounds are others.
    body: Option<usize>,
}

/// The table, by method and path.
pub(crate) fn table() -> BTreeMap<(String, String), Route> {
    let text = fs::read_to_string(repository("tests/it/authority.txt")).unwrap();
    let mut table = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [method, path, needs, body] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("authority.txt: not four words: {line}");
        };
        let page = needs.strip_prefix("page:");
        let needs = Needs::named(page.unwrap_or(needs));
        let route = Route { needs, page: page.is_some(), body: body.parse().ok() };
        let before = table.insert((method.to_owned(), path.to_owned()), route);
        assert!(before.is_none(), "authority.txt lists {method} {path} twice");
    }
    table
}

/// The table's line of an operation.
pub(crate) fn route(operation: &Operation) -> Route {
    let key = (operation.method.to_string(), operation.path.clone());
    table().remove(&key).unwrap_or_else(|| {
        panic!("{} {} is not in tests/it/authority.txt", operation.method, operation.path)
    })
}

#[tokio::test]
async fn the_table_lists_what_there_is_and_nothing_else() {
    let server = patient(&Database::sqlite()).await;
    let mut table = table();
    for operation in operations(&server).await {
        let line = route(&operation);
        assert!(line.needs != Needs::Key, "{operation:?}: keys are for SDKs");
        assert_eq!(line.body.is_some(), operation.has_body, "{operation:?}: its body");
        table.remove(&(operation.method.to_string(), operation.path.clone()));
    }
    // What is not described stands in the source.
    let mut undescribed = Vec::new();
    routes_in(&repository("src"), &mut undescribed);
    assert!(undescribed.len() >= 8, "{undescribed:?}");
    for path in undescribed {
        let before = table.len();
        table.retain(|(_, listed), _| *listed != path);
        assert!(table.len() < before, "{path} is served and not in tests/it/authority.txt");
    }
    assert!(table.is_empty(), "not served: {table:#?}");
}

/// The paths of `.route("…")` in the server's source.
fn routes_in(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("src/cli") {
            continue;
        }
        if path.is_dir() {
            routes_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let calls = text.split(".route(").skip(1);
            found.extend(calls.map(|call| {
                let literal = call.trim_start().strip_prefix('"');
                let literal = literal.and_then(|rest| rest.split('"').next());
                literal.unwrap_or_else(|| panic!("{}: a route by name", path.display())).to_owned()
            }));
        }
    }
}

/// What came of a call, as far as it is about who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// 401
    Unknown,
    /// 403
    Denied,
    In,
}

async fn came(operation: &Operation, request: RequestBuilder) -> Came {
    // Nothing of it is done: those who are let in hear what is wrong with the body or the id.
    let request = if operation.has_body {
        request.header(CONTENT_TYPE, "application/json").body("{")
    } else {
        request
    };
    // Streams do not end: only the head is looked at.
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    if matches!(status, 401 | 403) {
        let answer =
            Answer { status: response.status(), headers, text: response.text().await.unwrap() };
        operation.refused(&answer, status);
    }
    match status {
        401 => Came::Unknown,
        403 => Came::Denied,
        500.. => panic!("{operation:?}: {status}"),
        _ => Came::In,
    }
}

/// Signs somebody in; gives what their browser sends as `Cookie`.
pub(crate) async fn person(server: &Server, role: &str) -> String {
    let cookie = uuid::Uuid::now_v7().simple().to_string() + "-of-someone";
    let at = "'2026-11-20T10:00:00+00:00'";
    let ends = "'2046-11-20T10:00:00+00:00'";
    let account = format!(
        "insert into account (organization_id, name, role, created_at)
         values (1, '{role}', '{role}', {at})"
    );
    let session = format!(
        "insert into session (organization_id, account_id, hash, created_at, seen_at, idle_ends_at, ends_at)
         select 1, max(id), '{}', {at}, {ends}, {ends}, {ends} from account
         where organization_id = 1",
        hash(&cookie)
    );
    for statement in [account, session] {
        server.database().execute(&server.data(), &statement).await;
    }
    format!("lux-dev={cookie}")
}

/// What is kept of a secret.
fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref())
}

/// Tokens that were good once.
fn ended(server: &Server) -> [(&'static str, String); 2] {
    let make = |more: &[&str]| {
        let mut command = server.command();
        command.args(["token", "create", "--role", "admin", "--name", "ended"]).args(more);
        let said = run(&mut command);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out.trim().to_owned()
    };
    let expired = make(&["--expires-in", "0s"]);
    let revoked = make(&[]);
    let mut list = server.command();
    list.args(["token", "list", "--json"]);
    let tokens = run(&mut list).json();
    let row = tokens
        .as_array()
        .unwrap()
        .iter()
        .find(|row| revoked.starts_with(row["prefix"].as_str().unwrap()));
    let id = row.unwrap()["id"].to_string();
    let mut revoke = server.command();
    revoke.args(["token", "revoke", &id]);
    assert_eq!(run(&mut revoke).code, Some(0));
    [("revoked", revoked), ("expired", expired)]
}

on_both!(every_route_lets_in_whom_the_table_says);
async fn every_route_lets_in_whom_the_table_says(database: Database) {
    let server = patient(&database).await;
    let ended = ended(&server);
    let mut people = Vec::new();
    for role in ["admin", "operator", "customer"] {
        people.push((role, person(&server, role).await));
    }
    let unknown = format!("lux-dev={}", "U".repeat(43));
    let mut wrong = Vec::new();
    for operation in operations(&server).await {
        let needs = route(&operation).needs;
        let everybody = matches!(needs, Needs::Open | Needs::Local);
        let path = operation.nowhere();
        let ask = || server.request(operation.method.clone(), &path);
        let mut expect = |who: &str, expected: Came, found: Came| {
            if found != expected {
                let route = format!("{} {}", operation.method, operation.path);
                wrong.push(format!("{route} as {who}: {found:?} instead of {expected:?}"));
            }
        };
        let stranger = if everybody { Came::In } else { Came::Unknown };
        expect("nobody", stranger, came(&operation, ask()).await);
        let garbage = format!("lux_{}", "A".repeat(43));
        expect("garbage", stranger, came(&operation, ask().bearer_auth(garbage)).await);
        // Where a token belongs is its header: addresses stand in logs.
        let token = server.token(Role::Admin);
        let in_query = format!("{path}?token={token}&access_token={token}");
        let in_query = server.request(operation.method.clone(), &in_query);
        expect("a token in the query", stranger, came(&operation, in_query).await);
        for (what, token) in &ended {
            expect(what, stranger, came(&operation, ask().bearer_auth(token)).await);
        }
        for role in Role::ALL {
            let expected = match needs {
                // Tokens and sessions are nothing there.
                Needs::Webhook => Came::Unknown,
                needs if needs.allows(role) => Came::In,
                _ => Came::Denied,
            };
            let request = server.request_as(role, operation.method.clone(), &path);
            expect(&format!("{role:?}"), expected, came(&operation, request).await);
        }
        for (role, cookie) in &people {
            let expected = match needs {
                Needs::Webhook => Came::Unknown,
                needs if needs.allows_person(role) => Came::In,
                _ => Came::Denied,
            };
            let request = ask().header(COOKIE, cookie).header("sec-fetch-site", "same-origin");
            expect(&format!("a person, {role}"), expected, came(&operation, request).await);
        }
        let request = ask().header(COOKIE, &unknown).header("sec-fetch-site", "same-origin");
        expect("an unknown cookie", stranger, came(&operation, request).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let log = server.log();
    for role in Role::ALL {
        assert!(!log.contains(server.token(role)), "a token stands in the log");
    }
}

on_both!(pages_let_in_whom_the_table_says);
async fn pages_let_in_whom_the_table_says(database: Database) {
    let server = patient(&database).await;
    let mut people = Vec::new();
    for role in ["admin", "operator", "customer"] {
        people.push((role, person(&server, role).await));
    }
    make_another_organization(&server).await;
    let mut wrong = Vec::new();
    let mut expect = |what: String, holds: bool, found: &Answer| {
        if !holds {
            wrong.push(format!("{what}: {} {:.200}", found.status, found.text));
        }
    };
    let head = |status, headers| Answer { status, headers, text: String::new() };
    let still = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let still = still.no_proxy().build().unwrap();
    for ((method, path), route) in table().into_iter().filter(|(_, route)| route.page) {
        let verb = Method::from_bytes(method.as_bytes()).unwrap();
        let name = format!("{method} {path}");
        let ask = |path: &str| {
            let request = server.request(verb.clone(), path).header("accept", "text/html");
            match method.as_str() {
                "GET" => request,
                _ => request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body("x=1"),
            }
        };
        let at = |id: &str| path.replace("{id}", id).replace("{key}", id);
        let nowhere = at("987654321");
        let sent = still.execute(ask(&nowhere).build().unwrap()).await.unwrap();
        let nobody = head(sent.status(), sent.headers().clone());
        let led = nobody.headers.get("location").map(|it| it.to_str().unwrap().to_owned());
        let led = led.is_some_and(|it| it.starts_with("/auth/sign-in"));
        expect(format!("{name} as nobody"), nobody.status == 303 && led, &nobody);
        for (role, cookie) in &people {
            let ask = |path: &str| {
                let request = ask(path).header(COOKIE, cookie);
                request.header("sec-fetch-site", "same-origin")
            };
            // Streams do not end: only the head is looked at.
            let response = still.execute(ask(&nowhere).build().unwrap()).await.unwrap();
            let allowed = route.needs.allows_person(role);
            let status = response.status();
            if status.is_success() || status.is_redirection() {
                let away = response.headers().get("location");
                let away = away.is_some_and(|it| it.to_str().unwrap().starts_with("/auth/sign-in"));
                let found = head(status, response.headers().clone());
                expect(format!("{name} as {role}, let in"), allowed && !away, &found);
                continue;
            }
            let found = Answer {
                status,
                headers: response.headers().clone(),
                text: response.text().await.unwrap(),
            };
            let html = found.headers["content-type"].to_str().unwrap().starts_with("text/html");
            expect(format!("{name} as {role}, a page"), html, &found);
            expect(format!("{name} as {role}"), (found.status != 403) == allowed, &found);
            expect(format!("{name} as {role}"), !found.status.is_server_error(), &found);
            if *role == "admin" && path.contains("{id}") {
                expect(format!("{name}, unknown"), found.status == 404, &found);
                let theirs = Answer::of(ask(&at(THEIRS))).await;
                let hidden = theirs.status == 404 && !theirs.text.contains(CANARY);
                expect(format!("{name}, of others"), hidden, &theirs);
            }
        }
        // A form on another site's page does nothing.
        if method != "GET" {
            let request = ask(&nowhere).header(COOKIE, &people[0].1);
            let found = Answer::of(request.header("sec-fetch-site", "cross-site")).await;
            expect(format!("{name} from elsewhere"), found.status == 403, &found);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn sdks_are_known_by_their_key_and_by_nothing_else() {
    let server = patient(&Database::sqlite()).await;
    let keys = table().into_iter().filter(|(_, route)| route.needs == Needs::Key);
    for ((method, path), _) in keys.filter(|((method, _), _)| method != "OPTIONS") {
        let path = path.replace("{app}", "987654321");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for role in [None, Some(Role::Admin)] {
            let request = match role {
                Some(role) => server.request_as(role, method.clone(), &path),
                None => server.request(method.clone(), &path),
            };
            let answer = Answer::of(request.body("{}\n")).await;
            assert!(
                [401, 403].contains(&answer.status.as_u16()) || answer.status == 501,
                "{method} {path}: {answer:?}"
            );
        }
    }
}

/// With the database away only what needs it can notice: who brings nothing is told so before.
#[tokio::test]
async fn who_brings_nothing_costs_no_database() {
    let Some(cluster) = Cluster::start() else { return };
    let server = patient(&Database::of(&cluster).await).await;
    let operations = operations(&server).await;
    cluster.stop();
    for operation in operations {
        if matches!(route(&operation).needs, Needs::Open | Needs::Local) {
            continue;
        }
        let request = server.request(operation.method.clone(), &operation.nowhere());
        assert_eq!(came(&operation, request).await, Came::Unknown, "{operation:?}");
    }
}

#[tokio::test]
async fn bodies_have_bounds() {
    let server = patient(&Database::sqlite()).await;
    for operation in operations(&server).await {
        let Route { needs, body: Some(limit), .. } = route(&operation) else { continue };
        if needs == Needs::Webhook {
            continue;
        }
        let path = operation.with_id("987654321");
        let ask = |length: usize| {
            let mut body = operation.body().to_string();
            body.push_str(&" ".repeat(length - body.len()));
            let request = server.request_as(Role::Admin, operation.method.clone(), &path);
            let request = request.header("connection", "close");
            Answer::try_of(request.header(CONTENT_TYPE, "application/json").body(body))
        };
        let answer = ask(limit).await.unwrap();
        assert_ne!(answer.status, 413, "{operation:?} with {limit} bytes: {answer:?}");
        assert!(!answer.status.is_server_error(), "{operation:?}: {answer:?}");
        // The server may answer, and close, before it was sent everything.
        if let Ok(answer) = ask(limit + 1).await {
            operation.refused(&answer, 413);
        }
    }
}

/// Numbers of what belongs to somebody else; nothing of the first organization has them.
const THEIRS: &str = "777001";
/// Their application's key's number.
const THEIR_KEY: &str = "777002";
/// Stands in everything that is theirs.
const CANARY: &str = "canary777";

/// Makes a second organization with one of everything; gives an admin's token of it.
async fn make_another_organization(server: &Server) -> String {
    let token = format!("lux_{}", "B".repeat(43));
    let hash = hash(&token);
    let at = "'2026-11-20T10:00:00+00:00'";
    let org = "(select max(id) from organization)";
    let id = THEIRS;
    let named = format!("'{CANARY}'");
    let many = "'{}'";
    let statements = [
        format!("insert into organization (name) values ({named})"),
        format!(
            "insert into api_token (id, organization_id, name, role, prefix, hash, created_at)
             values ({id}, {org}, {named}, 'admin', 'lux_BBBBBB', '{hash}', {at})"
        ),
        format!(
            "insert into app (id, organization_id, name, allowed_origins, scrub, created_at)
             values ({id}, {org}, {named}, '[]', '{{\"emails\":false,\"keys\":[]}}', {at})"
        ),
        format!(
            "insert into app_key (id, app_id, public_key, name, created_at)
             values ({THEIR_KEY}, {id}, '{}', {named}, {at})",
            "7".repeat(32)
        ),
        format!(
            "insert into error_group (id, organization_id, app, fingerprint, title, error_type,
                 cause_key, severity, count, first_seen, last_seen, status_at, seen_at)
             values ({id}, {org}, {named}, '2:{CANARY}', {named}, {named}, {named}, 'error', 1,
                 {at}, {at}, {at}, {at})"
        ),
        format!(
            "insert into error_log (id, error_type, error_message, created_at, organization_id, app, group_id)
             values ({id}, {named}, {named}, {at}, {org}, {named}, {id})"
        ),
        format!(
            "insert into repair_run (id, organization_id, trigger, requested_by, scope, status, created_at)
             values ({id}, {org}, 'api', {named}, {many}, 'done', {at})"
        ),
        format!(
            "insert into action_run (id, organization_id, run_id, cause_id, cause, action, title,
                 params, argv, env, timeout_ms, policy, risk, hash, target, status, proposed_by,
                 proposed_at, expires_at)
             values ({id}, {org}, {id}, {id}, {named}, {named}, {named}, {many}, '[\"/bin/true\"]',
                 '[]', 1000, 'approve', 'reversible', '0123abcd', 't', 'proposed', {named}, {at},
                 '2036-11-20T10:00:00+00:00')"
        ),
        format!(
            "insert into probe (id, organization_id, name, definition, made_by, created_at)
             values ({id}, {org}, {named}, '{{\"name\":\"{CANARY}\",\"kind\":\"port\",\"target\":\"127.0.0.1:9\"}}', {named}, {at})"
        ),
        format!(
            "insert into deploy (id, organization_id, app, release, at, source, made_by, created_at)
             values ({id}, {org}, {named}, {named}, {at}, 'api', {named}, {at})"
        ),
        format!(
            "insert into model_call (id, organization_id, at, purpose, why, made_for, model, host,
                 result, attempts, bytes_out, bytes_in, tokens_in, tokens_out, estimated, redacted)
             values ({id}, {org}, {at}, 'chat', {named}, {named}, 'm', 'h', 'told', 1, 1, 1, 1, 1, false, {many})"
        ),
        format!(
            "insert into account (id, organization_id, name, role, created_at)
             values ({id}, {org}, {named}, 'customer', {at})"
        ),
        format!(
            "insert into conversation (id, organization_id, customer_id, subject, message_count,
                 created_at, last_message_at)
             values ({id}, {org}, {id}, {named}, 1, {at}, {at})"
        ),
        format!(
            "insert into conversation_message (id, conversation_id, author, author_id, text,
                 created_at)
             values ({id}, {id}, 'customer', {id}, {named}, {at})"
        ),
        format!(
            "insert into session (id, organization_id, account_id, hash, user_agent, created_at, seen_at, idle_ends_at, ends_at)
             values ({id}, {org}, {id}, {named}, {named}, {at}, {at}, '2046-11-20T10:00:00+00:00', '2046-11-20T10:00:00+00:00')"
        ),
        format!(
            "update account set email = '{CANARY}@example.com', email_key = '{CANARY}@example.com'
             where id = {id}"
        ),
        format!(
            "insert into customer_note (id, organization_id, account_id, text, made_by, created_at)
             values ({id}, {org}, {id}, {named}, {named}, {at})"
        ),
        format!(
            "insert into customer_attachment (id, organization_id, account_id, name, media_type,
                 size, made_by, created_at)
             values ({id}, {org}, {id}, {named}, 'text/plain', 1, {named}, {at})"
        ),
        format!(
            "insert into customer_attachment_bytes (attachment_id, bytes) values ({id}, {named})"
        ),
        format!(
            "insert into invitation (id, organization_id, role, email, made_by, created_at, expires_at)
             values ({id}, {org}, 'operator', {named}, {named}, {at}, '2046-11-20T10:00:00+00:00')"
        ),
        format!(
            "insert into campaign (id, organization_id, name, version, made_by, created_at, updated_at)
             values ({id}, {org}, {named}, 1, {named}, {at}, {at})"
        ),
        format!(
            "insert into chat_session (id, organization_id, owner, title, created_at, last_message_at)
             values ({id}, {org}, 'token {id}', {named}, {at}, {at})"
        ),
        format!(
            "insert into contact (id, organization_id, email, email_key, first_name, created_at,
                 updated_at, active_at)
             values ({id}, {org}, '{CANARY}@example.com', '{CANARY}@example.com', {named}, {at},
                 {at}, {at})"
        ),
        format!(
            "insert into segment (id, organization_id, slug, name, made_by, created_at, updated_at)
             values ({id}, {org}, {named}, {named}, {named}, {at}, {at})"
        ),
        format!(
            "insert into contact_import (id, organization_id, name, host, size, settings, made_by,
                 created_at, updated_at)
             values ({id}, {org}, {named}, 'h', 1, '{{\"encoding\":\"UTF-8\",\"delimiter\":\",\",\"header\":true,\"columns\":[],\"tags\":[],\"source\":\"\",\"consent\":null}}', {named}, {at}, {at})"
        ),
        format!(
            "insert into webhook_credential (id, organization_id, name, username, secret_hash,
                 made_by, created_at)
             values ({id}, {org}, {named}, {named}, 'x', {named}, {at})"
        ),
        format!(
            "insert into hook (id, organization_id, row_name, event, target_sealed, target_shown,
                 target_hash, secret_sealed, made_by, created_at)
             values ({id}, {org}, {named}, 'contact.created', 'x', {named}, 'x', 'x', {named}, {at})"
        ),
        format!(
            "insert into call_log (id, organization_id, source, provider_call_id, started_at,
                 summary, content_hash, synced_at)
             values ({id}, {org}, 'highlevel', {named}, {at}, {named}, 'x', {at})"
        ),
        format!(
            "insert into sync_status (organization_id, service, asked_at, asked_by)
             values ({org}, {named}, {at}, {named})"
        ),
        format!(
            "insert into integration_delivery (id, organization_id, kind, occasion, title, status,
                 made_by, created_at)
             values ({id}, {org}, 'message', {named}, {named}, 'sent', {named}, {at})"
        ),
        format!(
            "insert into notify_channel (id, organization_id, row_name, name, kind, enabled,
                 made_by, created_at)
             values ({id}, {org}, {named}, {named}, 'browser', false, {named}, {at})"
        ),
        format!(
            "insert into notify_event (id, organization_id, kind, occasion, title, at, state)
             values ({id}, {org}, 'error.opened', {named}, {named}, {at}, 'unwanted')"
        ),
        format!(
            "insert into notify_delivery (id, organization_id, channel_id, kind, occasion, title,
                 body, state, created_at)
             values ({id}, {org}, {id}, 'event', {named}, {named}, {named}, 'sent', {at})"
        ),
        format!(
            "insert into notify_window (id, organization_id, reason, from_at, to_at, made_by,
                 created_at)
             values ({id}, {org}, {named}, {at}, '2046-11-20T10:00:00+00:00', {named}, {at})"
        ),
        format!(
            "insert into notify_inbox (id, organization_id, severity, title, body, at)
             values ({id}, {org}, 'info', {named}, {named}, {at})"
        ),
        format!(
            "insert into agent_run (id, organization_id, agent, trigger, requested_by, status, created_at)
             values ({id}, {org}, 'analytics', 'manual', {named}, 'done', {at})"
        ),
        format!(
            "insert into campaign_version (campaign_id, version, subjects, body, engine, made_by, created_at)
             select {id}, version, '[\"{CANARY}\"]', {named}, 'person', {named}, {at}
             from (select 1 as version union all select 2 as version) two"
        ),
    ];
    for statement in statements {
        server.database().execute(&server.data(), &statement).await;
    }
    let folder = server.data().join("attachments/77");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("7".repeat(32)), CANARY).unwrap();
    token
}

/// The id of their thing that a path asks for.
fn theirs(path: &str) -> String {
    let path = path.replace("{key}", THEIR_KEY).replace("{name}", CANARY);
    path.replace("{id}", THEIRS)
        .replace("{user_id}", THEIRS)
        .replace("{attachment_id}", THEIRS)
        .replace("{email}", &format!("{CANARY}@example.com"))
        .replace("{provider}", "github")
        .replace("{duty}", "tickets")
        .replace("{version}", "2")
        .replace("{number}", "1")
}

on_both!(what_is_anothers_is_not_there);
async fn what_is_anothers_is_not_there(database: Database) {
    let server = patient(&database).await;
    let their_token = make_another_organization(&server).await;
    let as_them = |method: &Method, path: &str| {
        server.request(method.clone(), path).bearer_auth(&their_token)
    };
    let mut found = 0;
    let before = state_of_them(&server, &their_token).await;
    assert!(before.iter().all(|one| one.to_string().contains(CANARY)), "{before:#?}");
    for operation in operations(&server).await {
        let ask = |request: RequestBuilder| {
            if operation.has_body { request.json(&operation.body()) } else { request }
        };
        if ["{model}", "/logs/", "/api/agents/{key}"].iter().any(|it| operation.path.contains(it)) {
            // The model's name, the lines of this host and the eleven belong to no organization.
            continue;
        }
        let path = theirs(&operation.path);
        let request = ask(server.request_as(Role::Admin, operation.method.clone(), &path));
        if operation.path.starts_with("/api/integrations/{provider}") {
            // These are about the caller's own connections, of which a token has none, or those
            // of a named account.
            let is_refused = operation.path.ends_with("/connect");
            let answer = Answer::of(request.query(&[("user_id", THEIRS)])).await;
            assert_eq!(
                answer.status,
                if is_refused { 403 } else { 404 },
                "{operation:?}: {answer:?}"
            );
        } else if operation.has_id() {
            let answer = Answer::of(request).await;
            assert_eq!(answer.status, 404, "{operation:?}: {answer:?}");
            assert!(!answer.text.contains("777002"), "{answer:?}");
            // The same request by those whose it is finds something.
            if operation.method == Method::GET && !operation.path.starts_with("/api/chat") {
                let status = as_them(&operation.method, &path).send().await.unwrap().status();
                found += usize::from(status.is_success());
                assert!(status.is_success(), "{operation:?} as its owner: {status}");
            }
        } else if operation.method == Method::GET && !operation.is_stream() {
            let text = Answer::of(request).await.text;
            assert!(!text.contains(CANARY), "{operation:?}: {text}");
        }
    }
    assert!(found >= 10, "{found}");
    // Ids in bodies are no way in either.
    let id: i64 = THEIRS.parse().unwrap();
    for (method, path, body) in [
        (Method::PATCH, "/api/diagnostics/groups", json!({ "ids": [id], "status": "ignored" })),
        (Method::POST, "/api/diagnostics/groups/merge", json!({ "into": id, "groups": [id] })),
        (Method::POST, "/api/auto-repair/start", json!({ "group_ids": [id] })),
        (Method::POST, "/api/auto-repair/start", json!({ "error_id": id })),
        (Method::POST, "/chatbot/send", json!({ "message": "hello", "session_id": id })),
    ] {
        let request = server.request_as(Role::Admin, method, path).json(&body);
        let answer = Answer::of(request).await;
        assert!(!answer.text.contains(CANARY), "{path} {body}: {answer:?}");
        let nothing = answer.status.is_success() && nothing_was_done(&answer.json());
        assert!(answer.status.is_client_error() || nothing, "{path} {body}: {answer:?}");
    }
    assert_eq!(state_of_them(&server, &their_token).await, before, "theirs has changed");
    // And what is theirs knows nothing of ours.
    assert_eq!(
        server
            .post("/api/errors", &json!({ "error_type": "Ours", "error_message": "ours" }))
            .await
            .status,
        201
    );
    assert!(state(&server).await[0].to_string().contains("Ours"));
    assert!(!state_of_them(&server, &their_token).await[0].to_string().contains("Ours"));
}

/// Bulk changes name what they changed.
fn nothing_was_done(answer: &Value) -> bool {
    let changed = &answer["changed"];
    changed == &json!(0) || changed == &json!([])
}

async fn state_of_them(server: &Server, token: &str) -> Vec<Value> {
    let mut state = Vec::new();
    for path in [
        "/api/diagnostics/errors?hours=8000",
        "/api/diagnostics/groups",
        "/api/auto-repair/actions",
        "/api/auto-repair/runs",
        "/api/probes",
        "/api/apps",
        "/api/apps/777001/keys",
        "/api/deploys",
        "/api/model/ledger",
        "/api/accounts",
        "/api/accounts/777001/sessions",
        "/api/invitations",
        "/api/tokens",
    ] {
        let answer = Answer::of(server.request(Method::GET, path).bearer_auth(token)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        state.push(answer.json());
    }
    state
}
