//! All SQL of notifications.

pub mod channels;
pub mod deliveries;
pub mod escalations;
pub mod events;
pub mod inbox;
pub mod rest;
pub mod windows;

pub use channels::standing;
