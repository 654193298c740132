//! Advertising & Demand: what came of which tag, and variants of ads within the networks' limits.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    super::{
        input::{Gather, Inputs, Line, said},
        report::{Kind, Report, count},
    },
    analytics, csv_line,
    traffic::{self, Wanted},
};
use crate::error::Result;

/// Characters of a headline and of a description in a responsive search ad.
const HEADLINE: usize = 30;
const DESCRIPTION: usize = 90;

pub(super) async fn collect(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let tagged = db
        .query(db.dialect(
            "select coalesce(cast(attributes as jsonb) ->> 'utm_source', '') as s,
                    coalesce(cast(attributes as jsonb) ->> 'utm_campaign', '') as c, count(*),
                    count(case when consent = 'confirmed' then 1 end)
             from contact where organization_id = $1 and created_at >= $2
             and attributes like '%\"utm_%' group by 1, 2 order by 3 desc, 1, 2 limit 20",
            "select coalesce(attributes ->> 'utm_source', '') as s,
                    coalesce(attributes ->> 'utm_campaign', '') as c, count(*),
                    count(case when consent = 'confirmed' then 1 end)
             from contact where organization_id = $1 and created_at >= $2
             and attributes like '%\"utm_%' group by 1, 2 order by 3 desc, 1, 2 limit 20",
        ))
        .bind(organization)
        .bind(now - TimeDelta::days(90));
    let line = |(source, campaign, contacts, agreed): (String, String, i64, i64)| {
        Line::of([said(&source), said(&campaign), json!(contacts), json!(agreed)])
    };
    let columns = ["utm_source", "utm_campaign", "contacts", "agreed to mail"];
    gather.table("tags", "New contacts by campaign tag, 90 days", &columns, tagged, line).await?;
    let sources = db
        .query(
            "select source, count(*) from contact
             where organization_id = $1 and created_at >= $2
             group by source order by 2 desc, source limit 20",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(90));
    let line = |(source, contacts): (String, i64)| Line::of([said(&source), json!(contacts)]);
    let columns = ["source", "contacts"];
    gather.table("sources", "New contacts by source, 90 days", &columns, sources, line).await?;
    analytics::campaigns(gather).await?;
    traffic::read(gather, Wanted { tags: true, ..Wanted::default() }).await
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let mut report = Report::default();
    let (tags, visits) = (inputs.get("tags"), inputs.get("visits"));
    for line in tags.lines.iter().take(5) {
        let text = format!(
            "{} came tagged {}{}; {} agreed to mail.",
            count(line.number(2), "contact", "contacts"),
            name(line.text(0)),
            campaign(line.text(1)),
            line.number(3)
        );
        report.find(text, [line.id.as_str()]);
    }
    for line in visits.lines.iter().take(5) {
        let text = format!(
            "{} tagged {}{} stand in the access log.",
            count(line.number(2), "visit", "visits"),
            name(line.text(0)),
            campaign(line.text(1))
        );
        let known = tags.lines.iter().any(|it| it.text(0) == line.text(0));
        let text = if known { text } else { format!("{text} No contact came of them.") };
        report.find(text, [line.id.as_str()]);
    }
    if tags.is_empty() && visits.is_empty() {
        report.note("No contact and no visit carries a campaign tag. Add utm_source and utm_campaign to the links of your ads; Lux then counts both.");
    }
    let campaigns = inputs.get("campaigns");
    if let Some(line) = campaigns.lines.first() {
        variants(&mut report, line.text(0), &line.id);
    }
    if report.is_idle() {
        let idle =
            "Nothing to do: no tagged visit, no tagged contact, and no campaign to write ads for.";
        idle.clone_into(&mut report.summary);
        return report;
    }
    report.summary = format!(
        "{} with a campaign tag in 90 days, {} in the access log.",
        count(tags.sum(2), "contact", "contacts"),
        count(visits.sum(2), "tagged visit", "tagged visits")
    );
    report
}

/// Lines for an import, each within its limit.
fn variants(report: &mut Report, campaign: &str, citation: &str) {
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    let mut csv = csv_line(["Headline", "Description", "Final URL suffix"]);
    let slug: String = campaign
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    for (headline, description) in [
        (campaign.to_owned(), format!("{campaign}: see what it does for you. No obligation.")),
        (
            format!("{campaign}: now"),
            "[The one benefit that matters most.] Begin today.".to_owned(),
        ),
        (format!("Why {campaign}?"), "[What others lack and you have.] Look at it now.".to_owned()),
    ] {
        let suffix = format!("utm_source=ads&utm_medium=cpc&utm_campaign={slug}");
        csv.push_str(&csv_line([
            cut(&headline, HEADLINE).as_str(),
            cut(&description, DESCRIPTION).as_str(),
            suffix.as_str(),
        ]));
    }
    report.propose(Kind::Csv, format!("Ad variants for {campaign}"), csv);
    report.with(json!({ "headline": HEADLINE, "description": DESCRIPTION }), [citation]);
}

fn name(source: &str) -> &str {
    if source.is_empty() { "without a source" } else { source }
}

fn campaign(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" / {text}") }
}
