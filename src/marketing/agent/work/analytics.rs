//! Analytics & Optimization: numbers, each with the statement behind it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    super::{
        input::{Gather, Inputs, Line, at, said},
        report::{Kind, Report, count},
    },
    against, source,
    traffic::{self, Wanted},
};
use crate::error::Result;

pub(super) async fn collect(gather: &mut Gather<'_>) -> Result<()> {
    signups(gather, gather.now - TimeDelta::days(7)).await?;
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let fortnight = now - TimeDelta::days(14);
    let by_day = db
        .query(db.dialect(
            "select to_char(created_at at time zone 'UTC', 'YYYY-MM-DD') as day, count(*)
             from contact where organization_id = $1 and created_at >= $2
             group by 1 order by 1 desc limit 14",
            "select substr(created_at, 1, 10) as day, count(*)
             from contact where organization_id = $1 and created_at >= $2
             group by 1 order by 1 desc limit 14",
        ))
        .bind(organization)
        .bind(fortnight);
    let line = |(day, contacts): (String, i64)| Line::of([json!(day), json!(contacts)]);
    gather.table("days", "New contacts by day", &["day", "contacts"], by_day, line).await?;
    segments(gather, now - TimeDelta::days(7)).await?;
    campaigns(gather).await?;
    errors(gather).await?;
    traffic::read(gather, Wanted { pages: true, ..Wanted::default() }).await
}

/// "signups" and "sources": who came since a time, against as long before it.
pub(super) async fn signups(gather: &mut Gather<'_>, since: DateTime<Utc>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let totals = db
        .query(
            "select count(case when created_at >= $3 then 1 end),
                    count(case when created_at < $3 then 1 end)
             from contact where organization_id = $1 and created_at >= $2 and created_at < $4",
        )
        .bind(organization)
        .bind(since - (now - since))
        .bind(since)
        .bind(now);
    let line = |(these, before): (i64, i64)| Line::of([json!(these), json!(before)]);
    let columns = ["this period", "the period before"];
    gather.table("signups", "New contacts", &columns, totals, line).await?;
    let sources = db
        .query(
            "select source, count(*) from contact
             where organization_id = $1 and created_at >= $2
             group by source order by 2 desc, source limit 20",
        )
        .bind(organization)
        .bind(since);
    let line = |(source, contacts): (String, i64)| Line::of([said(&source), json!(contacts)]);
    gather.table("sources", "New contacts by source", &["source", "contacts"], sources, line).await
}

/// "segments": in which of them the contacts are who came since a time.
pub(super) async fn segments(gather: &mut Gather<'_>, since: DateTime<Utc>) -> Result<()> {
    let (db, organization) = (&gather.app.db, gather.organization);
    let joined = db
        .query(
            "select s.id, s.name, count(*) from contact c
             join segment_contact m on m.contact_id = c.id
             join segment s on s.id = m.segment_id
             where c.organization_id = $1 and c.created_at >= $2
             group by s.id, s.name order by 3 desc, s.id limit 20",
        )
        .bind(organization)
        .bind(since);
    let line = |(_, name, contacts): (i64, String, i64)| Line::of([said(&name), json!(contacts)]);
    let columns = ["segment", "new contacts"];
    gather.table("segments", "New contacts by segment", &columns, joined, line).await
}

/// "campaigns": what became of the mails of each.
pub(super) async fn campaigns(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization) = (&gather.app.db, gather.organization);
    let found = db
        .query(
            "select c.id, c.name, c.status,
                    count(case when m.status = 'sent' then 1 end),
                    count(m.bounced), count(m.opened_at), count(m.clicked_at), count(m.unsubscribed_at)
             from campaign c left join campaign_mail m on m.campaign_id = c.id
             where c.organization_id = $1 and c.updated_at >= $2
             group by c.id, c.name, c.status, c.updated_at order by c.updated_at desc limit 10",
        )
        .bind(organization)
        .bind(gather.now - TimeDelta::days(92));
    let line = |(id, name, status, sent, bounced, opened, clicked, left): (
        i64,
        String,
        String,
        i64,
        i64,
        i64,
        i64,
        i64,
    )| {
        Line::of([
            said(&name),
            json!(status),
            json!(sent),
            json!(bounced),
            json!(opened),
            json!(clicked),
            json!(left),
        ])
        .to(format!("/campaigns/{id}"))
    };
    let columns = ["campaign", "status", "sent", "bounced", "opened", "clicked", "unsubscribed"];
    gather.table("campaigns", "Campaigns of the last quarter", &columns, found, line).await
}

/// "error_days" and "errors".
async fn errors(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let by_day = db
        .query(db.dialect(
            "select to_char(hour_at at time zone 'UTC', 'YYYY-MM-DD') as day,
                    cast(sum(count) as bigint)
             from error_hour where organization_id = $1 and hour_at >= $2
             group by 1 order by 1 desc limit 14",
            "select substr(hour_at, 1, 10) as day, sum(count)
             from error_hour where organization_id = $1 and hour_at >= $2
             group by 1 order by 1 desc limit 14",
        ))
        .bind(organization)
        .bind(now - TimeDelta::days(14));
    let line = |(day, events): (String, i64)| Line::of([json!(day), json!(events)]);
    gather.table("error_days", "Error events by day", &["day", "events"], by_day, line).await?;
    let week = now - TimeDelta::days(7);
    let groups = db
        .query(
            "select g.id, g.title, g.app, g.endpoint, g.status, g.users, g.last_seen,
                    cast(coalesce((select sum(b.count) from error_bucket b
                                   where b.group_id = g.id and b.hour_at >= $2), 0) as bigint)
             from error_group g
             where g.organization_id = $1 and g.seen_at >= $2 and g.merged_into is null
             order by g.seen_at desc, g.id desc limit 20",
        )
        .bind(organization)
        .bind(week);
    let line = |(id, title, app, endpoint, status, users, last, events): (
        i64,
        String,
        String,
        Option<String>,
        String,
        i64,
        DateTime<Utc>,
        i64,
    )| {
        Line::of([
            said(&title),
            said(&app),
            said(endpoint.as_deref().unwrap_or_default()),
            json!(status),
            json!(events),
            json!(users),
            at(Some(last)),
        ])
        .to(format!("/errors/{id}"))
    };
    let columns =
        ["error", "application", "endpoint", "status", "events in 7 days", "users", "last seen"];
    gather.table("errors", "Errors of the last 7 days", &columns, groups, line).await
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let mut report = Report::default();
    let (these, before) = (inputs.get("signups").first(0), inputs.get("signups").first(1));
    let mut summary = match (these, before) {
        (0, 0) => "Nobody signed up in 14 days.".to_owned(),
        _ => format!(
            "{} this week, {} the {before} of the week before.",
            count(these, "contact signed up", "contacts signed up"),
            against(these, before)
        ),
    };
    if these > 0 || before > 0 {
        report.find(summary.clone(), ["signups"]);
    }
    for line in inputs.get("sources").lines.iter().take(3) {
        let text = format!(
            "{} came from {}.",
            count(line.number(1), "of them", "of them"),
            source(line.text(0))
        );
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("segments").lines.iter().take(2) {
        let text =
            format!("{} of this week's new contacts are in {}.", line.number(1), line.text(0));
        report.find(text, [line.id.as_str()]);
    }
    spike(inputs, &mut report);
    for line in inputs.get("errors").lines.iter().filter(|line| line.text(3) != "resolved").take(3)
    {
        let text = format!(
            "{}: {} in 7 days{}.",
            line.text(0),
            count(line.number(4), "event", "events"),
            match line.number(5) {
                0 => String::new(),
                users => format!(", {} affected", count(users, "user", "users")),
            }
        );
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("pages").lines.iter().filter(|line| line.number(3) > 0).take(3) {
        let text = format!(
            "{} of {} requests for {} failed with 5xx.",
            line.number(3),
            line.number(1),
            line.text(0)
        );
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("campaigns").lines.iter().filter(|line| line.number(2) > 0).take(3) {
        let text = format!(
            "{}: {} sent, {} bounced, {} clicked, {} unsubscribed.",
            line.text(0),
            line.number(2),
            line.number(3),
            line.number(5),
            line.number(6)
        );
        report.find(text, [line.id.as_str()]);
    }
    if report.is_idle() {
        return Report::new(
            "Nothing to do: no contact, error, request or campaign in the last 7 days.",
        );
    }
    let events = inputs.get("errors").sum(4);
    if events > 0 {
        summary = format!("{summary} {} in 7 days.", count(events, "error event", "error events"));
    }
    report.summary = summary;
    report.propose(Kind::Csv, "These numbers as CSV", csv(inputs));
    report
}

/// A day whose errors are far above the days before it.
fn spike(inputs: &Inputs, report: &mut Report) {
    let days = &inputs.get("error_days").lines;
    let [today, earlier @ ..] = &days[..] else { return };
    let known = i64::try_from(earlier.len()).unwrap_or(i64::MAX);
    if known < 3 {
        return;
    }
    let usual = earlier.iter().map(|line| line.number(1)).sum::<i64>() / known;
    if today.number(1) > usual.max(10) * 3 {
        let text = format!(
            "Unlike before: {} error events on {}, on the days before it was {usual} on average.",
            today.number(1),
            today.text(0)
        );
        report.find(text, ["error_days"]);
    }
}

/// All tables as one CSV. A cell that a spreadsheet would compute is made a text.
fn csv(inputs: &Inputs) -> String {
    let mut text = String::new();
    for input in &inputs.0 {
        text.push_str(&super::csv_line(std::iter::once(input.name.as_str())));
        text.push_str(&super::csv_line(input.columns.iter().map(String::as_str)));
        for line in &input.lines {
            let cells: Vec<String> = line
                .cells
                .iter()
                .map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned))
                .collect();
            text.push_str(&super::csv_line(cells.iter().map(String::as_str)));
        }
        text.push('\n');
    }
    text
}
