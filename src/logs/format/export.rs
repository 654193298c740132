//! The journal's export format.

use std::io::{self, BufRead};

use super::journal::Entry;

/// Bytes of one field that are kept.
const FIELD: usize = 1024 * 1024;

/// Reads the export format: `KEY=value` lines, binary values as the key alone, eight
/// bytes of length and the bytes; entries are separated by blank lines.
pub(in crate::logs) struct Export<R> {
    reader: R,
    /// Number of the next line.
    line: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Export<R> {
    pub(in crate::logs) fn new(reader: R) -> Self {
        Self { reader, line: 1, buffer: Vec::new() }
    }

    /// The next entry; `None` at the end (an entry cut off there is given too).
    pub(in crate::logs) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut entry = Entry::default();
        let mut any = false;
        loop {
            let number = self.line;
            if !self.read_line()? {
                return Ok(any.then_some(entry));
            }
            if self.buffer.is_empty() {
                if any {
                    return Ok(Some(entry));
                }
                continue;
            }
            any = true;
            if let Some(equals) = memchr::memchr(b'=', &self.buffer) {
                let (key, value) = self.buffer.split_at(equals);
                entry.set(key, &value[1..], number);
            } else {
                let key = std::mem::take(&mut self.buffer);
                let from = self.read_binary()?;
                entry.set(&key, &self.buffer, from);
            }
        }
    }

    /// A line without its end into the buffer, cut at [`FIELD`]; false at the end.
    fn read_line(&mut self) -> io::Result<bool> {
        self.buffer.clear();
        let mut any = false;
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok(any);
            }
            any = true;
            let end = memchr::memchr(b'\n', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = FIELD - self.buffer.len();
            self.buffer.extend_from_slice(&part[..part.len().min(room)]);
            let taken = part.len() + usize::from(end.is_some());
            self.reader.consume(taken);
            if end.is_some() {
                self.line += 1;
                return Ok(true);
            }
        }
    }

    /// A length and that many bytes into the buffer, cut at [`FIELD`]; the number of
    /// the line on which they begin.
    fn read_binary(&mut self) -> io::Result<u64> {
        let mut length = [0; 8];
        if let Err(error) = self.reader.read_exact(&mut length) {
            self.buffer.clear();
            return if error.kind() == io::ErrorKind::UnexpectedEof {
                Ok(self.line)
            } else {
                Err(error)
            };
        }
        self.line += memchr::memchr_iter(b'\n', &length).count() as u64;
        let from = self.line;
        let mut left = u64::from_le_bytes(length);
        self.buffer.clear();
        while left > 0 {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok(from);
            }
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            self.line += memchr::memchr_iter(b'\n', &chunk[..take]).count() as u64;
            let room = FIELD - self.buffer.len();
            self.buffer.extend_from_slice(&chunk[..take.min(room)]);
            self.reader.consume(take);
            left -= take as u64;
        }
        // the line end after the bytes
        let mut end = [0; 1];
        if self.reader.read(&mut end)? == 1 {
            self.line += u64::from(end[0] == b'\n');
        }
        Ok(from)
    }
}
