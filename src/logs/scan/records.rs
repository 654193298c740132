//! From a block to its records.

use super::blocks::Block;
use crate::logs::{
    format::Parser,
    join::{self, Boundary, Joiner},
    record::{Kind, Record, Severity},
};

/// Every line of a block with its number.
pub(super) fn for_lines(block: &Block, mut take: impl FnMut(&[u8], u64)) {
    let (mut at, mut number) = (0, block.line);
    let bytes = block.bytes();
    while at < bytes.len() {
        if let Some((gap, line)) = block.gap
            && at >= gap
        {
            number = number.max(line);
        }
        let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |len| at + len);
        take(&bytes[at..end], number);
        at = end + 1;
        number += 1;
    }
}

/// Joins and reads the records of a block.
pub(super) fn records(parser: &Parser, block: &Block, emit: &mut dyn FnMut(&Record<'_>)) {
    let bytes = block.bytes();
    let odd = memchr::memchr3(0, b'\r', 0x1b, bytes).is_some() || block.gap.is_some();
    match std::str::from_utf8(bytes) {
        Ok(text) if !odd => whole_records(parser, text, block.line, emit),
        _ => {
            let mut joiner = Joiner::new(parser.clone());
            for_lines(block, |line, number| joiner.push(line, number, emit));
            joiner.flush(emit);
        }
    }
}

/// The same for text that needs no cleaning: records are slices of it.
fn whole_records(parser: &Parser, text: &str, first: u64, emit: &mut dyn FnMut(&Record<'_>)) {
    let mut boundary = Boundary::new(parser.kind());
    let mut hand_over = |from: usize, to: usize, line: u64, lines: u64, kind: Option<Kind>| {
        let record = text[from..to].trim_end_matches('\n');
        if record.len() < join::WHOLE_BYTES && lines < join::WHOLE_LINES {
            if !record.is_empty() {
                emit(&parser.parse_started(record, line, kind));
            }
            return;
        }
        let mut joiner = Joiner::new(parser.clone());
        for (inner, number) in record.split('\n').zip(line..) {
            joiner.push(inner.as_bytes(), number, emit);
        }
        joiner.flush(emit);
    };
    let bytes = text.as_bytes();
    let (mut from, mut from_line, mut line, mut at) = (0, first, first, 0);
    while at < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |len| at + len);
        let low = || {
            let head = &text[from..at];
            parser.parse(head.trim_end_matches('\n'), 0).severity < Severity::Warning
        };
        let kind = boundary.kind();
        if boundary.begins(&bytes[at..end], low) {
            if at > from {
                hand_over(from, at, from_line, line - from_line, kind);
            }
            (from, from_line) = (at, line);
        }
        at = end + 1;
        line += 1;
    }
    hand_over(from, bytes.len(), from_line, line - from_line, boundary.kind());
}
