//! Python's tracebacks: chained exceptions, exception groups, syntax errors.

use super::{Exception, Frame, MAX_EXCEPTIONS, MAX_LINES, Trace, class, cut, path};

const HEADER: &str = "Traceback (most recent call last)";

/// True if the text holds a Python traceback.
pub(super) fn recognises(text: &str) -> bool {
    text.contains(HEADER) || (text.contains("File \"") && text.contains("\", line "))
}

/// Reads all exceptions of the text, in the order in which Python prints them.
pub(super) fn parse(text: &str) -> Trace {
    let mut reader = Reader::default();
    for line in text.lines().take(MAX_LINES) {
        reader.line(line);
        if reader.found.len() >= MAX_EXCEPTIONS {
            break;
        }
    }
    reader.end_of_text();
    Trace { exceptions: reader.found }
}

#[derive(Default)]
struct Reader {
    found: Vec<Exception>,
    /// Frames of the exception whose name comes below them.
    open: Exception,
    /// Inside a traceback: the next line at its margin names the exception.
    inside: bool,
    /// Columns before the traceback's own text.
    indent: usize,
    /// Inside an exception group, whose lines begin with `|`.
    group: bool,
}

impl Reader {
    fn line(&mut self, raw: &str) {
        let (line, separator) = if self.group || raw.contains("Exception Group Traceback") {
            margin(raw)
        } else {
            (raw, false)
        };
        if separator {
            self.close(None);
            // A member that was never raised has no traceback: its name comes at once.
            self.inside = raw.contains("- ");
            self.group = self.inside || self.group;
            self.indent = 0;
            self.open.nested = self.inside;
            return;
        }
        if line.contains(HEADER) {
            let nested = self.group && self.open.nested;
            self.close(None);
            self.open.nested = nested;
            self.group |= line.contains("Exception Group Traceback");
            self.inside = true;
            self.indent = if self.group { 0 } else { columns(raw) };
            return;
        }
        let text = line.trim_start();
        if let Some(frame) = frame(text) {
            self.inside = true;
            self.open.push(frame);
            return;
        }
        if !self.inside || text.is_empty() || columns(line) > self.indent {
            return;
        }
        if let Some((name, message)) = exception(text) {
            self.close(Some((name, message)));
        }
    }

    fn close(&mut self, named: Option<(&str, &str)>) {
        let mut open = std::mem::take(&mut self.open);
        self.inside = false;
        if let Some((name, message)) = named {
            class(name).clone_into(&mut open.name);
            cut(message).clone_into(&mut open.message);
            self.found.push(open);
        }
    }

    /// A traceback whose end was cut off still says where it went through.
    fn end_of_text(&mut self) {
        if !self.open.frames.is_empty() && self.found.len() < MAX_EXCEPTIONS {
            self.found.push(std::mem::take(&mut self.open));
        }
    }
}

/// Takes an exception group's margin (`  | `) away; true for its separators (`  +-+---- 1 ----`).
fn margin(line: &str) -> (&str, bool) {
    let rest = line.trim_start();
    if rest.starts_with("+-") {
        return (rest, true);
    }
    if let Some(rest) = rest.strip_prefix("+ ") {
        return (rest, false);
    }
    match rest.strip_prefix('|') {
        Some(rest) => (rest.strip_prefix(' ').unwrap_or(rest), false),
        // The line that joins two tracebacks of a chain has no margin.
        None => (line, false),
    }
}

/// `File "/srv/shop/app.py", line 10, in checkout`
fn frame(text: &str) -> Option<Frame> {
    let (file, rest) = text.strip_prefix("File \"")?.split_once("\", line ")?;
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    // A syntax error names the file that could not be read, and no function.
    let function = rest.strip_prefix(", in ").map_or("<syntax>", str::trim);
    let file = cut(file);
    Some(Frame {
        in_app: path::in_app(file),
        file: path::in_project(file),
        function: cut(function).to_owned(),
    })
}

/// `psycopg2.OperationalError: connection refused`
fn exception(text: &str) -> Option<(&str, &str)> {
    let (name, message) = match text.split_once(": ") {
        Some((name, message)) => (name, message),
        None => (text.trim_end().trim_end_matches(':'), ""),
    };
    let valid = !name.is_empty()
        && name.len() <= 200
        && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '<' | '>'))
        && class(name).starts_with(|c: char| c.is_alphabetic() || c == '_');
    valid.then_some((name, message.trim_end()))
}

fn columns(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
