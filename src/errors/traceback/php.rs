//! PHP's stack traces, of its own log ("Uncaught … Stack trace: #0 …") and of Monolog
//! ("\[object\] (…) \[stacktrace\] #0 …").

use super::{Exception, Frame, MAX_EXCEPTIONS, MAX_LINES, Trace, class, cut, path};

/// True if a line looks like the first frame of a trace.
pub(super) fn recognises(text: &str) -> bool {
    text.lines()
        .take(MAX_LINES)
        .any(|line| line.trim_start().starts_with("#0 ") && frame(line).is_some())
}

pub(super) fn parse(text: &str) -> Trace {
    let mut exceptions: Vec<Exception> = Vec::new();
    // Where the call that the next frame names was made: first where it was thrown.
    let mut place: Option<&str> = None;
    for line in text.lines().take(MAX_LINES) {
        if let Some((file, function)) = frame(line) {
            let Some(open) = exceptions.last_mut() else { continue };
            let at = std::mem::replace(&mut place, file);
            if let Some(at) = at {
                open.push(Frame {
                    file: path::in_project(cut(at)),
                    function,
                    in_app: path::in_app(at) && !at.contains("/vendor/"),
                });
            }
        } else if let Some((name, message, file)) = thrown(line) {
            if exceptions.len() >= MAX_EXCEPTIONS {
                break;
            }
            place = file;
            exceptions.push(Exception {
                name: class(name).to_owned(),
                message: cut(message).to_owned(),
                ..Exception::default()
            });
        }
    }
    // Monolog tells the outermost first, PHP itself the first.
    if text.contains("[previous exception]") {
        exceptions.reverse();
    }
    for exception in &mut exceptions {
        exception.frames.reverse();
    }
    Trace { exceptions }
}

/// `#1 /srv/shop/cart.php(10): Shop\Cart->load()`: the file in which it was called (none for
/// "\[internal function\]"), and what was called.
fn frame(line: &str) -> Option<(Option<&str>, String)> {
    let rest = line.trim().strip_prefix('#')?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let rest = rest[digits..].strip_prefix(' ').filter(|_| digits > 0)?;
    if rest == "{main}" {
        return Some((None, rest.to_owned()));
    }
    let (place, call) = rest.split_once(": ")?;
    let file = match place.strip_suffix(')').and_then(|place| place.rsplit_once('(')) {
        Some((file, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => Some(file),
        _ if place == "[internal function]" => None,
        _ => return None,
    };
    let call = call.split('(').next().unwrap_or(call);
    // Closures are numbered and named after where they stand, by PHP's version.
    let call = if call.contains("{closure") { "{closure}" } else { call };
    // Monolog writes them into JSON.
    Some((file, cut(call).replace(r"\\", r"\")))
}

/// `PHP Fatal error:  Uncaught PDOException: no driver in /srv/shop/db.php:11`,
/// `Next Shop\StockError: …`, `… \[object\] (PDOException(code: 2002): … at /srv/shop/db.php:11)`.
fn thrown(line: &str) -> Option<(&str, &str, Option<&str>)> {
    if let Some(at) = line.find("[object] (") {
        let said = &line[at + "[object] (".len()..];
        let (name, rest) = said.split_once("(code: ")?;
        let (_, rest) = rest.split_once("): ")?;
        let (message, place) = rest.rsplit_once(" at ").unwrap_or((rest, ""));
        return named(name).map(|name| (name, message, file_of(place.trim_end_matches(')'))));
    }
    let said = match line.find("Uncaught ") {
        Some(at) => &line[at + "Uncaught ".len()..],
        None => line.strip_prefix("Next ")?,
    };
    let (said, place) = said.rsplit_once(" in ").unwrap_or((said, ""));
    let (name, message) = said.split_once(": ").unwrap_or((said, ""));
    named(name).map(|name| (name, message, file_of(place)))
}

fn named(name: &str) -> Option<&str> {
    let valid = !name.is_empty()
        && name.len() <= 300
        && name.starts_with(|c: char| c.is_alphabetic() || c == '\\')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '\\' | '@'));
    valid.then_some(name)
}

fn file_of(place: &str) -> Option<&str> {
    let (file, line) = place.rsplit_once(':')?;
    (!file.is_empty() && !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some(file)
}
