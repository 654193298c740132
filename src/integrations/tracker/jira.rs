//! Issues of a project of Jira Cloud, on the chosen site. A project is its key: "OPS".

use serde_json::{Value, json};

use super::{
    NewTicket, Project, ProjectStatus, RECENT, Recent, State, Ticket, no_project, number, odd,
    rows, text, time, word,
};
use crate::integrations::{
    Connection, Trouble,
    call::{Call, segment},
};

/// Where the site's API is.
fn api(connection: &Connection, path: &str) -> Result<String, Trouble> {
    Ok(format!("/ex/jira/{}/rest/api/3{path}", segment(connection.place()?)))
}

/// Where people look at an issue.
fn browse(connection: &Connection, key: &str) -> String {
    let site = connection.place_url().unwrap_or("https://atlassian.net");
    format!("{}/browse/{}", site.trim_end_matches('/'), segment(key))
}

fn checked<'a>(connection: &Connection, project: &'a str) -> Result<&'a str, Trouble> {
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if project.is_empty() || !project.chars().all(is_key) {
        return Err(no_project(connection, project, "name it by its key, such as OPS"));
    }
    Ok(project)
}

fn ticket(connection: &Connection, issue: &Value) -> Option<Ticket> {
    let key = word(issue, "/key")?;
    Some(Ticket { id: key.clone(), url: browse(connection, &key), key })
}

/// Issues that a query finds; it changes nothing, though it is posted.
async fn search(
    connection: &Connection,
    jql: String,
    fields: &[&str],
    most: usize,
) -> Result<Value, Trouble> {
    let body = json!({"jql": jql, "fields": fields, "maxResults": most});
    connection.json(Call::post(api(connection, "/search/jql")?, body).harmless()).await
}

async fn count(connection: &Connection, jql: String) -> Result<Option<u64>, Trouble> {
    let path = api(connection, "/search/approximate-count")?;
    let answer = connection.json(Call::post(path, json!({"jql": jql})).harmless()).await?;
    Ok(number(&answer, "/count"))
}

pub(super) async fn projects(connection: &Connection) -> Result<Vec<Project>, Trouble> {
    let call = Call::get(api(connection, "/project/search")?).param("maxResults", "100");
    let found = connection.json(call).await?;
    let site = connection.place_url().map(|site| site.trim_end_matches('/'));
    Ok(rows(&found, "/values")
        .filter_map(|it| {
            let (id, name) = (word(it, "/key")?, word(it, "/name")?);
            let url = site.map(|site| format!("{site}/browse/{}", segment(&id)));
            Some(Project { id, name, url })
        })
        .collect())
}

pub(super) async fn project_status(
    connection: &Connection,
    project: &str,
) -> Result<ProjectStatus, Trouble> {
    let project = checked(connection, project)?;
    let path = api(connection, &format!("/project/{project}"))?;
    let about = connection.json(Call::get(path)).await?;
    let open = format!("project = \"{project}\" AND statusCategory != Done");
    let done = format!("project = \"{project}\" AND statusCategory = Done");
    let newest = format!("project = \"{project}\" ORDER BY updated DESC");
    let fields = ["summary", "status", "updated"];
    let found = search(connection, newest, &fields, RECENT).await?;
    let recent: Vec<Recent> = rows(&found, "/issues")
        .filter_map(|issue| {
            let Ticket { id, key, url } = ticket(connection, issue)?;
            let category = issue.pointer("/fields/status/statusCategory/key");
            let state = match category.and_then(Value::as_str) {
                Some("done") => State::Done,
                Some("indeterminate") => State::InProgress,
                _ => State::Open,
            };
            let title = issue.pointer("/fields/summary").and_then(Value::as_str)?;
            let title = text::plain(title, text::MAX_TITLE);
            Some(Recent { id, key, url: Some(url), state, title })
        })
        .collect();
    let updated_at =
        rows(&found, "/issues").filter_map(|issue| time(issue, "/fields/updated")).max();
    Ok(ProjectStatus {
        name: word(&about, "/name").unwrap_or_else(|| project.to_owned()),
        url: Some(browse(connection, project)),
        open: count(connection, open).await?.unwrap_or_default(),
        done: count(connection, done).await?,
        health: None,
        updated_at,
        recent,
    })
}

pub(super) async fn find(
    connection: &Connection,
    project: &str,
    dedupe_key: &str,
) -> Result<Option<Ticket>, Trouble> {
    let project = checked(connection, project)?;
    let label: String =
        dedupe_key.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let jql = format!("project = \"{project}\" AND labels = \"{label}\"");
    let found = search(connection, jql, &["summary"], 5).await?;
    Ok(rows(&found, "/issues").find_map(|issue| ticket(connection, issue)))
}

/// The kind of issue to be opened: a bug, else a task, else the first that stands by itself. Their
/// ids differ from project to project.
async fn issue_type(connection: &Connection, project: &str) -> Result<String, Trouble> {
    let path = api(connection, &format!("/issue/createmeta/{project}/issuetypes"))?;
    let found = connection.json(Call::get(path)).await?;
    let kinds: Vec<&Value> =
        rows(&found, "/issueTypes").filter(|kind| kind["subtask"] != true).collect();
    let named = |name: &str| {
        kinds.iter().find(|kind| {
            kind["name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name))
        })
    };
    let kind = named("Bug").or_else(|| named("Task")).or_else(|| kinds.first());
    kind.and_then(|kind| word(kind, "/id")).ok_or_else(|| {
        let label = connection.kind().label;
        let why = format!("project {project} has no kind of issue that Lux may open");
        Trouble::Refused { label, why }
    })
}

pub(super) async fn create(
    connection: &Connection,
    project: &str,
    new: &NewTicket,
) -> Result<Ticket, Trouble> {
    let project = checked(connection, project)?;
    let kind = issue_type(connection, project).await?;
    let issue = json!({"fields": {
        "project": {"key": project},
        "issuetype": {"id": kind},
        "summary": text::line(&new.title, text::MAX_TITLE),
        "labels": ["lux", new.dedupe_key],
        "description": text::document(&new.body),
    }});
    let made = connection.json(Call::post(api(connection, "/issue")?, issue)).await?;
    ticket(connection, &made).ok_or_else(|| odd(connection, "issue"))
}

pub(super) async fn comment(
    connection: &Connection,
    id: &str,
    body: &[text::Block],
) -> Result<(), Trouble> {
    let path = api(connection, &format!("/issue/{}/comment", segment(id)))?;
    connection.json(Call::post(path, json!({"body": text::document(body)}))).await.map(drop)
}

/// Takes the first way that leads from the issue's state to one of the wanted kind.
pub(super) async fn set_open(
    connection: &Connection,
    id: &str,
    is_open: bool,
) -> Result<(), Trouble> {
    let path = api(connection, &format!("/issue/{}/transitions", segment(id)))?;
    let issue = api(connection, &format!("/issue/{}", segment(id)))?;
    let now = connection.json(Call::get(issue).param("fields", "status")).await?;
    let category = "/fields/status/statusCategory/key";
    let is_done = now.pointer(category).and_then(Value::as_str) == Some("done");
    if is_done != is_open {
        return Ok(());
    }
    let ways = connection.json(Call::get(path.as_str())).await?;
    let leads_to = |category: &str| {
        rows(&ways, "/transitions").find(|way| {
            way.pointer("/to/statusCategory/key").and_then(Value::as_str) == Some(category)
        })
    };
    let way = if is_open {
        leads_to("new").or_else(|| leads_to("indeterminate"))
    } else {
        leads_to("done")
    };
    let Some(way) = way.and_then(|way| word(way, "/id")) else {
        let label = connection.kind().label;
        let state = if is_open { "an open state" } else { "a state that is done" };
        let why = format!("no transition of {id} leads to {state}; move it by hand");
        return Err(Trouble::Refused { label, why });
    };
    connection.json(Call::post(path, json!({"transition": {"id": way}}))).await.map(drop)
}
