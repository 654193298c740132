//! The statements about contacts.

pub mod list;
mod row;
pub(super) mod write;

pub(super) use row::{ContactRow, json};
