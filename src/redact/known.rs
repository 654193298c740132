//! Secrets whose text is known, found as they are and in the forms that they take on the
//! way: base64 (also in the middle of a longer one, as Basic authorization has it),
//! URL-encoded, JSON-escaped.

use std::{borrow::Cow, fmt, fmt::Write as _};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::{Engine, engine::general_purpose};
use url::Url;

/// What stands in a secret's place.
const MARK: &str = "‹secret›";

/// A shorter text is no secret, and striking it out would spoil every other.
const SHORTEST: usize = 5;

/// Finds a fixed set of secrets in texts, each in time linear in the text.
pub struct Known(Option<AhoCorasick>);

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known(..)")
    }
}

impl Known {
    /// Of a URL the password counts as well, by itself and as it is written. An error if
    /// the secrets are too many or too long to look for.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Self> {
        let mut forms = Vec::new();
        for secret in secrets {
            let secret = secret.trim();
            match Url::parse(secret) {
                Ok(url) if url.has_host() || url.scheme() == "sqlite" => of_url(&url, &mut forms),
                _ => of_text(secret, &mut forms),
            }
        }
        forms.sort();
        forms.dedup();
        if forms.is_empty() {
            return Ok(Self(None));
        }
        let found = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(forms)?;
        Ok(Self(Some(found)))
    }

    /// The text without them, and how many there were.
    pub fn strike<'a>(&self, text: &'a str) -> (Cow<'a, str>, usize) {
        let Some(found) = self.0.as_ref().filter(|found| found.is_match(text)) else {
            return (Cow::Borrowed(text), 0);
        };
        let mut out = String::with_capacity(text.len());
        let mut count = 0;
        found.replace_all_with(text, &mut out, |_, _, out| {
            count += 1;
            out.push_str(MARK);
            true
        });
        (Cow::Owned(out), count)
    }

    /// Whether one of them occurs in the text.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|found| found.is_match(text))
    }
}

/// A database's URL holds a password, or nothing that is secret: its host is none.
fn of_url(url: &Url, forms: &mut Vec<String>) {
    let mut add = |password: &str| {
        let written = url.username();
        let database = url.path().trim_start_matches('/');
        // Who uses the name as the password has no secret, and the name is in every log.
        if password != written && password != database {
            of_text(password, forms);
        }
    };
    if let Some(password) = url.password() {
        add(password);
        add(&decoded(password));
    }
    for (name, value) in url.query_pairs() {
        let name = name.to_ascii_lowercase();
        if ["pass", "token", "key", "secret", "sig"].iter().any(|word| name.contains(word)) {
            add(&value);
        }
    }
}

fn decoded(text: &str) -> String {
    // As a query's value, which is decoded; a plus stands for itself in a password.
    url::form_urlencoded::parse(format!("p={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map_or_else(|| text.to_owned(), |(_, value)| value.into_owned())
}

fn of_text(secret: &str, forms: &mut Vec<String>) {
    if secret.len() < SHORTEST {
        return;
    }
    forms.push(secret.to_owned());
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    forms.push(encoded.replace('+', "%20"));
    forms.push(encoded);
    // Other programs leave other characters as they are, and write small digits.
    let all = secret.bytes().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.write_char(byte.into())
            }
            byte => write!(text, "%{byte:02X}"),
        };
        text
    });
    forms.push(all.to_ascii_lowercase());
    forms.push(lower_escapes(&all));
    forms.push(all);
    let json = serde_json::Value::from(secret).to_string();
    forms.push(json.trim_matches('"').to_owned());
    for engine in [&general_purpose::STANDARD_NO_PAD, &general_purpose::URL_SAFE_NO_PAD] {
        // Three bytes become four characters, so a text has three faces; what depends on
        // its neighbours is left out at both ends.
        for shift in 0..3_usize {
            let bytes = [&[0; 2][..shift], secret.as_bytes()].concat();
            let from = (shift * 8).div_ceil(6);
            let to = bytes.len() * 8 / 6;
            let text = engine.encode(&bytes);
            if let Some(inner) = text.get(from..to).filter(|inner| inner.len() > SHORTEST) {
                forms.push(inner.to_owned());
            }
        }
    }
}

/// `%2F` as `%2f`, with letters as they are.
fn lower_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut digits = 0;
    for c in text.chars() {
        out.push(if digits > 0 { c.to_ascii_lowercase() } else { c });
        digits = if c == '%' { 2_u8 } else { digits.saturating_sub(1) };
    }
    out
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::Known;

    const KEY: &str = "sk-Zq8/w+x=7";

    #[test]
    fn a_known_secret_is_found_in_every_form() {
        let known = Known::new([KEY]).unwrap();
        let url = "sk-Zq8%2Fw%2Bx%3D7";
        for text in [
            KEY.to_owned(),
            format!("x{KEY}y"),
            url.to_owned(),
            url.replace("2F", "2f").replace("2B", "2b").replace("3D", "3d"),
            STANDARD.encode(KEY),
            STANDARD.encode(format!("user:{KEY}")),
            STANDARD.encode(format!("a:{KEY}:b")),
            STANDARD.encode(format!("ab:{KEY}:b")),
        ] {
            let (struck, count) = known.strike(&text);
            assert_eq!(count, 1, "{text} became {struck}");
            assert!(known.is_in(&text));
        }
        assert_eq!(known.strike("sk-other").1, 0);
    }

    #[test]
    fn of_a_url_the_password_is_the_secret() {
        let known = Known::new(["postgres://lux:hun%2Fter22@db.example/lux"]).unwrap();
        assert_eq!(known.strike("db.example of lux").1, 0);
        assert_eq!(known.strike("got hun/ter22 and hun%2Fter22").1, 2);
        let known = Known::new(["postgres://postgres:postgres@h/x", "sqlite:./a.db", "abc"]);
        assert_eq!(known.unwrap().strike("postgres at ./a.db abc").1, 0);
    }
}
