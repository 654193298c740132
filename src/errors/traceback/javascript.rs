//! JavaScript's stacks: V8's (`at f (file:1:2)`, with causes) and the browsers' `f@url:1:2`.

use super::{Exception, Frame, MAX_EXCEPTIONS, MAX_LINES, Trace, class, cut, path};

/// True if some line looks like a JavaScript frame.
pub(super) fn recognises(text: &str) -> bool {
    text.lines().take(MAX_LINES).any(|line| frame(line.trim()).is_some())
}

pub(super) fn parse(text: &str) -> Trace {
    let mut exceptions: Vec<Exception> = Vec::new();
    let mut open: Option<Exception> = None;
    let mut before = "";
    for line in text.lines().take(MAX_LINES).map(str::trim) {
        if let Some(frame) = frame(line) {
            // Frames follow the last line that names an exception.
            open.get_or_insert_with(|| named(before).unwrap_or_default()).push(frame);
            continue;
        }
        if line.starts_with("at ") || line.starts_with("...") {
            continue;
        }
        let line =
            line.strip_prefix("[cause]: ").or(line.strip_prefix("Caused by: ")).unwrap_or(line);
        if named(line).is_some() {
            exceptions.extend(open.take());
            if exceptions.len() >= MAX_EXCEPTIONS {
                break;
            }
            before = line;
        }
    }
    exceptions.extend(open);
    // Printed from the outside in, on both counts.
    exceptions.reverse();
    for exception in &mut exceptions {
        exception.frames.reverse();
    }
    Trace { exceptions }
}

/// `TypeError: x is not a function`, `Uncaught (in promise) Error: no`
fn named(line: &str) -> Option<Exception> {
    let line = line.strip_prefix("Uncaught ").unwrap_or(line);
    let line = line.strip_prefix("(in promise) ").unwrap_or(line);
    let (name, message) = line.split_once(": ").unwrap_or((line.trim_end_matches(" {"), ""));
    let name = name.split(" [").next().unwrap_or(name);
    let valid = !name.is_empty()
        && name.len() <= 200
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '$'));
    valid.then(|| Exception {
        name: class(name).to_owned(),
        message: cut(message.trim_end_matches(" {")).to_owned(),
        ..Exception::default()
    })
}

fn frame(line: &str) -> Option<Frame> {
    // Behind the last frame Node opens a brace for the cause and the error's own fields, and
    // parts the members of a list.
    let line = line.trim_end_matches([' ', '{', ',']);
    let (function, place) = if let Some(call) = line.strip_prefix("at ") {
        let call = call.strip_prefix("async ").unwrap_or(call);
        match call.strip_suffix(')').and_then(|call| call.rsplit_once(" (")) {
            Some((function, place)) => (function, place),
            None => ("<anonymous>", call),
        }
    } else {
        line.split_once('@').filter(|(function, _)| !function.contains(' '))?
    };
    // Line and column, both numbers.
    let (rest, column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !number(column) || !number(line) || file.is_empty() {
        return None;
    }
    let file = cut(file);
    let function = function.strip_prefix("new ").unwrap_or(function);
    let function = function.split(" [as ").next().unwrap_or(function);
    let function = if function.is_empty() { "<anonymous>" } else { function };
    Some(Frame {
        in_app: path::in_app(file),
        file: path::in_project(file),
        function: cut(function).to_owned(),
    })
}
