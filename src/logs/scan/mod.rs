//! One pass over much text: blocks that end at record boundaries go to worker
//! threads, what these made of them is merged in order.

use std::{
    fs::File,
    io::{self, BufReader, Chain, Cursor, Read},
    sync::atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, Utc};

use super::{
    format::{self, Export, Parser},
    input::{Input, Place},
    join::Joiner,
    record::{Kind, Record},
    time::Zone,
};
use blocks::{Block, Blocks};
use records::for_lines;

mod blocks;
mod records;
mod turns;

/// Bytes at the beginning of an input that tell its format.
const HEAD: usize = 64 * 1024;
/// Unpacked bytes that are read of one `.gz`.
const UNPACKED: u64 = 16 * 1024 * 1024 * 1024;

/// What looks at the records of a scan.
pub trait Consumer: Sync {
    /// What is made of one block of records (some MiB of one input).
    type Shard: Send;
    /// What all shards are merged into.
    type Total: Send;

    /// An empty shard for a block of the `index`th input.
    fn shard(&self, index: usize, input: &Input) -> Self::Shard;

    /// Takes one record, on a worker thread.
    fn feed(&self, shard: &mut Self::Shard, record: &Record<'_>);

    /// Takes the shards back, strictly in the order of the inputs and their bytes.
    fn merge(&self, total: &mut Self::Total, index: usize, input: &Input, shard: Self::Shard);
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    pub files: u64,
    pub lines: u64,
    /// Unpacked bytes.
    pub bytes: u64,
    /// Why something was not read: "cache.bin is binary".
    pub notes: Vec<String>,
}

/// Reads all inputs, those without a known kind by the format of their first lines.
/// `progress` is told the bytes taken from disk so far (compare with the sum of
/// [`Input::size`]), from any thread. Memory is bounded whatever the inputs hold;
/// what cannot be read becomes a note.
pub fn scan<C: Consumer>(
    inputs: &[Input],
    zone: Zone,
    consumer: &C,
    total: &mut C::Total,
    progress: &(dyn Fn(u64) + Sync),
) -> Scanned {
    let mut scanned = Scanned::default();
    let taken = AtomicU64::new(0);
    for (index, input) in inputs.iter().enumerate() {
        let meter = Meter { taken: &taken, progress };
        let mut job = Job { index, input, consumer, total, scanned: &mut scanned };
        match job.open(meter) {
            Ok(Some(source)) => {
                job.scanned.files += 1;
                if let Err(error) = job.read(source, zone) {
                    job.note(&format!("could be read only in part: {error}"));
                }
            }
            Ok(None) => {}
            Err(error) => job.note(&format!("cannot be read: {error}")),
        }
    }
    scanned
}

/// Counts what comes from disk.
struct Meter<'s> {
    taken: &'s AtomicU64,
    progress: &'s (dyn Fn(u64) + Sync),
}

struct Metered<'s, R> {
    reader: R,
    meter: Meter<'s>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        let taken = self.meter.taken.fetch_add(len as u64, Ordering::Relaxed) + len as u64;
        (self.meter.progress)(taken);
        Ok(len)
    }
}

type Reader<'s> = Box<dyn Read + Send + 's>;

/// An open input whose beginning has been looked at.
struct Source<'s> {
    head: Vec<u8>,
    reader: Chain<Cursor<Vec<u8>>, Reader<'s>>,
    written: Option<DateTime<Utc>>,
    packed: bool,
}

/// The end of an input that cannot be read further.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Whether text begins like that of a program or an image. A log may hold NUL bytes
/// (a file truncated under its writer begins with thousands).
fn is_binary(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 8] = [
        b"\x7fELF",
        b"\x89PNG",
        b"PK\x03\x04",
        b"SQLite format 3",
        b"LPKSHHRH",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
        b"%PDF",
    ];
    let window = &head[..head.len().min(8192)];
    let odd = window.iter().filter(|b| matches!(b, 1..=8 | 14..=26 | 28..=31)).count();
    MAGIC.iter().any(|magic| head.starts_with(magic)) || odd * 20 > window.len()
}

/// What one input needs while it is read.
struct Job<'s, C: Consumer> {
    index: usize,
    input: &'s Input,
    consumer: &'s C,
    total: &'s mut C::Total,
    scanned: &'s mut Scanned,
}

impl<C: Consumer> Job<'_, C> {
    fn note(&mut self, what: &str) {
        self.scanned.notes.push(format!("{} {what}", self.input.name));
    }

    fn open<'s>(&mut self, meter: Meter<'s>) -> io::Result<Option<Source<'s>>> {
        let (reader, written): (Reader<'s>, _) = match &self.input.place {
            Place::Stdin => (Box::new(Metered { reader: io::stdin(), meter }), None),
            Place::File(path) => {
                let file = File::open(path)?;
                let written = file.metadata().and_then(|data| data.modified()).ok();
                (Box::new(Metered { reader: file, meter }), written.map(DateTime::from))
            }
        };
        let mut reader = reader;
        let mut magic = Vec::new();
        reader.by_ref().take(2).read_to_end(&mut magic)?;
        let packed = magic == [0x1f, 0x8b];
        let whole = Cursor::new(magic).chain(reader);
        let mut reader: Reader<'s> = if packed {
            Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(whole)).take(UNPACKED))
        } else {
            Box::new(whole)
        };
        let mut head = Vec::new();
        if let Err(error) = reader.by_ref().take(HEAD as u64).read_to_end(&mut head) {
            // what was there is read, then it fails again
            reader = Box::new(Broken(Some(error)));
        }
        if !format::is_export(&head) && is_binary(&head) {
            self.note(if head.starts_with(b"LPKSHHRH") {
                "is a binary journal; export it with journalctl --file=… -o export"
            } else {
                "is binary and was not read"
            });
            return Ok(None);
        }
        Ok(Some(Source { reader: Cursor::new(head.clone()).chain(reader), head, written, packed }))
    }

    fn read(&mut self, source: Source<'_>, zone: Zone) -> io::Result<()> {
        let detected = || format::detect(&self.input.name, &source.head);
        let kind = if self.input.kind == Kind::Auto { detected() } else { self.input.kind };
        let mut parser = Parser::new(kind, zone);
        if let Some(written) = source.written {
            parser = parser.written_before(written);
        }
        let first = source.head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let before = self.scanned.bytes;
        let result = if format::is_export(&source.head) {
            self.export(&parser, source.reader)
        } else if kind == Kind::Journal || format::strip_prefix(first).is_some() {
            self.lines(parser, source.reader)
        } else {
            self.blocks(&parser, source.reader)
        };
        if source.packed && self.scanned.bytes - before >= UNPACKED {
            self.note("was read only to its first 16 GiB");
        }
        result
    }

    /// The export format, whose entries must be taken one after the other.
    fn export(&mut self, parser: &Parser, reader: impl Read) -> io::Result<()> {
        let mut export =
            Export::new(BufReader::with_capacity(HEAD, Counting::new(reader, self.scanned)));
        let mut shard = self.consumer.shard(self.index, self.input);
        let mut joiner = Joiner::new(parser.clone());
        let mut feed = |record: &Record<'_>| self.consumer.feed(&mut shard, record);
        let result = loop {
            match export.next() {
                Ok(Some(entry)) => joiner.push_entry(entry, &mut feed),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        joiner.flush(&mut feed);
        drop(export);
        self.consumer.merge(self.total, self.index, self.input, shard);
        result
    }

    /// Text whose records may be interleaved (a journal) or whose lines have a
    /// prefix to be taken off.
    fn lines(&mut self, parser: Parser, reader: impl Read) -> io::Result<()> {
        let mut shard = self.consumer.shard(self.index, self.input);
        let mut joiner = Joiner::new(parser);
        let mut feed = |record: &Record<'_>| self.consumer.feed(&mut shard, record);
        let mut blocks = Blocks::new(reader, None);
        let mut block = Block::default();
        let result = loop {
            match blocks.next(&mut block) {
                Ok(true) => for_lines(&block, |line, number| joiner.push(line, number, &mut feed)),
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        joiner.flush(&mut feed);
        self.scanned.bytes += blocks.bytes;
        self.scanned.lines += blocks.lines;
        self.consumer.merge(self.total, self.index, self.input, shard);
        result
    }

    /// Text whose records lie one after the other.
    fn blocks(&mut self, parser: &Parser, reader: impl Read + Send) -> io::Result<()> {
        let blocks = Blocks::new(reader, Some(parser.kind()));
        let (read, result) = turns::take_turns(
            blocks,
            parser,
            self.consumer,
            &mut *self.total,
            self.index,
            self.input,
        );
        self.scanned.bytes += read.bytes;
        self.scanned.lines += read.lines;
        result
    }
}

/// Counts lines and bytes for an input that is read as a stream.
struct Counting<'s, R> {
    reader: R,
    scanned: &'s mut Scanned,
    open_line: bool,
}

impl<'s, R> Counting<'s, R> {
    fn new(reader: R, scanned: &'s mut Scanned) -> Self {
        Self { reader, scanned, open_line: false }
    }
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        let read = &buffer[..len];
        self.scanned.bytes += len as u64;
        self.scanned.lines += memchr::memchr_iter(b'\n', read).count() as u64;
        match read.last() {
            Some(last) => self.open_line = *last != b'\n',
            None => self.scanned.lines += u64::from(std::mem::take(&mut self.open_line)),
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
