//! What runs here, and how it is set.

use askama::Template;
use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};

use super::{Page, Shell, filters, html};
use crate::{
    app::App,
    http::{Reader, Result},
};

/// A setting, as `lux doctor` shows it: secrets are hidden.
struct Line {
    key: String,
    value: String,
    origin: String,
    is_default: bool,
}

#[derive(Template)]
#[template(path = "settings/about.html")]
struct About {
    shell: Shell,
    section: &'static str,
    data: String,
    file: Option<String>,
    started_at: DateTime<Utc>,
    /// Only for administrators.
    lines: Vec<Line>,
}

pub(super) async fn show(page: Page<Reader>, State(app): State<App>) -> Result<Response> {
    let config = &app.config;
    let lines = if page.shell.may_administer() { config.settings.as_slice() } else { &[] };
    let lines = lines.iter().map(|setting| Line {
        key: setting.key.clone(),
        value: setting.value.clone(),
        origin: setting.origin.to_string(),
        is_default: matches!(setting.origin, crate::config::Origin::Default),
    });
    html(&About {
        section: "about",
        data: config.data_dir.display().to_string(),
        file: config.file.as_ref().map(|file| file.display().to_string()),
        started_at: app.started_at,
        lines: lines.collect(),
        shell: page.shell,
    })
}
