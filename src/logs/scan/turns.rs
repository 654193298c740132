//! Workers that take turns at reading and look at their blocks at the same time.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{
    Consumer,
    blocks::{Block, Blocks},
    records::records,
};
use crate::logs::{format::Parser, input::Input};

/// Threads that look at blocks, the calling one included.
const WORKERS: usize = 2;
/// Shards that may wait for an earlier one.
const WAITING: usize = 16;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reading<R> {
    blocks: Blocks<R>,
    failed: Option<io::Error>,
}

struct Merging<'s, C: Consumer> {
    total: &'s mut C::Total,
    /// The block whose turn it is.
    next: u64,
    early: BTreeMap<u64, C::Shard>,
}

/// The workers take turns at reading (which is short), look at their blocks at the
/// same time, and merge in the order of the blocks.
struct Turns<'s, C: Consumer, R> {
    blocks: Mutex<Reading<R>>,
    merging: Mutex<Merging<'s, C>>,
    merged: Condvar,
    index: usize,
    input: &'s Input,
    consumer: &'s C,
    parser: &'s Parser,
}

/// Reads all blocks on [`WORKERS`] threads and merges what became of them; gives
/// the reader back for its counts.
pub(super) fn take_turns<C: Consumer, R: Read + Send>(
    blocks: Blocks<R>,
    parser: &Parser,
    consumer: &C,
    total: &mut C::Total,
    index: usize,
    input: &Input,
) -> (Blocks<R>, io::Result<()>) {
    let turns = Turns {
        blocks: Mutex::new(Reading { blocks, failed: None }),
        merging: Mutex::new(Merging { total, next: 0, early: BTreeMap::new() }),
        merged: Condvar::new(),
        index,
        input,
        consumer,
        parser,
    };
    let mut block = Block::default();
    if turns.take(&mut block) {
        let last = lock(&turns.blocks).blocks.is_at_end();
        turns.look(&block);
        if !last {
            thread::scope(|scope| {
                for _ in 1..WORKERS {
                    scope.spawn(|| turns.run(&mut Block::default()));
                }
                turns.run(&mut block);
            });
        }
    }
    let Reading { blocks, failed } =
        turns.blocks.into_inner().unwrap_or_else(PoisonError::into_inner);
    (blocks, failed.map_or(Ok(()), Err))
}

impl<C: Consumer, R: Read> Turns<'_, C, R> {
    fn run(&self, block: &mut Block) {
        while self.take(block) {
            self.look(block);
        }
    }

    /// Reads the next block; false when there is none.
    fn take(&self, block: &mut Block) -> bool {
        let mut reading = lock(&self.blocks);
        if reading.failed.is_some() {
            return false;
        }
        match reading.blocks.next(block) {
            Ok(any) => any,
            Err(error) => {
                reading.failed = Some(error);
                false
            }
        }
    }

    fn look(&self, block: &Block) {
        let mut shard = self.consumer.shard(self.index, self.input);
        records(self.parser, block, &mut |record| self.consumer.feed(&mut shard, record));
        let mut merging = lock(&self.merging);
        // far ahead of a slow block: wait for it, so that shards do not pile up
        while merging.early.len() >= WAITING && block.sequence != merging.next {
            merging = self.merged.wait(merging).unwrap_or_else(PoisonError::into_inner);
        }
        merging.early.insert(block.sequence, shard);
        let Merging { total, next, early } = &mut *merging;
        while let Some(shard) = early.remove(next) {
            self.consumer.merge(total, self.index, self.input, shard);
            *next += 1;
        }
        self.merged.notify_all();
    }
}
