//! One open log file: where reading stands, whether the file is still the one that
//! was read, and its bytes cut into lines.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use crate::{
    clock,
    logs::checkpoint::{Checkpoint, FileId},
};

/// Bytes of a line that are kept; the rest is counted and dropped.
pub(crate) const MAX_LINE: usize = 64 << 10;

/// Bytes that one file may read before the others have their turn.
pub(crate) const SLICE: usize = 256 << 10;

/// A file seen for the first time is read from its start unless it is longer than
/// this; then only so much of its end is read.
pub(crate) const FIRST_SIGHT: u64 = 64 << 20;

/// Bytes at the head of a file that tell it from another one with its inode number.
const HEAD: usize = 256;

/// Bytes before the reading position that tell a grown file from a rewritten one.
const MARK: usize = 32;

/// A line as the file has it, without its line end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a [u8],
    /// 1-based.
    pub(crate) number: u64,
    /// Bytes that were not kept because the line is longer than [`MAX_LINE`].
    pub(crate) dropped: u64,
    /// Bytes it takes in the file, line end included.
    pub(crate) taken: u64,
    /// It was counted before a restart, and is read again only to be found again.
    pub(crate) again: bool,
    /// It was there before its source was looked at for the first time.
    pub(crate) history: bool,
}

/// What a turn of reading came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pumped {
    pub(crate) bytes: u64,
    /// There may be more to read now.
    pub(crate) more: bool,
    /// The file was cut or rewritten: nothing was read; [`Reader::restart`] is next.
    pub(crate) cut: bool,
}

/// The last bytes before a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    bytes: [u8; MARK],
    len: usize,
}

impl Mark {
    fn of(before: &[u8]) -> Self {
        let tail = &before[before.len().saturating_sub(MARK)..];
        let mut mark = Self { bytes: [0; MARK], len: tail.len() };
        mark.bytes[..tail.len()].copy_from_slice(tail);
        mark
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// See the module's first line.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    pub(crate) id: FileId,
    /// Its last known name.
    pub(crate) path: PathBuf,
    /// Names this life of the file in record ids; another one after truncation.
    pub(crate) tag: i64,
    /// The next byte to read.
    position: u64,
    mark: Mark,
    /// The first byte of the line that is being read, its number, what came before it.
    line_start: u64,
    line: u64,
    line_mark: Mark,
    /// The kept part of that line, as far as it was read in earlier turns.
    partial: Vec<u8>,
    dropped: u64,
    head_len: usize,
    head_hash: u64,
    modified: Option<SystemTime>,
    /// Lines that start before this were counted before a restart.
    counted: u64,
    /// What is kept until reading is past what was counted: so long, number and mark of the
    /// line that is read are those of an earlier position.
    resumed: Option<Checkpoint>,
    /// Lines that start before this are only numbered.
    skip: u64,
    /// Lines that start before this are of unknown age.
    history: u64,
    /// Number of the first line of which nobody was told before a restart.
    pub(crate) told: u64,
    pub(crate) grew_at: Instant,
    /// See [`born`].
    pub(crate) born: Option<SystemTime>,
}

impl Reader {
    /// Opens a file that was never read.
    pub(crate) fn first(path: &Path, tag: i64) -> io::Result<Self> {
        let mut reader = Self::open(path, tag)?;
        let len = reader.file.metadata()?.len();
        if len > FIRST_SIGHT {
            reader.skip = len - FIRST_SIGHT;
        }
        Ok(reader)
    }

    /// What the file holds already is history.
    pub(crate) fn is_old(&mut self) {
        self.history = self.file.metadata().map_or(0, |found| found.len());
    }

    /// Goes on where `at` says, if the file is still the one that was read; else it
    /// is read from its start. Up to `again` bytes before the position are read once
    /// more, so that what was said lately can be found.
    pub(crate) fn resume(
        path: &Path,
        at: &Checkpoint,
        again: u64,
        new_tag: i64,
    ) -> io::Result<Self> {
        let mut reader = Self::open(path, at.tag)?;
        if !reader.holds(at)? {
            reader.tag = new_tag;
            return Ok(reader);
        }
        reader.head_len = usize::try_from(at.head_len).unwrap_or(0).min(HEAD);
        reader.head_hash = at.head_hash.cast_unsigned();
        let position = at.position.cast_unsigned();
        reader.counted = position;
        reader.resumed = Some(at.clone());
        reader.line = at.line.cast_unsigned().max(1);
        reader.told = at.told.cast_unsigned();
        let from = position.saturating_sub(again);
        let mut before = vec![0; usize::try_from(position - from).unwrap_or(0)];
        reader.file.read_exact_at(&mut before, from)?;
        // A whole line begins after a line end, or with the file.
        let cut =
            if from == 0 { Some(0) } else { memchr::memchr(b'\n', &before).map(|end| end + 1) };
        let cut = cut.unwrap_or(before.len());
        let lines = memchr::memchr_iter(b'\n', &before[cut..]).count() as u64;
        reader.line = reader.line.saturating_sub(lines).max(1);
        reader.position = from + cut as u64;
        reader.line_start = reader.position;
        reader.mark = Mark::of(&before[..cut]);
        reader.line_mark = reader.mark;
        Ok(reader)
    }

    fn open(path: &Path, tag: i64) -> io::Result<Self> {
        // A FIFO in the place of a log must not block the thread that reads them all.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("this is not a regular file"));
        }
        Ok(Self {
            file,
            id: FileId { dev: found.dev(), ino: found.ino() },
            path: path.to_owned(),
            tag,
            position: 0,
            mark: Mark::default(),
            line_start: 0,
            line: 1,
            line_mark: Mark::default(),
            partial: Vec::new(),
            dropped: 0,
            head_len: 0,
            head_hash: 0,
            modified: None,
            counted: 0,
            resumed: None,
            skip: 0,
            history: 0,
            told: 0,
            grew_at: clock::instant(),
            born: born(&found),
        })
    }

    /// Whether the file holds what was read when the checkpoint was made.
    fn holds(&self, at: &Checkpoint) -> io::Result<bool> {
        let (position, mark_len) = (at.position.cast_unsigned(), at.mark_len.cast_unsigned());
        if self.id != at.id || self.file.metadata()?.len() < position {
            return Ok(false);
        }
        // Of a file that was empty nothing can be compared.
        let same_head = at.head_len == 0
            || self.hash_at(0, at.head_len.cast_unsigned())? == Some(at.head_hash.cast_unsigned());
        Ok(same_head
            && self.hash_at(position.saturating_sub(mark_len), mark_len)?
                == Some(at.mark_hash.cast_unsigned()))
    }

    fn hash_at(&self, from: u64, len: u64) -> io::Result<Option<u64>> {
        let mut bytes = [0; HEAD];
        let Some(part) = usize::try_from(len).ok().and_then(|len| bytes.get_mut(..len)) else {
            return Ok(None);
        };
        match self.file.read_exact_at(part, from) {
            Ok(()) => Ok(Some(hash(part))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the file at `path` holds what was read of another one until `at`: a copy
    /// made before that was cut.
    pub(crate) fn is_copy(path: &Path, at: &Checkpoint) -> bool {
        let Ok(other) = Self::open(path, 0) else { return false };
        let at = Checkpoint { id: other.id, ..at.clone() };
        at.head_len > 0 && other.holds(&at).unwrap_or(false)
    }

    /// Whether the file at `path` begins with the same bytes.
    pub(crate) fn begins_like(&self, path: &Path) -> bool {
        let same = Self::open(path, 0).and_then(|other| other.hash_at(0, self.head_len as u64));
        self.head_len > 0 && same.is_ok_and(|hash| hash == Some(self.head_hash))
    }

    /// How far complete lines were read, as it is kept in the database.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let path = self.path.to_string_lossy().into_owned();
        if let Some(at) = self.resumed.as_ref().filter(|_| self.line_start < self.counted) {
            let (id, tag) = (self.id, self.tag);
            return Checkpoint { path, id, tag, updated_at: clock::now(), ..at.clone() };
        }
        Checkpoint {
            path,
            id: self.id,
            tag: self.tag,
            position: self.line_start.cast_signed(),
            line: self.line.cast_signed(),
            told: self.told.cast_signed(),
            head_len: self.head_len.cast_signed() as i64,
            head_hash: self.head_hash.cast_signed(),
            mark_len: self.line_mark.len.cast_signed() as i64,
            mark_hash: hash(self.line_mark.bytes()).cast_signed(),
            cursor: None,
            updated_at: clock::now(),
        }
    }

    /// Bytes in the file that were not read yet.
    pub(crate) fn lag(&self) -> u64 {
        self.file.metadata().map_or(0, |found| found.len().saturating_sub(self.line_start))
    }

    pub(crate) fn position(&self) -> u64 {
        self.line_start.max(self.counted)
    }

    /// Bytes that were passed over at first sight.
    pub(crate) fn skipped(&self) -> u64 {
        self.skip
    }

    /// Reads at most [`SLICE`] bytes and hands over the lines that are complete.
    /// `scratch` is anybody's buffer.
    pub(crate) fn pump(
        &mut self,
        scratch: &mut Vec<u8>,
        each: &mut impl FnMut(Line<'_>),
    ) -> io::Result<Pumped> {
        let mut done = Pumped::default();
        let found = self.file.metadata()?;
        let modified = found.modified().ok();
        let same = match found.len().cmp(&self.position) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal if modified == self.modified => return Ok(done),
            std::cmp::Ordering::Equal => self.is_unchanged()?,
            std::cmp::Ordering::Greater => self.begins_as_before()?,
        };
        if !same {
            done.cut = true;
            return Ok(done);
        }
        let known = self.mark.len;
        scratch.resize(known + SLICE, 0);
        let read = self.file.read_at(scratch, self.position - known as u64)?;
        if read < known || scratch[..known] != *self.mark.bytes() {
            done.cut = true;
            return Ok(done);
        }
        self.modified = modified;
        if read == known {
            return Ok(done);
        }
        self.grew_at = clock::instant();
        self.split(&scratch[..read], known, each);
        self.position += (read - known) as u64;
        self.mark = Mark::of(&scratch[..read]);
        self.extend_head()?;
        done.bytes = (read - known) as u64;
        done.more = read == known + SLICE;
        Ok(done)
    }

    /// Cuts `bytes[known..]`, which follow the position, into lines.
    fn split(&mut self, bytes: &[u8], known: usize, each: &mut impl FnMut(Line<'_>)) {
        let offset = self.position - known as u64;
        let mut from = known;
        for end in memchr::memchr_iter(b'\n', &bytes[known..]) {
            let end = known + end;
            let part = &bytes[from..end];
            let next = offset + end as u64 + 1;
            let wanted = self.line_start >= self.skip;
            let line = Line {
                bytes: &[],
                number: self.line,
                dropped: 0,
                taken: next - self.line_start,
                again: self.line_start < self.counted,
                history: self.line_start < self.history,
            };
            if self.partial.is_empty() && self.dropped == 0 && part.len() <= MAX_LINE {
                if wanted {
                    each(Line { bytes: part, ..line });
                }
            } else {
                self.keep(part);
                if wanted {
                    each(Line { bytes: &self.partial, dropped: self.dropped, ..line });
                }
                self.partial = Vec::new();
                self.dropped = 0;
            }
            self.line_start = next;
            self.line += 1;
            from = end + 1;
        }
        if from > known {
            self.line_mark = Mark::of(&bytes[..from]);
        }
        self.keep(&bytes[from..]);
    }

    fn keep(&mut self, part: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.partial.len()).min(part.len());
        self.partial.extend_from_slice(&part[..room]);
        self.dropped += (part.len() - room) as u64;
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        let mark_at = self.position - self.mark.len as u64;
        Ok(self.begins_as_before()?
            && self.hash_at(mark_at, self.mark.len as u64)? == Some(hash(self.mark.bytes())))
    }

    /// A file that was empty begins as before whatever it holds.
    fn begins_as_before(&self) -> io::Result<bool> {
        Ok(self.head_len == 0 || self.hash_at(0, self.head_len as u64)? == Some(self.head_hash))
    }

    fn extend_head(&mut self) -> io::Result<()> {
        let len = usize::try_from(self.position).unwrap_or(HEAD).min(HEAD);
        if len > self.head_len
            && let Some(hash) = self.hash_at(0, len as u64)?
        {
            self.head_len = len;
            self.head_hash = hash;
        }
        Ok(())
    }

    /// Begins the file anew, as another life of it.
    pub(crate) fn restart(&mut self, tag: i64) {
        self.tag = tag;
        self.position = 0;
        self.mark = Mark::default();
        self.line_start = 0;
        self.line = 1;
        self.line_mark = Mark::default();
        self.partial = Vec::new();
        self.dropped = 0;
        self.head_len = 0;
        self.head_hash = 0;
        self.modified = None;
        self.counted = 0;
        self.resumed = None;
        self.skip = 0;
        self.history = 0;
        self.told = 0;
    }

    /// Hands over the last line of a file that nobody writes any more, which may
    /// lack its line end.
    pub(crate) fn finish(&mut self, each: &mut impl FnMut(Line<'_>)) {
        if self.partial.is_empty() || self.line_start < self.skip {
            return;
        }
        each(Line {
            bytes: &self.partial,
            number: self.line,
            dropped: self.dropped,
            taken: self.partial.len() as u64 + self.dropped,
            again: false,
            history: self.line_start < self.history,
        });
        self.partial = Vec::new();
        self.line_start = self.position;
    }

    pub(crate) fn is_quiet(&self, now: Instant, wait: Duration) -> bool {
        now.saturating_duration_since(self.grew_at) >= wait
    }
}

/// When the file was made, or written last where the file system does not tell.
pub(crate) fn born(found: &Metadata) -> Option<SystemTime> {
    found.created().or_else(|_| found.modified()).ok()
}

/// FNV-1a: small, stable over versions, and nobody gains by a collision.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Pumped, Reader};

    /// Whoever is killed while the last lines are read again must not begin anew after it: the
    /// position would go with the number and the bytes of an earlier line.
    #[test]
    fn a_position_is_kept_whole_while_lines_are_read_again() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for n in 0..1000 {
            writeln!(file, "line {n}").unwrap();
        }
        let mut reader = Reader::first(file.path(), 1).unwrap();
        reader.pump(&mut Vec::new(), &mut |_| {}).unwrap();
        let first = reader.checkpoint();
        assert_eq!(first.line, 1001);
        // Killed and started twice, the second time before anything was read again.
        let second = Reader::resume(file.path(), &first, 500, 2).unwrap().checkpoint();
        assert_eq!((second.position, second.line), (first.position, first.line));
        let mut third = Reader::resume(file.path(), &second, 500, 3).unwrap();
        assert_eq!(third.tag, 1, "it is taken for another file");
        writeln!(file, "line 1000").unwrap();
        let (mut again, mut new) = (Vec::new(), Vec::new());
        let mut read = |line: super::Line<'_>| {
            if line.again { again.push(line.number) } else { new.push(line.number) }
        };
        third.pump(&mut Vec::new(), &mut read).unwrap();
        assert_eq!((again.last(), new), (Some(&1000), vec![1001]));
        let last = third.checkpoint();
        assert_eq!((last.position, last.line), (first.position + 10, 1002));
    }

    /// Most logs of a fresh host are empty: each must not count as cut at every look.
    #[test]
    fn an_empty_file_is_not_taken_for_one_that_was_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut reader = Reader::first(file.path(), 1).unwrap();
        for _ in 0..2 {
            let read = reader.pump(&mut Vec::new(), &mut |_| panic!("there is no line")).unwrap();
            assert_eq!(read, Pumped::default());
        }
    }
}
