//! What of the list is wished for. All of it stands in the address, so that it can be shared,
//! kept and gone back to.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use url::form_urlencoded;

use crate::{
    error::{Error, Result},
    errors::{
        find,
        store::{
            groups::{Position, Sort, Status},
            search::GroupSearch,
        },
    },
    http::paging,
};

/// Pages that are remembered on the way back; who goes further returns to the first.
const MAX_TRAIL: usize = 8;

/// The address's query.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    state: Option<String>,
    q: Option<String>,
    within: Option<String>,
    sort: Option<String>,
    /// Where the page begins.
    after: Option<String>,
    /// Where the pages before began, the last one last, with dots between.
    trail: Option<String>,
}

/// Which groups, by how they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tab {
    #[default]
    Attention,
    Unresolved,
    Resolved,
    Muted,
    All,
}

impl Tab {
    pub(super) const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Attention, "", "Needs attention"),
        (Self::Unresolved, "unresolved", "Unresolved"),
        (Self::Resolved, "resolved", "Resolved"),
        (Self::Muted, "muted", "Muted"),
        (Self::All, "all", "All"),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(tab, ..)| *tab == self).map_or("", |(.., name)| name)
    }
}

/// How far back: the value in the address, its words, and hours.
pub(super) const WITHIN: [(&str, &str, i64); 6] = [
    ("", "Any time", 0),
    ("1h", "Last hour", 1),
    ("24h", "Last 24 hours", 24),
    ("7d", "Last 7 days", 24 * 7),
    ("14d", "Last 14 days", 24 * 14),
    ("30d", "Last 30 days", 24 * 30),
];

/// Orders: the value in the address, and its words.
pub(super) const SORTS: [(&str, &str, Sort); 3] = [
    ("", "Last seen", Sort::LastSeen),
    ("events", "Events", Sort::Count),
    ("first", "First seen", Sort::FirstSeen),
];

/// The list that is wished for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) tab: Tab,
    pub(super) q: String,
    /// One of [`WITHIN`].
    pub(super) within: &'static str,
    /// One of [`SORTS`].
    pub(super) sort: &'static str,
    after: Option<String>,
    trail: Vec<String>,
}

impl Wish {
    /// Reads an address. What is no choice is told, not guessed.
    pub(super) fn read(asked: Asked) -> Result<Self> {
        let unknown = |what: &str, choices: String| {
            Error::Invalid(format!("{what} is one of {choices}; or leave it out"))
        };
        let state = asked.state.unwrap_or_default();
        let tab = Tab::ALL.iter().find(|(_, key, _)| *key == state).map(|(tab, ..)| *tab);
        let within = asked.within.unwrap_or_default();
        let within = WITHIN.iter().find(|(key, ..)| *key == within).map(|(key, ..)| *key);
        let sort = asked.sort.unwrap_or_default();
        let sort = SORTS.iter().find(|(key, ..)| *key == sort).map(|(key, ..)| *key);
        let trail = asked.trail.unwrap_or_default();
        let trail = trail.split('.').filter(|it| !it.is_empty()).map(str::to_owned);
        Ok(Self {
            tab: tab.ok_or_else(|| unknown("state", "unresolved, resolved, muted, all".into()))?,
            q: asked.q.unwrap_or_default().trim().to_owned(),
            within: within.ok_or_else(|| unknown("within", "1h, 24h, 7d, 14d, 30d".into()))?,
            sort: sort.ok_or_else(|| unknown("sort", "events, first".into()))?,
            after: asked.after.filter(|it| !it.is_empty()),
            trail: trail.take(MAX_TRAIL).collect(),
        })
    }

    /// Of the query of an address of the list.
    pub(super) fn of_query(query: &str) -> Result<Self> {
        let mut asked = Asked::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = Some(value.into_owned());
            match &*name {
                "state" => asked.state = value,
                "q" => asked.q = value,
                "within" => asked.within = value,
                "sort" => asked.sort = value,
                _ => {}
            }
        }
        Self::read(asked)
    }

    /// The tab's value in the address.
    pub(super) fn state(&self) -> &'static str {
        Tab::ALL.iter().find(|(tab, ..)| *tab == self.tab).map_or("", |it| it.1)
    }

    /// The query without the place in the list: what a view keeps.
    pub(super) fn query(&self) -> String {
        let state = self.state();
        let mut query = form_urlencoded::Serializer::new(String::new());
        let parts =
            [("state", state), ("q", &self.q), ("within", self.within), ("sort", self.sort)];
        for (name, value) in parts {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    /// The query with the place in the list.
    pub(super) fn whole_query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(self.query());
        if let Some(after) = &self.after {
            query.append_pair("after", after);
        }
        if !self.trail.is_empty() {
            query.append_pair("trail", &self.trail.join("."));
        }
        query.finish()
    }

    fn path(query: &str) -> String {
        if query.is_empty() { "/errors".to_owned() } else { format!("/errors?{query}") }
    }

    /// The first page of this list.
    pub(super) fn href(&self) -> String {
        Self::path(&self.query())
    }

    /// This page.
    pub(super) fn here(&self) -> String {
        Self::path(&self.whole_query())
    }

    pub(super) fn rows(&self) -> String {
        let query = self.whole_query();
        if query.is_empty() { "/errors/rows".to_owned() } else { format!("/errors/rows?{query}") }
    }

    fn first(&self) -> Self {
        Self { after: None, trail: Vec::new(), ..self.clone() }
    }

    pub(super) fn with_tab(&self, tab: Tab) -> Self {
        Self { tab, ..self.first() }
    }

    pub(super) fn with_within(&self, within: &'static str) -> Self {
        Self { within, ..self.first() }
    }

    pub(super) fn without_words(&self) -> Self {
        Self { q: String::new(), ..self.first() }
    }

    /// The page that begins at a position.
    pub(super) fn next(&self, next: &Position) -> Result<String> {
        let mut trail = self.trail.clone();
        trail.push(self.after.clone().unwrap_or_else(|| "-".to_owned()));
        if trail.len() > MAX_TRAIL {
            trail.drain(..trail.len() - MAX_TRAIL);
        }
        let page = Self { after: Some(paging::cursor(next)?), trail, ..self.clone() };
        Ok(page.here())
    }

    /// The page before this one, unless this is the first.
    pub(super) fn previous(&self) -> Option<String> {
        self.after.as_ref()?;
        let mut trail = self.trail.clone();
        let after = trail.pop().filter(|it| it != "-");
        if after.is_none() {
            trail.clear();
        }
        Some(Self { after, trail, ..self.clone() }.here())
    }

    /// Whether it leaves anything out but by how it stands.
    pub(super) fn is_narrowed(&self) -> bool {
        !self.q.is_empty() || !self.within.is_empty()
    }

    pub(super) fn sort(&self) -> Sort {
        SORTS.iter().find(|(key, ..)| *key == self.sort).map_or_else(Sort::default, |it| it.2)
    }

    pub(super) fn position(&self) -> Result<Option<Position>> {
        self.after.as_deref().map(paging::position).transpose()
    }

    /// The search it stands for. `status:` in the words is the same as the tab, and wins.
    pub(super) fn search(&self, now: DateTime<Utc>) -> Result<GroupSearch> {
        let (words, status) = take_status(&self.q)?;
        let (status, open) = status.unwrap_or(match self.tab {
            Tab::Attention => (None, true),
            Tab::Unresolved => (Some(Status::Unresolved), false),
            Tab::Resolved => (Some(Status::Resolved), false),
            Tab::Muted => (Some(Status::Ignored), false),
            Tab::All => (None, false),
        });
        let hours = WITHIN.iter().find(|(key, ..)| *key == self.within).map_or(0, |it| it.2);
        Ok(GroupSearch {
            status,
            open,
            app: None,
            since: (hours > 0).then(|| now - TimeDelta::hours(hours)),
            until: None,
            terms: find::Query::parse(&words)?.0,
        })
    }
}

/// A status, or all that are open.
type Standing = (Option<Status>, bool);

/// Takes `status:…` out of the words; the search itself knows no such field.
fn take_status(text: &str) -> Result<(String, Option<Standing>)> {
    let mut rest = String::new();
    let mut standing = None;
    let mut quoted = false;
    for word in text.split_inclusive(char::is_whitespace) {
        let value = ["status:", "state:"].into_iter().find_map(|it| word.trim().strip_prefix(it));
        match value {
            Some(value) if !quoted => {
                standing = Some(match value.trim_matches('"').to_lowercase().as_str() {
                    "open" | "attention" => (None, true),
                    "unresolved" => (Some(Status::Unresolved), false),
                    "regressed" => (Some(Status::Regressed), false),
                    "resolved" => (Some(Status::Resolved), false),
                    "muted" | "ignored" => (Some(Status::Ignored), false),
                    "all" | "any" => (None, false),
                    other => {
                        return Err(Error::Invalid(format!(
                            "status:{other}: write status: with open, unresolved, regressed, \
                             resolved, muted or all"
                        )));
                    }
                });
            }
            _ => {
                rest.push_str(word);
                quoted ^= word.matches('"').count() % 2 == 1;
            }
        }
    }
    Ok((rest, standing))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::{Tab, Wish};
    use crate::errors::store::groups::{Position, Status};

    #[test]
    fn addresses_are_read_and_written() {
        for query in
            ["", "state=muted", "state=all&q=severity%3Acritical+%22a+b%22&within=7d&sort=events"]
        {
            assert_eq!(Wish::of_query(query).unwrap().query(), query);
        }
        for query in ["state=x", "within=5m", "sort=count"] {
            assert!(Wish::of_query(query).is_err(), "{query}");
        }
    }

    #[test]
    fn pages_lead_on_and_back() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let read = |path: &str| {
            let query = path.split_once('?').map_or("", |(_, query)| query);
            let pairs: Vec<(String, String)> =
                url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let find = |name: &str| pairs.iter().find(|it| it.0 == name).map(|it| it.1.clone());
            Wish::read(super::Asked {
                state: find("state"),
                after: find("after"),
                trail: find("trail"),
                ..super::Asked::default()
            })
            .unwrap()
        };
        let mut pages = vec![Wish::default().with_tab(Tab::All)];
        for id in 1..4 {
            let next = pages.last().unwrap().next(&Position::LastSeen(at, id)).unwrap();
            pages.push(read(&next));
            assert_eq!(pages.last().unwrap().position().unwrap(), Some(Position::LastSeen(at, id)));
        }
        for (page, before) in pages.iter().skip(1).zip(&pages).rev() {
            assert_eq!(read(&page.previous().unwrap()), *before);
        }
        assert_eq!(pages[0].previous(), None);
        // Far down the way back is cut, and leads to the start.
        let mut page = pages[0].clone();
        for id in 0..30 {
            page = read(&page.next(&Position::LastSeen(at, id)).unwrap());
        }
        assert!(page.here().len() < 1500);
        let mut steps = 0;
        while let Some(before) = page.previous() {
            page = read(&before);
            steps += 1;
        }
        assert!((2..30).contains(&steps), "{steps}");
    }

    #[test]
    fn the_status_may_stand_in_the_words() {
        let search = |q: &str| {
            let wish = Wish { q: q.to_owned(), ..Wish::default() };
            wish.search(DateTime::UNIX_EPOCH).map(|it| (it.status, it.open, it.terms.len()))
        };
        assert_eq!(search("").unwrap(), (None, true, 0));
        assert_eq!(search("timeout status:muted").unwrap(), (Some(Status::Ignored), false, 1));
        assert_eq!(search("state:ALL a b").unwrap(), (None, false, 2));
        assert_eq!(search("\"a status:x b\"").unwrap(), (None, true, 1));
        assert!(search("status:broken").is_err());
    }
}
