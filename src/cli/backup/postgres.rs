//! A database on a server: PostgreSQL's own tools know best how to copy it.

use std::{path::Path, process::Stdio};

use anyhow::{Context, bail, ensure};
use secrecy::ExposeSecret;
use tokio::process::Command;
use url::Url;

use super::{known_version, note};
use crate::{config::Config, db::Db};

/// Of what a tool complains.
const MAX_SAID: usize = 2000;

/// A tool, and the URL that it is to work on. The password does not stand among its arguments,
/// which every user of the host may read.
fn tool(name: &str, config: &Config) -> anyhow::Result<(Command, String)> {
    let (url, password) = without_password(config.database_url.expose_secret())?;
    let mut command = plain_tool(name);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    Ok((command, url))
}

fn plain_tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The URL as libpq reads it, and the password that stood in it.
fn without_password(url: &str) -> anyhow::Result<(String, Option<String>)> {
    let mut url = Url::parse(url)?;
    let mut password = url.password().map(|encoded| {
        let pair = format!("p={}", encoded.replace('+', "%2B").replace('&', "%26"));
        let read = url::form_urlencoded::parse(pair.as_bytes()).next();
        read.map(|(_, text)| text.into_owned()).unwrap_or_default()
    });
    if password.is_some() && url.set_password(None).is_err() {
        bail!("DATABASE_URL names no server");
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut kept = Vec::new();
    for (key, value) in pairs {
        match key.as_str() {
            "password" => password = Some(value),
            // sqlx's own.
            "statement-cache-capacity" => {}
            _ => {
                // libpq reads %20 as a space, and + as itself.
                let value: String =
                    url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
                kept.push(format!("{key}={}", value.replace('+', "%20")));
            }
        }
    }
    url.set_query((!kept.is_empty()).then(|| kept.join("&")).as_deref());
    Ok((url.into(), password))
}

/// Runs it to its end; gives what it printed.
async fn run(mut command: Command) -> anyhow::Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let ended = match command.output().await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "there is no {name} on this host: install PostgreSQL's client (apt install \
             postgresql-client), of the server's version or newer"
        ),
        ended => ended.with_context(|| format!("cannot run {name}"))?,
    };
    let said = String::from_utf8_lossy(&ended.stderr);
    let said: String = said.trim().chars().take(MAX_SAID).collect();
    ensure!(ended.status.success(), "{name} failed: {said}");
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

pub(super) async fn make(config: &Config, to: &Path) -> anyhow::Result<()> {
    let db = Db::open(config.database_url.expose_secret(), 1).await?;
    let found = async {
        let schema = db.schema().await?;
        ensure!(db.newest_applied().await?.is_some(), "there is no database of Lux yet");
        note(&db, config).await?;
        Ok(schema)
    };
    let found = found.await;
    db.close().await;
    let schema = found?;
    let (mut command, url) = tool("pg_dump", config)?;
    command.args(["--format=custom", "--no-password", "--schema"]).arg(format!("\"{schema}\""));
    command.arg("--file").arg(to).arg("--dbname").arg(url);
    run(command).await.map(drop)
}

pub(super) async fn restore(config: &Config, from: &Path, force: bool) -> anyhow::Result<()> {
    let shown = from.display();
    let mut command = plain_tool("pg_restore");
    command.arg("--list").arg(from);
    let listed = run(command).await?;
    let schema = listed.lines().find_map(|line| {
        let (_, rest) = line.split_once(" TABLE ")?;
        rest.split_once(" _sqlx_migrations ").map(|(schema, _)| schema.to_owned())
    });
    let schema = schema.with_context(|| format!("{shown} is no backup of Lux"))?;
    let mut command = plain_tool("pg_restore");
    command.args(["--data-only", "--table=_sqlx_migrations", "--file=-"]).arg(from);
    let version = newest(&run(command).await?);
    let version = known_version(version, from)?;

    let db = Db::open(config.database_url.expose_secret(), 1).await?;
    let found =
        async { anyhow::Ok((db.schema().await?, db.newest_applied().await?, db.others().await?)) };
    let found = found.await;
    db.close().await;
    let (own, present, others) = found?;
    ensure!(others == 0, "another Lux uses this database ({others} connections); stop it first");
    ensure!(
        own == schema,
        "{shown} is of the schema {schema}, and DATABASE_URL leads to {own}: let its search_path \
         begin with {schema}"
    );
    if let Some(present) = present {
        ensure!(
            force,
            "there is a database of Lux already; with --force the backup takes its place, and what \
             is there now is lost"
        );
        ensure!(
            present <= version,
            "the database there is of a newer Lux (version {present}) than {shown} ({version}): \
             restore into an empty database"
        );
    }
    let (mut command, url) = tool("pg_restore", config)?;
    command.args(["--no-owner", "--no-privileges", "--no-password", "--single-transaction"]);
    command.args(["--exit-on-error", "--schema"]).arg(&schema);
    if present.is_some() {
        command.args(["--clean", "--if-exists"]);
    }
    command.arg("--dbname").arg(url).arg(from);
    run(command).await.map(drop)
}

/// The highest version in what `pg_restore` prints of the table of migrations.
fn newest(text: &str) -> Option<i64> {
    let rows = text.lines().skip_while(|line| !line.starts_with("COPY ")).skip(1);
    let rows = rows.take_while(|line| *line != "\\.");
    rows.filter_map(|row| row.split('\t').next()?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::{newest, without_password};

    #[test]
    fn a_password_is_no_argument() {
        for (url, shown, password) in [
            ("postgres://lux@db/lux", "postgres://lux@db/lux", None),
            ("postgres://lux:p%40s+s&=d@db/lux", "postgres://lux@db/lux", Some("p@s+s&=d")),
            (
                "postgres://lux@localhost/lux?host=/run/pg&password=a%20b&options=-c%20search_path%3Dx",
                "postgres://lux@localhost/lux?host=%2Frun%2Fpg&options=-c%20search_path%3Dx",
                Some("a b"),
            ),
            (
                "postgres://db/lux?statement-cache-capacity=0&sslmode=disable",
                "postgres://db/lux?sslmode=disable",
                None,
            ),
        ] {
            let found = without_password(url);
            let Ok((read, secret)) = found else { panic!("{url}: {found:?}") };
            assert_eq!((read.as_str(), secret.as_deref()), (shown, password), "{url}");
        }
    }

    #[test]
    fn the_newest_migration_is_read() {
        let text = "--\nSET x;\nCOPY public._sqlx_migrations (version, description) FROM stdin;\n\
                    1\tspine\n16\taudit\n2\tjobs\n\\.\n\n99\tno row\n";
        assert_eq!(newest(text), Some(16));
        assert_eq!(newest("nothing"), None);
    }
}
