//! What `sqlx::query!` would check at compile time: every statement in the source names
//! tables and columns that exist, on both databases.

use std::{fs, path::Path};

use lux::db::Db;
use sqlx::{AssertSqlSafe, Executor, Row, SqlSafeStr};

use crate::both::{on_both, sqlite};

/// A statement's text, the database it is for (`None`: both), and its file.
struct Statement {
    sql: String,
    only: Option<&'static str>,
    file: String,
}

on_both! {
    async fn every_statement_prepares(url: &str) {
        let db = Db::connect(url, 2).await.unwrap();
        let statements = all();
        assert!(statements.len() > 40, "only {} statements were found", statements.len());
        let mut wrong = Vec::new();
        for statement in statements.iter().filter(|it| it.only.is_none_or(|only| only == db.name())) {
            if let Err(error) = prepare(&db, &statement.sql).await {
                wrong.push(format!("{}: {error}\n{}", statement.file, statement.sql));
            }
        }
        assert!(wrong.is_empty(), "on {}:\n\n{}", db.name(), wrong.join("\n\n"));
        assert!(prepare(&db, "select no_such_column from error_log").await.is_err());
    }
}

async fn prepare(db: &Db, sql: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
    match db {
        Db::Pg(pool) => pool.prepare(sql).await.map(drop),
        Db::Lite(pool, _) => pool.prepare(sql).await.map(drop),
    }
}

/// The first is bounded by a limit of its own; the second looks into the attributes of all contacts.
const WALKS: &[&str] = &["src/contacts/export/store.rs", "src/marketing/campaign/met.rs"];

/// Without statistics SQLite takes an organization for smaller than a list of ids, and walks all of
/// its rows to find those of the ids. A `+` before `organization_id`, or `cross join`, tells it.
#[tokio::test]
async fn sqlite_walks_no_organization_for_a_list() {
    let empty = sqlite().await.unwrap();
    let db = Db::connect(&empty.url, 2).await.unwrap();
    let Db::Lite(pool, _) = &db else { unreachable!("it is SQLite") };
    let walked = async |sql: &str| {
        // Of an insert, the plan shows how orphans would be looked for, of whom there are none.
        let reads = !sql.trim_start().starts_with("insert");
        let sql = AssertSqlSafe(format!("explain query plan {sql}"));
        let plan = pool.fetch_all(sql).await.unwrap();
        let steps = plan.iter().map(|row| row.get::<String, _>("detail"));
        let walk = |step: &String| {
            step.ends_with("(organization_id=?)")
                || reads && step.starts_with("SCAN ") && !step.contains("VIRTUAL TABLE")
        };
        steps.filter(walk).collect::<Vec<_>>()
    };
    let careless = "select id from contact where organization_id = $1
                        and id in (select value from json_each($2)) order by email_key";
    assert_eq!(walked(careless).await.len(), 1);
    // Worse: every organization's.
    assert_eq!(
        walked(&careless.replace("organ", "+organ").replace("id in", "+id in")).await.len(),
        1
    );
    let mut wrong = Vec::new();
    let statements = all();
    let lists = |it: &&Statement| it.only == Some("sqlite") && it.sql.contains("json_each");
    for statement in statements.iter().filter(lists) {
        let steps = walked(&statement.sql).await;
        let allowed = WALKS.iter().any(|file| statement.file.ends_with(file));
        if !steps.is_empty() && !allowed {
            wrong.push(format!("{}: {steps:?}\n{}", statement.file, statement.sql));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Tables of what people set up, and of what is open or under way: hundreds of rows.
const SMALL: &[&str] = &[
    "_sqlx_migrations",
    "api_token",
    "app",
    "audit_head",
    "campaign",
    "contact_import",
    "contact_unasked",
    "contact_unindexed",
    "customer_unindexed",
    "database_time",
    "error_storm",
    "hook",
    "integration",
    "integration_attempt",
    "lasting_key",
    "model_spending",
    "notify_channel",
    "notify_window",
    "oauth_grant",
    "organization",
    "schedule",
    "seal_key",
    "sqlite_master",
    "sync_status",
];

/// Statements that read a table from end to end, seldom enough: what they begin with, and when.
const SELDOM: &[(&str, &str)] = &[
    ("delete from agent_run", "once a day"),
    ("delete from integration_delivery", "once an hour"),
    ("delete from notify_delivery", "once an hour"),
    ("delete from notify_event", "once an hour"),
    ("select count(*) from chat_transcript where sealed like", "when a key is to go"),
    ("select count(*) from model_call where answer like", "when a key is to go"),
    ("select count(*) from model_call where sent like", "when a key is to go"),
    ("select count(*) from session where refresh_sealed like", "when a key is to go"),
    ("select count(*) from contact_consent", "for the report of a week"),
    ("select id, campaign_id from campaign_mail where claim =", "at a start after a crash"),
    ("select kind, count(*), max(finished_at), max(error) from job", "when an agent runs"),
];

/// What a request or a timer asks for has an index, whatever the number of rows.
#[tokio::test]
async fn nothing_that_grows_is_read_from_end_to_end() {
    let empty = sqlite().await.unwrap();
    let db = Db::connect(&empty.url, 2).await.unwrap();
    let Db::Lite(pool, _) = &db else { unreachable!("it is SQLite") };
    let walked = async |sql: &str| {
        let explain = AssertSqlSafe(format!("explain query plan {sql}"));
        let mut walked = Vec::new();
        for row in pool.fetch_all(explain).await.unwrap() {
            // "SCAN alias", and nothing about an index after it.
            let step: String = row.get("detail");
            let Some(name) = step.strip_prefix("SCAN ").filter(|it| !it.contains(' ')) else {
                continue;
            };
            // The name of a subquery stands behind a bracket.
            let table = sql.split([',', '(', ')']).find_map(|part| {
                let words: Vec<&str> = part.split_whitespace().collect();
                words.windows(2).enumerate().find_map(|(at, pair)| {
                    let of = matches!(pair[0], "from" | "join" | "update").then_some(pair[1])?;
                    let rest: Vec<_> = words[at + 2..].iter().filter(|it| **it != "as").collect();
                    (of == name || rest.first().is_some_and(|it| **it == name)).then_some(of)
                })
            });
            walked.extend(table.filter(|table| !SMALL.contains(table)).map(str::to_owned));
        }
        walked
    };
    assert_eq!(walked("select l.id from error_log as l order by l.endpoint").await, ["error_log"]);
    assert_eq!(walked("select id from error_log where id = 1").await, [""; 0]);
    let (mut wrong, mut seldom) = (Vec::new(), 0);
    for statement in all().iter().filter(|it| it.only != Some("postgres")) {
        let sql = statement.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        // Of an insert, the plan shows how orphans would be looked for, of whom there are none.
        let tables = if sql.starts_with("insert") { Vec::new() } else { walked(&sql).await };
        if SELDOM.iter().any(|(begins, _)| sql.starts_with(begins)) {
            seldom += usize::from(!tables.is_empty());
        } else if !tables.is_empty() {
            wrong.push(format!("{}: {tables:?}\n{sql}", statement.file));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(seldom, SELDOM.len(), "what is said to walk does so no more");
}

/// A cached `select *` fails after another replica has added a column.
#[test]
fn columns_are_named() {
    for statement in all() {
        let sql = statement.sql.replace("count(*)", "");
        assert!(!sql.contains('*'), "{}: name the columns:\n{sql}", statement.file);
    }
}

#[test]
fn literals_are_found() {
    let found =
        literals(r#"db.query("select \"a\"").x; tx.dialect( "one", "two"); f.query(sql)"#, "f");
    let found: Vec<_> = found.iter().map(|it| (it.sql.as_str(), it.only)).collect();
    assert_eq!(found, [("select \"a\"", None), ("one", Some("postgres")), ("two", Some("sqlite"))]);
}

fn all() -> Vec<Statement> {
    let mut statements = Vec::new();
    visit(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut statements);
    statements
}

fn visit(folder: &Path, statements: &mut Vec<Statement>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, statements);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            statements.extend(literals(&source, &path.display().to_string()));
        }
    }
}

/// The string literals that follow `query(` and `dialect(`.
fn literals(source: &str, file: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    for (start, only) in [("query(", None), ("dialect(", Some("postgres"))] {
        for (at, _) in source.match_indices(start) {
            let Some((sql, rest)) = literal(&source[at + start.len()..]) else { continue };
            found.push((at, Statement { sql, only, file: file.to_owned() }));
            let second = rest.trim_start().strip_prefix(',').and_then(literal);
            if only.is_some()
                && let Some((sql, _)) = second
            {
                found.push((at, Statement { sql, only: Some("sqlite"), file: file.to_owned() }));
            }
        }
    }
    found.sort_by_key(|(at, _)| *at);
    // "query" and "postgres", "sqlite" as such are names, not statements; "" is that there is none.
    found
        .into_iter()
        .map(|(_, statement)| statement)
        .filter(|statement| !matches!(statement.sql.as_str(), "" | "postgres" | "sqlite"))
        .collect()
}

/// The literal that a text begins with, unescaped, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let body = text.trim_start().strip_prefix('"')?;
    let (mut sql, mut chars) = (String::new(), body.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((sql, &body[at + 1..])),
            '\\' => sql.push(chars.next()?.1),
            c => sql.push(c),
        }
    }
    None
}
