//! Email & CRM: how clean the list is, what could be a segment, and the newsletter's draft.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    super::{
        input::{Gather, Inputs, Line, said},
        report::{Kind, Report, count},
    },
    analytics, source,
};
use crate::error::Result;

/// A source with so many contacts deserves a segment of its own.
const WORTH_A_SEGMENT: i64 = 3;

pub(super) async fn collect(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let consent = db
        .query(
            "select consent, count(*), count(bounced), count(case when email is null then 1 end)
             from contact where organization_id = $1 group by consent order by consent",
        )
        .bind(organization);
    let line = |(consent, contacts, bounced, without): (String, i64, i64, i64)| {
        Line::of([json!(consent), json!(contacts), json!(bounced), json!(without)])
    };
    let columns = ["consent", "contacts", "bounced", "without an address"];
    gather.table("consent", "Contacts by consent", &columns, consent, line).await?;
    duplicates(gather).await?;
    let left = db
        .query(
            "select kind, count(*) from contact_activity
             where organization_id = $1 and at >= $2
               and kind in ('unsubscribed', 'bounced', 'complained')
             group by kind order by kind",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(30));
    let line = |(kind, contacts): (String, i64)| Line::of([json!(kind), json!(contacts)]);
    gather.table("left", "Who left in 30 days", &["what", "contacts"], left, line).await?;
    let segments = db
        .query(
            "select s.id, s.name, coalesce(s.rule, ''),
                    (select count(*) from segment_contact m where m.segment_id = s.id)
             from segment s where s.organization_id = $1 order by s.id limit 50",
        )
        .bind(organization);
    let line = |(_, name, rule, members): (i64, String, String, i64)| {
        Line::of([said(&name), json!(members), said(&rule)])
    };
    gather.table("segments", "Segments", &["segment", "members", "rule"], segments, line).await?;
    let sources = db
        .query(
            "select source, count(*), count(case when consent = 'confirmed' then 1 end)
             from contact where organization_id = $1 and source <> ''
             group by source order by 2 desc, source limit 20",
        )
        .bind(organization);
    let line = |(source, contacts, confirmed): (String, i64, i64)| {
        Line::of([said(&source), json!(contacts), json!(confirmed)])
    };
    let columns = ["source", "contacts", "agreed to mail"];
    gather.table("sources", "Contacts by source", &columns, sources, line).await?;
    analytics::signups(gather, now - TimeDelta::days(7)).await?;
    // Its own "sources" are of all time.
    gather.inputs.0.pop();
    let answers = db
        .query(
            "select status, count(*) from webhook_receipt
             where organization_id = $1 and at >= $2 group by status order by status limit 50",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(1));
    let line = |(status, calls): (i64, i64)| Line::of([json!(status), json!(calls)]);
    gather.table("webhook", "Webhook answers in 24 h", &["status", "calls"], answers, line).await
}

/// "same_address" and "same_phone": likely the same person twice.
async fn duplicates(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization) = (&gather.app.db, gather.organization);
    let alike = db
        .query(
            "select min(id), max(id), count(*) from contact
             where organization_id = $1 and email_like is not null
             group by email_like having count(*) > 1 order by 3 desc, 1 limit 50",
        )
        .bind(organization);
    let line = |(first, last, contacts): (i64, i64, i64)| {
        Line::of([json!(first), json!(last), json!(contacts)]).to(format!("/contacts/{first}"))
    };
    let columns = ["first contact", "last contact", "contacts"];
    gather.table("same_address", "Addresses that are likely one", &columns, alike, line).await?;
    let phones = db
        .query(
            "select min(id), max(id), count(*) from contact
             where organization_id = $1 and phone is not null
             group by phone having count(*) > 1 order by 3 desc, 1 limit 50",
        )
        .bind(organization);
    gather.table("same_phone", "Contacts with one telephone number", &columns, phones, line).await
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let mut report = Report::default();
    let consent = inputs.get("consent");
    let all = consent.sum(1);
    if all == 0 {
        return Report::new(
            "Nothing to do: there is no contact yet. They arrive by the webhook, a file or the API.",
        );
    }
    let may = consent.lines.iter().find(|line| line.text(0) == "confirmed");
    let agreed = may.map_or(0, |line| line.number(1));
    let text = format!("{agreed} of {} agreed to mail.", count(all, "contact", "contacts"));
    report.find(text, ["consent"]);
    if let Some(line) = consent.lines.iter().find(|line| line.text(0) == "pending") {
        let text = format!(
            "{} asked and did not confirm yet.",
            count(line.number(1), "contact was", "contacts were")
        );
        report.find(text, [line.id.as_str()]);
    }
    let bounced = consent.sum(2);
    if bounced > 0 {
        let text =
            format!("{} do not take mail (bounced).", count(bounced, "address", "addresses"));
        report.find(text, ["consent"]);
    }
    for (id, what) in [
        ("same_address", "an address that is likely the same"),
        ("same_phone", "the same telephone number"),
    ] {
        let pairs = inputs.get(id).rows;
        if pairs > 0 {
            let text = format!(
                "{} of contacts have {what}: look at them and merge what is one person.",
                count(pairs, "group", "groups")
            );
            report.find(text, [id]);
        }
    }
    for line in &inputs.get("left").lines {
        let text = format!("{} {} in 30 days.", line.number(1), line.text(0));
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("webhook").lines.iter().filter(|line| line.number(0) >= 400) {
        let calls = count(line.number(1), "call", "calls");
        let text = format!("The webhook refused {calls} with {} in 24 h.", line.number(0));
        report.find(text, [line.id.as_str()]);
    }
    segments(inputs, &mut report);
    newsletter(inputs, agreed, &mut report);
    report.summary = format!(
        "{}, {agreed} agreed to mail. {}, {} proposed.",
        count(all, "contact", "contacts"),
        count(
            inputs.get("same_address").rows + inputs.get("same_phone").rows,
            "likely duplicate",
            "likely duplicates"
        ),
        count(i64::try_from(report.proposals.len()).unwrap_or_default(), "thing is", "things are")
    );
    report
}

/// A segment for each larger source that no rule speaks of.
fn segments(inputs: &Inputs, report: &mut Report) {
    let known = inputs.get("segments");
    for line in &inputs.get("sources").lines {
        let name = line.text(0);
        let has_one = known.lines.iter().any(|it| it.text(2).contains(name) || it.text(0) == name);
        if line.number(1) < WORTH_A_SEGMENT || has_one {
            continue;
        }
        let body = format!("All contacts whose source is {name}: {} now.", line.number(1));
        report.propose(Kind::Segment, format!("From {name}"), body);
        report.with(
            json!({
                "name": format!("From {name}"),
                "rule": { "field": "source", "op": "is", "value": name },
            }),
            [line.id.as_str()],
        );
        if report.proposals.len() >= 3 {
            return;
        }
    }
}

/// The newsletter, to those who agreed.
fn newsletter(inputs: &Inputs, agreed: i64, report: &mut Report) {
    if agreed == 0 {
        report.note("No newsletter is drafted: nobody agreed to mail yet.");
        return;
    }
    let new = inputs.get("signups").first(0);
    let best = inputs.get("sources").lines.first().map_or("", |line| line.text(0));
    let body = "Hello {{ first_name|default(\"there\") }},\n\n[One sentence: what is new, and what it does for the reader.]\n\n## [The news]\n\n[Two or three sentences. One link.]\n\n[What to do next](https://example.com)\n\nUntil soon,\n[Your name]\n";
    report.propose(Kind::Campaign, "Newsletter", body);
    report.with(
        json!({
            "name": "Newsletter",
            "goal": "Tell what is new to who agreed to hear of it",
            "audience": format!("The {agreed} contacts who agreed to mail; {new} came this week, most of all from {}", source(best)),
            "subjects": ["[What is new] at [your product]", "[First name], [the one thing that changed]"],
        }),
        ["consent", "signups"],
    );
}
