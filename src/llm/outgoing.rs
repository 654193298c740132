//! What may be sent to a model: [`Outgoing`], which only a [`Desk`] and our own prompts
//! can make. There is no way from a `String` to a request around them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use aws_lc_rs::rand;

use super::{inert, message::ToolCall};
use crate::{
    error::{Error, Result},
    redact::{Kind, Known, Redactor},
};

/// Bound of one text, in bytes; what is longer is cut, and says so.
pub const MAX_TEXT: usize = 32 << 10;

/// More than this is not even looked at: redaction costs time in the text's length.
const MAX_READ: usize = 256 << 10;

/// How often something of each kind was struck out.
pub type Counts = BTreeMap<Kind, usize>;

/// A text that may leave: without secrets, without persons' data, without characters that
/// hide others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    text: String,
    redacted: Counts,
}

impl Outgoing {
    /// For what was made of our own templates and of other outgoing texts.
    pub(super) fn rendered(text: String, redacted: Counts) -> Self {
        Self { text, redacted }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn redacted(&self) -> &Counts {
        &self.redacted
    }

    /// Several texts as one, with an empty line between.
    #[must_use]
    pub fn join(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut text = String::new();
        let mut redacted = Counts::new();
        for part in parts {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&part.text);
            add(&mut redacted, &part.redacted);
        }
        Self { text, redacted }
    }
}

/// Adds counts to others.
pub(super) fn add(all: &mut Counts, more: &Counts) {
    for (kind, count) in more {
        *all.entry(*kind).or_default() += count;
    }
}

impl fmt::Display for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where the texts of one conversation are made fit to leave, and what comes back is read.
/// Equal persons' data get equal placeholders as long as it lives.
#[derive(Debug)]
pub struct Desk {
    redactor: Redactor,
    known: Arc<Known>,
}

impl Desk {
    pub(super) fn new(known: Arc<Known>) -> Self {
        Self { redactor: Redactor::default(), known }
    }

    /// The operator's own words, an earlier answer of the model, a name Lux gave: text that
    /// may say what is to be done.
    pub fn plain(&mut self, text: &str) -> Outgoing {
        let (text, redacted) = self.clean(text);
        Outgoing { text: cut(text, MAX_TEXT), redacted }
    }

    /// Untrusted text (logs, errors, names, pages, tool results) as a block of data, between
    /// two lines with a boundary that it cannot know. `label` says what it is: "nginx
    /// error.log, lines 10 to 20". An error, and so nothing that could be sent, if the system
    /// gives no random bytes.
    pub fn data(&mut self, label: &str, untrusted: &str) -> Result<Outgoing> {
        let (text, mut redacted) = self.clean(untrusted);
        let (label, more) = self.clean(label);
        add(&mut redacted, &more);
        let text = cut(text, MAX_TEXT);
        let label: String = label
            .chars()
            .map(|c| if matches!(c, '"' | '<' | '>' | '\n' | '\t') { ' ' } else { c })
            .take(120)
            .collect();
        let boundary = boundary(&text)?;
        let text = format!("<data-{boundary} from=\"{label}\">\n{text}\n</data-{boundary}>");
        Ok(Outgoing { text, redacted })
    }

    /// A call of a tool as the model made it, for a conversation that is taken up again.
    pub fn call(&mut self, id: &str, name: &str, arguments: &str) -> ToolCall {
        let mut field = |text: &str| self.plain(text).text;
        ToolCall { id: field(id), name: field(name), arguments: field(arguments) }
    }

    /// What the model wrote, as its operator may read it: placeholders are put back, except
    /// for secrets.
    pub fn reveal(&self, answer: &str) -> String {
        self.redactor.reveal(answer)
    }

    /// Reads an answer that comes in pieces.
    pub fn revealing(&self) -> Reveal<'_> {
        Reveal { desk: self, held: String::new() }
    }

    fn clean(&mut self, text: &str) -> (String, Counts) {
        let text = inert::visible(head(text, MAX_READ));
        let mut redacted = Counts::new();
        let (struck, count) = self.known.strike(&text);
        if count > 0 {
            redacted.insert(Kind::Secret, count);
        }
        let hidden = self.redactor.hide_counting(&struck, &mut redacted);
        (inert::inert(&hidden).into_owned(), redacted)
    }
}

/// Puts placeholders back in a text that comes in pieces: one that is not whole yet waits.
#[derive(Debug)]
pub struct Reveal<'a> {
    desk: &'a Desk,
    held: String,
}

impl Reveal<'_> {
    /// The longest placeholder, in bytes.
    const LONGEST: usize = 40;

    /// What can be shown now.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let open = self.held.rfind('‹').filter(|open| {
            let rest = &self.held[*open..];
            !rest.contains('›') && rest.len() < Self::LONGEST
        });
        let rest = open.map(|open| self.held.split_off(open)).unwrap_or_default();
        let ready = std::mem::replace(&mut self.held, rest);
        self.desk.reveal(&ready)
    }

    /// The rest, after the last piece.
    pub fn end(self) -> String {
        self.desk.reveal(&self.held)
    }
}

/// The longest beginning of at most so many bytes.
fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn cut(text: String, bytes: usize) -> String {
    if text.len() <= bytes {
        return text;
    }
    let kept = head(&text, bytes);
    format!("{kept}\n[cut here: {} of {} bytes are shown]", kept.len(), text.len())
}

/// Sixteen random digits and letters that do not occur in the text.
fn boundary(text: &str) -> Result<String> {
    loop {
        let mut bytes = [0_u8; 8];
        rand::fill(&mut bytes)
            .map_err(|_| Error::Unavailable("the system gave no random bytes".to_owned()))?;
        let boundary = format!("{:016x}", u64::from_be_bytes(bytes));
        if !text.contains(&boundary) {
            return Ok(boundary);
        }
    }
}
