//! The words of a ticket. What comes from errors, logs and requests was written by anybody: it may
//! hold secrets, addresses of people, mark-up, and what a tracker acts upon (`@team`, `fixes #1`).
//! All of it goes through here on its way out.

use std::fmt::Write;

use serde_json::{Value, json};
use url::Url;

use crate::{llm, redact};

/// The longest that is looked at, shown of a paragraph or an item, and of a block of code.
const MAX_READ: usize = 64 << 10;
const MAX_TEXT: usize = 2000;
const MAX_CODE: usize = 8000;
/// Items of a list.
const MAX_ITEMS: usize = 30;
/// All of one body; trackers take 32 kB and more.
const MAX_BODY: usize = 24_000;
/// The longest title, in characters.
pub const MAX_TITLE: usize = 250;

/// A space of no width, behind each sign that a tracker would act upon.
const BREAK: char = '\u{200b}';

/// A part of a ticket's text. The words need not be safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Lux's own words.
    Heading(&'static str),
    Text(String),
    Code(String),
    List(Vec<String>),
    /// Words and an address of ours.
    Link(&'static str, Url),
}

impl Block {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// A text as it may leave: bounded, without secrets and people's addresses, without characters
/// that hide others.
pub fn plain(text: &str, most: usize) -> String {
    let read = &text[..text.floor_char_boundary(MAX_READ)];
    let visible = llm::visible(read);
    // What is struck out has to be whole: cut only afterwards.
    let struck = redact::secrets_and_emails(&visible);
    let struck = struck.trim();
    if struck.chars().count() <= most && read.len() == text.len() {
        return struck.to_owned();
    }
    let mut cut: String = struck.chars().take(most.saturating_sub(4)).collect();
    cut.push_str(" […]");
    cut
}

/// The same on one line, with nothing that a tracker acts upon.
pub fn line(text: &str, most: usize) -> String {
    let flat: Vec<&str> = text[..text.floor_char_boundary(MAX_READ)].split_whitespace().collect();
    inert(&plain(&flat.join(" "), most), most)
}

/// Breaks mentions, references and addresses, so that they are only read.
fn inert(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let (mut before, mut count) = (['\0'; 3], 0);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next().filter(|_| count < most) {
        let next = chars.peek().copied().unwrap_or_default();
        out.push(c);
        count += 1;
        let before_that = before.map(|c| c.to_ascii_lowercase());
        let is_acted_upon = match c {
            '@' | '#' | '!' => next.is_alphanumeric() || "_[{(/".contains(next),
            ':' => next == '/',
            // GH-12, www.example.com
            '-' => next.is_ascii_digit() && before_that[1..] == ['g', 'h'],
            '.' => before_that == ['w', 'w', 'w'],
            _ => false,
        };
        if is_acted_upon {
            out.push(BREAK);
            count += 1;
        }
        before = [before[1], before[2], c];
    }
    if count > most {
        out.pop();
    }
    out
}

/// The blocks as they may leave, all together within what every tracker takes.
fn bounded(blocks: &[Block]) -> Vec<Block> {
    let mut room = MAX_BODY;
    let mut kept = Vec::new();
    let mut take = |text: String| {
        if text.is_empty() {
            return None;
        }
        let text = if text.len() > room {
            let cut = text.floor_char_boundary(room.saturating_sub(8));
            if cut == 0 {
                return None;
            }
            format!("{} […]", &text[..cut])
        } else {
            text
        };
        room = room.saturating_sub(text.len());
        Some(text)
    };
    for block in blocks {
        let block = match block {
            Block::Heading(_) | Block::Link(..) => Some(block.clone()),
            Block::Text(text) => take(line(text, MAX_TEXT)).map(Block::Text),
            Block::Code(text) => take(plain(text, MAX_CODE)).map(Block::Code),
            Block::List(items) => {
                let shown = items.iter().take(MAX_ITEMS);
                let items: Vec<String> =
                    shown.filter_map(|item| take(line(item, MAX_TEXT))).collect();
                (!items.is_empty()).then_some(Block::List(items))
            }
        };
        kept.extend(block);
    }
    kept
}

/// As GitHub's Markdown.
pub(super) fn markdown(blocks: &[Block]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    for block in bounded(blocks) {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = match block {
            Block::Heading(text) => writeln!(out, "### {text}"),
            Block::Text(text) => writeln!(out, "{}", escaped_markdown(&text)),
            Block::Code(text) => {
                // One more than the longest run of the text.
                let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
                let fence = "`".repeat(longest.max(2) + 1);
                writeln!(out, "{fence}text\n{text}\n{fence}")
            }
            Block::List(items) => {
                items.iter().try_for_each(|item| writeln!(out, "- {}", escaped_markdown(item)))
            }
            Block::Link(words, url) => writeln!(out, "[{words}](<{url}>)"),
        };
    }
    out
}

fn escaped_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // A dot or a sign behind a number would only begin a list at the start of a line; it
        // costs nothing to escape all but the plainest.
        if c.is_ascii_punctuation() && !matches!(c, ',' | ';' | ':' | '\'' | '"' | '/' | '?' | '%')
        {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// As the XML that Asana calls rich text.
pub(super) fn asana(blocks: &[Block]) -> String {
    let mut out = String::from("<body>");
    for block in bounded(blocks) {
        let _ = match block {
            Block::Heading(text) => writeln!(out, "<strong>{}</strong>", escaped_xml(text)),
            Block::Text(text) => writeln!(out, "{}\n", escaped_xml(&text)),
            Block::Code(text) => writeln!(out, "<pre>{}</pre>", escaped_xml(&text)),
            Block::List(items) => writeln!(out, "<ul>{}</ul>", as_items(&items)),
            Block::Link(words, url) => {
                writeln!(out, "<a href=\"{}\">{words}</a>", escaped_xml(url.as_str()))
            }
        };
    }
    out.truncate(out.trim_end().len());
    out.push_str("</body>");
    out
}

/// As monday's HTML.
pub(super) fn html(blocks: &[Block]) -> String {
    let mut out = String::new();
    for block in bounded(blocks) {
        let _ = match block {
            Block::Heading(text) => write!(out, "<p><strong>{}</strong></p>", escaped_xml(text)),
            Block::Text(text) => write!(out, "<p>{}</p>", escaped_xml(&text)),
            Block::Code(text) => write!(out, "<pre>{}</pre>", escaped_xml(&text)),
            Block::List(items) => write!(out, "<ul>{}</ul>", as_items(&items)),
            Block::Link(words, url) => {
                write!(out, "<p><a href=\"{}\">{words}</a></p>", escaped_xml(url.as_str()))
            }
        };
    }
    out
}

fn as_items(items: &[String]) -> String {
    items.iter().fold(String::new(), |mut out, item| {
        let _ = write!(out, "<li>{}</li>", escaped_xml(item));
        out
    })
}

fn escaped_xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// As Atlassian's document format, in which text is nothing but text. No node may be empty.
pub(super) fn document(blocks: &[Block]) -> Value {
    let text = |text: &str| json!({"type": "text", "text": text});
    let paragraph = |content: Value| json!({"type": "paragraph", "content": [content]});
    let content: Vec<Value> = bounded(blocks)
        .into_iter()
        .map(|block| match block {
            Block::Heading(words) => {
                json!({"type": "heading", "attrs": {"level": 3}, "content": [text(words)]})
            }
            Block::Text(words) => paragraph(text(&words)),
            Block::Code(words) => json!({
                "type": "codeBlock", "attrs": {"language": "text"}, "content": [text(&words)],
            }),
            Block::List(items) => {
                let item =
                    |item: &String| json!({"type": "listItem", "content": [paragraph(text(item))]});
                json!({"type": "bulletList", "content": items.iter().map(item).collect::<Vec<_>>()})
            }
            Block::Link(words, url) => paragraph(json!({
                "type": "text", "text": words,
                "marks": [{"type": "link", "attrs": {"href": url.as_str()}}],
            })),
        })
        .collect();
    json!({"type": "doc", "version": 1, "content": content})
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Block, MAX_TITLE, asana, document, html, line, markdown, plain};

    const HOSTILE: &str = "@channel <!here> fixes #12 closes acme/shop#3 GH-4 !5 <img src=x> [x](javascript:1) \
                           ```\n# h\n<script>alert(1)</script> https://github.com/acme/shop/issues/1";

    #[test]
    fn nothing_in_a_line_is_acted_upon() {
        let told = line(HOSTILE, 2000);
        for sign in ["@channel", "#12", "shop#3", "GH-4", "!5", "!here", "https://"] {
            assert!(!told.contains(sign), "{sign}: {told}");
        }
        assert!(told.contains("@\u{200b}channel") && told.contains("#\u{200b}12"), "{told}");
        assert!(!line("a\r\nb\u{202e}c\u{2028}d", 100).contains(['\r', '\n', '\u{202e}']));
        assert_eq!(line("50% of 3 + 4 & more", 100), "50% of 3 + 4 & more");
    }

    #[test]
    fn secrets_and_addresses_stay_here() {
        let told = plain("key sk-abcdefghijklmnopqrstuvwxyz0123456789ABCD of ada@example.com", 500);
        assert!(!told.contains("abcdefghijkl") && !told.contains("ada@example.com"), "{told}");
    }

    #[test]
    fn a_million_characters_are_cut() {
        let long = "x@y#1 ".repeat(200_000);
        assert!(line(&long, MAX_TITLE).chars().count() <= MAX_TITLE);
        let body = [Block::text(&*long), Block::Code(long.clone()), Block::List(vec![long; 500])];
        for text in [markdown(&body), asana(&body), html(&body), document(&body).to_string()] {
            assert!(text.len() < 60_000, "{}", text.len());
        }
    }

    #[test]
    fn mark_up_is_text() {
        let body = [Block::text(HOSTILE), Block::Code(HOSTILE.to_owned())];
        let text = markdown(&body);
        assert!(text.contains("\n````text\n"), "{text}");
        let prose = text.split("````").next().unwrap();
        // What a backslash stands before is a letter like others.
        let prose = prose.replace("\\<", "");
        assert!(!prose.contains("<img") && !prose.contains(" [x]("), "{text}");
        for text in [asana(&body), html(&body)] {
            assert!(!text.contains("<img") && !text.contains("<script"), "{text}");
        }
    }

    /// No node of the document is empty, wherever text came from.
    fn texts_are_full(value: &Value) -> bool {
        match value {
            Value::Object(map) => {
                map.get("text").is_none_or(|text| text != "") && map.values().all(texts_are_full)
            }
            Value::Array(all) => all.iter().all(texts_are_full),
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in ".{0,300}", code in "(?s).{0,300}") {
            let body =
                [Block::text(&*text), Block::Code(code), Block::List(vec![text.clone(), String::new()])];
            prop_assert!(texts_are_full(&document(&body)));
            let told = line(&text, 100);
            prop_assert!(told.chars().count() <= 100 && !told.contains('\n'));
            prop_assert_eq!(html(&body).matches("<pre>").count() <= 1, true);
            let _ = (markdown(&body), asana(&body));
        }
    }
}
