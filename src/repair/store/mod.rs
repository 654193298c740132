//! All SQL of the feature but that of the actions.

pub mod attempts;
pub mod events;
pub mod forget;
pub mod recipes;
pub mod runs;
pub mod watches;
