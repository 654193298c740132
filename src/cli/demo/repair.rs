//! The loop, closed before the newcomer's eyes: plan, approval, action, checks, evidence.

use std::{io::Write, time::Duration};

use anstyle::Style;
use anyhow::Context;
use http::Method;
use serde_json::{Value, json};

use super::{super::repair::print_preview, Client};

/// Has the shop's error repaired, and says what happened; an error if it is not resolved.
pub(super) async fn repair(client: &Client) -> anyhow::Result<()> {
    let mut out = super::super::out();
    let dim = Style::new().dimmed();
    writeln!(out, "\n{dim}$ lux repair --dry-run --app shop{dim:#}")?;
    let wish = json!({ "app": "shop", "dry_run": true });
    let preview = client.ask(Method::POST, "/api/auto-repair/start", Some(&wish)).await?;
    print_preview(&mut out, &preview)?;

    writeln!(out, "\n{dim}$ lux repair --app shop{dim:#}")?;
    let wish = json!({ "app": "shop", "trigger": "cli" });
    let started = client.ask(Method::POST, "/api/auto-repair/start", Some(&wish)).await?;
    let path = format!("/api/auto-repair/runs/{}", started["run_id"]);
    let waiting = status(client, &path, "waiting").await?;
    let detail = &waiting["results"]["details"][0];
    writeln!(out, "{}: {}", word(&detail["status"]), text(&detail["why"]))?;

    let proposed =
        client.ask(Method::GET, "/api/auto-repair/actions?status=proposed", None).await?;
    let action = &proposed["actions"][0];
    let id = action["id"].as_i64().context("no action was proposed")?;
    let hash = text(&action["hash"]).get(..12).unwrap_or_default();
    writeln!(out, "\n{dim}$ lux repair --approve {id}   # exactly this command, {hash}…{dim:#}")?;
    writeln!(out, "{}", argv(action))?;
    let body = json!({ "hash": action["hash"], "reason": "the demonstration" });
    let approve = format!("/api/auto-repair/actions/{id}/approve");
    client.ask(Method::POST, &approve, Some(&body)).await?;
    let done = status(client, &path, "done").await?;
    writeln!(out, "\n{}", client.text(&format!("{path}/report.md")).await?.trim_end())?;

    let detail = &done["results"]["details"][0];
    let path = format!("/api/diagnostics/groups/{}", detail["group_id"]);
    let group = client.ask(Method::GET, &path, None).await?;
    anyhow::ensure!(
        group["status"] == "resolved" && detail["evidence_id"].is_i64(),
        "the error is not resolved: {}",
        text(&detail["why"])
    );
    writeln!(
        out,
        "\nResolved, with evidence {} in the database: {}",
        detail["evidence_id"],
        text(&group["resolution"])
    )?;
    let watches = client.ask(Method::GET, "/api/auto-repair/watches", None).await?;
    let until = text(&watches["watches"][0]["ends_at"]);
    let until = until.get(..19).context("the resolution is not watched")?;
    writeln!(out, "Lux watches until {until} UTC whether it holds; if not, it is reopened.")?;
    Ok(())
}

/// The report of a run, once it has that status.
async fn status(client: &Client, path: &str, wanted: &str) -> anyhow::Result<Value> {
    let reached = async {
        loop {
            let report = client.ask(Method::GET, path, None).await?;
            if report["status"] == wanted {
                return anyhow::Ok(report);
            }
            let ended = matches!(text(&report["status"]), "done" | "failed");
            anyhow::ensure!(!ended, "the run ended otherwise: {report:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, reached)
        .await
        .map_err(|_| anyhow::anyhow!("the repair did not become {wanted} in time"))?
}

fn argv(action: &Value) -> String {
    let parts = action["argv"].as_array().into_iter().flatten();
    parts.map(text).collect::<Vec<_>>().join(" ")
}

fn word(value: &Value) -> String {
    text(value).replace('_', " ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
