//! Issues of a repository. A project is "owner/name".

use serde_json::{Value, json};

use super::{
    NewTicket, Project, ProjectStatus, RECENT, Recent, State, Ticket, no_project, number, odd,
    rows, text, time, word,
};
use crate::integrations::{
    Connection, Trouble,
    call::{Call, segment},
};

/// Issues of a page, the most that GitHub gives.
const PAGE: &str = "100";

/// The label of every issue that Lux opened.
const LABEL: &str = "lux";

/// `/repos/owner/name`, if the project is one.
fn repository(connection: &Connection, project: &str) -> Result<String, Trouble> {
    let parts: Vec<&str> = project.split('/').collect();
    let [owner, name] = parts.as_slice() else {
        return Err(no_project(connection, project, "name it as owner/name"));
    };
    if owner.is_empty() || name.is_empty() {
        return Err(no_project(connection, project, "name it as owner/name"));
    }
    Ok(format!("/repos/{}/{}", segment(owner), segment(name)))
}

fn ticket(issue: &Value) -> Option<Ticket> {
    let id = word(issue, "/number")?;
    Some(Ticket { key: format!("#{id}"), id, url: word(issue, "/html_url")? })
}

/// What the list of issues also holds.
fn is_pull_request(issue: &Value) -> bool {
    issue.get("pull_request").is_some()
}

pub(super) async fn projects(connection: &Connection) -> Result<Vec<Project>, Trouble> {
    let call = Call::get("/user/repos").param("per_page", PAGE).param("sort", "pushed");
    let found = connection.json(call).await?;
    let with_issues = rows(&found, "").filter(|it| it["has_issues"] != false);
    Ok(with_issues
        .filter(|it| it["archived"] != true)
        .filter_map(|it| {
            let name = word(it, "/full_name")?;
            Some(Project { id: name.clone(), name, url: word(it, "/html_url") })
        })
        .collect())
}

pub(super) async fn project_status(
    connection: &Connection,
    project: &str,
) -> Result<ProjectStatus, Trouble> {
    let path = repository(connection, project)?;
    let about = connection.json(Call::get(path.as_str())).await?;
    let call = Call::get(format!("{path}/issues"))
        .param("state", "all")
        .param("sort", "updated")
        .param("per_page", PAGE);
    let newest = connection.json(call).await?;
    let call = Call::get(format!("{path}/issues")).param("state", "open").param("per_page", PAGE);
    let open = connection.json(call).await?;
    let open = rows(&open, "").filter(|it| !is_pull_request(it)).count() as u64;
    // The repository counts pull requests among its issues; where there are more than a page, that
    // is the best there is.
    let counted = number(&about, "/open_issues_count").unwrap_or(open);
    let recent = rows(&newest, "").filter(|it| !is_pull_request(it)).filter_map(|issue| {
        let Ticket { id, key, url } = ticket(issue)?;
        let state = if issue["state"] == "closed" { State::Done } else { State::Open };
        let title = text::plain(issue["title"].as_str()?, text::MAX_TITLE);
        Some(Recent { id, key, url: Some(url), state, title })
    });
    Ok(ProjectStatus {
        name: word(&about, "/full_name").unwrap_or_else(|| project.to_owned()),
        url: word(&about, "/html_url"),
        open: if open < 100 { open } else { counted.max(open) },
        done: None,
        health: None,
        updated_at: time(&about, "/pushed_at").or_else(|| time(&about, "/updated_at")),
        recent: recent.take(RECENT).collect(),
    })
}

pub(super) async fn find(
    connection: &Connection,
    project: &str,
    dedupe_key: &str,
    was_tried: bool,
) -> Result<Option<Ticket>, Trouble> {
    let path = format!("{}/issues", repository(connection, project)?);
    let call = Call::get(path.as_str())
        .param("labels", dedupe_key)
        .param("state", "all")
        .param("per_page", "5");
    let labelled = connection.json(call).await?;
    if let Some(found) = rows(&labelled, "").find_map(ticket) {
        return Ok(Some(found));
    }
    if !was_tried {
        return Ok(None);
    }
    // Without the right to push, GitHub drops labels without a word; the key is in the text too.
    let call = Call::get(path)
        .param("state", "all")
        .param("sort", "created")
        .param("direction", "desc")
        .param("per_page", PAGE);
    let newest = connection.json(call).await?;
    let holds = |issue: &&Value| issue["body"].as_str().is_some_and(|it| it.contains(dedupe_key));
    Ok(rows(&newest, "").find(holds).and_then(ticket))
}

pub(super) async fn create(
    connection: &Connection,
    project: &str,
    new: &NewTicket,
) -> Result<Ticket, Trouble> {
    let path = format!("{}/issues", repository(connection, project)?);
    let body = format!("{}\n<!-- {} -->\n", text::markdown(&new.body), new.dedupe_key);
    let issue = json!({
        "title": text::line(&new.title, text::MAX_TITLE),
        "body": body,
        "labels": [LABEL, new.dedupe_key],
    });
    let made = connection.json(Call::post(path, issue)).await?;
    ticket(&made).ok_or_else(|| odd(connection, "issue"))
}

pub(super) async fn comment(
    connection: &Connection,
    project: &str,
    id: &str,
    body: &[text::Block],
) -> Result<(), Trouble> {
    let path = repository(connection, project)?;
    let path = format!("{path}/issues/{}/comments", segment(id));
    connection.json(Call::post(path, json!({"body": text::markdown(body)}))).await.map(drop)
}

pub(super) async fn set_open(
    connection: &Connection,
    project: &str,
    id: &str,
    is_open: bool,
) -> Result<(), Trouble> {
    let path = format!("{}/issues/{}", repository(connection, project)?, segment(id));
    let state = if is_open {
        json!({"state": "open", "state_reason": "reopened"})
    } else {
        json!({"state": "closed", "state_reason": "completed"})
    };
    connection.json(Call::patch(path, state)).await.map(drop)
}
