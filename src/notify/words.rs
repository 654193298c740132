//! The words of messages. What strangers wrote is shortened to one line here, without secrets;
//! Slack's door makes it harmless for Slack.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    event::{Event, Topic},
    store::{
        deliveries::State,
        rest::{self, Group},
        windows::Held,
    },
};
use crate::{
    app::App,
    auth::{OrganizationId, oidc},
    db::{Result, Tx},
    error,
    errors::store::storms::Storm,
    integrations::outbox::repair_notice,
    llm, redact,
};

/// Lines of a summary.
const NAMED: usize = 20;

/// A message: what is told, and the page of Lux that tells more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) path: String,
}

/// A page of Lux, if it knows its own address.
pub(super) fn page(app: &App, path: &str) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    oidc::address(&app.config).map(|address| format!("{address}{path}"))
}

/// A text of somebody else within a sentence.
pub(super) fn short(text: &str, most: usize) -> String {
    let text: String = text.chars().take(4000).collect();
    let text = llm::visible(&redact::secrets(&text));
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut cut: String = line.chars().take(most).collect();
    if line.chars().nth(most).is_some() {
        cut.push('…');
    }
    cut
}

fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn within(app: &str) -> String {
    if app.is_empty() { String::new() } else { format!(" in {}", short(app, 60)) }
}

fn counted(count: i64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Of an event, as it stands; `None` if there is nothing to tell of it.
pub(super) async fn of(app: &App, tx: &mut Tx, event: &Event) -> error::Result<Option<Words>> {
    let path = event.kind.path(event.subject_id);
    Ok(match (event.kind, event.subject_id) {
        (Topic::ErrorOpened | Topic::ErrorRegressed, Some(id)) => {
            let group = rest::group(tx, id).await?.filter(|group| group.merged_into.is_none());
            group.map(|group| error(event, &group, path))
        }
        (Topic::RepairFinished, Some(id)) => {
            let organization = OrganizationId(event.organization_id);
            repair_notice(app, organization, id).await?.map(|notice| Words {
                title: short(&notice.title, 140),
                body: notice
                    .text
                    .lines()
                    .map(|line| short(line, 300))
                    .collect::<Vec<_>>()
                    .join("\n"),
                path,
            })
        }
        (Topic::RepairApproval, Some(id)) => rest::action(tx, id).await?.map(|action| {
            let name = action.title.as_deref().unwrap_or(&action.action);
            Words {
                title: format!("An action waits for approval: {}", short(name, 100)),
                body: format!(
                    "Action: {}\nIt is for: {}\nRisk: {}\nIt can be approved until {}.",
                    short(&action.action, 100),
                    short(&action.cause, 100),
                    action.risk,
                    minute(action.expires_at)
                ),
                path,
            }
        }),
        (Topic::ConversationWaiting, Some(id)) => {
            rest::waiting(tx, id).await?.map(|waiting| Words {
                title: format!("A customer waits for a person: {}", short(&waiting.subject, 100)),
                body: format!(
                    "Customer: {}\nWaits since {}.",
                    short(&waiting.name, 100),
                    minute(event.at)
                ),
                path,
            })
        }
        (Topic::ErrorStorm, _) => None,
        _ => Some(Words {
            title: match event.title.as_str() {
                "" => event.kind.label().to_owned(),
                title => short(title, 140),
            },
            body: format!(
                "{}Since {}.",
                match event.detail.as_str() {
                    "" => String::new(),
                    detail => format!("{}\n", short(detail, 600)),
                },
                minute(event.at)
            ),
            path,
        }),
    })
}

fn error(event: &Event, group: &Group, path: String) -> Words {
    let what = short(&group.title, 200);
    let begin = match event.kind {
        Topic::ErrorRegressed => "Back again",
        _ => "New error",
    };
    let title = format!("{begin}{}: {}", within(&event.app), short(&group.title, 100));
    let mut body = what;
    let endpoint = match (&group.method, &group.endpoint) {
        (Some(method), Some(endpoint)) => format!("{method} {endpoint}"),
        (None, Some(endpoint)) => endpoint.clone(),
        _ => String::new(),
    };
    let places = [endpoint, group.culprit.clone().unwrap_or_default()];
    let mut places: Vec<String> =
        places.iter().filter(|it| !it.is_empty()).map(|it| short(it, 150)).collect();
    // Where no code is known, the culprit is the endpoint.
    places.dedup();
    if !places.is_empty() {
        let _ = write!(body, "\nWhere: {}", places.join(", "));
    }
    if !event.app.is_empty() {
        let _ = write!(body, "\nApplication: {}", short(&event.app, 60));
    }
    let _ = write!(body, "\nHow many: {}", counted(group.count, "event"));
    if group.users > 0 {
        let _ = write!(body, ", {}", counted(group.users, "user"));
    }
    if event.kind == Topic::ErrorRegressed {
        let _ = write!(body, "; it came back {}", counted(group.regressions.max(1), "time"));
    }
    let _ = write!(body, "\nSince: {}\nSeverity: {}", minute(group.first_seen), event.severity);
    Words { title, body, path }
}

/// Of many errors at once.
pub(super) async fn burst(tx: &mut Tx, events: &[&Event], grace: TimeDelta) -> Result<Words> {
    let mut apps: Vec<&str> = events.iter().map(|event| event.app.as_str()).collect();
    apps.sort_unstable();
    apps.dedup();
    let place = if let [app] = apps.as_slice() { within(app) } else { String::new() };
    let back = events.iter().filter(|event| event.kind == Topic::ErrorRegressed).count();
    let title = format!("{} errors at once{place}", events.len());
    let mut body = format!(
        "{} new, {back} that were resolved before, within {} s or so:",
        events.len() - back,
        grace.num_seconds().max(1)
    );
    for event in events.iter().take(NAMED) {
        let group = match event.subject_id {
            Some(id) => rest::group(tx, id).await?,
            None => None,
        };
        if let Some(group) = group {
            let app = if place.is_empty() { within(&event.app) } else { String::new() };
            let _ = write!(body, "\n- {}{app}", short(&group.title, 140));
        }
    }
    if events.len() > NAMED {
        let _ = write!(body, "\n… and {} more", events.len() - NAMED);
    }
    if let Some(first) = events.iter().map(|event| event.at).min() {
        let _ = write!(body, "\nSince: {}", minute(first));
    }
    Ok(Words { title, body, path: "/errors".to_owned() })
}

/// Of a storm, as it stands; `folded` errors were told by nothing else.
pub(super) fn storm(storm: &Storm, folded: i64, now: DateTime<Utc>, goes_on: bool) -> Words {
    let what = storm.title.as_deref().map_or_else(|| "many errors".to_owned(), |it| short(it, 200));
    let place = within(&storm.app);
    let until = storm.ended_at.unwrap_or(now);
    let minutes = ((until - storm.started_at).num_seconds() / 60).max(1);
    let rate = storm.count / minutes;
    let (title, first) = match storm.ended_at {
        Some(at) => (
            format!("The storm of errors{place} is over"),
            format!("It ended at {}: {} events in all", minute(at), storm.count),
        ),
        None if goes_on => (
            format!("The storm of errors{place} goes on: still {rate} a minute"),
            format!("{} events so far", storm.count),
        ),
        None => (format!("Storm of errors{place}"), format!("{} events so far", storm.count)),
    };
    let mut body = format!(
        "{what}\n{first}, {rate} a minute on average and {} at most; {} a minute are usual.\n\
         Since: {}",
        storm.peak,
        storm.usual,
        minute(storm.started_at)
    );
    if folded > 0 {
        let _ = write!(body, "\n{} belong to it.", counted(folded, "error that came meanwhile"));
    }
    let path = storm.group_id.map_or("/errors".to_owned(), |id| format!("/errors/{id}"));
    Words { title, body, path }
}

/// Of what was held, or a digest.
pub(super) fn summary(held: &[Held], count: i64, name: &str) -> Words {
    let title = if held.iter().any(|one| one.in_window) {
        format!("{} during maintenance", counted(count, "notification"))
    } else if held.iter().any(|one| one.state == State::Digested) {
        format!("Digest: {}", counted(count, "notification"))
    } else {
        format!("{} in quiet hours", counted(count, "notification"))
    };
    let mut body = format!("What the channel \"{}\" was not told at once:", short(name, 80));
    for one in held.iter().take(NAMED) {
        let _ = write!(
            body,
            "\n- {} ({}): {}",
            minute(one.created_at),
            one.severity,
            short(&one.title, 140)
        );
    }
    let named = i64::try_from(held.len().min(NAMED)).unwrap_or_default();
    if count > named {
        let _ = write!(body, "\n… and {} more", count - named);
    }
    Words { title, body, path: "/settings/notifications".to_owned() }
}

/// Of what nobody reacted to.
pub(super) fn escalation(event: &Event, now: DateTime<Utc>, phone: Option<&str>) -> Words {
    let minutes = (now - event.told_at.unwrap_or(event.at)).num_minutes().max(1);
    let mut body = event.detail.clone();
    let _ = write!(
        body,
        "\nIt was told {} ago. Nobody acknowledged it, changed the error or started a repair.",
        counted(minutes, "minute")
    );
    if let Some(phone) = phone {
        let _ =
            write!(body, "\nTo call somebody: {phone} (Lux itself sends no SMS and calls nobody)");
    }
    let title = format!("Nobody reacted: {}", short(&event.title, 120));
    Words { title, body, path: format!("/notifications/events/{}", event.id) }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn texts_of_others_are_one_short_line() {
        assert_eq!(short("a\r\nb\u{202e}\tc", 10), "a b c");
        assert_eq!(short(&"x".repeat(20), 5), "xxxxx…");
        assert!(!short("token=sk-abcdefghijklmnopqrstuvwxyz123456", 200).contains("sk-abcdef"));
    }
}
