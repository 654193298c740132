//! Contacts as a table or as JSON lines: page by page, so that memory does not grow with them. The
//! client sets the pace; when it leaves, the next page is not read.

mod routes;
mod store;

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use axum::body::{Body, Bytes};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Contact,
    store::list::{self, Filter, Position, Sort},
    table, words,
};
use crate::{app::App, auth::OrganizationId, db::Result};

pub use routes::{export, router};
pub use store::attribute_names;

/// Contacts that are read at once.
const PAGE: i64 = 500;

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ContactExportFormat)]
pub enum Format {
    /// RFC 4180, with a header. What a spreadsheet would take for a formula begins with `'`.
    #[default]
    Csv,
    /// One JSON object in each line.
    Jsonl,
}

/// Which contacts, and how they are written.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub filter: Filter,
    /// Words, as in the list.
    pub q: String,
    pub format: Format,
    /// Begin with a mark that some spreadsheets need to see UTF-8.
    pub mark: bool,
}

/// The columns before those of the attributes.
pub const COLUMNS: [&str; 20] = [
    "id",
    "email",
    "first_name",
    "last_name",
    "company",
    "phone",
    "phone_given",
    "source",
    "sources",
    "tags",
    "segments",
    "consent",
    "consent_source",
    "consent_at",
    "bounced",
    "version",
    "created_at",
    "updated_at",
    "active_at",
    "attributes",
];

struct State {
    app: App,
    organization: OrganizationId,
    wish: Wish,
    /// Attributes that have a column.
    names: Vec<String>,
    below: Option<i64>,
    begun: bool,
    ended: bool,
}

/// A contact with what stands beside it.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    contact: &'a Contact,
    segments: Vec<String>,
    /// The last word about consent.
    consent_source: Option<String>,
    consent_at: Option<DateTime<Utc>>,
}

/// The export as the body of an answer.
pub fn body(app: App, organization: OrganizationId, wish: Wish) -> Body {
    let state = State {
        app,
        organization,
        wish,
        names: Vec::new(),
        below: None,
        begun: false,
        ended: false,
    };
    Body::from_stream(stream::try_unfold(state, |mut state| async move {
        if state.ended || state.app.shutdown.is_cancelled() {
            return Ok::<_, io::Error>(None);
        }
        // A body that breaks off is the only way to say that it is not complete.
        let chunk = state.next().await.map_err(|error| {
            tracing::warn!(%error, "an export of contacts ended early");
            io::Error::other("the export cannot go on")
        })?;
        Ok(Some((Bytes::from(chunk), state)))
    }))
}

impl State {
    async fn next(&mut self) -> Result<Vec<u8>> {
        let mut chunk = Vec::new();
        if !self.begun && self.wish.format == Format::Csv {
            if self.wish.mark {
                chunk.extend_from_slice("\u{feff}".as_bytes());
            }
            self.names = store::attribute_names(&self.app.db, self.organization).await?;
            let names = self.names.iter().map(|name| format!("attributes.{name}"));
            let own = COLUMNS[..COLUMNS.len() - 1].iter().map(|name| (*name).to_owned());
            table::row(&mut chunk, own.chain(names).chain(["attributes".to_owned()]));
        }
        self.begun = true;
        let contacts = self.page().await?;
        let ids: Vec<i64> = contacts.iter().map(|contact| contact.id).collect();
        let mut words: HashMap<i64, (String, DateTime<Utc>)> = HashMap::new();
        let mut segments: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        if !ids.is_empty() {
            let last = store::last_words(&self.app.db, &ids).await?;
            words = last.into_iter().map(|(id, source, at)| (id, (source, at))).collect();
            for (id, slug) in store::segments(&self.app.db, &ids).await? {
                segments.entry(id).or_default().push(slug);
            }
        }
        for contact in &contacts {
            let (consent_source, consent_at) = words.remove(&contact.id).unzip();
            let segments = segments.remove(&contact.id).unwrap_or_default();
            let line = Line { contact, segments, consent_source, consent_at };
            match self.wish.format {
                Format::Jsonl => {
                    chunk.extend_from_slice(json!(line).to_string().as_bytes());
                    chunk.push(b'\n');
                }
                Format::Csv => table::row(&mut chunk, self.cells(&line)),
            }
        }
        Ok(chunk)
    }

    /// The next contacts; sets where those after them begin.
    async fn page(&mut self) -> Result<Vec<Contact>> {
        let (db, wish, organization) = (&self.app.db, &self.wish, self.organization);
        let contacts = if wish.q.is_empty() {
            let after = self.below.map(|id| Position { id, active_at: None, email_key: None });
            let sort = Sort::Newest;
            list::page(db, organization, &wish.filter, sort, after.as_ref(), PAGE).await?
        } else {
            let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
            words::search(db, organization, &wish.q, &wish.filter, self.below, most).await?.0
        };
        self.below = contacts.last().map(|last| last.id);
        self.ended = i64::try_from(contacts.len()).is_ok_and(|found| found < PAGE);
        Ok(contacts)
    }

    fn cells(&self, line: &Line<'_>) -> Vec<String> {
        let contact = line.contact;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut cells = vec![
            contact.id.to_string(),
            text(&contact.email),
            contact.first_name.clone(),
            contact.last_name.clone(),
            contact.company.clone(),
            text(&contact.phone),
            contact.phone_given.clone(),
            contact.source.clone(),
            contact.sources.join("; "),
            contact.tags.iter().map(String::as_str).collect::<Vec<_>>().join("; "),
            line.segments.join("; "),
            contact.consent.as_str().to_owned(),
            text(&line.consent_source),
            line.consent_at.map(time).unwrap_or_default(),
            text(&contact.bounced),
            contact.version.to_string(),
            time(contact.created_at),
            time(contact.updated_at),
            time(contact.active_at),
        ];
        let value = |name: &String| contact.attributes.get(name).cloned().unwrap_or_default();
        cells.extend(self.names.iter().map(value));
        // Those that came after the header was written.
        let rest = contact.attributes.iter().filter(|(name, _)| !self.names.contains(name));
        let rest: BTreeMap<&String, &String> = rest.collect();
        cells.push(if rest.is_empty() { String::new() } else { json!(rest).to_string() });
        cells
    }
}
