//! An answer under way as it stands at a moment: whoever comes late, or comes back, sees the
//! same as who was there from the start.

use std::sync::Arc;

use futures_util::{Stream, stream};
use serde_json::Value;

use super::{
    Chat,
    going::{Going, Step},
    trail::{self, Looked},
};

/// How far an answer has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Steps that are in it.
    pub steps: usize,
    /// What is being done, in a few words.
    pub status: String,
    /// The words so far.
    pub text: String,
    pub trail: Vec<Looked>,
    /// The run that it follows.
    pub run: Option<i64>,
    /// Steps of that run.
    pub run_steps: usize,
    /// The reply, or the problem.
    pub end: Option<std::result::Result<Value, Value>>,
    /// The words belong to an earlier turn of the model, and go when others come.
    stale: bool,
}

impl Progress {
    fn take(&mut self, step: &Step) {
        self.steps += 1;
        let data = &step.data;
        match step.name {
            "status" => {
                data["text"].as_str().unwrap_or_default().clone_into(&mut self.status);
                self.run = data["run_id"].as_i64().or(self.run);
                // What the model said before it failed is not of the advisor's answer.
                self.stale = true;
            }
            "tool" => {
                trail::follow(&mut self.trail, step);
                // Not at a step of Lux's own: what the advisor said stands.
                self.stale |= data["number"] != 0;
            }
            "repair" => self.run_steps += 1,
            "delta" => {
                if std::mem::take(&mut self.stale) {
                    self.text.clear();
                }
                self.text.push_str(data["text"].as_str().unwrap_or_default());
            }
            "done" => self.end = Some(Ok(data.clone())),
            "problem" => self.end = Some(Err(data.clone())),
            _ => {}
        }
    }
}

impl Going {
    /// How it stands now, and again whenever it was asked for and has got on; to its end. Who
    /// asks rarely misses nothing but what was in between.
    pub(super) fn watch(self: Arc<Self>) -> impl Stream<Item = Progress> + Send {
        let changes = self.changes();
        stream::unfold(
            (self, changes, Progress::default()),
            |(going, mut changes, mut now)| async move {
                loop {
                    let (count, ended) = *changes.borrow_and_update();
                    if now.steps < count {
                        for step in going.since(now.steps) {
                            now.take(&step);
                        }
                        let told = now.clone();
                        return Some((told, (going, changes, now)));
                    }
                    if ended || changes.changed().await.is_err() {
                        return None;
                    }
                }
            },
        )
    }
}

impl Chat {
    /// Watches the answer that is being given in a session by this process, or was a moment
    /// ago. The caller has made sure whose session it is.
    pub fn watch(&self, session: i64) -> Option<impl Stream<Item = Progress> + Send + use<>> {
        Some(self.answers.of(session)?.watch())
    }

    /// Whether this process is answering in a session.
    pub fn is_answering(&self, session: i64) -> bool {
        self.answers.of(session).is_some_and(|going| !going.has_ended())
    }

    /// Stops the answer that is being given; what was said by then is kept. False if there is
    /// none under way.
    pub fn stop(&self, session: i64) -> bool {
        self.answers.stop(session)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Progress, Step};

    fn after(steps: &[(&'static str, Value)]) -> Progress {
        let mut now = Progress::default();
        for (name, data) in steps {
            now.take(&Step { name, data: data.clone() });
        }
        now
    }

    #[test]
    fn the_words_are_those_of_the_answer() {
        let now = after(&[
            ("status", json!({ "text": "reading", "run_id": null })),
            ("delta", json!({ "text": "Let me " })),
            ("delta", json!({ "text": "look." })),
            ("tool", json!({ "state": "started", "number": 1, "name": "health" })),
            ("tool", json!({ "state": "finished", "number": 1, "name": "health" })),
            ("delta", json!({ "text": "All " })),
            ("delta", json!({ "text": "is well." })),
        ]);
        assert_eq!((now.text.as_str(), now.trail.len(), now.steps), ("All is well.", 1, 7));
    }

    #[test]
    fn another_answer_begins_anew() {
        let now = after(&[
            ("delta", json!({ "text": "It is the" })),
            ("status", json!({ "text": "Answered without the model" })),
            ("delta", json!({ "text": "A key is missing." })),
            ("done", json!({ "message_id": 7 })),
        ]);
        assert_eq!(now.text, "A key is missing.");
        assert_eq!(now.end, Some(Ok(json!({ "message_id": 7 }))));
    }
}
