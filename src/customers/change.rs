//! Changing a customer: what a person may write about themselves, and what only others may.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::{Customer, Whose, account_of, store, unknown};
use crate::{
    app::App,
    auth::{
        Caller, Role,
        account::{self, Status},
        audit,
    },
    clock,
    config::contacts::region,
    contacts::e164,
    error::{Error, Result},
};

/// How many people work somewhere.
const SIZES: [&str; 6] = ["1", "2-10", "11-50", "51-200", "201-1000", "1001+"];

/// What is to be changed. Fields that are left out stay as they are; an empty text empties one.
/// The address, and whether it is proven, cannot be written.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CustomerChange)]
pub struct Change {
    /// The version that was looked at.
    pub version: i64,
    /// At most 100 characters; not empty.
    pub name: Option<String>,
    /// With its country's prefix, or as somebody in `country` dials it.
    pub phone: Option<String>,
    pub company: Option<String>,
    /// An https or http address.
    pub website: Option<String>,
    pub industry: Option<String>,
    /// "1", "2-10", "11-50", "51-200", "201-1000" or "1001+".
    pub company_size: Option<String>,
    /// Two letters (ISO 3166): "DE".
    pub country: Option<String>,
    /// Of the time zone database: "Europe/Berlin".
    pub timezone: Option<String>,
    /// BCP 47: "de", "pt-BR".
    pub language: Option<String>,
    /// Whom they want to reach.
    pub audience: Option<String>,
    /// What they want to reach by it.
    pub goals: Option<String>,
    /// For administrators, of others: "admin", "operator" or "customer".
    pub role: Option<Role>,
    /// For administrators, of others: "disabled" ends their sessions.
    pub status: Option<Status>,
}

/// Changes a customer: oneself, as an operator any customer, as an administrator anybody.
pub async fn change(app: &App, caller: &Caller, whose: Whose, wish: &Change) -> Result<Customer> {
    let id = account_of(caller, whose)?;
    let organization = caller.organization;
    let own = caller.account() == Some(id);
    let mut tx = app.db.begin().await?;
    // Role, status, name and profile have one version: they are changed one after the other.
    account::take_turn(&mut tx, organization).await?;
    let was = store::get(&mut tx, organization, id).await?.ok_or_else(unknown)?;
    may(caller, own, &was, wish)?;
    if was.version != wish.version {
        return Err(Error::Conflict(format!(
            "the customer was changed meanwhile (it is at version {}, yours was {}); read it again \
             and repeat what is still wanted",
            was.version, wish.version
        )));
    }
    let is = wish.applied(&was)?;
    let changed = changed(&was, &is);
    if !changed.is_empty() {
        if was.name != is.name {
            let of = account::get(&mut tx, organization, id).await?.ok_or_else(unknown)?;
            account::rename(&mut tx, &of, &is.name).await?;
        }
        store::put_profile(&mut tx, organization, &is, clock::now()).await?;
    }
    let account = account::get(&mut tx, organization, id).await?.ok_or_else(unknown)?;
    let to = account::Change { role: wish.role, status: wish.status, version: account.version };
    account::change_in(&mut tx, organization, caller, id, to).await?;
    if !changed.is_empty() {
        // Which fields, not what stands in them: the audit log is kept for good.
        let detail = json!({ "fields": changed });
        let subject = account::subject(id);
        audit::write(&mut tx, organization, caller, "customer.change", &subject, &detail).await?;
    }
    let is = store::get(&mut tx, organization, id).await?.ok_or_else(unknown)?;
    tx.commit().await?;
    app.sessions.forget_account(id);
    Ok(is)
}

/// Refuses what the caller may not write, by the name of the field.
fn may(caller: &Caller, own: bool, was: &Customer, wish: &Change) -> Result<()> {
    let forbidden = [("role", wish.role.is_some()), ("status", wish.status.is_some())];
    if let Some((field, _)) = forbidden.iter().find(|(_, wanted)| *wanted)
        && (own || !caller.role.may_administer())
    {
        return Err(Error::Denied(format!(
            "{field}: an administrator changes it, and nobody their own; leave it out"
        )));
    }
    if !own && !caller.role.may_administer() && was.role != Role::Customer {
        return Err(Error::Denied(
            "operators and admins are changed by themselves or by an administrator".to_owned(),
        ));
    }
    Ok(())
}

impl Change {
    /// The customer as wished for; the error names the field that is wrong.
    fn applied(&self, was: &Customer) -> Result<Customer> {
        let mut is = was.clone();
        if let Some(text) = &self.name {
            is.name = account::name(text)
                .ok_or_else(|| Error::invalid("name: is empty; write how you want to be called"))?;
        }
        for (field, wish, kept, most) in [
            ("company", &self.company, &mut is.company, 200),
            ("industry", &self.industry, &mut is.industry, 100),
            ("audience", &self.audience, &mut is.audience, 2000),
            ("goals", &self.goals, &mut is.goals, 2000),
        ] {
            if let Some(text) = wish {
                *kept = plain(field, text, most)?;
            }
        }
        for (field, wish, kept, read) in [
            ("website", &self.website, &mut is.website, website as fn(&str) -> Option<String>),
            ("company_size", &self.company_size, &mut is.company_size, company_size),
            ("country", &self.country, &mut is.country, country),
            ("timezone", &self.timezone, &mut is.timezone, timezone),
            ("language", &self.language, &mut is.language, language),
        ] {
            if let Some(text) = wish.as_deref().map(str::trim) {
                *kept = if text.is_empty() {
                    String::new()
                } else {
                    read(text).ok_or_else(|| Error::invalid(format!("{field}: {}", what(field))))?
                };
            }
        }
        // After the country, by whose rules it is read.
        if let Some(text) = self.phone.as_deref().map(str::trim) {
            is.phone = if text.is_empty() {
                String::new()
            } else {
                e164(text, is.country.parse().ok()).ok_or_else(|| {
                    Error::invalid(
                        "phone: is no telephone number; write it with its country's prefix, like \
                         +442079460018",
                    )
                })?
            };
        }
        Ok(is)
    }
}

/// What a field is to hold, for whom it did not.
fn what(field: &str) -> &'static str {
    match field {
        "website" => "is no web address; write one like https://example.com",
        "company_size" => "is none of 1, 2-10, 11-50, 51-200, 201-1000 and 1001+",
        "country" => "is no country; write its two letters (ISO 3166), like DE",
        "timezone" => "is no time zone; write one like Europe/Berlin",
        _ => "is no language; write its tag, like de or pt-BR",
    }
}

/// A text of a person, without what only confuses; line breaks stay.
fn plain(field: &str, text: &str, most: usize) -> Result<String> {
    let text = text.trim();
    if text.chars().count() > most {
        return Err(Error::invalid(format!("{field}: is longer than {most} characters")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Error::invalid(format!("{field}: holds control characters; leave them out")));
    }
    Ok(text.to_owned())
}

fn website(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| url.as_str().len() <= 500)?;
    let web = matches!(url.scheme(), "https" | "http") && url.host_str().is_some();
    // Who writes a password into an address did not mean everybody to read it.
    (web && url.username().is_empty() && url.password().is_none()).then(|| url.to_string())
}

fn company_size(text: &str) -> Option<String> {
    SIZES.contains(&text).then(|| text.to_owned())
}

fn country(text: &str) -> Option<String> {
    let text = text.to_ascii_uppercase();
    region(&text).is_ok().then_some(text)
}

fn timezone(text: &str) -> Option<String> {
    text.parse::<chrono_tz::Tz>().ok().map(|zone| zone.name().to_owned())
}

fn language(text: &str) -> Option<String> {
    let part = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let first = text.split('-').next().unwrap_or_default();
    let is_tag = (2..=3).contains(&first.len()) && first.bytes().all(|it| it.is_ascii_alphabetic());
    (is_tag && text.len() <= 35 && text.split('-').all(part)).then(|| text.to_owned())
}

/// The names of the fields that differ.
fn changed(was: &Customer, is: &Customer) -> Vec<String> {
    let fields = |customer: &Customer| match serde_json::to_value(customer) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (was, is) = (fields(was), fields(is));
    is.into_iter()
        .filter(|(name, value)| was.get(name) != Some(value))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{country, language, plain, timezone, website};

    #[test]
    fn fields_hold_what_they_are_for() {
        assert_eq!(website("https://example.com").as_deref(), Some("https://example.com/"));
        for text in ["javascript:alert(1)", "ftp://example.com", "https://a:b@example.com", "x"] {
            assert_eq!(website(text), None, "{text}");
        }
        assert_eq!(country("de").as_deref(), Some("DE"));
        assert_eq!(country("Germany"), None);
        assert_eq!(timezone("Europe/Berlin").as_deref(), Some("Europe/Berlin"));
        assert_eq!(timezone("../etc/passwd"), None);
        assert_eq!(language("pt-BR").as_deref(), Some("pt-BR"));
        for text in ["", "x", "german language", "de--x", "de-", "1234"] {
            assert_eq!(language(text), None, "{text}");
        }
        assert_eq!(plain("goals", " a\nb ", 5).unwrap(), "a\nb");
        assert!(plain("goals", "a\u{7}b", 5).is_err() && plain("goals", "abcdef", 5).is_err());
    }
}
