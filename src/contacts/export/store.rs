//! What an export needs beside the contacts themselves.

use chrono::{DateTime, Utc};

use crate::{
    auth::OrganizationId,
    contacts::store::json,
    db::{Db, Result},
};

/// Names of attributes that become columns; further ones stand in the column of the rest.
const MOST_NAMES: i64 = 300;
/// Contacts whose attributes are looked into for their names.
const LOOKS: i64 = 20_000;

/// The names of the attributes that contacts have: of the newest, because each is looked into.
pub async fn attribute_names(db: &Db, organization: OrganizationId) -> Result<Vec<String>> {
    let sql = db.dialect(
        "select distinct k.name from
             (select attributes from contact where organization_id = $1
              order by created_at desc, id desc limit $3) c,
             lateral json_object_keys(cast(c.attributes as json)) as k(name)
         where c.attributes <> '{}' order by 1 limit $2",
        "select distinct k.key from
             (select attributes from contact where organization_id = $1
              order by created_at desc, id desc limit $3) c,
             json_each(c.attributes) k
         where c.attributes <> '{}' order by 1 limit $2",
    );
    let rows: Vec<(String,)> =
        db.query(sql).bind(organization).bind(MOST_NAMES).bind(LOOKS).all().await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// The last word of each contact about consent: contact, source and time.
pub(super) async fn last_words(
    db: &Db,
    contacts: &[i64],
) -> Result<Vec<(i64, String, DateTime<Utc>)>> {
    let sql = db.dialect(
        "select contact_id, source, at from contact_consent where id in (
             select max(id) from contact_consent where contact_id in (
                 select cast(value as bigint) from json_array_elements_text(cast($1 as json)))
             group by contact_id)",
        "select contact_id, source, at from contact_consent where id in (
             select max(id) from contact_consent
             where contact_id in (select value from json_each($1)) group by contact_id)",
    );
    db.query(sql).bind(json(contacts)?).all().await
}

/// Contacts with the slugs of segments they are in now.
pub(super) async fn segments(db: &Db, contacts: &[i64]) -> Result<Vec<(i64, String)>> {
    let sql = db.dialect(
        "select m.contact_id, s.slug from segment s
         join segment_contact m on m.segment_id = s.id
         where m.contact_id in (
             select cast(value as bigint) from json_array_elements_text(cast($1 as json)))
         order by s.id",
        "select m.contact_id, s.slug from segment_member m
         join segment s on s.id = m.segment_id and s.generation = m.generation
         where m.contact_id in (select value from json_each($1))
           and m.from_second <= unixepoch() and m.until_second > unixepoch()
         order by s.id",
    );
    db.query(sql).bind(json(contacts)?).all().await
}
