//! What varies in a line is masked, so that equal sayings are counted together.

mod drift;
mod mask;
mod miner;

pub use drift::{Bucket, Drift};
pub use mask::{mask, path};
pub use miner::{Miner, Template};
