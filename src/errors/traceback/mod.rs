//! Stack traces as text: which exceptions were raised, through which functions.
//!
//! The readers take any text and any length: they look at no more than
//! [`MAX_LINES`] lines and keep no more than [`MAX_FRAMES`] frames.

mod go;
mod java;
mod javascript;
mod path;
mod php;
mod python;
mod ruby;

pub use path::in_app;

/// Lines that are looked at.
pub const MAX_LINES: usize = 50_000;
/// Distinct frames that are kept of one exception.
pub const MAX_FRAMES: usize = 50;
/// Exceptions of a chain or group that are kept.
pub const MAX_EXCEPTIONS: usize = 20;
/// Longest first line of a message, and longest name, that is kept, in bytes.
const MAX_TEXT: usize = 1024;

/// A parsed stack trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// In the order of their raising: what went wrong first is first.
    pub exceptions: Vec<Exception>,
}

/// One exception of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// The class without its module: libraries move classes, programs log them
    /// with and without.
    pub name: String,
    /// The first line of its message.
    pub message: String,
    /// Distinct frames, the outermost call first. Recursion repeats frames as often
    /// as it was deep, so a frame counts once.
    pub frames: Vec<Frame>,
    /// An exception inside an exception group.
    pub nested: bool,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Path inside the project: without deploy directories, at most three components.
    pub file: String,
    pub function: String,
    /// The application's own code, not a library's or the language's.
    pub in_app: bool,
}

impl Trace {
    /// Reads the traces of Python, Java and what is like it, JavaScript, PHP, Ruby and Go;
    /// `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_first(text).or_else(|| {
            let trace = if php::recognises(text) {
                php::parse(text)
            } else if ruby::recognises(text) {
                ruby::parse(text)
            } else if go::recognises(text) {
                go::parse(text)
            } else {
                return None;
            };
            (!trace.exceptions.is_empty()).then_some(trace)
        })
    }

    /// The traces that were read before there was version 3 of the fingerprint: Python's,
    /// Java's and JavaScript's.
    pub(super) fn parse_first(text: &str) -> Option<Self> {
        let trace = if python::recognises(text) {
            python::parse(text)
        } else if java::recognises(text) {
            java::parse(text)
        } else if javascript::recognises(text) {
            javascript::parse(text)
        } else {
            return None;
        };
        (!trace.exceptions.is_empty()).then_some(trace)
    }

    /// What was raised in the end: the last of the chain, and of an exception group
    /// its first member, since "unhandled errors in a `TaskGroup`" names no cause.
    pub fn raised(&self) -> Option<&Exception> {
        let last = self.exceptions.iter().rposition(|exception| !exception.nested);
        let Some(last) = last else { return self.exceptions.last() };
        if self.exceptions[last].name.ends_with("ExceptionGroup") {
            return self.exceptions[last..]
                .iter()
                .find(|exception| !exception.name.ends_with("ExceptionGroup"))
                .or(self.exceptions.get(last));
        }
        self.exceptions.get(last)
    }
}

impl Exception {
    fn push(&mut self, frame: Frame) {
        if self.frames.len() < MAX_FRAMES && !self.frames.contains(&frame) {
            self.frames.push(frame);
        }
    }
}

/// The class without its module or package.
pub fn class(name: &str) -> &str {
    name.rsplit(['.', ':', '\\']).next().filter(|last| !last.is_empty()).unwrap_or(name)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

#[cfg(test)]
mod tests;
