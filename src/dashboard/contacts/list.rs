//! The list of contacts.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};

use super::{
    Page, Shell, consent_words, filters, html,
    query::{COLUMNS, SIZES, SORTS, Wish},
};
use crate::{
    app::App,
    contacts::{
        Contact,
        segment::{self, Segment},
        store::list::Sort,
    },
    error::Error,
    http::{Reader, Result},
};

/// A tab: all contacts, or those of a segment.
struct Tab {
    name: String,
    href: String,
    here: bool,
    members: Option<i64>,
}

#[derive(Template)]
#[template(path = "contacts/list.html")]
struct List {
    shell: Shell,
    wish: Wish,
    tabs: Vec<Tab>,
    contacts: Vec<Contact>,
    /// Segments that people are put into by hand.
    by_hand: Vec<Segment>,
    next: Option<String>,
    previous: Option<String>,
    more: bool,
    /// There is nobody at all.
    nobody: bool,
    sorts: [(&'static str, &'static str, Sort); 3],
    sizes: [i64; 3],
    columns: [(&'static str, &'static str, bool); 8],
}

impl List {
    fn called(contact: &Contact) -> String {
        called(contact)
    }

    fn consent(contact: &Contact) -> (&'static str, &'static str) {
        consent_words(contact.consent)
    }
}

/// What a contact is called where a name is needed.
pub(super) fn called(contact: &Contact) -> String {
    let name = contact.name();
    if !name.is_empty() {
        return name;
    }
    let other = contact.email.clone().or_else(|| contact.phone.clone());
    other.unwrap_or_else(|| contact.phone_given.clone())
}

pub(super) async fn page(
    page: Page<Reader>,
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let organization = page.caller.organization;
    let wish = Wish::read(query.as_deref().unwrap_or_default())?;
    let found = wish.find(&app, organization).await?;
    let segments = segment::list(&app.db, organization).await.map_err(Error::from)?;
    if let Some(id) = wish.segment
        && !segments.iter().any(|segment| segment.id == id)
    {
        return Err(Error::NotFound("segment").into());
    }
    let all = Tab {
        name: "All".to_owned(),
        href: wish.with_segment(None),
        here: wish.segment.is_none(),
        members: None,
    };
    let tab = |segment: &Segment| Tab {
        name: segment.name.clone(),
        href: wish.with_segment(Some(segment.id)),
        here: wish.segment == Some(segment.id),
        members: Some(segment.members),
    };
    let tabs = std::iter::once(all).chain(segments.iter().map(tab)).collect();
    html(&List {
        nobody: found.contacts.is_empty() && !wish.is_narrowed(),
        by_hand: segments.into_iter().filter(|it| it.rule.is_none()).collect(),
        tabs,
        contacts: found.contacts,
        next: found.next,
        previous: wish.previous(),
        more: found.more,
        sorts: SORTS,
        sizes: SIZES,
        columns: COLUMNS,
        wish,
        shell: page.shell,
    })
}
