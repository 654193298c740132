//! What people do with a mail: unsubscribe (without signing in anywhere), take that back, open it,
//! follow its links.

use std::net::IpAddr;

use serde_json::json;

use super::{links, store};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    contacts::{
        self,
        suppress::{self, Reason},
    },
    db::Tx,
    error::Result,
};

/// Where the withdrawal of somebody who unsubscribed comes from, in its proof.
const SOURCE: &str = "unsubscribe link";

/// What a token says about its bearer now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaver {
    /// Enough of the address to know it by: "a…@example.com"; empty if it is gone.
    pub address: String,
    pub standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Gets mail.
    Subscribed,
    /// Has unsubscribed by a link, which can be taken back.
    Left,
    /// Gets none, for another reason or because the contact is gone.
    Never,
}

#[derive(sqlx::FromRow)]
struct Contact {
    id: i64,
    organization_id: OrganizationId,
    email: Option<String>,
    email_key: Option<String>,
    consent: String,
}

async fn contact(tx: &mut Tx, id: i64) -> Result<Option<Contact>> {
    let query = tx
        .query("select id, organization_id, email, email_key, consent from contact where id = $1");
    Ok(query.bind(id).optional().await?)
}

/// What the page of the link shows. Looking changes nothing: scanners of mail follow links.
/// `None` for a link that is not ours.
pub async fn look(app: &App, token: &str) -> Result<Option<Leaver>> {
    let keyed = app.lasting.keyed().await?;
    let Some(recipient) = links::read_leave(keyed, token) else { return Ok(None) };
    let found: Option<Contact> = app
        .db
        .query("select id, organization_id, email, email_key, consent from contact where id = $1")
        .bind(recipient.contact)
        .optional()
        .await?;
    let Some(contact) = found else {
        return Ok(Some(Leaver { address: String::new(), standing: Standing::Never }));
    };
    let listed = match &contact.email_key {
        Some(key) => suppress::reason(&app.db, keyed, contact.organization_id, key).await?,
        None => None,
    };
    let standing = match (listed, contact.consent.as_str()) {
        (Some((reason, _)), _) if reason == Reason::Unsubscribed.as_str() => Standing::Left,
        (Some(_), _) | (None, "withdrawn") => Standing::Never,
        (None, _) => Standing::Subscribed,
    };
    Ok(Some(Leaver { address: masked(contact.email.as_deref()), standing }))
}

fn masked(email: Option<&str>) -> String {
    let Some((local, domain)) = email.and_then(|email| email.rsplit_once('@')) else {
        return String::new();
    };
    format!("{}…@{domain}", local.chars().next().unwrap_or('…'))
}

/// The person wants no more mail. What is done already stays as it is. False for a link that is
/// not ours.
pub async fn unsubscribe(
    app: &App,
    token: &str,
    how: &str,
    address: Option<IpAddr>,
) -> Result<bool> {
    let keyed = app.lasting.keyed().await?;
    let Some(recipient) = links::read_leave(keyed, token) else { return Ok(false) };
    let now = clock::now();
    let mut tx = app.db.begin().await?;
    // An erased contact is on the list already, by its address.
    let Some(contact) = contact(&mut tx, recipient.contact).await? else { return Ok(true) };
    tx.query(
        "update campaign_mail set unsubscribed_at = $2 where id = $1 and unsubscribed_at is null",
    )
    .bind(recipient.mail)
    .bind(now)
    .run()
    .await?;
    if let Some(key) = &contact.email_key {
        suppress::add(&mut tx, keyed, contact.organization_id, key, Reason::Unsubscribed).await?;
    }
    if contact.consent != "withdrawn" {
        consent(&mut tx, &contact, "withdrawn", SOURCE, how, address).await?;
        let by = "the contact";
        let detail = json!({ "mail": recipient.mail, "how": how });
        store::happened(&mut tx, contact.organization_id, contact.id, "unsubscribed", by, &detail)
            .await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// The person takes it back, on the same page. False where that cannot be done here: who
/// complained, whose mail came back or who was put on the list by others stays on it.
pub async fn resubscribe(app: &App, token: &str, address: Option<IpAddr>) -> Result<bool> {
    let keyed = app.lasting.keyed().await?;
    let Some(recipient) = links::read_leave(keyed, token) else { return Ok(false) };
    let mut tx = app.db.begin().await?;
    let Some(contact) = contact(&mut tx, recipient.contact).await? else { return Ok(false) };
    let Some(key) = &contact.email_key else { return Ok(false) };
    let organization = contact.organization_id;
    if !suppress::remove(&mut tx, keyed, organization, key, Reason::Unsubscribed).await? {
        return Ok(false);
    }
    if contact.consent == "withdrawn" {
        // As it was before.
        let before: Option<(String,)> = tx
            .query(
                "select status from contact_consent
                 where contact_id = $1 and status <> 'withdrawn' order by id desc limit 1",
            )
            .bind(contact.id)
            .optional()
            .await?;
        let before = before.map_or_else(|| "confirmed".to_owned(), |(status,)| status);
        let source = "taken back on the page of the unsubscribe link";
        consent(&mut tx, &contact, &before, source, "Undo: send me mail again", address).await?;
        let detail = json!({ "mail": recipient.mail });
        store::happened(&mut tx, organization, contact.id, "resubscribed", "the contact", &detail)
            .await?;
    }
    tx.query("update campaign_mail set unsubscribed_at = null where id = $1")
        .bind(recipient.mail)
        .run()
        .await?;
    tx.commit().await?;
    Ok(true)
}

async fn consent(
    tx: &mut Tx,
    contact: &Contact,
    status: &str,
    source: &str,
    wording: &str,
    address: Option<IpAddr>,
) -> Result<()> {
    let now = clock::now();
    tx.query(
        "insert into contact_consent (organization_id, contact_id, status, source, wording, address, at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(contact.organization_id)
    .bind(contact.id)
    .bind(status)
    .bind(source)
    .bind(wording)
    .bind(address.map(|address| address.to_canonical().to_string()))
    .bind(now)
    .run()
    .await?;
    tx.query(
        "update contact set consent = $2, version = version + 1, updated_at = $3 where id = $1",
    )
    .bind(contact.id)
    .bind(status)
    .bind(now)
    .run()
    .await?;
    contacts::place_anew(tx, contact.organization_id, contact.id, now).await?;
    Ok(())
}

/// A mail was opened; counted the first time, where the campaign counts that.
pub async fn opened(app: &App, token: &str) -> Result<()> {
    let Some(mail) = links::read_open(app.lasting.keyed().await?, token) else { return Ok(()) };
    app.db
        .query(
            "update campaign_mail set opened_at = $2
             where id = $1 and opened_at is null
               and campaign_id in (select id from campaign where counts_opens)",
        )
        .bind(mail)
        .bind(clock::now())
        .run()
        .await?;
    Ok(())
}

/// Where a link of a mail leads: only to what stands in the approved version. `None` for anything
/// else.
pub async fn clicked(app: &App, token: &str) -> Result<Option<String>> {
    let Some((mail, index)) = links::read_click(app.lasting.keyed().await?, token) else {
        return Ok(None);
    };
    let found: Option<(String, bool)> = app
        .db
        .query(
            "select v.body, c.counts_clicks from campaign_mail m
             join campaign c on c.id = m.campaign_id
             join campaign_version v
               on v.campaign_id = c.id and v.version = c.approved_version
             where m.id = $1",
        )
        .bind(mail)
        .optional()
        .await?;
    let Some((body, counts)) = found else { return Ok(None) };
    let Some(target) = links::targets(&body).into_iter().nth(usize::from(index)) else {
        return Ok(None);
    };
    if counts {
        app.db
            .query("update campaign_mail set clicked_at = $2 where id = $1 and clicked_at is null")
            .bind(mail)
            .bind(clock::now())
            .run()
            .await?;
    }
    Ok(Some(target))
}
