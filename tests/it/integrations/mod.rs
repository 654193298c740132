//! Services of others, played by one program with all their quirks: connected through a browser
//! by the program that is shipped, used, renewed, disconnected.

mod connecting;
mod demo;
mod judging;
mod keeping;
mod notified;
mod returning;
mod secrets;
pub(crate) mod simulator;
mod tickets;
mod wire;
mod working;

use std::process::Command;

use crate::support::{repository, run};

/// A simulator that takes everything would prove nothing.
#[test]
fn the_simulator_refuses_what_providers_refuse() {
    let Some(python) = simulator::python() else { return };
    let mut command = Command::new(python);
    command.arg(repository("tests/providers/selftest.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    let said = run(&mut command);
    assert_eq!(said.code, Some(0), "{said:?}");
}
