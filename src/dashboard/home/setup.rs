//! From an empty instance to a first diagnosis: what is there already, what is missing, and the
//! command or the line that brings it.

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::status::{self, Status};
use crate::{
    app::App,
    apps::{self, Address},
    auth::OrganizationId,
    dashboard::{Page, Shell, Told, filters, html, see_other, shell},
    error::{self, Error},
    errors::{Capture, NewEvent},
    http::{Operator, Reader, Result},
    llm::Standing,
    logs::{SourceState, SourceStatus},
};

/// How far the set-up is.
pub(super) struct Progress {
    pub(super) steps: Vec<Step>,
}

/// One step.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) detail: String,
    pub(super) done: bool,
    /// Lux works without it.
    pub(super) optional: bool,
    /// What to do: the words of a button and where it leads.
    pub(super) act: Option<(&'static str, &'static str)>,
}

impl Progress {
    pub(super) fn done(&self) -> usize {
        self.steps.iter().filter(|step| step.done).count()
    }

    /// Whether nothing that matters is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.steps.iter().all(|step| step.done || step.optional)
    }

    /// The first step that is not done: its button is the one that stands out.
    pub(super) fn is_next(&self, step: &Step) -> bool {
        let next = self.steps.iter().find(|it| !it.done && !it.optional);
        next.is_some_and(|it| it.name == step.name)
    }

    pub(super) fn says(&self) -> String {
        let model = if self.steps.iter().any(|step| step.optional && !step.done) {
            " Chat works without a model, in plainer words."
        } else {
            ""
        };
        format!("{} of {} done.{model}", self.done(), self.steps.len())
    }
}

pub(super) async fn progress(
    app: &App,
    organization: OrganizationId,
    status: &Status,
) -> error::Result<Progress> {
    let apps = apps::store::list(&app.db, organization, false).await?;
    let read: Vec<_> = status
        .sources
        .iter()
        .filter(|source| source.state == SourceState::Ok)
        .map(|source| source.name.as_str())
        .collect();
    let logs = match (&read[..], status.denied()) {
        ([], 0) => "None of the usual places has a log yet".to_owned(),
        ([], denied) => format!("{denied} found, none may be read"),
        (names, 0) => names.join(", "),
        (names, denied) => format!("{}; {denied} may not be read", names.join(", ")),
    };
    let seen = status.errors.last_event_at.is_some();
    let asked = status.last_run.is_some() || crate::chat::was_asked(&app.db, organization).await?;
    let model = match app.llm.standing() {
        Standing::Off => {
            "For answers in better words; OPENAI_API_KEY or [model] in lux.toml".to_owned()
        }
        Standing::Ill { trouble, .. } => trouble.to_string(),
        Standing::Unknown | Standing::Well { .. } => app.config.model.host().to_owned(),
    };
    let has_model = app.llm.is_on();
    Ok(Progress {
        steps: vec![
            Step {
                name: "Database reachable",
                detail: shell::database(&app.db).to_owned(),
                done: true,
                optional: false,
                act: None,
            },
            Step {
                name: "Log files found",
                detail: logs,
                done: !read.is_empty() && status.denied() == 0,
                optional: false,
                act: Some(("Show them", "/setup#logs")),
            },
            Step {
                name: "Errors arrive from your app",
                detail: match (apps.len(), seen) {
                    (_, true) => "The first event has come".to_owned(),
                    (0, false) => {
                        "One line for Flask, Django, FastAPI, Node or the browser".to_owned()
                    }
                    (_, false) => "An app is set up; nothing has come yet".to_owned(),
                },
                done: seen,
                optional: false,
                act: Some(("Show me", "/setup#app")),
            },
            Step {
                name: "First diagnosis",
                detail: "Ask what is wrong; the answer names the lines that prove it".to_owned(),
                done: asked,
                optional: false,
                act: Some(("Ask Lux", "/chat?ask=What%20is%20wrong%3F")),
            },
            Step {
                name: "Language model",
                detail: model,
                done: has_model,
                optional: true,
                act: Some(("How", "/setup#model")),
            },
        ],
    })
}

#[derive(Template)]
#[template(path = "home/setup.html")]
struct Setup {
    shell: Shell,
    progress: Progress,
    sources: Vec<SourceStatus>,
    /// Of the first application: its name, number and DSN.
    dsn: Option<(String, String)>,
    model: Standing,
    model_host: String,
}

impl Setup {
    /// Word and tone of a source's state.
    fn state(source: &SourceStatus) -> (&'static str, &'static str) {
        match source.state {
            SourceState::Ok => ("Read", "ok-t"),
            SourceState::Missing => ("Not there", "dimmer"),
            SourceState::Denied => ("May not be read", "bad-t"),
            SourceState::Stopped => ("Not read now", "dimmer"),
        }
    }

    /// The command at the start of a remedy, for the clipboard.
    fn command(remedy: &str) -> Option<&str> {
        let command = remedy.split(", then").next()?;
        ["usermod ", "setfacl ", "chmod ", "chgrp "]
            .iter()
            .any(|it| command.starts_with(it))
            .then_some(command)
    }
}

pub(super) async fn show(page: Page<Reader>, State(app): State<App>) -> Result<Response> {
    let organization = page.caller.organization;
    let status = status::look(&app, organization, page.shell.now).await?;
    let progress = progress(&app, organization, &status).await?;
    let address = Address::of(&app.config);
    let apps = apps::store::list(&app.db, organization, false).await.map_err(Error::from)?;
    let first = apps.into_iter().find_map(|it| Some((it.public_key?, it.id, it.name)));
    let dsn = first.map(|(key, id, name)| (name, address.dsn(id, &key)));
    html(&Setup {
        shell: page.shell,
        progress,
        sources: status.sources,
        dsn,
        model: app.llm.standing(),
        model_host: app.config.model.host().to_owned(),
    })
}

/// One error that says it is a test, by the way of every error.
pub(super) async fn send_test_error(
    page: Page<Operator>,
    Extension(capture): Extension<Capture>,
) -> Result<Response> {
    let event = NewEvent {
        error_type: "LuxTestError".to_owned(),
        error_message: "This is a test from the set-up page; all is well".to_owned(),
        environment: Some("test".to_owned()),
        ..NewEvent::default()
    };
    for outcome in capture.record(page.caller.organization, vec![event]).await {
        outcome?;
    }
    Ok(see_other("/errors?q=LuxTestError", &Told::done("A test error was sent and stored")))
}

#[cfg(test)]
mod tests {
    use super::Setup;

    #[test]
    fn only_commands_are_offered_for_copying() {
        let remedy = "usermod -aG adm lux, then restart Lux";
        assert_eq!(Setup::command(remedy), Some("usermod -aG adm lux"));
        assert_eq!(Setup::command("nothing, if the program has not logged yet"), None);
    }
}
