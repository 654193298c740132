//! Mail that came back, and people who called it spam: told by the mail provider's webhook, or
//! read from the mailbox that such reports go to (`parse`).

mod parse;
mod store;

use serde_json::json;

use super::{links, store as sending};
use crate::{
    app::App,
    auth::OrganizationId,
    clock,
    contacts::{
        self, Email,
        suppress::{self, Reason},
    },
    db::{self, Db, Tx},
    error::Result,
    seal::Keyed,
};

pub use parse::{Messages, Report, reports};

/// Soft bounces in a row that count as a hard one.
const IN_A_ROW: i64 = 3;

/// How a mail came back.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[schema(as = BounceKind)]
pub enum Kind {
    /// There is no such mailbox.
    Hard,
    /// It could not be delivered this time.
    Soft,
    /// The person called it spam.
    Complaint,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Complaint => "complaint",
        }
    }
}

/// Whose mail came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The number of a campaign's mail.
    Mail(i64),
    /// An address.
    Email(String),
}

/// Notes that a mail came back, in one transaction with all that follows from it. False if no
/// such mail or contact is known.
pub async fn record(
    db: &Db,
    keyed: &Keyed,
    organization: OrganizationId,
    whose: &Whose,
    kind: Kind,
    reason: &str,
    by: &str,
) -> Result<bool> {
    let mut tx = db.begin().await?;
    let found = match whose {
        Whose::Mail(mail) => store::of_mail(&mut tx, organization, *mail).await?,
        Whose::Email(email) => match Email::parse(email) {
            Ok(email) => store::of_email(&mut tx, organization, &email.key).await?,
            Err(_) => None,
        },
    };
    let Some(found) = found else { return Ok(false) };
    apply(&mut tx, keyed, &found, kind, &crate::mail::shown(reason), by).await?;
    tx.commit().await?;
    Ok(true)
}

/// The number of the mail that an `X-Lux-Mail` names, if Lux made it.
pub fn marked(keyed: &Keyed, mark: &str) -> Option<i64> {
    links::read_mark(keyed, mark)
}

/// [`record`] for a running service.
pub async fn take(
    app: &App,
    organization: OrganizationId,
    whose: &Whose,
    kind: Kind,
    reason: &str,
    by: &str,
) -> Result<bool> {
    record(&app.db, app.lasting.keyed().await?, organization, whose, kind, reason, by).await
}

/// The mail server refused an address for good, while the mail was being sent.
pub(super) async fn refused(tx: &mut Tx, keyed: &Keyed, mail: i64, told: &str) -> db::Result<()> {
    let Some(found) = store::of_any_mail(tx, mail).await? else { return Ok(()) };
    apply(tx, keyed, &found, Kind::Hard, told, "the mail server").await
}

async fn apply(
    tx: &mut Tx,
    keyed: &Keyed,
    found: &store::Found,
    kind: Kind,
    reason: &str,
    by: &str,
) -> db::Result<()> {
    if let Some(mail) = found.mail {
        store::mark_mail(tx, mail, kind.as_str()).await?;
    }
    let (Some(contact), organization) = (found.contact, found.organization_id) else {
        return Ok(());
    };
    let hard_now = kind == Kind::Soft && store::last_are_soft(tx, contact, IN_A_ROW).await?;
    let kind = if hard_now { Kind::Hard } else { kind };
    let news = store::mark_contact(tx, contact, kind.as_str()).await?;
    let on_the_list = match kind {
        Kind::Soft => None,
        Kind::Hard => Some(Reason::Bounced),
        Kind::Complaint => Some(Reason::Complained),
    };
    if let (Some(reason), Some(key)) = (on_the_list, &found.email_key) {
        suppress::add(tx, keyed, organization, key, reason).await?;
    }
    if kind == Kind::Complaint && found.consent.as_deref() != Some("withdrawn") {
        store::withdraw(tx, organization, contact, by, clock::now()).await?;
    }
    if news || kind == Kind::Soft {
        let what = if kind == Kind::Complaint { "complained" } else { "bounced" };
        let detail = json!({ "type": kind, "reason": reason, "mail": found.mail,
            "in_a_row": hard_now });
        sending::happened(tx, organization, contact, what, by, &detail).await?;
        contacts::place_anew(tx, organization, contact, clock::now()).await?;
    }
    Ok(())
}
