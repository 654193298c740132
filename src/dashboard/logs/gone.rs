//! What to do about a line that has left the memory: the file may still have it.

use chrono::TimeDelta;

use super::view::View;
use crate::config::{Place, Source};

/// Lines shown on each side.
const SIDE: u64 = 20;

/// See the module's first line.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) host: String,
    /// What shows it, or what stood around it, in a shell of the host.
    pub(super) command: Option<String>,
    /// The file may have been rotated since.
    pub(super) is_file: bool,
}

impl Gone {
    pub(super) fn new(sources: &[Source], view: &View, host: String) -> Self {
        let source = match view.sources.as_slice() {
            [name] => sources.iter().find(|source| source.name == *name),
            _ => None,
        };
        let line = view.record.as_deref().and_then(|id| id.rsplit_once('-'));
        let line = line.and_then(|(_, line)| line.parse::<u64>().ok());
        let command = source.and_then(|source| match &source.place {
            Place::Path(path) => line.map(|line| {
                let (from, to) = (line.saturating_sub(SIDE).max(1), line.saturating_add(SIDE));
                format!("sed -sn '{from},{to}p' {}", quoted(path))
            }),
            Place::Unit(unit) => journal(
                view,
                &match unit.as_str() {
                    "*" => String::new(),
                    unit => format!(" --unit {}", quoted(unit)),
                },
            ),
            Place::Directory(folder) => {
                journal(view, &format!(" --directory {}", quoted(&folder.display().to_string())))
            }
        });
        let is_file = source.is_some_and(|source| matches!(source.place, Place::Path(_)));
        Self { host, command, is_file }
    }
}

fn journal(view: &View, place: &str) -> Option<String> {
    let at = view.at?;
    let shown = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    let (from, to) = (at - TimeDelta::seconds(10), at + TimeDelta::seconds(10));
    Some(format!("journalctl{place} --since '{}' --until '{}'", shown(from), shown(to)))
}

/// A path or pattern for a shell: its stars go on meaning what they mean.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-*?[]@:".contains(c);
    path.chars().fold(String::new(), |mut text, c| {
        if !plain(c) {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Gone, quoted};
    use crate::{
        config::{Place, Source, SourceKind},
        dashboard::logs::view::View,
    };

    fn command(place: Place) -> Option<String> {
        let source = Source {
            name: "app".to_owned(),
            app: None,
            kind: SourceKind::Auto,
            place,
            timezone: None,
            capture: false,
        };
        let view = View::read("source=app&record=ab12-507&at=2026-11-20T14:30:00Z").unwrap();
        Gone::new(&[source], &view, String::new()).command
    }

    #[test]
    fn the_host_still_has_it() {
        assert_eq!(
            command(Place::Path("/var/log/*.log".to_owned())).unwrap(),
            "sed -sn '487,527p' /var/log/*.log"
        );
        assert_eq!(
            command(Place::Unit("shop.service".to_owned())).unwrap(),
            "journalctl --unit shop.service --since '2026-11-20 14:29:50 UTC' --until '2026-11-20 14:30:10 UTC'"
        );
        assert_eq!(quoted("/my logs/$(x);*.log"), "/my\\ logs/\\$\\(x\\)\\;*.log");
    }
}
