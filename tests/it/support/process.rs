//! Programs that a test starts and ends.

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::until;

/// A program with all its children, which end with it.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let started = command.process_group(0).stdin(Stdio::null()).spawn();
        Self(started.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) {
        until("the program ends", async || self.0.try_wait().unwrap()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// A port for a program that cannot be told to let the system choose.
///
/// A connection that its server ended keeps the port in TIME-WAIT for a minute: so long the
/// system gives it to nobody who asks for any port, and to a program that names it (with
/// SO_REUSEADDR, as servers do) at once.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    drop(listener.accept().unwrap());
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    address.port()
}

pub(crate) async fn listens(port: u16) {
    until(&format!("port {port} is open"), async || TcpStream::connect(("127.0.0.1", port)).ok())
        .await;
}
