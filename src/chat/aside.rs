//! Questions of programs that keep their conversation themselves: what was said before comes
//! with the question, and nothing of it is stored as a session.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, future, stream};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::DropGuard;

use super::{
    Asking, Before, Chat, Question, Reply, Understood,
    going::{self, Going, Step},
    store::Message,
};
use crate::{clock, error::Error, http::Problem};

/// An earlier message, as the caller remembers it.
#[derive(Clone, Debug)]
pub struct Said {
    /// By the operator; else by the assistant.
    pub by_operator: bool,
    pub text: String,
}

/// What is heard of an answer while it is made.
#[derive(Debug)]
pub enum Heard {
    /// The next words.
    Text(String),
    /// A step between them: a tool, a step of a repair. In Lux's own words.
    Busy(&'static str),
    /// The end.
    Done(Result<Box<Reply>, Problem>),
}

/// An answer in no session. It is stopped when nobody waits for it any more; a repair run that
/// it started goes on.
pub struct Aside {
    going: Arc<Going>,
    answer: JoinHandle<Result<Reply, Problem>>,
    stop: DropGuard,
}

impl Chat {
    /// Begins an answer in no session; `earlier` is what was said before, oldest first. What it
    /// says counts for the model only: the wish was read from the question (see
    /// [`Chat::understand`]). `run` is what [`Chat::begin`] gave. The reply's ids are 0.
    pub fn ask_aside(
        &self,
        question: Question,
        earlier: Vec<Said>,
        Understood(intent): Understood,
        run: Option<i64>,
        patience: Duration,
    ) -> Aside {
        let at = clock::now();
        let told = earlier.into_iter().map(|said| Message {
            id: 0,
            role: if said.by_operator { "user" } else { "assistant" }.to_owned(),
            content: said.text,
            detail: None,
            created_at: at,
        });
        let (before, until) = (Before::Told(told.collect()), Instant::now() + patience);
        let (going, guard) = going::aside();
        let stop = going.stop.clone().drop_guard();
        let asking = Asking { question, intent, run, before, until, begun: clock::instant() };
        let answer = self.set_out(Arc::clone(&going), guard, asking);
        Aside { going, answer, stop }
    }
}

impl Aside {
    /// Waits for the whole answer.
    pub async fn reply(self) -> Result<Reply, Problem> {
        let reply = self.answer.await;
        drop(self.stop);
        reply.map_err(|error| Error::Internal(error.into()))?
    }

    /// The answer as it comes; the last is [`Heard::Done`].
    pub fn listen(self) -> impl Stream<Item = Heard> + Send {
        let steps = Arc::clone(&self.going).follow(0);
        let heard = steps.filter_map(|(_, step)| future::ready(heard(&step)));
        let end = async move { Heard::Done(self.reply().await.map(Box::new)) };
        heard.chain(stream::once(end))
    }
}

fn heard(step: &Step) -> Option<Heard> {
    match step.name {
        "delta" => Some(Heard::Text(step.data["text"].as_str()?.to_owned())),
        "done" | "problem" => None,
        other => Some(Heard::Busy(other)),
    }
}
