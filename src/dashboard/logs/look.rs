//! Finds what a view shows: the newest lines, those around a time or a record, a page before or
//! after a place.

use askama::Template;
use chrono::{DateTime, Utc};

use super::{
    row::{Part, Row},
    view::{View, Wanted},
};
use crate::{
    error::{Error, Result},
    http::paging,
    logs::{Entry, Live, Mark, Position, Query},
};

/// Lines of the first screen, and of one that is asked for later.
const FIRST: usize = 120;
const MORE: usize = 200;

/// Lines before and after a place.
const BEFORE: usize = 60;
const AFTER: usize = 100;

/// Rows that stand beside each other, oldest first, with the places before and after them.
#[derive(Clone, Debug, Default, Template)]
#[template(path = "logs/chunk.html")]
pub(super) struct Chunk {
    pub(super) rows: Vec<Row>,
    /// `None`: there is nothing before, or nothing but what is going to come after.
    pub(super) older: Option<String>,
    pub(super) newer: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Seen {
    /// The view, as it can be shown.
    pub(super) view: View,
    pub(super) wanted: Wanted,
    pub(super) mark: Mark,
    pub(super) chunk: Chunk,
    /// When the line at which we are was written.
    pub(super) place: Option<DateTime<Utc>>,
    pub(super) oldest: Option<DateTime<Utc>>,
    /// The record that was asked for has left the window.
    pub(super) gone: bool,
}

/// Entries with what lies on both sides of them.
#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    older: Option<Position>,
    newer: Option<Position>,
    /// The one that was asked for.
    here: Option<String>,
}

pub(super) fn look(live: &Live, mut view: View) -> Result<Seen> {
    // What is said while this looks comes with the stream, a second time at worst.
    let mark = live.mark();
    let record = match &view.record {
        Some(id) => match live.around(id, 0) {
            Ok(entries) => entries.into_iter().next(),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let gone = view.record.is_some() && record.is_none();
    if record.is_some() {
        // A line is understood by what stood around it: nothing of that is left out.
        view = View { find: view.find, regex: view.regex, record: view.record, ..View::default() };
    } else {
        view.record = view.record.filter(|_| view.at.is_some());
    }
    let wanted = view.wanted();
    let query = &wanted.query;
    let mut place = view.at;
    let found = if let Some(entry) = record {
        place = Some(entry.at);
        around(live, query, &live.position(&entry), Some(entry))?
    } else if let Some(at) = view.at {
        around(live, query, &live.position_at(at), None)?
    } else if let Some((position, forward)) = view.edge()? {
        beyond(live, query, position, forward)?
    } else {
        let page = live.search(&Query { limit: FIRST, ..query.clone() })?;
        let entries = page.records.into_iter().rev().collect();
        Found { entries, older: page.next, ..Found::default() }
    };
    let here = found.here;
    let row =
        |entry: &Entry| Row::new(entry, wanted.find.as_ref(), here.as_ref() == Some(&entry.id));
    let cursor = |position: Option<Position>| position.map(|it| paging::cursor(&it)).transpose();
    let chunk = Chunk {
        rows: found.entries.iter().map(row).collect(),
        older: cursor(found.older)?,
        newer: cursor(found.newer)?,
    };
    let oldest = live.oldest(&view.sources);
    Ok(Seen { view, wanted, mark, chunk, place, oldest, gone })
}

/// The lines on both sides of a place; at it stands `entry`, or nothing.
fn around(live: &Live, query: &Query, position: &Position, entry: Option<Entry>) -> Result<Found> {
    let side = |oldest_first, limit| {
        live.search(&Query { after: Some(*position), oldest_first, limit, ..query.clone() })
    };
    let (before, after) = (side(false, BEFORE)?, side(true, AFTER)?);
    let here = entry.as_ref().or(after.records.first()).map(|entry| entry.id.clone());
    let before_it = before.records.into_iter().rev();
    Ok(Found {
        entries: before_it.chain(entry).chain(after.records).collect(),
        older: before.next,
        newer: after.next,
        here,
    })
}

/// The lines on one side of a place.
fn beyond(live: &Live, query: &Query, position: Position, forward: bool) -> Result<Found> {
    let after = Some(position);
    let page =
        live.search(&Query { after, oldest_first: forward, limit: MORE, ..query.clone() })?;
    let mut entries = page.records;
    Ok(if forward {
        let older = entries.first().map(|entry| live.position(entry));
        Found { entries, older, newer: page.next, here: None }
    } else {
        let newer = entries.first().map(|entry| live.position(entry));
        entries.reverse();
        Found { entries, older: page.next, newer, here: None }
    })
}
