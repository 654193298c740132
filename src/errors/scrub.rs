//! Striking out secrets before anything is stored: by the names of fields, and in texts.
//!
//! Names: a field whose name speaks of a password, token, session, cookie … loses its value,
//! whatever that is; so do pairs (`["Cookie", "a=b"]`), `name`/`value` objects and the
//! parameters of queries and forms. Texts: what [`redact::secrets`] knows (keys by their
//! prefixes, bearer tokens, private keys, passwords in URLs, payment cards), and on demand
//! e-mail addresses and addresses of clients.

use std::{borrow::Cow, net::IpAddr, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use memchr::memchr2;

use super::tree::Tree;
use crate::{apps::Scrub, redact};

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// More of one text is not kept, and so not looked at, in bytes. Every text that is kept is
/// cut to far less afterwards, so that no half of a secret remains at its end.
const MAX_TEXT: usize = 64 * 1024;
/// Longest name that is looked at, in bytes.
const MAX_NAME: usize = 256;

/// A name that contains one of these (in any case) is a secret's.
const PARTS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "pwd",
    "secret",
    "token",
    "bearer",
    "apikey",
    "api_key",
    "api-key",
    "api.key",
    "accesskey",
    "access_key",
    "access-key",
    "privatekey",
    "private_key",
    "private-key",
    "authkey",
    "auth_key",
    "auth-key",
    "encryption_key",
    "signing_key",
    "authorization",
    "authenticat",
    "credential",
    "session",
    "sessid",
    "cookie",
    "csrf",
    "xsrf",
    "jwt",
    "database_url",
    "connection_string",
    "connectionstring",
    "card_number",
    "cardnumber",
    "card-number",
    "x-amz-signature",
    "webhook_url",
];

/// A name that has one of these as a word of its own is a secret's.
const WORDS: &[&str] =
    &["auth", "dsn", "pass", "sid", "otp", "pin", "cvv", "cvc", "ssn", "symfony"];

/// Names of fields that say from where a client came.
const ADDRESSES: &[&str] = &[
    "ip",
    "ip_address",
    "client_ip",
    "remote_addr",
    "remote_address",
    "x_forwarded_for",
    "x_real_ip",
    "forwarded",
    "cf_connecting_ip",
    "true_client_ip",
    "x_client_ip",
];

static NAMES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let built = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::DFA))
        .ascii_case_insensitive(true)
        .build(PARTS);
    // The table is constant: a test sees to it that it compiles.
    built.unwrap_or_else(|error| unreachable!("{error}"))
});

/// Scrubs by the default rules and those of one application.
#[derive(Clone, Copy, Debug)]
pub struct Scrubber<'s> {
    rules: &'s Scrub,
}

impl<'s> Scrubber<'s> {
    pub fn new(rules: &'s Scrub) -> Self {
        Self { rules }
    }

    /// Strikes out what is secret anywhere in the tree.
    pub fn tree(self, tree: &mut Tree<'_>) {
        match tree {
            Tree::Text(text) => self.text(text),
            Tree::Number(text) if text.len() >= 13 => self.text(text),
            Tree::List(trees) => self.list(trees),
            Tree::Map(fields) => {
                if fields.len() <= 4 {
                    self.named_value(fields);
                }
                for (name, tree) in fields {
                    self.field(name, tree);
                    // A name may be a value: {"alice@example.org": 3}, {"sk-…": …}.
                    if name.len() > 16 {
                        self.text(name);
                    }
                }
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Cut => {}
        }
    }

    /// Scrubs one text.
    pub fn text(self, text: &mut Cow<'_, str>) {
        if text.len() > MAX_TEXT {
            super::tree::cut(text, MAX_TEXT);
        }
        if self.rules.off {
            return;
        }
        if self.rules.addresses && is_addresses(text) {
            *text = Cow::Borrowed(REDACTED);
            return;
        }
        // No rule matches a short text that names nothing.
        if text.len() < 12 && memchr2(b'=', b':', text.as_bytes()).is_none() {
            return;
        }
        let struck = if self.rules.emails {
            redact::secrets_and_emails(text)
        } else {
            redact::secrets(text)
        };
        if let Cow::Owned(struck) = struck {
            *text = Cow::Owned(struck);
        }
        if memchr::memchr(b'=', text.as_bytes()).is_some() {
            self.parameters(text);
        }
        for key in &self.rules.keys {
            behind_name(text, key);
        }
    }

    /// Whether a field of this name holds a secret.
    pub fn is_secret(self, name: &str) -> bool {
        if self.rules.off || name.len() > MAX_NAME {
            return false;
        }
        NAMES.is_match(name)
            || has_secret_word(name)
            || self.rules.keys.iter().any(|key| position(name, key).is_some())
    }

    fn field(self, name: &str, tree: &mut Tree<'_>) {
        if self.is_secret(name) {
            strike(name, tree);
        } else if self.rules.addresses && !self.rules.off && is_address_name(name) {
            if !tree.is_empty() {
                *tree = Tree::Text(Cow::Borrowed(REDACTED));
            }
        } else {
            self.tree(tree);
        }
    }

    /// A list of pairs is one of fields.
    fn list(self, trees: &mut [Tree<'_>]) {
        if let [Tree::Text(name), value] = trees
            && !matches!(value, Tree::Map(_))
        {
            let name = name.to_string();
            self.field(&name, value);
        }
        for tree in trees {
            self.tree(tree);
        }
    }

    /// `{"name": "Authorization", "value": "…"}`
    fn named_value(self, fields: &mut [(Cow<'_, str>, Tree<'_>)]) {
        let at = |wanted: &[&str]| {
            fields.iter().position(|(name, _)| wanted.iter().any(|w| name.eq_ignore_ascii_case(w)))
        };
        let (Some(name), Some(value)) = (at(&["name", "key"]), at(&["value"])) else { return };
        if let Tree::Text(text) = &fields[name].1
            && self.is_secret(text)
        {
            strike("", &mut fields[value].1);
        }
    }

    /// `a=1&password=x`, also behind a URL's question mark.
    fn parameters(self, text: &mut Cow<'_, str>) {
        if !text.contains(['?', '&']) && !is_one_parameter(text) {
            return;
        }
        let mut struck: Vec<(usize, usize)> = Vec::new();
        let bytes = text.as_bytes();
        let ends = |b: &u8| matches!(b, b'&' | b';' | b' ' | b'#' | b'"' | b'\'' | b'\n' | b'\r');
        for equal in memchr::memchr_iter(b'=', bytes) {
            let from = bytes[..equal]
                .iter()
                .rposition(|b| ends(b) || *b == b'?')
                .map_or(0, |before| before + 1);
            let to = bytes[equal..].iter().position(ends).map_or(bytes.len(), |n| equal + n);
            let after_last = struck.last().is_none_or(|(_, end)| from >= *end);
            if to > equal + 1
                && after_last
                && self.is_secret(&text[from..equal])
                && &text[equal + 1..to] != REDACTED
            {
                struck.push((equal + 1, to));
            }
        }
        replace(text, &struck);
    }
}

/// Empty values say that there is none, and truth values are no secrets. Of many values
/// (cookies, headers) the names remain.
fn strike(name: &str, tree: &mut Tree<'_>) {
    match tree {
        Tree::Null | Tree::Bool(_) | Tree::Cut => {}
        Tree::Text(text) if text.is_empty() => {}
        // "max_tokens": 4096
        Tree::Number(_) if name.to_ascii_lowercase().ends_with("tokens") => {}
        Tree::Map(fields) if name.to_ascii_lowercase().ends_with("cookies") => {
            for (_, tree) in fields {
                *tree = Tree::Text(Cow::Borrowed(REDACTED));
            }
        }
        tree => *tree = Tree::Text(Cow::Borrowed(REDACTED)),
    }
}

/// Words are parted by what is no letter, and by a capital after a small one.
fn has_secret_word(name: &str) -> bool {
    let is_secret = |word: &str| {
        (3..=7).contains(&word.len())
            && WORDS.iter().any(|secret| word.eq_ignore_ascii_case(secret))
    };
    let bytes = name.as_bytes();
    let mut from = 0;
    for at in 1..bytes.len() {
        let apart = !bytes[at].is_ascii_alphanumeric();
        let capital = bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase();
        if apart || capital {
            if name.get(from..at).is_some_and(is_secret) {
                return true;
            }
            from = if apart { at + 1 } else { at };
        }
    }
    name.get(from..).is_some_and(is_secret)
}

fn is_address_name(name: &str) -> bool {
    let name = name.strip_prefix("HTTP_").unwrap_or(name);
    ADDRESSES.iter().any(|address| {
        address.len() == name.len()
            && address.bytes().zip(name.bytes()).all(|(a, b)| {
                let b = if b == b'-' { b'_' } else { b.to_ascii_lowercase() };
                a == b
            })
    })
}

/// One address, or several with commas between.
fn is_addresses(text: &str) -> bool {
    text.len() <= 400 && text.split(',').all(|part| part.trim().parse::<IpAddr>().is_ok())
}

/// `password=x`, nothing else.
fn is_one_parameter(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    })
}

/// Strikes out what is set to a name that only this application knows to be secret, in texts
/// that quote it: `name=value`, `'name': 'value'`, `"name": 5`.
fn behind_name(text: &mut Cow<'_, str>, name: &str) {
    let mut struck: Vec<(usize, usize)> = Vec::new();
    let mut from = 0;
    while let Some(found) = position(&text[from..], name) {
        let end = from + found + name.len();
        from = end;
        let bytes = text.as_bytes();
        let skip = |at: usize, set: &[u8]| {
            at + bytes[at..].iter().take(8).take_while(|b| set.contains(b)).count()
        };
        let word = end
            + bytes[end..]
                .iter()
                .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
                .count();
        let sign = skip(word, b"\\\"' ]");
        if !matches!(bytes.get(sign), Some(b'=' | b':')) {
            continue;
        }
        let value = skip(skip(sign, b"=:>"), b" ");
        let open = skip(value, b"\\\"'");
        let close = bytes[open..]
            .iter()
            .position(|b| match bytes.get(open.wrapping_sub(1)) {
                Some(quote @ (b'"' | b'\'')) if open > value => b == quote || *b == b'\\',
                _ => matches!(b, b' ' | b',' | b'&' | b';' | b'}' | b')' | b']' | b'\n' | b'\r'),
            })
            .map_or(bytes.len(), |n| open + n);
        if close > open && &text[open..close] != REDACTED {
            struck.push((open, close));
            from = close;
        }
    }
    replace(text, &struck);
}

/// Where `name` begins in `text`, in any case.
fn position(text: &str, name: &str) -> Option<usize> {
    let first = *name.as_bytes().first()?;
    let (small, large) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    let bytes = text.as_bytes();
    memchr::memchr2_iter(small, large, bytes).find(|&at| {
        bytes
            .get(at..at + name.len())
            .is_some_and(|part| part.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// Puts [`REDACTED`] in the place of each span; they are in order and do not overlap.
fn replace(text: &mut Cow<'_, str>, spans: &[(usize, usize)]) {
    if spans.is_empty() {
        return;
    }
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for &(start, end) in spans {
        out.push_str(&text[from..start]);
        out.push_str(REDACTED);
        from = end;
    }
    out.push_str(&text[from..]);
    *text = Cow::Owned(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::tree;

    fn scrubbed(rules: &Scrub, json: &str) -> String {
        let mut tree = tree::read(json).unwrap();
        Scrubber::new(rules).tree(&mut tree);
        serde_json::to_string(&tree).unwrap()
    }

    #[test]
    fn secrets_go_by_their_names_wherever_they_stand() {
        let rules = Scrub::default();
        for json in [
            r#"{"password": "S3CRET"}"#,
            r#"{"a": [{"b": {"DB_PASSWORD": {"deep": ["S3CRET"]}}}]}"#,
            r#"{"userApiKey": "S3CRET", "x": 1}"#,
            r#"{"headers": [["Cookie", "S3CRET"], ["X-Api-Key", "S3CRET"]]}"#,
            r#"{"headers": {"proxy-authorization": "S3CRET", "X-CSRFToken": ["S3CRET"]}}"#,
            r#"[{"key": "Authorization", "value": "S3CRET"}]"#,
            r#"[{"name": "sid", "value": "S3CRET"}]"#,
            r#"{"auth": "S3CRET", "basicAuth": "S3CRET", "auth-x": "S3CRET"}"#,
            r#"{"query_string": "a=1&auth=S3CRET&b=2&session_id=S3CRET"}"#,
            r#"{"query_string": "pin=S3CRET"}"#,
            r#"{"query_string": [["token", "S3CRET"]]}"#,
            r#"{"url": "https://shop.example/cb?next=/a&access_token=S3CRET#x"}"#,
            r#"{"url": "postgres://shop:S3CRET@db/shop"}"#,
            r#"{"x": "{'password': 'S3CRET', 'a': 1}"}"#,
            r#"{"x": "{\"api_key\": \"S3CRET\"}"}"#,
            r#"{"x": "Authorization: Bearer S3CRET"}"#,
            r#"{"pin": 83728191, "otp": 1}"#,
            r#"{"cookies": {"a": "S3CRET"}}"#,
            r#"{"x": "paid with 4111 1111 1111 1111", "y": 4111111111111111}"#,
            r#"{"x": "-----BEGIN RSA PRIVATE KEY-----\nS3CRET"}"#,
        ] {
            let text = scrubbed(&rules, json);
            assert!(!text.contains("S3CRET") && !text.contains("8372"), "{json} became {text}");
            assert!(!text.contains("1111"), "{json} became {text}");
            assert!(text.contains(REDACTED), "{json} became {text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        let rules = Scrub::default();
        for json in [
            r#"{"author":"Ann","key":"cart:7","tokens_used":null,"max_tokens":4096}"#,
            r#"{"authenticated":true,"monkey":"x","passenger":"Bob","shipping":"y"}"#,
            r#"{"password":"","token":null,"a":["x","y"]}"#,
            r#"["alice@example.org","10.0.0.1","/orders/7?page=2&sort=asc"]"#,
            r#"{"type":"KeyError","value":"'price'","module":"builtins"}"#,
            r#"["a=b","x = 5","total = cart.total()"]"#,
        ] {
            assert_eq!(scrubbed(&rules, json), json);
        }
    }

    #[test]
    fn an_application_may_want_more_or_nothing() {
        let all = Scrub {
            emails: true,
            addresses: true,
            keys: vec!["tax_id".into(), "Kundennummer".into()],
            ..Scrub::default()
        };
        let json = r#"{"m": "to alice@example.org", "REMOTE_ADDR": "10.0.0.1",
            "X-Forwarded-For": "10.0.0.1, 2001:db8::1", "user": {"ip_address": "10.0.0.1"},
            "list": ["10.0.0.1"], "TAX_ID": 98765, "q": "a=1&kundennummer=98765",
            "repr": "{'tax_id': '98765', 'b': 2}", "repr2": "Order(tax_id=98765, b=2)",
            "json": "{\"tax_id\": 98765}", "json2": "{\"tax_id\":\"98765\"}"}"#;
        let text = scrubbed(&all, json);
        for secret in ["alice", "10.0.0.1", "2001:db8", "98765"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("'b': 2") && text.contains("b=2") && text.contains("a=1"), "{text}");
        let off = Scrub { off: true, ..Scrub::default() };
        let json = r#"{"password":"x1y2z3","m":"Bearer abcdef123456"}"#;
        assert_eq!(scrubbed(&off, json), json);
    }
}
