//! A rule as a form, and in words.

use serde_json::{Value, json};
use url::form_urlencoded;

use crate::{
    contacts::segment::{Condition, Rule},
    error::{Error, Result},
};

/// The most conditions of a form.
const MAX_ROWS: usize = 20;

/// What can be asked of a contact: the field, and its words.
pub(super) const FIELDS: &[(&str, &str)] = &[
    ("source", "Source"),
    ("tag", "Tag"),
    ("email", "E-mail"),
    ("email_domain", "Domain of the e-mail"),
    ("first_name", "First name"),
    ("last_name", "Last name"),
    ("company", "Company"),
    ("phone", "Telephone"),
    ("consent", "Consent"),
    ("bounced", "Bounce"),
    ("created_at", "Added"),
    ("active_at", "Heard of"),
];

/// How it is compared.
pub(super) const OPS: &[(&str, &str)] = &[
    ("is", "is"),
    ("is_not", "is not"),
    ("contains", "contains"),
    ("not_contains", "does not contain"),
    ("starts_with", "begins with"),
    ("ends_with", "ends with"),
    ("in", "is one of (with commas)"),
    ("is_set", "is known"),
    ("is_not_set", "is not known"),
    ("greater", "is more than"),
    ("less", "is less than"),
    ("within_days", "lies at most so many days back"),
    ("before_days", "lies more than so many days back"),
    ("since", "is on or after (date)"),
    ("until", "is before (date)"),
];

/// One condition as it stands in the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) field: String,
    pub(super) op: String,
    pub(super) value: String,
}

/// The form of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) name: String,
    /// all, any, none, or hand (without a rule).
    pub(super) matching: String,
    pub(super) rows: Vec<Row>,
    /// Another row is asked for.
    pub(super) more: bool,
    /// The rule that the form cannot show stays.
    pub(super) keeps: bool,
}

impl Form {
    pub(super) fn read(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let value = value.replace('\0', "").trim().to_owned();
            match &*name {
                "name" => form.name = value,
                "matching" => form.matching = value,
                "keeps" => form.keeps = true,
                "do" => form.more = value == "more",
                // Each row sends its three fields in this order.
                "field" if form.rows.len() < MAX_ROWS => {
                    form.rows.push(Row { field: value, ..Row::default() });
                }
                "op" => {
                    if let Some(row) = form.rows.last_mut() {
                        row.op = value;
                    }
                }
                "value" => {
                    if let Some(row) = form.rows.last_mut() {
                        row.value = value;
                    }
                }
                _ => {}
            }
        }
        form
    }

    /// The form of a rule; `None` for one that is more than a list of conditions.
    pub(super) fn of(rule: &Rule) -> Option<Self> {
        let (matching, rules) = match rule {
            Rule::All { all } => ("all", all.as_slice()),
            Rule::Any { any } => ("any", any.as_slice()),
            Rule::Not { not } => match &**not {
                Rule::Any { any } => ("none", any.as_slice()),
                other @ Rule::Condition(_) => ("none", std::slice::from_ref(other)),
                _ => return None,
            },
            one @ Rule::Condition(_) => ("all", std::slice::from_ref(one)),
        };
        let rows = rules.iter().map(|rule| match rule {
            Rule::Condition(condition) => Some(row(condition)),
            _ => None,
        });
        let rows: Vec<Row> = rows.collect::<Option<_>>()?;
        (rows.len() <= MAX_ROWS).then(|| Self {
            matching: matching.to_owned(),
            rows,
            ..Self::default()
        })
    }

    /// The rule that the form says; `None`: put together by hand. Rows without anything in them
    /// say nothing.
    pub(super) fn rule(&self) -> Result<Option<Rule>> {
        if self.matching == "hand" || self.keeps {
            return Ok(None);
        }
        let known = |row: &&Row| {
            !row.field.is_empty()
                && (!row.value.is_empty() || matches!(row.op.as_str(), "is_set" | "is_not_set"))
        };
        let rows = self.rows.iter().filter(known).map(condition);
        let rules: Vec<Rule> = rows.collect::<Result<_>>()?;
        if rules.is_empty() {
            return Err(Error::invalid("Write at least one condition, or choose “by hand”"));
        }
        Ok(Some(match self.matching.as_str() {
            "any" => Rule::Any { any: rules },
            "none" => Rule::Not { not: Box::new(Rule::Any { any: rules }) },
            _ => Rule::All { all: rules },
        }))
    }
}

fn row(condition: &Condition) -> Row {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let value = match &condition.value {
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        other => text(other),
    };
    let op = json!(condition.op).as_str().unwrap_or_default().to_owned();
    Row { field: condition.field.clone(), op, value }
}

fn condition(row: &Row) -> Result<Rule> {
    let value = match row.op.as_str() {
        "is_set" | "is_not_set" => Value::Null,
        "in" => {
            let list = row.value.split(',').map(str::trim).filter(|it| !it.is_empty());
            Value::from(list.collect::<Vec<_>>())
        }
        "within_days" | "before_days" => row
            .value
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_| Error::invalid("Days are a whole number"))?,
        "greater" | "less" => row
            .value
            .parse::<f64>()
            .map(|number| json!(number))
            .map_err(|_| Error::invalid("“is more than” and “is less than” need a number"))?,
        _ => Value::from(row.value.as_str()),
    };
    let condition = json!({ "field": row.field, "op": row.op, "value": value });
    let condition: Condition = serde_json::from_value(condition)
        .map_err(|_| Error::invalid("Choose a field and how it is compared"))?;
    Ok(Rule::Condition(condition))
}

/// The rule in words.
pub(super) fn words(rule: &Rule) -> String {
    let Some(form) = Form::of(rule) else {
        return "a rule that was written over the API".to_owned();
    };
    let rows: Vec<String> = form.rows.iter().map(row_words).collect();
    match form.matching.as_str() {
        "any" => rows.join(", or "),
        "none" => format!("not: {}", rows.join(", or ")),
        _ => rows.join(", and "),
    }
}

fn row_words(row: &Row) -> String {
    let named = |list: &[(&str, &str)], key: &str| {
        let found = list.iter().find(|(name, _)| *name == key);
        found.map_or_else(|| key.replace('_', " "), |(_, words)| (*words).to_owned())
    };
    let field = match row.field.strip_prefix("attributes.") {
        Some(name) => name.to_owned(),
        None => named(FIELDS, &row.field),
    };
    let op = match row.op.as_str() {
        "within_days" => return format!("{field} within {} days", row.value),
        "before_days" => return format!("{field} more than {} days ago", row.value),
        "in" => "is one of".to_owned(),
        "since" => "on or after".to_owned(),
        "until" => "before".to_owned(),
        other => named(OPS, other),
    };
    if row.value.is_empty() {
        format!("{field} {op}")
    } else {
        format!("{field} {op} {}", row.value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Form, words};
    use crate::contacts::segment::Rule;

    #[test]
    fn rules_go_through_the_form_and_back() {
        for rule in [
            json!({ "all": [{ "field": "source", "op": "contains", "value": "newsletter" }] }),
            json!({ "any": [{ "field": "tag", "op": "in", "value": ["a", "b"] },
                            { "field": "created_at", "op": "within_days", "value": 30 }] }),
            json!({ "not": { "any": [{ "field": "phone", "op": "is_set" }] } }),
        ] {
            let rule: Rule = serde_json::from_value(rule).unwrap();
            assert_eq!(Form::of(&rule).unwrap().rule().unwrap(), Some(rule));
        }
        let deep = json!({ "all": [{ "any": [{ "field": "tag", "op": "is", "value": "a" }] }] });
        assert_eq!(Form::of(&serde_json::from_value(deep).unwrap()), None);
    }

    #[test]
    fn forms_are_read_row_by_row() {
        let form = Form::read(
            b"name=VIP&matching=any&field=tag&op=is&value=vip&field=company&op=is_set&value=&field=&op=is&value=",
        );
        assert_eq!(form.name, "VIP");
        let rule = form.rule().unwrap().unwrap();
        assert_eq!(words(&rule), "Tag is vip, or Company is known");
        assert!(Form::read(b"matching=all&field=tag&op=is&value=").rule().is_err());
        assert!(Form::read(b"matching=all&field=active_at&op=within_days&value=x").rule().is_err());
        assert_eq!(Form::read(b"matching=hand").rule().unwrap(), None);
    }
}
