//! Java-like stacks: `at package.Class.method(File.java:10)`, .NET's `in file:line 10`.

use super::{Exception, Frame, MAX_EXCEPTIONS, MAX_LINES, Trace, class, cut};

/// Packages of the language and of frameworks that call the application.
const FOREIGN: &[&str] = &[
    "java.",
    "javax.",
    "jakarta.",
    "jdk.",
    "sun.",
    "com.sun.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "groovy.",
    "org.springframework.",
    "org.apache.",
    "org.hibernate.",
    "org.eclipse.",
    "org.postgresql.",
    "com.mysql.",
    "com.zaxxer.",
    "com.fasterxml.",
    "com.google.",
    "io.netty.",
    "io.undertow.",
    "reactor.",
    "org.junit.",
    "System.",
    "Microsoft.",
    "Npgsql.",
    "Newtonsoft.",
];

/// True if some line looks like a Java or .NET frame.
pub(super) fn recognises(text: &str) -> bool {
    text.lines().take(MAX_LINES).any(|line| frame(line.trim()).is_some())
}

pub(super) fn parse(text: &str) -> Trace {
    let mut exceptions: Vec<Exception> = Vec::new();
    for line in text.lines().take(MAX_LINES).map(str::trim) {
        if let Some(frame) = frame(line) {
            if exceptions.is_empty() {
                exceptions.push(Exception::default());
            }
            if let Some(last) = exceptions.last_mut() {
                last.push(frame);
            }
        } else if let Some(exception) = named(line, exceptions.is_empty()) {
            if exceptions.len() >= MAX_EXCEPTIONS {
                break;
            }
            exceptions.push(exception);
        }
    }
    // Printed from the outside in, on both counts.
    exceptions.reverse();
    for exception in &mut exceptions {
        exception.frames.reverse();
    }
    Trace { exceptions }
}

/// `Caused by: java.io.IOException: no space`, `Exception in thread "main" a.b.C: d`
fn named(line: &str, first: bool) -> Option<Exception> {
    let caused = line.strip_prefix("Caused by: ").or(line.strip_prefix("---> "));
    if caused.is_none() && !first {
        return None;
    }
    let line = caused.unwrap_or(line);
    let line = match line.strip_prefix("Exception in thread \"") {
        Some(rest) => rest.split_once("\" ")?.1,
        None => line.strip_prefix("Unhandled exception. ").unwrap_or(line),
    };
    let (name, message) = line.split_once(": ").unwrap_or((line, ""));
    let valid = !name.is_empty()
        && name.len() <= 300
        && name.starts_with(|c: char| c.is_alphabetic())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '$'));
    valid.then(|| Exception {
        name: class(name).to_owned(),
        message: cut(message).to_owned(),
        ..Exception::default()
    })
}

fn frame(line: &str) -> Option<Frame> {
    let call = line.strip_prefix("at ")?;
    let open = call.find('(')?;
    let (name, place) = (&call[..open], &call[open + 1..]);
    let place = place.split(')').next()?;
    let dotnet = call.contains(") in ") && call.contains(":line ");
    let java = matches!(place, "Native Method" | "Unknown Source")
        || [".java", ".kt", ".scala", ".groovy", ".clj"]
            .iter()
            .any(|extension| place.split(':').next().is_some_and(|file| file.ends_with(extension)));
    if !(java || dotnet) || name.contains(' ') {
        return None;
    }
    // "app//com.shop.Cart.total": the class loader's and module's name.
    let name = name.rsplit('/').next().unwrap_or(name);
    let (owner, method) = name.rsplit_once('.')?;
    Some(Frame {
        in_app: !FOREIGN.iter().any(|package| name.starts_with(package)),
        file: generated(cut(owner)),
        function: generated(cut(method)),
    })
}

/// Numbers of generated classes and lambdas change with every start.
fn generated(name: &str) -> String {
    match name.find("$$").filter(|at| *at > 0) {
        Some(at) => name[..at].to_owned(),
        None => name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '$').to_owned(),
    }
}
