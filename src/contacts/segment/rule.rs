//! Rules of segments: conditions over a contact, and when they hold.
//!
//! A rule is evaluated here and nowhere else, so that a member in the database and the answer of
//! the webhook can never disagree. Since a condition may speak of time ("created within 30 days"),
//! the outcome is not yes or no but the spans of time in which the contact belongs.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::span::{Span, Spans};
use crate::{
    contacts::{Contact, Status},
    error::{Error, Result},
};

/// The most conditions of a rule, and how deep they may stand in each other.
const MAX_NODES: usize = 50;
const MAX_DEPTH: usize = 5;
/// The longest value, and the most of a list.
const MAX_VALUE: usize = 200;
const MAX_LIST: usize = 100;
/// The longest time that a condition may look back, in days.
const MAX_DAYS: i64 = 36_500;

/// Conditions over a contact: `{"all": [..]}`, `{"any": [..]}`, `{"not": ..}` or one condition
/// `{"field": "source", "op": "contains", "value": "newsletter"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(
    untagged,
    expecting = "a rule is {\"all\": [..]}, {\"any\": [..]}, {\"not\": {..}} or {\"field\": .., \"op\": .., \"value\": ..}"
)]
#[schema(no_recursion)]
pub enum Rule {
    All { all: Vec<Rule> },
    Any { any: Vec<Rule> },
    Not { not: Box<Rule> },
    Condition(Condition),
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// email, email_domain, first_name, last_name, company, phone, source (any of them), tag,
    /// consent, bounced, created_at, active_at, or attributes.NAME.
    pub field: String,
    #[schema(inline)]
    pub op: Op,
    /// A text, a number of days for `within_days` and `before_days`, a list for `in`; none for
    /// `is_set` and `is_not_set`.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    #[schema(value_type = Object)]
    pub value: serde_json::Value,
}

/// How a field is compared; texts without regard to case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SegmentOp)]
pub enum Op {
    Is,
    IsNot,
    In,
    Contains,
    NotContains,
    StartsWith,
    EndsWith,
    IsSet,
    IsNotSet,
    /// As numbers.
    Greater,
    Less,
    /// A time that lies at most so many days back.
    WithinDays,
    /// A time that lies more than so many days back.
    BeforeDays,
    /// A time from this one on (RFC 3339 or a date).
    Since,
    /// A time before this one.
    Until,
}

impl Rule {
    /// Says what is wrong with it and where.
    pub fn check(&self) -> Result<()> {
        let mut nodes = 0;
        self.check_node(1, &mut nodes)
    }

    fn check_node(&self, depth: usize, nodes: &mut usize) -> Result<()> {
        *nodes += 1;
        if *nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(Error::invalid(format!(
                "the rule has more than {MAX_NODES} conditions, or they stand deeper than {MAX_DEPTH} in each other"
            )));
        }
        match self {
            Self::All { all: inner } | Self::Any { any: inner } => {
                if inner.is_empty() {
                    return Err(Error::invalid("\"all\" and \"any\" need at least one condition"));
                }
                inner.iter().try_for_each(|rule| rule.check_node(depth + 1, nodes))
            }
            Self::Not { not } => not.check_node(depth + 1, nodes),
            Self::Condition(condition) => condition.check(),
        }
    }

    /// When the contact, as it is now, belongs.
    pub fn spans(&self, contact: &Contact) -> Spans {
        match self {
            Self::All { all } => {
                all.iter().fold(Spans::always(), |spans, rule| spans.and(&rule.spans(contact)))
            }
            Self::Any { any } => {
                any.iter().fold(Spans::never(), |spans, rule| spans.or(&rule.spans(contact)))
            }
            Self::Not { not } => not.spans(contact).not(),
            Self::Condition(condition) => condition.spans(contact),
        }
    }
}

/// What a field is.
enum Field<'c> {
    Texts(Vec<&'c str>),
    Time(DateTime<Utc>),
}

impl Condition {
    fn is_time(&self) -> bool {
        matches!(self.field.as_str(), "created_at" | "active_at")
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::invalid(format!("field {:?}: {what}", self.field)));
        let known = match self.field.as_str() {
            "email" | "email_domain" | "first_name" | "last_name" | "company" | "phone"
            | "source" | "tag" | "consent" | "bounced" | "created_at" | "active_at" => true,
            other => other.strip_prefix("attributes.").is_some_and(|name| !name.is_empty()),
        };
        if !known {
            return wrong(
                "no rule can look at it; there are email, email_domain, first_name, last_name, company, phone, source, tag, consent, bounced, created_at, active_at and attributes.NAME"
                    .to_owned(),
            );
        }
        let timely = matches!(self.op, Op::WithinDays | Op::BeforeDays | Op::Since | Op::Until);
        if timely != self.is_time() {
            return wrong(if timely {
                "is no time; within_days, before_days, since and until look at created_at and active_at"
                    .to_owned()
            } else {
                "is a time; ask within_days, before_days, since or until".to_owned()
            });
        }
        match self.op {
            Op::IsSet | Op::IsNotSet => Ok(()),
            Op::In => match self.value.as_array() {
                Some(list)
                    if (1..=MAX_LIST).contains(&list.len())
                        && list
                            .iter()
                            .all(|it| text(it).is_some_and(|it| it.len() <= MAX_VALUE)) =>
                {
                    Ok(())
                }
                _ => wrong(format!("\"in\" needs a list of 1 to {MAX_LIST} texts as its value")),
            },
            Op::WithinDays | Op::BeforeDays => match self.days() {
                Some(0..=MAX_DAYS) => Ok(()),
                _ => wrong(format!("needs a number of days from 0 to {MAX_DAYS} as its value")),
            },
            Op::Since | Op::Until => match self.moment() {
                Some(_) => Ok(()),
                None => wrong("needs a date such as 2026-11-22 as its value".to_owned()),
            },
            Op::Greater | Op::Less => match self.number() {
                Some(_) => Ok(()),
                None => wrong("needs a number as its value".to_owned()),
            },
            _ => match text(&self.value) {
                Some(value) if !value.is_empty() && value.len() <= MAX_VALUE => {
                    if self.field == "consent" {
                        value.parse::<Status>().map_err(Error::invalid)?;
                    }
                    Ok(())
                }
                _ => wrong(format!("needs a text of 1 to {MAX_VALUE} bytes as its value")),
            },
        }
    }

    fn days(&self) -> Option<i64> {
        self.value.as_i64().or_else(|| self.value.as_str()?.trim().parse().ok())
    }

    fn number(&self) -> Option<f64> {
        self.value.as_f64().or_else(|| as_number(self.value.as_str()?))
    }

    fn moment(&self) -> Option<DateTime<Utc>> {
        let text = self.value.as_str()?.trim();
        let whole = DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
        whole.or_else(|| {
            Some(text.parse::<chrono::NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc())
        })
    }

    fn field<'c>(&self, contact: &'c Contact) -> Field<'c> {
        let one = |text: &'c str| Field::Texts(vec![text]);
        match self.field.as_str() {
            "email" => one(contact.email.as_deref().unwrap_or_default()),
            "email_domain" => one(&contact.email_domain),
            "first_name" => one(&contact.first_name),
            "last_name" => one(&contact.last_name),
            "company" => one(&contact.company),
            "phone" => one(contact.phone.as_deref().unwrap_or_default()),
            "source" => Field::Texts(contact.sources.iter().map(String::as_str).collect()),
            "tag" => Field::Texts(contact.tags.iter().map(String::as_str).collect()),
            "consent" => one(contact.consent.as_str()),
            "bounced" => one(contact.bounced.as_deref().unwrap_or_default()),
            "created_at" => Field::Time(contact.created_at),
            "active_at" => Field::Time(contact.active_at),
            other => {
                let name = other.strip_prefix("attributes.").unwrap_or_default();
                one(contact.attributes.get(name).map_or("", String::as_str))
            }
        }
    }

    fn spans(&self, contact: &Contact) -> Spans {
        match self.field(contact) {
            Field::Texts(texts) => Spans::if_so(self.holds(&texts)),
            Field::Time(at) => self.when(at),
        }
    }

    /// A condition over one time: it changes at most once.
    fn when(&self, at: DateTime<Utc>) -> Spans {
        let after = |days| at.checked_add_signed(TimeDelta::days(days));
        match self.op {
            Op::WithinDays => match self.days().and_then(after) {
                Some(end) => Spans::of(Span { from: Span::BEGIN, until: end.timestamp() }),
                None => Spans::always(),
            },
            Op::BeforeDays => match self.days().and_then(after) {
                Some(end) => Spans::of(Span { from: end.timestamp(), until: Span::END }),
                None => Spans::never(),
            },
            Op::Since => Spans::if_so(self.moment().is_some_and(|moment| at >= moment)),
            Op::Until => Spans::if_so(self.moment().is_some_and(|moment| at < moment)),
            _ => Spans::never(),
        }
    }

    /// A condition over texts; of several (sources, tags) one is enough, and for a negation none
    /// may be so.
    fn holds(&self, texts: &[&str]) -> bool {
        let wanted = || text(&self.value).unwrap_or_default().to_lowercase();
        let any = |holds: &dyn Fn(&str) -> bool| texts.iter().any(|it| holds(&it.to_lowercase()));
        let number = |holds: &dyn Fn(f64, f64) -> bool| {
            let wanted = self.number();
            texts
                .iter()
                .any(|it| as_number(it).zip(wanted).is_some_and(|(it, wanted)| holds(it, wanted)))
        };
        match self.op {
            Op::Is => any(&|it| it == wanted()),
            Op::IsNot => !any(&|it| it == wanted()),
            Op::Contains => any(&|it| it.contains(&wanted())),
            Op::NotContains => !any(&|it| it.contains(&wanted())),
            Op::StartsWith => any(&|it| it.starts_with(&wanted())),
            Op::EndsWith => any(&|it| it.ends_with(&wanted())),
            Op::IsSet => texts.iter().any(|it| !it.is_empty()),
            Op::IsNotSet => texts.iter().all(|it| it.is_empty()),
            Op::In => {
                let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
                let list: Vec<String> =
                    list.iter().filter_map(text).map(|it| it.to_lowercase()).collect();
                any(&|it| list.iter().any(|wanted| wanted == it))
            }
            Op::Greater => number(&|it, wanted| it > wanted),
            Op::Less => number(&|it, wanted| it < wanted),
            Op::WithinDays | Op::BeforeDays | Op::Since | Op::Until => false,
        }
    }
}

/// A value as a text; numbers and booleans as they are written.
fn text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn as_number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}
