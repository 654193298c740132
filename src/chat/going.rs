//! Answers under way. An answer is made by a task of its own and told step by step to
//! whoever listens: a listener may leave and come back, or ask it to stop.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::trail::{self, Looked};
use crate::{
    clock,
    error::{Error, Result},
};

/// Steps of one answer that are remembered; text beyond that comes with the end.
const MOST_STEPS: usize = 20_000;

/// How long an answer that has ended can still be followed.
const KEPT: Duration = Duration::from_mins(1);

/// One step of an answer, as it is told.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub name: &'static str,
    pub data: Value,
}

/// An answer under way.
pub(super) struct Going {
    pub session: i64,
    /// Cancelled when the operator has heard enough.
    pub stop: CancellationToken,
    steps: Mutex<Vec<Arc<Step>>>,
    /// How many steps there are, and whether it has ended.
    state: watch::Sender<(usize, bool)>,
}

impl Going {
    pub(super) fn tell(&self, name: &'static str, data: Value) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() >= MOST_STEPS && name == "delta" {
            return;
        }
        steps.push(Arc::new(Step { name, data }));
        let count = steps.len();
        drop(steps);
        self.state.send_modify(|(steps, _)| *steps = count);
    }

    /// Its steps from number `after` on (the first has number 1), as they come, to its end.
    pub(super) fn follow(
        self: Arc<Self>,
        after: usize,
    ) -> impl Stream<Item = (usize, Arc<Step>)> + Send {
        let changes = self.state.subscribe();
        stream::unfold((self, changes, after), |(going, mut changes, told)| async move {
            loop {
                let (count, ended) = *changes.borrow_and_update();
                if told < count {
                    let steps = going.steps.lock().unwrap_or_else(PoisonError::into_inner);
                    let step = steps.get(told).cloned();
                    drop(steps);
                    return step.map(|step| ((told + 1, step), (going, changes, told + 1)));
                }
                if ended || changes.changed().await.is_err() {
                    return None;
                }
            }
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.borrow().1
    }

    pub(super) fn changes(&self) -> watch::Receiver<(usize, bool)> {
        self.state.subscribe()
    }

    /// The steps after the first `told` ones.
    pub(super) fn since(&self, told: usize) -> Vec<Arc<Step>> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.get(told..).unwrap_or_default().to_vec()
    }

    /// What was looked at so far.
    pub(super) fn trail(&self) -> Vec<Looked> {
        let mut trail = Vec::new();
        for step in self.since(0) {
            trail::follow(&mut trail, &step);
        }
        trail
    }

    /// Does work of Lux's own as a step that is told, as tools are; `found` says in one line
    /// what came of it, and in which sources.
    pub(super) async fn looking<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
        found: impl FnOnce(&T) -> (String, Vec<String>),
    ) -> Result<T> {
        let begun = clock::instant();
        self.tell(
            "tool",
            json!({ "state": "started", "number": 0, "name": name, "arguments": {} }),
        );
        let done = work.await;
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (summary, sources) = match &done {
            Ok(done) => found(done),
            Err(_) => ("It did not work.".to_owned(), Vec::new()),
        };
        self.tell(
            "tool",
            json!({ "state": "finished", "number": 0, "name": name, "summary": summary,
                    "items": sources.len(), "sources": sources, "milliseconds": milliseconds,
                    "failed": done.is_err() }),
        );
        done
    }
}

/// Why a session takes no other question now.
pub(super) fn taken(session: i64) -> Error {
    Error::Conflict(format!(
        "this session's last question is still being answered; wait for it, or stop it (POST \
         /api/chat/sessions/{session}/stop)"
    ))
}

/// All answers under way in this process, by session.
#[derive(Clone, Default)]
pub(super) struct Answers(Arc<Mutex<BySession>>);

/// Each with the time when it was begun.
type BySession = HashMap<i64, (Arc<Going>, Instant)>;

/// Ends the answer's steps when it is dropped, whatever became of it.
pub(super) struct Guard(Arc<Going>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.state.send_modify(|(_, ended)| *ended = true);
    }
}

/// An answer in no session: only who asked can follow it.
pub(super) fn aside() -> (Arc<Going>, Guard) {
    begun(0)
}

fn begun(session: i64) -> (Arc<Going>, Guard) {
    let going = Arc::new(Going {
        session,
        stop: CancellationToken::new(),
        steps: Mutex::default(),
        state: watch::Sender::new((0, false)),
    });
    (Arc::clone(&going), Guard(going))
}

impl Answers {
    /// Begins an answer.
    ///
    /// [`Error::Conflict`] while the session has another one.
    pub(super) fn begin(&self, session: i64) -> Result<(Arc<Going>, Guard)> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::instant();
        answers.retain(|_, (going, begun)| !going.has_ended() || now.duration_since(*begun) < KEPT);
        if answers.get(&session).is_some_and(|(going, _)| !going.has_ended()) {
            return Err(taken(session));
        }
        let (going, guard) = begun(session);
        answers.insert(session, (Arc::clone(&going), now));
        Ok((going, guard))
    }

    /// The session's answer under way, or the one that ended just now.
    pub(super) fn of(&self, session: i64) -> Option<Arc<Going>> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(&session).map(|(going, _)| Arc::clone(going))
    }

    /// Stops the session's answer; false if there is none under way.
    pub(super) fn stop(&self, session: i64) -> bool {
        let going = self.of(session).filter(|going| !going.has_ended());
        if let Some(going) = &going {
            going.stop.cancel();
        }
        going.is_some()
    }
}
