//! When two addresses are the same.

use unicode_normalization::UnicodeNormalization;

use crate::config::ascii_domain;

/// The longest address, in bytes.
const MAX: usize = 254;

/// An address as it is compared: without space around it, composed (NFC), the domain in the ASCII
/// form of IDNA, in lower case where it is ASCII. Dots and what follows a plus count: two such
/// addresses may be two people. `None` for what is no address.
pub fn key(text: &str) -> Option<String> {
    let text: String = text.trim().nfc().collect();
    let (local, domain) = text.rsplit_once('@')?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '@';
    if text.len() > MAX || local.is_empty() || local.contains(odd) || domain.contains(odd) {
        return None;
    }
    Some(format!("{}@{}", local.to_ascii_lowercase(), ascii_domain(domain)?))
}

/// The domain of an address in the form of [`key`].
pub(super) fn domain(key: &str) -> &str {
    key.rsplit_once('@').map_or("", |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn the_same_address_has_one_spelling() {
        for (one, other) in [
            ("ada@example.com", " Ada@Example.COM\n"),
            ("zo\u{eb}@example.com", "zoe\u{308}@example.com"),
            ("ada@m\u{fc}nchen.example", "ada@xn--mnchen-3ya.example"),
            ("ada@M\u{dc}NCHEN.example", "ada@mu\u{308}nchen.example"),
            ("ada@\u{ff45}xample.com", "ada@example.com"),
        ] {
            assert!(key(one).is_some(), "{one}");
            assert_eq!(key(one), key(other), "{one}, {other}");
        }
    }

    #[test]
    fn what_may_be_two_people_stays_two() {
        for (one, other) in [
            ("ada@example.com", "a.da@example.com"),
            ("ada@example.com", "ada+lux@example.com"),
            ("ada@example.com", "ada@example.com.evil.example"),
            // A Cyrillic letter in the domain, in the name.
            ("ada@example.com", "ada@ex\u{430}mple.com"),
            ("ada@example.com", "\u{430}da@example.com"),
            ("ada@example.com", "ada@sub.example.com"),
            // Only ASCII has one lower case that all agree on.
            ("\u{e4}da@example.com", "\u{c4}da@example.com"),
        ] {
            assert!(key(one).is_some() && key(other).is_some(), "{one}, {other}");
            assert_ne!(key(one), key(other), "{one}, {other}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@ ",
            "a b@example.com",
            "ada@exa mple.com",
            "ada@evil.example@example.com",
            "ada@127.0.0.1",
            "ada@[::1]",
            "ada@0x7f.1",
            "ada@ex%61mple.com",
            "ada@example.com.",
            "ada@example.com/x",
            "ada@example.com:80",
            "ada\0@example.com",
            "ada@exam\0ple.com",
        ] {
            assert_eq!(key(text), None, "{text:?}");
        }
        assert_eq!(key(&format!("{}@example.com", "x".repeat(250))), None);
    }
}
