//! Blocks of text that end where a record ends.

use std::io::{self, Read};

use crate::logs::{format::LOOK, join, record::Kind};

/// Bytes of a block: small enough to stay in a core's cache while it is looked at.
pub(super) const BLOCK: usize = 2 * 1024 * 1024;
/// A block without any place to cut it grows to this, then its middle is dropped.
const LONGEST: usize = 8 * 1024 * 1024;
/// What stays of it, from the beginning and from the end.
const HEAD: usize = 512 * 1024;
const TAIL: usize = 128 * 1024;

/// A piece of text that holds whole records; what is in [`Block::bytes`].
#[derive(Debug, Default)]
pub(super) struct Block {
    buffer: Vec<u8>,
    len: usize,
    /// Its number, from 0.
    pub(super) sequence: u64,
    /// Number of its first line.
    pub(super) line: u64,
    /// Where text was dropped: from this byte on lines are numbered from that.
    pub(super) gap: Option<(usize, u64)>,
}

impl Block {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// Cuts what a reader gives into blocks.
pub(super) struct Blocks<R> {
    reader: R,
    /// What tells where it may be cut; `None` cuts at any line end.
    kind: Option<Kind>,
    /// Read, but belonging to the next block.
    carry: Vec<u8>,
    /// Number of the next block's first line.
    line: u64,
    sequence: u64,
    /// Bytes that a block has where it can be cut.
    size: usize,
    ended: bool,
    failed: Option<io::Error>,
    /// What has been given out.
    pub(super) bytes: u64,
    pub(super) lines: u64,
}

impl<R: Read> Blocks<R> {
    pub(super) fn new(reader: R, kind: Option<Kind>) -> Self {
        Self {
            reader,
            kind,
            carry: Vec::new(),
            line: 1,
            sequence: 0,
            size: BLOCK,
            ended: false,
            failed: None,
            bytes: 0,
            lines: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn of_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Whether the last block has been given.
    pub(super) fn is_at_end(&self) -> bool {
        self.ended && self.carry.is_empty() && self.failed.is_none()
    }

    /// Fills `block` with the next piece; false when there is none. An error ends
    /// the text: what was read before it is given first.
    pub(super) fn next(&mut self, block: &mut Block) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            self.carry.clear();
            return Err(error);
        }
        let first = self.line;
        block.line = first;
        block.gap = None;
        // one that grew for a long record shrinks again
        block.buffer.resize(self.size.max(self.carry.len() + LOOK), 0);
        let mut filled = self.carry.len();
        block.buffer[..filled].copy_from_slice(&self.carry);
        self.carry.clear();
        let mut looked = 0;
        let mut dropped = (0, 0);
        let cut = loop {
            if let Err(error) = self.fill(&mut block.buffer, &mut filled) {
                self.ended = true;
                self.failed = Some(error);
            }
            if self.ended {
                break filled;
            }
            let from = usize::saturating_sub(looked, LOOK).max(block.gap.map_or(0, |(at, _)| at));
            if let Some(cut) = self.last_cut(&block.buffer[..filled], from) {
                break cut;
            }
            looked = filled;
            if block.buffer.len() < LONGEST {
                let double = block.buffer.len() * 2;
                block.buffer.resize(double, 0);
            } else {
                let (bytes, lines) = drop_middle(block, &mut filled, first);
                dropped = (dropped.0 + bytes, dropped.1 + lines);
                looked = filled;
            }
        };
        self.carry.extend_from_slice(&block.buffer[cut..filled]);
        block.len = cut;
        let lines = memchr::memchr_iter(b'\n', &block.buffer[..cut]).count() as u64 + dropped.1;
        self.line = first + lines;
        self.bytes += cut as u64 + dropped.0;
        // the last line may have no end
        self.lines += lines + u64::from(self.ended && cut > 0 && block.buffer[cut - 1] != b'\n');
        block.sequence = self.sequence;
        self.sequence += 1;
        match self.failed.take() {
            Some(error) if cut == 0 => Err(error),
            later => {
                self.failed = later;
                Ok(cut > 0)
            }
        }
    }

    fn fill(&mut self, buffer: &mut [u8], filled: &mut usize) -> io::Result<()> {
        while *filled < buffer.len() && !self.ended {
            match self.reader.read(&mut buffer[*filled..]) {
                Ok(0) => self.ended = true,
                Ok(len) => *filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The last place at or after `from` where a record surely begins. The line that
    /// begins there must have been seen far enough to know.
    fn last_cut(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut end = text.len();
        loop {
            let newline = memchr::memrchr(b'\n', &text[from..end])? + from;
            let line = &text[newline + 1..];
            let stop = memchr::memchr(b'\n', &line[..line.len().min(LOOK)]);
            let seen = stop.is_some() || line.len() >= LOOK;
            let line = &line[..stop.unwrap_or(line.len().min(LOOK))];
            let begins = |kind| seen && join::may_cut(kind, &text[..newline], line);
            if self.kind.is_none_or(begins) {
                return Some(newline + 1);
            }
            end = newline;
        }
    }
}

/// Drops the middle of a block that is one endless record, at line ends if it has
/// any: bytes and line ends dropped.
fn drop_middle(block: &mut Block, filled: &mut usize, first: u64) -> (u64, u64) {
    let text = &mut block.buffer[..*filled];
    let (head, before) = block.gap.unwrap_or_else(|| {
        let head = memchr::memrchr(b'\n', &text[..HEAD]).map_or(HEAD, |newline| newline + 1);
        let lines = memchr::memchr_iter(b'\n', &text[..head]).count() as u64;
        (head, first + lines)
    });
    let tail = *filled - TAIL;
    let tail = memchr::memchr(b'\n', &text[tail..]).map_or(tail, |newline| tail + newline + 1);
    let lines = memchr::memchr_iter(b'\n', &text[head..tail]).count() as u64;
    let apart = lines > 0 && text[head - 1] != b'\n';
    if apart {
        // the kept line was cut within, and what follows is another one
        text[head - 1] = b'\n';
    }
    text.copy_within(tail.., head);
    *filled -= tail - head;
    block.gap = Some((head, before + lines));
    ((tail - head) as u64, lines - u64::from(apart))
}
