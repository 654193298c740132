//! Go's panics: "panic: text", the goroutine that panicked, its calls.

use super::{Exception, Frame, MAX_LINES, Trace, cut, path};

/// Packages of the language, as functions begin with them.
const FOREIGN: [&str; 32] = [
    "archive",
    "bufio",
    "bytes",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "encoding",
    "errors",
    "fmt",
    "hash",
    "html",
    "image",
    "internal",
    "io",
    "log",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "reflect",
    "regexp",
    "runtime",
    "sort",
    "strconv",
    "strings",
    "sync",
    "syscall",
    "testing",
    "time",
];

/// True if the text tells of a goroutine's calls.
pub(super) fn recognises(text: &str) -> bool {
    text.lines().take(MAX_LINES).any(is_goroutine)
}

fn is_goroutine(line: &str) -> bool {
    line.strip_prefix("goroutine ").and_then(|rest| rest.split_once(" [")).is_some_and(
        |(number, state)| number.bytes().all(|byte| byte.is_ascii_digit()) && state.ends_with(':'),
    )
}

pub(super) fn parse(text: &str) -> Trace {
    let mut exception = Exception::default();
    let mut lines = text.lines().take(MAX_LINES);
    for line in lines.by_ref() {
        if is_goroutine(line) {
            break;
        }
        // Of a panic while another one was dealt with, the last is the one that ended it.
        if let Some((name, message)) = said(line) {
            name.clone_into(&mut exception.name);
            cut(message).clone_into(&mut exception.message);
        }
    }
    let mut call: Option<&str> = None;
    for line in lines {
        // The others only waited.
        if line.is_empty() || line.starts_with("created by ") || is_goroutine(line) {
            break;
        }
        match (line.strip_prefix('\t'), call.take()) {
            (None, _) => call = Some(line.rfind('(').map_or(line, |at| &line[..at])),
            (Some(place), Some(function)) => {
                // What stands above it handled the panic.
                if function == "panic" || function == "runtime.gopanic" {
                    exception.frames.clear();
                    continue;
                }
                let file = place.split(':').next().unwrap_or(place);
                exception.push(Frame {
                    in_app: in_app(file, function),
                    file: path::in_project(cut(file)),
                    function: cut(function).to_owned(),
                });
            }
            (Some(_), None) => {}
        }
    }
    exception.frames.reverse();
    Trace { exceptions: vec![exception] }
}

/// `panic: runtime error: index out of range [5] with length 1`, `http: panic serving ADDR: …`,
/// `fatal error: …`: its kind and its text.
fn said(line: &str) -> Option<(&str, &str)> {
    let text = if let Some(at) = line.find("http: panic serving ") {
        line[at..].splitn(3, ": ").nth(2)?
    } else if let Some(at) = line.find("panic: ") {
        &line[at + "panic: ".len()..]
    } else {
        return line.strip_prefix("fatal error: ").map(|text| ("fatal error", text));
    };
    let text = text.trim_end_matches(" [recovered]");
    Some(match text.strip_prefix("runtime error: ") {
        Some(text) => ("runtime error", text),
        None => ("panic", text),
    })
}

fn in_app(file: &str, function: &str) -> bool {
    let package = function.split(['.', '/']).next().unwrap_or_default();
    !file.contains("/pkg/mod/")
        && !file.contains("@v")
        && !file.contains("/vendor/")
        && path::in_app(file)
        && !FOREIGN.contains(&package)
}
