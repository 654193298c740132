//! An answer under way, as events for the page. Each carries the whole of what it is about, so
//! whoever comes late, reloads, or lost the connection shows what everybody else shows:
//!
//! * `status`: what is being done
//! * `trail`, `text`, `run`: HTML that takes the place of the one before
//! * `done`: the stored answer, its evidence, the conversation's state
//! * `failed`: why there is no answer

use std::{collections::VecDeque, convert::Infallible, pin::Pin, time::Duration};

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{Page, filters},
    message::{Answer, Trail, Viewer},
    prose, run,
};
use crate::{
    app::App,
    chat::{
        Chat, Progress,
        store::{self, Message},
    },
    http::{Path, Query, Reader, Result},
    repair::Repair,
};

/// At most ten pictures a second, and fewer of a long answer.
const FRAME: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(400);
const LONG: usize = 16 << 10;

/// How long an answer is waited for that another process gives.
const ELSEWHERE: u32 = 100;

#[derive(Template)]
#[template(path = "chat/part.html")]
struct TrailPart {
    trail: Trail,
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    /// The question whose answer is followed.
    question: i64,
}

/// Follows the answer to a question to its end.
pub(super) async fn follow(
    page: Page<Reader>,
    State(app): State<App>,
    Extension(chat): Extension<Chat>,
    Extension(repair): Extension<Repair>,
    Path(id): Path<i64>,
    which: Result<Query<Which>>,
) -> Result<Response> {
    super::find(&app, &page, id).await?;
    let Query(Which { question }) = which?;
    let follower = Follower {
        viewer: Viewer::new(&app, &repair, &page.caller),
        chat,
        session: id,
        question,
        shown: Progress::default(),
        run: String::new(),
        ready: VecDeque::from([Event::default().retry(Duration::from_secs(1)).comment("lux")]),
        phase: Phase::Begin,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

enum Phase {
    Begin,
    Here(Pin<Box<dyn Stream<Item = Progress> + Send>>),
    /// Another process may be answering; so many seconds were waited.
    Elsewhere(u32),
    Over,
}

struct Follower {
    viewer: Viewer,
    chat: Chat,
    session: i64,
    question: i64,
    /// What was sent.
    shown: Progress,
    run: String,
    ready: VecDeque<Event>,
    phase: Phase,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match &mut self.phase {
                Phase::Over => return None,
                Phase::Begin => {
                    if !self.answered().await {
                        self.phase = match self.chat.watch(self.session) {
                            Some(watch) => Phase::Here(Box::pin(watch)),
                            None => Phase::Elsewhere(0),
                        };
                    }
                }
                Phase::Here(watch) => match watch.next().await {
                    Some(progress) => self.frame(progress).await,
                    None => self.phase = Phase::Elsewhere(0),
                },
                Phase::Elsewhere(waited) => {
                    let waited = *waited;
                    if self.answered().await {
                        continue;
                    }
                    if waited >= ELSEWHERE || waited > 2 && self.is_past().await {
                        self.failed("No answer came: Lux was interrupted while it worked on it.");
                        continue;
                    }
                    self.phase = Phase::Elsewhere(waited + 1);
                    let pause = tokio::time::sleep(Duration::from_secs(1));
                    self.viewer.app.shutdown.run_until_cancelled(pause).await?;
                }
            }
        }
    }

    /// Whether the question is so old that nobody works on it any more, or is gone.
    async fn is_past(&mut self) -> bool {
        let asked = store::before(&self.viewer.app.db, self.session, self.question + 1, 1).await;
        let Ok(asked) = asked else { return false };
        let asked = asked.last().filter(|it| it.id == self.question);
        let age = asked.map(|it| crate::clock::now() - it.created_at);
        age.is_none_or(|age| age.num_seconds() > i64::from(ELSEWHERE))
    }

    /// Sends the stored answer, if there is one.
    async fn answered(&mut self) -> bool {
        let db = &self.viewer.app.db;
        let found = store::answer_to(db, self.session, self.question).await;
        let Ok(Some(answer)) = found else { return false };
        match self.done(&answer).await {
            Ok(event) => self.ready.push_back(event),
            Err(problem) => self.failed(&problem.detail),
        }
        self.phase = Phase::Over;
        true
    }

    async fn done(&mut self, answer: &Message) -> Result<Event> {
        let db = &self.viewer.app.db;
        let question = store::before(db, self.session, answer.id, 1).await?;
        let question = question.last().filter(|message| message.role == "user");
        let answer = Answer::of(&self.viewer, self.session, answer, question, true).await?;
        let (evidence, count) = match answer.evidence() {
            Some(evidence) => (Some(super::text(evidence)?), evidence.count()),
            None => (None, 0),
        };
        let badge = answer.badge().map(|badge| json!({ "tone": badge.tone, "word": badge.word }));
        let data = json!({ "html": super::text(&answer)?, "evidence": evidence, "count": count,
                           "badge": badge });
        Ok(event("done", &data))
    }

    fn failed(&mut self, why: &str) {
        self.ready.push_back(event("failed", &json!({ "text": why })));
        self.phase = Phase::Over;
    }

    /// What is new, each as a whole.
    async fn frame(&mut self, now: Progress) {
        match &now.end {
            Some(Ok(_)) => {
                if !self.answered().await {
                    self.failed("The answer was not kept; ask again.");
                }
                return;
            }
            Some(Err(problem)) => {
                let detail = problem["detail"].as_str().unwrap_or("Lux's log says why.").to_owned();
                self.failed(&detail);
                return;
            }
            None => {}
        }
        if now.status != self.shown.status {
            self.ready.push_back(event("status", &json!({ "text": now.status })));
        }
        if now.trail != self.shown.trail
            && let Some(trail) = Trail::of(&now.trail, None)
            && let Ok(html) = super::text(&TrailPart { trail })
        {
            self.ready.push_back(event("trail", &json!({ "html": html })));
        }
        if now.text != self.shown.text {
            let html = prose::plain(&now.text);
            self.ready.push_back(event("text", &json!({ "html": html })));
        }
        if let Some(run) = now.run
            && let Ok(card) = run::Card::load(&self.viewer, self.session, run, true).await
            && let Ok(html) = super::text(&card)
            && html != self.run
        {
            self.run.clone_from(&html);
            self.ready.push_back(event("run", &json!({ "html": html })));
        }
        let pause = if now.text.len() > LONG { SLOW } else { FRAME };
        self.shown = now;
        tokio::time::sleep(pause).await;
    }
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}
