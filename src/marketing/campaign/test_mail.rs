//! The one place where a test mail is handed to the door for mail.

use super::render::Letter;
use crate::{
    app::App,
    error::{Error, Result},
};

/// Hands a letter over.
#[expect(clippy::unused_async, reason = "handing over waits for the mail server")]
pub(super) async fn send(_: &App, _: &Letter) -> Result<()> {
    Err(Error::Conflict(
        "no mail server is set up, so nothing was sent; name one in [mail] of lux.toml".to_owned(),
    ))
}
