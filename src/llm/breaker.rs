//! A server that failed several times in a row is left alone for a while; then one call may
//! try it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Trouble;
use crate::clock;

/// So many failures in a row open the circuit.
const FAILURES: u32 = 5;

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    /// A call is trying whether the server is back.
    probing: bool,
    last: String,
}

#[derive(Debug)]
pub(super) struct Breaker {
    pause: Duration,
    state: Mutex<State>,
}

/// Leave to call; to be told how it went. One that is dropped says nothing about the server.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Breaker {
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, state: Mutex::default() }
    }

    pub(super) fn enter(&self) -> Result<Pass<'_>, Trouble> {
        let mut state = self.state();
        let Some(until) = state.open_until else {
            return Ok(Pass { breaker: self, probe: false });
        };
        let wait = until.saturating_duration_since(clock::instant());
        if wait.is_zero() && !state.probing {
            state.probing = true;
            return Ok(Pass { breaker: self, probe: true });
        }
        Err(Trouble::CircuitOpen {
            wait: wait.max(Duration::from_secs(1)),
            last: state.last.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The server is alive, whatever it said.
    pub(super) fn answered(&self) {
        let mut state = self.breaker.state();
        *state = State { probing: state.probing && !self.probe, ..State::default() };
    }

    pub(super) fn failed(&self, trouble: &Trouble) {
        let mut state = self.breaker.state();
        state.failures += 1;
        state.last = trouble.to_string();
        if self.probe || state.failures >= FAILURES {
            state.open_until = clock::instant().checked_add(self.breaker.pause);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.state().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Breaker, FAILURES};
    use crate::llm::Trouble;

    fn dead() -> Trouble {
        Trouble::Unreachable { host: "h".to_owned(), why: "refused".to_owned() }
    }

    #[test]
    fn it_opens_after_failures_in_a_row() {
        let breaker = Breaker::new(Duration::from_hours(1));
        for _ in 1..FAILURES {
            breaker.enter().unwrap().failed(&dead());
        }
        breaker.enter().unwrap().answered();
        for _ in 0..FAILURES {
            breaker.enter().unwrap().failed(&dead());
        }
        let refused = breaker.enter().unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
    }

    #[test]
    fn one_call_tries_whether_it_is_back() {
        let breaker = Breaker::new(Duration::ZERO);
        for _ in 0..FAILURES {
            breaker.enter().unwrap().failed(&dead());
        }
        let probe = breaker.enter().unwrap();
        assert!(breaker.enter().is_err(), "a second one while the first is trying");
        drop(probe);
        let probe = breaker.enter().unwrap();
        probe.failed(&dead());
        drop(probe);
        let probe = breaker.enter().unwrap();
        probe.answered();
        drop(probe);
        assert!(breaker.enter().is_ok() && breaker.enter().is_ok());
    }
}
