//! Campaigns that go out, and what people and mail servers do with them: the real program, a real
//! mail server on loopback, kill -9.

mod bounces;
mod independent;
mod leaving;
mod sending;
pub(crate) mod sink;

use crate::support::{Database, Server, Setup, until};

use sink::Sink;

const AT: &str = "'2026-11-20T10:00:00+00:00'";

/// A program that gives its mail to the sink.
pub(crate) fn posting(database: &Database, sink: &Sink) -> Setup {
    posting_to(database, &format!("smtp://127.0.0.1:{}?tls=none", sink.port))
}

fn posting_to(database: &Database, url: &str) -> Setup {
    let toml = "[mail]\nretry = \"200ms\"\ntimeout = \"5s\"\nconnections = 8\nfrom_name = \"Shop\"\n\
                [[sources]]\nname = \"app\"\npath = \"/nonexistent/app.log\"\n";
    Setup::new(database)
        .toml(toml)
        .env("LUX_SMTP_URL", url)
        .env("LUX_MAIL_FROM", "shop@example.com")
        .env("LUX_PUBLIC_URL", "https://lux.example.com")
}

async fn sql(server: &Server, statement: &str) {
    server.database().execute(&server.data(), statement).await;
}

async fn column(server: &Server, query: &str) -> Vec<String> {
    server.database().column(&server.data(), query).await
}

async fn one(server: &Server, query: &str) -> String {
    let mut found = column(server, query).await;
    assert_eq!(found.len(), 1, "{query}: {found:?}");
    found.remove(0)
}

/// Contacts `u1@example.org` and so on, who agreed to mail.
async fn make_contacts(server: &Server, count: usize) {
    let insert = format!(
        "insert into contact (id, organization_id, email, email_key, email_domain, first_name,
             consent, created_at, updated_at, active_at)
         select n, 1, 'u' || n || '@example.org', 'u' || n || '@example.org', 'example.org',
             'U' || n, 'confirmed', {AT}, {AT}, {AT} from t"
    );
    sql(server, &numbers(server, count, &insert)).await;
}

/// A statement with a table `t` of numbers.
fn numbers(server: &Server, count: usize, insert: &str) -> String {
    let t = format!(
        "with recursive t(n) as (select 1 union all select n + 1 from t where n < {count})"
    );
    match server.database() {
        Database::Sqlite => format!("{t} {insert}"),
        // There the clause belongs to the select.
        Database::Postgres(_) => insert.replacen(" select ", &format!(" {t} select "), 1),
    }
}

/// An approved campaign to all contacts; `columns` are set besides.
async fn approve(server: &Server, id: i64, body: &str, columns: &str) {
    let body = body.replace('\'', "''");
    for statement in [
        format!(
            "insert into campaign (id, organization_id, name, status, version, approved_version,
                 made_by, created_at, updated_at)
             values ({id}, 1, 'Autumn', 'draft', 1, 1, 'rig', {AT}, {AT})"
        ),
        format!(
            "insert into campaign_version (campaign_id, version, subjects, body, engine, made_by, created_at)
             values ({id}, 1, '[\"Hello\"]', '{body}', 'person', 'rig', {AT})"
        ),
        format!(
            "insert into campaign_mail (organization_id, campaign_id, contact_id)
             select 1, {id}, id from contact order by id"
        ),
        format!("update campaign set status = 'approved' {columns} where id = {id}"),
    ] {
        sql(server, &statement).await;
    }
}

async fn status(server: &Server, id: i64) -> String {
    one(server, &format!("select status from campaign where id = {id}")).await
}

async fn until_status(server: &Server, id: i64, wanted: &str) {
    until(&format!("the campaign is {wanted}"), async || {
        (status(server, id).await == wanted).then_some(())
    })
    .await;
}

async fn counts(server: &Server, id: i64) -> serde_json::Value {
    server.get(&format!("/api/campaigns/{id}/sending")).await
}

/// "status: what was told" of the mail to a contact.
async fn fate(server: &Server, contact: i64) -> String {
    let query = format!(
        "select status || ': ' || told from campaign_mail where contact_id = {contact}
         order by id desc limit 1"
    );
    one(server, &query).await
}
