//! Which events are one error: a fingerprint that ignores what varies.
//!
//! With a stack trace: the classes of the chain and the application's own frames
//! (file and function, no line numbers). Without: the class and the masked message.
//!
//! **Versions.** Groups keep their fingerprints for ever. When the newest version makes a new
//! group of an event for whose older fingerprint ([`older`]) there is a group already, the
//! new group becomes a signpost to that one (`store::regroup`): its history goes on, and
//! nothing is rewritten. Version 3 is version 2 over the traces of PHP, Ruby and Go as well,
//! which were plain texts before. So for a version 4:
//!
//! 1. Write `v4.rs` with `value`; touch neither `v1.rs` nor `v2.rs`, nor what they call in a
//!    way that changes their values (`fingerprints_are_stable` watches that). A value begins
//!    with the number of the version that makes it, or, where a version only prepares what an
//!    older one hashes (as versions 2 and 3 do), with that one's.
//! 2. Let [`Fingerprint::of_seen`] use it, and let [`older`] give version 3's value before
//!    version 2's and version 1's, where they differ.
//! 3. `cause_key` stays version 1's as long as its way is good: groups of several versions
//!    share causes.

mod v1;
mod v2;

use std::borrow::Cow;

use aws_lc_rs::digest;

use super::{
    event::Event,
    traceback::{Exception, Frame, Trace, class},
};
use crate::{logs::template, redact};

/// Longest title, in bytes.
pub const MAX_TITLE: usize = 200;
/// As much of a message as is masked, in bytes.
const MAX_MASKED: usize = 1024;

/// What an event is told apart by, and how its group is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Version, ":", and 32 hexadecimal digits.
    pub value: String,
    /// Class and masked message of what was raised: groups of one cause share it.
    pub cause_key: String,
    pub title: String,
    /// Where to look: the innermost frame of the application, else the endpoint.
    pub culprit: Option<String>,
}

/// What an event says of an error, read once for all that is derived from it.
pub struct Seen<'a> {
    pub event: &'a Event,
    pub trace: Option<Trace>,
}

impl<'a> Seen<'a> {
    pub fn of(event: &'a Event) -> Self {
        Self { event, trace: event.error_stack.as_deref().and_then(Trace::parse) }
    }

    fn raised(&self) -> Option<&Exception> {
        self.trace.as_ref().and_then(Trace::raised)
    }

    /// The class, and the first line of the message.
    pub fn said(&self) -> (&str, &str) {
        match self.raised() {
            // Some exceptions say nothing; what a logger wrote above them varies.
            Some(raised) if !raised.name.is_empty() => (&raised.name, &raised.message),
            _ => (class(&self.event.error_type), first_line(&self.event.error_message)),
        }
    }

    /// The innermost frame of the application.
    pub fn innermost(&self) -> Option<&Frame> {
        let innermost =
            |exception: &'_ Exception| exception.frames.iter().rposition(|frame| frame.in_app);
        if let Some(raised) = self.raised()
            && let Some(at) = innermost(raised)
        {
            return raised.frames.get(at);
        }
        let exceptions = &self.trace.as_ref()?.exceptions;
        exceptions
            .iter()
            .rev()
            .find_map(|exception| innermost(exception).and_then(|at| exception.frames.get(at)))
    }
}

impl Fingerprint {
    /// Lux's own way, by the newest version.
    pub fn of(event: &Event) -> Self {
        Self::of_seen(&Seen::of(event))
    }

    pub fn of_seen(seen: &Seen<'_>) -> Self {
        let event = seen.event;
        let (_, message) = seen.said();
        let masked = mask(message);
        // Events of a group without frames differ in what was masked. A secret must go
        // before: masked in parts it is not known for one any more.
        let shown = match message {
            "" => redact::secrets(first_line(&event.error_message)),
            _ if !has_frames(seen) => match redact::secrets(message) {
                Cow::Borrowed(_) => Cow::Borrowed(masked.as_str()),
                Cow::Owned(struck) => Cow::Owned(mask(&struck)),
            },
            message => redact::secrets(message),
        };
        Self {
            value: v2::value(seen),
            cause_key: v1::cause_key(seen),
            title: title(class(&event.error_type), &shown),
            culprit: seen.innermost().map(place).or_else(|| endpoint(event)),
        }
    }
}

/// What older versions, the newest first, make of an event that has the fingerprint
/// `value` now; nothing where that is the same, or not of Lux's own making.
pub fn older(event: &Event, value: &str) -> Vec<String> {
    if !value.starts_with(v1::PREFIX) || value.contains('/') {
        return Vec::new();
    }
    let before = Seen { event, trace: event.error_stack.as_deref().and_then(Trace::parse_first) };
    let mut older = vec![v2::value(&before), v1::value(&before)];
    older.dedup();
    older.retain(|older| older != value);
    older
}

fn has_frames(seen: &Seen<'_>) -> bool {
    let exceptions = seen.trace.iter().flat_map(|trace| &trace.exceptions);
    exceptions.flat_map(|exception| &exception.frames).any(|frame| frame.in_app)
}

/// What varies in a message is replaced. URLs and paths go as a whole, since a
/// crawler that tries five thousand of them finds one error.
pub fn mask(message: &str) -> String {
    let message = &message[..message.floor_char_boundary(MAX_MASKED)];
    let mut text = String::with_capacity(message.len());
    for (i, word) in message.split(' ').enumerate() {
        if i > 0 {
            text.push(' ');
        }
        let open = word.len() - word.trim_start_matches(['"', '\'', '`', '(', '[', '<', '{']).len();
        let inner = &word[open..];
        let inner = inner
            .trim_end_matches(['"', '\'', '`', ')', ']', '>', '}', ',', '.', ':', ';', '!', '?']);
        let close = &word[open + inner.len()..];
        let (key, value) = match inner.split_once('=') {
            Some((key, value)) if !key.contains(['/', ':']) => (key, value),
            _ => ("", inner),
        };
        if is_path(value.trim_start_matches(['"', '\''])) {
            text.push_str(&word[..open]);
            if !key.is_empty() {
                text.push_str(key);
                text.push('=');
            }
            text.push_str("<path>");
            text.push_str(close.trim_start_matches(['.', '?', '!']));
        } else {
            text.push_str(word);
        }
    }
    let masked = template::mask(text.trim());
    masked.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_path(word: &str) -> bool {
    let url = word.find("://").is_some_and(|at| {
        at > 0
            && word[..at]
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    });
    let windows = word.as_bytes().get(1..3) == Some(b":\\");
    let unix = word.starts_with('/') && !word.starts_with("/>") && word.len() > 1;
    let relative = word.starts_with("./") || word.starts_with("../") || word.starts_with("~/");
    url || windows || unix || relative
}

fn first_line(message: &str) -> &str {
    message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

fn title(name: &str, message: &str) -> String {
    let title = if message.is_empty() { name.to_owned() } else { format!("{name}: {message}") };
    if title.len() <= MAX_TITLE {
        return title;
    }
    format!("{}…", &title[..title.floor_char_boundary(MAX_TITLE - 3)])
}

fn place(frame: &Frame) -> String {
    let whole = if frame.function == "<syntax>" {
        frame.file.clone()
    } else {
        format!("{} in {}", frame.file, frame.function)
    };
    whole[..whole.floor_char_boundary(MAX_TITLE)].to_owned()
}

fn endpoint(event: &Event) -> Option<String> {
    let path = event.path()?;
    let whole = match &event.method {
        Some(method) => format!("{method} {path}"),
        None => path.to_owned(),
    };
    Some(whole[..whole.floor_char_boundary(MAX_TITLE)].to_owned())
}

/// The fingerprint that parts make which a rule or a program chose.
pub fn custom(parts: &[String]) -> String {
    let mut key = Key::new(0);
    for part in parts {
        key.add("part", part);
    }
    format!("custom:{}", key.digest(16))
}

/// 16 hexadecimal digits that stand for these texts in this order.
pub fn digest(parts: &[&str]) -> String {
    let mut key = Key::new(0);
    for part in parts {
        key.add("part", part);
    }
    key.digest(8)
}

/// Collects named parts so that no two different lists of parts give one text.
struct Key {
    version: u32,
    context: digest::Context,
}

impl Key {
    fn new(version: u32) -> Self {
        Self { version, context: digest::Context::new(&digest::SHA256) }
    }

    fn add(&mut self, part: &str, value: &str) {
        self.context.update(part.as_bytes());
        self.context.update(&(value.len() as u64).to_be_bytes());
        self.context.update(value.as_bytes());
    }

    fn finish(self) -> String {
        let version = self.version;
        format!("{version}:{}", self.digest(16))
    }

    fn digest(self, bytes: usize) -> String {
        const DIGITS: [char; 16] =
            ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        let digest = self.context.finish();
        let mut text = String::with_capacity(2 * bytes);
        for byte in digest.as_ref().iter().take(bytes) {
            text.push(DIGITS[usize::from(byte >> 4)]);
            text.push(DIGITS[usize::from(byte & 15)]);
        }
        text
    }
}

#[cfg(test)]
mod tests;
