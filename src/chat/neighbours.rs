//! The records before and after a cited line.

use std::collections::VecDeque;

use super::answer::Neighbour;
use crate::{app::App, diagnose::each_record, error::Result};

/// How many records are shown on each side.
const EACH_SIDE: usize = 6;

/// The record that holds line `line` of `source`, with its neighbours, oldest first;
/// empty if it has left the window.
pub(super) async fn of(
    app: &App,
    only: Option<String>,
    source: String,
    line: u64,
) -> Result<Vec<Neighbour>> {
    let live = app.live.clone();
    let work = move || {
        let mut before: VecDeque<Neighbour> = VecDeque::with_capacity(EACH_SIDE + 1);
        let mut shown: Vec<Neighbour> = Vec::new();
        each_record(&live, only.as_deref(), &mut |name, record| {
            if name != source || shown.len() > 2 * EACH_SIDE {
                return;
            }
            let last = record.line_at(record.text.len());
            let neighbour = Neighbour {
                source: name.to_owned(),
                line: record.line,
                text: record.text.to_string(),
                is_it: (record.line..=last).contains(&line),
            };
            if neighbour.is_it && shown.is_empty() {
                shown.extend(before.drain(..));
                shown.push(neighbour);
            } else if !shown.is_empty() {
                let after = shown.iter().rev().take_while(|one| !one.is_it).count();
                if after < EACH_SIDE {
                    shown.push(neighbour);
                }
            } else {
                before.push_back(neighbour);
                if before.len() > EACH_SIDE {
                    before.pop_front();
                }
            }
        });
        shown
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| anyhow::Error::from(error).into())
}
