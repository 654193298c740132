//! The form that makes a probe, with what is wrong with its fields.

use serde::Deserialize;

use crate::{
    config::{self, Expect, ProbeKind},
    error::Error,
};

/// What was typed. It comes back with its mistakes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Form {
    pub(super) name: String,
    pub(super) app: String,
    pub(super) path: String,
    pub(super) status: String,
    pub(super) contains: String,
    #[serde(skip)]
    pub(super) mistakes: Vec<(&'static str, String)>,
}

impl Form {
    /// The definition that it means.
    pub(super) fn definition(&self) -> Result<config::Probe, Error> {
        let text = |value: &str| Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        let status = text(&self.status).map(|status| {
            status.parse::<u16>().ok().filter(|it| (100..600).contains(it)).ok_or_else(|| {
                Error::invalid("status is a number of HTTP from 100 to 599, such as 200")
            })
        });
        let expect = Expect {
            status: status.transpose()?,
            contains: text(&self.contains),
            ..Expect::default()
        };
        Ok(config::Probe {
            name: self.name.trim().to_owned(),
            app: text(&self.app),
            kind: ProbeKind::Http,
            path: text(&self.path),
            expect,
            method: None,
            body: None,
            headers: [].into(),
            target: None,
            server_name: None,
            ca_file: None,
            url: None,
            url_env: None,
            url_file: None,
            query: None,
            tables: Vec::new(),
            key_env: None,
            key_file: None,
            variables: Vec::new(),
            process: None,
            timeout: None,
            covers: Vec::new(),
            causes: Vec::new(),
        })
    }

    /// Puts each mistake to its field; what is not about one is about the name's.
    pub(super) fn wrong(&mut self, error: &Error) {
        const FIELDS: [&str; 5] = ["name", "app", "path", "status", "contains"];
        for mistake in error.to_string().split("; ") {
            let words = mistake.split(|c: char| !c.is_alphanumeric() && c != '_');
            let mut named = words.filter(|word| !word.is_empty()).take(7);
            let field = named.find_map(|word| FIELDS.iter().find(|field| **field == word));
            self.mistakes.push((field.copied().unwrap_or("name"), sentence(mistake)));
        }
    }

    /// What is wrong with a field.
    pub(super) fn mistake(&self, field: &str) -> Option<&str> {
        let found = self.mistakes.iter().find(|(name, _)| *name == field);
        found.map(|(_, text)| text.as_str())
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::Form;
    use crate::error::Error;

    #[test]
    fn mistakes_stand_at_their_fields() {
        let mut form = Form { status: "900".to_owned(), ..Form::default() };
        let error = form.definition().unwrap_err();
        form.wrong(&error);
        assert!(form.mistake("status").is_some() && form.mistake("name").is_none());
        let text = "name is 1 to 100 characters; an http probe needs a path that begins with /; something else";
        form.wrong(&Error::invalid(text));
        assert_eq!(form.mistake("name"), Some("Name is 1 to 100 characters."));
        assert_eq!(form.mistake("path"), Some("An http probe needs a path that begins with /."));
    }
}
