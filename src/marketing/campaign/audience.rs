//! Who gets a campaign, and who does not and why.
//!
//! Consent decides, always: a segment only says who is meant.

use serde::Serialize;

use crate::{
    app::App,
    auth::OrganizationId,
    contacts::suppress,
    db::{self, Tx},
    error::{Error, Result},
    seal::Keyed,
};

/// Addresses that are looked up at once.
const BATCH: i64 = 2000;

/// A segment as a campaign's audience.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema,
)]
pub struct Audience {
    /// Contacts in the segment.
    pub members: i64,
    /// Of those, who has no e-mail address, …
    pub without_email: i64,
    /// … who has one and did not agree, …
    pub without_consent: i64,
    /// … who agreed, and whose address is wrong or who complained, …
    pub bounced: i64,
    /// … and who is on the list of addresses that are never written to.
    #[sqlx(default)]
    pub suppressed: i64,
    /// Who is left, and gets a mail.
    #[sqlx(default)]
    pub recipients: i64,
    /// Recipients without the value of a merge field.
    pub without_first_name: i64,
    pub without_last_name: i64,
    pub without_company: i64,
}

/// Counts a segment out.
pub(super) async fn count(
    app: &App,
    organization: OrganizationId,
    segment: i64,
) -> Result<Audience> {
    let mut audience: Audience = app
        .db
        .query(
            "select count(*) as members,
                 coalesce(sum(case when c.email_key is null then 1 else 0 end), 0) as without_email,
                 coalesce(sum(case when c.email_key is not null and c.consent <> 'confirmed'
                     then 1 else 0 end), 0) as without_consent,
                 coalesce(sum(case when c.email_key is not null and c.consent = 'confirmed'
                     and coalesce(c.bounced, '') in ('hard', 'complaint') then 1 else 0 end), 0)
                     as bounced,
                 coalesce(sum(case when c.email_key is not null and c.consent = 'confirmed'
                     and c.first_name = '' then 1 else 0 end), 0) as without_first_name,
                 coalesce(sum(case when c.email_key is not null and c.consent = 'confirmed'
                     and c.last_name = '' then 1 else 0 end), 0) as without_last_name,
                 coalesce(sum(case when c.email_key is not null and c.consent = 'confirmed'
                     and c.company = '' then 1 else 0 end), 0) as without_company
             from contact c
             where c.organization_id = $1
               and c.id in (select m.contact_id from segment_contact m where m.segment_id = $2)",
        )
        .bind(organization)
        .bind(segment)
        .one()
        .await?;
    audience.suppressed = suppressed(app, organization, segment).await?;
    let left_out =
        audience.without_email + audience.without_consent + audience.bounced + audience.suppressed;
    audience.recipients = (audience.members - left_out).max(0);
    Ok(audience)
}

/// Members that would get a mail, were their address not on the list.
async fn suppressed(app: &App, organization: OrganizationId, segment: i64) -> Result<i64> {
    let on_list: i64 = app
        .db
        .query("select count(*) from suppression where organization_id = $1")
        .bind(organization)
        .scalar()
        .await?;
    if on_list == 0 {
        return Ok(0);
    }
    let key = app.lasting.keyed().await?;
    let (mut after, mut found) = (0_i64, 0_i64);
    loop {
        let members: Vec<(i64, String)> = app
            .db
            .query(
                "select c.id, c.email_key from contact c
                 where c.organization_id = $1 and c.id > $3 and c.email_key is not null
                   and c.consent = 'confirmed'
                   and coalesce(c.bounced, '') not in ('hard', 'complaint')
                   and c.id in (select m.contact_id from segment_contact m where m.segment_id = $2)
                 order by c.id limit $4",
            )
            .bind(organization)
            .bind(segment)
            .bind(after)
            .bind(BATCH)
            .all()
            .await?;
        let Some((last, _)) = members.last() else { return Ok(found) };
        after = *last;
        let hashes: Vec<String> =
            members.iter().map(|(_, email)| suppress::hash(key, email)).collect();
        let sql = app.db.dialect(
            "select count(*) from suppression where organization_id = $1
               and email_hash in (select value from json_array_elements_text(cast($2 as json)))",
            "select count(*) from suppression where organization_id = $1
               and email_hash in (select value from json_each($2))",
        );
        let these: i64 =
            app.db.query(sql).bind(organization).bind(listed(&hashes)?).scalar().await?;
        found += these;
    }
}

/// Makes one mail for each recipient; how many there are. Who is in already stays.
pub(super) async fn freeze(
    key: &Keyed,
    tx: &mut Tx,
    organization: OrganizationId,
    campaign: i64,
    segment: i64,
    subjects: usize,
) -> Result<i64> {
    let subjects = i64::try_from(subjects.max(1)).unwrap_or(1);
    tx.query(
        "insert into campaign_mail (organization_id, campaign_id, contact_id, subject)
         select cast($1 as bigint), cast($2 as bigint), c.id, c.id % cast($4 as bigint)
         from contact c
         where c.organization_id = $1 and c.email_key is not null and c.consent = 'confirmed'
           and coalesce(c.bounced, '') not in ('hard', 'complaint')
           and c.id in (select m.contact_id from segment_contact m where m.segment_id = $3)
         order by c.id
         on conflict (campaign_id, contact_id) do nothing",
    )
    .bind(organization)
    .bind(campaign)
    .bind(segment)
    .bind(subjects)
    .run()
    .await?;
    take_suppressed_off(key, tx, organization, campaign).await?;
    Ok(tx
        .query("select count(*) from campaign_mail where campaign_id = $1")
        .bind(campaign)
        .scalar()
        .await?)
}

/// The list is of keyed hashes, which no statement can make.
async fn take_suppressed_off(
    key: &Keyed,
    tx: &mut Tx,
    organization: OrganizationId,
    campaign: i64,
) -> Result<()> {
    let on_list: i64 = tx
        .query("select count(*) from suppression where organization_id = $1")
        .bind(organization)
        .scalar()
        .await?;
    if on_list == 0 {
        return Ok(());
    }
    let mut after = 0_i64;
    loop {
        let mails: Vec<(i64, String)> = tx
            .query(
                "select m.id, c.email_key from campaign_mail m join contact c on c.id = m.contact_id
                 where m.campaign_id = $1 and m.status = 'waiting' and m.id > $2
                   and c.email_key is not null
                 order by m.id limit $3",
            )
            .bind(campaign)
            .bind(after)
            .bind(BATCH)
            .all()
            .await?;
        let Some((last, _)) = mails.last() else { return Ok(()) };
        after = *last;
        let by_hash: std::collections::BTreeMap<String, i64> =
            mails.iter().map(|(id, email)| (suppress::hash(key, email), *id)).collect();
        let hashes: Vec<&String> = by_hash.keys().collect();
        let sql = tx.dialect(
            "select email_hash from suppression where organization_id = $1
               and email_hash in (select value from json_array_elements_text(cast($2 as json)))",
            "select email_hash from suppression where organization_id = $1
               and email_hash in (select value from json_each($2))",
        );
        let found: Vec<(String,)> =
            tx.query(sql).bind(organization).bind(listed(&hashes)?).all().await?;
        let ids: Vec<i64> = found.iter().filter_map(|(hash,)| by_hash.get(hash)).copied().collect();
        if !ids.is_empty() {
            delete_mails(tx, campaign, &ids).await?;
        }
    }
}

async fn delete_mails(tx: &mut Tx, campaign: i64, ids: &[i64]) -> Result<()> {
    let sql = tx.dialect(
        "delete from campaign_mail where campaign_id = $1
           and id in (select cast(value as bigint) from json_array_elements_text(cast($2 as json)))",
        "delete from campaign_mail where campaign_id = $1
           and id in (select value from json_each($2))",
    );
    let done: db::Result<u64> = tx.query(sql).bind(campaign).bind(listed(&ids)?).run().await;
    Ok(done.map(drop)?)
}

fn listed(values: &impl Serialize) -> Result<String> {
    serde_json::to_string(values).map_err(|error| Error::Internal(error.into()))
}
