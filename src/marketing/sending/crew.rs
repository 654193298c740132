//! The connections of a run: each takes the next mail, hands it over, and says what came of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, mpsc},
    task::JoinSet,
};

use super::{
    journal::Outcome,
    run::{Run, Why},
};
use crate::{
    clock,
    mail::{Line, Ready, Trouble, Witness},
};

/// How old the knowledge may be that a contact may be written to.
const FRESH: Duration = Duration::from_secs(2);

/// How often in a row a connection may fail before it is given up.
const FAILURES: u32 = 3;

/// The longest pause before a mail is tried again.
const LONGEST: Duration = Duration::from_hours(6);

/// The pause before a mail is tried again whose connection broke before it was handed over.
const BROKEN: Duration = Duration::from_secs(5);

/// A mail that is ready to go.
pub(super) struct Parcel {
    pub(super) mail: i64,
    pub(super) contact: i64,
    pub(super) tries: i64,
    pub(super) ready: Ready,
    /// When the contact was looked at.
    pub(super) checked: Instant,
}

type Parcels = Arc<Mutex<mpsc::Receiver<Parcel>>>;
type Ended = mpsc::Sender<(i64, Outcome)>;

/// Opens as many connections as there may be. The future ends when all of them have.
pub(super) fn begin(
    run: &Arc<Run>,
    parcels: mpsc::Receiver<Parcel>,
    ended: Ended,
) -> impl Future<Output = ()> + use<> {
    let parcels = Arc::new(Mutex::new(parcels));
    let working = Arc::new(AtomicUsize::new(0));
    let mut crew = JoinSet::new();
    let lines = run.sending.0.app.mail.config().connections;
    for number in 0..lines {
        // Each campaign has one; the others are shared among them.
        let slot = Arc::clone(&run.sending.0.lines).try_acquire_owned().ok();
        if number > 0 && slot.is_none() {
            break;
        }
        working.fetch_add(1, Ordering::AcqRel);
        let hand = Hand {
            run: Arc::clone(run),
            parcels: Arc::clone(&parcels),
            ended: ended.clone(),
            working: Arc::clone(&working),
            _slot: slot.filter(|_| number > 0),
        };
        crew.spawn(hand.work());
    }
    // Who stores outcomes waits for the last sender to go.
    drop(ended);
    async move {
        while let Some(done) = crew.join_next().await {
            if let Err(error) = done {
                tracing::error!(%error, "a connection of a campaign ended early");
            }
        }
    }
}

struct Hand {
    run: Arc<Run>,
    parcels: Parcels,
    ended: Ended,
    working: Arc<AtomicUsize>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Hand {
    async fn work(self) {
        let mut line: Option<Line> = None;
        let mut failures = 0;
        loop {
            let next = self.parcels.lock().await.recv().await;
            let Some(parcel) = next else { break };
            let (mail, outcome) = (parcel.mail, self.one(&mut line, &mut failures, parcel).await);
            // Whoever stores them listens until the last of us is gone.
            let _ = self.ended.send((mail, outcome)).await;
            if failures >= FAILURES && self.working.load(Ordering::Acquire) > 1 {
                // The server takes fewer connections than we are; the others go on.
                if self.working.fetch_sub(1, Ordering::AcqRel) > 1 {
                    return;
                }
                self.working.fetch_add(1, Ordering::AcqRel);
            }
        }
        if let Some(line) = line {
            line.close().await;
        }
    }

    async fn one(&self, line: &mut Option<Line>, failures: &mut u32, parcel: Parcel) -> Outcome {
        let run = &self.run;
        tokio::select! {
            biased;
            () = run.halt.called() => return Outcome::Back,
            () = async { run.pace.turn().await; run.sending.0.pace.turn().await } => {}
        }
        if parcel.checked.elapsed() > FRESH {
            match run.refuses(parcel.contact).await {
                Ok(None) => {}
                Ok(Some(why)) => return Outcome::Skipped { told: why.to_owned() },
                Err(error) => {
                    run.halt.because(Why::Failed(error.to_string()));
                    return Outcome::Back;
                }
            }
        }
        if run.halt.is_called() {
            return Outcome::Back;
        }
        if !line.as_ref().is_some_and(Line::is_usable) {
            *line = None;
            let witness: Arc<dyn Witness> = Arc::clone(&run.journal) as _;
            match run.sending.0.app.mail.open(Some(witness)).await {
                Ok(opened) => {
                    run.halt.opened(None);
                    *line = Some(opened);
                }
                Err(trouble) => {
                    run.halt.opened(Some(&trouble));
                    *failures += 1;
                    let alone = self.working.load(Ordering::Acquire) <= 1;
                    let final_now = matches!(trouble, Trouble::SignIn(_) | Trouble::NotSetUp);
                    if final_now || alone && *failures >= FAILURES {
                        run.halt.because(Why::Trouble(trouble));
                    } else {
                        // The next try must not follow at once.
                        let pause = Duration::from_millis(100) * *failures;
                        tokio::select! {
                            () = run.halt.called() => {}
                            () = tokio::time::sleep(pause) => {}
                        }
                    }
                    return Outcome::Back;
                }
            }
        }
        let Some(open) = line else { return Outcome::Back };
        let done = open.hand_over(&parcel.ready, parcel.mail).await;
        match &done {
            Err(trouble) if trouble.is_of_server() => *failures += 1,
            _ => *failures = 0,
        }
        if let Err(trouble) = &done
            && trouble.is_of_server()
            && *failures >= FAILURES
            && self.working.load(Ordering::Acquire) <= 1
        {
            run.halt.because(Why::Trouble(trouble.clone()));
        }
        let outcome = self.outcome(&parcel, done);
        run.journal.ended(parcel.mail, &outcome);
        outcome
    }

    fn outcome(&self, parcel: &Parcel, done: Result<String, Trouble>) -> Outcome {
        let config = self.run.sending.0.app.mail.config();
        let tries = u32::try_from(parcel.tries.max(1)).unwrap_or(u32::MAX);
        match done {
            Ok(said) => Outcome::Sent { told: said },
            Err(Trouble::Unknown(why)) => Outcome::Uncertain { told: why },
            Err(trouble @ (Trouble::Later { .. } | Trouble::Unreachable(_))) => {
                if tries >= config.tries {
                    let told = format!("given up after {tries} tries: {trouble}");
                    return Outcome::Refused { told, hard: false };
                }
                let pause = match trouble {
                    Trouble::Later { code, .. } if code != 421 => config
                        .retry
                        .saturating_mul(3_u32.saturating_pow((tries - 1).min(10)))
                        .min(LONGEST),
                    _ => BROKEN.min(config.retry),
                };
                let pause = TimeDelta::from_std(pause).unwrap_or(TimeDelta::hours(6));
                Outcome::Later { told: trouble.to_string(), due: clock::now() + pause }
            }
            Err(trouble) => {
                Outcome::Refused { told: trouble.to_string(), hard: trouble.no_such_mailbox() }
            }
        }
    }
}
