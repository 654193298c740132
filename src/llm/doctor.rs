//! Trying the model's server before it is needed.

use super::Trouble;
use crate::{config::Config, outbound::Outbound};

/// What a try found, in one line.
pub type Checked = std::result::Result<String, Trouble>;

/// Asks the server for its list of models, and where that does not say it, for one token.
pub async fn check(_outbound: &Outbound, _config: &Config) -> Checked {
    Err(Trouble::NoKey)
}
