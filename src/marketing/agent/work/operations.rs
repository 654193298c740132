//! Operations & Integrations: what Lux and its connections rest on, and what to file about it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::super::{
    Agents,
    input::{Gather, Inputs, Line, at, said},
    report::{Kind, Report, count},
};
use crate::{error::Result, health::Wellness, integrations};

/// A token that ends within this time is told of.
const ENDING: TimeDelta = TimeDelta::days(14);

pub(super) async fn collect(gather: &mut Gather<'_>, agents: &Agents) -> Result<()> {
    let parts = agents.health.snapshot().await.parts;
    let lines = parts.into_iter().map(|(name, part)| {
        Line::of([
            json!(name),
            json!(word(part.state)),
            json!(part.detail),
            at(Some(part.since)),
            json!(i64::from(part.state >= Wellness::Degraded)),
        ])
        .to("/health")
    });
    let columns = ["part", "state", "what was found", "since", "ill"];
    gather.add("parts", "Health of all parts", &columns, lines.collect());
    work(gather).await?;
    repairs(gather).await?;
    connections(gather).await?;
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let tokens = db
        .query(
            "select name, role, expires_at from api_token
             where organization_id = $1 and revoked_at is null
               and expires_at is not null and expires_at <= $2
             order by expires_at limit 50",
        )
        .bind(organization)
        .bind(now + ENDING);
    let line = |(name, role, ends): (String, String, DateTime<Utc>)| {
        Line::of([said(&name), json!(role), at(Some(ends)), json!(i64::from(ends <= now))])
            .to("/settings/tokens")
    };
    let columns = ["token", "role", "ends", "ended"];
    gather.table("tokens", "Access tokens that end within 14 days", &columns, tokens, line).await?;
    let answers = db
        .query(
            "select status, count(*), max(at) from webhook_receipt
             where organization_id = $1 and at >= $2 group by status order by status limit 50",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(1));
    let line = |(status, calls, last): (i64, i64, DateTime<Utc>)| {
        Line::of([json!(status), json!(calls), at(Some(last))])
    };
    let columns = ["status", "calls", "last"];
    gather.table("webhook", "Webhook answers in 24 h", &columns, answers, line).await?;
    let mails = db
        .query(
            "select c.id, c.name, c.status, count(m.id),
                    count(case when m.status = 'refused' then 1 end),
                    count(case when m.status = 'uncertain' then 1 end)
             from campaign c join campaign_mail m on m.campaign_id = c.id
             where c.organization_id = $1 and c.updated_at >= $2
             group by c.id, c.name, c.status order by c.id desc limit 20",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(7));
    let line = |(id, name, status, mails, refused, open): (i64, String, String, i64, i64, i64)| {
        Line::of([said(&name), json!(status), json!(mails), json!(refused), json!(open)])
            .to(format!("/campaigns/{id}"))
    };
    let columns = ["campaign", "status", "mails", "refused", "uncertain"];
    gather.table("mails", "Mails of the last 7 days", &columns, mails, line).await
}

fn word(state: Wellness) -> &'static str {
    match state {
        Wellness::Ok => "ok",
        Wellness::Unknown => "unknown",
        Wellness::Degraded => "degraded",
        Wellness::Down => "down",
    }
}

/// "schedules", "jobs", "approvals".
async fn work(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let schedules = db.query(
        "select s.name, s.expression, s.tick, h.held_by from schedule s
         left join schedule_hold h on h.name = s.name order by s.name limit 50",
    );
    let line = |(name, expression, tick, held): (String, String, DateTime<Utc>, Option<String>)| {
        Line::of([json!(name), json!(expression), at(Some(tick)), json!(held.unwrap_or_default())])
    };
    let columns = ["schedule", "expression", "last tick", "paused by"];
    gather.table("schedules", "Schedules", &columns, schedules, line).await?;
    let jobs = db.query(
        "select kind, count(*), max(finished_at), max(error) from job
         where status = 'failed' group by kind order by 2 desc, kind limit 20",
    );
    let line =
        |(kind, failed, last, error): (String, i64, Option<DateTime<Utc>>, Option<String>)| {
            Line::of([
                json!(kind),
                json!(failed),
                at(last),
                said(error.as_deref().unwrap_or_default()),
            ])
        };
    let columns = ["job", "failed", "last", "one of the reasons"];
    gather.table("jobs", "Jobs that failed for good in 7 days", &columns, jobs, line).await?;
    let approvals = db
        .query(
            "select id, action, title, proposed_at, expires_at from action_run
             where organization_id = $1 and status = 'proposed' and expires_at > $2
             order by proposed_at limit 50",
        )
        .bind(organization)
        .bind(now);
    let line = |(_, action, title, proposed, expires): (
        i64,
        String,
        Option<String>,
        DateTime<Utc>,
        DateTime<Utc>,
    )| {
        let hours = (now - proposed).num_hours();
        let name = title.unwrap_or(action);
        Line::of([said(&name), json!(hours), at(Some(expires))]).to("/approvals")
    };
    let columns = ["action", "waits, hours", "expires"];
    gather.table("approvals", "Actions that wait for an approval", &columns, approvals, line).await
}

/// "connections", "syncs", "hooks", "deliveries".
async fn connections(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let standing = integrations::standing(db, Some(organization)).await?;
    let lines = standing.iter().map(|it| {
        Line::of([
            json!(it.label),
            json!(it.status),
            said(&it.advice()),
            json!(it.error_count),
            at(it.expires_at),
            json!(i64::from(it.is_problematic())),
        ])
        .to("/integrations")
    });
    let columns = ["service", "status", "what to do", "failures in a row", "token ends", "ill"];
    gather.add("connections", "Connected services", &columns, lines.collect());
    let syncs = db
        .query(
            "select service, last_sync_status, last_sync_message, failures, last_sync_at
             from sync_status where organization_id = $1 order by service limit 50",
        )
        .bind(organization);
    let line = |(service, status, message, failures, last): (
        String,
        Option<String>,
        String,
        i64,
        Option<DateTime<Utc>>,
    )| {
        let status = status.unwrap_or_default();
        Line::of([json!(service), json!(status), said(&message), json!(failures), at(last)])
            .to("/integrations")
    };
    let columns = ["service", "last time", "what was said", "failures in a row", "ended"];
    gather.table("syncs", "What is fetched from services", &columns, syncs, line).await?;
    let hooks = db
        .query(
            "select event, target_shown, failures, last_error, disabled_at from hook
             where organization_id = $1 and (failures > 0 or disabled_at is not null)
             order by failures desc, id limit 50",
        )
        .bind(organization);
    let line = |(event, target, failures, error, disabled): (
        String,
        String,
        i64,
        Option<String>,
        Option<DateTime<Utc>>,
    )| {
        Line::of([
            json!(event),
            said(&target),
            json!(failures),
            said(error.as_deref().unwrap_or_default()),
            at(disabled),
        ])
    };
    let columns = ["event", "target", "failures in a row", "why", "given up"];
    gather.table("hooks", "Hooks that fail", &columns, hooks, line).await?;
    let deliveries = db
        .query(
            "select kind, title, status, last_error, created_at from integration_delivery
             where organization_id = $1 and created_at >= $2
               and status in ('failed', 'uncertain')
             order by id desc limit 50",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(7));
    let line = |(kind, title, status, error, made): (
        String,
        String,
        String,
        Option<String>,
        DateTime<Utc>,
    )| {
        let why = error.unwrap_or_default();
        Line::of([json!(kind), said(&title), json!(status), said(&why), at(Some(made))])
    };
    let columns = ["kind", "title", "status", "why", "made"];
    let name = "Messages and reports that did not arrive in 7 days";
    gather.table("deliveries", name, &columns, deliveries, line).await
}

/// "repairs" and "open".
async fn repairs(gather: &mut Gather<'_>) -> Result<()> {
    let (db, organization, now) = (&gather.app.db, gather.organization, gather.now);
    let runs = db
        .query(
            "select id, trigger, status, total, resolved, unresolved, created_at, note
             from repair_run where organization_id = $1 and created_at >= $2
             order by id desc limit 20",
        )
        .bind(organization)
        .bind(now - TimeDelta::days(1));
    let line = |(id, trigger, status, total, resolved, unresolved, created, note): (
        i64,
        String,
        String,
        i64,
        i64,
        i64,
        DateTime<Utc>,
        Option<String>,
    )| {
        Line::of([
            json!(id),
            json!(trigger),
            json!(status),
            json!(total),
            json!(resolved),
            json!(unresolved),
            at(Some(created)),
            said(note.as_deref().unwrap_or_default()),
        ])
        .to(format!("/repairs/{id}"))
    };
    let columns =
        ["run", "asked by", "status", "errors", "resolved", "unresolved", "began", "note"];
    gather.table("repairs", "Repair runs in 24 h", &columns, runs, line).await?;
    let open = db
        .query(
            "select id, title, app, severity, count, first_seen from error_group
             where organization_id = $1 and status in ('unresolved', 'regressed')
               and merged_into is null
             order by seen_at desc limit 20",
        )
        .bind(organization);
    let line = |(id, title, app, severity, events, first): (
        i64,
        String,
        String,
        String,
        i64,
        DateTime<Utc>,
    )| {
        let days = (now - first).num_days();
        Line::of([said(&title), said(&app), json!(severity), json!(events), json!(days)])
            .to(format!("/errors/{id}"))
    };
    let columns = ["error", "application", "severity", "events", "open, days"];
    gather.table("open", "Open errors", &columns, open, line).await
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let mut report = Report::default();
    let parts = inputs.get("parts");
    for line in parts.lines.iter().filter(|line| line.number(4) > 0) {
        let (name, state, detail) = (line.text(0), line.text(1), line.text(2));
        report.find(format!("{name} is {state}: {detail}"), [line.id.as_str()]);
        ticket(&mut report, &format!("{name} is {state}"), detail, &line.id);
    }
    for line in &inputs.get("jobs").lines {
        let text = format!(
            "{} of the kind {} failed for good: {}",
            count(line.number(1), "job", "jobs"),
            line.text(0),
            line.text(3)
        );
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("approvals").lines.iter().filter(|line| line.number(1) >= 24) {
        let text = format!("{} has waited {} h for an approval.", line.text(0), line.number(1));
        report.find(text, [line.id.as_str()]);
    }
    for line in &inputs.get("tokens").lines {
        let ended = line.number(3) > 0;
        let text = format!(
            "The token {} {} on {}: make another and take this one away.",
            line.text(0),
            if ended { "ended" } else { "ends" },
            line.text(2).get(..10).unwrap_or_default()
        );
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("webhook").lines.iter().filter(|line| line.number(0) >= 400) {
        let text = format!(
            "The webhook answered {} with {} in 24 h: the sender's contacts did not arrive.",
            count(line.number(1), "call", "calls"),
            line.number(0)
        );
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("mails").lines.iter().filter(|line| line.number(3) + line.number(4) > 0)
    {
        let text = format!(
            "{}: {} mails were refused, {} are uncertain.",
            line.text(0),
            line.number(3),
            line.number(4)
        );
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("repairs").lines.iter().filter(|line| line.text(2) == "failed") {
        let text = format!("Repair run {} stopped early: {}", line.number(0), line.text(7));
        report.find(text, [line.id.as_str()]);
    }
    for line in inputs.get("connections").lines.iter().filter(|line| line.number(5) > 0) {
        let (label, advice) = (line.text(0), line.text(2));
        report.find(format!("{advice}."), [line.id.as_str()]);
        ticket(&mut report, &format!("{label} needs a look"), advice, &line.id);
    }
    for line in inputs.get("syncs").lines.iter().filter(|line| line.text(1) == "failure") {
        let text = format!(
            "Fetching from {} has failed {} in a row: {}",
            line.text(0),
            count(line.number(3), "time", "times"),
            line.text(2)
        );
        report.find(text, [line.id.as_str()]);
    }
    for line in &inputs.get("hooks").lines {
        let (event, target, why) = (line.text(0), line.text(1), line.text(3));
        let text = if line.text(4).is_empty() {
            format!("The hook for {event} to {target} failed {} times: {why}", line.number(2))
        } else {
            format!("The hook for {event} to {target} was given up ({why}): subscribe again.")
        };
        report.find(text, [line.id.as_str()]);
    }
    for line in &inputs.get("deliveries").lines {
        let text = format!("A {} is {}: {}", line.text(0), line.text(2), line.text(3));
        report.find(text, [line.id.as_str()]);
    }
    // What has stood for days is work for somebody: each becomes a ticket's draft.
    for line in inputs.get("open").lines.iter().filter(|line| line.number(4) >= 3).take(5) {
        let (events, days) = (line.number(3), line.number(4));
        let text = format!(
            "{} has been open for {days} days, with {}.",
            line.text(0),
            count(events, "event", "events")
        );
        report.find(text.clone(), [line.id.as_str()]);
        let link = line.href.clone().unwrap_or_default();
        ticket(&mut report, line.text(0), &format!("{text}\nIn Lux: {link}"), &line.id);
    }
    let looked = format!(
        "{} looked at, {} open",
        count(parts.rows, "part", "parts"),
        count(inputs.get("open").rows, "error", "errors")
    );
    report.summary = match report.findings.len() {
        0 => format!("Nothing to do: {looked}, all is well."),
        1 => format!("One thing needs a look. {looked}."),
        many => format!("{many} things need a look. {looked}."),
    };
    report
}

fn ticket(report: &mut Report, title: &str, body: &str, citation: &str) {
    report.propose(Kind::Ticket, title, body);
    report.with(json!({}), [citation]);
}
