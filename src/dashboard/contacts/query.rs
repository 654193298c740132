//! What of the contacts is wished for. All of it stands in the address, so that it can be shared
//! and gone back to.

use url::form_urlencoded;

use crate::{
    app::App,
    auth::OrganizationId,
    contacts::{
        Contact, Email, Status,
        store::list::{self, Filter, Position, Sort},
        words,
    },
    error::{Error, Result},
    http::paging,
};

/// Pages that are remembered on the way back; who goes further returns to the first.
const MAX_TRAIL: usize = 8;

/// Contacts on a page.
pub(super) const SIZES: [i64; 3] = [25, 50, 100];

/// Orders: the value in the address, and its words.
pub(super) const SORTS: [(&str, &str, Sort); 3] = [
    ("", "Newest", Sort::Newest),
    ("active", "Last heard of", Sort::Active),
    ("email", "E-mail", Sort::Email),
];

/// Columns that can be shown: the value in the address, its heading, and whether it is there if
/// nothing is said.
pub(super) const COLUMNS: [(&str, &str, bool); 8] = [
    ("company", "Company", true),
    ("phone", "Telephone", false),
    ("source", "Source", true),
    ("tags", "Tags", true),
    ("consent", "Consent", true),
    ("attributes", "Attributes", false),
    ("created", "Added", true),
    ("active", "Heard of", false),
];

/// The list that is wished for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wish {
    pub(super) q: String,
    pub(super) segment: Option<i64>,
    pub(super) tag: String,
    pub(super) source: String,
    pub(super) consent: Option<Status>,
    /// One of [`SORTS`].
    pub(super) sort: &'static str,
    pub(super) size: i64,
    /// Of [`COLUMNS`]; empty: those that are there if nothing is said.
    pub(super) columns: Vec<&'static str>,
    after: Option<String>,
    trail: Vec<String>,
}

/// A page of contacts.
pub(super) struct Found {
    pub(super) contacts: Vec<Contact>,
    pub(super) next: Option<String>,
    /// A search that found more than it looks at.
    pub(super) more: bool,
}

impl Wish {
    /// Reads the query of an address. What is no choice is told, not guessed.
    pub(super) fn read(query: &str) -> Result<Self> {
        let mut wish = Self { size: SIZES[0], ..Self::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.trim().to_owned();
            if value.is_empty() || value.contains('\0') {
                continue;
            }
            let unknown = |choices: &str| Error::invalid(format!("{name} is one of {choices}"));
            match &*name {
                "q" => wish.q = value.chars().take(200).collect(),
                "segment" => {
                    wish.segment = Some(value.parse().map_err(|_| Error::NotFound("segment"))?);
                }
                "tag" => wish.tag = value,
                "source" => wish.source = value,
                "consent" => wish.consent = Some(value.parse().map_err(Error::Invalid)?),
                "sort" => {
                    let known = SORTS.iter().find(|(key, ..)| *key == value);
                    wish.sort = known.ok_or_else(|| unknown("active, email"))?.0;
                }
                "size" => {
                    let known = SIZES.iter().find(|size| size.to_string() == value);
                    wish.size = *known.ok_or_else(|| unknown("25, 50, 100"))?;
                }
                "col" => {
                    wish.columns.extend(COLUMNS.iter().map(|it| it.0).find(|key| *key == value));
                }
                "after" => wish.after = Some(value),
                "trail" => {
                    wish.trail = value.split('.').take(MAX_TRAIL).map(str::to_owned).collect();
                }
                _ => {}
            }
        }
        Ok(wish)
    }

    /// Of an address of the list, such as a form brings back.
    pub(super) fn of_address(address: &str) -> Result<Self> {
        Self::read(address.split_once('?').map_or("", |(_, query)| query))
    }

    /// What is filtered by, as the list and the export understand it.
    pub(super) fn filters(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let segment = self.segment.map(|id| id.to_string()).unwrap_or_default();
        let consent = self.consent.map_or("", Status::as_str);
        for (name, value) in [
            ("q", self.q.as_str()),
            ("segment", &segment),
            ("tag", &self.tag),
            ("source", &self.source),
            ("consent", consent),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(self.filters());
        if !self.sort.is_empty() {
            query.append_pair("sort", self.sort);
        }
        if self.size != SIZES[0] {
            query.append_pair("size", &self.size.to_string());
        }
        for column in &self.columns {
            query.append_pair("col", column);
        }
        query.finish()
    }

    /// This page.
    pub(super) fn here(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(self.query());
        if let Some(after) = &self.after {
            query.append_pair("after", after);
        }
        if !self.trail.is_empty() {
            query.append_pair("trail", &self.trail.join("."));
        }
        address(&query.finish())
    }

    fn first(&self) -> Self {
        Self { after: None, trail: Vec::new(), ..self.clone() }
    }

    /// The same list of another segment; `None`: of all.
    pub(super) fn with_segment(&self, segment: Option<i64>) -> String {
        address(&Self { segment, ..self.first() }.query())
    }

    /// The list with nothing left out.
    pub(super) fn widest(&self) -> String {
        address(
            &Self {
                sort: self.sort,
                size: self.size,
                columns: self.columns.clone(),
                ..Self::default()
            }
            .query(),
        )
    }

    pub(super) fn is_narrowed(&self) -> bool {
        !self.filters().is_empty()
    }

    /// Where the table of this list is written out.
    pub(super) fn export(&self) -> String {
        format!("/api/contacts/export?{}", self.filters())
    }

    pub(super) fn shows(&self, column: &str) -> bool {
        if self.columns.is_empty() {
            return COLUMNS.iter().any(|(key, _, usual)| *key == column && *usual);
        }
        self.columns.contains(&column)
    }

    pub(super) fn consent_is(&self, status: &str) -> bool {
        self.consent.is_some_and(|it| it.as_str() == status)
    }

    pub(super) fn previous(&self) -> Option<String> {
        self.after.as_ref()?;
        let mut trail = self.trail.clone();
        let after = trail.pop().filter(|it| it != "-");
        if after.is_none() {
            trail.clear();
        }
        Some(Self { after, trail, ..self.clone() }.here())
    }

    fn next(&self, last: &Contact) -> Result<String> {
        let email = last.email.as_deref().and_then(|email| Email::parse(email).ok());
        let position = Position {
            id: last.id,
            active_at: (self.sort() == Sort::Active).then_some(last.active_at),
            email_key: email.filter(|_| self.sort() == Sort::Email).map(|email| email.key),
        };
        let mut trail = self.trail.clone();
        trail.push(self.after.clone().unwrap_or_else(|| "-".to_owned()));
        if trail.len() > MAX_TRAIL {
            trail.drain(..trail.len() - MAX_TRAIL);
        }
        Ok(Self { after: Some(paging::cursor(&position)?), trail, ..self.clone() }.here())
    }

    fn sort(&self) -> Sort {
        SORTS.iter().find(|(key, ..)| *key == self.sort).map_or_else(Sort::default, |it| it.2)
    }

    fn filter(&self) -> Filter {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Filter {
            source: some(&self.source),
            consent: self.consent,
            tag: some(&self.tag),
            segment: self.segment,
            since: None,
            until: None,
        }
    }

    /// The contacts of this page.
    pub(super) async fn find(&self, app: &App, organization: OrganizationId) -> Result<Found> {
        let after: Option<Position> = self.after.as_deref().map(paging::position).transpose()?;
        let (mut contacts, more) = self.read_page(app, organization, after, self.size + 1).await?;
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let full = contacts.len() > size;
        contacts.truncate(size);
        let last = contacts.last().filter(|_| full);
        Ok(Found { next: last.map(|last| self.next(last)).transpose()?, more, contacts })
    }

    async fn read_page(
        &self,
        app: &App,
        organization: OrganizationId,
        after: Option<Position>,
        limit: i64,
    ) -> Result<(Vec<Contact>, bool)> {
        let filter = self.filter();
        if self.q.is_empty() {
            let page =
                list::page(&app.db, organization, &filter, self.sort(), after.as_ref(), limit);
            return Ok((page.await?, false));
        }
        let below = after.map(|it| it.id);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(words::search(&app.db, organization, &self.q, &filter, below, most).await?)
    }

    /// The ids of all that match, at most `most`; and whether there are more.
    pub(super) async fn ids(
        &self,
        app: &App,
        organization: OrganizationId,
        most: usize,
    ) -> Result<(Vec<i64>, bool)> {
        let by_id = Self { sort: "", ..self.first() };
        let mut ids: Vec<i64> = Vec::new();
        loop {
            let after = ids.last().map(|id| Position { id: *id, active_at: None, email_key: None });
            let (page, _) = by_id.read_page(app, organization, after, 1000).await?;
            let ended = page.len() < 1000;
            ids.extend(page.into_iter().map(|contact| contact.id));
            if ids.len() > most {
                ids.truncate(most);
                return Ok((ids, true));
            }
            if ended {
                return Ok((ids, false));
            }
        }
    }
}

fn address(query: &str) -> String {
    if query.is_empty() { "/contacts".to_owned() } else { format!("/contacts?{query}") }
}

#[cfg(test)]
mod tests {
    use super::Wish;

    #[test]
    fn addresses_are_read_and_written() {
        for address in [
            "/contacts",
            "/contacts?q=a+b&segment=3&tag=x%26y&consent=confirmed&sort=active&size=50&col=phone",
        ] {
            assert_eq!(Wish::of_address(address).unwrap().here(), address);
        }
        for query in ["sort=x", "size=7", "segment=x", "consent=maybe"] {
            assert!(Wish::read(query).is_err(), "{query}");
        }
        let wish = Wish::read("q=a&segment=3&size=100").unwrap();
        assert_eq!(wish.with_segment(None), "/contacts?q=a&size=100");
        assert_eq!(wish.widest(), "/contacts?size=100");
        assert_eq!(wish.export(), "/api/contacts/export?q=a&segment=3");
        assert!(wish.shows("company") && !wish.shows("phone"));
    }
}
