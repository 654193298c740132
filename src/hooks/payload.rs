//! What is told: flat objects of a fixed form, read from the rows at the moment of telling.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Event;
use crate::{
    auth::OrganizationId,
    contacts::store::list as contacts,
    db::{Db, Result},
};

/// What is told of a subject; `None` if it is gone.
pub(super) async fn of(
    db: &Db,
    organization: OrganizationId,
    event: Event,
    subject: i64,
) -> Result<Option<Value>> {
    match event {
        Event::ContactCreated => contact(db, organization, subject).await,
        Event::ErrorOpened | Event::ErrorResolved | Event::ErrorRegressed => {
            group(db, organization, subject).await
        }
        Event::RepairFinished => run(db, organization, subject).await,
    }
}

async fn contact(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Value>> {
    let Some(contact) = contacts::find(db, organization, id).await? else { return Ok(None) };
    let segments = contacts::segments_of(db, id).await?;
    let segments: Vec<String> = segments.into_iter().map(|it| it.1).collect();
    Ok(Some(json!({
        "contact_id": contact.id,
        "email": contact.email,
        "first_name": contact.first_name,
        "last_name": contact.last_name,
        "company": contact.company,
        "phone": contact.phone,
        "source": contact.source,
        "tags": contact.tags,
        "segments": segments,
        "consent": contact.consent,
        "created_at": contact.created_at,
    })))
}

/// Title, type, culprit, endpoint, method, app, severity, status, count, users, first seen,
/// last seen.
type Group = (
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    String,
    String,
    i64,
    i64,
    DateTime<Utc>,
    DateTime<Utc>,
);

async fn group(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Value>> {
    let row: Option<Group> = db
        .query(
            "select title, error_type, culprit, endpoint, method, app, severity, status, count,
                 users, first_seen, last_seen
             from error_group where organization_id = $1 and id = $2",
        )
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(row.map(|row| {
        json!({
            "group_id": id,
            "title": row.0,
            "error_type": row.1,
            "culprit": row.2,
            "endpoint": row.3,
            "method": row.4,
            "app": row.5,
            "severity": row.6,
            "status": row.7,
            "count": row.8,
            "users": row.9,
            "first_seen": row.10,
            "last_seen": row.11,
        })
    }))
}

/// Trigger, status, note, total, tested, resolved, unresolved, created, finished.
type Run =
    (String, String, Option<String>, i64, i64, i64, i64, DateTime<Utc>, Option<DateTime<Utc>>);

async fn run(db: &Db, organization: OrganizationId, id: i64) -> Result<Option<Value>> {
    let row: Option<Run> = db
        .query(
            "select trigger, status, note, total, tested, resolved, unresolved, created_at,
                 finished_at
             from repair_run where organization_id = $1 and id = $2",
        )
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(row.map(|row| {
        json!({
            "run_id": id,
            "trigger": row.0,
            "status": row.1,
            "note": row.2,
            "total": row.3,
            "tested": row.4,
            "resolved": row.5,
            "unresolved": row.6,
            "created_at": row.7,
            "finished_at": row.8,
        })
    }))
}

/// The newest subjects of an event.
pub(super) async fn newest(
    db: &Db,
    organization: OrganizationId,
    event: Event,
) -> Result<Vec<i64>> {
    let query = match event {
        Event::ContactCreated => {
            db.query("select id from contact where organization_id = $1 order by id desc limit 3")
        }
        Event::ErrorOpened => db.query(
            "select id from error_group where organization_id = $1 and merged_into is null
             order by first_seen desc, id desc limit 3",
        ),
        Event::ErrorResolved => db.query(
            "select id from error_group where organization_id = $1 and status = 'resolved'
                 and merged_into is null
             order by first_seen desc, id desc limit 3",
        ),
        Event::ErrorRegressed => db.query(
            "select id from error_group where organization_id = $1 and status = 'regressed'
                 and merged_into is null
             order by first_seen desc, id desc limit 3",
        ),
        Event::RepairFinished => db.query(
            "select id from repair_run where organization_id = $1 and status in ('done', 'failed')
             order by id desc limit 3",
        ),
    };
    let ids: Vec<(i64,)> = query.bind(organization).all().await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

/// What an event looks like, for who sets up a program before anything happened.
pub(super) fn example(event: Event, now: DateTime<Utc>) -> Value {
    match event {
        Event::ContactCreated => json!({
            "contact_id": 1, "email": "ada@example.com", "first_name": "Ada",
            "last_name": "Lovelace", "company": "Analytical Engines", "phone": "+442079460018",
            "source": "newsletter", "tags": ["zapier"], "segments": ["newsletter"],
            "consent": "pending", "created_at": now,
        }),
        Event::ErrorOpened | Event::ErrorResolved | Event::ErrorRegressed => json!({
            "group_id": 1, "title": "KeyError: 'price'", "error_type": "KeyError",
            "culprit": "shop.cart in checkout", "endpoint": "/checkout", "method": "POST",
            "app": "shop", "severity": "error", "status": "unresolved", "count": 12, "users": 3,
            "first_seen": now, "last_seen": now,
        }),
        Event::RepairFinished => json!({
            "run_id": 1, "trigger": "schedule", "status": "done", "note": null, "total": 2,
            "tested": 2, "resolved": 1, "unresolved": 1, "created_at": now, "finished_at": now,
        }),
    }
}
