//! What is known of a contact, and what came about it, become one.

use chrono::{DateTime, Utc};

use super::{Arrival, Contact, Done, Status};

/// Places that are remembered of one contact, tags, attributes, and the bytes of one text.
const MAX_SOURCES: usize = 20;
const MAX_TAGS: usize = 100;
const MAX_ATTRIBUTES: usize = 200;
pub(super) const MAX_TEXT: usize = 500;
const MAX_VALUE: usize = 2000;

/// A contact that nothing is known of yet.
pub(super) fn blank(now: DateTime<Utc>) -> Contact {
    Contact {
        id: 0,
        email: None,
        email_domain: String::new(),
        first_name: String::new(),
        last_name: String::new(),
        company: String::new(),
        phone: None,
        phone_given: String::new(),
        source: String::new(),
        sources: Vec::new(),
        tags: std::collections::BTreeSet::new(),
        attributes: std::collections::BTreeMap::new(),
        consent: Status::None,
        bounced: None,
        version: 1,
        created_at: now,
        updated_at: now,
        active_at: now,
    }
}

/// Lays what came over what is known; says which fields changed. Empty texts change nothing, and
/// whoever withdrew (or `is_suppressed`) is not signed up again by what others tell.
pub(super) fn merge(
    contact: &mut Contact,
    arrival: &Arrival,
    is_suppressed: bool,
) -> Vec<&'static str> {
    let incoming = &arrival.person;
    let mut changed = Vec::new();
    if let Some(email) = &incoming.email
        && contact.email.as_deref() != Some(&email.given)
        // Another way to write the same address is no news.
        && contact.email.is_none()
    {
        contact.email = Some(email.given.clone());
        email.domain().clone_into(&mut contact.email_domain);
        changed.push("email");
    }
    let texts = [
        ("first_name", &incoming.first_name, &mut contact.first_name),
        ("last_name", &incoming.last_name, &mut contact.last_name),
        ("company", &incoming.company, &mut contact.company),
    ];
    for (name, new, old) in texts {
        let new = tidy(new, MAX_TEXT);
        if !new.is_empty() && new != *old {
            *old = new;
            changed.push(name);
        }
    }
    let given = &arrival.phone;
    if !given.is_empty() && *given != contact.phone_given {
        let number = arrival.number.clone();
        // What is no number does not take the place of one.
        if number.is_some() || contact.phone.is_none() {
            if number != contact.phone || contact.phone_given.is_empty() || number.is_none() {
                changed.push("phone");
                contact.phone_given.clone_from(given);
            }
            contact.phone = number;
        }
    }
    let source = tidy(&incoming.source, MAX_TEXT);
    if !source.is_empty() {
        if contact.source.is_empty() {
            contact.source.clone_from(&source);
        }
        if !contact.sources.contains(&source) && contact.sources.len() < MAX_SOURCES {
            contact.sources.push(source);
            changed.push("source");
        }
    }
    let before = contact.tags.len();
    for tag in &incoming.tags {
        let tag = tidy(tag, 100);
        if !tag.is_empty() && contact.tags.len() < MAX_TAGS {
            contact.tags.insert(tag);
        }
    }
    if contact.tags.len() != before {
        changed.push("tags");
    }
    let mut new_attributes = false;
    for (name, value) in &incoming.attributes {
        let (name, value) = (tidy(name, 100), tidy(value, MAX_VALUE));
        if name.is_empty() {
            continue;
        }
        if value.is_empty() {
            new_attributes |= contact.attributes.remove(&name).is_some();
        } else if contact.attributes.get(&name) != Some(&value)
            && (contact.attributes.len() < MAX_ATTRIBUTES || contact.attributes.contains_key(&name))
        {
            contact.attributes.insert(name, value);
            new_attributes = true;
        }
    }
    if new_attributes {
        changed.push("attributes");
    }
    if let Some(agreed) = &incoming.consent
        && agreed.status != contact.consent
        && (agreed.status == Status::Withdrawn
            || !is_suppressed && contact.consent != Status::Withdrawn)
        // Asking again takes nothing away from who has confirmed.
        && !(contact.consent == Status::Confirmed && agreed.status != Status::Withdrawn)
    {
        contact.consent = agreed.status;
        changed.push("consent");
    }
    changed
}

/// What was done, by what changed.
pub(super) fn done(is_new: bool, changed: &[&str]) -> Done {
    match (is_new, changed.is_empty()) {
        (true, _) => Done::Created,
        (false, false) => Done::Updated,
        (false, true) => Done::Unchanged,
    }
}

/// A text in one line, without control characters, cut at `most` bytes.
pub(super) fn tidy(text: &str, most: usize) -> String {
    let text = text.trim();
    if text.len() <= most && !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut tidied = String::with_capacity(text.len().min(most));
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if tidied.len() + c.len_utf8() > most {
            break;
        }
        tidied.push(c);
    }
    tidied.trim_end().to_owned()
}
