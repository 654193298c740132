//! Brand & Strategy: the brief that all drafts follow, and whether they do.

use serde_json::json;

use super::{
    super::{
        input::{Gather, Inputs, Line, said},
        report::{Kind, Report, count},
    },
    analytics,
    drafts::{self, Draft},
};
use crate::{error::Result, marketing::brand};

/// Words that promise what nobody can keep, or shout.
const LOUD: [&str; 12] = [
    "100% free",
    "act now",
    "best ever",
    "buy now",
    "guaranteed",
    "incredible",
    "limited time",
    "miracle",
    "no risk",
    "once in a lifetime",
    "revolutionary",
    "world-class",
];

/// A sentence of more words is hard to read.
const LONG: usize = 28;

pub(super) async fn collect(gather: &mut Gather<'_>) -> Result<()> {
    let kept = brand::store::find(&gather.app.db, gather.organization).await?;
    let brand = kept.brand;
    let fields = [
        ("name", &brand.name),
        ("voice", &brand.voice),
        ("offer", &brand.offer),
        ("audience", &brand.audience),
        ("goals", &brand.goals),
    ];
    let lines = fields.map(|(name, text)| {
        Line::of([json!(name), said(text), json!(i64::from(!text.trim().is_empty()))])
            .to("/campaigns/brand")
    });
    gather.add("brand", "The brand brief", &["field", "text", "filled in"], lines.into());
    let columns = ["draft", "status", "words", "what departs from a calm voice", "faults"];
    let open = drafts::open(gather);
    let line = |draft: &Draft| {
        let faults = voice(draft, &brand.avoid);
        let number = i64::try_from(faults.len()).unwrap_or_default();
        Line::of([
            said(&draft.name),
            json!(draft.status),
            json!(draft.words()),
            drafts::found(&faults),
            json!(number),
        ])
    };
    drafts::read(gather, "drafts", "Drafts and their voice", &columns, open, line).await?;
    analytics::campaigns(gather).await?;
    analytics::signups(gather, gather.now - chrono::TimeDelta::days(92)).await
}

/// What in a draft is not a calm voice.
fn voice(draft: &Draft, avoid: &[String]) -> Vec<String> {
    let text = draft.plain();
    let lower = format!("{} {}", draft.subjects.join(" "), text).to_lowercase();
    let mut faults: Vec<String> = LOUD
        .iter()
        .filter(|word| lower.contains(*word))
        .map(|word| format!("\"{word}\""))
        .collect();
    let avoided = avoid.iter().map(|word| word.trim().to_lowercase());
    let avoided = avoided.filter(|word| !word.is_empty() && lower.contains(word.as_str()));
    faults.extend(avoided.map(|word| format!("\"{word}\", which the brand avoids")));
    let shouts = text
        .split_whitespace()
        .filter(|word| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase()))
        .count();
    if shouts > 1 {
        faults.push(format!("{shouts} words in capitals"));
    }
    let marks = lower.matches('!').count();
    if marks > 1 {
        faults.push(format!("{marks} exclamation marks"));
    }
    let longest = text
        .split(['.', '!', '?'])
        .map(|sentence| sentence.split_whitespace().count())
        .max()
        .unwrap_or_default();
    if longest > LONG {
        faults.push(format!("a sentence of {longest} words"));
    }
    faults
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let mut report = Report::default();
    let drafts = inputs.get("drafts");
    for line in drafts.lines.iter().filter(|line| line.number(4) > 0) {
        let text = format!("{}: {}.", line.text(0), line.text(3));
        report.find(text, [line.id.as_str()]);
    }
    let missing: Vec<&str> = inputs
        .get("brand")
        .lines
        .iter()
        .filter(|line| line.number(2) == 0)
        .map(|line| line.text(0))
        .collect();
    if !missing.is_empty() {
        let text = format!("The brand brief says nothing of: {}.", missing.join(", "));
        report.find(text, ["brand"]);
    }
    let campaigns = inputs.get("campaigns");
    for line in campaigns.lines.iter().filter(|line| line.number(2) > 0).take(5) {
        let text = format!(
            "{} went to {}; {} clicked.",
            line.text(0),
            count(line.number(2), "contact", "contacts"),
            line.number(5)
        );
        report.find(text, [line.id.as_str()]);
    }
    let (these, before) = (inputs.get("signups").first(0), inputs.get("signups").first(1));
    if drafts.is_empty() && campaigns.is_empty() && these == 0 && missing.is_empty() {
        return Report::new("Nothing to do: there is no draft and no campaign to check.");
    }
    let departs = drafts.lines.iter().filter(|line| line.number(4) > 0).count();
    report.summary = format!(
        "{} checked, {departs} of them depart from a calm voice. {} this quarter.",
        count(drafts.rows, "draft was", "drafts were"),
        count(these, "new contact", "new contacts")
    );
    let body = format!(
        "Plan for the quarter (template)\n\nWhere we stand: {these} new contacts in 92 days, {before} in the 92 days before; {} went out.\n\nGoal 1: [a number and a date].\nGoal 2: [a number and a date].\n\nMonth 1: [one campaign, to whom, why].\nMonth 2: [one campaign, to whom, why].\nMonth 3: look at the numbers of both, keep what worked.\n\nNot this quarter: [what is left out, and why].\n",
        count(campaigns.rows, "campaign", "campaigns")
    );
    report.propose(Kind::Text, "Plan for the quarter", body);
    report.with(json!({}), ["signups", "campaigns"]);
    report
}

#[cfg(test)]
mod tests {
    use super::{Draft, voice};

    #[test]
    fn a_loud_draft_is_heard() {
        let draft = |body: &str| Draft {
            id: 1,
            name: "x".to_owned(),
            status: "draft".to_owned(),
            subjects: vec!["Hello".to_owned()],
            body: body.to_owned(),
        };
        assert!(
            voice(&draft("We moved the **button**. [See it](https://a.example)."), &[]).is_empty()
        );
        let faults =
            voice(&draft("ACT NOW!! This is GUARANTEED and WORLD class. HURRY UP NOWW"), &[]);
        assert_eq!(
            faults,
            ["\"act now\"", "\"guaranteed\"", "4 words in capitals", "2 exclamation marks"]
        );
    }
}
