//! Whoever wants to know of each record, and must not miss one because of a crash.

use std::fmt::Debug;

use futures_util::future::BoxFuture;

use super::record::Record;
use crate::error::Result;

/// A record that has just become complete.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// Index of its source in the configuration.
    pub source: usize,
    pub name: &'a str,
    /// The file, where the source has files.
    pub file: Option<&'a str>,
    /// First half of its id; the other is its line.
    pub tag: i64,
    /// It stood in its file before the source was looked at for the first time: what
    /// tells no time there can be of any age.
    pub history: bool,
    pub record: &'a Record<'a>,
}

impl Heard<'_> {
    /// The id by which [`super::Live::around`] finds it.
    pub fn id(&self) -> String {
        format!("{:x}-{}", self.tag, self.record.line)
    }
}

/// Is told of each record once in the life of its log, in the order in which they become
/// complete; after a crash of some of the last ones once more, with the same id.
pub trait Listener: Debug + Send + Sync {
    /// Called by those who read, while the others wait: it must be quick.
    fn hear(&self, heard: &Heard<'_>);

    /// Puts away what was heard so far. Positions in the logs are kept only after that;
    /// an error is told by the next call, which tries again.
    fn keep(&self) -> BoxFuture<'_, Result<()>>;
}
