//! What an agent has read: small tables, each row with an id that a finding can cite.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    app::App,
    auth::OrganizationId,
    db::{Query, Row},
    error::Result,
};

/// Rows of one input; queries are bounded by it.
pub const MOST_ROWS: i64 = 50;

/// A table that was read, with where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AgentInput)]
pub struct Input {
    /// What findings cite as a whole: "sources". Its rows are "sources.1", "sources.2", …
    pub id: String,
    pub name: String,
    pub columns: Vec<String>,
    /// How many rows were read.
    pub rows: i64,
    /// The statement, where one stands behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// What else is to be known of it: the window it covers, why it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    pub lines: Vec<Line>,
}

/// A row of an input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AgentInputLine)]
pub struct Line {
    pub id: String,
    /// Texts, numbers and times, one for each column.
    pub cells: Vec<Value>,
    /// The page of Lux that shows what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
}

impl Line {
    pub fn of<const N: usize>(cells: [Value; N]) -> Self {
        Self { id: String::new(), cells: cells.into(), href: None }
    }

    #[must_use]
    pub fn to(mut self, href: impl Into<String>) -> Self {
        self.href = Some(href.into());
        self
    }

    pub fn number(&self, column: usize) -> i64 {
        self.cells.get(column).and_then(Value::as_i64).unwrap_or_default()
    }

    pub fn text(&self, column: usize) -> &str {
        self.cells.get(column).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Input {
    /// A cell of the first row; 0 without one.
    pub fn first(&self, column: usize) -> i64 {
        self.lines.first().map_or(0, |line| line.number(column))
    }

    pub fn sum(&self, column: usize) -> i64 {
        self.lines.iter().map(|line| line.number(column)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// All that one run has read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs(pub Vec<Input>);

impl Inputs {
    /// The input of this id; an empty one if it was not read.
    pub fn get(&self, id: &str) -> &Input {
        static NONE: std::sync::LazyLock<Input> = std::sync::LazyLock::new(Input::default);
        self.0.iter().find(|input| input.id == id).unwrap_or(&NONE)
    }

    /// The input or the row that a citation names.
    pub fn cited(&self, id: &str) -> Option<Cited<'_>> {
        self.0.iter().find_map(|input| {
            if input.id == id {
                return Some(Cited { input, line: None });
            }
            let line = input.lines.iter().find(|line| line.id == id)?;
            Some(Cited { input, line: Some(line) })
        })
    }
}

/// What stands behind a citation: a row, or a whole table.
#[derive(Clone, Copy, Debug)]
pub struct Cited<'a> {
    pub input: &'a Input,
    pub line: Option<&'a Line>,
}

/// Reads for one run, bounded.
pub(super) struct Gather<'a> {
    pub app: &'a App,
    pub organization: OrganizationId,
    pub now: DateTime<Utc>,
    pub inputs: Inputs,
}

impl<'a> Gather<'a> {
    pub(super) fn new(app: &'a App, organization: OrganizationId, now: DateTime<Utc>) -> Self {
        Self { app, organization, now, inputs: Inputs::default() }
    }

    /// Runs a statement, which is shown, and keeps its rows as an input.
    pub(super) async fn table<T: Row>(
        &mut self,
        id: &str,
        name: &str,
        columns: &[&str],
        query: Query<'_>,
        line: impl Fn(T) -> Line,
    ) -> Result<()> {
        let sql = query.text();
        let rows: Vec<T> = query.all().await?;
        let lines = rows.into_iter().map(line).collect();
        self.add(id, name, columns, lines);
        if let Some(input) = self.inputs.0.last_mut() {
            input.sql = Some(sql.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        Ok(())
    }

    /// Keeps what was read otherwise.
    pub(super) fn add(&mut self, id: &str, name: &str, columns: &[&str], mut lines: Vec<Line>) {
        let rows = i64::try_from(lines.len()).unwrap_or(i64::MAX);
        lines.truncate(usize::try_from(MOST_ROWS).unwrap_or_default());
        for (index, line) in lines.iter_mut().enumerate() {
            line.id = format!("{id}.{}", index + 1);
        }
        self.inputs.0.push(Input {
            id: id.to_owned(),
            name: name.to_owned(),
            columns: columns.iter().map(|it| (*it).to_owned()).collect(),
            rows,
            lines,
            ..Input::default()
        });
    }

    /// Says something of the input that was read last.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        if let Some(input) = self.inputs.0.last_mut() {
            input.note = text.into();
        }
    }
}

/// A time as a cell.
pub(super) fn at(time: Option<DateTime<Utc>>) -> Value {
    time.map_or(Value::Null, |time| json!(time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)))
}

/// A text of somebody else as a cell: one line, bounded, nothing hidden in it.
pub(super) fn said(text: &str) -> Value {
    const LONGEST: usize = 200;
    let line: String = crate::llm::visible(text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    json!(line.trim())
}
