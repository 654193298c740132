//! A contact as it is kept, and as it comes in.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use chrono::{DateTime, Utc};
use rlibphonenumber::Region;
use serde::{Deserialize, Serialize};

use super::{merge::tidy, phone::e164};

/// Longest telephone number, in bytes.
const MAX_PHONE: usize = 100;

/// Whether marketing may be sent to somebody by e-mail.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = ConsentStatus)]
pub enum Status {
    /// Nobody asked.
    #[default]
    None,
    /// Asked, by a mail whose link was not followed yet.
    Pending,
    Confirmed,
    Withdrawn,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_lowercase().as_str() {
            "none" | "" => Ok(Self::None),
            "pending" => Ok(Self::Pending),
            "confirmed" => Ok(Self::Confirmed),
            "withdrawn" => Ok(Self::Withdrawn),
            other => {
                Err(format!("consent {other:?} is none of none, pending, confirmed and withdrawn"))
            }
        }
    }
}

/// A contact, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Contact {
    pub id: i64,
    pub email: Option<String>,
    /// In the ASCII form of IDNA; empty without an address.
    pub email_domain: String,
    pub first_name: String,
    pub last_name: String,
    pub company: String,
    /// E.164.
    pub phone: Option<String>,
    /// The telephone number as it came.
    pub phone_given: String,
    /// Where it came from first.
    pub source: String,
    /// All places it came from.
    pub sources: Vec<String>,
    pub tags: BTreeSet<String>,
    pub attributes: BTreeMap<String, String>,
    #[schema(inline)]
    pub consent: Status,
    /// Why mail does not arrive: soft, hard or complaint.
    pub bounced: Option<String>,
    /// Goes up with each change.
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub active_at: DateTime<Utc>,
}

impl Contact {
    /// First and last name; empty if neither is known.
    pub fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name).trim().to_owned()
    }
}

/// What came about a person: a form, a row of a file, a call of the API. Empty texts say nothing
/// and change nothing; [`super::Contacts::record`] merges it into what is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    pub email: Option<super::Email>,
    pub first_name: String,
    pub last_name: String,
    pub company: String,
    /// As it came.
    pub phone: String,
    pub source: String,
    /// Added to those that are there.
    pub tags: BTreeSet<String>,
    /// Laid over those that are there; an empty value removes.
    pub attributes: BTreeMap<String, String>,
    /// What the person agreed to, if that came along.
    pub consent: Option<Agreed>,
    /// Who tells: "webhook zapier", "import 3", a person.
    pub by: String,
}

/// [`Incoming`] with what takes time to find out about it, so that the writer need not.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) person: Incoming,
    /// The telephone number in one line as it came, and in E.164.
    pub(super) phone: String,
    pub(super) number: Option<String>,
}

impl Arrival {
    pub(super) fn new(person: Incoming, region: Option<Region>) -> Self {
        let phone = tidy(&person.phone, MAX_PHONE);
        let number = if phone.is_empty() { None } else { e164(&phone, region) };
        Self { person, phone, number }
    }
}

/// A word about consent.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreed {
    pub status: Status,
    /// Where it was given: "form newsletter", "import 3".
    pub source: String,
    /// What the person was shown.
    pub wording: String,
    /// The network address it came from, if that was told.
    pub address: Option<String>,
    /// When; now, if nobody says.
    pub at: Option<DateTime<Utc>>,
}

/// What was done with [`Incoming`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Done {
    Created,
    Updated,
    Unchanged,
}

/// A contact after [`Incoming`] was merged into it, committed.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub done: Done,
    pub contact: Contact,
    /// Slugs of the segments it is in now, in order of their ids.
    pub segments: Vec<String>,
}
