//! Sales Enablement: whom to call, by points whose rules are shown.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::super::{
    input::{Gather, Inputs, Line, MOST_ROWS, said},
    report::{Kind, Report, count},
};
use crate::{error::Result, integrations};

/// What a fact is worth, and how it is said.
const RULES: [(&str, i64, &str); 8] = [
    ("called", 35, "called in 30 days"),
    ("clicked", 30, "clicked or replied to a mail in 30 days"),
    ("week", 25, "heard of within 7 days"),
    ("month", 10, "heard of within 30 days"),
    ("phone", 15, "the telephone number is known"),
    ("company", 10, "the company is known"),
    ("segment", 10, "is in a segment"),
    ("source", 10, "came from a webinar, a demo or a request"),
];

/// Contacts that are looked at: those that were heard of last.
const CANDIDATES: i64 = 500;

#[derive(sqlx::FromRow)]
struct Candidate {
    id: i64,
    source: String,
    company: i64,
    phone: i64,
    consent: String,
    active_at: DateTime<Utc>,
    segments: i64,
    clicks: i64,
    calls: i64,
}

/// What of a contact gives points.
struct Facts {
    id: i64,
    source: String,
    company: bool,
    phone: bool,
    consent: String,
    days: i64,
    segments: i64,
    clicked: bool,
    calls: i64,
}

impl Facts {
    /// The rules that apply.
    fn rules(&self) -> Vec<&'static (&'static str, i64, &'static str)> {
        let source = self.source.to_lowercase();
        let applies = |rule: &str| match rule {
            "called" => self.calls > 0,
            "clicked" => self.clicked,
            "week" => self.days <= 7,
            "month" => self.days > 7 && self.days <= 30,
            "phone" => self.phone,
            "company" => self.company,
            "segment" => self.segments > 0,
            _ => ["webinar", "demo", "request", "contact", "quote"]
                .iter()
                .any(|word| source.contains(word)),
        };
        RULES.iter().filter(|(rule, ..)| applies(rule)).collect()
    }
}

pub(super) async fn collect(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let query = db
        .query(
            "select c.id, c.source, cast(case when c.company = '' then 0 else 1 end as bigint) as company,
                    cast(case when c.phone is null then 0 else 1 end as bigint) as phone, c.consent, c.active_at,
                    (select count(*) from segment_contact s where s.contact_id = c.id) as segments,
                    (select count(*) from campaign_mail m where m.contact_id = c.id
                        and m.clicked_at >= $2)
                    + (select count(*) from contact_activity a where a.contact_id = c.id
                        and a.kind = 'replied' and a.at >= $2) as clicks,
                    (select count(*) from call_log l where l.contact_id = c.id
                        and l.started_at >= $2) as calls
             from contact c where c.organization_id = $1 and c.active_at >= $2
             order by c.active_at desc, c.id desc limit $3",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(30))
        .bind(CANDIDATES);
    let sql = query.text();
    let found: Vec<Candidate> = query.all().await?;
    let read = found.len();
    let mut scored: Vec<(i64, Facts)> = found
        .into_iter()
        .map(|found| {
            let facts = Facts {
                id: found.id,
                source: found.source,
                company: found.company > 0,
                phone: found.phone > 0,
                consent: found.consent,
                days: (now - found.active_at).num_days(),
                segments: found.segments,
                clicked: found.clicks > 0,
                calls: found.calls,
            };
            (facts.rules().iter().map(|(_, points, _)| points).sum(), facts)
        })
        .collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
    scored.truncate(usize::try_from(MOST_ROWS).unwrap_or_default());
    let lines = scored.into_iter().map(|(points, facts)| {
        let why: Vec<String> =
            facts.rules().iter().map(|(_, points, why)| format!("{why} (+{points})")).collect();
        Line::of([
            json!(facts.id),
            json!(points),
            json!(why.join(", ")),
            said(&facts.source),
            json!(facts.consent),
            json!(i64::from(facts.phone)),
        ])
        .to(format!("/contacts/{}", facts.id))
    });
    let columns = ["contact", "points", "why", "source", "consent", "has a telephone"];
    gather.add("scored", "Contacts by points", &columns, lines.collect());
    gather
        .note(format!("{read} contacts were heard of in 30 days; the best {MOST_ROWS} are shown."));
    if let Some(input) = gather.inputs.0.last_mut() {
        input.rows = i64::try_from(read).unwrap_or(i64::MAX);
        input.sql = Some(sql.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let rules =
        RULES.iter().map(|(_, points, why)| Line::of([json!(why), json!(points)])).collect();
    gather.add("rules", "What gives points", &["rule", "points"], rules);
    calls(gather).await
}

/// "calls": those of 30 days, or what it takes for there to be some.
async fn calls(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let served = integrations::served(db, organization).await?;
    let is_served = served.iter().any(|served| served.duty == integrations::Duty::Calls);
    let calls = db
        .query(
            "select count(*), cast(coalesce(sum(duration_seconds), 0) as bigint),
                    count(distinct contact_id)
             from call_log where organization_id = $1 and started_at >= $2",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(30));
    let line = |(calls, seconds, contacts): (i64, i64, i64)| {
        Line::of([json!(calls), json!(seconds), json!(contacts)])
    };
    let columns = ["calls", "seconds", "contacts"];
    gather.table("calls", "Calls in 30 days", &columns, calls, line).await?;
    if !is_served {
        gather.note(OFF);
    }
    Ok(())
}

/// What it takes for calls to be known.
const OFF: &str = "Call logs are off: connect HighLevel under Connections, and let it serve calls.";

pub(super) fn advise(inputs: &Inputs) -> Report {
    let scored = inputs.get("scored");
    let Some(best) = scored.lines.first() else {
        return Report::new("Nothing to do: no contact was heard of in 30 days.");
    };
    let calls = inputs.get("calls");
    let mut report = Report::new(format!(
        "{} in 30 days; contact {} leads with {} points.",
        count(scored.rows, "contact was heard of", "contacts were heard of"),
        best.number(0),
        best.number(1)
    ));
    if calls.first(0) > 0 {
        let text = format!(
            "{} in 30 days, from {}.",
            count(calls.first(0), "call was taken", "calls were taken"),
            count(calls.first(2), "contact that is known", "contacts that are known")
        );
        report.find(text, ["calls.1"]);
    }
    if !calls.note.is_empty() {
        report.note(calls.note.clone());
    }
    for line in scored.lines.iter().take(10) {
        let (id, points, why) = (line.number(0), line.number(1), line.text(2));
        let why = if why.is_empty() { "no rule applies" } else { why };
        report.find(format!("Contact {id}: {points} points: {why}."), [line.id.as_str()]);
    }
    for line in scored.lines.iter().filter(|line| line.number(5) > 0).take(3) {
        let body = format!(
            "Call brief\n\nWhy now: {}.\nCame from: {}.\n\n1. Ask what made them sign up{}.\n2. Ask what they would need to begin.\n3. Agree on one next step and its date.\n\nNote the answer at the contact.\n",
            line.text(2),
            super::source(line.text(3)),
            if line.text(3).is_empty() { String::new() } else { format!(" at {}", line.text(3)) }
        );
        report.propose(Kind::Text, format!("Call contact {}", line.number(0)), body);
        report.with(json!({}), [line.id.as_str()]);
    }
    if scored.lines.iter().all(|line| line.number(5) == 0) {
        report.note(
            "None of them has a telephone number that Lux could read, so there is no call brief.",
        );
    }
    report
}
