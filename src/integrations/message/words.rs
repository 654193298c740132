//! Texts of strangers, so that a channel shows them and does nothing else.

use crate::{llm, redact};

/// The longest text of one section, in characters (Slack takes 3000 bytes or so).
const SECTION: usize = 2900;

/// A text without secrets, addresses of people, hidden characters, mentions and markup: `&`, `<`
/// and `>` are what Slack's links and mentions are made of, and after each `@` stands a mark that
/// nobody sees, so that `@channel` calls nobody whatever the workspace makes of plain names.
pub fn inert(text: &str) -> String {
    let text = llm::visible(&redact::secrets_and_emails(text));
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("@\u{2060}"),
            '\t' => out.push(' '),
            c if c.is_control() && c != '\n' => {}
            c => out.push(c),
        }
    }
    out
}

/// A text of [`inert`] in pieces that each fit a section, cut at line ends where there are some.
pub fn section(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if rest.len() <= SECTION {
            parts.push(rest.to_owned());
            break;
        }
        let mut at = rest.floor_char_boundary(SECTION);
        if let Some(line) = rest[..at].rfind('\n').filter(|line| *line > SECTION / 2) {
            at = line;
        } else if let Some(entity) = rest[..at].rfind('&').filter(|entity| at - entity < 6) {
            // Half of "&amp;" would be shown as such.
            at = entity;
        }
        parts.push(rest[..at].trim_end().to_owned());
        rest = rest[at..].trim_start();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::{inert, section};

    #[test]
    fn nobody_is_called() {
        for text in
            ["<!here>", "<!channel|x>", "<@U0ADA>", "<#C0LUX>", "@channel", "@here", "@everyone"]
        {
            let inert = inert(text);
            assert!(!inert.contains('<') && !inert.contains('>'), "{inert}");
            for name in ["@channel", "@here", "@everyone", "@U0ADA"] {
                assert!(!inert.contains(name), "{inert}");
            }
        }
        assert_eq!(inert("a & b &amp; c"), "a &amp; b &amp;amp; c");
    }

    #[test]
    fn no_secret_and_no_address_leaves() {
        let text = inert("ada@example.com used access_token=hunter2hunter2\u{202e}");
        assert!(!text.contains("example.com") && !text.contains("hunter2"), "{text}");
        assert!(!text.contains('\u{202e}'), "{text}");
    }

    #[test]
    fn pieces_fit_and_are_whole() {
        let text = inert(&"&".repeat(3000));
        let parts = section(&text);
        assert!(parts.iter().all(|part| part.len() <= 2900 && part.ends_with("&amp;")));
        assert_eq!(parts.concat(), text);
        let lines = format!("{}\n{}", "a".repeat(2000), "b".repeat(2000));
        assert_eq!(section(&lines), ["a".repeat(2000), "b".repeat(2000)]);
        assert_eq!(section("  \n "), [""; 0]);
        assert_eq!(section(&"ü".repeat(4000)).concat(), "ü".repeat(4000));
    }
}
