//! Ruby's stack traces: "app.rb:9:in `total': text (Class)" with its frames below, and those
//! that loggers write ("Class (text):", frames).

use super::{Exception, Frame, MAX_EXCEPTIONS, MAX_LINES, Trace, class, cut, path};

/// True if some line looks like one of Ruby's frames.
pub(super) fn recognises(text: &str) -> bool {
    text.lines().take(MAX_LINES).any(|line| frame(line).is_some())
}

pub(super) fn parse(text: &str) -> Trace {
    let mut exceptions: Vec<Exception> = Vec::new();
    for line in text.lines().take(MAX_LINES) {
        if let Some((frame, said)) = frame(line) {
            let raised = said.and_then(raised);
            if raised.is_some() && exceptions.len() >= MAX_EXCEPTIONS {
                break;
            }
            match raised {
                Some(raised) => exceptions.push(raised),
                None if exceptions.is_empty() => exceptions.push(Exception::default()),
                None => {}
            }
            if let Some(open) = exceptions.last_mut() {
                open.push(frame);
            }
        } else if exceptions.iter().all(|exception| exception.frames.is_empty())
            && let Some(logged) = logged(line)
        {
            exceptions = vec![logged];
        }
    }
    // Printed from the inside out, and what was raised last first.
    exceptions.reverse();
    for exception in &mut exceptions {
        exception.frames.reverse();
    }
    Trace { exceptions }
}

/// `\tfrom app/cart.rb:4:in 'total'`, and what stands behind it.
fn frame(line: &str) -> Option<(Frame, Option<&str>)> {
    let line = line.trim();
    let line = line.strip_prefix("from ").unwrap_or(line);
    let (place, rest) = line.split_once(":in ")?;
    let (file, number) = place.rsplit_once(':')?;
    let rest = rest.strip_prefix(['`', '\''])?;
    let (function, behind) = rest.split_once('\'')?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A logger's own head stands before the first one: "FATAL -- : [id] app/cart.rb:4".
    let file = file.rsplit([' ', ']']).next()?;
    if !file.contains(['.', '/']) && !file.starts_with(['<', '(', '-']) {
        return None;
    }
    let mut function = function;
    for clause in ["rescue in ", "ensure in "] {
        function = function.strip_prefix(clause).unwrap_or(function);
    }
    let foreign = ["/gems/", "/lib/ruby/", "<internal:", "/bundle/", "/rubygems/"];
    Some((
        Frame {
            in_app: path::in_app(file) && !foreign.iter().any(|part| file.contains(part)),
            file: path::in_project(cut(file)),
            function: cut(function).to_owned(),
        },
        behind.strip_prefix(": "),
    ))
}

/// `no stock for cart 4711 (Shop::StockError)`
fn raised(said: &str) -> Option<Exception> {
    let (message, name) = said.strip_suffix(')')?.rsplit_once(" (")?;
    constant(name).then(|| Exception {
        name: class(name).to_owned(),
        message: cut(message).to_owned(),
        ..Exception::default()
    })
}

/// `NoMethodError (undefined method 'price' for nil):`, `ArgumentError: text`, after whatever
/// the logger wrote before it.
fn logged(line: &str) -> Option<Exception> {
    let line = line.trim_end();
    let said = line.rsplit_once(" -- : ").map_or(line, |(_, said)| said);
    let said = match said.strip_prefix('[').and_then(|tagged| tagged.split_once("] ")) {
        Some((_, said)) => said,
        None => said,
    };
    let (name, message) = match said.split_once(" (") {
        Some((name, message)) if constant(name) => {
            (name, message.strip_suffix("):").or(message.strip_suffix(')'))?)
        }
        _ => said.split_once(": ").filter(|(name, _)| constant(name))?,
    };
    Some(Exception {
        name: class(name).to_owned(),
        message: cut(message).to_owned(),
        ..Exception::default()
    })
}

/// `PG::ConnectionBad`
fn constant(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && name.split("::").all(|part| {
            part.starts_with(|c: char| c.is_ascii_uppercase())
                && part.chars().all(|c| c.is_alphanumeric() || c == '_')
        })
}
