//! All SQL of sending.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{bounce, journal::Outcome};
use crate::{
    auth::OrganizationId,
    clock,
    db::{Db, Result, Tx},
    seal::Keyed,
};

/// A campaign as far as sending goes.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Campaign {
    pub(super) id: i64,
    pub(super) organization_id: OrganizationId,
    pub(super) status: String,
    pub(super) approved_version: Option<i64>,
    pub(super) per_minute: i64,
    pub(super) counts_opens: bool,
    pub(super) counts_clicks: bool,
    pub(super) note: String,
}

/// A mail that this run may send.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) contact_id: Option<i64>,
    pub(super) subject: i64,
    /// This try included.
    pub(super) tries: i64,
}

/// What of a contact says whether, and where, it is written to.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Addressee {
    pub(super) id: i64,
    pub(super) email: Option<String>,
    pub(super) email_key: Option<String>,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) consent: String,
    pub(super) bounced: Option<String>,
}

/// How many mails of a campaign are how far.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, sqlx::FromRow,
)]
#[schema(as = SendingCounts)]
pub struct Counts {
    pub total: i64,
    /// Still to be sent, those that are being sent included.
    pub waiting: i64,
    pub sent: i64,
    pub refused: i64,
    /// May have been sent; nobody has decided yet.
    pub uncertain: i64,
    /// May have been sent, and were left so.
    pub left_alone: i64,
    pub skipped: i64,
    /// Not sent because the campaign was cancelled.
    pub cancelled: i64,
    pub bounced: i64,
    pub complained: i64,
    pub opened: i64,
    pub clicked: i64,
    pub unsubscribed: i64,
}

/// Numbers as one JSON parameter.
pub(super) fn list(ids: &[i64]) -> String {
    Value::from(ids).to_string()
}

/// A time as the database keeps it, inside JSON.
fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

pub(super) async fn campaign(db: &Db, id: i64) -> Result<Option<Campaign>> {
    db.query(
        "select id, organization_id, status, approved_version, per_minute, counts_opens,
             counts_clicks, note
         from campaign where id = $1",
    )
    .bind(id)
    .optional()
    .await
}

pub(super) async fn status(db: &Db, id: i64) -> Result<Option<String>> {
    let found: Option<(String,)> =
        db.query("select status from campaign where id = $1").bind(id).optional().await?;
    Ok(found.map(|(status,)| status))
}

/// The approved campaigns whose time has come.
pub(super) async fn due(db: &Db, now: DateTime<Utc>) -> Result<Vec<i64>> {
    let found: Vec<(i64,)> = db
        .query(
            "select id from campaign where status = 'approved'
               and (send_at is null or send_at <= $1)
             order by id limit 20",
        )
        .bind(now)
        .all()
        .await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// Lets an approved campaign begin; false if somebody else did, or took it back.
pub(super) async fn begin(tx: &mut Tx, id: i64, now: DateTime<Utc>) -> Result<bool> {
    let changed = tx
        .query(
            "update campaign set status = 'sending', started_at = coalesce(started_at, $2),
                 updated_at = $2, note = ''
             where id = $1 and status = 'approved' and (send_at is null or send_at <= $2)",
        )
        .bind(id)
        .bind(now)
        .run()
        .await?;
    Ok(changed == 1)
}

/// A campaign that had ended has mails to send again; false if it still goes on, or may not.
pub(super) async fn reopen(tx: &mut Tx, id: i64) -> Result<bool> {
    let changed = tx
        .query(
            "update campaign set status = 'sending', finished_at = null, updated_at = $2, note = ''
             where id = $1 and status = 'sent'",
        )
        .bind(id)
        .bind(clock::now())
        .run()
        .await?;
    Ok(changed == 1)
}

pub(super) async fn note(db: &Db, id: i64, note: &str) -> Result<()> {
    db.query(
        "update campaign set note = $2, updated_at = $3
         where id = $1 and note <> $2 and status = 'sending'",
    )
    .bind(id)
    .bind(note)
    .bind(clock::now())
    .run()
    .await
    .map(drop)
}

/// Ends a campaign of which nothing waits; false if there is more to do.
pub(super) async fn finish(tx: &mut Tx, id: i64, note: &str) -> Result<bool> {
    let changed = tx
        .query(
            "update campaign set status = 'sent', finished_at = $2, updated_at = $2, note = $3
             where id = $1 and status = 'sending' and not exists
                 (select id from campaign_mail
                  where campaign_id = $1 and status in ('waiting', 'claimed'))",
        )
        .bind(id)
        .bind(clock::now())
        .bind(note)
        .run()
        .await?;
    Ok(changed == 1)
}

/// Claims the next mails that are due.
pub(super) async fn claim(
    tx: &mut Tx,
    campaign: i64,
    claim: i64,
    most: i64,
) -> Result<Vec<Claimed>> {
    let mut found: Vec<Claimed> = tx
        .query(
            "update campaign_mail set status = 'claimed', claim = $2, tries = tries + 1
             where id in (select id from campaign_mail
                          where campaign_id = $1 and status = 'waiting'
                            and (due_at is null or due_at <= $3)
                          order by id limit $4)
             returning id, contact_id, subject, tries",
        )
        .bind(campaign)
        .bind(claim)
        .bind(clock::now())
        .bind(most)
        .all()
        .await?;
    found.sort_by_key(|mail| mail.id);
    Ok(found)
}

/// When the next mail that waits is due; `None` if none waits.
pub(super) async fn next_due(db: &Db, campaign: i64) -> Result<Option<DateTime<Utc>>> {
    let found: Option<(DateTime<Utc>,)> = db
        .query(
            "select coalesce(due_at, $2) as due from campaign_mail
             where campaign_id = $1 and status = 'waiting' order by 1 limit 1",
        )
        .bind(campaign)
        .bind(clock::now())
        .optional()
        .await?;
    Ok(found.map(|(due,)| due))
}

/// Whether mails are still under a claim.
pub(super) async fn has_claimed(db: &Db, campaign: i64, claim: i64) -> Result<bool> {
    let found: Option<(i64,)> = db
        .query(
            "select id from campaign_mail
             where campaign_id = $1 and status = 'claimed' and claim = $2 limit 1",
        )
        .bind(campaign)
        .bind(claim)
        .optional()
        .await?;
    Ok(found.is_some())
}

pub(super) async fn addressees(db: &Db, contacts: &[i64]) -> Result<Vec<Addressee>> {
    let sql = db.dialect(
        "select id, email, email_key, first_name, last_name, consent, bounced from contact
         where id in (select cast(value as bigint)
                      from json_array_elements_text(cast($1 as json)))",
        "select id, email, email_key, first_name, last_name, consent, bounced from contact
         where id in (select value from json_each($1))",
    );
    db.query(sql).bind(list(contacts)).all().await
}

/// The claims of others that mails of this campaign are under.
pub(super) async fn other_claims(db: &Db, campaign: i64) -> Result<Vec<i64>> {
    let found: Vec<(i64,)> = db
        .query(
            "select distinct claim from campaign_mail
             where campaign_id = $1 and status = 'claimed' and claim is not null",
        )
        .bind(campaign)
        .all()
        .await?;
    Ok(found.into_iter().map(|(claim,)| claim).collect())
}

/// The mails under a claim whose fate is open, with their campaigns.
pub(super) async fn open_under(db: &Db, claim: i64) -> Result<Vec<(i64, i64)>> {
    db.query(
        "select id, campaign_id from campaign_mail
         where claim = $1 and status in ('claimed', 'uncertain') order by id",
    )
    .bind(claim)
    .all()
    .await
}

/// Mails whose journal is on a host that is gone.
pub(super) async fn lose(db: &Db, campaign: i64, claim: i64) -> Result<u64> {
    db.query(
        "update campaign_mail set status = 'uncertain',
             told = 'another host was sending it and is gone: whether it was sent is not known'
         where campaign_id = $1 and claim = $2 and status = 'claimed'",
    )
    .bind(campaign)
    .bind(claim)
    .run()
    .await
}

/// What the database is told of one mail.
fn row(mail: i64, outcome: &Outcome) -> Value {
    let (status, told, due, back) = match outcome {
        Outcome::Sent { told } => ("sent", told.as_str(), None, 0),
        Outcome::Refused { told, .. } => ("refused", told.as_str(), None, 0),
        Outcome::Later { told, due } => ("waiting", told.as_str(), Some(written(*due)), 0),
        Outcome::Uncertain { told } => ("uncertain", told.as_str(), None, 0),
        Outcome::Skipped { told } => ("skipped", told.as_str(), None, 0),
        Outcome::Back => ("waiting", "", None, 1),
    };
    json!({ "id": mail, "status": status, "told": told, "due": due, "back": back })
}

/// Stores how mails under a claim ended, with what follows for their contacts. What is not under
/// this claim any more is left alone.
pub(super) async fn settle(
    db: &Db,
    keyed: &Keyed,
    claim: i64,
    ended: &[(i64, Outcome)],
) -> Result<()> {
    if ended.is_empty() {
        return Ok(());
    }
    let now = clock::now();
    let rows: Vec<Value> = ended.iter().map(|(mail, outcome)| row(*mail, outcome)).collect();
    let mut tx = db.begin().await?;
    let sql = tx.dialect(
        "update campaign_mail set status = t.status, told = t.told,
             due_at = cast(t.due as timestamptz), tries = tries - t.back,
             sent_at = case when t.status = 'sent' then $2 else sent_at end,
             claim = case when t.status = 'waiting' then null else claim end
         from json_to_recordset(cast($1 as json))
             as t(id bigint, status text, told text, due text, back bigint)
         where campaign_mail.id = t.id and claim = $3
           and campaign_mail.status in ('claimed', 'uncertain')
         returning campaign_mail.id, campaign_mail.status",
        "update campaign_mail set status = t.status, told = t.told,
             due_at = t.due, tries = tries - t.back,
             sent_at = case when t.status = 'sent' then $2 else sent_at end,
             claim = case when t.status = 'waiting' then null else claim end
         from (select value ->> 'id' as id, value ->> 'status' as status, value ->> 'told' as told,
                   value ->> 'due' as due, value ->> 'back' as back
               from json_each($1)) as t
         where campaign_mail.id = t.id and claim = $3
           and campaign_mail.status in ('claimed', 'uncertain')
         returning id, status",
    );
    let query = tx.query(sql).bind(Value::from(rows).to_string()).bind(now).bind(claim);
    let changed: Vec<(i64, String)> = query.all().await?;
    end_cancelled(&mut tx, &changed).await?;
    let is = |wanted: &str| {
        let of = changed.iter().filter(|(_, status)| status == wanted);
        of.map(|(id, _)| *id).collect::<Vec<_>>()
    };
    let sent = is("sent");
    if !sent.is_empty() {
        mailed(&mut tx, &sent, now).await?;
    }
    let refused = is("refused");
    for (mail, outcome) in ended {
        if let Outcome::Refused { told, hard: true } = outcome
            && refused.contains(mail)
        {
            bounce::refused(&mut tx, keyed, *mail, told).await?;
        }
    }
    tx.commit().await
}

/// What would wait again of a campaign that was cancelled meanwhile is cancelled with it.
async fn end_cancelled(tx: &mut Tx, changed: &[(i64, String)]) -> Result<()> {
    let waiting: Vec<i64> =
        changed.iter().filter(|(_, status)| status == "waiting").map(|(id, _)| *id).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let sql = tx.dialect(
        "update campaign_mail set status = 'cancelled', due_at = null
         where id in (select cast(value as bigint)
                      from json_array_elements_text(cast($1 as json)))
           and campaign_id in (select id from campaign where status = 'cancelled')",
        "update campaign_mail set status = 'cancelled', due_at = null
         where id in (select value from json_each($1))
           and campaign_id in (select id from campaign where status = 'cancelled')",
    );
    tx.query(sql).bind(list(&waiting)).run().await.map(drop)
}

async fn mailed(tx: &mut Tx, mails: &[i64], now: DateTime<Utc>) -> Result<()> {
    let sql = tx.dialect(
        "insert into contact_activity (organization_id, contact_id, kind, at, by, detail)
         select m.organization_id, m.contact_id, 'mailed', $2,
                'campaign ' || cast(m.campaign_id as text),
                '{\"campaign\":' || cast(m.campaign_id as text) || '}'
         from campaign_mail m
         where m.contact_id is not null and m.id in
             (select cast(value as bigint) from json_array_elements_text(cast($1 as json)))",
        "insert into contact_activity (organization_id, contact_id, kind, at, by, detail)
         select m.organization_id, m.contact_id, 'mailed', $2,
                'campaign ' || cast(m.campaign_id as text),
                '{\"campaign\":' || cast(m.campaign_id as text) || '}'
         from campaign_mail m
         where m.contact_id is not null and m.id in (select value from json_each($1))",
    );
    tx.query(sql).bind(list(mails)).bind(now).run().await.map(drop)
}

/// Notes that something happened to a contact.
pub(super) async fn happened(
    tx: &mut Tx,
    organization: OrganizationId,
    contact: i64,
    kind: &str,
    by: &str,
    detail: &Value,
) -> Result<()> {
    tx.query(
        "insert into contact_activity (organization_id, contact_id, kind, at, by, detail)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(organization)
    .bind(contact)
    .bind(kind)
    .bind(clock::now())
    .bind(by)
    .bind(detail.to_string())
    .run()
    .await
    .map(drop)
}

/// How far a campaign of an organization is; `None` if there is no such campaign.
pub(super) async fn counts(
    db: &Db,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Counts>> {
    let known: Option<(i64,)> = db
        .query("select id from campaign where organization_id = $1 and id = $2")
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    if known.is_none() {
        return Ok(None);
    }
    let counts = db.query(
        "select count(*) as total,
             count(case when status in ('waiting', 'claimed') then 1 end) as waiting,
             count(case when status = 'sent' then 1 end) as sent,
             count(case when status = 'refused' then 1 end) as refused,
             count(case when status = 'uncertain' and claim is not null then 1 end) as uncertain,
             count(case when status = 'uncertain' and claim is null then 1 end) as left_alone,
             count(case when status = 'skipped' then 1 end) as skipped,
             count(case when status = 'cancelled' then 1 end) as cancelled,
             count(case when bounced in ('soft', 'hard') then 1 end) as bounced,
             count(case when bounced = 'complaint' then 1 end) as complained,
             count(opened_at) as opened, count(clicked_at) as clicked,
             count(unsubscribed_at) as unsubscribed
         from campaign_mail where campaign_id = $1",
    );
    Ok(Some(counts.bind(id).one().await?))
}

/// Decides about all mails of a campaign of which nobody knows whether they were sent: they are
/// sent (again), or left. How many those were.
pub(super) async fn decide(tx: &mut Tx, id: i64, again: bool, told: &str) -> Result<u64> {
    let query = if again {
        tx.query(
            "update campaign_mail set status = 'waiting', claim = null, due_at = null, told = $2
             where campaign_id = $1 and status = 'uncertain' and claim is not null
               and campaign_id not in (select id from campaign where status = 'cancelled')",
        )
    } else {
        tx.query(
            "update campaign_mail set claim = null, told = $2
             where campaign_id = $1 and status = 'uncertain' and claim is not null",
        )
    };
    query.bind(id).bind(told).run().await
}
