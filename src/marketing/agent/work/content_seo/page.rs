//! What of a page a search engine reads, by the HTML standard's own tokenizer.

use std::cell::RefCell;

use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::RawKind,
    },
};
use url::Url;

/// Bound of a kept text, in characters.
const LONGEST: usize = 400;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub title: String,
    pub description: String,
    /// Of the first level.
    pub headings: Vec<String>,
    pub links: i64,
    pub words: i64,
    pub images_without_alt: i64,
    /// It asks search engines to leave it out.
    pub is_hidden: bool,
}

/// Where the text goes that comes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Body,
    Title,
    Heading,
    /// What nobody sees.
    Code,
}

#[derive(Default)]
struct Reading {
    page: Page,
    within: Within,
}

struct Reader(RefCell<Reading>);

impl Page {
    pub(super) fn read(html: &str) -> Self {
        let reader = Reader(RefCell::default());
        let input = BufferQueue::default();
        input.push_back(StrTendril::from(html));
        let tokenizer = Tokenizer::new(reader, TokenizerOpts::default());
        // A script may ask for the parser; nothing is run here, so it goes on at once.
        while !input.is_empty() {
            let _ = tokenizer.feed(&input);
        }
        tokenizer.end();
        let mut page = tokenizer.sink.0.take().page;
        let tidy = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        page.title = tidy(&page.title);
        page.description = tidy(&page.description);
        page.headings = page.headings.iter().map(|text| tidy(text)).collect();
        page
    }
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut reading = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => reading.begin(&tag),
            Token::TagToken(tag) => {
                reading.end(&tag);
                TokenSinkResult::Continue
            }
            Token::CharacterTokens(text) => {
                reading.text(&text);
                TokenSinkResult::Continue
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

impl Reading {
    fn begin(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let value = |name: &str| {
            let found = tag.attrs.iter().find(|attribute| &*attribute.name.local == name);
            found.map(|attribute| attribute.value.to_string())
        };
        match &*tag.name {
            "title" => {
                self.within = Within::Title;
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "script" => {
                self.within = Within::Code;
                return TokenSinkResult::RawData(RawKind::ScriptData);
            }
            "style" | "noscript" | "iframe" => {
                self.within = Within::Code;
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            "h1" if self.page.headings.len() < 10 => {
                self.page.headings.push(String::new());
                self.within = Within::Heading;
            }
            "a" if value("href").is_some() => self.page.links += 1,
            "img" if value("alt").is_none() => self.page.images_without_alt += 1,
            "meta" => {
                let name = value("name").unwrap_or_default().to_ascii_lowercase();
                let content = value("content").unwrap_or_default();
                if name == "description" {
                    self.page.description = content.chars().take(LONGEST).collect();
                } else if name == "robots" {
                    self.page.is_hidden |= content.to_ascii_lowercase().contains("noindex");
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn end(&mut self, tag: &Tag) {
        if matches!(&*tag.name, "title" | "script" | "style" | "noscript" | "iframe" | "h1") {
            self.within = Within::Body;
        }
    }

    fn text(&mut self, text: &str) {
        let add = |to: &mut String| {
            let room = LONGEST.saturating_sub(to.chars().count());
            to.extend(text.chars().take(room));
        };
        let words = i64::try_from(text.split_whitespace().count()).unwrap_or_default();
        match self.within {
            Within::Title => add(&mut self.page.title),
            Within::Heading => {
                if let Some(heading) = self.page.headings.last_mut() {
                    add(heading);
                }
                self.page.words += words;
            }
            Within::Body => self.page.words += words,
            Within::Code => {}
        }
    }
}

/// The addresses that a sitemap names, of its own origin.
pub(super) fn locations(xml: &str, of: &Url, most: usize) -> Vec<Url> {
    let texts = xml.split("<loc>").skip(1).filter_map(|rest| rest.split("</loc>").next());
    texts
        .filter_map(|text| Url::parse(&text.trim().replace("&amp;", "&")).ok())
        .filter(|url| url.origin() == of.origin())
        .take(most)
        .collect()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Page, locations};

    #[test]
    fn a_page_is_read_as_it_is_meant() {
        let page = Page::read(
            "<!doctype html><html><head><title>The &amp; shop\n today</title>\
             <meta name=Description content=\"We sell <b>\"><script>var a = '<h1>no</h1>';</script>\
             </head><body><!-- <h1>no</h1> --><h1>Hello <em>there</em></h1><p>three more words</p>\
             <a href=/x>go</a><a>no</a><img src=a><img src=b alt=\"\">",
        );
        assert_eq!(
            page,
            Page {
                title: "The & shop today".to_owned(),
                description: "We sell <b>".to_owned(),
                headings: vec!["Hello there".to_owned()],
                links: 1,
                words: 7,
                images_without_alt: 1,
                is_hidden: false,
            }
        );
    }

    #[test]
    fn a_sitemap_leads_nowhere_else() {
        let of = Url::parse("https://shop.example/sitemap.xml").unwrap();
        let xml = "<urlset><url><loc> https://shop.example/a?b=1&amp;c=2 </loc></url>\
                   <url><loc>https://evil.example/</loc></url><url><loc>x</loc></url></urlset>";
        let found: Vec<String> = locations(xml, &of, 9).iter().map(Url::to_string).collect();
        assert_eq!(found, ["https://shop.example/a?b=1&c=2"]);
    }
}
