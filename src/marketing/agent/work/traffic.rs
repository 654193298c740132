//! Requests in the window of recent log records, counted by what agents ask about.

use std::collections::HashMap;

use serde_json::json;

use super::super::input::{Gather, Line, said};
use crate::{diagnose::each_record, error::Result, logs::template, outbound::visit::AGENT};

/// Pages and tags that are told apart; more are a scanner's doing.
const MOST_KEYS: usize = 5000;
/// Rows of one table.
const TOP: usize = 15;

/// One page as it was asked for.
#[derive(Clone, Debug, Default)]
struct Page {
    requests: i64,
    refused: i64,
    failed: i64,
    /// Milliseconds, where the log has them.
    took: Vec<u32>,
}

#[derive(Default)]
struct Seen {
    requests: i64,
    pages: HashMap<String, Page>,
    missing: HashMap<String, i64>,
    tags: HashMap<(String, String), i64>,
}

/// Which tables are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub pages: bool,
    pub missing: bool,
    pub tags: bool,
}

/// Adds "pages", "missing" and "visits", as wanted.
pub(super) async fn read(gather: &mut Gather<'_>, wanted: Wanted) -> Result<()> {
    let live = gather.app.live.clone();
    let counted = tokio::task::spawn_blocking(move || {
        let mut seen = Seen::default();
        each_record(&live, None, &mut |_, record| {
            let Some(access) = record.access() else { return };
            // Lux's own checks are no visitors.
            if access.agent.starts_with(AGENT) {
                return;
            }
            seen.requests += 1;
            let path = template::path(access.path());
            if seen.pages.len() < MOST_KEYS || seen.pages.contains_key(&path) {
                let page = seen.pages.entry(path).or_default();
                page.requests += 1;
                page.refused += i64::from((400..500).contains(&access.status));
                page.failed += i64::from(access.status >= 500);
                if let Some(seconds) = access.duration
                    && page.took.len() < 2000
                {
                    page.took.push(milliseconds(seconds));
                }
            }
            if access.status == 404 {
                count(&mut seen.missing, access.path().to_owned());
            }
            if let Some(tag) = tag(access.target) {
                count(&mut seen.tags, tag);
            }
        });
        seen
    });
    let seen = counted.await.map_err(anyhow::Error::from)?;
    let window = gather.app.live.oldest(&[]).map_or_else(
        || "No log is read, so this is empty; name your access log in [[sources]].".to_owned(),
        |at| {
            format!(
                "{} requests in the log window, since {}.",
                seen.requests,
                at.format("%F %H:%M UTC")
            )
        },
    );
    if wanted.pages {
        let mut pages: Vec<_> = seen.pages.into_iter().collect();
        pages.sort_by(|a, b| b.1.requests.cmp(&a.1.requests).then_with(|| a.0.cmp(&b.0)));
        let lines = pages.into_iter().take(TOP).map(|(path, mut page)| {
            page.took.sort_unstable();
            let at = |share: usize| page.took.get(page.took.len() * share / 100).copied();
            Line::of([
                said(&path),
                json!(page.requests),
                json!(page.refused),
                json!(page.failed),
                json!(at(50)),
                json!(at(95)),
            ])
            .to(format!("/logs?q={}", encoded(&path)))
        });
        let columns = ["page", "requests", "4xx", "5xx", "median ms", "p95 ms"];
        gather.add("pages", "Pages in the access log", &columns, lines.collect());
        gather.note(window.clone());
    }
    if wanted.missing {
        let lines = top(seen.missing).into_iter().map(|(path, hits)| {
            Line::of([said(&path), json!(hits)]).to(format!("/logs?q={}", encoded(&path)))
        });
        gather.add(
            "missing",
            "Asked for and not there (404)",
            &["page", "requests"],
            lines.collect(),
        );
        gather.note(window.clone());
    }
    if wanted.tags {
        let lines = top(seen.tags).into_iter().map(|((source, campaign), hits)| {
            Line::of([said(&source), said(&campaign), json!(hits)])
        });
        let columns = ["utm_source", "utm_campaign", "requests"];
        gather.add("visits", "Visits by campaign tag in the access log", &columns, lines.collect());
        gather.note(window);
    }
    Ok(())
}

fn count<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, i64>, key: K) {
    if counts.len() < MOST_KEYS || counts.contains_key(&key) {
        *counts.entry(key).or_default() += 1;
    }
}

fn top<K: Ord>(counts: HashMap<K, i64>) -> Vec<(K, i64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(TOP);
    counts
}

/// The campaign's tag in a request's query.
fn tag(target: &str) -> Option<(String, String)> {
    let query = target.split_once('?')?.1;
    if !query.contains("utm_") {
        return None;
    }
    let (mut source, mut campaign) = (String::new(), String::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let short = || value.chars().take(80).collect();
        match &*name {
            "utm_source" => source = short(),
            "utm_campaign" => campaign = short(),
            _ => {}
        }
    }
    (!source.is_empty() || !campaign.is_empty()).then_some((source, campaign))
}

fn milliseconds(seconds: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which is what is meant"
    )]
    let milliseconds = (seconds * 1000.0).round() as u32;
    milliseconds
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn tags_are_read_from_the_query() {
        let of = |target| tag(target).map(|(source, campaign)| format!("{source}/{campaign}"));
        assert_eq!(
            of("/?utm_source=news&utm_campaign=black+friday"),
            Some("news/black friday".into())
        );
        assert_eq!(of("/?a=utm_source"), None);
        assert_eq!(of("/utm_source=x"), None);
    }
}
