//! What stands around every page: navigation, who is signed in, the pulse of the whole.

use chrono::{DateTime, Utc};

use super::{assets, live::Pulse, told::Told};
use crate::{auth::Role, db::Db};

/// The frame of a page. Templates extend `shell.html` and have it as `shell`.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    /// Of who looks.
    pub name: String,
    /// `None` where it is not known who looks.
    pub role: Option<Role>,
    /// The path of this page.
    pub here: String,
    /// Its query, without the question mark.
    pub query: String,
    /// The host that Lux runs on.
    pub host: String,
    /// "SQLite" or "PostgreSQL".
    pub database: &'static str,
    pub pulse: Pulse,
    /// What the last page did.
    pub told: Option<Told>,
    pub now: DateTime<Utc>,
}

/// One entry of the navigation.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub href: &'static str,
    pub name: &'static str,
    pub icon: &'static str,
    /// Which number of the pulse stands beside it.
    pub count: Option<&'static str>,
}

const fn entry(href: &'static str, name: &'static str, icon: &'static str) -> Entry {
    Entry { href, name, icon, count: None }
}

const fn counted(entry: Entry, count: &'static str) -> Entry {
    Entry { count: Some(count), ..entry }
}

/// The first group of the navigation; on a phone the first four and "More".
pub const RUN: &[Entry] = &[
    entry("/", "Home", "house"),
    entry("/chat", "Chat", "message-square"),
    counted(entry("/errors", "Errors", "bug"), "errors"),
    entry("/logs", "Logs", "scroll-text"),
    entry("/repairs", "Repairs", "wrench"),
    counted(entry("/approvals", "Approvals", "check-check"), "approvals"),
    counted(entry("/notifications", "Notifications", "bell"), "inbox"),
    entry("/health", "Health", "activity"),
];

/// What brings people in.
pub const GROW: &[Entry] = &[
    entry("/contacts", "Contacts", "users"),
    entry("/campaigns", "Campaigns", "megaphone"),
    entry("/customers", "Customers", "building-2"),
    entry("/interactions", "Interactions", "handshake"),
];

/// What a customer sees.
pub const OWN: &[Entry] = &[entry("/customers/me", "Your account", "user")];

/// What is set up once.
pub const SET_UP: &[Entry] =
    &[entry("/integrations", "Connections", "plug"), entry("/settings", "Settings", "settings")];

/// The database's name, as people write it.
pub fn database(db: &Db) -> &'static str {
    match db {
        Db::Pg(_) => "PostgreSQL",
        Db::Lite(..) => "SQLite",
    }
}

impl Shell {
    pub fn run(&self) -> &'static [Entry] {
        RUN
    }

    pub fn grow(&self) -> &'static [Entry] {
        GROW
    }

    pub fn own(&self) -> &'static [Entry] {
        OWN
    }

    pub fn set_up(&self) -> &'static [Entry] {
        SET_UP
    }

    /// Whether a navigation entry leads to where we are.
    pub fn is_here(&self, href: &str) -> bool {
        match href {
            "/" => self.here == "/",
            "/customers/me" => true,
            "/interactions" if self.here.starts_with("/conversations") => true,
            "/contacts" if self.here.starts_with("/segments") => true,
            _ => self
                .here
                .strip_prefix(href)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// The number beside a navigation entry; 0 shows none.
    pub fn count(&self, entry: &Entry) -> i64 {
        match entry.count {
            Some("errors") => self.pulse.errors,
            Some("approvals") => self.pulse.approvals,
            Some("inbox") => self.pulse.inbox,
            _ => 0,
        }
    }

    pub fn may_read(&self) -> bool {
        self.role.is_some_and(Role::may_read)
    }

    pub fn may_operate(&self) -> bool {
        self.role.is_some_and(Role::may_operate)
    }

    pub fn may_administer(&self) -> bool {
        self.role.is_some_and(Role::may_administer)
    }

    pub fn is_known(&self) -> bool {
        self.role.is_some()
    }

    /// At most two letters for the round sign of who looks.
    pub fn initials(&self) -> String {
        let words = self.name.split_whitespace().filter_map(|word| word.chars().next());
        words.filter(|it| it.is_alphanumeric()).take(2).flat_map(char::to_uppercase).collect()
    }

    pub fn role_name(&self) -> &'static str {
        self.role.map_or("", Role::as_str)
    }

    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Where a file of `assets` is.
    pub fn asset(&self, path: &str) -> String {
        assets::url(path)
    }
}

#[cfg(test)]
mod tests {
    use super::Shell;

    #[test]
    fn the_navigation_knows_where_we_are() {
        let shell = Shell { here: "/errors/12".to_owned(), ..Shell::default() };
        assert!(shell.is_here("/errors") && !shell.is_here("/") && !shell.is_here("/err"));
    }

    #[test]
    fn initials_are_letters() {
        let of = |name: &str| Shell { name: name.to_owned(), ..Shell::default() }.initials();
        assert_eq!(of("mara öztürk the third"), "MÖ");
        assert_eq!(of("<script>"), "");
    }
}
