//! The addresses in a mail that lead back to Lux. What they hold is signed, so that nobody can make
//! one for somebody else; they do not expire, because mails are kept.

use std::borrow::Cow;

use pulldown_cmark::{Event, Options, Parser, Tag};
use url::Url;

use crate::{config::Config, seal::Keyed};

/// The most links of a version that are counted.
const MAX_LINKS: usize = 200;

const LEAVE: &str = "mail unsubscribe";
const OPEN: &str = "mail open";
const CLICK: &str = "mail click";
const MARK: &str = "mail mark";

/// Makes addresses, and reads what is in them.
#[derive(Clone)]
pub struct Links {
    /// Where Lux is reached from outside, without a slash at its end.
    base: String,
    keyed: Keyed,
}

/// Whose mail a link was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub contact: i64,
    pub mail: i64,
}

impl Links {
    /// `None` where nobody outside could follow a link.
    pub fn new(config: &Config, keyed: Keyed) -> Option<Self> {
        let base = config.public_url.as_ref()?.as_str().trim_end_matches('/').to_owned();
        Some(Self { base, keyed })
    }

    /// Where the person unsubscribes.
    pub fn unsubscribe(&self, to: Recipient) -> String {
        let bytes = [to.contact.to_be_bytes(), to.mail.to_be_bytes()].concat();
        format!("{}/u/{}", self.base, self.keyed.sign(LEAVE, &bytes))
    }

    /// The picture that tells that a mail was opened.
    pub fn opened(&self, mail: i64) -> String {
        format!("{}/o/{}.gif", self.base, self.keyed.sign(OPEN, &mail.to_be_bytes()))
    }

    /// The link of that place in the version, by way of Lux.
    pub fn clicked(&self, mail: i64, index: u16) -> String {
        let bytes = [&mail.to_be_bytes()[..], &index.to_be_bytes()].concat();
        format!("{}/c/{}", self.base, self.keyed.sign(CLICK, &bytes))
    }

    /// What `X-Lux-Mail` holds.
    pub fn mark(&self, mail: i64) -> String {
        format!("{mail}-{}", tail(&self.keyed, mail))
    }
}

fn tail(keyed: &Keyed, mail: i64) -> String {
    keyed
        .hash(MARK, &mail.to_string())
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(16)
        .collect()
}

/// The mail that a mark names; `None` if it is none of ours.
pub(super) fn read_mark(keyed: &Keyed, mark: &str) -> Option<i64> {
    let (mail, given) = mark.trim().split_once('-')?;
    let mail = mail.parse().ok()?;
    let same = subtle::ConstantTimeEq::ct_eq(tail(keyed, mail).as_bytes(), given.as_bytes());
    bool::from(same).then_some(mail)
}

/// Who unsubscribes with this token.
pub(super) fn read_leave(keyed: &Keyed, token: &str) -> Option<Recipient> {
    let bytes = keyed.open(LEAVE, token)?;
    let (contact, mail) = bytes.split_at_checked(8)?;
    Some(Recipient { contact: number(contact)?, mail: number(mail)? })
}

pub(super) fn read_open(keyed: &Keyed, token: &str) -> Option<i64> {
    number(&keyed.open(OPEN, token)?)
}

pub(super) fn read_click(keyed: &Keyed, token: &str) -> Option<(i64, u16)> {
    let bytes = keyed.open(CLICK, token)?;
    let (mail, index) = bytes.split_at_checked(8)?;
    Some((number(mail)?, u16::from_be_bytes(index.try_into().ok()?)))
}

fn number(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

/// The web addresses that a version's text (Markdown) links to, in their order, each once. What
/// holds a merge field is not among them: it is another one for each recipient.
pub fn targets(body: &str) -> Vec<String> {
    let mut found = Vec::new();
    for event in Parser::new_ext(body, Options::empty()) {
        if let Event::Start(Tag::Link { dest_url, .. }) = event
            && is_web(&dest_url)
            && !dest_url.contains(['{', '}'])
            && !found.iter().any(|known: &String| **known == *dest_url)
        {
            found.push(dest_url.into_string());
            if found.len() == MAX_LINKS {
                break;
            }
        }
    }
    found
}

fn is_web(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// HTML with the version's links by way of Lux.
pub(super) fn by_way_of_lux<'h>(
    links: &Links,
    html: &'h str,
    mail: i64,
    targets: &[String],
) -> Cow<'h, str> {
    let mut html = Cow::Borrowed(html);
    for (index, target) in targets.iter().enumerate() {
        let Ok(index) = u16::try_from(index) else { break };
        let written = format!("href=\"{}\"", target.replace('&', "&amp;"));
        if html.contains(&written) {
            let way = format!("href=\"{}\"", links.clicked(mail, index));
            html = Cow::Owned(html.replace(&written, &way));
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::targets;

    #[test]
    fn only_web_addresses_that_stand_in_the_text_are_targets() {
        let body = "[a](https://example.com/?a=1&b=2) [again](https://example.com/?a=1&b=2)\n\
                    <https://example.org/x> [me](mailto:a@example.com) [x](javascript:alert(1))\n\
                    [m](https://example.com/{{first_name}}) [r][1] ![i](https://example.com/i.png)\n\
                    `[c](https://example.com/code)` [d](data:text/html,x) [rel](/path)\n\n\
                    [1]: https://example.net/ref";
        assert_eq!(
            targets(body),
            ["https://example.com/?a=1&b=2", "https://example.org/x", "https://example.net/ref"]
        );
    }
}
