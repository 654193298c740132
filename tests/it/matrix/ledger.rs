//! What was said of each kind, and what of that was wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Mutex,
    time::Instant,
};

use serde_json::Value;

use super::kinds::{Kind, Mended};
use crate::support::say;

#[derive(Default)]
struct Row {
    live: Vec<String>,
    mended: Vec<String>,
    why: String,
    mended_at: Option<Instant>,
    /// From the fix until it was seen as resolved, in seconds.
    seconds: Option<f64>,
    wrong: BTreeSet<String>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    rows: Mutex<BTreeMap<&'static str, Row>>,
}

impl Ledger {
    fn row(&self, kind: &Kind, change: impl FnOnce(&mut Row)) {
        change(self.rows.lock().unwrap().entry(kind.name).or_default());
    }

    /// A verdict of a run.
    pub(crate) fn note(&self, kind: &'static Kind, live: bool, detail: &Value) {
        let status = detail["status"].as_str().unwrap();
        let why = detail["why"].as_str().unwrap_or_default();
        let because = detail["probes"].as_array().map_or_else(String::new, |probes| {
            probes.iter().fold(String::new(), |text, probe| text + &format!("\n        {probe}"))
        });
        self.row(kind, |row| {
            row.why = format!("{status}: {why}{because}");
            let verdicts = if live { &mut row.live } else { &mut row.mended };
            verdicts.push(status.to_owned());
            if live && status == "resolved" {
                row.wrong.insert(format!("falsely resolved: {why}{because}"));
            }
            if live && !why.to_lowercase().contains(kind.speaks_of) {
                row.wrong.insert(format!("does not speak of {}: {why}", kind.speaks_of));
            }
        });
    }

    pub(crate) fn falsely(&self, kind: &'static Kind, what: &str) {
        self.row(kind, |row| {
            // Once is enough: it is looked for again and again.
            if !row.wrong.iter().any(|wrong| wrong.starts_with("falsely")) {
                row.wrong.insert(format!("falsely resolved: {what}"));
            }
        });
    }

    pub(crate) fn wrongly(&self, kind: &'static Kind, what: &str) {
        self.row(kind, |row| {
            row.wrong.insert(what.to_owned());
        });
    }

    /// It should be resolved by now.
    pub(crate) fn missed(&self, kind: &'static Kind) {
        self.row(kind, |row| {
            row.wrong.insert(format!("missed, although it is mended: {}", row.why));
        });
    }

    /// Nothing can have proven it.
    pub(crate) fn stays_open(&self, kind: &'static Kind) {
        self.row(kind, |row| {
            if row.mended.iter().chain(&row.live).any(|status| status != "inconclusive") {
                let all = format!("{:?} {:?}: {}", row.live, row.mended, row.why);
                row.wrong.insert(format!("not inconclusive each time: {all}"));
            }
        });
    }

    /// The fix is done.
    pub(crate) fn is_mended(&self, kind: &'static Kind) {
        self.row(kind, |row| {
            row.mended_at = Some(Instant::now());
            row.seconds = None;
        });
    }

    pub(crate) fn is_resolved(&self, kind: &'static Kind) {
        self.row(kind, |row| {
            if let Some(at) = row.mended_at {
                row.seconds.get_or_insert(at.elapsed().as_secs_f64());
            }
        });
    }

    /// Prints the matrix and judges it.
    pub(crate) fn settle(&self, kinds: &[&'static Kind]) {
        let rows = self.rows.lock().unwrap();
        let mut text = String::from("\n");
        let (mut falsely, mut missed, mut other) = (0, 0, 0);
        for kind in kinds {
            let none = Row::default();
            let row = rows.get(kind.name).unwrap_or(&none);
            let seconds = row.seconds.map_or_else(|| "-".to_owned(), |s| format!("{s:.1} s"));
            writeln!(
                text,
                "{:<32} live: {:<44} mended: {:<44} {seconds}",
                kind.name,
                row.live.join(" "),
                row.mended.join(" "),
            )
            .unwrap();
            let mut wrong = row.wrong.clone();
            if row.live.is_empty() {
                wrong.insert("no verdict while it was live".to_owned());
            }
            if row.mended.is_empty() && kind.mended != Mended::Either {
                wrong.insert("no verdict after it was mended".to_owned());
            }
            for wrong in wrong {
                if wrong.starts_with("falsely") {
                    falsely += 1;
                } else if wrong.starts_with("missed") {
                    missed += 1;
                } else {
                    other += 1;
                }
                writeln!(text, "    WRONG {wrong}").unwrap();
            }
        }
        let count = kinds.len();
        writeln!(
            text,
            "{count} kinds: {falsely} falsely resolved, {missed} missed, {other} otherwise wrong"
        )
        .unwrap();
        say(&text);
        assert_eq!((falsely, missed, other), (0, 0, 0), "falsely, missed, other; see above");
    }
}
