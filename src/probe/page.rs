//! Reading a body for signs of failure.

use aws_lc_rs::digest;

/// Whether nothing is in it.
pub(super) fn is_empty(text: &str) -> bool {
    matches!(text.trim(), "" | "null" | "{}")
}

/// Hash of a body without what varies.
pub(super) fn hash(text: &str) -> String {
    super::hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref(), 16)
}

pub(super) fn failure(_: &str, _: &str) -> Option<String> {
    None
}

pub(super) fn tells_of(_: &str, _: &str, _: &str) -> Option<String> {
    None
}

pub(super) fn is_login(_: &str) -> bool {
    false
}

pub(super) fn is_error(_: &str) -> bool {
    false
}

pub(super) fn asks_for_password(_: &str) -> bool {
    false
}
