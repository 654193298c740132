//! A run's result as it is drawn: citations that lead to their rows, texts to copy.

use serde_json::Value;

use crate::marketing::agent::{
    input::Input,
    may_be_taken,
    report::{Finding, Kind, Proposal},
    store::Run,
};

/// A run, ready to be drawn.
pub(super) struct Shown {
    pub run: Run,
    pub findings: Vec<Cited>,
    pub rules: Vec<Cited>,
    pub proposals: Vec<Draft>,
    pub notes: Vec<String>,
}

/// A finding with what it cites: words and where they lead.
pub(super) struct Cited {
    pub finding: Finding,
    pub citations: Vec<Link>,
}

/// A citation: what it is called, and the id of the row or table on this page.
pub(super) struct Link {
    pub words: String,
    pub anchor: String,
}

pub(super) struct Draft {
    pub number: usize,
    pub proposal: Proposal,
    pub citations: Vec<Link>,
}

impl Shown {
    pub(super) fn new(mut run: Run) -> Self {
        let result = run.result.take().unwrap_or_default();
        let links = |ids: &[String]| links(&run.inputs, ids);
        let cited = |findings: Vec<Finding>| -> Vec<Cited> {
            let cited = |finding: Finding| Cited { citations: links(&finding.citations), finding };
            findings.into_iter().map(cited).collect()
        };
        let draft = |(index, proposal): (usize, Proposal)| Draft {
            number: index + 1,
            citations: links(&proposal.citations),
            proposal,
        };
        Self {
            findings: cited(result.findings),
            rules: cited(result.rules),
            proposals: result.proposals.into_iter().enumerate().map(draft).collect(),
            notes: result.notes,
            run,
        }
    }

    /// "A model's words" or "Template".
    pub(super) fn engine(&self) -> String {
        match (self.run.engine.as_deref(), &self.run.model) {
            (Some("model"), Some(model)) => format!("By {model}"),
            (Some(_), _) => "Template".to_owned(),
            (None, _) => String::new(),
        }
    }
}

impl Draft {
    pub(super) fn may_be_taken(&self) -> bool {
        self.proposal.taken.is_none() && may_be_taken(self.proposal.kind)
    }

    /// What its button says.
    pub(super) fn verb(&self) -> &'static str {
        match self.proposal.kind {
            Kind::Campaign => "Make a campaign draft",
            _ => "Make the segment",
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.proposal.kind {
            Kind::Campaign => "Campaign",
            Kind::Segment => "Segment",
            Kind::Ticket => "Ticket",
            Kind::Text => "Text",
            Kind::Csv => "CSV",
        }
    }

    pub(super) fn icon(&self) -> &'static str {
        match self.proposal.kind {
            Kind::Campaign => "megaphone",
            Kind::Segment => "users",
            Kind::Ticket => "tag",
            Kind::Text | Kind::Csv => "file-text",
        }
    }

    /// Subjects of a campaign's draft.
    pub(super) fn subjects(&self) -> Vec<&str> {
        let subjects = self.proposal.detail["subjects"].as_array();
        subjects.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

fn links(inputs: &[Input], ids: &[String]) -> Vec<Link> {
    let link = |id: &String| {
        let (table, row) = id.split_once('.').unwrap_or((id, ""));
        let input = inputs.iter().find(|input| input.id == table)?;
        let words = match row {
            "" => input.name.clone(),
            row => format!("{}, row {row}", input.name),
        };
        Some(Link { words, anchor: format!("read-{id}") })
    };
    ids.iter().filter_map(link).collect()
}

/// The cells of a row as people read them.
pub(super) fn cells(cells: &[Value]) -> Vec<String> {
    cells.iter().map(text).collect()
}

fn text(cell: &Value) -> String {
    match cell {
        Value::String(text) => match chrono::DateTime::parse_from_rfc3339(text) {
            Ok(at) => at.format("%F %H:%M UTC").to_string(),
            Err(_) => text.clone(),
        },
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}
