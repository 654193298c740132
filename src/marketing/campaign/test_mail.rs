//! The one place where a test mail is handed to the door for mail.

use super::render::Letter;
use crate::{
    app::App,
    error::{Error, Result},
    mail::{self, Trouble},
};

/// Hands a letter over.
pub(super) async fn send(app: &App, letter: &Letter) -> Result<()> {
    let letter = mail::Letter {
        to: letter.to.clone(),
        to_name: letter.name.clone(),
        subject: letter.subject.clone(),
        text: letter.text.clone(),
        html: Some(letter.html.clone()),
        bulk: None,
    };
    match app.mail.send(&letter).await {
        Ok(_) => Ok(()),
        Err(Trouble::NotSetUp) => Err(Error::Conflict(
            "no mail server is set up, so nothing was sent; name one in [mail] of lux.toml"
                .to_owned(),
        )),
        Err(trouble) if trouble.is_temporary() => Err(Error::Unavailable(trouble.to_string())),
        Err(trouble) => Err(Error::Conflict(trouble.to_string())),
    }
}
