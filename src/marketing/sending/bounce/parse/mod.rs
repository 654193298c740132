//! From a mailbox of reports to what they say: delivery status notifications (RFC 3464) and
//! complaints (ARF, RFC 5965). Anybody can send mail there, so only what carries the mark of a
//! mail that Lux sent is believed; and what is in there may be made to break its reader.

use std::{
    io::{self, BufRead},
    panic::{AssertUnwindSafe, catch_unwind},
};

use mail_parser::{Message, MessageParser, MimeHeaders, PartType};

use super::Kind;
use crate::mail::{enhanced, shown};

/// The largest message that is read, in bytes; of a larger one the beginning.
const MAX_MESSAGE: usize = 2 << 20;

/// The most parts that a message may have: what is nested deeper was made to break something.
const MAX_PARTS: usize = 200;

/// What a message says came of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The `X-Lux-Mail` of the mail, as it stands there.
    pub mark: String,
    pub kind: Kind,
    pub reason: String,
}

/// The messages of a file: a mailbox (mbox), or one message as it is.
pub struct Messages<R> {
    source: R,
    /// The line that the next message begins with.
    pending: Option<Vec<u8>>,
    is_mailbox: bool,
    begun: bool,
}

impl<R: BufRead> Messages<R> {
    pub fn new(source: R) -> Self {
        Self { source, pending: None, is_mailbox: false, begun: false }
    }

    fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut message = self.pending.take().unwrap_or_default();
        let mut any = !message.is_empty();
        let mut after_blank = true;
        let mut line = Vec::new();
        let mut whole = true;
        loop {
            line.clear();
            // A line without an end must not fill the memory.
            let read = io::Read::take(&mut self.source, 64 << 10).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(any.then_some(message));
            }
            let begins_line = std::mem::replace(&mut whole, line.ends_with(b"\n"));
            if begins_line && line.starts_with(b"From ") && (self.is_mailbox || !self.begun) {
                self.is_mailbox = true;
                self.begun = true;
                if any && after_blank {
                    return Ok(Some(message));
                }
                if !any {
                    any = true;
                    continue;
                }
            }
            self.begun = true;
            any = true;
            after_blank = line.iter().all(u8::is_ascii_whitespace);
            let quoted = self.is_mailbox && line.starts_with(b">") && {
                let rest = line.iter().position(|byte| *byte != b'>').unwrap_or(0);
                line.get(rest..).is_some_and(|rest| rest.starts_with(b"From "))
            };
            let line = if quoted { line.get(1..).unwrap_or_default() } else { &line };
            let room = MAX_MESSAGE.saturating_sub(message.len());
            message.extend_from_slice(line.get(..room.min(line.len())).unwrap_or_default());
        }
    }
}

impl<R: BufRead> Iterator for Messages<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.message().transpose()
    }
}

/// What a message reports; nothing for any other mail, or one that cannot be read.
pub fn reports(bytes: &[u8]) -> Vec<Report> {
    let bytes = bytes.get(..MAX_MESSAGE).unwrap_or(bytes);
    if parts(bytes) > MAX_PARTS {
        return Vec::new();
    }
    // The parser is somebody else's, and what it reads a stranger's.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let message = MessageParser::default().parse(bytes)?;
        report(&message)
    }));
    read.ok().flatten().into_iter().collect()
}

/// How many parts a message says it has, nested ones included; more rather than fewer.
fn parts(bytes: &[u8]) -> usize {
    let lower = bytes.to_ascii_lowercase();
    let count = |word: &[u8]| memchr::memmem::find_iter(&lower, word).count();
    count(b"message/") + count(b"multipart/")
}

fn report(message: &Message<'_>) -> Option<Report> {
    let mut mark = None;
    let mut said: Option<(Kind, String)> = None;
    for part in &message.parts {
        let kind = part.content_type().map(|kind| {
            let sub = kind.c_subtype.as_deref().unwrap_or_default().to_ascii_lowercase();
            (kind.c_type.to_ascii_lowercase(), sub)
        });
        let kind = kind.as_ref().map(|(kind, sub)| (kind.as_str(), sub.as_str()));
        match (kind, &part.body) {
            (Some(("message", "delivery-status" | "global-delivery-status")), _) => {
                said = said.or_else(|| delivery(&text(part.contents())));
            }
            (Some(("message", "feedback-report")), _) => {
                said = said.or_else(|| complaint(&text(part.contents())));
            }
            (_, PartType::Message(inner)) => {
                mark = mark.or_else(|| mark_in(&text(inner.raw_message())));
            }
            (Some(("text", "rfc822-headers") | ("message", _)), _) => {
                mark = mark.or_else(|| mark_in(&text(part.contents())));
            }
            _ => {}
        }
    }
    let (kind, reason) = said?;
    Some(Report { mark: mark?, kind, reason })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The mark among the headers of the mail that came back.
fn mark_in(text: &str) -> Option<String> {
    let head = text.lines().take_while(|line| !line.trim().is_empty()).take(1000);
    let mut lines = head.skip_while(|line| field(line, "x-lux-mail").is_none());
    let first = field(lines.next()?, "x-lux-mail")?;
    let value = if first.is_empty() { lines.next()?.trim() } else { first };
    (value.len() <= 100).then(|| value.to_owned())
}

fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (found, value) = line.split_once(':')?;
    found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
}

/// What became of the first recipient; Lux writes to one with each mail.
fn delivery(text: &str) -> Option<(Kind, String)> {
    let value = |name: &str| text.lines().take(2000).find_map(|line| field(line, name));
    let action = value("action")?.to_ascii_lowercase();
    if action != "failed" {
        // Delayed, delivered, relayed, expanded: nothing came back.
        return None;
    }
    let status = value("status").unwrap_or_default();
    let diagnostic = value("diagnostic-code").unwrap_or_default();
    let diagnostic = diagnostic.split_once(';').map_or(diagnostic, |(_, rest)| rest).trim();
    let kind = match enhanced(status) {
        Some([5, 1, 0..=3 | 6 | 10] | [5, 2, 1]) => Kind::Hard,
        // Servers that say no more than "failed for good" say the rest in words.
        Some([5, 0, 0]) | None if diagnostic.starts_with("550") => Kind::Hard,
        _ => Kind::Soft,
    };
    Some((kind, shown(&format!("{status} {diagnostic}"))))
}

fn complaint(text: &str) -> Option<(Kind, String)> {
    let value = |name: &str| text.lines().take(2000).find_map(|line| field(line, name));
    let kind = value("feedback-type")?.to_ascii_lowercase();
    (kind != "not-spam").then(|| {
        let agent = value("user-agent").unwrap_or_default();
        (Kind::Complaint, shown(&format!("{kind} {agent}")))
    })
}

#[cfg(test)]
mod tests;
