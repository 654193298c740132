//! How much was said in each minute, as a chart whose bars lead there, and as a table.

use std::fmt::Write;

use askama::filters::Safe;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::view::{View, exact};
use crate::logs::Minute;

/// Minutes that are shown.
pub(super) const MINUTES: usize = 60;

/// See the module's first line.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) minutes: Vec<Minute>,
    /// Of all minutes.
    pub(super) records: i64,
    pub(super) errors: i64,
    view: View,
}

impl Volume {
    /// The first minute of the hour that is shown: the last one, or the one around a time.
    pub(super) fn from(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
        let minute = |at: DateTime<Utc>| at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at);
        let last = minute(now) - TimeDelta::minutes(59);
        match at {
            Some(at) if at < last || at > now => minute(at) - TimeDelta::minutes(30),
            _ => last,
        }
    }

    pub(super) fn new(view: &View, minutes: Vec<Minute>) -> Self {
        let records = minutes.iter().map(|minute| minute.records).sum();
        let errors = minutes.iter().map(|minute| minute.errors).sum();
        Self { minutes, records, errors, view: view.live() }
    }

    /// Where a minute's records are.
    pub(super) fn link(&self, minute: &Minute) -> String {
        View { at: Some(minute.from), ..self.view.clone() }.url()
    }

    /// Those with something in them, the newest first, for the table.
    pub(super) fn told(&self) -> impl Iterator<Item = &Minute> {
        self.minutes.iter().rev().filter(|minute| minute.records > 0)
    }

    /// Bars, errors stacked at their feet. For a pointer; the table is for everybody.
    #[expect(clippy::cast_precision_loss, reason = "pixels need no more")]
    pub(super) fn svg(&self) -> Safe<String> {
        const HEIGHT: f64 = 34.0;
        let most = self.minutes.iter().map(|minute| minute.records).max().unwrap_or(0).max(1);
        let tall = |count: i64| match count {
            0 => 0.0,
            // A lone error among thousands is what one looks for.
            count => (count as f64 / most as f64 * HEIGHT).max(2.0),
        };
        let mut text = format!(
            "<svg class=\"hist\" viewBox=\"0 0 {} 34\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
            self.minutes.len() * 10
        );
        for (index, minute) in self.minutes.iter().enumerate() {
            let left = index * 10;
            let (all, bad) = (tall(minute.records), tall(minute.errors));
            let mut bar = |class: &str, tall: f64| {
                let top = HEIGHT - tall;
                let _ = write!(
                    text,
                    "<rect class=\"{class}\" x=\"{left}\" y=\"{top:.1}\" width=\"8.8\" height=\"{tall:.1}\"/>"
                );
            };
            if minute.records == 0 {
                bar("none", 1.0);
                continue;
            }
            bar("all", all);
            bar("bad", bad);
            let link = self.link(minute).replace('&', "&amp;").replace('"', "&quot;");
            let (from, records, errors) = (exact(minute.from), minute.records, minute.errors);
            let _ = write!(
                text,
                "<a href=\"{link}\" tabindex=\"-1\"><rect class=\"pick\" x=\"{left}\" y=\"0\" width=\"10\" height=\"34\"/>\
                 <title data-minute=\"{from}\">{}: {records} lines, {errors} errors</title></a>",
                minute.from.format("%H:%M UTC"),
            );
        }
        text.push_str("</svg>");
        Safe(text)
    }
}
