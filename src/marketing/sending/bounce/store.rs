//! SQL of mail that came back.

use chrono::{DateTime, Utc};

use crate::{
    auth::OrganizationId,
    clock,
    db::{Result, Tx},
};

/// A mail or contact that a report is about.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Found {
    pub(super) organization_id: OrganizationId,
    pub(super) mail: Option<i64>,
    pub(super) contact: Option<i64>,
    pub(super) email_key: Option<String>,
    pub(super) consent: Option<String>,
}

pub(super) async fn of_mail(
    tx: &mut Tx,
    organization: OrganizationId,
    mail: i64,
) -> Result<Option<Found>> {
    let found = of_any_mail(tx, mail).await?;
    Ok(found.filter(|found| found.organization_id == organization))
}

pub(super) async fn of_any_mail(tx: &mut Tx, mail: i64) -> Result<Option<Found>> {
    tx.query(
        "select m.organization_id, m.id as mail, m.contact_id as contact, c.email_key, c.consent
         from campaign_mail m left join contact c on c.id = m.contact_id where m.id = $1",
    )
    .bind(mail)
    .optional()
    .await
}

/// The contact with an address, and its newest mail.
pub(super) async fn of_email(
    tx: &mut Tx,
    organization: OrganizationId,
    key: &str,
) -> Result<Option<Found>> {
    tx.query(
        "select c.organization_id, c.id as contact, c.email_key, c.consent,
             (select max(m.id) from campaign_mail m
              where m.contact_id = c.id and m.status in ('sent', 'uncertain')) as mail
         from contact c where c.organization_id = $1 and c.email_key = $2",
    )
    .bind(organization)
    .bind(key)
    .optional()
    .await
}

/// A graver word takes the place of a lighter one, never the other way round.
pub(super) async fn mark_mail(tx: &mut Tx, mail: i64, kind: &str) -> Result<()> {
    tx.query(
        "update campaign_mail set bounced = $2
         where id = $1 and (bounced is null or bounced = 'soft' or $2 = 'complaint')",
    )
    .bind(mail)
    .bind(kind)
    .run()
    .await
    .map(drop)
}

/// The same for the contact; whether that is news.
pub(super) async fn mark_contact(tx: &mut Tx, contact: i64, kind: &str) -> Result<bool> {
    let changed = tx
        .query(
            "update contact set bounced = $2, version = version + 1, updated_at = $3
             where id = $1 and (bounced is null or (bounced = 'soft' and $2 <> 'soft')
                                or (bounced = 'hard' and $2 = 'complaint'))",
        )
        .bind(contact)
        .bind(kind)
        .bind(clock::now())
        .run()
        .await?;
    Ok(changed > 0)
}

/// Whether the newest mails to a contact all came back softly.
pub(super) async fn last_are_soft(tx: &mut Tx, contact: i64, count: i64) -> Result<bool> {
    let last: Vec<(Option<String>,)> = tx
        .query(
            "select bounced from campaign_mail
             where contact_id = $1 and status in ('sent', 'uncertain', 'refused')
             order by id desc limit $2",
        )
        .bind(contact)
        .bind(count)
        .all()
        .await?;
    let soft = last.iter().filter(|(bounced,)| bounced.as_deref() == Some("soft")).count();
    Ok(i64::try_from(soft) == Ok(count))
}

pub(super) async fn withdraw(
    tx: &mut Tx,
    organization: OrganizationId,
    contact: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "insert into contact_consent (organization_id, contact_id, status, source, wording, at)
         values ($1, $2, 'withdrawn', $3, '', $4)",
    )
    .bind(organization)
    .bind(contact)
    .bind(format!("complaint, told by {by}"))
    .bind(now)
    .run()
    .await?;
    tx.query("update contact set consent = 'withdrawn' where id = $1").bind(contact).run().await?;
    Ok(())
}
