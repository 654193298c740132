//! The steps of a run in words, the newest first.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::repair::store::events::RunEvent;

/// One moment of a run.
pub(super) struct Moment {
    pub at: DateTime<Utc>,
    pub icon: &'static str,
    pub tone: &'static str,
    pub title: String,
    pub text: String,
}

/// Of the rounds only the newest is told: there may be dozens, each like the other.
pub(super) fn moments(events: &[RunEvent]) -> Vec<Moment> {
    let mut rounds = 0;
    let mut told = Vec::new();
    for event in events {
        if event.kind == "round" {
            rounds += 1;
            if rounds > 1 {
                continue;
            }
        }
        told.extend(moment(event));
    }
    told
}

fn moment(event: &RunEvent) -> Option<Moment> {
    let data = &event.data;
    let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| data[key].as_i64().unwrap_or_default();
    let (icon, tone, title, text) = match event.kind.as_str() {
        "started" => ("play", "", "Started".to_owned(), String::new()),
        "diagnosed" => {
            let causes = data["causes"].as_array().map_or(&[][..], Vec::as_slice);
            let names = causes.iter().filter_map(|cause| cause["title"].as_str()).take(3);
            let names: Vec<&str> = names.collect();
            let title = format!(
                "Diagnosed: {} of {}",
                count(causes.len(), "cause"),
                errors(number("groups"))
            );
            ("bot", "ai-t", title, names.join("; "))
        }
        "round" => {
            let title = format!("Checked {} times", number("round"));
            let text = format!("{} of {} judged", number("tested"), errors(number("total")));
            ("activity", "live-t", title, text)
        }
        "action" => return Some(action(event)),
        "verdict" => {
            let (icon, tone, word) = match data["status"].as_str() {
                Some("resolved") => ("shield-check", "ok-t", "Resolved"),
                Some("still_failing") => ("circle-x", "bad-t", "Still failing"),
                Some("awaiting_approval") => ("circle-pause", "warn-t", "Waiting for you"),
                _ => ("circle-help", "", "Skipped"),
            };
            (icon, tone, format!("{word}: {}", text("title")), text("why"))
        }
        "finished" => {
            let waits = data["status"] == "waiting";
            let title = if waits { "Waits for a decision" } else { "Finished" };
            let text = format!("{} of {} resolved", number("resolved"), errors(number("total")));
            (if waits { "circle-pause" } else { "list-checks" }, "", title.to_owned(), text)
        }
        _ => return None,
    };
    Some(Moment { at: event.at, icon, tone, title, text })
}

fn action(event: &RunEvent) -> Moment {
    let data = &event.data;
    let name = data["action"].as_str().unwrap_or_default();
    let argv: Vec<String> =
        data["argv"].as_array().into_iter().flatten().filter_map(word).collect();
    let (icon, tone, title) = match data["status"].as_str() {
        Some("proposed") if data["by"] == "model" => {
            ("circle-pause", "warn-t", format!("The model proposed {name}"))
        }
        Some("proposed") => ("circle-pause", "warn-t", format!("Proposed {name}")),
        Some("succeeded") => ("terminal", "", format!("Ran {name}, exit code 0")),
        Some("failed") => ("octagon-x", "bad-t", format!("{name} failed")),
        Some("timed_out") => ("hourglass", "bad-t", format!("{name} did not end in time")),
        _ => ("terminal", "", format!("{name} ended")),
    };
    let text = crate::dashboard::approvals::card::command(&argv);
    Moment { at: event.at, icon, tone, title, text }
}

fn word(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn errors(number: i64) -> String {
    if number == 1 { "1 error".to_owned() } else { format!("{number} errors") }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
