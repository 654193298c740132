//! What the columns of a file are.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    contacts::names,
    error::{Error, Result},
};

/// What becomes of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Target {
    Email,
    FirstName,
    LastName,
    /// First and last name in one.
    Name,
    Company,
    Phone,
    Source,
    /// Several, between commas, semicolons or bars.
    Tags,
    /// Yes or no.
    Consent,
    /// Kept under this name.
    Attribute(String),
    /// Left out.
    Skip,
}

/// Those that have a name of their own.
const NAMED: [(Target, &str); 10] = [
    (Target::Email, "email"),
    (Target::FirstName, "first_name"),
    (Target::LastName, "last_name"),
    (Target::Name, "name"),
    (Target::Company, "company"),
    (Target::Phone, "phone"),
    (Target::Source, "source"),
    (Target::Tags, "tags"),
    (Target::Consent, "consent"),
    (Target::Skip, "skip"),
];

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "attribute:{name}"),
            other => {
                let named = NAMED.iter().find(|(target, _)| target == other);
                f.write_str(named.map_or("", |(_, name)| name))
            }
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(name) = text.strip_prefix("attribute:") {
            let name = attribute_name(name);
            if name.is_empty() {
                return Err(Error::invalid("attribute: needs a name, as in attribute:city"));
            }
            return Ok(Self::Attribute(name));
        }
        let named = NAMED.iter().find(|(_, name)| *name == text);
        named.map(|(target, _)| target.clone()).ok_or_else(|| {
            Error::invalid(format!(
                "a column becomes one of {}, or attribute:NAME; {:?} is none of them",
                NAMED.map(|(_, name)| name).join(", "),
                text.chars().take(60).collect::<String>()
            ))
        })
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// A column of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ImportColumn)]
pub struct Column {
    /// As its header says, made unique; "column 3" where there is none.
    pub name: String,
    /// email, first_name, last_name, name, company, phone, source, tags, consent, skip or
    /// attribute:NAME.
    #[schema(value_type = String)]
    pub to: Target,
}

/// Columns of an export that Lux writes itself.
const OWN: [&str; 12] = [
    "id",
    "phone_given",
    "sources",
    "segments",
    "consent_source",
    "consent_at",
    "bounced",
    "version",
    "created_at",
    "updated_at",
    "active_at",
    "attributes",
];

/// The columns of a file by its first row, each with what it probably is. Without a header it is
/// the first row of data: the column with addresses is known, the others are left out.
pub(super) fn columns(first: &[String], header: bool) -> Vec<Column> {
    // What Lux exported, and is told again by nothing else.
    let ours = ["phone_given", "active_at", "consent_at"];
    let ours = header && ours.iter().all(|name| first.iter().any(|cell| cell.trim() == *name));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut taken: Vec<Target> = Vec::new();
    let mut columns = Vec::with_capacity(first.len());
    for (index, cell) in first.iter().enumerate() {
        let title: String = cell.trim().chars().take(100).collect();
        let name =
            if header && !title.is_empty() { title } else { format!("column {}", index + 1) };
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        let name = if *times > 1 { format!("{name} ({times})") } else { name };
        let guess = match (header, super::super::Email::parse(cell)) {
            (true, _) if ours && OWN.contains(&name.as_str()) => Target::Skip,
            (true, _) => guess(name.strip_prefix("attributes.").unwrap_or(&name)),
            (false, Ok(_)) => Target::Email,
            (false, Err(_)) => Target::Skip,
        };
        // A field has one column: the first that is called so.
        let guess = if taken.contains(&guess) && guess != Target::Skip && guess != Target::Tags {
            Target::Attribute(attribute_name(&name))
        } else {
            guess
        };
        taken.push(guess.clone());
        columns.push(Column { name, to: guess });
    }
    columns
}

/// Whether the first row names the columns rather than being one of them.
pub(super) fn is_header(first: &[String]) -> bool {
    !first.iter().any(|cell| cell.contains('@') || cell.trim().parse::<f64>().is_ok())
}

/// What a column of this name is. Names that mean nothing to Lux become attributes.
fn guess(name: &str) -> Target {
    // What Lux writes beside rows that it refused.
    if name.starts_with("lux ") {
        return Target::Skip;
    }
    let plain = names::plain(name);
    let known = [
        (names::EMAIL, Target::Email),
        (names::FIRST_NAME, Target::FirstName),
        (names::LAST_NAME, Target::LastName),
        (names::NAME, Target::Name),
        (names::COMPANY, Target::Company),
        (names::PHONE, Target::Phone),
        (names::SOURCE, Target::Source),
        (names::TAGS, Target::Tags),
        (names::CONSENT, Target::Consent),
        (&[""], Target::Skip),
    ];
    let found = known.into_iter().find(|(names, _)| names.contains(&plain.as_str()));
    found.map_or_else(|| Target::Attribute(attribute_name(name)), |(_, target)| target)
}

/// The name of an attribute: lower case, with underscores.
fn attribute_name(name: &str) -> String {
    let mut kept = String::new();
    for c in name.trim().chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            kept.push(c);
        } else if !kept.ends_with('_') && !kept.is_empty() {
            kept.push('_');
        }
    }
    kept.trim_end_matches('_').chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::{Target, columns, is_header};

    fn to(header: &str) -> Vec<String> {
        let cells: Vec<String> = header.split(',').map(str::to_owned).collect();
        columns(&cells, is_header(&cells)).into_iter().map(|it| it.to.to_string()).collect()
    }

    #[test]
    fn usual_headers_are_recognised() {
        assert_eq!(
            to(
                "E-Mail Address,First Name,surname,Firma,Mobile,Lead Source,Tags,Opt-in,Favourite Colour,"
            ),
            [
                "email",
                "first_name",
                "last_name",
                "company",
                "phone",
                "source",
                "tags",
                "consent",
                "attribute:favourite_colour",
                "attribute:column_10"
            ]
        );
        assert_eq!(to("email,Email,name"), ["email", "attribute:email", "name"]);
        assert_eq!(to("Ada,ada@example.com,12"), ["skip", "email", "skip"]);
    }

    #[test]
    fn what_a_column_becomes_is_written_as_it_is_read() {
        for text in ["email", "first_name", "skip", "attribute:city"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert!("attribute: ".parse::<Target>().is_err());
        assert!("e-mail".parse::<Target>().unwrap_err().to_string().contains("attribute:NAME"));
    }
}
