//! Tasks of a project. A project is a gid, and a task carries our key as its `external` id, which
//! Asana keeps unique for the application.

use serde_json::{Value, json};

use super::{
    NewTicket, Project, ProjectStatus, RECENT, Recent, State, Ticket, no_project, number, odd,
    rows, text, time, word,
};
use crate::integrations::{
    Connection, Trouble,
    call::{Call, segment},
};

/// Workspaces whose projects are listed.
const WORKSPACES: usize = 10;
const PAGE: &str = "100";

/// What is asked of a task.
const TASK: &str = "gid,name,permalink_url,completed";

fn project_path(connection: &Connection, project: &str) -> Result<String, Trouble> {
    if project.is_empty() || !project.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(no_project(connection, project, "name it by its gid, a number"));
    }
    Ok(format!("/projects/{project}"))
}

fn ticket(task: &Value) -> Option<Ticket> {
    let id = word(task, "/gid")?;
    Some(Ticket { key: format!("task {id}"), id, url: word(task, "/permalink_url")? })
}

pub(super) async fn projects(connection: &Connection) -> Result<Vec<Project>, Trouble> {
    let spaces = connection.json(Call::get("/workspaces").param("limit", PAGE)).await?;
    let mut projects = Vec::new();
    for space in rows(&spaces, "/data").take(WORKSPACES) {
        let Some(gid) = word(space, "/gid") else { continue };
        let call = Call::get("/projects")
            .param("workspace", gid)
            .param("archived", "false")
            .param("limit", PAGE)
            .param("opt_fields", "gid,name,permalink_url");
        let found = connection.json(call).await?;
        projects.extend(rows(&found, "/data").filter_map(|it| {
            let (id, name) = (word(it, "/gid")?, word(it, "/name")?);
            Some(Project { id, name, url: word(it, "/permalink_url") })
        }));
    }
    Ok(projects)
}

pub(super) async fn project_status(
    connection: &Connection,
    project: &str,
) -> Result<ProjectStatus, Trouble> {
    let path = project_path(connection, project)?;
    let fields = "name,permalink_url,modified_at,current_status_update,\
                  current_status_update.resource_subtype";
    let about = connection.json(Call::get(path.as_str()).param("opt_fields", fields)).await?;
    let fields = "num_tasks,num_incomplete_tasks,num_completed_tasks";
    let call = Call::get(format!("{path}/task_counts")).param("opt_fields", fields);
    let counts = connection.json(call).await?;
    let call = Call::get("/tasks")
        .param("project", project)
        .param("limit", PAGE)
        .param("opt_fields", TASK);
    let tasks = connection.json(call).await?;
    let recent = rows(&tasks, "/data").filter_map(|task| {
        let Ticket { id, key, url } = ticket(task)?;
        let state = if task["completed"] == true { State::Done } else { State::Open };
        let title = text::plain(task["name"].as_str()?, text::MAX_TITLE);
        Some(Recent { id, key, url: Some(url), state, title })
    });
    Ok(ProjectStatus {
        name: word(&about, "/data/name").unwrap_or_else(|| project.to_owned()),
        url: word(&about, "/data/permalink_url"),
        open: number(&counts, "/data/num_incomplete_tasks").unwrap_or_default(),
        done: number(&counts, "/data/num_completed_tasks"),
        health: word(&about, "/data/current_status_update/resource_subtype"),
        updated_at: time(&about, "/data/modified_at"),
        recent: recent.take(RECENT).collect(),
    })
}

pub(super) async fn find(
    connection: &Connection,
    dedupe_key: &str,
) -> Result<Option<Ticket>, Trouble> {
    let path = format!("/tasks/external:{}", segment(dedupe_key));
    match connection.json(Call::get(path).param("opt_fields", TASK)).await {
        Ok(found) => Ok(found.get("data").and_then(ticket)),
        Err(Trouble::NotFound { .. }) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

pub(super) async fn create(
    connection: &Connection,
    project: &str,
    new: &NewTicket,
) -> Result<Ticket, Trouble> {
    project_path(connection, project)?;
    let task = json!({"data": {
        "name": text::line(&new.title, text::MAX_TITLE),
        "html_notes": text::asana(&new.body),
        "projects": [project],
        "external": {"gid": new.dedupe_key},
    }});
    let call = Call::post("/tasks", task).param("opt_fields", TASK);
    let made = connection.json(call).await?;
    made.get("data").and_then(ticket).ok_or_else(|| odd(connection, "task"))
}

pub(super) async fn comment(
    connection: &Connection,
    id: &str,
    body: &[text::Block],
) -> Result<(), Trouble> {
    let path = format!("/tasks/{}/stories", segment(id));
    let story = json!({"data": {"html_text": text::asana(body)}});
    connection.json(Call::post(path, story)).await.map(drop)
}

pub(super) async fn set_open(
    connection: &Connection,
    id: &str,
    is_open: bool,
) -> Result<(), Trouble> {
    let path = format!("/tasks/{}", segment(id));
    connection.json(Call::put(path, json!({"data": {"completed": !is_open}}))).await.map(drop)
}
