//! Which group an event belongs to, beyond its fingerprint.

pub mod split;
pub mod version;
