//! One action as people see it, here and in its run.

use chrono::TimeDelta;

use crate::{
    config::{Policy, Risk, Rule},
    dashboard::when,
    repair::action::{ActionRun, Catalogue, Status},
};

/// What is shown of what an action printed, in characters from its end.
const SHOWN: usize = 6000;

/// A value that somebody may change before it is approved.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub name: String,
    pub value: String,
    /// All that it may be; empty: `rule` says it.
    pub options: Vec<String>,
    pub rule: String,
}

/// The values of an action that waits that could be others.
pub(crate) fn fields(run: &ActionRun, catalogue: &Catalogue) -> Vec<Field> {
    if run.status != Status::Proposed {
        return Vec::new();
    }
    let free = catalogue.params(&run.action).filter(|(_, param)| param.only().is_none());
    let field = free.filter_map(|(name, param)| {
        let options = match &param.rule {
            Rule::OneOf(values) => values.clone(),
            Rule::Int(..) | Rule::Matches(_) => Vec::new(),
        };
        let (value, rule) = (run.params.get(name)?.clone(), param.rule.describe());
        Some(Field { name: name.to_owned(), value, options, rule })
    });
    field.collect()
}

/// An action, in words.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub run: ActionRun,
    /// The errors that it is to mend, where they do not stand beside it: id and title.
    pub errors: Vec<(i64, String)>,
    /// What may be changed of it.
    pub fields: Vec<Field>,
    /// Its button is the one of the page.
    pub is_first: bool,
    /// It stands below a heading of its own.
    pub is_nested: bool,
}

impl From<ActionRun> for Card {
    fn from(run: ActionRun) -> Self {
        Self { run, errors: Vec::new(), fields: Vec::new(), is_first: false, is_nested: false }
    }
}

/// The actions of one view: the first that waits has the filled button.
pub(crate) fn cards(runs: impl IntoIterator<Item = ActionRun>, catalogue: &Catalogue) -> Vec<Card> {
    let card = |run| {
        let fields = fields(&run, catalogue);
        Card { fields, ..Card::from(run) }
    };
    let mut cards: Vec<Card> = runs.into_iter().map(card).collect();
    if let Some(first) = cards.iter_mut().find(|card| card.waits()) {
        first.is_first = true;
    }
    cards
}

impl Card {
    /// What it does, by the operator's own title, else by its name.
    pub(crate) fn title(&self) -> &str {
        self.run.title.as_deref().unwrap_or(&self.run.action)
    }

    /// The command as a shell would read it, though none does.
    pub(crate) fn command(&self) -> String {
        command(&self.run.argv)
    }

    /// "unit = shop.service"
    pub(crate) fn params(&self) -> Vec<String> {
        self.run.params.iter().map(|(name, value)| format!("{name} = {value}")).collect()
    }

    pub(crate) fn undo(&self) -> Option<String> {
        self.run.undo.as_ref().map(|argv| command(argv))
    }

    pub(crate) fn user(&self) -> &str {
        self.run.run_as.as_deref().unwrap_or("Lux's own user")
    }

    pub(crate) fn timeout(&self) -> String {
        when::span(TimeDelta::milliseconds(self.run.timeout_ms))
    }

    pub(crate) fn risk(&self) -> &'static str {
        risk(self.run.risk)
    }

    pub(crate) fn waits(&self) -> bool {
        self.run.status == Status::Proposed
    }

    /// Whether it ran, has an undo, and was not taken back yet.
    pub(crate) fn can_be_undone(&self) -> bool {
        self.run.undo.is_some() && self.run.status.was_run() && self.run.status != Status::Undone
    }

    pub(crate) fn state(&self) -> &'static str {
        match self.run.status {
            Status::Proposed => "Waiting for you",
            Status::Approved => "Approved",
            Status::Running => "Running",
            Status::Succeeded => "Ran, exit code 0",
            Status::Failed => "Failed",
            Status::TimedOut => "Timed out",
            Status::Rejected => "Rejected",
            Status::Expired => "Expired",
            Status::Unknown => "Interrupted",
            Status::Undone => "Undone",
        }
    }

    /// The class of its badge. That a command ended well proves nothing: green is for checks.
    pub(crate) fn tone(&self) -> &'static str {
        match self.run.status {
            Status::Proposed => "warn",
            Status::Approved | Status::Running => "live",
            Status::Failed | Status::TimedOut | Status::Unknown => "bad",
            Status::Succeeded | Status::Rejected | Status::Expired | Status::Undone => "",
        }
    }

    pub(crate) fn icon(&self) -> &'static str {
        match self.run.status {
            Status::Proposed => "circle-pause",
            Status::Approved => "check",
            Status::Running => "loader-circle",
            Status::Succeeded => "terminal",
            Status::Failed | Status::Unknown => "octagon-x",
            Status::TimedOut | Status::Expired => "hourglass",
            Status::Rejected => "ban",
            Status::Undone => "undo-2",
        }
    }

    /// Who let it run or refused it: "Ada (account 7)", or the configuration.
    pub(crate) fn decision(&self) -> Option<&'static str> {
        self.run.decided_at?;
        Some(match self.run.status {
            Status::Rejected => "Rejected",
            _ => "Approved",
        })
    }

    /// The end of what it printed.
    pub(crate) fn output(&self) -> Option<&str> {
        let output = self.run.output.as_deref().filter(|output| !output.trim().is_empty())?;
        let from = output.char_indices().rev().nth(SHOWN - 1).map_or(0, |(at, _)| at);
        Some(&output[from..])
    }

    /// Bytes that are not shown: cut here, or never kept.
    pub(crate) fn hidden(&self) -> i64 {
        let kept = self.run.output.as_deref().map_or(0, str::len);
        let shown = self.output().map_or(kept, str::len);
        self.run.output_dropped + i64::try_from(kept - shown).unwrap_or(0)
    }
}

/// What an action can do, in words.
pub(crate) fn risk(risk: Risk) -> &'static str {
    match risk {
        Risk::ReadOnly => "changes nothing",
        Risk::Reversible => "can be taken back",
        Risk::Disruptive => "users may notice",
    }
}

/// Who decides about an action.
pub(crate) fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Auto => "runs without asking",
        Policy::Approve => "waits for your approval",
        Policy::Never => "is never run by Lux",
    }
}

/// Arguments on one line; what a shell would read in another way stands in quotes.
pub(crate) fn command(argv: &[String]) -> String {
    let quoted = argv.iter().map(|argument| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+{}".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            argument.clone()
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn what_a_shell_would_act_upon_is_quoted() {
        let argv = ["/bin/sh", "-c", "a; b", "", "it's", "x=1"].map(str::to_owned);
        assert_eq!(command(&argv), "/bin/sh -c 'a; b' '' 'it'\\''s' x=1");
    }
}
