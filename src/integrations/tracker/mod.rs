//! Trackers of tasks: GitHub, Asana, Jira and monday.com behind one set of deeds. Each file is one
//! provider's calls; [`text`] makes a ticket's words harmless in the form that it takes.

mod asana;
mod github;
mod jira;
mod monday;
pub mod text;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{Connection, Duty, Trouble};
use crate::error::Error;

pub use text::Block;

/// Projects that are listed.
const PROJECTS: usize = 200;
/// Tickets that the state of a project names, and how many are looked at for them.
const RECENT: usize = 20;

/// A ticket to be opened.
#[derive(Clone, Debug)]
pub struct NewTicket {
    /// What the tracker finds it by: letters, digits and hyphens, at most 40.
    pub dedupe_key: String,
    /// One line; its words are not trusted.
    pub title: String,
    pub body: Vec<Block>,
}

/// A ticket as the tracker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// What its API knows it by.
    pub id: String,
    /// What people know it by: "OPS-24", "#7".
    pub key: String,
    pub url: String,
}

/// Something that tickets can be opened in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = TrackerProject)]
pub struct Project {
    /// As it stands in the target of the duty `tickets`.
    pub id: String,
    pub name: String,
    pub url: Option<String>,
}

/// How far a ticket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrackerState)]
pub enum State {
    Open,
    InProgress,
    Done,
}

/// A ticket of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = TrackerTicket)]
pub struct Recent {
    pub id: String,
    pub key: String,
    pub url: Option<String>,
    #[schema(inline)]
    pub state: State,
    /// A text of others.
    pub title: String,
}

/// How a project stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = TrackerProjectStatus)]
pub struct ProjectStatus {
    /// A text of others.
    pub name: String,
    pub url: Option<String>,
    /// Tickets that are not done.
    pub open: u64,
    pub done: Option<u64>,
    /// In the tracker's own word: "on_track".
    pub health: Option<String>,
    pub updated_at: Option<DateTime<Utc>>,
    /// The newest, at most 20.
    pub recent: Vec<Recent>,
}

/// Which tracker.
#[derive(Clone, Copy)]
enum Which {
    GitHub,
    Asana,
    Jira,
    Monday,
}

/// A connected tracker.
pub struct Tracker {
    connection: Connection,
    which: Which,
}

impl Tracker {
    /// The tracker behind a connection.
    pub fn new(connection: Connection) -> Result<Self, Trouble> {
        let which = match connection.kind().key {
            "github" => Which::GitHub,
            "asana" => Which::Asana,
            "jira" => Which::Jira,
            "monday" => Which::Monday,
            _ => {
                let label = connection.kind().label;
                let why = format!("{label} has no {}", Duty::Tickets.as_str());
                return Err(Error::Invalid(why).into());
            }
        };
        Ok(Self { connection, which })
    }

    pub fn label(&self) -> &'static str {
        self.connection.kind().label
    }

    /// What tickets could be opened in, by name.
    pub async fn projects(&self) -> Result<Vec<Project>, Trouble> {
        let it = &self.connection;
        let mut projects = match self.which {
            Which::GitHub => github::projects(it).await?,
            Which::Asana => asana::projects(it).await?,
            Which::Jira => jira::projects(it).await?,
            Which::Monday => monday::projects(it).await?,
        };
        projects.truncate(PROJECTS);
        projects.sort_by_key(|project| project.name.to_lowercase());
        Ok(projects)
    }

    pub async fn project_status(&self, project: &str) -> Result<ProjectStatus, Trouble> {
        let it = &self.connection;
        match self.which {
            Which::GitHub => github::project_status(it, project).await,
            Which::Asana => asana::project_status(it, project).await,
            Which::Jira => jira::project_status(it, project).await,
            Which::Monday => monday::project_status(it, project).await,
        }
    }

    /// Opens a ticket, or finds the one of that key. `was_tried`: somebody may have opened it a
    /// moment ago without writing it down, so it is looked for more thoroughly.
    pub async fn open(
        &self,
        project: &str,
        new: &NewTicket,
        was_tried: bool,
    ) -> Result<Ticket, Trouble> {
        let ticket = match self.find(project, &new.dedupe_key, was_tried).await? {
            Some(ticket) => ticket,
            None => self.create(project, new).await?,
        };
        // What it is about is a call of its own there.
        if matches!(self.which, Which::Monday)
            && !monday::has_update(&self.connection, &ticket.id).await?
        {
            monday::comment(&self.connection, &ticket.id, &new.body).await?;
        }
        Ok(ticket)
    }

    /// The ticket of that key, if it was opened.
    pub async fn find(
        &self,
        project: &str,
        dedupe_key: &str,
        was_tried: bool,
    ) -> Result<Option<Ticket>, Trouble> {
        let it = &self.connection;
        match self.which {
            Which::GitHub => github::find(it, project, dedupe_key, was_tried).await,
            Which::Asana => asana::find(it, dedupe_key).await,
            Which::Jira => jira::find(it, project, dedupe_key).await,
            Which::Monday => monday::find(it, project, dedupe_key).await,
        }
    }

    async fn create(&self, project: &str, new: &NewTicket) -> Result<Ticket, Trouble> {
        let it = &self.connection;
        match self.which {
            Which::GitHub => github::create(it, project, new).await,
            Which::Asana => asana::create(it, project, new).await,
            Which::Jira => jira::create(it, project, new).await,
            Which::Monday => monday::create(it, project, new).await,
        }
    }

    pub async fn comment(&self, project: &str, id: &str, body: &[Block]) -> Result<(), Trouble> {
        let it = &self.connection;
        match self.which {
            Which::GitHub => github::comment(it, project, id, body).await,
            Which::Asana => asana::comment(it, id, body).await,
            Which::Jira => jira::comment(it, id, body).await,
            Which::Monday => monday::comment(it, id, body).await,
        }
    }

    /// Closes a ticket, or opens it again. Where the tracker knows no such state, nothing is done.
    pub async fn set_open(&self, project: &str, id: &str, is_open: bool) -> Result<(), Trouble> {
        let it = &self.connection;
        match self.which {
            Which::GitHub => github::set_open(it, project, id, is_open).await,
            Which::Asana => asana::set_open(it, id, is_open).await,
            Which::Jira => jira::set_open(it, id, is_open).await,
            Which::Monday => monday::set_open(it, project, id, is_open).await,
        }
    }
}

/// A text in an answer, at a JSON pointer; numbers are texts too.
fn word(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn rows<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}

fn time(value: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    let text = value.pointer(pointer)?.as_str()?;
    let read = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    read.ok().map(|at| at.to_utc())
}

/// An answer without what it must have.
fn odd(connection: &Connection, what: &str) -> Trouble {
    let label = connection.kind().label;
    Trouble::Down { label, why: format!("its answer names no {what}") }
}

/// A target that cannot be meant.
fn no_project(connection: &Connection, project: &str, form: &str) -> Trouble {
    let label = connection.kind().label;
    let shown: String = project.chars().filter(|c| !c.is_control()).take(100).collect();
    let why = format!("\"{shown}\" is no project of {label}; {form}");
    Error::Invalid(why).into()
}
