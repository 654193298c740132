//! Which events are one error: a fingerprint that ignores what varies.
//!
//! With a stack trace: the classes of the chain and the application's own frames
//! (file and function, no line numbers). Without: the class and the masked message.

use aws_lc_rs::digest;

use super::{
    event::Event,
    traceback::{Exception, Frame, Trace, class},
};
use crate::logs::template;

/// Stands before each fingerprint. A change of the algorithm raises it: groups of
/// the old one stay as they are, new events form new groups.
const VERSION: u32 = 1;
/// Frames that count, over all exceptions of a chain.
const MAX_FRAMES: usize = 50;
/// Longest title, in bytes.
const MAX_TITLE: usize = 200;
/// As much of a message as is masked, in bytes.
const MAX_MASKED: usize = 1024;

/// What an event is told apart by, and how its group is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// "1:" and 32 hexadecimal digits.
    pub value: String,
    /// Class and masked message of what was raised: groups of one cause share it.
    pub cause_key: String,
    pub title: String,
    /// Where to look: the innermost frame of the application, else the endpoint.
    pub culprit: Option<String>,
}

impl Fingerprint {
    pub fn of(event: &Event) -> Self {
        let trace = event.error_stack.as_deref().and_then(Trace::parse);
        let raised = trace.as_ref().and_then(Trace::raised);
        let (name, message) = match raised {
            // Some exceptions say nothing; what a logger wrote above them varies.
            Some(raised) if !raised.name.is_empty() => {
                (raised.name.as_str(), raised.message.as_str())
            }
            _ => (class(&event.error_type), first_line(&event.error_message)),
        };
        let masked = mask(message);
        let frames = trace.as_ref().map(own_frames).unwrap_or_default();

        let mut key = Key::new(VERSION);
        match &trace {
            Some(trace) => {
                for name in names(trace) {
                    key.add("type", name);
                }
            }
            None => key.add("type", name),
        }
        for frame in &frames {
            key.add("file", &frame.file);
            key.add("function", &frame.function);
        }
        if frames.is_empty() || is_told_by_message(name) {
            key.add("message", &masked);
        } else if let Some(reason) = reason(message) {
            key.add("reason", &mask(reason));
        }
        let mut cause = Key::new(VERSION);
        cause.add("type", name);
        cause.add("message", &masked);

        // Events of a group without frames differ in what was masked.
        let shown = match message {
            "" => first_line(&event.error_message),
            _ if frames.is_empty() => &masked,
            message => message,
        };
        Self {
            value: key.finish(),
            cause_key: cause.finish(),
            title: title(class(&event.error_type), shown),
            culprit: culprit(raised, trace.as_ref()).or_else(|| endpoint(event)),
        }
    }
}

/// Distinct classes in the order of their raising: how often a retry or a group
/// repeats one varies.
fn names(trace: &Trace) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for exception in &trace.exceptions {
        if !names.contains(&exception.name.as_str()) {
            names.push(&exception.name);
        }
    }
    names
}

fn own_frames(trace: &Trace) -> Vec<&Frame> {
    let mut frames: Vec<&Frame> = Vec::new();
    for frame in trace.exceptions.iter().flat_map(|exception| &exception.frames) {
        if frame.in_app && !frames.contains(&frame) {
            frames.push(frame);
        }
        if frames.len() == MAX_FRAMES {
            break;
        }
    }
    frames
}

/// Errors while code is loaded: the frames are those of the importer, which is the
/// same whatever is missing.
fn is_told_by_message(name: &str) -> bool {
    matches!(
        name,
        "SyntaxError" | "IndentationError" | "TabError" | "ImportError" | "ModuleNotFoundError"
    )
}

/// One call can fail for wholly different reasons of the system or a server behind it,
/// which clients put into the message: an errno, an HTTP status, PostgreSQL's FATAL.
fn reason(message: &str) -> Option<&str> {
    if let Some(at) = message.find("FATAL:") {
        return Some(&message[at..]);
    }
    for mark in ["[Errno ", "Errno ", "Error code: ", "Error "] {
        if let Some(rest) = message.find(mark).map(|at| &message[at + mark.len()..]) {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if (1..=5).contains(&digits) {
                // As words: a number would be masked.
                return errno_word(&rest[..digits]);
            }
        }
    }
    None
}

fn errno_word(digits: &str) -> Option<&'static str> {
    Some(match digits {
        "2" => "not found",
        "11" | "35" => "would block",
        "12" => "no memory",
        "13" => "permission denied",
        "24" => "too many files",
        "28" => "disk full",
        "32" => "broken pipe",
        "98" => "address in use",
        "99" => "address not available",
        "101" => "network unreachable",
        "104" => "connection reset",
        "110" => "timed out",
        "111" | "61" => "connection refused",
        "113" => "no route",
        "400" => "bad request",
        "401" => "unauthorized",
        "403" => "forbidden",
        "404" => "not found there",
        "429" => "too many requests",
        "500" => "server error",
        "502" => "bad gateway",
        "503" => "unavailable",
        "504" => "gateway timeout",
        _ => return None,
    })
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

fn culprit(raised: Option<&Exception>, trace: Option<&Trace>) -> Option<String> {
    let innermost =
        |exception: &Exception| exception.frames.iter().rfind(|frame| frame.in_app).cloned();
    let frame = raised
        .and_then(innermost)
        .or_else(|| trace?.exceptions.iter().rev().find_map(innermost))?;
    let whole = if frame.function == "<syntax>" {
        frame.file
    } else {
        format!("{} in {}", frame.file, frame.function)
    };
    Some(whole[..whole.floor_char_boundary(MAX_TITLE)].to_owned())
}

fn endpoint(event: &Event) -> Option<String> {
    let path = event.path()?;
    let whole = match &event.method {
        Some(method) => format!("{method} {path}"),
        None => path.to_owned(),
    };
    Some(whole[..whole.floor_char_boundary(MAX_TITLE)].to_owned())
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
        const DIGITS: [char; 16] =
            ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        let digest = self.context.finish();
        let mut text = format!("{}:", self.version);
        for byte in &digest.as_ref()[..16] {
            text.push(DIGITS[usize::from(byte >> 4)]);
            text.push(DIGITS[usize::from(byte & 15)]);
        }
        text
    }
}

#[cfg(test)]
mod tests;
