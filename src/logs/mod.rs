//! Reading logs: sources, lines, records, templates, and the window of what was
//! said lately.

mod checkpoint;
mod feed;
pub mod follow;
pub mod format;
pub mod input;
pub mod join;
mod journald;
mod ledger;
mod listen;
pub mod live;
pub mod record;
pub mod scan;
pub mod search;
mod status;
mod tail;
pub mod template;
mod templates;
pub mod time;
mod volume;
mod window;

pub use follow::{Followed, Follower, Mark};
pub use format::Parser;
pub use join::Joiner;
pub use listen::{Heard, Listener};
pub use live::{Live, Programs, Selection, host_name};
pub use record::{
    Access, Event, Fields, Journal, Jump, Kind, Logger, NginxError, NginxLine, Record, Severity,
};
pub use search::{Entry, Page, Pattern, Position, Query};
pub use status::{SourceState, SourceStatus};
pub use templates::Template;
pub use volume::Minute;
