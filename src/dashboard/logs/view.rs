//! What a page of the logs is asked to show: the query of its address, read and written.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use url::form_urlencoded;

use crate::{
    error::{Error, Result},
    http::paging,
    logs::{Pattern, Position, Query, Severity},
};

/// The view, as its address says it. Links change a copy of it.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Names of sources; none means all.
    pub(super) sources: Vec<String>,
    /// What is looked for.
    pub(super) find: String,
    /// It is a regular expression.
    pub(super) regex: bool,
    /// Only what holds it is shown; else it is highlighted.
    pub(super) filter: bool,
    pub(super) exclude: String,
    /// At least this bad.
    pub(super) level: Option<Severity>,
    /// Nothing that was written before.
    pub(super) since: Option<DateTime<Utc>>,
    /// The lines around this time.
    pub(super) at: Option<DateTime<Utc>>,
    /// The lines around this record.
    pub(super) record: Option<String>,
    /// The lines before this place, or after it.
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// What a view looks for, ready to be looked for; with what is wrong with its fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) query: Query,
    /// What is highlighted.
    pub(super) find: Option<Pattern>,
    pub(super) find_error: Option<String>,
    pub(super) exclude_error: Option<String>,
}

impl View {
    /// Reads the query of an address. Names that are not known are passed over: a link may be
    /// older or newer than this page.
    pub(super) fn read(query: &str) -> Result<Self> {
        if query.contains("%00") {
            return Err(Error::invalid("the query holds a zero byte (%00); leave it out"));
        }
        let mut view = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            match &*name {
                "source" => {
                    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                    view.sources.extend(names.map(str::to_owned));
                }
                "q" => value.clone_into(&mut view.find),
                "regex" => view.regex = matches!(value, "1" | "on" | "true"),
                "mode" => view.filter = value == "filter",
                "exclude" => value.clone_into(&mut view.exclude),
                "level" if value == "all" => view.level = None,
                "level" => view.level = Some(value.parse()?),
                "since" => view.since = Some(moment(value)?),
                "at" => view.at = Some(moment(value)?),
                "record" => view.record = Some(value.to_owned()),
                "before" => view.before = Some(value.to_owned()),
                "after" => view.after = Some(value.to_owned()),
                _ => {}
            }
        }
        view.sources.sort();
        view.sources.dedup();
        Ok(view)
    }

    /// What it looks for. A field that is not understood is told and left out.
    pub(super) fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        if !self.find.is_empty() {
            let pattern = if self.regex { Pattern::regex } else { Pattern::plain };
            match pattern(&self.find) {
                Ok(pattern) => wanted.find = Some(pattern),
                Err(error) => wanted.find_error = Some(plainly(&error)),
            }
        }
        let mut exclude = None;
        if !self.exclude.is_empty() {
            match Pattern::parse(&self.exclude) {
                Ok(pattern) => exclude = Some(pattern),
                Err(error) => wanted.exclude_error = Some(plainly(&error)),
            }
        }
        wanted.query = Query {
            sources: self.sources.clone(),
            since: self.since,
            severity: self.level,
            text: wanted.find.clone().filter(|_| self.filter),
            exclude,
            ..Query::default()
        };
        wanted
    }

    /// Where a page of `before` or `after` begins.
    pub(super) fn edge(&self) -> Result<Option<(Position, bool)>> {
        let read = |cursor: &Option<String>| cursor.as_deref().map(paging::position).transpose();
        let before = read(&self.before)?.map(|position| (position, false));
        Ok(before.or(read(&self.after)?.map(|position| (position, true))))
    }

    /// Whether it leaves anything out.
    pub(super) fn is_filtered(&self) -> bool {
        !self.sources.is_empty()
            || (self.filter && !self.find.is_empty())
            || !self.exclude.is_empty()
            || self.level.is_some()
            || self.since.is_some()
    }

    /// Whether it shows the newest, and goes on with what comes.
    pub(super) fn is_live(&self) -> bool {
        self.at.is_none() && self.record.is_none() && self.before.is_none() && self.after.is_none()
    }

    /// The same without its place: what is looked for, from now on.
    pub(super) fn live(&self) -> Self {
        Self { at: None, record: None, before: None, after: None, ..self.clone() }
    }

    /// Its query, without a question mark.
    pub(super) fn query(&self) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                text.append_pair(name, value);
            }
        };
        put("source", &self.sources.join(","));
        put("q", &self.find);
        put("regex", if self.regex { "1" } else { "" });
        put("mode", if self.filter { "filter" } else { "" });
        put("exclude", &self.exclude);
        put("level", self.level.map_or("", Severity::as_str));
        put("since", &self.since.map_or_else(String::new, exact));
        put("at", &self.at.map_or_else(String::new, exact));
        put("record", self.record.as_deref().unwrap_or_default());
        put("before", self.before.as_deref().unwrap_or_default());
        put("after", self.after.as_deref().unwrap_or_default());
        text.finish()
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        match self.query() {
            query if query.is_empty() => "/logs".to_owned(),
            query => format!("/logs?{query}"),
        }
    }
}

/// A time as links have it.
pub(super) fn exact(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A time with its zone, or one of UTC as a form without a script sends it.
fn moment(text: &str) -> Result<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
    let plain = || {
        let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
        let read = |form: &&str| NaiveDateTime::parse_from_str(text, form).ok();
        forms.iter().find_map(read).map(|at| at.and_utc())
    };
    let at = zoned.or_else(plain).ok_or_else(|| {
        Error::invalid("a time is written like 2026-11-20T14:30:00Z; correct it in the address")
    })?;
    // Far away nothing can be counted with.
    let far = TimeDelta::days(366 * 1000);
    let known = (DateTime::UNIX_EPOCH - far)..(DateTime::UNIX_EPOCH + far);
    if known.contains(&at) { Ok(at) } else { Err(Error::invalid("that time is too far away")) }
}

/// What is wrong with an expression, without the drawing around it.
fn plainly(error: &Error) -> String {
    let text = error.to_string();
    let last = text.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
    match last {
        Some(why) => format!("This is no valid regular expression: {why}."),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::View;

    #[test]
    fn an_address_is_read_and_written() {
        let text = "source=app%2Cnginx&q=too+many&regex=1&mode=filter&exclude=health&level=warning\
                    &at=2026-11-20T14%3A30%3A00.000Z&record=ab-1";
        let view = View::read(text).unwrap();
        assert_eq!(view.query(), text);
        assert_eq!(view.sources, ["app", "nginx"]);
        assert!(view.is_filtered() && !view.is_live() && view.live().is_live());
        let view = View::read("source=b&source=a&level=all&q=&utm=1&at=2026-11-20T14:30").unwrap();
        assert_eq!(view.query(), "source=a%2Cb&at=2026-11-20T14%3A30%3A00.000Z");
        for wrong in
            ["at=yesterday", "level=loud", "q=%00", "at=9999-99-99", "at=%2B262142-01-01T00:00:00Z"]
        {
            assert!(View::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bad_expression_is_told_and_left_out() {
        let view = View::read("q=(open&regex=1&mode=filter&exclude=/[/").unwrap();
        let wanted = view.wanted();
        assert_eq!(
            wanted.find_error.unwrap(),
            "This is no valid regular expression: unclosed group."
        );
        assert!(wanted.exclude_error.is_some());
        assert!(wanted.find.is_none() && wanted.query.text.is_none());
        let plain = View::read("q=(open").unwrap().wanted();
        assert!(plain.find_error.is_none() && plain.find.is_some() && plain.query.text.is_none());
    }
}
