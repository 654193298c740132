use std::{fs, io::Write};

use proptest::prelude::*;

use super::{records::records, *};
use crate::logs::{Severity, input};

/// What a test wants to know of a record.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    input: usize,
    line: u64,
    kind: Kind,
    severity: Severity,
    text: String,
    jumps: usize,
    omitted: u64,
}

impl Seen {
    fn of(input: usize, record: &Record<'_>) -> Self {
        Self {
            input,
            line: record.line,
            kind: record.kind,
            severity: record.severity,
            text: record.text.to_string(),
            jumps: record.jumps.len(),
            omitted: record.omitted,
        }
    }
}

/// Keeps all records.
struct Keep;

impl Consumer for Keep {
    type Shard = (usize, Vec<Seen>);
    type Total = Vec<Seen>;

    fn shard(&self, index: usize, _: &Input) -> Self::Shard {
        (index, Vec::new())
    }

    fn feed(&self, shard: &mut Self::Shard, record: &Record<'_>) {
        shard.1.push(Seen::of(shard.0, record));
    }

    fn merge(&self, total: &mut Self::Total, _: usize, _: &Input, shard: Self::Shard) {
        total.extend(shard.1);
    }
}

fn scanned(path: &std::path::Path) -> (Scanned, Vec<Seen>) {
    let found = input::expand(&[path]).unwrap();
    let mut total = Vec::new();
    let utc = Zone::Named(chrono_tz::UTC);
    let scanned = scan(&found.inputs, utc, &Keep, &mut total, &|_| {});
    (scanned, total)
}

fn scan_bytes(name: &str, bytes: &[u8]) -> (Scanned, Vec<Seen>) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(name), bytes).unwrap();
    scanned(directory.path())
}

const ACCESS: &str = "203.0.113.10 - - [20/Nov/2026:12:53:11 +0000] \"GET /a HTTP/1.1\" 200 19 \"-\" \"curl/7.88.1\"\n";
const ERROR: &str = "2026/11/20 12:48:26 [error] 1122#1122: *60 connect() failed (111: Connection refused) while connecting to upstream, client: 198.51.100.28\n";

#[test]
fn a_long_log_is_read_in_blocks() {
    let mut text = String::new();
    for index in 0..60_000 {
        text.push_str(if index % 50 == 7 { ERROR } else { ACCESS });
    }
    let (scanned, records) = scan_bytes("access.log", text.as_bytes());
    assert_eq!((scanned.files, scanned.lines), (1, 60_000));
    assert_eq!(scanned.bytes, text.len() as u64);
    assert_eq!(records.len(), 60_000);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.line, index as u64 + 1);
        let kind = if index % 50 == 7 { Kind::NginxError } else { Kind::NginxAccess };
        assert_eq!(record.kind, kind);
    }
}

#[test]
fn packed_text_is_unpacked() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(ACCESS.repeat(10).as_bytes()).unwrap();
    let bytes = packer.finish().unwrap();
    let (scanned, records) = scan_bytes("access.log.2.gz", &bytes);
    assert_eq!((scanned.lines, records.len()), (10, 10));
    // cut off in the middle: what can be read is, and the rest is told
    let (scanned, _) = scan_bytes("access.log.2.gz", &bytes[..bytes.len() - 9]);
    assert!(scanned.notes[0].contains("in part"), "{:?}", scanned.notes);
}

#[test]
fn hostile_bytes_are_harmless() {
    let (read, records) = scan_bytes("a.log", &vec![b'x'; 20 << 20]);
    assert_eq!((read.lines, read.bytes, records.len()), (1, 20 << 20, 1));
    assert!(records[0].text.len() <= 256 << 10);

    let (read, records) = scan_bytes("a.log", &vec![0; 5 << 20]);
    assert_eq!((read.lines, records.len()), (1, 1));

    let (read, _) = scan_bytes("a.log", &vec![b'\n'; 5 << 20]);
    assert_eq!(read.lines, 5 << 20);

    let (read, records) = scan_bytes("a.log", b"\x7fELF\x02\x01\x01 and more");
    assert_eq!((read.files, records.len()), (0, 0));
    assert_eq!(read.notes, ["a.log is binary and was not read"]);

    let text = format!("{}\r\n\u{fffd}", ERROR.trim_end());
    let (_, records) = scan_bytes("a.log", text.replace('\u{fffd}', "\u{1}").as_bytes());
    assert!(!records[0].text.contains('\r'));
}

#[test]
fn an_endless_traceback_keeps_its_ends() {
    for frames in [10_000, 400_000] {
        let mut text = "2026-11-20 12:53:05,783 ERROR [app] [2969] Exception on /x [GET]\nTraceback (most recent call last):\n".to_owned();
        for _ in 0..frames {
            text.push_str("  File \"/srv/app.py\", line 7, in recurse\n");
        }
        text.push_str("RecursionError: maximum recursion depth exceeded\n2026-11-20 12:53:06,000 INFO [app] [1] next\n");
        let (read, records) = scan_bytes("app.log", text.as_bytes());
        assert_eq!(read.lines, frames + 4);
        assert_eq!(read.bytes, text.len() as u64);
        assert_eq!(records.len(), 2);
        assert!(records[0].text.ends_with("recursion depth exceeded"));
        assert!(records[0].text.len() <= 256 << 10);
        assert!(records[0].jumps == 1 && records[0].omitted > 0);
        assert_eq!(records[1].line, frames + 4);
    }
}

/// Lines of every sort, well formed and not.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let fixed = [
        ACCESS.trim_end(),
        ERROR.trim_end(),
        "[2026-11-20 12:53:02 +0000] [2962] [INFO] Booting worker with pid: 7",
        "2026-11-20 12:53:05,783 ERROR [app] [2969] Exception on /x [GET]",
        "Traceback (most recent call last):",
        "  File \"/srv/app.py\", line 7, in f",
        "    g()",
        "ValueError: größe",
        "Custom: what",
        "The above exception was the direct cause of the following exception:",
        "",
        "a printed line",
        "{\"level\": \"error\", \"msg\": \"x\"}",
        "with a\0 and \u{1b}[31mred\u{1b}[0m\r",
        "INFO:     127.0.0.1:61465 - \"GET /sse HTTP/1.1\" 200 OK",
        "2026-11-20 13:23:35.530 UTC [17038] LOG:  x",
        "2026-11-20 13:23:35.530 UTC [17038] DETAIL:  y",
    ];
    proptest::collection::vec(proptest::sample::select(fixed.to_vec()), 0..60)
        .prop_map(|lines| lines.into_iter().map(str::to_owned).collect())
}

fn any_kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(vec![
        Kind::Plain,
        Kind::NginxAccess,
        Kind::NginxError,
        Kind::Gunicorn,
        Kind::Python,
        Kind::Json,
        Kind::Postgres,
    ])
}

fn joined(parser: &Parser, lines: &[String]) -> Vec<Seen> {
    let mut joiner = Joiner::new(parser.clone());
    let mut seen = Vec::new();
    for (line, number) in lines.iter().zip(1..) {
        joiner.push(line.as_bytes(), number, &mut |record| seen.push(Seen::of(0, record)));
    }
    joiner.flush(&mut |record| seen.push(Seen::of(0, record)));
    seen
}

proptest! {
    #[test]
    fn cutting_changes_nothing(lines in lines(), kind in any_kind(), size in 1usize..4000) {
        let parser = Parser::new(kind, Zone::Named(chrono_tz::UTC));
        let text = lines.iter().flat_map(|line| [line, "\n"]).collect::<String>();
        let mut blocks = Blocks::new(text.as_bytes(), Some(kind)).of_size(size);
        let mut block = Block::default();
        let mut seen = Vec::new();
        let mut number = 1;
        while blocks.next(&mut block).unwrap() {
            prop_assert_eq!(block.line, number);
            number += memchr::memchr_iter(b'\n', block.bytes()).count() as u64;
            records(&parser, &block, &mut |record| seen.push(Seen::of(0, record)));
        }
        prop_assert_eq!(blocks.bytes, text.len() as u64);
        prop_assert_eq!(blocks.lines, lines.len() as u64);
        prop_assert_eq!(seen, joined(&parser, &lines));
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..2000), kind in any_kind()) {
        let parser = Parser::new(kind, Zone::Local);
        let mut blocks = Blocks::new(&bytes[..], Some(kind)).of_size(100);
        let mut block = Block::default();
        while blocks.next(&mut block).unwrap() {
            records(&parser, &block, &mut |record| {
                let _ = (record.message(), record.line_at(record.message_at));
            });
        }
        prop_assert_eq!(blocks.bytes, bytes.len() as u64);
        let mut joiner = Joiner::new(Parser::new(Kind::Journal, Zone::Local));
        joiner.push(&bytes, 1, &mut |_| {});
        joiner.flush(&mut |_| {});
        let mut export = Export::new(&bytes[..]);
        while export.next().unwrap().is_some() {}
        format::detect("", &bytes);
    }

    #[test]
    fn any_text_is_parsed(text in "\\PC{0,200}", noise in "[-\\[\\]{}\":# a-zA-Z0-9/.,+]{0,120}", kind in any_kind()) {
        let heads = ["", "2026/11/20 12:48:26 [error] ", "1.1.1.1 - - [20/Nov/2026:12:53:11 +0000] ",
            "2026-11-20 12:53:05,783 ", "{\"msg\":", "Nov 20 12:00:00 h ", "[2026-11-20 12:53:02 +0000] ",
            "ERROR ", "7:M ", "[    1.123456]"];
        for head in heads {
            for tail in [&text, &noise] {
                let line = format!("{head}{tail}");
                let parser = Parser::new(kind, Zone::Local);
                let record = parser.parse(&line, 1);
                prop_assert!(record.message_at <= record.text.len());
                prop_assert!(record.text.is_char_boundary(record.message_at));
            }
        }
    }
}
