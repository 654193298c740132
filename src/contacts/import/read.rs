//! A file as rows of text, whatever it was written with, and never more of it in memory than a
//! row.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use csv::StringRecord;
use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::error::{Error, Result};

/// The longest row, in bytes of UTF-8: past it a quote is missing somewhere before.
const MAX_ROW: u64 = 1 << 20;
/// The most columns.
pub(super) const MAX_COLUMNS: usize = 300;
/// What is read and decoded at once, in bytes.
const CHUNK: usize = 64 << 10;

/// The encodings that are read. The first that fits is taken; the last one fits always.
pub(super) const ENCODINGS: [&Encoding; 4] = [UTF_8, UTF_16LE, UTF_16BE, WINDOWS_1252];
/// The characters between cells.
pub(super) const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// Text in the encoding of a file, as UTF-8. What is not valid becomes U+FFFD.
struct Decoded {
    inner: BufReader<File>,
    decoder: Decoder,
    text: Vec<u8>,
    at: usize,
    ended: bool,
    /// Bytes of the file that were read.
    read: Arc<AtomicU64>,
    /// Bytes of text that were given away since the last row ended.
    since: Arc<AtomicU64>,
    /// Whether lines end with CR LF; told by the first.
    crlf: Arc<AtomicBool>,
    first: bool,
}

impl Read for Decoded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            if self.ended {
                return Ok(0);
            }
            let raw = self.inner.fill_buf()?;
            let (taken, last) = (raw.len(), raw.is_empty());
            let room = self.decoder.max_utf8_buffer_length(taken).unwrap_or(taken * 3 + 16);
            self.text.resize(room, 0);
            let (_, _, written, _) = self.decoder.decode_to_utf8(raw, &mut self.text, last);
            self.text.truncate(written);
            self.inner.consume(taken);
            self.read.fetch_add(taken as u64, Ordering::Relaxed);
            (self.at, self.ended) = (0, last);
            if self.first
                && let Some(end) = memchr::memchr(b'\n', &self.text)
            {
                self.first = false;
                let crlf = end > 0 && self.text[end - 1] == b'\r';
                self.crlf.store(crlf, Ordering::Relaxed);
            }
        }
        let taken = out.len().min(self.text.len() - self.at);
        if self.since.fetch_add(taken as u64, Ordering::Relaxed) > MAX_ROW + 2 * CHUNK as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "endless row"));
        }
        out[..taken].copy_from_slice(&self.text[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

/// The rows of a file, one after the other. Empty lines are no rows.
pub(super) struct Rows {
    reader: csv::Reader<Decoded>,
    read: Arc<AtomicU64>,
    since: Arc<AtomicU64>,
    crlf: Arc<AtomicBool>,
    pub(super) row: StringRecord,
    /// The line that `row` begins in, from 1.
    pub(super) line: u64,
}

impl Rows {
    pub(super) fn open(path: &Path, encoding: &'static Encoding, delimiter: char) -> Result<Self> {
        let (read, since) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let crlf = Arc::<AtomicBool>::default();
        let decoded = Decoded {
            inner: BufReader::with_capacity(CHUNK, File::open(path)?),
            decoder: encoding.new_decoder_with_bom_removal(),
            text: Vec::new(),
            at: 0,
            ended: false,
            read: Arc::clone(&read),
            since: Arc::clone(&since),
            crlf: Arc::clone(&crlf),
            first: true,
        };
        let reader = csv::ReaderBuilder::new()
            .delimiter(u8::try_from(delimiter).unwrap_or(b','))
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(CHUNK)
            .from_reader(decoded);
        Ok(Self { reader, read, since, crlf, row: StringRecord::new(), line: 1 })
    }

    /// Reads the next row into `row`; false at the end.
    pub(super) fn next(&mut self) -> Result<bool> {
        self.since.store(0, Ordering::Relaxed);
        let before = self.reader.position().line();
        let more = self.reader.read_record(&mut self.row).map_err(|error| {
            if matches!(error.kind(), csv::ErrorKind::Io(io) if io.kind() == io::ErrorKind::InvalidData)
            {
                return Error::invalid(format!(
                    "the row that begins near line {before} is longer than 1 MiB; is a quotation \
                     mark missing there, or is another character between the cells?"
                ));
            }
            Error::Internal(error.into())
        })?;
        self.line = self.row.position().map_or(before, csv::Position::line);
        // Of CR LF the reader has not counted the second yet.
        if self.crlf.load(Ordering::Relaxed) && self.row.position().is_some_and(|it| it.byte() > 0)
        {
            self.line += 1;
        }
        if self.row.len() > MAX_COLUMNS {
            return Err(Error::invalid(format!(
                "line {} has {} columns; at most {MAX_COLUMNS} are taken",
                self.line,
                self.row.len()
            )));
        }
        Ok(more)
    }

    /// Bytes of the file that were read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// The encoding by its name.
pub(super) fn encoding(name: &str) -> Result<&'static Encoding> {
    let known = Encoding::for_label(name.trim().as_bytes());
    known.filter(|known| ENCODINGS.contains(known)).ok_or_else(|| {
        Error::invalid("encoding is one of UTF-8, UTF-16LE, UTF-16BE and windows-1252")
    })
}

/// The encoding that a file is in: as its mark says, else UTF-8 if all of it is that, else what
/// Windows wrote before.
pub(super) fn guess_encoding(begin: &[u8], is_utf8: bool) -> &'static Encoding {
    match Encoding::for_bom(begin) {
        Some((encoding, _)) => encoding,
        None if is_utf8 => UTF_8,
        None => WINDOWS_1252,
    }
}

/// The first rows of a file.
pub(super) fn first(
    path: &Path,
    encoding: &'static Encoding,
    delimiter: char,
    count: usize,
) -> Result<Vec<Vec<String>>> {
    let mut rows = Rows::open(path, encoding, delimiter)?;
    let mut first = Vec::with_capacity(count);
    while first.len() < count && rows.next()? {
        first.push(rows.row.iter().map(str::to_owned).collect());
    }
    Ok(first)
}

/// The character between cells: the one by which most rows have as many cells as the first one,
/// and the more of them the better.
pub(super) fn guess_delimiter(path: &Path, encoding: &'static Encoding) -> char {
    let mut best = (0, 0, ',');
    for delimiter in DELIMITERS {
        // What is unreadable with this one may be fine with the next.
        let Ok(rows) = first(path, encoding, delimiter, 20) else { continue };
        let width = rows.first().map_or(0, Vec::len);
        let same = rows.iter().filter(|row| row.len() == width).count();
        if width > 1 && (same, width) > (best.0, best.1) {
            best = (same, width, delimiter);
        }
    }
    best.2
}

/// Says piece by piece whether all of a file is UTF-8.
#[derive(Default)]
pub(super) struct Utf8 {
    /// The begin of a character whose rest is to come.
    open: Vec<u8>,
    broken: bool,
}

impl Utf8 {
    pub(super) fn add(&mut self, piece: &[u8]) {
        if self.broken {
            return;
        }
        let joined;
        let piece = if self.open.is_empty() {
            piece
        } else {
            joined = [&self.open[..], piece].concat();
            &joined
        };
        let open = match str::from_utf8(piece) {
            Ok(_) => Vec::new(),
            Err(error) if error.error_len().is_none() => piece[error.valid_up_to()..].to_vec(),
            Err(_) => {
                self.broken = true;
                return;
            }
        };
        self.open = open;
    }

    pub(super) fn is_utf8(&self) -> bool {
        !self.broken && self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use encoding_rs::{UTF_8, UTF_16LE, WINDOWS_1252};

    use super::{Rows, Utf8, first, guess_delimiter, guess_encoding};

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn utf16(text: &str) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    }

    fn cells(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut utf8 = Utf8::default();
        // In pieces that cut characters apart.
        bytes.chunks(3).for_each(|piece| utf8.add(piece));
        let file = file(bytes);
        let encoding = guess_encoding(bytes, utf8.is_utf8());
        let delimiter = guess_delimiter(file.path(), encoding);
        first(file.path(), encoding, delimiter, 10).unwrap()
    }

    #[test]
    fn files_of_all_kinds_have_the_same_rows() {
        let text =
            "name,e-mail\nZoë \"Z\" Öz,zoe@example.com\n\n\"a, b\n\"\"c\"\"\",d@example.com\n";
        let expected = [
            ["name", "e-mail"],
            ["Zoë \"Z\" Öz", "zoe@example.com"],
            ["a, b\n\"c\"", "d@example.com"],
        ];
        let (windows, _, _) = WINDOWS_1252.encode(text);
        let with_mark = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        let crlf = text.replace('\n', "\r\n").replace("a, b\r\n", "a, b\n");
        for bytes in [text.as_bytes(), &windows, &with_mark, &utf16(text), crlf.as_bytes()] {
            assert_eq!(cells(bytes), expected);
        }
        for delimiter in [";", "\t", "|"] {
            let text = ["name", "e-mail"].join(delimiter) + "\nA, B" + delimiter + "x@example.com";
            assert_eq!(cells(text.as_bytes())[1], ["A, B", "x@example.com"]);
        }
        assert_eq!(cells(b""), Vec::<Vec<String>>::new());
        assert_eq!(cells(b"x@example.com\ny@example.com"), [["x@example.com"], ["y@example.com"]]);
    }

    #[test]
    fn lines_are_counted_through_quotes() {
        let file = file(b"a,b\n\"1\n2\n3\",c\nd,e\n");
        let mut rows = Rows::open(file.path(), UTF_8, ',').unwrap();
        let mut lines = Vec::new();
        while rows.next().unwrap() {
            lines.push(rows.line);
        }
        assert_eq!(lines, [1, 2, 5]);
        assert_eq!(rows.bytes(), 18);
        let file = self::file(b"a,b\r\nc,d\r\ne,f\r\n");
        let mut rows = Rows::open(file.path(), UTF_8, ',').unwrap();
        for line in 1..4 {
            assert!(rows.next().unwrap());
            assert_eq!(rows.line, line);
        }
    }

    #[test]
    fn a_missing_quote_does_not_fill_the_memory() {
        let mut text = b"a,b\nc,d\n\"e,f\n".to_vec();
        text.extend(b"x,y\n".repeat(1 << 20));
        let file = file(&text);
        let mut rows = Rows::open(file.path(), UTF_8, ',').unwrap();
        assert!(rows.next().unwrap() && rows.next().unwrap());
        let refused = rows.next().unwrap_err().to_string();
        assert!(refused.contains("line 3") && refused.contains("quotation"), "{refused}");
    }

    #[test]
    fn the_encoding_is_the_files_own() {
        assert_eq!(guess_encoding(b"\xff\xfea\0", false), UTF_16LE);
        assert_eq!(guess_encoding(b"abc", true), UTF_8);
        assert_eq!(guess_encoding(b"Z\xf6e", false), WINDOWS_1252);
        let mut utf8 = Utf8::default();
        utf8.add("é".as_bytes().split_at(1).0);
        assert!(!utf8.is_utf8(), "the end is missing");
    }
}
