//! What can be connected. Google's three are one provider: each asks for its own scopes, and all
//! rest on one consent.

use super::{
    Provider, asana::ASANA, atlassian::ATLASSIAN, dropbox::DROPBOX, github::GITHUB, google::GOOGLE,
    highlevel::HIGHLEVEL, monday::MONDAY, slack::SLACK,
};

/// One card.
pub struct Kind {
    /// In addresses and rows: "google_calendar".
    pub key: &'static str,
    /// In answers: "googleCalendar".
    pub answer_key: &'static str,
    pub label: &'static str,
    pub provider: &'static Provider,
    /// Besides the provider's own: the least that does the work.
    pub scopes: &'static [&'static str],
    /// What it is good for, as a sentence for people.
    pub purpose: &'static str,
    /// What it can do for the organization.
    pub duties: &'static [Duty],
}

/// What a connection can do for an organization.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Duty {
    Tickets,
    Messages,
    Reports,
    Meetings,
    Calls,
}

impl Duty {
    pub const ALL: [Self; 5] =
        [Self::Tickets, Self::Messages, Self::Reports, Self::Meetings, Self::Calls];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tickets => "tickets",
            Self::Messages => "messages",
            Self::Reports => "reports",
            Self::Meetings => "meetings",
            Self::Calls => "calls",
        }
    }

    /// What says where, and whether it has to be said.
    pub const fn place(self) -> Option<(&'static str, bool)> {
        match self {
            Self::Tickets => Some(("project", true)),
            Self::Messages => Some(("channel", true)),
            Self::Reports => Some(("folder", false)),
            Self::Meetings => Some(("calendar", false)),
            Self::Calls => None,
        }
    }
}

/// In the order in which they are shown.
pub static KINDS: [Kind; 10] = [
    Kind {
        key: "github",
        answer_key: "github",
        label: "GitHub",
        provider: &GITHUB,
        scopes: &["repo"],
        purpose: "Opens an issue for an error that stays, comments it and closes it with the evidence.",
        duties: &[Duty::Tickets],
    },
    Kind {
        key: "slack",
        answer_key: "slack",
        label: "Slack",
        provider: &SLACK,
        scopes: &["chat:write", "chat:write.public", "channels:read"],
        purpose: "Tells a channel of storms and of repairs.",
        duties: &[Duty::Messages],
    },
    Kind {
        key: "google_calendar",
        answer_key: "googleCalendar",
        label: "Google Calendar",
        provider: &GOOGLE,
        scopes: &["https://www.googleapis.com/auth/calendar.events"],
        purpose: "Puts meetings with a link into the calendar.",
        duties: &[Duty::Meetings],
    },
    Kind {
        key: "google_meet",
        answer_key: "googleMeet",
        label: "Google Meet",
        provider: &GOOGLE,
        scopes: &["https://www.googleapis.com/auth/meetings.space.created"],
        purpose: "Opens a room at once, without an entry in a calendar.",
        duties: &[Duty::Meetings],
    },
    Kind {
        key: "google_drive",
        answer_key: "googleDrive",
        label: "Google Drive",
        provider: &GOOGLE,
        scopes: &["https://www.googleapis.com/auth/drive.file"],
        purpose: "Keeps the weekly reports. Lux sees only files that it made.",
        duties: &[Duty::Reports],
    },
    Kind {
        key: "dropbox",
        answer_key: "dropbox",
        label: "Dropbox",
        provider: &DROPBOX,
        scopes: &["files.content.write"],
        purpose: "Keeps the weekly reports.",
        duties: &[Duty::Reports],
    },
    Kind {
        key: "asana",
        answer_key: "asana",
        label: "Asana",
        provider: &ASANA,
        scopes: &["tasks:read", "tasks:write", "projects:read", "workspaces:read"],
        purpose: "Opens a task for an error that stays, comments it and completes it.",
        duties: &[Duty::Tickets],
    },
    Kind {
        key: "jira",
        answer_key: "jira",
        label: "Jira",
        provider: &ATLASSIAN,
        scopes: &["read:jira-work", "write:jira-work"],
        purpose: "Opens an issue for an error that stays, comments it and moves it to done.",
        duties: &[Duty::Tickets],
    },
    Kind {
        key: "monday",
        answer_key: "monday",
        label: "monday.com",
        provider: &MONDAY,
        scopes: &["boards:read", "boards:write", "updates:write"],
        purpose: "Adds an item to a board for an error that stays, and updates it.",
        duties: &[Duty::Tickets],
    },
    Kind {
        key: "highlevel",
        answer_key: "highlevel",
        label: "HighLevel",
        provider: &HIGHLEVEL,
        scopes: &["voice-ai-dashboard.readonly", "contacts.readonly", "contacts.write"],
        purpose: "Brings the call logs here, and takes contacts there.",
        duties: &[Duty::Calls],
    },
];

impl Kind {
    pub fn find(key: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.key == key)
    }

    /// Every scope that it needs: the provider's own first.
    pub fn needed(&self) -> impl Iterator<Item = &'static str> {
        self.provider.base_scopes.iter().chain(self.scopes).copied()
    }

    /// What it needs and was not granted. Where a provider says nothing of scopes (a GitHub App),
    /// nothing is missed.
    pub fn missing(&self, granted: &str) -> Vec<&'static str> {
        if granted.is_empty() {
            return Vec::new();
        }
        let granted: Vec<&str> = granted.split(' ').collect();
        // Granted under a wider name, or only asked for to be given a refresh token.
        let is_granted = |scope: &&'static str| {
            granted.contains(scope)
                || match *scope {
                    "offline_access" | "openid" => true,
                    "email" => granted.iter().any(|it| it.ends_with("/auth/userinfo.email")),
                    "profile" => granted.iter().any(|it| it.ends_with("/auth/userinfo.profile")),
                    "read:user" | "user:email" => granted.contains(&"user"),
                    _ => false,
                }
        };
        self.needed().filter(|scope| !is_granted(scope)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Kind};

    #[test]
    fn names_stand_for_one_each() {
        for name in [|kind: &Kind| kind.key, |kind: &Kind| kind.answer_key] {
            let mut names: Vec<&str> = KINDS.iter().map(name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), KINDS.len());
        }
    }

    #[test]
    fn what_was_not_granted_is_missing() {
        let calendar = Kind::find("google_calendar").unwrap();
        let granted = "openid https://www.googleapis.com/auth/userinfo.email \
                       https://www.googleapis.com/auth/userinfo.profile";
        assert_eq!(calendar.missing(granted), calendar.scopes);
        assert_eq!(calendar.missing(""), [""; 0]);
        let all: Vec<&str> = calendar.needed().collect();
        assert_eq!(calendar.missing(&all.join(" ")), [""; 0]);
        assert_eq!(Kind::find("github").unwrap().missing("repo user"), [""; 0]);
    }
}
