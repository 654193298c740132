//! What a command prints: its beginning and its end, without secrets, bounded.

use std::collections::VecDeque;

use crate::redact;

/// The longest text that is kept, in bytes.
pub(super) const LIMIT: usize = 64 << 10;

/// Bytes kept of the beginning, and of the end, where the reason usually stands.
const HEAD: usize = 16 << 10;
const TAIL: usize = 44 << 10;

/// Takes all that is printed and keeps what is worth it.
#[derive(Debug, Default)]
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Capture {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let room = HEAD - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        let skipped = rest.len().saturating_sub(TAIL);
        let rest = &rest[skipped..];
        let crowded = (self.tail.len() + rest.len()).saturating_sub(TAIL);
        self.tail.drain(..crowded);
        self.tail.extend(rest);
        self.dropped += (skipped + crowded) as u64;
    }

    /// The text, at most [`LIMIT`] bytes, and how many bytes are missing from it.
    pub(super) fn finish(mut self) -> (String, u64) {
        let tail: &mut [u8] = self.tail.make_contiguous();
        if self.dropped == 0 {
            self.head.extend_from_slice(tail);
            return (clean(&self.head), 0);
        }
        // Half of a secret would not be recognised as one: only whole lines stay.
        let head_end = self.head.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let tail_start =
            tail.iter().position(|byte| *byte == b'\n').map_or(tail.len(), |at| at + 1);
        let cut = (self.head.len() - head_end) + tail_start;
        let dropped = self.dropped + cut as u64;
        let (head, tail) = (clean(&self.head[..head_end]), clean(&tail[tail_start..]));
        let text = format!("{head}… {dropped} bytes dropped …\n{tail}");
        (bounded(text), dropped)
    }
}

/// Readable text without secrets and without what steers a terminal.
fn clean(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c })
        .collect();
    bounded(redact::secrets(&text).into_owned())
}

/// Replacing can make a text longer than it was.
fn bounded(mut text: String) -> String {
    let end = (0..=LIMIT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
    text
}

#[cfg(test)]
mod tests {
    use super::{Capture, LIMIT};

    fn captured(text: &str, chunk: usize) -> (String, u64) {
        let mut capture = Capture::default();
        text.as_bytes().chunks(chunk).for_each(|bytes| capture.take(bytes));
        capture.finish()
    }

    #[test]
    fn short_output_stays_whole() {
        assert_eq!(captured("one\ntwo", 2), ("one\ntwo".to_owned(), 0));
        assert_eq!(captured("", 1), (String::new(), 0));
    }

    #[test]
    fn of_long_output_beginning_and_end_stay() {
        let lines: Vec<String> = (0..100_000).map(|n| format!("line {n}")).collect();
        let text = lines.join("\n");
        for chunk in [1000, 65_536, 10_000_000] {
            let (kept, dropped) = captured(&text, chunk);
            assert!(kept.starts_with("line 0\nline 1\n") && kept.ends_with("\nline 99999"));
            assert!(kept.len() <= LIMIT);
            let mark = format!("\n… {dropped} bytes dropped …\n");
            let (head, tail) = kept.split_once(&mark).unwrap();
            assert_eq!(head.len() + 1 + tail.len() + usize::try_from(dropped).unwrap(), text.len());
            assert!(tail.starts_with("line "), "{}", &tail[..20]);
        }
    }

    #[test]
    fn secrets_go_even_at_the_cut() {
        let line = "password=hunter2hunter2\n";
        for filler in 0..line.len() {
            let text = "x".repeat(filler) + "\n" + &line.repeat(20_000);
            let (kept, dropped) = captured(&text, 4096);
            assert!(dropped > 0 && !kept.contains("hunter"), "{filler}");
        }
    }

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(captured("a\u{1b}[2Jb\0c\r\n", 3).0, "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\n");
    }
}
