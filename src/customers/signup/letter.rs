//! The letter that follows on a sign-up.

use secrecy::{ExposeSecret, SecretString};

use crate::{
    app::App,
    auth::{link, signup::Addressee},
    mail::Letter,
};

/// Writes the letter. Nothing stands in it that came with the sign-up: anybody can give anybody's
/// address, and any name.
pub(super) fn write(app: &App, to: &str, addressee: &Addressee, token: &SecretString) -> Letter {
    let address = link::address(&app.config);
    let name = app.mail.config().from_name.trim();
    let from = if name.is_empty() { "Lux" } else { name };
    let verify = format!("{address}/auth/verify/{}", token.expose_secret());
    let once = "The link works once and within 24 hours. If you did not ask for it, nothing \
                happens unless you follow it.";
    let (subject, text) = match addressee {
        Addressee::Nobody => (
            format!("Confirm your address for {from}"),
            format!(
                "Hello,\n\nsomebody, we hope it was you, asked for an account with this address at \
                 {from}.\nFollow this link to confirm the address and sign in:\n\n{verify}\n\n{once}\n"
            ),
        ),
        Addressee::Customer(_) => (
            format!("Sign in to {from}"),
            format!(
                "Hello,\n\nsomebody, we hope it was you, asked to sign up at {from} with this \
                 address.\nIt has an account already; this link signs you in:\n\n{verify}\n\n{once}\n"
            ),
        ),
        Addressee::Other => (
            format!("Your account at {from}"),
            format!(
                "Hello,\n\nsomebody, we hope it was you, asked to sign up at {from} with this \
                 address.\nIt has an account already, which no letter signs in. Sign in at\n\n\
                 {address}/auth/sign-in\n\nor ask an administrator of it for a link. If you did \
                 not ask for this, there is nothing to do.\n"
            ),
        ),
    };
    Letter { to: to.to_owned(), subject, text, ..Letter::default() }
}
