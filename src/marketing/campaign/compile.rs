//! A version made ready to be filled in for each recipient: Markdown is read once, and what
//! stands for a merge field goes through it as a sign that nothing else can write.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::{
    content::Content,
    layout,
    merge::{self, Field, Merge, Piece},
};
use crate::{llm, marketing::brand::Brand};

/// Around the number of a field. `llm::visible` takes them off all that people write.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';

/// Where the unsubscribe link leads until a recipient's own is put in.
pub(super) const UNSUBSCRIBE: &str = "https://unsubscribe.invalid/";

/// Tags that the body of a mail may hold.
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
    "a",
    "img",
];

/// A version, ready to be filled in.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub subjects: Vec<Vec<Piece>>,
    pub html: Vec<Piece>,
    pub text: Vec<Piece>,
    /// Fields of all texts.
    pub fields: Vec<Merge>,
    /// Addresses that the body leads to, and of its pictures.
    pub links: Vec<String>,
    /// Pictures of the body without a text for those who do not see them.
    pub without_alt: usize,
    /// Words of the body.
    pub words: usize,
    /// Whether the body has an unsubscribe link of its own.
    pub own_unsubscribe: bool,
}

/// Whether a body can be compiled; the error says what cannot be so.
pub(super) fn check(body: &str) -> Result<(), String> {
    Body::read(body).map(drop)
}

impl Compiled {
    /// The error says which text is wrong.
    pub fn of(content: &Content, brand: &Brand) -> Result<Self, String> {
        let subjects = content.subjects.iter().map(|text| merge::parse(&llm::visible(text)));
        let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
        let preview = merge::parse(&llm::visible(&content.preview_text))?;
        let body = Body::read(&content.body)?;
        // The preview's fields come behind the body's, so that all have numbers of their own.
        let mut fields = body.fields;
        let mut shown = String::new();
        for piece in &preview {
            match piece {
                Piece::Text(text) => shown.push_str(&layout::escaped(text)),
                Piece::Field(field) => {
                    let _ = write!(shown, "{OPEN}{}{CLOSE}", fields.len());
                    fields.push(field.clone());
                }
            }
        }
        let subject = subjects.first().map(|pieces| {
            let texts = pieces.iter().filter_map(|piece| match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Field(_) => None,
            });
            texts.collect::<String>()
        });
        let html = layout::html(brand, &subject.unwrap_or_default(), &shown, &body.html);
        let text = layout::text(brand, &body.text);
        let in_subjects = subjects.iter().flatten().filter_map(|piece| match piece {
            Piece::Field(field) => Some(field.clone()),
            Piece::Text(_) => None,
        });
        let all = fields.iter().cloned().chain(in_subjects).collect();
        Ok(Self {
            html: pieces(&html, &fields),
            text: pieces(&text, &fields),
            subjects,
            fields: all,
            links: body.links,
            without_alt: body.without_alt,
            words: body.text.split_whitespace().count(),
            own_unsubscribe: body.own_unsubscribe,
        })
    }
}

/// The body in both forms, with signs for its fields.
struct Body {
    html: String,
    text: String,
    fields: Vec<Merge>,
    links: Vec<String>,
    without_alt: usize,
    own_unsubscribe: bool,
}

impl Body {
    fn read(markdown: &str) -> Result<Self, String> {
        let mut fields = Vec::new();
        let mut marked = String::with_capacity(markdown.len());
        for piece in merge::parse(&llm::visible(markdown))? {
            match piece {
                Piece::Text(text) => marked.push_str(&text),
                Piece::Field(field) => {
                    let _ = write!(marked, "{OPEN}{}{CLOSE}", fields.len());
                    fields.push(field);
                }
            }
        }
        let mut body = Self {
            html: String::new(),
            text: String::new(),
            fields,
            links: Vec::new(),
            without_alt: 0,
            own_unsubscribe: false,
        };
        let events = Parser::new_ext(&marked, Options::ENABLE_STRIKETHROUGH);
        let events = events.map(|event| body.seen(event)).collect::<Result<Vec<_>, String>>()?;
        // A field outside of links may not be the unsubscribe address: it would be text.
        if body.look_at_texts(&events) {
            return Err("{{ unsubscribe_url }} can only be the whole address of a link, as in \
                        [unsubscribe]({{ unsubscribe_url }})"
                .to_owned());
        }
        body.text = plain(&events);
        let mut out = String::with_capacity(marked.len() * 2);
        html::push_html(&mut out, buttons(events).into_iter());
        body.html = cleaner().clean(&out).to_string();
        Ok(body)
    }

    /// Makes an event harmless, and notes what the checklist wants to know.
    fn seen<'e>(&mut self, event: Event<'e>) -> Result<Event<'e>, String> {
        Ok(match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::Start(Tag::Link { link_type, dest_url, title: _, id }) => {
                let dest_url = self.address(&dest_url)?;
                Event::Start(Tag::Link { link_type, dest_url, title: CowStr::from(""), id })
            }
            Event::Start(Tag::Image { link_type, dest_url, title: _, id }) => {
                let dest_url = self.address(&dest_url)?;
                if dest_url.as_ref() == UNSUBSCRIBE {
                    return Err("{{ unsubscribe_url }} is no picture".to_owned());
                }
                self.without_alt += 1;
                Event::Start(Tag::Image { link_type, dest_url, title: CowStr::from(""), id })
            }
            other => other,
        })
    }

    fn address(&mut self, url: &str) -> Result<CowStr<'static>, String> {
        let number = url.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE));
        if let Some(field) = number.and_then(|it| it.parse::<usize>().ok())
            && self.fields.get(field).is_some_and(|it| it.field == Field::Unsubscribe)
        {
            self.own_unsubscribe = true;
            return Ok(CowStr::from(UNSUBSCRIBE));
        }
        if url.contains(OPEN) || url.contains(CLOSE) {
            return Err("a merge field stands in the address of a link; leave it out there \
                        (only {{ unsubscribe_url }} can be one)"
                .to_owned());
        }
        self.links.push(url.to_owned());
        Ok(CowStr::from(url.to_owned()))
    }

    /// Counts pictures that say what they show; true where a text holds the unsubscribe field.
    fn look_at_texts(&mut self, events: &[Event<'_>]) -> bool {
        let mut named = false;
        let mut alt = 0_usize;
        let mut pictures = false;
        for event in events {
            match event {
                Event::Start(Tag::Image { .. }) => pictures = true,
                Event::End(TagEnd::Image) => pictures = false,
                Event::Text(text) | Event::Code(text) => {
                    if pictures && !text.trim().is_empty() {
                        alt += 1;
                        pictures = false;
                    }
                    named |= self.fields.iter().enumerate().any(|(number, merge)| {
                        merge.field == Field::Unsubscribe
                            && text.contains(&format!("{OPEN}{number}{CLOSE}"))
                    });
                }
                _ => {}
            }
        }
        self.without_alt = self.without_alt.saturating_sub(alt);
        named
    }
}

/// A link that is a paragraph of its own becomes a button.
fn buttons(events: Vec<Event<'_>>) -> Vec<Event<'_>> {
    let mut out: Vec<Event<'_>> = Vec::with_capacity(events.len());
    for event in events {
        let ends = matches!(event, Event::End(TagEnd::Paragraph));
        if ends
            && matches!(out.last(), Some(Event::End(TagEnd::Link)))
            && let Some(at) = out.iter().rposition(|it| matches!(it, Event::Start(Tag::Paragraph)))
            && let Some(Event::Start(Tag::Link { dest_url, .. })) = out.get(at + 1)
            && dest_url.as_ref() != UNSUBSCRIBE
            && out[at..].iter().filter(|it| matches!(it, Event::Start(Tag::Link { .. }))).count()
                == 1
            && !out[at..].iter().any(|it| matches!(it, Event::Start(Tag::Image { .. })))
        {
            let href = layout::escaped(dest_url);
            out[at + 1] = Event::InlineHtml(format!("<a class=\"button\" href=\"{href}\">").into());
            let last = out.len() - 1;
            out[last] = Event::InlineHtml("</a>".into());
        }
        out.push(event);
    }
    out
}

/// The second wall, as in the chat: what the renderer lets through has to pass this, too.
fn cleaner() -> ammonia::Builder<'static> {
    let mut builder = ammonia::Builder::empty();
    builder
        .tags(TAGS.iter().copied().collect::<HashSet<_>>())
        .generic_attributes(HashSet::new())
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href"])),
            ("img", HashSet::from(["src", "alt"])),
        ]))
        .allowed_classes(HashMap::from([("a", HashSet::from(["button"]))]))
        .url_schemes(HashSet::from(["http", "https"]))
        .link_rel(None);
    builder
}

/// The body for those who read mail as text.
fn plain(events: &[Event<'_>]) -> String {
    let mut out = String::new();
    // Numbers of the lists that are open; `None` has bullets.
    let mut lists: Vec<Option<u64>> = Vec::new();
    let mut links: Vec<(String, usize)> = Vec::new();
    let mut quoted = 0_usize;
    let part = |out: &mut String, quoted: usize| {
        let end = out.trim_end().len();
        out.truncate(end);
        if !out.is_empty() {
            out.push_str("\n\n");
        }
        out.push_str(&"> ".repeat(quoted));
    };
    for event in events {
        match event {
            Event::Start(Tag::Paragraph) if lists.is_empty() => part(&mut out, quoted),
            Event::Start(Tag::Heading { .. } | Tag::CodeBlock(_)) => part(&mut out, quoted),
            Event::Start(Tag::BlockQuote(_)) => quoted += 1,
            Event::End(TagEnd::BlockQuote(_)) => quoted = quoted.saturating_sub(1),
            Event::Start(Tag::List(first)) => {
                if lists.is_empty() {
                    part(&mut out, quoted);
                }
                lists.push(*first);
            }
            Event::End(TagEnd::List(_)) => {
                lists.pop();
            }
            Event::Start(Tag::Item) => {
                if !out.is_empty() && !out.ends_with('\n') {
                    out.push('\n');
                }
                out.push_str(&"  ".repeat(lists.len().saturating_sub(1)));
                match lists.last_mut() {
                    Some(Some(number)) => {
                        let _ = write!(out, "{number}. ");
                        *number += 1;
                    }
                    _ => out.push_str("- "),
                }
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                links.push((dest_url.to_string(), out.len()));
            }
            Event::End(TagEnd::Link) => {
                if let Some((url, at)) = links.pop()
                    && out.get(at..).is_some_and(|label| label != url)
                {
                    let _ = write!(out, " ({url})");
                }
            }
            Event::Text(text) | Event::Code(text) => out.push_str(text),
            Event::SoftBreak | Event::HardBreak => {
                out.push('\n');
                out.push_str(&"> ".repeat(quoted));
            }
            Event::Rule => {
                part(&mut out, quoted);
                out.push_str("--------");
            }
            _ => {}
        }
    }
    out.trim().to_owned()
}

/// Cuts a rendered text at the signs of its fields, and where the unsubscribe address stands.
fn pieces(text: &str, fields: &[Merge]) -> Vec<Piece> {
    let mut all = Vec::new();
    for (index, part) in text.split(OPEN).enumerate() {
        let (number, rest) = match part.split_once(CLOSE) {
            Some((number, rest)) if index > 0 => (number.parse::<usize>().ok(), rest),
            _ => (None, part),
        };
        all.extend(number.and_then(|it| fields.get(it)).cloned().map(Piece::Field));
        for (index, part) in rest.split(UNSUBSCRIBE).enumerate() {
            if index > 0 {
                all.push(Piece::Field(Merge { field: Field::Unsubscribe, default: None }));
            }
            if !part.is_empty() {
                all.push(Piece::Text(part.to_owned()));
            }
        }
    }
    all
}
