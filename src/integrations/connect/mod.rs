//! Connecting and disconnecting: the way to a provider and back, what the provider gave sealed
//! into the database, and giving it back.

mod begin;
mod end;
mod finish;
mod refused;

pub use end::Disconnected;
pub use finish::Finished;
pub use refused::Refused;

use crate::{
    auth::{Caller, Who},
    error::{Error, Result},
    seal::Field,
};

fn verifier_field(state_hash: &str) -> Field<'_> {
    Field { table: "integration_attempt", column: "verifier_sealed", row: state_hash }
}

/// The account and session of whoever is at the browser: a token has nobody to consent.
fn person(caller: &Caller) -> Result<(i64, i64)> {
    match caller.who {
        Who::Person { account, session } => Ok((account, session)),
        Who::Token(_) => Err(Error::Denied(
            "a token cannot consent for a person; sign in with a browser and connect it there"
                .to_owned(),
        )),
    }
}
