//! `[mail]`: the server that takes mail, and whom it comes from.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use lettre::Address;
use secrecy::SecretString;
use url::Url;

use super::{
    load::{Loader, key},
    parse::{at_least_one, duration, number, text},
};

/// Most connections to the mail server at once: what common servers allow one client.
const MAX_CONNECTIONS: u32 = 16;

/// The server that takes mail by SMTP, and whom mail comes from.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Without one, mail is not set up.
    pub host: Option<String>,
    pub port: u16,
    pub tls: MailTls,
    pub user: Option<String>,
    pub password: Option<SecretString>,
    /// Whom mail comes from.
    pub from: Option<Address>,
    pub from_name: String,
    /// Where answers go, if not to `from`.
    pub reply_to: Option<Address>,
    /// Mails a minute, over all campaigns of this process; 0: as many as the server takes.
    pub per_minute: u32,
    /// Connections at once, 1 to 16.
    pub connections: u32,
    /// The longest wait for a connection, and for the answer to one command.
    pub timeout: Duration,
    /// The pause before a mail that was put off (4xx) is tried again; it triples each time.
    pub retry: Duration,
    /// How often a mail is tried before it is given up.
    pub tries: u32,
    /// Certificates (PEM) that are trusted besides the system's, for a server with its own.
    pub ca_file: Option<PathBuf>,
}

/// How the connection to the mail server is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// From the first byte (port 465).
    Implicit,
    /// After `STARTTLS`, without which nothing is sent (port 587).
    Starttls,
    /// Not at all; only to this machine.
    None,
}

impl MailTls {
    const fn port(self) -> u16 {
        match self {
            Self::Implicit => 465,
            Self::Starttls => 587,
            Self::None => 25,
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "implicit" => Ok(Self::Implicit),
            "starttls" => Ok(Self::Starttls),
            "none" => Ok(Self::None),
            _ => Err(format!("\"{text}\" is none of implicit, starttls and none")),
        }
    }
}

impl Mail {
    /// Whether there is a server to give mail to.
    pub fn is_on(&self) -> bool {
        self.host.is_some() && self.from.is_some()
    }
}

/// What stands in the one URL that says it all.
#[derive(Default)]
struct Told {
    host: Option<String>,
    port: Option<u16>,
    tls: Option<MailTls>,
    user: Option<String>,
    password: Option<String>,
}

pub(super) fn read(from: &mut Loader) -> Mail {
    let told = from.optional(&key("mail.url", &["LUX_SMTP_URL"]).secret(), smtp_url);
    let told = told.unwrap_or_default();
    let host = from.optional(&key("mail.host", &["LUX_SMTP_HOST"]), host_name).or(told.host);
    let tls = from.optional(&key("mail.tls", &["LUX_SMTP_TLS"]), MailTls::read).or(told.tls);
    let tls = tls.unwrap_or(MailTls::Starttls);
    let port = from.optional(&key("mail.port", &["LUX_SMTP_PORT"]), number::<u16>).or(told.port);
    let user = from.optional(&key("mail.user", &["LUX_SMTP_USER"]), text).or(told.user);
    let password = from.optional(&key("mail.password", &["LUX_SMTP_PASSWORD"]).secret(), text);
    let mail = Mail {
        port: port.unwrap_or(tls.port()),
        tls,
        user,
        password: password.or(told.password).map(Into::into),
        from: from.optional(&key("mail.from", &["LUX_MAIL_FROM"]), address),
        from_name: from
            .optional(&key("mail.from_name", &["LUX_MAIL_FROM_NAME"]), name)
            .unwrap_or_default(),
        reply_to: from.optional(&key("mail.reply_to", &["LUX_MAIL_REPLY_TO"]), address),
        per_minute: from.value(
            &key("mail.per_minute", &["LUX_MAIL_PER_MINUTE"]),
            "0",
            number::<u32>,
        ),
        connections: from.value(&key("mail.connections", &[]), "4", connections),
        timeout: from.value(&key("mail.timeout", &[]), "60s", some_time),
        retry: from.value(&key("mail.retry", &[]), "5m", some_time),
        tries: from.value(&key("mail.tries", &[]), "5", at_least_one),
        ca_file: from.optional(&key("mail.ca_file", &[]), text).map(PathBuf::from),
        host,
    };
    let mut mistake = |key, problem| {
        let origin = from.file_origin();
        from.mistake(key, origin, problem);
    };
    if let Some(host) = &mail.host {
        if mail.from.is_none() {
            mistake("mail.from", "is missing; name the address that mail comes from");
        }
        if mail.tls == MailTls::None && !is_this_machine(host) {
            mistake(
                "mail.tls",
                "\"none\" would send addresses and the password in the clear; only a server on \
                 this machine (127.0.0.1) may be reached so, use starttls or implicit",
            );
        }
    }
    if mail.user.is_some() != mail.password.is_some() {
        mistake("mail.user", "user and password belong together; set both or neither");
    }
    mail
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn host_name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
    if text.is_empty() || text.len() > 253 || !text.chars().all(fits) {
        return Err("is no host; write one like smtp.example.com".to_owned());
    }
    Ok(text.trim_start_matches('[').trim_end_matches(']').to_owned())
}

fn address(text: &str) -> Result<Address, String> {
    text.trim().parse().map_err(|_| "is no address; write one like shop@example.com".to_owned())
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.chars().any(char::is_control) || text.chars().count() > 100 {
        return Err("is longer than 100 characters or holds line breaks".to_owned());
    }
    Ok(text.to_owned())
}

fn connections(text: &str) -> Result<u32, String> {
    match number::<u32>(text)? {
        n if (1..=MAX_CONNECTIONS).contains(&n) => Ok(n),
        _ => Err(format!("must be 1 to {MAX_CONNECTIONS}")),
    }
}

fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}

/// `smtps://user:password@host:465`, `smtp://host:587` (STARTTLS), `smtp://127.0.0.1:25?tls=none`.
fn smtp_url(text: &str) -> Result<Told, String> {
    let wrong = || {
        "is no mail server; write smtps://USER:PASSWORD@HOST:465 or smtp://USER:PASSWORD@HOST:587 \
         (percent-encode what is special in USER and PASSWORD)"
            .to_owned()
    };
    let url = Url::parse(text.trim()).map_err(|_| wrong())?;
    let scheme = match url.scheme() {
        "smtps" => MailTls::Implicit,
        "smtp" => MailTls::Starttls,
        _ => return Err(wrong()),
    };
    let mut tls = scheme;
    for (name, value) in url.query_pairs() {
        match &*name {
            "tls" => tls = MailTls::read(&value)?,
            _ => return Err(wrong()),
        }
    }
    let decode = |part: &str| {
        let bytes = percent(part).ok_or_else(wrong)?;
        String::from_utf8(bytes).map_err(|_| wrong())
    };
    let user = Some(url.username()).filter(|user| !user.is_empty()).map(decode).transpose()?;
    Ok(Told {
        host: Some(host_name(url.host_str().ok_or_else(wrong)?)?),
        port: url.port(),
        tls: Some(tls),
        user,
        password: url.password().map(decode).transpose()?,
    })
}

fn percent(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let pair = [bytes.next()?, bytes.next()?];
            decoded.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::{Config, MailTls, Overrides};

    fn load(variables: &[(&str, &str)]) -> (super::Mail, Vec<String>) {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let overrides = Overrides { environment: environment.collect(), ..Overrides::default() };
        let (config, mistakes) = Config::load_leniently(overrides);
        (config.mail, mistakes.into_iter().map(|mistake| mistake.key).collect())
    }

    #[test]
    fn one_url_says_it_all() {
        let url = ("LUX_SMTP_URL", "smtps://ada%40shop:p%2Fw@smtp.example.com");
        let (mail, mistakes) = load(&[url, ("LUX_MAIL_FROM", "shop@example.com")]);
        assert_eq!(mistakes, [""; 0]);
        assert_eq!(mail.host.as_deref(), Some("smtp.example.com"));
        assert_eq!((mail.port, mail.tls), (465, MailTls::Implicit));
        assert_eq!(mail.user.as_deref(), Some("ada@shop"));
        assert_eq!(mail.password.unwrap().expose_secret(), "p/w");
        let (mail, mistakes) = load(&[
            ("LUX_SMTP_URL", "smtp://127.0.0.1:2525?tls=none"),
            ("LUX_MAIL_FROM", "shop@example.com"),
        ]);
        assert_eq!(mistakes, [""; 0]);
        assert_eq!((mail.port, mail.tls), (2525, MailTls::None));
    }

    #[test]
    fn what_would_leak_or_not_work_is_a_mistake() {
        let from = ("LUX_MAIL_FROM", "shop@example.com");
        for (variables, wrong) in [
            (&[from, ("LUX_SMTP_URL", "smtp://smtp.example.com?tls=none")][..], "mail.tls"),
            (&[("LUX_SMTP_HOST", "smtp.example.com")], "mail.from"),
            (&[from, ("LUX_SMTP_URL", "https://smtp.example.com")], "mail.url"),
            (&[from, ("LUX_SMTP_HOST", "h"), ("LUX_SMTP_USER", "ada")], "mail.user"),
            (&[("LUX_MAIL_FROM", "shop@example.com\r\nBcc: eve@example.com")], "mail.from"),
            (&[("LUX_MAIL_FROM_NAME", "Shop\r\nBcc: eve@example.com")], "mail.from_name"),
        ] {
            assert_eq!(load(variables).1, [wrong], "{variables:?}");
        }
    }
}
