//! What is to be done, step by step: what a person does, what Lux may run, what tells that it
//! helped. Its states are those of the database.

use crate::{
    config::{Policy, Risk},
    diagnose::{Confidence, Diagnosis},
    repair::{
        ModelPlan,
        action::{ActionRun, Catalogue, Status},
        plan::{Plan, Step},
        verdict::Verdict,
    },
};

use super::{prose, run::Badge};
use crate::dashboard::approvals::card::{Field, fields};

/// One step as it is shown.
pub(super) struct Card {
    /// HTML of our own renderer.
    pub title: String,
    pub about: Vec<String>,
    /// Exactly what runs.
    pub command: Option<String>,
    pub badge: Option<Badge>,
    /// What a person says when they have done it.
    pub done: Option<String>,
    /// The action that waits for a word.
    pub waits: Option<Waits>,
    /// The action's last words.
    pub output: Option<String>,
}

/// An action that waits.
pub(super) struct Waits {
    pub id: i64,
    pub hash: String,
    pub fields: Vec<Field>,
}

impl Card {
    fn new(title: String) -> Self {
        Self {
            title,
            about: Vec::new(),
            command: None,
            badge: None,
            done: None,
            waits: None,
            output: None,
        }
    }

    fn manual(text: &str) -> Self {
        let said: String = text.chars().take(300).collect();
        Self {
            command: command(text),
            done: Some(format!("I did this: {said}\n\nRe-test it.")),
            ..Self::new(prose::sentence(text))
        }
    }

    fn probe(request: &str, shared: Option<&str>) -> Self {
        let about = match shared {
            Some(shared) => format!("The error names {shared}."),
            None => "Lux probes it and counts only what it measures.".to_owned(),
        };
        let title = prose::sentence(&format!("Check `{}`", request.replace('`', "'")));
        Self { about: vec![about], ..Self::new(title) }
    }
}

/// Programs by which playbooks begin what is to be typed.
const PROGRAMS: &[&str] = &[
    "apt",
    "certbot",
    "chmod",
    "chown",
    "curl",
    "df",
    "dig",
    "docker",
    "du",
    "free",
    "gunicorn",
    "journalctl",
    "kill",
    "lsof",
    "mkdir",
    "mysql",
    "nginx",
    "npm",
    "openssl",
    "pip",
    "ps",
    "psql",
    "redis-cli",
    "ss",
    "sudo",
    "systemctl",
    "timedatectl",
    "ufw",
    "ulimit",
];

/// What a step gives to type: in backquotes, or behind a colon.
fn command(text: &str) -> Option<String> {
    let mut quoted = text.split('`').skip(1).step_by(2);
    let fits = |it: &str| it.trim().contains(' ') && it.len() < 400;
    let plain = || {
        let (_, after) = text.split_once(": ")?;
        let command = after.split([';', ',']).next()?.split(" (").next()?.trim();
        let program = command.split(' ').next()?;
        (PROGRAMS.contains(&program) && fits(command)).then_some(command)
    };
    quoted.find(|it| fits(it)).or_else(plain).map(|it| it.trim().to_owned())
}

/// What the advisor's first finding asks for; `None` where nothing is wrong.
pub(super) fn of_diagnosis(diagnosis: &Diagnosis) -> Option<Vec<Card>> {
    let first = diagnosis.findings.first()?;
    if first.confidence == Confidence::Inconclusive || first.fix.is_empty() {
        return None;
    }
    let mut cards: Vec<Card> = first.fix.iter().map(|text| Card::manual(text)).collect();
    cards.extend(first.probes.iter().map(|probe| {
        let mut card = Card::probe(&format!("{} {}", probe.method, probe.path), None);
        card.about = vec![format!("It answers {} when this is mended.", probe.expect_status)];
        card
    }));
    Some(cards)
}

/// The plan of a run's cause with what became of it. `verdicts` are those of its errors.
pub(super) fn of_run(
    plan: &Plan,
    actions: &[ActionRun],
    verdicts: &[Option<Verdict>],
    catalogue: &Catalogue,
) -> Vec<Card> {
    let mut cards: Vec<Card> =
        plan.steps.iter().map(|step| of_step(step, actions, verdicts, catalogue)).collect();
    if let Some(ModelPlan { steps, .. }) = &plan.model {
        // What the model adds to the playbook's plan; all of it only proposed.
        for step in steps.iter().filter(|step| !same(plan, step)) {
            let mut card = of_step(step, actions, verdicts, catalogue);
            card.about.push("Proposed by the model.".to_owned());
            cards.push(card);
        }
    }
    cards
}

fn same(plan: &Plan, step: &Step) -> bool {
    plan.steps.iter().any(|known| match (known, step) {
        (Step::Action { hash: a, .. }, Step::Action { hash: b, .. })
        | (Step::Probe { name: a, .. }, Step::Probe { name: b, .. })
        | (Step::Manual { text: a }, Step::Manual { text: b }) => a == b,
        _ => false,
    })
}

fn of_step(
    step: &Step,
    actions: &[ActionRun],
    verdicts: &[Option<Verdict>],
    catalogue: &Catalogue,
) -> Card {
    match step {
        Step::Manual { text } => Card::manual(text),
        Step::Probe { request, shared, .. } => {
            let mut card = Card::probe(request, shared.as_deref());
            card.badge = probed(verdicts);
            card
        }
        Step::Action { name, argv, hash, policy, risk, record, blocked } => {
            let is_it = |run: &&ActionRun| {
                run.replaced_by.is_none() && (run.hash == *hash || run.action == *name)
            };
            let run = actions.iter().rev().find(is_it);
            let title = run.and_then(|run| run.title.clone());
            let title = title.unwrap_or_else(|| format!("Run {name}"));
            let mut card = Card::new(prose::escaped(&title));
            // Somebody may have given it other values since it was planned.
            card.command = Some(run.map_or(argv, |run| &run.argv.0).join(" "));
            card.about.push(risk_text(*risk).to_owned());
            card.about.extend(record.as_ref().map(|record| format!("It {record}.")));
            match run {
                Some(run) => of_action(run, catalogue, &mut card),
                None => {
                    card.about.push(match (blocked, policy) {
                        (Some(blocked), _) => format!("Not now: {blocked}."),
                        (None, Policy::Approve) => "Runs only after an approval.".to_owned(),
                        (None, Policy::Auto) => "Runs unasked in a repair.".to_owned(),
                        (None, Policy::Never) => "Lux never runs it; you can.".to_owned(),
                    });
                }
            }
            card
        }
    }
}

fn risk_text(risk: Risk) -> &'static str {
    match risk {
        Risk::ReadOnly => "It changes nothing.",
        Risk::Reversible => "What it changes can be taken back.",
        Risk::Disruptive => "Somebody may notice it.",
    }
}

fn of_action(run: &ActionRun, catalogue: &Catalogue, card: &mut Card) {
    let by = run.decided_by.as_deref().unwrap_or("nobody");
    let (badge, told) = match run.status {
        Status::Proposed => {
            let (id, hash) = (run.id, run.hash.clone());
            card.waits = Some(Waits { id, hash, fields: fields(run, catalogue) });
            let user = run.run_as.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
            let seconds = run.timeout_ms / 1000;
            let text = format!("Exactly this runs{user}, once, for at most {seconds} s.");
            (Badge::new("warn", "hourglass", "Needs approval"), text)
        }
        Status::Approved => {
            (Badge::new("live", "loader-circle", "Approved"), format!("Approved by {by}."))
        }
        Status::Running => {
            (Badge::new("live", "loader-circle", "Running"), format!("Approved by {by}."))
        }
        // That a program ended well proves nothing about the error.
        Status::Succeeded => (Badge::new("", "check", "Ran"), format!("Approved by {by}; exit 0.")),
        Status::Failed => (Badge::new("bad", "circle-x", "Failed"), format!("Approved by {by}.")),
        Status::TimedOut => {
            (Badge::new("bad", "circle-x", "Timed out"), format!("Approved by {by}."))
        }
        Status::Rejected => {
            (Badge::new("", "ban", "Rejected"), format!("Rejected by {by}. Nothing ran."))
        }
        Status::Expired => (
            Badge::new("", "clock", "Expired"),
            "Nobody decided in time; start the repair again.".to_owned(),
        ),
        Status::Unknown => (
            Badge::new("bad", "circle-alert", "Interrupted"),
            "Lux was not there when it ended: look at what it did.".to_owned(),
        ),
        Status::Undone => (Badge::new("", "undo-2", "Undone"), format!("Approved by {by}.")),
    };
    card.badge = Some(badge);
    card.about.push(told);
    card.about.extend(run.decision_reason.as_ref().map(|reason| format!("Reason: {reason}")));
    card.output.clone_from(&run.detail);
}

/// What the probes say of a cause's errors; green only with all of them proven.
fn probed(verdicts: &[Option<Verdict>]) -> Option<Badge> {
    let all = |wanted: Verdict| {
        !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict == Some(wanted))
    };
    if all(Verdict::Resolved) {
        return Some(Badge::new("ok", "circle-check", "Passed"));
    }
    if verdicts.iter().any(Option::is_none) {
        return Some(Badge::new("live", "loader-circle", "Probing"));
    }
    let failing = verdicts.contains(&Some(Verdict::StillFailing));
    failing.then(|| Badge::new("bad", "circle-x", "Failing"))
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn what_is_to_be_typed_is_found() {
        for (text, found) in [
            ("Restart it: `systemctl restart shop`", Some("systemctl restart shop")),
            (
                "Install it: pip install shopkit (or pip install -r a.txt)",
                Some("pip install shopkit"),
            ),
            ("Check the key: answer 400", None),
            ("Read `the.log`", None),
        ] {
            assert_eq!(command(text).as_deref(), found, "{text}");
        }
    }
}
