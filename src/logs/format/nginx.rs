//! nginx's error log.

use super::{Context, Head, level};
use crate::logs::{
    record::{Fields, Kind, NginxError, NginxLine, Severity},
    time,
};

pub(super) fn starts(line: &[u8]) -> bool {
    // Go's own logger writes such times, too, and no level.
    (line.starts_with(b"2") && line.get(20) == Some(&b'[') && time::slashes(line).is_some())
        || (line.starts_with(b"nginx: [")
            && memchr::memchr(b']', &line[..line.len().min(20)]).is_some())
}

/// Keys in the order in which nginx writes them after the message.
const KEYS: [&str; 7] = [
    ", client: ",
    ", server: ",
    ", request: \"",
    ", subrequest: \"",
    ", upstream: \"",
    ", host: \"",
    ", referrer: \"",
];

pub(super) fn head<'a>(text: &'a str, context: &Context) -> Option<Head<'a>> {
    let bytes = text.as_bytes();
    let stamp = time::slashes(bytes);
    // "nginx: [emerg] …" is what it says on standard error at start
    let open = if stamp.is_some() { 20 } else { text.starts_with("nginx: [").then_some(7)? };
    let severity = bracketed(bytes, open);
    let (severity, mut at) = severity.unwrap_or((Severity::Info, open.min(bytes.len())));
    let mut pid = 0;
    // `1122#1122: *60 `
    if let Some(hash) = text.get(at..).and_then(|rest| rest.find('#')).filter(|hash| *hash < 12)
        && let Ok(number) = text[at..at + hash].trim().parse()
        && let Some(colon) = text[at + hash..].find(": ")
    {
        pid = number;
        at += hash + colon + 2;
        if text[at..].starts_with('*')
            && let Some(blank) = text[at..].find(' ')
        {
            at += blank + 1;
        }
    }
    while text.as_bytes().get(at) == Some(&b' ') {
        at += 1;
    }
    let message = text.get(at..).unwrap_or_default();
    Some(Head {
        kind: Kind::NginxError,
        at: stamp.and_then(|stamp| stamp.to_utc(context.zone)),
        severity,
        message_at: at,
        fields: Fields::Nginx(NginxLine { pid, message }),
    })
}

/// `[error] ` at `at`: what it means and the place after it.
fn bracketed(bytes: &[u8], at: usize) -> Option<(Severity, usize)> {
    let rest = bytes.get(at..)?.strip_prefix(b"[")?;
    let close = memchr::memchr(b']', &rest[..rest.len().min(12)])?;
    Some((level::word(&rest[..close])?, (at + close + 3).min(bytes.len())))
}

impl<'a> NginxLine<'a> {
    /// The message and the keys after it. The part before `, client: ` is nginx's own;
    /// what follows holds what clients sent, unescaped, so keys are looked for in
    /// nginx's order and a value ends where the next key begins.
    pub fn read(&self) -> NginxError<'a> {
        let mut fields = NginxError { pid: self.pid, ..NginxError::default() };
        let line = self.message.split('\n').next().unwrap_or_default();
        let tail = next_key(line, &KEYS[..1], false);
        let own = &line[..tail];
        // the last "(13: Permission denied)": paths before it may hold brackets
        fields.errno = own.rmatch_indices('(').find_map(|(at, _)| errno(&own[at + 1..]));
        fields.action = own.rfind(" while ").map(|at| own[at + 7..].trim_end_matches([',', ' ']));
        let mut rest = &line[tail..];
        for (index, key) in KEYS.iter().enumerate() {
            // cut at 2048 bytes: any of them may be missing
            let Some(value) = rest.strip_prefix(key) else { continue };
            let quoted = key.ends_with('"');
            let end = next_key(value, &KEYS[index + 1..], quoted);
            rest = &value[end..];
            let value = &value[..end];
            let value = if quoted { value.strip_suffix('"').unwrap_or(value) } else { value };
            let value = (!value.is_empty()).then_some(value);
            match index {
                0 => fields.client = value,
                1 => fields.server = value,
                2 => fields.request = value,
                4 => fields.upstream = value,
                5 => fields.host = value,
                _ => {}
            }
        }
        fields
    }
}

/// Where the first of the keys begins, or the text ends; a quoted value must end with
/// its quote first.
fn next_key(text: &str, keys: &[&str], quoted: bool) -> usize {
    memchr::memchr_iter(b',', text.as_bytes())
        .find(|at| {
            keys.iter().any(|key| text[*at..].starts_with(key))
                && (!quoted || text[..*at].ends_with('"'))
        })
        .unwrap_or(text.len())
}

fn errno(text: &str) -> Option<u32> {
    let (number, rest) = text.split_once(':')?;
    (rest.starts_with(' ') && rest.contains(')') && number.len() <= 5)
        .then(|| number.parse().ok())?
}
