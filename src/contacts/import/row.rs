//! A row of a file as what came about a person, or why it is not taken.

use std::collections::BTreeSet;

use csv::StringRecord;

use super::{Settings, mapping::Target};
use crate::contacts::{Agreed, Email, Incoming, Status, table};

/// Longest name, company, source, telephone number and tag, in characters.
const MAX_TEXT: usize = 200;
/// Longest value of an attribute, in characters.
const MAX_VALUE: usize = 2000;
/// Most tags of one row.
const MAX_TAGS: usize = 50;

/// Why a row is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The column's name; empty where it is about the whole row.
    pub(super) place: String,
    pub(super) reason: String,
}

/// How rows are read.
pub(super) struct Reading {
    settings: Settings,
    tags: BTreeSet<String>,
    by: String,
}

/// What a file says about consent.
fn consent(text: &str) -> Option<Status> {
    match text.to_lowercase().as_str() {
        "yes" | "y" | "true" | "1" | "x" | "ja" | "oui" | "si" | "sí" | "on" | "opted in"
        | "opt-in" | "subscribed" | "confirmed" => Some(Status::Confirmed),
        "no" | "n" | "false" | "0" | "nein" | "non" | "off" | "opted out" | "opt-out"
        | "unsubscribed" | "withdrawn" => Some(Status::Withdrawn),
        "" | "none" | "unknown" | "pending" | "null" => Some(Status::None),
        _ => None,
    }
}

impl Reading {
    /// `by` says who tells: "import 3".
    pub(super) fn new(settings: Settings, by: String) -> Self {
        let tags = settings.tags.iter().cloned().collect();
        Self { settings, tags, by }
    }

    /// `None` for a row without any text, as spreadsheets leave behind.
    pub(super) fn read(&self, row: &StringRecord) -> Option<Result<Incoming, Refused>> {
        row.iter().any(|cell| !cell.trim().is_empty()).then(|| self.person(row))
    }

    fn person(&self, row: &StringRecord) -> Result<Incoming, Refused> {
        let columns = &self.settings.columns;
        if row.len() > columns.len() && row.iter().skip(columns.len()).any(|it| !it.is_empty()) {
            return Err(Refused {
                place: String::new(),
                reason: format!(
                    "has {} cells, but there are {} columns; is a quotation mark missing?",
                    row.len(),
                    columns.len()
                ),
            });
        }
        let mut person = Incoming {
            source: self.settings.source.clone(),
            tags: self.tags.clone(),
            by: self.by.clone(),
            ..Incoming::default()
        };
        let mut agreed = None;
        for (column, cell) in columns.iter().zip(row) {
            let cell = table::unguarded(cell.trim());
            if cell.is_empty() || column.to == Target::Skip {
                continue;
            }
            let refuse = |reason: String| Refused { place: column.name.clone(), reason };
            let text = |most: usize| bounded(cell, most).map_err(refuse);
            match &column.to {
                Target::Email => {
                    let email = Email::parse(cell).map_err(|why| refuse(why.to_owned()))?;
                    person.email = Some(email);
                }
                Target::FirstName => person.first_name = text(MAX_TEXT)?,
                Target::LastName => person.last_name = text(MAX_TEXT)?,
                Target::Name => {
                    let name = text(MAX_TEXT)?;
                    let (first, last) = name.split_once(char::is_whitespace).unwrap_or((&name, ""));
                    if person.first_name.is_empty() && person.last_name.is_empty() {
                        first.clone_into(&mut person.first_name);
                        last.trim().clone_into(&mut person.last_name);
                    }
                }
                Target::Company => person.company = text(MAX_TEXT)?,
                Target::Phone => person.phone = text(MAX_TEXT)?,
                Target::Source => person.source = text(MAX_TEXT)?,
                Target::Tags => {
                    let tags = cell.split([',', ';', '|']).map(str::trim);
                    for tag in tags.filter(|tag| !tag.is_empty()).take(MAX_TAGS) {
                        person.tags.insert(bounded(tag, MAX_TEXT).map_err(refuse)?);
                    }
                }
                Target::Consent => {
                    agreed = Some(consent(cell).ok_or_else(|| {
                        refuse("says neither yes nor no about consent".to_owned())
                    })?);
                }
                Target::Attribute(name) => {
                    person.attributes.insert(name.clone(), text(MAX_VALUE)?);
                }
                Target::Skip => {}
            }
        }
        if person.email.is_none() && !person.phone.contains(|c: char| c.is_ascii_digit()) {
            let place = columns.iter().find(|column| column.to == Target::Email);
            return Err(Refused {
                place: place.map_or_else(String::new, |column| column.name.clone()),
                reason: "has neither an e-mail address nor a telephone number".to_owned(),
            });
        }
        person.consent = self.agreed(agreed);
        Ok(person)
    }

    /// That somebody does not want mail is believed; that they do only on an operator's word.
    fn agreed(&self, told: Option<Status>) -> Option<Agreed> {
        let word = self.settings.consent.as_ref();
        let everybody = word.is_some_and(|word| word.everybody);
        let status = match told {
            Some(Status::Withdrawn) => Status::Withdrawn,
            Some(Status::Confirmed) if word.is_some() => Status::Confirmed,
            None if everybody => Status::Confirmed,
            _ => return None,
        };
        Some(Agreed {
            status,
            source: word.map_or_else(|| self.by.clone(), |word| word.source.clone()),
            wording: word.map_or_else(String::new, |word| word.wording.clone()),
            address: None,
            at: None,
        })
    }
}

/// A text without control characters; refused where it is longer than anybody writes.
fn bounded(text: &str, most: usize) -> Result<String, String> {
    if text.chars().count() > most {
        return Err(format!("is longer than {most} characters"));
    }
    let plain = |c: char| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c };
    Ok(text.chars().map(plain).collect())
}

#[cfg(test)]
mod tests {
    use csv::StringRecord;

    use super::{Reading, Refused};
    use crate::contacts::{
        Incoming, Status,
        import::{ConsentWord, Settings, mapping::columns},
    };

    fn reading(header: &str, consent: Option<ConsentWord>) -> Reading {
        let cells: Vec<String> = header.split(',').map(str::to_owned).collect();
        let settings = Settings {
            encoding: "UTF-8".to_owned(),
            delimiter: ',',
            header: true,
            columns: columns(&cells, true),
            tags: vec!["fair".to_owned()],
            source: "fair 2026".to_owned(),
            consent,
        };
        Reading::new(settings, "import 1".to_owned())
    }

    fn read(reading: &Reading, row: &[&str]) -> Option<Result<Incoming, Refused>> {
        reading.read(&StringRecord::from(row.to_vec()))
    }

    #[test]
    fn a_row_becomes_a_person() {
        let reading = reading("email,name,tags,city", None);
        let row = ["Ada@example.com", "Ada Lovelace King", "a; b", " London\u{7} "];
        let person = read(&reading, &row).unwrap().unwrap();
        assert_eq!(person.email.unwrap().key, "ada@example.com");
        assert_eq!(
            (person.first_name.as_str(), person.last_name.as_str()),
            ("Ada", "Lovelace King")
        );
        assert_eq!(person.tags.into_iter().collect::<Vec<_>>(), ["a", "b", "fair"]);
        assert_eq!(person.attributes["city"], "London ");
        assert_eq!(person.source, "fair 2026");
        assert_eq!(person.consent, None);
    }

    #[test]
    fn what_is_wrong_says_where_and_why() {
        let reading = reading("E-Mail,name,consent", None);
        let wrong = |row: &[&str]| {
            let refused = read(&reading, row).unwrap().unwrap_err();
            (refused.place, refused.reason)
        };
        assert_eq!(wrong(&["ada", "Ada"]), ("E-Mail".to_owned(), "has no @".to_owned()));
        assert!(wrong(&["", "Ada"]).1.contains("neither"));
        assert!(wrong(&["a@example.com", "x", "maybe"]).1.contains("neither yes nor no"));
        assert!(wrong(&["a@example.com", "x", "", "more"]).1.contains("4 cells"));
        assert!(wrong(&["a@example.com", &"x".repeat(201)]).1.contains("200"));
        assert_eq!(read(&reading, &["", "  ", ""]), None);
    }

    #[test]
    fn consent_needs_the_word_of_an_operator() {
        let status = |reading: &Reading, cell: &str| {
            let person = read(reading, &["a@example.com", cell]).unwrap().unwrap();
            person.consent.map(|agreed| agreed.status)
        };
        let without = reading("email,consent", None);
        assert_eq!(status(&without, "yes"), None);
        assert_eq!(status(&without, "no"), Some(Status::Withdrawn));
        let word = |everybody| ConsentWord {
            source: "paper forms".to_owned(),
            wording: "I want mail".to_owned(),
            everybody,
        };
        let with = reading("email,consent", Some(word(false)));
        assert_eq!(status(&with, "Yes"), Some(Status::Confirmed));
        assert_eq!(status(&with, ""), None);
        let all = reading("email,consent", Some(word(true)));
        assert_eq!(status(&all, ""), Some(Status::Confirmed));
        assert_eq!(status(&all, "no"), Some(Status::Withdrawn));
    }
}
