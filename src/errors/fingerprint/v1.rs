//! Version 1. Frozen: a change here would break the histories of its groups.

use super::{Key, Seen, mask};
use crate::errors::traceback::{Frame, Trace};

const VERSION: u32 = 1;
/// What its fingerprints begin with.
pub(super) const PREFIX: &str = "1:";
/// Frames that count, over all exceptions of a chain.
const MAX_FRAMES: usize = 50;

pub(super) fn value(seen: &Seen<'_>) -> String {
    let frames = seen.trace.as_ref().map(own_frames).unwrap_or_default();
    let frames = frames.into_iter().map(|frame| (frame.file.as_str(), frame.function.as_str()));
    value_of(seen, frames)
}

/// Class and masked message of what was raised.
pub(super) fn cause_key(seen: &Seen<'_>) -> String {
    let (name, message) = seen.said();
    let mut cause = Key::new(VERSION);
    cause.add("type", name);
    cause.add("message", &mask(message));
    cause.finish()
}

/// The fingerprint by these frames (file, function).
pub(super) fn value_of<'a>(
    seen: &Seen<'_>,
    frames: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let (name, message) = seen.said();
    let mut key = Key::new(VERSION);
    match &seen.trace {
        Some(trace) => {
            for name in names(trace) {
                key.add("type", name);
            }
        }
        None => key.add("type", name),
    }
    let mut empty = true;
    for (file, function) in frames {
        key.add("file", file);
        key.add("function", function);
        empty = false;
    }
    if empty || is_told_by_message(name) {
        key.add("message", &mask(message));
    } else if let Some(reason) = reason(message) {
        key.add("reason", &mask(reason));
    }
    key.finish()
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

pub(super) fn own_frames(trace: &Trace) -> Vec<&Frame> {
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
