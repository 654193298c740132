//! All SQL of duplicates and merging.

use chrono::{DateTime, Utc};

use crate::{
    auth::OrganizationId,
    contacts::Status,
    db::{Db, Result, Tx},
};

/// A contact as it stands in its row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) email: Option<String>,
    pub(super) email_key: Option<String>,
    pub(super) email_domain: String,
    pub(super) email_like: Option<String>,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) company: String,
    pub(super) phone: Option<String>,
    pub(super) phone_given: String,
    pub(super) source: String,
    pub(super) sources: String,
    pub(super) tags: String,
    pub(super) attributes: String,
    pub(super) consent: Status,
    pub(super) bounced: Option<String>,
    pub(super) version: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) active_at: DateTime<Utc>,
}

/// The row, which nobody else changes until the transaction ends.
pub(super) async fn take(
    tx: &mut Tx,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<Row>> {
    let sql = tx.dialect(
        "select id, email, email_key, email_domain, email_like, first_name, last_name, company,
             phone, phone_given, source, sources, tags, attributes, consent, bounced, version,
             created_at, active_at
         from contact where organization_id = $1 and id = $2 for update",
        "select id, email, email_key, email_domain, email_like, first_name, last_name, company,
             phone, phone_given, source, sources, tags, attributes, consent, bounced, version,
             created_at, active_at
         from contact where organization_id = $1 and id = $2",
    );
    tx.query(sql).bind(organization).bind(id).optional().await
}

/// Writes what the contact is after the merge, over the row of `into`.
pub(super) async fn write(tx: &mut Tx, row: &Row, loser: i64, now: DateTime<Utc>) -> Result<()> {
    // Two contacts never have one address, not even for a moment.
    tx.query("update contact set email = null, email_key = null where id = $1")
        .bind(loser)
        .run()
        .await?;
    tx.query(
        "update contact set email = $2, email_key = $3, email_domain = $4, email_like = $5,
             first_name = $6, last_name = $7, company = $8, phone = $9, phone_given = $10,
             source = $11, sources = $12, tags = $13, attributes = $14, consent = $15,
             bounced = $16, created_at = $17, active_at = $18, version = version + 1,
             updated_at = $19
         where id = $1",
    )
    .bind(row.id)
    .bind(row.email.as_deref())
    .bind(row.email_key.as_deref())
    .bind(row.email_domain.as_str())
    .bind(row.email_like.as_deref())
    .bind(row.first_name.as_str())
    .bind(row.last_name.as_str())
    .bind(row.company.as_str())
    .bind(row.phone.as_deref())
    .bind(row.phone_given.as_str())
    .bind(row.source.as_str())
    .bind(row.sources.as_str())
    .bind(row.tags.as_str())
    .bind(row.attributes.as_str())
    .bind(row.consent)
    .bind(row.bounced.as_deref())
    .bind(row.created_at)
    .bind(row.active_at)
    .bind(now)
    .run()
    .await
    .map(drop)
}

/// Hangs all that hangs on `from` on `into`, and ends `from`, whose id leads on.
pub(super) async fn move_all(
    tx: &mut Tx,
    organization: OrganizationId,
    from: i64,
    into: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    tx.query(
        "insert into contact_tag (organization_id, tag, contact_id)
         select organization_id, tag, $2 from contact_tag where contact_id = $1
         on conflict do nothing",
    )
    .bind(from)
    .bind(into)
    .run()
    .await?;
    tx.query("update contact_activity set contact_id = $2 where contact_id = $1")
        .bind(from)
        .bind(into)
        .run()
        .await?;
    tx.query("update contact_consent set contact_id = $2 where contact_id = $1")
        .bind(from)
        .bind(into)
        .run()
        .await?;
    tx.query("update webhook_receipt set contact_id = $2 where contact_id = $1")
        .bind(from)
        .bind(into)
        .run()
        .await?;
    tx.query("update call_log set contact_id = $2 where contact_id = $1")
        .bind(from)
        .bind(into)
        .run()
        .await?;
    tx.query("update contact_elsewhere set contact_id = $2 where contact_id = $1")
        .bind(from)
        .bind(into)
        .run()
        .await?;
    // One mail of a campaign for one contact; a second one stays without its contact.
    tx.query(
        "update campaign_mail set contact_id = $2
         where contact_id = $1
           and campaign_id not in (select campaign_id from campaign_mail where contact_id = $2)",
    )
    .bind(from)
    .bind(into)
    .run()
    .await?;
    // Members by rule are found by the rule.
    tx.query(
        "insert into segment_member
             (segment_id, generation, contact_id, from_second, until_second)
         select m.segment_id, m.generation, $2, m.from_second, m.until_second
         from segment_member m join segment s on s.id = m.segment_id
         where m.contact_id = $1 and s.rule is null and m.generation = s.generation
         on conflict do nothing",
    )
    .bind(from)
    .bind(into)
    .run()
    .await?;
    tx.query("update contact_merged set contact_id = $2 where contact_id = $1")
        .bind(from)
        .bind(into)
        .run()
        .await?;
    tx.query(
        "insert into contact_merged (organization_id, old_id, contact_id, made_by, at)
         values ($1, $2, $3, $4, $5)
         -- In a database of before ids were used once.
         on conflict (organization_id, old_id) do update set contact_id = excluded.contact_id,
             made_by = excluded.made_by, at = excluded.at",
    )
    .bind(organization)
    .bind(from)
    .bind(into)
    .bind(by)
    .bind(now)
    .run()
    .await?;
    tx.query("delete from contact where id = $1").bind(from).run().await.map(drop)
}

/// Where an id leads that was merged into another contact.
pub(super) async fn leads_to(
    db: &Db,
    organization: OrganizationId,
    id: i64,
) -> Result<Option<i64>> {
    let found: Option<(i64,)> = db
        .query("select contact_id from contact_merged where organization_id = $1 and old_id = $2")
        .bind(organization)
        .bind(id)
        .optional()
        .await?;
    Ok(found.map(|(id,)| id))
}

/// Addresses after `after` that several contacts have, but for what their provider ignores.
pub(super) async fn same_email(
    db: &Db,
    organization: OrganizationId,
    after: &str,
    limit: i64,
) -> Result<Vec<(String,)>> {
    db.query(
        "select v.same from
             (select email_like as same, count(*) as times from contact
              where organization_id = $1 and email_like > $2 group by email_like) v
         where v.times > 1 or exists
             (select 1 from contact c where c.organization_id = $1 and c.email_key = v.same)
         order by v.same limit $3",
    )
    .bind(organization)
    .bind(after)
    .bind(limit)
    .all()
    .await
}

pub(super) async fn same_phone(
    db: &Db,
    organization: OrganizationId,
    after: &str,
    limit: i64,
) -> Result<Vec<(String,)>> {
    db.query(
        "select phone from contact where organization_id = $1 and phone > $2
         group by phone having count(*) > 1 order by phone limit $3",
    )
    .bind(organization)
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// Names with a company, in lower case; in the order of the index contact_alike, so that it ends
/// with the page.
pub(super) async fn same_name(
    db: &Db,
    organization: OrganizationId,
    after: &str,
    limit: i64,
) -> Result<Vec<(String,)>> {
    db.query(
        "select lower(first_name || ' ' || last_name || ' · ' || company) from contact
         where organization_id = $1 and company <> '' and first_name <> '' and last_name <> ''
           and lower(first_name || ' ' || last_name || ' · ' || company) > $2
         group by lower(first_name || ' ' || last_name || ' · ' || company)
         having count(*) > 1
         order by lower(first_name || ' ' || last_name || ' · ' || company) limit $3",
    )
    .bind(organization)
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// One of several contacts that may be one person.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Alike {
    pub(super) same: String,
    pub(super) id: i64,
    pub(super) email: Option<String>,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) company: String,
    pub(super) phone: Option<String>,
    pub(super) source: String,
    pub(super) consent: Status,
    pub(super) created_at: DateTime<Utc>,
    pub(super) active_at: DateTime<Utc>,
}

/// Contacts of these addresses, oldest first; at most 2000. `same` is a JSON list.
pub(super) async fn of_emails(
    db: &Db,
    organization: OrganizationId,
    same: String,
) -> Result<Vec<Alike>> {
    let sql = db.dialect(
        "select coalesce(email_like, email_key) as same, id, email, first_name, last_name, company,
             phone, source, consent, created_at, active_at
         from contact where organization_id = $1
           and (email_like in (select value from jsonb_array_elements_text($2::jsonb))
             or email_key in (select value from jsonb_array_elements_text($2::jsonb)))
         order by id limit 2000",
        "select coalesce(email_like, email_key) as same, id, email, first_name, last_name, company,
             phone, source, consent, created_at, active_at
         from contact where id in
             (select id from contact where organization_id = $1
                 and email_like in (select value from json_each($2))
              union select id from contact where organization_id = $1
                 and email_key in (select value from json_each($2)))
         order by id limit 2000",
    );
    db.query(sql).bind(organization).bind(same).all().await
}

pub(super) async fn of_phones(
    db: &Db,
    organization: OrganizationId,
    same: String,
) -> Result<Vec<Alike>> {
    let sql = db.dialect(
        "select phone as same, id, email, first_name, last_name, company, phone, source, consent,
             created_at, active_at
         from contact where organization_id = $1
           and phone in (select value from jsonb_array_elements_text($2::jsonb))
         order by id limit 2000",
        "select phone as same, id, email, first_name, last_name, company, phone, source, consent,
             created_at, active_at
         from contact where organization_id = $1 and phone in (select value from json_each($2))
         order by id limit 2000",
    );
    db.query(sql).bind(organization).bind(same).all().await
}

pub(super) async fn of_names(
    db: &Db,
    organization: OrganizationId,
    same: String,
) -> Result<Vec<Alike>> {
    let sql = db.dialect(
        "select lower(first_name || ' ' || last_name || ' · ' || company) as same, id, email,
             first_name, last_name, company, phone, source, consent, created_at, active_at
         from contact where organization_id = $1
           and company <> '' and first_name <> '' and last_name <> ''
           and lower(first_name || ' ' || last_name || ' · ' || company)
             in (select value from jsonb_array_elements_text($2::jsonb))
         order by id limit 2000",
        "select lower(first_name || ' ' || last_name || ' · ' || company) as same, id, email,
             first_name, last_name, company, phone, source, consent, created_at, active_at
         from contact where organization_id = $1
           and company <> '' and first_name <> '' and last_name <> ''
           and lower(first_name || ' ' || last_name || ' · ' || company)
             in (select value from json_each($2))
         order by id limit 2000",
    );
    db.query(sql).bind(organization).bind(same).all().await
}
