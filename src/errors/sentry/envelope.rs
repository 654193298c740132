//! Taking an envelope apart: a line of JSON, then items of a line of JSON and a payload each.
//!
//! Items of any type and of any number of fields come out, so that one that nobody knows does
//! not cost the others.

use std::borrow::Cow;

use memchr::memchr;

use crate::errors::tree::{self, Tree};

/// Items of one envelope.
const MAX_ITEMS: usize = 1000;
/// Longest line of a header, in bytes.
const MAX_HEADER: usize = 64 * 1024;

/// The envelope's own line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub event_id: Option<String>,
    pub dsn: Option<String>,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub kind: Cow<'a, str>,
    pub payload: &'a [u8],
}

/// Reads the first line; gives what follows it.
pub(super) fn header(body: &[u8]) -> Result<(Header, &[u8]), String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err("the body is empty; an envelope begins with a line of JSON".to_owned());
    }
    let (line, rest) = line(body);
    let mut tree = object(line).map_err(|why| format!("the envelope's first line: {why}"))?;
    let mut text = |name| tree.take(name).into_plain().map(Cow::into_owned);
    Ok((Header { event_id: text("event_id"), dsn: text("dsn") }, rest))
}

/// The items, as far as they are whole, and what is wrong with the rest.
pub(super) fn items(body: &[u8]) -> (Vec<Item<'_>>, Option<String>) {
    let mut items = Vec::new();
    let mut rest = body;
    loop {
        let blank = rest.iter().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        rest = &rest[blank..];
        if rest.is_empty() {
            return (items, None);
        }
        let number = items.len() + 1;
        if number > MAX_ITEMS {
            let why = format!("the envelope has more than {MAX_ITEMS} items; send several");
            return (items, Some(why));
        }
        match item(rest) {
            Ok((item, after)) => {
                items.push(item);
                rest = after;
            }
            Err(why) => {
                let why = format!("item {number} of the envelope: {why}; what came before is kept");
                return (items, Some(why));
            }
        }
    }
}

fn item(body: &[u8]) -> Result<(Item<'_>, &[u8]), String> {
    let (header, after) = line(body);
    let mut tree = object(header)?;
    let Tree::Text(kind) = tree.take("type") else {
        return Err("its header has no type".to_owned());
    };
    let length = match tree.get("length").and_then(Tree::plain) {
        None => None,
        Some(length) => Some(
            length.parse::<usize>().map_err(|_| "its length is no number of bytes".to_owned())?,
        ),
    };
    let kind = Cow::Owned(kind.into_owned());
    let Some(length) = length else {
        let (payload, after) = line(after);
        return Ok((Item { kind, payload }, after));
    };
    let Some(payload) = after.get(..length) else {
        let there = after.len();
        return Err(format!("its payload ends after {there} of {length} bytes"));
    };
    match after.get(length..).unwrap_or_default() {
        [] => Ok((Item { kind, payload }, &[])),
        [b'\n', after @ ..] | [b'\r', b'\n', after @ ..] => Ok((Item { kind, payload }, after)),
        _ => {
            // Counted in characters where bytes are meant: a payload of one line shows its end.
            let (payload, after) = line(after);
            if payload.len() > length && payload.starts_with(b"{") && payload.ends_with(b"}") {
                return Ok((Item { kind, payload }, after));
            }
            Err(format!("its payload goes on after the {length} bytes that its header names"))
        }
    }
}

/// The first line without its end, and what follows.
fn line(body: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match memchr(b'\n', body) {
        Some(end) => (&body[..end], &body[end + 1..]),
        None => (body, &body[body.len()..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

fn object(line: &[u8]) -> Result<Tree<'static>, String> {
    if line.len() > MAX_HEADER {
        return Err(format!("its header is longer than {MAX_HEADER} bytes"));
    }
    let text = String::from_utf8_lossy(line);
    match tree::read(&text) {
        Ok(Tree::Map(fields)) => Ok(Tree::Map(
            fields
                .into_iter()
                .map(|(name, tree)| {
                    let tree = match tree.into_plain() {
                        Some(text) => Tree::Text(Cow::Owned(text.into_owned())),
                        None => Tree::Null,
                    };
                    (Cow::Owned(name.into_owned()), tree)
                })
                .collect(),
        )),
        Ok(_) => Err("its header is no JSON object".to_owned()),
        Err(broken) => Err(format!("its header is not valid JSON: {broken}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_apart(body: &str) -> (Vec<(String, String)>, Option<String>) {
        let (_, rest) = header(body.as_bytes()).unwrap();
        let (items, wrong) = items(rest);
        let text = |item: Item<'_>| {
            (item.kind.into_owned(), String::from_utf8_lossy(item.payload).into_owned())
        };
        (items.into_iter().map(text).collect(), wrong)
    }

    #[test]
    fn items_with_and_without_length() {
        let body = "{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\",\"x\":[1]}\n\
            {\"type\":\"event\",\"length\":8}\n{\"a\":\n1}\n\
            {\"type\":\"session\"}\n{\"b\":2}\n\n\
            {\"type\":\"new_thing\",\"length\":\"3\",\"y\":{}}\r\nabc\r\n\
            {\"type\":\"attachment\",\"length\":0}\n\n\
            {\"type\":\"event\"}\n{\"c\":3}";
        let (items, wrong) = taken_apart(body);
        assert_eq!(wrong, None);
        let items: Vec<(&str, &str)> =
            items.iter().map(|(k, p)| (k.as_str(), p.as_str())).collect();
        assert_eq!(
            items,
            [
                ("event", "{\"a\":\n1}"),
                ("session", "{\"b\":2}"),
                ("new_thing", "abc"),
                ("attachment", ""),
                ("event", "{\"c\":3}"),
            ]
        );
        assert_eq!(taken_apart("{}"), (vec![], None));
        assert_eq!(taken_apart("{}\n\n\n"), (vec![], None));
    }

    #[test]
    fn what_came_whole_is_kept() {
        let first = "{}\n{\"type\":\"event\",\"length\":2}\n{}\n";
        for (rest, why) in [
            ("{\"type\":\"event\",\"length\":50}\n{}", "ends after 2 of 50 bytes"),
            ("{\"type\":\"event\",\"length\":1}\nxyz\n", "goes on after the 1 bytes"),
            ("{\"type\":\"event\",\"length\":-1}\n{}\n", "no number of bytes"),
            ("{\"type\":[]}\n{}\n", "no type"),
            ("{\"length\":2}\n{}\n", "no type"),
            ("[]\n", "no JSON object"),
            ("{\"type\":\"ev", "not valid JSON"),
        ] {
            let (items, wrong) = taken_apart(&format!("{first}{rest}"));
            let wrong = wrong.expect(rest);
            assert!(wrong.contains(why) && wrong.contains("item 2"), "{rest}: {wrong}");
            assert_eq!(items.len(), 1, "{rest}");
        }
        // Characters were counted.
        let (items, wrong) = taken_apart("{}\n{\"type\":\"event\",\"length\":9}\n{\"a\":\"é\"}\n");
        assert_eq!((items.len(), wrong), (1, None));
        assert!(header(b" \n").is_err());
        assert!(header(b"[]\n").is_err());
    }
}
