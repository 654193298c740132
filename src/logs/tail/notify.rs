//! Being told at once that a file grew. linemux watches; its events only say where
//! to look, and what they miss the poll finds.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use linemux::MuxedEvents;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A file that is watched, and the source it belongs to.
pub(crate) type Watched = Vec<(usize, PathBuf)>;

/// Files that changed, by source.
pub(crate) type Changed = HashMap<usize, HashSet<PathBuf>>;

/// What wakes the thread that reads.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    told: Mutex<Told>,
    bell: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) changed: Changed,
    /// Everything is to be looked at.
    pub(crate) everything: bool,
    pub(crate) stop: bool,
}

impl Wake {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.lock());
        self.bell.notify_one();
    }

    /// Waits until something is told, or for `most`, and takes what was told.
    pub(crate) fn wait(&self, most: Duration) -> Told {
        let idle = |told: &mut Told| !told.stop && !told.everything && told.changed.is_empty();
        let waited = self.bell.wait_timeout_while(self.lock(), most, idle);
        let (mut told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let stop = told.stop;
        let taken = std::mem::take(&mut *told);
        // Who was told to stop stays told.
        told.stop = stop;
        taken
    }
}

/// Watches what `watched` lists until `stop`. The events are taken as they come (the
/// channel they come through has no bound) and only mark files.
pub(crate) async fn run(
    mut watched: watch::Receiver<Watched>,
    wake: std::sync::Arc<Wake>,
    stop: CancellationToken,
) {
    loop {
        let list = watched.borrow_and_update().clone();
        let (mut events, sources) = watch_all(list).await;
        // What happened before the watches were set is found by looking.
        wake.tell(|told| told.everything = true);
        loop {
            let event = async {
                match &mut events {
                    Some(events) => events.next_event().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = watched.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                event = event => match event {
                    Ok(Some(event)) => wake.tell(|told| {
                        for path in event.paths {
                            if let Some(names) = sources.get(&path) {
                                for (source, name) in names {
                                    let changed = told.changed.entry(*source).or_default();
                                    changed.insert(name.clone());
                                }
                            }
                        }
                    }),
                    // Nothing is watched any more (a folder was removed), or inotify failed.
                    // Asking again would spin; the poll goes on.
                    Ok(None) => events = None,
                    Err(error) => {
                        tracing::debug!(%error, "file events failed; polling goes on");
                        events = None;
                    }
                },
            }
        }
        // Not more often than this: setting a thousand watches costs 0.1 s.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

type Names = HashMap<PathBuf, Vec<(usize, PathBuf)>>;

/// There is no way to unwatch a file, so every change of the list starts anew.
async fn watch_all(list: Watched) -> (Option<MuxedEvents>, Names) {
    let mut names = Names::new();
    let mut events = match MuxedEvents::new() {
        Ok(events) => events,
        Err(error) => {
            tracing::warn!(%error, "no file events; logs are polled every second");
            return (None, names);
        }
    };
    let mut any = false;
    for (source, path) in list {
        match events.add_file(&path).await {
            Ok(real) => {
                any = true;
                names.entry(real).or_default().push((source, path));
            }
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "polled instead of watched");
            }
        }
    }
    (any.then_some(events), names)
}
