//! One run: from the claim of the next mails to what the database is told of them.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::rand;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Links, Recipient, Sending, Wanted, Written,
    crew::{self, Parcel},
    journal::{self, Journal, Outcome},
    links,
    pace::Pace,
    store::{self, Addressee, Campaign, Claimed},
};
use crate::{
    clock,
    contacts::suppress,
    error::{Error, Result},
    jobs::{Done, Lease},
    mail::{Bulk, Letter, Trouble},
};

/// The most mails that are claimed at once.
const BATCH: u32 = 200;

/// The most outcomes that are stored at once, and how long the first of them waits for others.
const GROUP: usize = 500;
const GATHER: Duration = Duration::from_millis(100);

/// How often is looked whether the campaign may still go on.
const WATCH: Duration = Duration::from_millis(300);

/// How long a paused campaign is left alone.
const PAUSED: Duration = Duration::from_secs(2);

/// The pause after trouble with the mail server; it doubles each time, up to the longest.
const HELD_UP: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(5);

/// The pause after a failure of our own, such as a database that is away.
const FAILED: Duration = Duration::from_secs(3);

/// Why a run ends before everything was sent.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// The lease was lost, or Lux ends.
    Lost,
    /// Somebody paused or cancelled it.
    Status,
    Trouble(Trouble),
    Failed(String),
}

/// Says to all parts of a run that it ends. The first reason counts.
#[derive(Default)]
pub(super) struct Halt {
    token: CancellationToken,
    why: Mutex<Option<Why>>,
    /// What a connection failed with, as long as none was there at all.
    unreached: Mutex<Option<Trouble>>,
    reached: AtomicBool,
}

impl Halt {
    pub(super) fn because(&self, why: Why) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.token.cancel();
    }

    pub(super) fn is_called(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(super) async fn called(&self) {
        self.token.cancelled().await;
    }

    /// A connection to the mail server was opened, or could not be.
    pub(super) fn opened(&self, trouble: Option<&Trouble>) {
        match trouble {
            None => self.reached.store(true, Ordering::Release),
            Some(trouble) => {
                let mut unreached = self.unreached.lock().unwrap_or_else(PoisonError::into_inner);
                unreached.get_or_insert_with(|| trouble.clone());
            }
        }
    }

    /// Why the run ended, if not because nothing was left to send. A few mails are over before
    /// any connection has failed often enough to end it.
    fn why(&self) -> Option<Why> {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        why.or_else(|| {
            if self.reached.load(Ordering::Acquire) {
                return None;
            }
            let unreached = self.unreached.lock().unwrap_or_else(PoisonError::into_inner);
            unreached.clone().map(Why::Trouble)
        })
    }
}

/// What the parts of a run share.
pub(super) struct Run {
    pub(super) sending: Sending,
    pub(super) campaign: Campaign,
    pub(super) journal: Arc<Journal>,
    pub(super) halt: Halt,
    pub(super) pace: Pace,
    links: Links,
    version: i64,
    /// What the approved version links to, where clicks are counted.
    targets: Vec<String>,
    claim: i64,
}

impl Sending {
    /// Sends a campaign on from where it stands.
    pub(super) async fn run(&self, lease: Lease) -> Result<Done> {
        let db = &self.0.app.db;
        let id = lease.payload["campaign"].as_i64().unwrap_or_default();
        let Some(campaign) = store::campaign(db, id).await? else { return Ok(Done::Finished) };
        match campaign.status.as_str() {
            "sending" => {}
            "paused" => return Ok(Done::Again(PAUSED)),
            _ => return Ok(Done::Finished),
        }
        if !self.settle_others(&campaign).await? {
            return Ok(Done::Again(Duration::from_secs(1)));
        }
        let run = match self.prepare(campaign).await? {
            Ok(run) => Arc::new(run),
            Err(why) => {
                store::note(db, id, &why).await?;
                return Ok(Done::Again(Duration::from_secs(30)));
            }
        };
        let stored = send(&run, &lease).await;
        let Some(run) = Arc::into_inner(run) else {
            // A part of it still lives: its journal is read by the next one.
            return Ok(Done::Again(Duration::from_secs(1)));
        };
        // Else it is read like that of a run that was killed.
        if stored
            && !store::has_claimed(db, id, run.claim).await?
            && let Some(journal) = Arc::into_inner(run.journal)
        {
            journal.remove()?;
        }
        self.end(id, run.halt.why()).await
    }

    /// Settles what is under the claims of runs that are gone; false while one of them lives.
    async fn settle_others(&self, campaign: &Campaign) -> Result<bool> {
        self.settle_what_is_left().await?;
        let folder = self.folder();
        for claim in store::other_claims(&self.0.app.db, campaign.id).await? {
            if journal::is_here(&folder, claim) {
                return Ok(false);
            }
            let lost = store::lose(&self.0.app.db, campaign.id, claim).await?;
            tracing::warn!(
                campaign = campaign.id,
                lost,
                "whether these mails were sent is not known: the host that sent them is gone"
            );
        }
        Ok(true)
    }

    /// What has to be there before anything is sent; else why not.
    async fn prepare(&self, campaign: Campaign) -> Result<std::result::Result<Run, String>> {
        let app = &self.0.app;
        if !app.mail.is_on() {
            return Ok(Err(Trouble::NotSetUp.to_string()));
        }
        let keyed = app.lasting.keyed().await?.clone();
        let Some(links) = Links::new(&app.config, keyed) else {
            return Ok(Err("public_url is not set, and without it nobody could unsubscribe; set \
                           it (LUX_PUBLIC_URL) to the address that Lux is reached at from outside"
                .to_owned()));
        };
        let Some(version) = campaign.approved_version else {
            return Ok(Err("no version of it was approved".to_owned()));
        };
        let mut targets = Vec::new();
        if campaign.counts_clicks {
            let body: Option<(String,)> = app
                .db
                .query("select body from campaign_version where campaign_id = $1 and version = $2")
                .bind(campaign.id)
                .bind(version)
                .optional()
                .await?;
            targets = body.map(|(body,)| links::targets(&body)).unwrap_or_default();
        }
        let mut bytes = [0; 8];
        rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gave no random bytes"))?;
        let claim = i64::from_be_bytes(bytes) & i64::MAX;
        let journal = match Journal::begin(&self.folder(), claim) {
            Ok(journal) => Arc::new(journal),
            Err(error) => {
                return Ok(Err(format!(
                    "the journal in the data directory cannot be written: {error}; nothing is \
                     sent without it"
                )));
            }
        };
        let pace = Pace::per_minute(u32::try_from(campaign.per_minute).unwrap_or(0));
        Ok(Ok(Run {
            sending: self.clone(),
            journal,
            halt: Halt::default(),
            pace,
            links,
            version,
            targets,
            claim,
            campaign,
        }))
    }

    /// What comes after a run.
    async fn end(&self, id: i64, why: Option<Why>) -> Result<Done> {
        let db = &self.0.app.db;
        match why {
            Some(Why::Lost) => return Ok(Done::Again(Duration::ZERO)),
            Some(Why::Failed(error)) => {
                tracing::warn!(campaign = id, error, "a campaign is held up; it goes on by itself");
                return Ok(Done::Again(FAILED));
            }
            Some(Why::Status) => {
                return Ok(match store::status(db, id).await?.as_deref() {
                    Some("paused") => Done::Again(PAUSED),
                    Some("sending") => Done::Again(Duration::ZERO),
                    _ => Done::Finished,
                });
            }
            Some(Why::Trouble(trouble)) => {
                let times = {
                    let held_up = &self.0.held_up;
                    let mut held_up = held_up.lock().unwrap_or_else(PoisonError::into_inner);
                    let times = held_up.entry(id).or_default();
                    *times = times.saturating_add(1);
                    *times
                };
                let pause = HELD_UP.saturating_mul(1 << times.min(10)).min(LONGEST) / 2;
                let seconds = pause.as_secs();
                store::note(db, id, &format!("{trouble}; trying again in {seconds} s")).await?;
                return Ok(Done::Again(pause));
            }
            None => {}
        }
        self.0.held_up.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(due) = store::next_due(db, id).await? {
            store::note(db, id, "").await?;
            let pause = (due - clock::now()).to_std().unwrap_or_default();
            return Ok(Done::Again(pause.min(Duration::from_secs(30))));
        }
        let uncertain: i64 = db
            .query(
                "select count(*) from campaign_mail
                 where campaign_id = $1 and status = 'uncertain' and claim is not null",
            )
            .bind(id)
            .scalar()
            .await?;
        let note = match uncertain {
            0 => String::new(),
            1 => "of one mail it is not known whether it was sent; decide about it".to_owned(),
            n => format!("of {n} mails it is not known whether they were sent; decide about them"),
        };
        let mut tx = db.begin().await?;
        let finished = store::finish(&mut tx, id, &note).await?;
        tx.commit().await?;
        if finished {
            tracing::info!(campaign = id, uncertain, "a campaign has gone out");
            return Ok(Done::Finished);
        }
        Ok(Done::Again(Duration::from_secs(1)))
    }
}

/// Sends until nothing is due or the run is to end; whether all that came of it is stored.
async fn send(run: &Arc<Run>, lease: &Lease) -> bool {
    let (to_crew, parcels) = mpsc::channel(usize::try_from(BATCH).unwrap_or(1));
    let (ended, outcomes) = mpsc::channel(2 * GROUP);
    let crew = crew::begin(run, parcels, ended.clone());
    let work = async {
        let (stored, ()) =
            tokio::join!(store_outcomes(run, lease, outcomes), feed(run, lease, to_crew, ended));
        crew.await;
        stored
    };
    let watch = watch(run, lease);
    let (mut work, mut watch) = (pin!(work), pin!(watch));
    loop {
        tokio::select! {
            stored = &mut work => return stored,
            () = &mut watch, if !run.halt.is_called() => {}
        }
    }
}

/// Ends the run when it may not go on.
async fn watch(run: &Run, lease: &Lease) {
    loop {
        tokio::select! {
            () = lease.lost.cancelled() => return run.halt.because(Why::Lost),
            () = run.halt.called() => return,
            () = tokio::time::sleep(WATCH) => {}
        }
        match store::status(&run.sending.0.app.db, run.campaign.id).await {
            Ok(Some(status)) if status == "sending" => {}
            Ok(_) => return run.halt.because(Why::Status),
            // Then nothing can be claimed or stored either, and they say so.
            Err(error) => tracing::debug!(%error, "the campaign's status is not known"),
        }
    }
}

/// Claims and writes mails as fast as they go out.
async fn feed(
    run: &Arc<Run>,
    lease: &Lease,
    to_crew: mpsc::Sender<Parcel>,
    ended: mpsc::Sender<(i64, Outcome)>,
) {
    let batch = i64::from(batch_of(run));
    while !run.halt.is_called() {
        let claimed = match claim(run, lease, batch).await {
            Ok(claimed) => claimed,
            Err(error) => return run.halt.because(Why::Failed(error.to_string())),
        };
        if claimed.is_empty() {
            return;
        }
        let ids: Vec<i64> = claimed.iter().map(|mail| mail.id).collect();
        let (parcels, done) = match run.write(claimed).await {
            Ok(written) => written,
            Err(error) => {
                run.halt.because(Why::Failed(error.to_string()));
                (Vec::new(), ids.into_iter().map(|id| (id, Outcome::Back)).collect())
            }
        };
        // Who stores them listens until the last sender is gone.
        for outcome in done {
            let _ = ended.send(outcome).await;
        }
        for parcel in parcels {
            let mail = parcel.mail;
            let taken = tokio::select! {
                biased;
                () = run.halt.called() => false,
                sent = to_crew.send(parcel) => sent.is_ok(),
            };
            if !taken {
                let _ = ended.send((mail, Outcome::Back)).await;
            }
        }
    }
}

/// As many as go out within two seconds, where that is few: so that a pause, or a contact who
/// unsubscribes, does not come too late.
fn batch_of(run: &Run) -> u32 {
    let own = u32::try_from(run.campaign.per_minute).unwrap_or(0);
    let all = run.sending.0.app.mail.config().per_minute;
    let slowest = [own, all].into_iter().filter(|rate| *rate > 0).min();
    slowest.map_or(BATCH, |rate| (rate / 30).clamp(1, BATCH))
}

async fn claim(run: &Run, lease: &Lease, most: i64) -> Result<Vec<Claimed>> {
    let mut tx = run.sending.0.app.db.begin().await?;
    lease.hold(&mut tx).await?;
    let claimed = store::claim(&mut tx, run.campaign.id, run.claim, most).await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Stores outcomes in groups until the last part of the run has ended; whether all of them.
async fn store_outcomes(
    run: &Run,
    lease: &Lease,
    mut outcomes: mpsc::Receiver<(i64, Outcome)>,
) -> bool {
    let app = &run.sending.0.app;
    let mut all = true;
    let mut noted = !run.campaign.note.is_empty();
    let mut group = Vec::with_capacity(GROUP);
    while outcomes.recv_many(&mut group, GROUP).await > 0 {
        let until = tokio::time::Instant::from(clock::instant()) + GATHER;
        while group.len() < GROUP {
            let room = GROUP - group.len();
            match tokio::time::timeout_at(until, outcomes.recv_many(&mut group, room)).await {
                Ok(more) if more > 0 => {}
                _ => break,
            }
        }
        let went = group.iter().any(|(_, outcome)| matches!(outcome, Outcome::Sent { .. }));
        loop {
            let done = async {
                let keyed = app.lasting.keyed().await?;
                store::settle(&app.db, keyed, run.claim, &group).await?;
                if noted && went {
                    store::note(&app.db, run.campaign.id, "").await?;
                }
                Ok::<_, Error>(())
            };
            match done.await {
                Ok(()) => break,
                Err(error) if lease.lost.is_cancelled() => {
                    tracing::warn!(%error, "what became of some mails is in the journal alone");
                    all = false;
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "what became of some mails is not stored yet");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
        noted = noted && !went;
        group.clear();
    }
    all
}

impl Run {
    /// Writes the claimed mails; with those that are not to be sent.
    async fn write(&self, claimed: Vec<Claimed>) -> Result<(Vec<Parcel>, Vec<(i64, Outcome)>)> {
        let contacts: Vec<i64> = claimed.iter().filter_map(|mail| mail.contact_id).collect();
        let checked = clock::instant();
        let mut people = self.people(&contacts).await?;
        let mut done = Vec::new();
        let mut wanted = Vec::new();
        for mail in &claimed {
            match mail.contact_id.and_then(|id| people.get(&id)) {
                None => done.push((mail.id, skipped("the contact is gone"))),
                Some(Err(why)) => done.push((mail.id, skipped(why))),
                Some(Ok(person)) => wanted.push(Wanted {
                    mail: mail.id,
                    contact: person.id,
                    subject: mail.subject,
                    unsubscribe: self
                        .links
                        .unsubscribe(Recipient { contact: person.id, mail: mail.id }),
                }),
            }
        }
        let letters = &self.sending.0.letters;
        let written = letters.write(self.campaign.id, self.version, &wanted).await?;
        let mut written: HashMap<i64, Written> =
            written.into_iter().map(|written| (written.mail, written)).collect();
        let mut unsubscribe: HashMap<i64, String> =
            wanted.into_iter().map(|wanted| (wanted.mail, wanted.unsubscribe)).collect();
        let mut parcels = Vec::new();
        for mail in &claimed {
            let Some(url) = unsubscribe.remove(&mail.id) else { continue };
            let person = mail.contact_id.and_then(|id| people.remove(&id)).and_then(Result::ok);
            let (Some(person), Some(letter)) = (person, written.remove(&mail.id)) else {
                done.push((mail.id, skipped("no letter could be written for this contact")));
                continue;
            };
            let letter = self.letter(&person, letter, &url)?;
            match letter.write(self.sending.0.app.mail.config()) {
                Ok(ready) => parcels.push(Parcel {
                    mail: mail.id,
                    contact: person.id,
                    tries: mail.tries,
                    ready,
                    checked,
                }),
                Err(trouble) => done.push((mail.id, skipped(&trouble.to_string()))),
            }
        }
        Ok((parcels, done))
    }

    /// The contacts that may be written to; of the others, why not.
    async fn people(
        &self,
        contacts: &[i64],
    ) -> Result<HashMap<i64, std::result::Result<Addressee, &'static str>>> {
        let app = &self.sending.0.app;
        let keyed = app.lasting.keyed().await?;
        let found = store::addressees(&app.db, contacts).await?;
        let hash = |person: &Addressee| {
            suppress::hash(keyed, person.email_key.as_deref().unwrap_or_default())
        };
        let hashes: Vec<String> = found.iter().map(hash).collect();
        let listed = suppress::among(&app.db, self.campaign.organization_id, &hashes).await?;
        let judge = |person: Addressee| {
            let why = if person.email.is_none() {
                Some("the contact has no address")
            } else if listed.contains(&hash(&person)) {
                Some("the address is on the list of those that are never written to")
            } else if person.consent == "withdrawn" {
                Some("the contact has unsubscribed")
            } else if person.consent != "confirmed" {
                Some("the contact has not agreed to mail")
            } else if matches!(person.bounced.as_deref(), Some("hard" | "complaint")) {
                Some("mail to this address came back")
            } else {
                None
            };
            (person.id, why.map_or(Ok(person), Err))
        };
        Ok(found.into_iter().map(judge).collect())
    }

    /// Why a contact may not be written to any more, just before it is.
    pub(super) async fn refuses(&self, contact: i64) -> Result<Option<&'static str>> {
        let mut people = self.people(&[contact]).await?;
        Ok(match people.remove(&contact) {
            None => Some("the contact is gone"),
            Some(judged) => judged.err(),
        })
    }

    fn letter(&self, person: &Addressee, written: Written, url: &str) -> Result<Letter> {
        let mut text = written.text;
        if !text.contains(url) {
            text = format!("{}\n\n-- \nUnsubscribe: {url}\n", text.trim_end());
        }
        let html = written.html.map(|html| {
            let mut end = String::new();
            if !html.contains(url) {
                end = format!("<p><a href=\"{url}\">Unsubscribe</a></p>");
            }
            if self.campaign.counts_opens {
                let picture = self.links.opened(written.mail);
                end = format!("{end}<img src=\"{picture}\" width=\"1\" height=\"1\" alt=\"\">");
            }
            let html = links::by_way_of_lux(&self.links, &html, written.mail, &self.targets);
            match html.rfind("</body>") {
                Some(at) => format!("{}{end}{}", &html[..at], &html[at..]),
                None => format!("{html}{end}"),
            }
        });
        let unsubscribe = Url::parse(url).map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
        Ok(Letter {
            to: person.email.clone().unwrap_or_default(),
            to_name: format!("{} {}", person.first_name, person.last_name).trim().to_owned(),
            subject: written.subject,
            text,
            html,
            bulk: Some(Bulk {
                mark: self.links.mark(written.mail),
                campaign: self.campaign.id,
                unsubscribe,
            }),
        })
    }
}

fn skipped(why: &str) -> Outcome {
    Outcome::Skipped { told: why.to_owned() }
}
