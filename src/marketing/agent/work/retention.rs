//! Customer Retention: who has gone quiet, and whom errors hit.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::super::{
    input::{Gather, Inputs, Line, at, said},
    report::{Kind, Report, count},
};
use crate::error::Result;

/// Quiet for so long, but heard of within the longer time.
const QUIET: TimeDelta = TimeDelta::days(60);
const GONE: TimeDelta = TimeDelta::days(365);
/// An error that hit more contacts than this is told of first.
const MANY: i64 = 3;

pub(super) async fn collect(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let totals = db
        .query(
            "select count(*), count(case when consent = 'confirmed' and bounced is null then 1 end)
             from contact where organization_id = $1 and active_at < $2 and active_at >= $3",
        )
        .bind(organization)
        .bind(now - QUIET)
        .bind(now - GONE);
    let line = |(quiet, may): (i64, i64)| Line::of([json!(quiet), json!(may)]);
    let columns = ["quiet for 60 days", "of these, may be written to"];
    gather.table("quiet", "Contacts who have gone quiet", &columns, totals, line).await?;
    let longest = db
        .query(
            "select id, source, consent, active_at from contact
             where organization_id = $1 and active_at < $2 and active_at >= $3
             order by active_at desc, id desc limit 50",
        )
        .bind(organization)
        .bind(now - QUIET)
        .bind(now - GONE);
    let line = |(id, source, consent, active): (i64, String, String, DateTime<Utc>)| {
        Line::of([
            json!(id),
            said(&source),
            json!(consent),
            at(Some(active)),
            json!((now - active).num_days()),
        ])
        .to(format!("/contacts/{id}"))
    };
    let columns = ["contact", "source", "consent", "heard of last", "days"];
    gather.table("quiet_list", "Who went quiet lately", &columns, longest, line).await?;
    let hit = db
        .query(
            "select g.id, g.title, g.status, count(*), min(c.id) from error_group g
             join error_group_user u on u.group_id = g.id
             join contact c on c.organization_id = g.organization_id and c.email_key = lower(u.user_id)
             where g.organization_id = $1 and g.seen_at >= $2 and g.merged_into is null
             group by g.id, g.title, g.status order by 4 desc, g.id limit 20",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(30));
    let line = |(id, title, status, contacts, _): (i64, String, String, i64, i64)| {
        Line::of([said(&title), json!(status), json!(contacts)]).to(format!("/errors/{id}"))
    };
    let columns = ["error", "status", "contacts hit"];
    gather.table("hit", "Errors that contacts met in 30 days", &columns, hit, line).await?;
    let who = db
        .query(
            "select c.id, count(*), max(g.last_seen) from error_group g
             join error_group_user u on u.group_id = g.id
             join contact c on c.organization_id = g.organization_id and c.email_key = lower(u.user_id)
             where g.organization_id = $1 and g.seen_at >= $2 and g.merged_into is null
             group by c.id order by 2 desc, c.id limit 50",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(30));
    let line = |(id, errors, last): (i64, i64, DateTime<Utc>)| {
        Line::of([json!(id), json!(errors), at(Some(last))]).to(format!("/contacts/{id}"))
    };
    let columns = ["contact", "errors met", "last"];
    gather.table("hit_list", "Contacts whom errors hit", &columns, who, line).await?;
    let left = db
        .query(
            "select count(case when at >= $3 then 1 end), count(case when at < $3 then 1 end)
             from contact_activity where organization_id = $1 and kind = 'unsubscribed' and at >= $2",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(60))
        .bind(now - TimeDelta::days(30));
    let line = |(these, before): (i64, i64)| Line::of([json!(these), json!(before)]);
    let columns = ["in 30 days", "in the 30 days before"];
    gather.table("left", "Unsubscribed", &columns, left, line).await
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let mut report = Report::default();
    let (quiet, may) = (inputs.get("quiet").first(0), inputs.get("quiet").first(1));
    let (hit, errors) = (inputs.get("hit_list").rows, inputs.get("hit").rows);
    for line in &inputs.get("hit").lines {
        let contacts = line.number(2);
        let alarm = if contacts > MANY { "Act on this first: " } else { "" };
        let text = format!(
            "{alarm}{} hit {} in 30 days ({}).",
            line.text(0),
            count(contacts, "contact", "contacts"),
            line.text(1)
        );
        report.find(text, [line.id.as_str()]);
    }
    if quiet > 0 {
        let text = format!(
            "{} not been heard of for 60 days; {may} of them may be written to.",
            count(quiet, "contact has", "contacts have")
        );
        report.find(text, ["quiet"]);
    }
    for line in inputs.get("quiet_list").lines.iter().take(5) {
        let text =
            format!("Contact {} has been quiet for {} days.", line.number(0), line.number(4));
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("hit_list").lines.iter().take(5) {
        let text =
            format!("Contact {} met {}.", line.number(0), count(line.number(1), "error", "errors"));
        report.find(text, [line.id.as_str()]);
    }
    let (left, before) = (inputs.get("left").first(0), inputs.get("left").first(1));
    if left > before {
        let text = format!("{left} unsubscribed in 30 days, {before} in the 30 days before.");
        report.find(text, ["left"]);
    }
    if report.is_idle() {
        return Report::new("Nothing to do: nobody has gone quiet, and no error hit a contact.");
    }
    if may > 0 {
        let body = "Hello {{ first_name|default(\"there\") }},\n\nwe have not seen you for a while. [One sentence: what changed since then that helps this reader.]\n\n[See what is new](https://example.com)\n\nIf [product] is no longer for you, the link below ends these mails at once.\n\n[Your name]\n";
        report.propose(Kind::Campaign, "Win back who went quiet", body);
        report.with(
            json!({
                "name": "Win back who went quiet",
                "goal": "Bring back contacts who were not heard of for 60 days",
                "audience": format!("{may} contacts, quiet for 60 days, who agreed to mail"),
                "subjects": ["We have missed you", "What changed since you were here"],
            }),
            ["quiet"],
        );
        report.propose(
            Kind::Segment,
            "Quiet for 60 days",
            format!("Contacts of whom nothing was heard for 60 days: {quiet} now."),
        );
        report.with(
            json!({
                "name": "Quiet for 60 days",
                "rule": { "field": "active_at", "op": "before_days", "value": 60 },
            }),
            ["quiet"],
        );
    }
    report.summary = format!(
        "{} gone quiet; {} hit {}.",
        count(quiet, "contact has", "contacts have"),
        count(errors, "error", "errors"),
        count(hit, "contact", "contacts")
    );
    report
}
