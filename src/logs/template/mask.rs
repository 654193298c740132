//! Masking by one pass over the bytes: linear whatever the text holds.

use crate::logs::time;

/// Bytes of a text that are masked; a template needs no more.
const TEXT: usize = 4096;
/// Bytes within which a quoted value must end.
const QUOTED: usize = 300;

/// Replaces what varies in a message by placeholders: `<n>`, `<hex>`, `<uuid>`,
/// `<ip>`, `<time>`, `<str>` (a quoted value), `<path>`, `<url>`, `<email>`, `<id>`.
///
/// Numbers that are a kind of error stay ("[Errno 111]", "status 502"), and so do
/// quoted names of what a program is made of (`relation "orders"`, `module named 'x'`).
/// Blanks are folded; at most 4 KiB are read.
pub fn mask(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(TEXT)];
    let mut out = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            b' ' | b'\t' | b'\n' | b'\r' => {
                if !out.ends_with(' ') && !out.is_empty() {
                    out.push(' ');
                }
                at + 1
            }
            quote @ (b'"' | b'\'' | b'`') => quoted(text, at, quote, &mut out),
            b'/' if is_path(bytes, at) => {
                out.push_str("<path>");
                end_of_path(bytes, at)
            }
            byte if is_word(byte) => word(text, at, &mut out),
            _ => {
                // an ASCII byte: all others are of words
                out.push(char::from(bytes[at]));
                at + 1
            }
        };
    }
    out.truncate(out.trim_end().len());
    out
}

/// A request's path without query and with ids masked: `/user/42?x=1` → `/user/<n>`.
pub fn path(target: &str) -> String {
    let path = target.split(['?', '#', ';']).next().unwrap_or_default();
    let path = &path[..path.floor_char_boundary(512)];
    let mut out = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        if index > 12 {
            out.push('…');
            break;
        }
        let version = segment.len() <= 3
            && segment.strip_prefix('v').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if version {
            out.push_str(segment);
        } else if segment.contains('@') || segment.contains("%40") {
            out.push_str("<email>");
        } else if segment.len() > 48 {
            out.push_str("<id>");
        } else {
            let mut at = 0;
            while at < segment.len() {
                at = if is_word(segment.as_bytes()[at]) {
                    word(segment, at, &mut out)
                } else {
                    out.push(char::from(segment.as_bytes()[at]));
                    at + 1
                };
            }
        }
    }
    out
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Whether a path begins at the `/`: not within a word ("n/a", "text/html"), and
/// more than a lone slash.
fn is_path(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|at| bytes[at]);
    let after = bytes.get(at + 1).copied().unwrap_or(b' ');
    !before.is_some_and(|byte| is_word(byte) || matches!(byte, b'/' | b'>' | b'<'))
        && (is_word(after) || matches!(after, b'.' | b'-' | b'~' | b'%'))
}

fn end_of_path(bytes: &[u8], at: usize) -> usize {
    let len = bytes[at..]
        .iter()
        .take_while(|b| !b.is_ascii_whitespace() && !b"\"'`()[]{}<>,;|".contains(*b))
        .count();
    // "…/app.py:73" and a full stop at the end are no part of it
    let end = at + len;
    let rest = bytes[at..end].iter().rev().take_while(|b| matches!(b, b'.' | b':')).count();
    end - rest
}

/// A quoted value whole, or only the quote where it opens none.
fn quoted(text: &str, at: usize, quote: u8, out: &mut String) -> usize {
    const KEPT: [&str; 22] = [
        "relation",
        "column",
        "table",
        "database",
        "role",
        "constraint",
        "function",
        "index",
        "schema",
        "named",
        "module",
        "attribute",
        "name",
        "argument",
        "directive",
        "variable",
        "setting",
        "type",
        "zone",
        "unit",
        "command",
        "extension",
    ];
    let bytes = text.as_bytes();
    let opens = at == 0 || !is_word(bytes[at - 1]);
    let window = &bytes[at + 1..bytes.len().min(at + 1 + QUOTED)];
    let close = memchr::memchr_iter(quote, window)
        .find(|close| window.get(close + 1).is_none_or(|after| !is_word(*after)))
        .filter(|close| opens && memchr::memchr(b'\n', &window[..*close]).is_none());
    let Some(close) = close else {
        out.push(char::from(quote));
        return at + 1;
    };
    let inner = &text[at + 1..=at + close];
    let before = out.trim_end_matches([' ', ':', '=']);
    let kept = inner.len() <= 64
        && inner.bytes().all(|b| b.is_ascii_alphabetic() || b"_.-".contains(&b))
        && KEPT.iter().any(|word| before.ends_with(word));
    if kept {
        out.push_str(&text[at..at + close + 2]);
    } else if inner.is_empty() {
        out.push_str("\"\"");
    } else {
        out.push_str("<str>");
    }
    at + close + 2
}

/// A run of word characters joined by `.`, `:`, `-`: a word, number, address, id …
fn word(text: &str, at: usize, out: &mut String) -> usize {
    let bytes = text.as_bytes();
    if bytes[at].is_ascii_digit()
        && let Some(stamp) = time::iso(&bytes[at..]).or_else(|| time::slashes(&bytes[at..]))
    {
        out.push_str("<time>");
        return at + stamp.len;
    }
    let (mut digits, mut letters, mut unlike_hex) = (0, 0, 0);
    let (mut dots, mut colons, mut dashes) = (0, 0, 0);
    let mut end = at;
    while let Some(&byte) = bytes.get(end) {
        let joins = bytes.get(end + 1).is_some_and(|next| is_word(*next));
        match byte {
            b'0'..=b'9' => digits += 1,
            b'a'..=b'f' | b'A'..=b'F' => letters += 1,
            byte if is_word(byte) => {
                letters += 1;
                unlike_hex += 1;
            }
            b'.' if joins => dots += 1,
            b':' if joins => colons += 1,
            b':' if unlike_hex == 0
                && bytes[end..].starts_with(b"::")
                && bytes.get(end + 2).is_some_and(|next| is_word(*next)) =>
            {
                colons += 2;
                end += 1;
            }
            b'-' if joins => dashes += 1,
            b':' if bytes[end..].starts_with(b"://") && letters > 0 => {
                out.push_str("<url>");
                return end_of_path(bytes, end + 1);
            }
            b'@' if joins && letters + digits > 0 => {
                let domain = bytes[end + 1..]
                    .iter()
                    .take_while(|b| is_word(**b) || matches!(b, b'.' | b'-'))
                    .count();
                if bytes[end + 1..end + 1 + domain].contains(&b'.') {
                    let dot = usize::from(bytes[end + domain] == b'.');
                    out.push_str("<email>");
                    return end + 1 + domain - dot;
                }
                break;
            }
            _ => break,
        }
        end += 1;
    }
    let run = &text[at..end];
    if digits == 0 {
        out.push_str(run);
    } else if letters == 0 {
        out.push_str(match (dots, colons, dashes) {
            (3, 0 | 1, 0) if digits <= 17 => "<ip>",
            (_, 2.., _) | (_, _, 2..) => "<time>",
            (0, 0, 0) if digits <= 3 && is_code(out, bytes, end) => run,
            _ => "<n>",
        });
    } else if bytes[at] == b'0' && matches!(bytes.get(at + 1), Some(b'x' | b'X')) && unlike_hex == 1
    {
        out.push_str("<hex>");
    } else if unlike_hex == 0 && dashes == 4 && run.len() == 36 {
        out.push_str("<uuid>");
    } else if unlike_hex == 0 && dots == 0 && colons >= 2 {
        out.push_str("<ip>");
    } else if unlike_hex == 0 && dots == 0 && digits + letters >= 6 {
        out.push_str("<hex>");
    } else if dots == 0 && colons == 0 && digits >= 3 && run.len() >= 16 && dashes < 3 {
        out.push_str("<id>");
    } else {
        mixed(run, out);
    }
    end
}

/// Whether a number says what went wrong rather than how much or which.
fn is_code(before: &str, bytes: &[u8], end: usize) -> bool {
    const WORDS: [&str; 6] = ["errno", "code", "status", "signal", "error", "returned"];
    // "(13: Permission denied)"
    if before.ends_with('(') && bytes[end..].starts_with(b": ") {
        return true;
    }
    let before = before.trim_end_matches([' ', ':', '=', '(']);
    let tail = &before[before.ceil_char_boundary(before.len().saturating_sub(8))..];
    let tail = tail.to_ascii_lowercase();
    WORDS.iter().any(|word| tail.ends_with(word))
}

/// A word with digits in it: `worker12` → `worker<n>`, `12.5ms` → `<n>ms`.
fn mixed(run: &str, out: &mut String) {
    let bytes = run.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let from = at;
        if digit(at) {
            while digit(at) || (bytes.get(at) == Some(&b'.') && digit(at + 1)) {
                at += 1;
            }
            out.push_str("<n>");
        } else {
            while at < bytes.len() && !digit(at) {
                at += 1;
            }
            out.push_str(&run[from..at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_varies_is_masked() {
        let all = [
            ("order 17 created for user 4", "order <n> created for user <n>"),
            (
                "connect() failed (111: Connection refused)",
                "connect() failed (111: Connection refused)",
            ),
            ("[Errno 2] No such file: /var/www/x.py", "[Errno 2] No such file: <path>"),
            ("Error code: 429 - too fast", "Error code: 429 - too fast"),
            ("took 12.5ms, 3 rows", "took <n>ms, <n> rows"),
            ("peer 10.0.0.1:8000 gone", "peer <ip> gone"),
            ("peer fe80::1 or 2001:db8::ff00:42:8329", "peer <ip> or <ip>"),
            ("id 550e8400-e29b-41d4-a716-446655440000 x", "id <uuid> x"),
            ("at 0x7f3b2c and 9f86d081884c7d65", "at <hex> and <hex>"),
            ("see https://e.org/a?b=1, now", "see <url>, now"),
            ("user a.b+c@example.com failed", "user a.b+<email> failed"),
            ("can't open 'a b 7'", "can't open <str>"),
            ("relation \"orders\" does not exist", "relation \"orders\" does not exist"),
            ("No module named 'foo.bar'", "No module named 'foo.bar'"),
            ("KeyError: 'GBP'", "KeyError: <str>"),
            ("Worker (pid:123) was sent SIGKILL!", "Worker (pid:<n>) was sent SIGKILL!"),
            ("at 2026-11-20 12:53:05,783 on worker12", "at <time> on worker<n>"),
            ("key req_0123AbCdEfGh99xyz", "key <id>"),
            ("größe 5 überschritten", "größe <n> überschritten"),
            ("text/html n/a / 50%", "text/html n/a / <n>%"),
            ("a\n\n  b  ", "a b"),
        ];
        for (text, expected) in all {
            assert_eq!(mask(text), expected);
        }
    }

    #[test]
    fn paths_keep_their_words() {
        let all = [
            ("/user/42?x=1", "/user/<n>"),
            ("/", "/"),
            ("/api/v1/orders/550e8400-e29b-41d4-a716-446655440000/", "/api/v1/orders/<uuid>/"),
            ("/static/app.3f9c2a1b.css", "/static/app.<n>f<n>c<n>a<n>b.css"),
            ("/u/me@example.com", "/u/<email>"),
        ];
        for (target, expected) in all {
            assert_eq!(path(target), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_masked(text in "\\PC{0,300}", noise in "[-a-f0-9:./@'\" ]{0,80}") {
            prop_assert!(mask(&text).len() <= text.len() * 8 + 8);
            mask(&noise);
            path(&text);
            path(&noise);
        }
    }
}
