//! `lux repair`: starts a run, shows how it goes, and what became of it.

use std::{io::Write, process::ExitCode};

use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    client::{Client, Server},
    events, out,
};
use crate::config::Overrides;

/// Test open errors, do what is allowed about them, and mark as resolved what is proven
///
/// Exit code 0: every error is resolved (or there is none); 1: some are not; 2: it could
/// not run.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Only the groups with these numbers [default: all open ones]
    groups: Vec<i64>,
    /// Only the group of this event
    #[arg(long, value_name = "ID", conflicts_with = "groups")]
    error: Option<i64>,
    /// Only errors of this application
    #[arg(long)]
    app: Option<String>,
    /// Show what would happen, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Show a run that was started before, to its end
    #[arg(long, value_name = "RUN", conflicts_with_all = ["groups", "error", "dry_run"])]
    follow: Option<i64>,
    /// The latest runs
    #[arg(long, conflicts_with_all = ["groups", "error", "dry_run", "follow"])]
    list: bool,
    /// Approve an action that waits, exactly as it is shown
    #[arg(long, value_name = "ACTION", conflicts_with_all = ["groups", "error", "follow", "list"])]
    approve: Option<i64>,
    /// Reject an action that waits
    #[arg(long, value_name = "ACTION", conflicts_with_all = ["groups", "error", "follow", "list", "approve"])]
    reject: Option<i64>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub(super) async fn run(args: Args, overrides: Overrides) -> anyhow::Result<ExitCode> {
    let client = args.server.clone().connect(overrides).await?;
    if args.list {
        return list(&client, args.json).await;
    }
    let decision = args.approve.map(|id| (id, "approve")).or(args.reject.map(|id| (id, "reject")));
    let id = if let Some((action, word)) = decision {
        match decide(&client, action, word).await? {
            Some(run) => run,
            None => return Ok(ExitCode::SUCCESS),
        }
    } else if let Some(id) = args.follow {
        id
    } else {
        let groups = (!args.groups.is_empty()).then_some(&args.groups);
        let body = json!({
            "error_id": args.error, "group_ids": groups, "app": args.app,
            "dry_run": args.dry_run, "trigger": "cli",
        });
        let started = client.ask(Method::POST, "/api/auto-repair/start", Some(&body)).await?;
        if args.dry_run {
            let mut out = out();
            if args.json {
                writeln!(out, "{started:#}")?;
            } else {
                print_preview(&mut out, &started)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        started["run_id"].as_i64().unwrap_or_default()
    };
    follow(&client, id).await?;
    let path = format!("/api/auto-repair/runs/{id}");
    let report = client.ask(Method::GET, &path, None).await?;
    let mut out = out();
    if args.json {
        writeln!(out, "{report:#}")?;
    } else {
        let text = client.text(&format!("{path}/report.md")).await?;
        writeln!(out, "{}", text.trim_end())?;
        print_waiting(&mut out, &report)?;
    }
    let results = &report["results"];
    let all = results["resolved"] == results["total_errors"];
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Shows the steps as they happen: a bar on a terminal, lines elsewhere.
async fn follow(client: &Client, id: i64) -> anyhow::Result<()> {
    let path = format!("/api/auto-repair/runs/{id}/events");
    let response = client.stream(Method::GET, &path, None).await?;
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} tested, {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut err = anstream::stderr();
    let result = events::read(response, |event| {
        let told: Value = serde_json::from_str(&event.data)?;
        let data = &told["data"];
        let line = match event.name.as_str() {
            "started" => "reading logs and errors".to_owned(),
            "diagnosed" => {
                bar.set_length(data["groups"].as_u64().unwrap_or(0));
                let causes = data["causes"].as_array().map_or(0, Vec::len);
                format!("{} errors, {causes} causes", data["groups"])
            }
            "round" => {
                bar.set_length(data["total"].as_u64().unwrap_or(0));
                bar.set_position(data["tested"].as_u64().unwrap_or(0));
                bar.set_message(format!("{} resolved", data["resolved"]));
                return Ok(true);
            }
            "action" => format!("{}: {}", text(&data["action"]), text(&data["status"])),
            "verdict" => format!("{}: {}", text(&data["status"]), text(&data["title"])),
            _ => return Ok(true),
        };
        if bar.is_hidden() {
            writeln!(err, "{line}")?;
        } else {
            bar.println(line);
        }
        Ok(true)
    })
    .await;
    bar.finish_and_clear();
    result
}

/// Decides about an action that waits, bound to what is shown of it; gives its run.
async fn decide(client: &Client, id: i64, word: &str) -> anyhow::Result<Option<i64>> {
    let path = format!("/api/auto-repair/actions/{id}");
    let action = client.ask(Method::GET, &path, None).await?;
    let argv: Vec<&str> =
        action["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let body = json!({ "hash": action["hash"] });
    let decided = client.ask(Method::POST, &format!("{path}/{word}"), Some(&body)).await?;
    writeln!(anstream::stderr(), "{}: {}", argv.join(" "), text(&decided["status"]))?;
    Ok(decided["run_id"].as_i64().filter(|run| *run > 0))
}

async fn list(client: &Client, as_json: bool) -> anyhow::Result<ExitCode> {
    let answer = client.ask(Method::GET, "/api/auto-repair/runs", None).await?;
    let mut out = out();
    if as_json {
        writeln!(out, "{answer:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let runs = answer["runs"].as_array().map_or(&[][..], Vec::as_slice);
    if runs.is_empty() {
        writeln!(out, "no runs yet; `lux repair` starts one")?;
    }
    for run in runs {
        writeln!(
            out,
            "{:>5}  {}  {:<8} {:<8} {} of {} resolved",
            run["id"],
            text(&run["created_at"]).get(..19).unwrap_or_default(),
            text(&run["trigger"]),
            text(&run["status"]),
            run["resolved"],
            run["total"],
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn print_preview(out: &mut impl Write, report: &Value) -> std::io::Result<()> {
    let causes = report["causes"].as_array().map_or(&[][..], Vec::as_slice);
    if causes.is_empty() {
        return writeln!(out, "There is no open error to repair.");
    }
    for cause in causes {
        writeln!(
            out,
            "{} ({}, {} errors)",
            text(&cause["title"]),
            text(&cause["confidence"]),
            cause["groups"]
        )?;
        for step in cause["fix_plan"]["steps"].as_array().into_iter().flatten() {
            let line = match text(&step["kind"]) {
                "action" => {
                    let argv: Vec<&str> = step["argv"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .collect();
                    let blocked = step["blocked"].as_str().map(|why| format!("; not now: {why}"));
                    format!(
                        "run ({}): {}{}",
                        text(&step["policy"]),
                        argv.join(" "),
                        blocked.unwrap_or_default()
                    )
                }
                "probe" => {
                    let shared = step["shared"].as_str();
                    let why = shared.map(|shared| format!(" (the error names {shared})"));
                    format!("check: {}{}", text(&step["request"]), why.unwrap_or_default())
                }
                _ => text(&step["text"]).to_owned(),
            };
            writeln!(out, "  - {line}")?;
        }
    }
    Ok(())
}

fn print_waiting(out: &mut impl Write, report: &Value) -> std::io::Result<()> {
    let causes = report["causes"].as_array().into_iter().flatten();
    for action in causes.flat_map(|cause| cause["actions"].as_array().into_iter().flatten()) {
        if action["status"] == "proposed" {
            writeln!(out, "\nApprove it with: lux repair --approve {}", action["id"])?;
        }
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
