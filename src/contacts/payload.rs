//! What forms and Zapier really send, read leniently: texts for everything, nested objects or
//! their flattened names, lists of one, odd names and case.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    Agreed, Email, Incoming, Status,
    merge::{MAX_TEXT, tidy},
    names::{self, plain},
};

const WORDING: &[&str] = &["consenttext", "consentwording"];
const ADDRESS: &[&str] = &["ip", "ipaddress"];
/// Objects that forms wrap their fields in: `{"contact": {"email": ..}}`.
const WRAPPERS: &[&str] = &[
    "contact",
    "lead",
    "person",
    "subscriber",
    "customer",
    "user",
    "data",
    "payload",
    "fields",
    "properties",
    "body",
    "form",
    "answers",
    "record",
];

/// What is wrong with a body: the field and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) field: &'static str,
    pub(super) why: String,
}

/// How a body is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    /// Whether somebody who agreed still has to follow a link.
    pub(super) double_opt_in: bool,
    /// Who tells.
    pub(super) by: &'a str,
    /// The source of those who name none, and a tag for all.
    pub(super) mark: &'a str,
}

/// Reads one object.
pub(super) fn read(object: &Map<String, Value>, reading: Reading<'_>) -> Result<Incoming, Wrong> {
    let mut fields = Fields::default();
    fields.flatten(&mut Vec::new(), object);
    let email = match fields.take(names::EMAIL) {
        None => None,
        // Some send "Ada <ada@example.com>".
        Some(text) => {
            let inner = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>'));
            let text = inner.map_or(text.as_str(), |(address, _)| address);
            Some(Email::parse(text).map_err(|why| Wrong { field: "email", why: why.to_owned() })?)
        }
    };
    let full = fields.take(names::NAME).unwrap_or_default();
    let (mut first_name, mut last_name) = (
        fields.take(names::FIRST_NAME).unwrap_or_default(),
        fields.take(names::LAST_NAME).unwrap_or_default(),
    );
    if first_name.is_empty() && last_name.is_empty() {
        (first_name, last_name) = split(&full);
    }
    let phone = fields.take(names::PHONE).unwrap_or_default();
    // Where a visit came from is kept under its own name as well.
    let utm = fields.peek(&["utmsource"]);
    let source = fields.take(names::SOURCE).unwrap_or_else(|| reading.mark.to_owned());
    let mut tags: BTreeSet<String> = fields.take_list(names::TAGS);
    tags.insert(reading.mark.to_owned());
    let consent = fields.take(names::CONSENT).and_then(|text| agreed(&text));
    let wording = fields.take(WORDING).unwrap_or_default();
    let address = fields.take(ADDRESS);
    let consent = consent.map(|yes| Agreed {
        status: match (yes, reading.double_opt_in) {
            (true, true) => Status::Pending,
            (true, false) => Status::Confirmed,
            (false, _) => Status::Withdrawn,
        },
        source: source.clone(),
        wording: tidy(&wording, 2000),
        address: address.as_deref().map(|it| tidy(it, 64)),
        at: None,
    });
    let company = fields.take(names::COMPANY).unwrap_or_default();
    let mut attributes = fields.rest();
    if let Some(utm) = utm {
        attributes.insert("utm_source".to_owned(), utm);
    }
    Ok(Incoming {
        email,
        first_name,
        last_name,
        company,
        phone,
        source: tidy(&source, MAX_TEXT),
        tags,
        attributes,
        consent,
        by: reading.by.to_owned(),
    })
}

/// First and last name of a whole one: the first word, and the rest; "Lovelace, Ada" the other
/// way round.
fn split(full: &str) -> (String, String) {
    if let Some((last, first)) = full.split_once(',') {
        return (first.trim().to_owned(), last.trim().to_owned());
    }
    let full = full.trim();
    let (first, last) = full.split_once(char::is_whitespace).unwrap_or((full, ""));
    (first.to_owned(), last.trim().to_owned())
}

/// Yes or no as forms write it; `None` for what is neither.
fn agreed(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "yes" | "y" | "1" | "on" | "checked" | "agreed" | "accepted" | "granted" => {
            Some(true)
        }
        "false" | "no" | "n" | "0" | "off" | "declined" | "denied" => Some(false),
        _ => None,
    }
}

/// The fields of a body: under the name they came with, by the name they are known by.
#[derive(Default)]
struct Fields(BTreeMap<String, (String, Vec<String>)>);

impl Fields {
    fn flatten(&mut self, path: &mut Vec<String>, object: &Map<String, Value>) {
        for (name, value) in object {
            // "contact__email" is what Zapier makes of {"contact": {"email": ..}}.
            let parts: Vec<String> = name.split("__").map(str::to_owned).collect();
            let depth = path.len();
            path.extend(parts);
            self.add(path, value);
            path.truncate(depth);
        }
    }

    fn add(&mut self, path: &mut Vec<String>, value: &Value) {
        match value {
            Value::Null => {}
            Value::Object(object) => self.flatten(path, object),
            Value::Array(items) => match items.as_slice() {
                [one] => self.add(path, one),
                items if items.iter().any(Value::is_object) => {
                    self.put(path, &value.to_string());
                }
                items => {
                    for item in items {
                        self.add(path, item);
                    }
                }
            },
            Value::String(text) => self.put(path, text),
            other => self.put(path, &other.to_string()),
        }
    }

    fn put(&mut self, path: &[String], text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let inner = path
            .iter()
            .position(|part| !WRAPPERS.contains(&plain(part).as_str()))
            .unwrap_or(path.len().saturating_sub(1));
        let name = path[inner..].join("_");
        let entry = self.0.entry(plain(&name)).or_insert_with(|| (name, Vec::new()));
        if entry.1.len() < 100 {
            entry.1.push(text.trim().to_owned());
        }
    }

    fn take(&mut self, names: &[&str]) -> Option<String> {
        let mut found = None;
        for name in names {
            if found.is_none() {
                found = self.0.remove(*name).and_then(|(_, values)| values.into_iter().next());
            }
        }
        found
    }

    fn peek(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.0.get(*name)?.1.first().cloned())
    }

    /// All of a field, and what its texts hold between commas.
    fn take_list(&mut self, names: &[&str]) -> BTreeSet<String> {
        let all = names.iter().filter_map(|name| self.0.remove(*name));
        let texts: Vec<String> = all.flat_map(|(_, values)| values).collect();
        let parts = texts.iter().flat_map(|text| text.split([',', ';']));
        parts.map(|part| tidy(part, 100)).filter(|part| !part.is_empty()).collect()
    }

    fn rest(self) -> BTreeMap<String, String> {
        self.0.into_values().map(|(name, values)| (tidy(&name, 100), values.join(", "))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Reading, agreed, read, split};
    use crate::contacts::{Incoming, Status};

    fn incoming(body: &Value) -> Incoming {
        let reading = Reading { double_opt_in: true, by: "webhook zapier", mark: "zapier" };
        read(body.as_object().unwrap(), reading).unwrap()
    }

    #[test]
    fn the_same_person_in_the_forms_that_come() {
        let plain = incoming(&json!({"email": "ada@example.com", "first_name": "Ada",
            "last_name": "Lovelace", "phone": "+442079460018", "source": "Webinar"}));
        for body in [
            json!({"Email Address": "ada@example.com", "Full Name": "Ada Lovelace",
                "Phone Number": "+442079460018", "Lead Source": "Webinar"}),
            json!({"contact": {"email": "ada@example.com", "name": "Lovelace, Ada",
                "mobile": ["+442079460018"]}, "source": ["Webinar"]}),
            json!({"contact__email": " ada@example.com ", "contact__first-name": "Ada",
                "contact__LAST_NAME": "Lovelace", "tel": "+442079460018", "form_name": "Webinar",
                "company": "", "tags": []}),
            json!({"data": {"fields": {"E-Mail": "Ada <ada@example.com>", "FirstName": "Ada",
                "Surname": "Lovelace", "Cell Phone": "+442079460018"}}, "SOURCE": "Webinar"}),
        ] {
            assert_eq!(incoming(&body), plain, "{body}");
        }
    }

    #[test]
    fn what_is_not_known_is_kept() {
        let it = incoming(&json!({"email": "ada@example.com", "Budget (EUR)": 1200,
            "wants_demo": true, "address": {"city": "London", "zip": "N1"},
            "interests": ["tea", "engines"], "items": [{"sku": 1}, {"sku": 2}],
            "utm_source": "spring", "nothing": null, "tags": "vip, early; vip"}));
        let attributes: Vec<_> = it.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            attributes,
            [
                "Budget (EUR)=1200",
                "address_city=London",
                "address_zip=N1",
                "interests=tea, engines",
                "items=[{\"sku\":1},{\"sku\":2}]",
                "utm_source=spring",
                "wants_demo=true"
            ]
        );
        assert_eq!(it.tags.into_iter().collect::<Vec<_>>(), ["early", "vip", "zapier"]);
        assert_eq!(it.source, "spring");
    }

    #[test]
    fn consent_is_what_was_said() {
        let said = |value: Value| {
            let it = incoming(
                &json!({"email": "ada@example.com", "opt_in": value, "ip": "203.0.113.7"}),
            );
            it.consent.map(|it| (it.status, it.address.unwrap()))
        };
        assert_eq!(said(json!("yes")), Some((Status::Pending, "203.0.113.7".to_owned())));
        assert_eq!(said(json!(false)).unwrap().0, Status::Withdrawn);
        assert_eq!(said(json!("perhaps")), None);
        assert_eq!(agreed("TRUE"), Some(true));
    }

    #[test]
    fn a_wrong_address_is_named() {
        let reading = Reading { double_opt_in: true, by: "x", mark: "zapier" };
        let body = json!({"email": "ada"});
        let wrong = read(body.as_object().unwrap(), reading).unwrap_err();
        assert_eq!((wrong.field, wrong.why.as_str()), ("email", "has no @"));
        assert_eq!(
            split("Ludwig van Beethoven"),
            ("Ludwig".to_owned(), "van Beethoven".to_owned())
        );
    }
}
