//! Repair: what is done about an error once its cause is known.

pub mod action;
