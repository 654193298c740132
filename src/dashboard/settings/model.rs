//! The model: how it stands, what it may cost, what was used today.

use askama::Template;
use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};

use super::{Page, Shell, filters, html};
use crate::{
    app::App,
    error::Error,
    http::{Reader, Result},
    llm::{Purpose, Spent, Standing},
};

/// A use of the model with its limits.
struct Use {
    name: &'static str,
    model: String,
    max_input: i64,
    max_output: i64,
}

#[derive(Template)]
#[template(path = "settings/model.html")]
struct Model {
    shell: Shell,
    section: &'static str,
    is_on: bool,
    host: String,
    has_key: bool,
    /// When the last call was answered, or not and why not.
    well: Option<DateTime<Utc>>,
    ill: Option<(DateTime<Utc>, String)>,
    today: Spent,
    daily_tokens: i64,
    daily_cost: Option<String>,
    uses: Vec<Use>,
}

impl Model {
    fn cost(&self) -> String {
        money(self.today.cost_micros)
    }
}

/// Millionths as people write money.
pub(super) fn money(micros: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
    let whole = micros as f64 / 1_000_000.0;
    format!("{whole:.4}")
}

pub(super) async fn show(page: Page<Reader>, State(app): State<App>) -> Result<Response> {
    let config = &app.config.model;
    let (well, ill) = match app.llm.standing() {
        Standing::Well { at } => (Some(at), None),
        Standing::Ill { at, trouble } => (None, Some((at, trouble.to_string()))),
        Standing::Off | Standing::Unknown => (None, None),
    };
    let uses = [
        ("Chat", Purpose::Chat),
        ("Diagnosis", Purpose::Diagnose),
        ("Fix plans", Purpose::Plan),
        ("Campaigns", Purpose::Campaign),
    ];
    let limits = |(name, purpose): (&'static str, Purpose)| {
        let limits = app.llm.limits(purpose);
        Use {
            name,
            model: limits.name.clone(),
            max_input: limits.max_input_tokens.into(),
            max_output: limits.max_output_tokens.into(),
        }
    };
    let today = app.llm.spent_today(page.caller.organization).await.map_err(Error::from)?;
    html(&Model {
        section: "model",
        is_on: app.llm.is_on(),
        host: config.host().to_owned(),
        has_key: config.key.is_some(),
        well,
        ill,
        today,
        daily_tokens: i64::try_from(config.daily_tokens).unwrap_or(i64::MAX),
        daily_cost: config.daily_cost.map(|cost| format!("{cost:.2}")),
        uses: uses.into_iter().map(limits).collect(),
        shell: page.shell,
    })
}
