//! From a letter to the bytes of a mail. Names, subjects and texts come from anybody: none of
//! them can become a header of its own.

use std::time::SystemTime;

use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};
use url::Url;
use uuid::Uuid;

use super::Trouble;
use crate::{clock, config};

/// Bounds of what is written into headers, in characters.
const MAX_SUBJECT: usize = 250;
const MAX_NAME: usize = 100;

/// The largest text that is sent, in bytes: what is longer was not written for a person.
const MAX_TEXT: usize = 1 << 20;

/// A mail to one person.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    pub to: String,
    pub to_name: String,
    pub subject: String,
    pub text: String,
    /// The same as HTML, where there is one.
    pub html: Option<String>,
    /// For a mail of a campaign.
    pub bulk: Option<Bulk>,
}

/// What a mail of a campaign has besides.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// Names the mail, so that what comes back can be told whose it is: `X-Lux-Mail`.
    pub mark: String,
    /// Names the campaign for the reports of large providers.
    pub campaign: i64,
    /// Where a POST (RFC 8058), and a person, unsubscribes.
    pub unsubscribe: Url,
}

/// A mail as it goes over the line.
#[derive(Clone, Debug)]
pub struct Ready {
    pub from: Address,
    pub to: Address,
    pub bytes: Vec<u8>,
    /// Without its angle brackets.
    pub message_id: String,
}

impl Letter {
    /// Writes the mail.
    ///
    /// # Errors
    /// [`Trouble::Letter`] if nobody can be sent this; [`Trouble::NotSetUp`].
    pub fn write(&self, config: &config::Mail) -> Result<Ready, Trouble> {
        let Some(from) = &config.from else { return Err(Trouble::NotSetUp) };
        let to: Address = self.to.parse().map_err(|_| {
            Trouble::Letter("the recipient's address is none that mail can be sent to".to_owned())
        })?;
        if self.text.len() > MAX_TEXT || self.html.as_ref().is_some_and(|it| it.len() > MAX_TEXT) {
            return Err(Trouble::Letter(format!("its text is longer than {MAX_TEXT} bytes")));
        }
        let message_id = format!("{}@{}", Uuid::now_v7().simple(), from.domain());
        let mailbox = |name: &str, address: &Address| {
            let name = line(name, MAX_NAME);
            Mailbox::new((!name.is_empty()).then_some(name), address.clone())
        };
        let mut builder = Message::builder()
            .from(mailbox(&config.from_name, from))
            .to(mailbox(&self.to_name, &to))
            .subject(line(&self.subject, MAX_SUBJECT))
            .date(SystemTime::from(clock::now()))
            .message_id(Some(format!("<{message_id}>")));
        if let Some(reply_to) = &config.reply_to {
            builder = builder.reply_to(mailbox("", reply_to));
        }
        if let Some(bulk) = &self.bulk {
            let url = bulk.unsubscribe.as_str();
            let own = format!("{}:campaign:lux:{}", bulk.campaign, from.domain());
            for (name, value) in [
                ("List-Unsubscribe", format!("<{url}>")),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()),
                ("Precedence", "bulk".to_owned()),
                ("Feedback-ID", own),
                ("X-Lux-Mail", bulk.mark.clone()),
            ] {
                builder = builder.raw_header(raw(name, value)?);
            }
        } else {
            builder = builder.raw_header(raw("Auto-Submitted", "auto-generated".to_owned())?);
        }
        // A mail's lines end with CR LF, wherever the text came from.
        let text = SinglePart::plain(lines(&self.text));
        let message = match &self.html {
            Some(html) => builder.multipart(
                MultiPart::alternative().singlepart(text).singlepart(SinglePart::html(lines(html))),
            ),
            None => builder.singlepart(text),
        };
        let message = message.map_err(|error| Trouble::Letter(error.to_string()))?;
        Ok(Ready { from: from.clone(), to, bytes: message.formatted(), message_id })
    }
}

/// A header of ours, in ASCII without line breaks: it is written as it is.
fn raw(name: &'static str, value: String) -> Result<HeaderValue, Trouble> {
    if !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(Trouble::Letter(format!("the header {name} would hold what no header may")));
    }
    let name = HeaderName::new_from_ascii(name.to_owned())
        .map_err(|error| Trouble::Letter(error.to_string()))?;
    Ok(HeaderValue::dangerous_new_pre_encoded(name, value.clone(), value))
}

/// A text as one line of a header: without control characters, and without those that turn the
/// direction of what follows them and so make an address look like another.
fn line(text: &str, most: usize) -> String {
    let clean = text.chars().filter(|c| {
        !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    });
    let clean = clean.map(|c| match c {
        '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    });
    let clean: String = clean.take(most * 4).collect();
    let clean = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    clean.chars().take(most).collect::<String>().trim().to_owned()
}

fn lines(text: &str) -> String {
    let clean = text.replace("\r\n", "\n").replace(['\r', '\0'], "");
    clean.replace('\n', "\r\n")
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::{Bulk, Letter};
    use crate::config::{Config, Overrides};

    fn config() -> crate::config::Mail {
        let environment = [
            ("LUX_SMTP_URL", "smtp://127.0.0.1:25?tls=none"),
            ("LUX_MAIL_FROM", "shop@example.com"),
            ("LUX_MAIL_FROM_NAME", "Shöp, \"the\" <b>"),
            ("LUX_MAIL_REPLY_TO", "ada@example.com"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let overrides = Overrides { environment: environment.into(), ..Overrides::default() };
        Config::load_leniently(overrides).0.mail
    }

    fn letter() -> Letter {
        Letter {
            to: "eve@example.org".to_owned(),
            to_name: "Eve".to_owned(),
            subject: "Hello".to_owned(),
            text: "Hello Eve\n.\nRCPT TO:<x@example.net>\n".to_owned(),
            html: Some("<p>Hello</p>".to_owned()),
            bulk: Some(Bulk {
                mark: "7-0123456789abcdef".to_owned(),
                campaign: 3,
                unsubscribe: "https://lux.example.com/u/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v".parse().unwrap(),
            }),
        }
    }

    /// The headers as any program reads them: unfolded, name and value.
    fn headers(bytes: &[u8]) -> Vec<(String, String)> {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.is_ascii(), "{text}");
        let head =
            text.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ").replace("\r\n\t", " ");
        assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head:?}");
        head.split("\r\n")
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?}"));
                (name.to_owned(), value.trim().to_owned())
            })
            .collect()
    }

    const EXPECTED: [&str; 14] = [
        "Content-Type",
        "Date",
        "Feedback-ID",
        "From",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "MIME-Version",
        "Message-ID",
        "Precedence",
        "Reply-To",
        "Subject",
        "To",
        "X-Lux-Mail",
        "",
    ];

    #[test]
    fn a_mail_of_a_campaign_is_whole() {
        let ready = letter().write(&config()).unwrap();
        let found = headers(&ready.bytes);
        let mut names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, EXPECTED[..13]);
        let value = |wanted: &str| &found.iter().find(|(name, _)| name == wanted).unwrap().1;
        assert_eq!(value("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
        assert!(value("List-Unsubscribe").starts_with("<https://lux.example.com/u/AAEC"));
        assert!(value("List-Unsubscribe").ends_with("LS4v>"));
        assert_eq!(*value("Message-ID"), format!("<{}>", ready.message_id));
        assert!(ready.message_id.ends_with("@example.com"));
        let parsed = MessageParser::default().parse(&ready.bytes).unwrap();
        assert_eq!(parsed.from().unwrap().first().unwrap().name(), Some("Shöp, \"the\" <b>"));
        assert!(parsed.body_text(0).unwrap().contains("Hello Eve\r\n.\r\nRCPT TO"));
        assert_eq!(parsed.body_html(0).unwrap().trim(), "<p>Hello</p>");
    }

    #[test]
    fn nothing_that_is_filled_in_becomes_a_header() {
        let evil = [
            "x\r\nBcc: eve@example.com",
            "x\nBcc: eve@example.com\n\nbody",
            "x\rBcc: eve@example.com",
            "x\u{2028}Bcc: eve@example.com",
            "x\0\u{b}\u{c}\u{85}Bcc: eve@example.com",
            "=?utf-8?q?=0D=0ABcc:_eve@example.com?=",
            "\u{202e}moc.elpmaxe@eve\u{202c}",
            "שלום \u{202b}مرحبا\u{202c} 你好 👩‍👩‍👧‍👦",
            "ÄÖÜ ßßß é\u{301}\u{301}\u{301}",
            "\",<>@;:\\()[]",
            "eve@example.com\" <eve@example.com>",
        ];
        let long = [
            "word ".repeat(2000),
            "w".repeat(5000),
            "ü".repeat(5000),
            "\u{1f468}\u{200d}".repeat(3000),
            "x\r\n ".repeat(3000),
        ];
        for text in evil.iter().copied().map(str::to_owned).chain(long) {
            let letter = Letter {
                to_name: text.clone(),
                subject: text.clone(),
                text: text.clone(),
                ..letter()
            };
            let ready = letter.write(&config()).unwrap();
            let found = headers(&ready.bytes);
            let mut names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, EXPECTED[..13], "{text:?}");
            let parsed = MessageParser::default().parse(&ready.bytes).unwrap();
            let to: Vec<_> = parsed.to().unwrap().iter().map(|it| it.address().unwrap()).collect();
            assert_eq!(to, ["eve@example.org"], "{text:?}");
            assert!(parsed.bcc().is_none(), "{text:?}");
            let head = ready.bytes.split(|byte| *byte == b'\n');
            assert!(head.map(<[u8]>::len).max().unwrap() <= 998, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_one() {
        for to in [
            "eve@example.org, ada@example.org",
            "eve@example.org\r\nBcc: ada@example.org",
            "eve@example.org>\r\nRCPT TO:<ada@example.org",
            "<eve@example.org>",
            "eve",
            "",
        ] {
            let letter = Letter { to: to.to_owned(), ..letter() };
            assert!(letter.write(&config()).is_err(), "{to:?}");
        }
    }
}
