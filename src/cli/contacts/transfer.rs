//! People from files into the running server, and out of it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use url::form_urlencoded;

use crate::{
    cli::{
        client::{Client, Server},
        out,
    },
    config::Overrides,
};

/// What is read and sent at once, in bytes.
const PIECE: usize = 256 << 10;
/// How often the server is asked how far it is.
const ASK: Duration = Duration::from_millis(300);
/// Refused rows that are shown.
const SHOWN: usize = 20;

#[derive(clap::Args)]
pub(in crate::cli) struct Import {
    /// The file; "-" reads standard input
    file: PathBuf,
    /// Only count what would happen
    #[arg(long)]
    dry_run: bool,
    /// What a column is: email, first_name, last_name, name, company, phone, source, tags,
    /// consent, skip or attribute:NAME
    #[arg(long, value_name = "COLUMN=FIELD", value_parser = pair)]
    map: Vec<(String, String)>,
    /// Given to everybody of the file
    #[arg(long)]
    tag: Vec<String>,
    /// Where they come from, if no column says so
    #[arg(long)]
    source: Option<String>,
    /// Where the consent that a column tells of was given; without it only a "no" counts
    #[arg(long, value_name = "WORDS")]
    consent_source: Option<String>,
    /// The first row is a contact already
    #[arg(long)]
    no_header: bool,
    /// Between cells [default: guessed]
    #[arg(long, value_name = ",|;|tab")]
    delimiter: Option<String>,
    /// [default: guessed]
    #[arg(long, value_name = "UTF-8|windows-1252|…")]
    encoding: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Export {
    /// Of one segment, by its name in addresses or its number
    #[arg(long)]
    segment: Option<String>,
    /// With these words in name, company, address or telephone
    #[arg(short, long)]
    query: Option<String>,
    #[arg(long)]
    tag: Option<String>,
    /// One JSON object in each line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// A table (the default)
    #[arg(long)]
    csv: bool,
    /// Begin the table with a byte order mark, for spreadsheets that need one
    #[arg(long)]
    bom: bool,
    #[command(flatten)]
    server: Server,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (column, field) = text.rsplit_once('=').ok_or("write COLUMN=FIELD")?;
    Ok((column.to_owned(), field.to_owned()))
}

pub(super) async fn import(args: Import, overrides: Overrides) -> anyhow::Result<ExitCode> {
    let client = args.server.clone().connect(overrides).await?;
    let name = args.file.file_name().map_or("-", |name| name.to_str().unwrap_or("contacts.csv"));
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("name", name).finish();
    let path = format!("/api/contacts/imports?{query}");
    let import = client.send_body(&path, "text/csv", body(&args.file)?).await?;
    let path = format!("/api/contacts/imports/{}", import["id"]);
    let begun = begin(&client, &args, &path).await;
    if begun.is_err() || args.dry_run {
        // Nobody is going to do anything more with the file.
        let end = tell(&client, &args, &path, begun).await;
        client.ask(Method::POST, &format!("{path}/cancel"), Some(&json!({}))).await?;
        return end;
    }
    tell(&client, &args, &path, begun).await
}

/// Says how it is to be read, begins it and waits for its end.
async fn begin(client: &Client, args: &Import, path: &str) -> anyhow::Result<Value> {
    let mut first = serde_json::Map::new();
    if args.no_header {
        first.insert("header".to_owned(), json!(false));
    }
    for (name, value) in [("delimiter", &args.delimiter), ("encoding", &args.encoding)] {
        if let Some(value) = value {
            first.insert(name.to_owned(), json!(value));
        }
    }
    if !first.is_empty() {
        client.ask(Method::PATCH, path, Some(&Value::Object(first))).await?;
    }
    let columns: BTreeMap<&String, &String> =
        args.map.iter().map(|(name, to)| (name, to)).collect();
    let mut change = serde_json::Map::new();
    if !columns.is_empty() {
        change.insert("columns".to_owned(), json!(columns));
    }
    if !args.tag.is_empty() {
        change.insert("tags".to_owned(), json!(args.tag));
    }
    if let Some(source) = &args.source {
        change.insert("source".to_owned(), json!(source));
    }
    if let Some(source) = &args.consent_source {
        change.insert("consent".to_owned(), json!({ "source": source }));
    }
    if !change.is_empty() {
        client.ask(Method::PATCH, path, Some(&Value::Object(change))).await?;
    }
    let import = client.ask(Method::GET, path, None).await?;
    let columns = import["settings"]["columns"].as_array().cloned().unwrap_or_default();
    if !columns.iter().any(|column| column["to"] == "email" || column["to"] == "phone") {
        let names: Vec<&str> =
            columns.iter().filter_map(|column| column["name"].as_str()).collect();
        anyhow::bail!(
            "no column is the e-mail address; say which one is, as in --map \"{}=email\". \
             The columns are: {}",
            names.first().unwrap_or(&"Address"),
            names.join(", ")
        );
    }
    let start = format!("{path}/start?dry_run={}", args.dry_run);
    client.ask(Method::POST, &start, Some(&json!({}))).await?;
    loop {
        let import = client.ask(Method::GET, path, None).await?;
        if import["status"] != "running" && import["status"] != "checking" {
            return Ok(import);
        }
        tokio::time::sleep(ASK).await;
    }
}

/// Says what became of it, with the first refused rows.
async fn tell(
    client: &Client,
    args: &Import,
    path: &str,
    ended: anyhow::Result<Value>,
) -> anyhow::Result<ExitCode> {
    let import = ended?;
    let status = import["status"].as_str().unwrap_or_default();
    anyhow::ensure!(
        status == "done" || status == "checked",
        "the import is {status}: {}",
        import["note"].as_str().unwrap_or_default()
    );
    let counts = if args.dry_run { &import["checked"] } else { &import["counts"] };
    let number = |name: &str| counts[name].as_i64().unwrap_or(0);
    let would = if args.dry_run { "would be " } else { "" };
    let mut out = out();
    writeln!(
        out,
        "{} {would}new, {} {would}updated, {} {would}unchanged, {} {would}rejected",
        number("created"),
        number("updated"),
        number("unchanged"),
        number("rejected")
    )?;
    if number("rejected") == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let table = client.text(&format!("{path}/rejected")).await?;
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    for row in rows.records().take(SHOWN) {
        let row = row?;
        let cell = |at: usize| row.get(at).unwrap_or_default();
        writeln!(out, "  line {}: {} {}", cell(0), cell(1), cell(2))?;
    }
    writeln!(out, "  all of them: GET {path}/rejected")?;
    Ok(ExitCode::from(1))
}

/// The file, piece by piece.
fn body(file: &Path) -> anyhow::Result<reqwest::Body> {
    let mut from: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let (to, pieces) = mpsc::channel::<io::Result<Vec<u8>>>(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = from.read(&mut piece);
            let ended = matches!(read, Ok(0) | Err(_));
            if let Ok(0) = read {
                return;
            }
            let sent = to.blocking_send(read.map(|read| {
                piece.truncate(read);
                piece
            }));
            if ended || sent.is_err() {
                return;
            }
        }
    });
    Ok(reqwest::Body::wrap_stream(ReceiverStream::new(pieces)))
}

pub(super) async fn export(args: Export, overrides: Overrides) -> anyhow::Result<()> {
    let client = args.server.connect(overrides).await?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("format", if args.json { "jsonl" } else { "csv" });
    if args.bom {
        query.append_pair("bom", "true");
    }
    if let Some(segment) = &args.segment {
        query.append_pair("segment", &segment_id(&client, segment).await?.to_string());
    }
    for (name, value) in [("q", &args.query), ("tag", &args.tag)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let path = format!("/api/contacts/export?{}", query.finish());
    let mut response = client.download(&path).await?;
    let mut out = out();
    while let Some(chunk) = response.chunk().await.context("the export is not complete")? {
        out.write_all(&chunk)?;
    }
    Ok(out.flush()?)
}

async fn segment_id(client: &Client, wanted: &str) -> anyhow::Result<i64> {
    let answer = client.ask(Method::GET, "/api/segments", None).await?;
    let segments = answer["segments"].as_array().cloned().unwrap_or_default();
    let id = wanted.parse::<i64>().ok();
    let fits = |segment: &&Value| {
        segment["slug"] == wanted || segment["name"] == wanted || segment["id"].as_i64() == id
    };
    segments.iter().find(fits).and_then(|segment| segment["id"].as_i64()).with_context(|| {
        let slugs = segments.iter().filter_map(|segment| segment["slug"].as_str());
        format!("there is no segment {wanted}; there are: {}", slugs.collect::<Vec<_>>().join(", "))
    })
}
