//! Writing the stack of structured exceptions in the form in which the language itself prints
//! it, so that an error that an SDK sent and its traceback in a log are one.

use std::fmt::Write;

use crate::errors::detail::{Exception, Frame};

/// How deep exception groups are written.
const MAX_DEPTH: usize = 10;

const CAUSE: &str = "The above exception was the direct cause of the following exception:";
const CONTEXT: &str = "During handling of the above exception, another exception occurred:";

/// The stack as text; `None` if no exception has a frame.
///
/// SDKs send exceptions from the first cause to what was raised last, and frames from the
/// outermost call to the innermost.
pub(super) fn render(platform: &str, exceptions: &[Exception<'_>]) -> Option<String> {
    if exceptions.iter().all(|exception| exception.frames.is_empty()) {
        return None;
    }
    let mut out = String::with_capacity(4096);
    match platform {
        "python" => python(&mut out, exceptions),
        "java" | "kotlin" | "android" | "scala" => java(&mut out, exceptions),
        "csharp" | "dotnet" => dotnet(&mut out, exceptions),
        _ => javascript(&mut out, exceptions),
    }
    Some(out)
}

/// The class as the language prints it.
pub(super) fn class(platform: &str, exception: &Exception<'_>) -> String {
    let kind = exception.kind.as_deref().unwrap_or("Error");
    let qualified = matches!(platform, "python" | "java" | "kotlin" | "android");
    match exception.module.as_deref() {
        Some(module) if qualified && !module.is_empty() && !kind.contains('.') => match module {
            "builtins" | "__main__" | "exceptions" => kind.to_owned(),
            module => format!("{module}.{kind}"),
        },
        _ => kind.to_owned(),
    }
}

fn named(platform: &str, exception: &Exception<'_>) -> String {
    let class = class(platform, exception);
    match exception.value.as_deref() {
        Some(value) if !value.is_empty() => format!("{class}: {value}"),
        _ => class,
    }
}

fn path<'f>(frame: &'f Frame<'_>) -> &'f str {
    frame.abs_path.as_deref().or(frame.filename.as_deref()).unwrap_or("<unknown>")
}

// ---- Python ----

fn python(out: &mut String, exceptions: &[Exception<'_>]) {
    let id = |exception: &Exception<'_>| exception.mechanism.as_ref().and_then(|m| m.exception_id);
    let root = exceptions.iter().position(|exception| id(exception) == Some(0));
    let grouped = exceptions.iter().any(is_group);
    if let Some(root) = root
        && grouped
    {
        let mut seen = vec![false; exceptions.len()];
        Python { exceptions, out }.tree(root, 0, &mut seen);
        return;
    }
    for (n, exception) in exceptions.iter().enumerate() {
        if n > 0 {
            // How the one before is held by this one.
            let source = exceptions[n - 1].mechanism.as_ref().and_then(|m| m.source.as_deref());
            let joint = if source == Some("__context__") { CONTEXT } else { CAUSE };
            let _ = write!(out, "\n{joint}\n\n");
        }
        traceback(out, "", "Traceback (most recent call last):", exception);
    }
}

fn is_group(exception: &Exception<'_>) -> bool {
    exception.mechanism.as_ref().is_some_and(|mechanism| mechanism.is_exception_group)
}

fn traceback(out: &mut String, margin: &str, head: &str, exception: &Exception<'_>) {
    if !exception.frames.is_empty() {
        let _ = writeln!(out, "{margin}{head}");
    }
    for (n, frame) in exception.frames.iter().enumerate() {
        let function = frame.function.as_deref().unwrap_or("<module>");
        let line = frame.lineno.unwrap_or(0);
        let _ = writeln!(out, "{margin}  File \"{}\", line {line}, in {function}", path(frame));
        if let Some(code) = frame.context_line.as_deref().map(str::trim)
            && !code.is_empty()
        {
            let _ = writeln!(out, "{margin}    {code}");
        }
        cut_mark(out, margin, exception, n);
    }
    for line in named("python", exception).lines() {
        let _ = writeln!(out, "{margin}{line}");
    }
}

/// Exceptions that hold others by their ids.
struct Python<'o, 'e> {
    exceptions: &'e [Exception<'e>],
    out: &'o mut String,
}

impl Python<'_, '_> {
    /// `depth` counts the groups around it.
    fn tree(&mut self, at: usize, depth: usize, seen: &mut [bool]) {
        if depth > MAX_DEPTH || std::mem::replace(&mut seen[at], true) {
            return;
        }
        let exceptions = self.exceptions;
        let exception = &exceptions[at];
        let margin = if depth == 0 { String::new() } else { format!("{}| ", "  ".repeat(depth)) };
        let (mut causes, members): (Vec<usize>, Vec<usize>) =
            self.children(at).into_iter().partition(|child| {
                let mechanism = exceptions[*child].mechanism.as_ref();
                mechanism.and_then(|m| m.source.as_deref()).is_some_and(|s| s.starts_with("__c"))
            });
        // A cause's own cause is told with the same parent and a higher id.
        causes.reverse();
        for cause in causes {
            self.tree(cause, depth, seen);
            let source = exceptions[cause].mechanism.as_ref().and_then(|m| m.source.as_deref());
            let joint = if source == Some("__context__") { CONTEXT } else { CAUSE };
            let _ = write!(self.out, "{margin}\n{margin}{joint}\n{margin}\n");
        }
        if !is_group(exception) {
            traceback(self.out, &margin, "Traceback (most recent call last):", exception);
            return;
        }
        let count = members.len();
        let s = if count == 1 { "" } else { "s" };
        let said = exception.value.as_deref().unwrap_or_default();
        let exception = &Exception {
            value: Some(format!("{said} ({count} sub-exception{s})").into()),
            ..exception.clone()
        };
        let head = "Exception Group Traceback (most recent call last):";
        if depth == 0 {
            let _ = writeln!(self.out, "  + {head}");
            let mut inner = String::new();
            traceback(&mut inner, "  | ", head, exception);
            // The first line stands beside the plus already.
            let skip = usize::from(!exception.frames.is_empty());
            for line in inner.lines().skip(skip) {
                let _ = writeln!(self.out, "{line}");
            }
        } else {
            traceback(self.out, &margin, head, exception);
        }
        let depth = depth.max(1);
        let indent = "  ".repeat(depth);
        for (n, member) in members.into_iter().enumerate() {
            let plus = if n == 0 { "+-+" } else { "  +" };
            let _ = writeln!(self.out, "{indent}{plus}---------------- {} ----------------", n + 1);
            self.tree(member, depth + 1, seen);
        }
        let _ = writeln!(self.out, "{indent}  +------------------------------------");
    }

    /// In the order in which they are held.
    fn children(&self, parent: usize) -> Vec<usize> {
        let mechanism = |n: usize| self.exceptions[n].mechanism.as_ref();
        let Some(id) = mechanism(parent).and_then(|m| m.exception_id) else { return Vec::new() };
        let mut children: Vec<usize> = (0..self.exceptions.len())
            .filter(|&n| n != parent && mechanism(n).is_some_and(|m| m.parent_id == Some(id)))
            .collect();
        children.sort_by_key(|&n| mechanism(n).and_then(|m| m.exception_id));
        children
    }
}

// ---- JavaScript, and languages that print nothing that is read elsewhere ----

fn javascript(out: &mut String, exceptions: &[Exception<'_>]) {
    for (n, exception) in exceptions.iter().rev().enumerate() {
        let (head, margin) = if n == 0 { ("", "") } else { ("  [cause]: ", "  ") };
        let _ = writeln!(out, "{head}{}", named("javascript", exception));
        for (n, frame) in exception.frames.iter().enumerate().rev() {
            let place = match frame.lineno {
                Some(line) => format!("{}:{line}:{}", path(frame), frame.colno.unwrap_or(0)),
                // The engine's own: "Array.map (<anonymous>)".
                None => path(frame).to_owned(),
            };
            let _ = match frame.function.as_deref() {
                None | Some("" | "?" | "<anonymous>") => writeln!(out, "{margin}    at {place}"),
                Some(function) => match function.strip_suffix(".?") {
                    Some(owner) => writeln!(out, "{margin}    at {owner}.<anonymous> ({place})"),
                    None => writeln!(out, "{margin}    at {function} ({place})"),
                },
            };
            cut_mark(out, margin, exception, n.wrapping_sub(1));
        }
    }
}

// ---- Java, .NET ----

fn java(out: &mut String, exceptions: &[Exception<'_>]) {
    for (n, exception) in exceptions.iter().rev().enumerate() {
        let head = if n == 0 { "" } else { "Caused by: " };
        let _ = writeln!(out, "{head}{}", named("java", exception));
        for (n, frame) in exception.frames.iter().enumerate().rev() {
            let owner = frame.module.as_deref().unwrap_or("<unknown>");
            let method = frame.function.as_deref().unwrap_or("<unknown>");
            let _ = match (frame.filename.as_deref(), frame.lineno) {
                (Some(file), Some(line)) => writeln!(out, "\tat {owner}.{method}({file}:{line})"),
                (Some(file), None) if file.contains('.') => {
                    writeln!(out, "\tat {owner}.{method}({file})")
                }
                _ => writeln!(out, "\tat {owner}.{method}(Unknown Source)"),
            };
            cut_mark(out, "", exception, n.wrapping_sub(1));
        }
    }
}

fn dotnet(out: &mut String, exceptions: &[Exception<'_>]) {
    for (n, exception) in exceptions.iter().rev().enumerate() {
        let head = if n == 0 { "" } else { "Caused by: " };
        let _ = writeln!(out, "{head}{}", named("csharp", exception));
        for (n, frame) in exception.frames.iter().enumerate().rev() {
            let owner = frame.module.as_deref().map(|module| format!("{module}."));
            let owner = owner.unwrap_or_default();
            let method = frame.function.as_deref().unwrap_or("<unknown>");
            let method =
                if method.contains('(') { method.to_owned() } else { format!("{method}()") };
            // Spaces part nothing in a name, and the reader takes none.
            let (name, rest) = method.split_once('(').unwrap_or((&method, ")"));
            let name = name.replace(' ', "");
            let _ = match frame.lineno {
                Some(line) => {
                    writeln!(out, "   at {owner}{name}({rest} in {}:line {line}", path(frame))
                }
                None => writeln!(out, "   at {owner}{name}({rest}"),
            };
            cut_mark(out, "", exception, n.wrapping_sub(1));
        }
    }
}

/// Says where frames are missing: behind the first half of those that were kept.
fn cut_mark(out: &mut String, margin: &str, exception: &Exception<'_>, after: usize) {
    if exception.frames_cut > 0 && after.wrapping_add(1) == exception.frames.len() / 2 {
        let _ = writeln!(out, "{margin}  … [{} frames cut] …", exception.frames_cut);
    }
}
