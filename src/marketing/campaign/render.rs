//! From a version and its recipients to letters.

use std::collections::BTreeMap;

use super::{
    compile::Compiled,
    layout,
    merge::{Field, Piece, Values},
    store,
};
use crate::{
    auth::OrganizationId,
    db::Db,
    error::{Error, Result},
    marketing::brand::{self, Brand},
};

/// Longest subject after its fields were filled in, in characters.
const MAX_SUBJECT: usize = 250;

/// Where the unsubscribe link of a preview leads.
pub const NOWHERE: &str = "#unsubscribe";

/// Who is to get a mail.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The row of `campaign_mail`.
    pub mail: i64,
    pub contact: i64,
    /// Which of the subjects; a higher number begins anew.
    pub subject: i64,
    /// Where this recipient ends it, by https.
    pub unsubscribe_url: String,
}

/// A mail to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub mail: i64,
    pub contact: i64,
    /// The address as it was given.
    pub to: String,
    /// First and last name; empty if neither is known.
    pub name: String,
    /// One line without control characters.
    pub subject: String,
    pub html: String,
    pub text: String,
}

/// A person, as far as a letter says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub id: i64,
    pub email: String,
    pub values: Values,
}

impl Person {
    fn name(&self) -> String {
        let name = format!("{} {}", self.values.first_name, self.values.last_name);
        crate::llm::visible(name.trim()).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Compiled {
    /// The letter to a person.
    pub fn letter(&self, person: &Person, mail: i64, subject: i64, unsubscribe: &str) -> Letter {
        let count = i64::try_from(self.subjects.len()).unwrap_or(1).max(1);
        let chosen = usize::try_from(subject.rem_euclid(count)).unwrap_or(0);
        let plain = |text: &str| text.to_owned();
        let subject = self.subjects.get(chosen).map(Vec::as_slice).unwrap_or_default();
        let subject = fill(subject, &person.values, unsubscribe, plain);
        Letter {
            mail,
            contact: person.id,
            to: person.email.clone(),
            name: person.name(),
            subject: subject.trim().chars().take(MAX_SUBJECT).collect(),
            html: fill(&self.html, &person.values, unsubscribe, layout::escaped),
            text: fill(&self.text, &person.values, unsubscribe, plain),
        }
    }
}

fn fill(
    pieces: &[Piece],
    values: &Values,
    unsubscribe: &str,
    escape: impl Fn(&str) -> String,
) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Field(merge) if merge.field == Field::Unsubscribe => {
                out.push_str(&escape(unsubscribe));
            }
            Piece::Field(merge) => out.push_str(&escape(&merge.value(values))),
        }
    }
    out
}

/// The letters of a version to these recipients, in one step each for version, brand and
/// contacts. Who is gone, or has no address any more, gets none: compare `mail`.
pub async fn render(
    db: &Db,
    organization: OrganizationId,
    campaign: i64,
    version: i64,
    recipients: &[Recipient],
) -> Result<Vec<Letter>> {
    let compiled = compiled(db, organization, campaign, version).await?;
    let ids: Vec<i64> = recipients.iter().map(|it| it.contact).collect();
    let people: BTreeMap<i64, Person> =
        store::people(db, organization, &ids).await?.into_iter().map(|it| (it.id, it)).collect();
    let letters = recipients.iter().filter_map(|it| {
        let person = people.get(&it.contact)?;
        Some(compiled.letter(person, it.mail, it.subject, &it.unsubscribe_url))
    });
    Ok(letters.collect())
}

/// The brand that a version is shown and sent with: the one that it was approved with, else the one
/// there is now.
pub(super) async fn brand_of(
    db: &Db,
    organization: OrganizationId,
    campaign: i64,
    version: i64,
) -> Result<Brand> {
    match store::approved_brand(db, organization, campaign, version).await? {
        Some(brand) => serde_json::from_str(&brand).map_err(|error| Error::Internal(error.into())),
        None => Ok(brand::store::find(db, organization).await?.brand),
    }
}

/// A version with its brand, ready to be filled in.
pub async fn compiled(
    db: &Db,
    organization: OrganizationId,
    campaign: i64,
    version: i64,
) -> Result<Compiled> {
    let brand = brand_of(db, organization, campaign, version).await?;
    let version = store::version(db, organization, campaign, version).await?;
    Compiled::of(&version.content, &brand).map_err(Error::Invalid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Person;
    use crate::marketing::{
        brand::Brand,
        campaign::{compile::Compiled, content::Content, merge::Values},
    };

    fn letter(body: &str, name: &str) -> super::Letter {
        let content = Content {
            subjects: vec!["Hi {{ first_name|default(\"you\") }}".to_owned()],
            preview_text: "For {{ company|default(\"your company\") }}".to_owned(),
            body: body.to_owned(),
            ..Content::default()
        };
        let brand = Brand {
            name: "Shop & Co".to_owned(),
            address: "1 Main Street\nTown".to_owned(),
            ..Brand::default()
        };
        let person = Person {
            id: 7,
            email: "ada@example.com".to_owned(),
            values: Values { first_name: name.to_owned(), ..Values::default() },
        };
        Compiled::of(&content, &brand).unwrap().letter(&person, 1, 0, "https://lux.example/u/1?a&b")
    }

    #[test]
    fn a_letter_has_both_forms() {
        let letter = letter(
            "# News\n\nHello {{ first_name }},\n\n- **one**\n- two [here](https://a.example/)\n\n\
             [Look](https://a.example/b?x=1&y=2)\n\n![A shop](https://a.example/s.png)",
            "Ada",
        );
        assert_eq!(letter.subject, "Hi Ada");
        assert!(letter.html.contains("<p>Hello Ada,</p>"), "{}", letter.html);
        assert!(letter.html.contains("class=\"button\" style="), "{}", letter.html);
        assert!(letter.html.contains("href=\"https://a.example/b?x=1&amp;y=2\""));
        assert!(letter.html.contains("href=\"https://lux.example/u/1?a&amp;b\""));
        assert!(letter.html.contains("Shop &amp; Co"));
        assert!(letter.html.contains("alt=\"A shop\""), "{}", letter.html);
        let text = "News\n\nHello Ada,\n\n- one\n- two here (https://a.example/)\n\nLook \
                    (https://a.example/b?x=1&y=2)\n\nA shop\n\n--\nYou get this mail because you \
                    agreed to hear from Shop & Co.\nUnsubscribe: https://lux.example/u/1?a&b\n\n\
                    1 Main Street\nTown\n";
        assert_eq!(letter.text, text);
    }

    #[test]
    fn what_a_contact_is_called_stays_text() {
        for name in [
            "{{ 7*7 }}",
            "<script>alert(1)</script>",
            "**bold** [x](https://evil.example)",
            "\" onload=\"x",
            "{{ unsubscribe_url }}",
        ] {
            let letter = letter("Hello **{{ first_name }}**, `{{ first_name }}`", name);
            let shown = super::layout::escaped(name);
            assert!(letter.html.contains(&format!("<strong>{shown}</strong>")), "{}", letter.html);
            assert_eq!(letter.subject, format!("Hi {name}"));
            assert!(letter.text.starts_with(&format!("Hello {name}, {name}")), "{}", letter.text);
            assert!(!letter.html.contains("<script"), "{}", letter.html);
        }
    }

    #[test]
    fn addresses_take_no_values() {
        let check = super::super::compile::check;
        assert!(check("[x](https://a.example/?n={{ first_name }})").is_err());
        assert!(check("[x]({{ first_name }})").is_err());
        assert!(check("![x]({{ unsubscribe_url }})").is_err());
        assert!(check("Go to {{ unsubscribe_url }}").is_err());
        assert!(check("[stop]({{ unsubscribe_url }})").is_ok());
        let html = letter("[stop]({{ unsubscribe_url }})\n\n[x](javascript:alert(1))", "x").html;
        assert_eq!(html.matches("https://lux.example/u/1").count(), 2, "{html}");
        assert!(!html.contains("javascript:"), "{html}");
    }

    proptest! {
        #[test]
        fn no_name_becomes_markup(name in r#"[\[\]()!<>a-z"'=:/ `*_#|&;{}-]{1,60}"#) {
            let known = "Hello {{ first_name|default(\"x\") }}.\n\n[a](https://a.example)";
            let (one, other) = (letter(known, &name).html, letter(known, "Ada").html);
            prop_assert_eq!(one.matches('<').count(), other.matches('<').count());
            prop_assert_eq!(one.matches('"').count(), other.matches('"').count());
        }
    }
}
