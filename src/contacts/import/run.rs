//! The work on an import: one thread reads and judges rows, this task stores them batch by batch.

use std::{collections::HashSet, hash::BuildHasher, path::PathBuf, time::Duration};

use rlibphonenumber::Region;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{
    Counts, Imports, Status,
    read::{self, Rows},
    row::Reading,
    store::{self, Kept, MOST_REJECTED, MOST_REJECTED_BYTES, Rejected, Step},
};
use crate::{
    auth::OrganizationId,
    clock,
    contacts::{
        Arrival, Done as What,
        store::write::{Terms, judge, write},
    },
    db::{self, Failure, failure},
    error::{Error, Result},
    jobs::{Done, Lease},
    logs,
};

pub(super) const KIND: &str = "contacts.import";

/// People of one transaction, and bytes of their rows: enough that its cost is shared, and not so
/// many that others wait long for their turn.
const BATCH: usize = 2000;
const BATCH_BYTES: usize = 4 << 20;
/// Batches that are read ahead.
const AHEAD: usize = 2;
/// People of a dry run that are remembered, to know them again further down in the file: 8 bytes
/// each, in a table that doubles.
const SEEN: usize = 3_500_000;
/// How often a batch is tried, and the pause before the second try.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// How long another replica may take to see that the file is on its disk.
const ELSEWHERE: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
struct Payload {
    import: i64,
    dry_run: bool,
}

pub(super) fn register(imports: &Imports) {
    let own = imports.clone();
    imports.app.jobs.handle(KIND, 1, move |lease| {
        let imports = own.clone();
        async move { imports.work(lease).await }
    });
}

/// Rows that were read, up to a position.
#[derive(Default)]
struct Batch {
    people: Vec<Arrival>,
    rejected: Vec<Rejected>,
    refused: i64,
    /// Rows of the file up to which this goes.
    rows: i64,
    bytes: i64,
}

/// Where a reader begins.
struct Start {
    /// Rows that are done.
    rows: i64,
    /// Bytes of refused rows that may still be kept.
    room: usize,
}

/// Reads rows until the end or until nobody listens.
fn read_rows(
    path: &std::path::Path,
    kept: &Kept,
    start: &Start,
    region: Option<Region>,
    to: &mpsc::Sender<Batch>,
) -> Result<()> {
    let Start { rows: done, mut room } = *start;
    let settings = &kept.import.settings;
    let encoding = read::encoding(&settings.encoding)?;
    let mut rows = Rows::open(path, encoding, settings.delimiter)?;
    if settings.header {
        rows.next()?;
    }
    let reading = Reading::new(settings.clone(), format!("import {}", kept.import.id));
    let mut keeps = MOST_REJECTED - kept.import.rejected_kept;
    let mut batch = Batch::default();
    let (mut number, mut bytes) = (0, 0);
    while rows.next()? {
        number += 1;
        if number <= done {
            continue;
        }
        let size = rows.row.as_slice().len();
        bytes += size;
        match reading.read(&rows.row) {
            None => {}
            Some(Ok(person)) => batch.people.push(Arrival::new(person, region)),
            Some(Err(refused)) => {
                batch.refused += 1;
                if keeps > 0 && size <= room {
                    (keeps, room) = (keeps - 1, room - size);
                    let line = i64::try_from(rows.line).unwrap_or(i64::MAX);
                    let cells = rows.row.iter().map(str::to_owned).collect();
                    batch.rejected.push(Rejected { number, line, refused, cells });
                }
            }
        }
        batch.rows = number;
        if batch.people.len() + batch.rejected.len() >= BATCH || bytes >= BATCH_BYTES {
            bytes = 0;
            batch.bytes = i64::try_from(rows.bytes()).unwrap_or(i64::MAX);
            if to.blocking_send(std::mem::take(&mut batch)).is_err() {
                return Ok(());
            }
            batch.rows = number;
        }
    }
    batch.rows = number.max(done);
    batch.bytes = i64::try_from(rows.bytes()).unwrap_or(i64::MAX);
    // Nobody listens to the last one either: then it was stopped.
    let _ = to.blocking_send(batch);
    Ok(())
}

impl Imports {
    async fn work(&self, lease: Lease) -> Result<Done> {
        let payload: Payload = serde_json::from_value(lease.payload.clone())
            .map_err(|error| Error::Internal(error.into()))?;
        let db = &self.app.db;
        let Some(kept) = store::any(db, payload.import).await? else { return Ok(Done::Finished) };
        let wanted = if payload.dry_run { Status::Checking } else { Status::Running };
        if kept.import.status != wanted {
            return Ok(Done::Finished);
        }
        let id = kept.import.id;
        let Some(path) = self.file_of(&kept).await else {
            // Another replica has it, and takes the job when it is put back.
            if kept.host != logs::host_name() {
                return Ok(Done::Again(ELSEWHERE));
            }
            self.end(&lease, id, Status::Failed, "its file is gone; bring it once more").await?;
            return Ok(Done::Finished);
        };
        let ended = if payload.dry_run {
            self.check(&lease, kept, path).await
        } else {
            self.import(&lease, kept, path).await
        };
        match ended {
            Ok(()) => {}
            // What the file's author can mend; all else is tried again.
            Err(Error::Invalid(why)) => self.end(&lease, id, Status::Failed, &why).await?,
            Err(error) => return Err(error),
        }
        if lease.lost.is_cancelled() {
            // It goes on where it is: with the next start, or with whoever has the lease.
            return Err(Error::Unavailable("Lux is stopping; the import goes on later".to_owned()));
        }
        self.remove_file(id).await?;
        Ok(Done::Finished)
    }

    async fn file_of(&self, kept: &Kept) -> Option<PathBuf> {
        let path = self.path(kept.file.as_deref()?);
        tokio::fs::try_exists(&path).await.ok()?.then_some(path)
    }

    async fn end(&self, lease: &Lease, id: i64, status: Status, note: &str) -> Result<()> {
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        store::end(&mut tx, id, status, note, clock::now()).await?;
        Ok(tx.commit().await?)
    }

    /// Begins to read in a thread of its own.
    async fn reader(
        &self,
        kept: Kept,
        path: PathBuf,
        rows: i64,
    ) -> Result<(mpsc::Receiver<Batch>, tokio::task::JoinHandle<Result<()>>)> {
        let kept_bytes = store::rejected_bytes(&self.app.db, kept.import.id).await?;
        let room = MOST_REJECTED_BYTES.saturating_sub(usize::try_from(kept_bytes).unwrap_or(0));
        let (start, region) = (Start { rows, room }, self.contacts.region());
        let (to, batches) = mpsc::channel(AHEAD);
        let read = move || read_rows(&path, &kept, &start, region, &to);
        Ok((batches, tokio::task::spawn_blocking(read)))
    }

    async fn import(&self, lease: &Lease, kept: Kept, path: PathBuf) -> Result<()> {
        let (id, organization, done) = (kept.import.id, kept.organization, kept.done_rows);
        let (mut batches, reader) = self.reader(kept, path, done).await?;
        while let Some(batch) = batches.recv().await {
            if lease.lost.is_cancelled() {
                return Ok(());
            }
            let mut tries = 1;
            let goes_on = loop {
                match self.store(lease, organization, id, &batch).await {
                    // Somebody stored one of the addresses at the same time: it is found now.
                    Err(Error::Database(error)) if tries < TRIES && may_go_better(&error) => {
                        tracing::debug!(%error, import = id, tries, "a batch is tried again");
                        tokio::time::sleep(PAUSE * tries).await;
                        tries += 1;
                    }
                    stored => break stored?,
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
        reader.await.map_err(|error| Error::Internal(error.into()))??;
        self.end(lease, id, Status::Done, "").await
    }

    /// Stores a batch and the position after it; false if somebody stopped the import, and then
    /// nothing of the batch is stored.
    async fn store(
        &self,
        lease: &Lease,
        organization: OrganizationId,
        id: i64,
        batch: &Batch,
    ) -> Result<bool> {
        let now = clock::now();
        // Before the transaction: it may have to write the key.
        let keyed = Some(self.app.lasting.keyed().await?);
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        let people: Vec<&Arrival> = batch.people.iter().collect();
        let terms = Terms { keyed, now };
        let recorded = write(&mut tx, organization, &people, &terms).await?;
        self.contacts.wrote(recorded.len());
        let counts = counted(recorded.iter().map(|it| it.done), batch.refused);
        store::reject(&mut tx, id, &batch.rejected).await?;
        let step = Step { rows: batch.rows, bytes: batch.bytes, counts };
        let goes_on = store::advance(&mut tx, id, step, now).await?;
        if goes_on {
            tx.commit().await?;
        }
        Ok(goes_on)
    }

    /// Counts what would happen, and keeps the rows that would be refused. Nobody is locked out
    /// for longer than one batch takes.
    async fn check(&self, lease: &Lease, kept: Kept, path: PathBuf) -> Result<()> {
        let (id, organization) = (kept.import.id, kept.organization);
        let (mut batches, reader) = self.reader(kept, path, 0).await?;
        // Whoever is new in one batch is known in the next; told by hashes, 8 bytes each.
        let mut seen: HashSet<u64> = HashSet::new();
        let mut all = Counts::default();
        while let Some(batch) = batches.recv().await {
            if lease.lost.is_cancelled() {
                return Ok(());
            }
            let now = clock::now();
            // Before the transaction: it may have to write the key.
            let keyed = Some(self.app.lasting.keyed().await?);
            let mut tx = self.app.db.begin().await?;
            lease.hold(&mut tx).await?;
            let people: Vec<&Arrival> = batch.people.iter().collect();
            let terms = Terms { keyed, now };
            let mut judged = judge(&mut tx, organization, &people, &terms).await?;
            for (Arrival { person, .. }, what) in batch.people.iter().zip(&mut judged) {
                let key = person.email.as_ref().map_or(&person.phone, |email| &email.key);
                let is_again = match seen.len() {
                    SEEN.. => seen.contains(&foldhash(key)),
                    _ => !seen.insert(foldhash(key)),
                };
                if *what == What::Created && is_again {
                    *what = What::Updated;
                }
            }
            let counts = counted(judged.into_iter(), batch.refused);
            all.created += counts.created;
            all.updated += counts.updated;
            all.unchanged += counts.unchanged;
            all.rejected += counts.rejected;
            store::reject(&mut tx, id, &batch.rejected).await?;
            if !store::show_check(&mut tx, id, batch.bytes, now).await? {
                return Ok(());
            }
            tx.commit().await?;
        }
        reader.await.map_err(|error| Error::Internal(error.into()))??;
        let mut tx = self.app.db.begin().await?;
        lease.hold(&mut tx).await?;
        store::checked(&mut tx, id, all, clock::now()).await?;
        Ok(tx.commit().await?)
    }
}

fn foldhash(text: &str) -> u64 {
    foldhash::quality::FixedState::default().hash_one(text)
}

fn counted(done: impl Iterator<Item = What>, rejected: i64) -> Counts {
    let mut counts = Counts { rejected, ..Counts::default() };
    for what in done {
        match what {
            What::Created => counts.created += 1,
            What::Updated => counts.updated += 1,
            What::Unchanged => counts.unchanged += 1,
        }
    }
    counts
}

fn may_go_better(error: &db::Error) -> bool {
    db::is_duplicate(error) || matches!(failure(error), Failure::Busy)
}
