//! The two cookies of Lux: the session's, and the one that ties a sign-in that is under way to
//! its browser. Over https they have the `__Host-` prefix; over plain http there are some of
//! another name, for this machine alone.

use http::{HeaderMap, HeaderValue, header};

use super::limit::Peer;
use crate::{
    config::Config,
    error::{Error, Result},
};

/// How long a sign-in may be under way, in seconds.
const FLOW_SECONDS: u64 = 600;

/// A cookie's value: 256 bits in base64url.
const LENGTH: usize = 43;

#[derive(Clone, Copy)]
enum Kind {
    Session,
    Flow,
}

impl Kind {
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-lux",
            (Self::Session, false) => "lux-dev",
            (Self::Flow, true) => "__Host-lux-flow",
            (Self::Flow, false) => "lux-dev-flow",
        }
    }
}

/// Whether people reach Lux by https, as far as it was told.
pub fn is_secure(config: &Config) -> bool {
    config.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
}

/// Whether somebody there can have a session: over https, else on this machine only.
pub fn may_sign_in(config: &Config, peer: Option<Peer>) -> Result<()> {
    if is_secure(config) {
        return Ok(());
    }
    let host = config.public_url.as_ref().and_then(url::Url::host);
    let is_here = match host {
        None => true,
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
    };
    if is_here && peer.is_some_and(|peer| peer.address.is_loopback() && !peer.forwarded) {
        return Ok(());
    }
    Err(Error::Denied(
        "sign-in needs https, except on the very machine that Lux runs on; put nginx with TLS in \
         front and set public_url to its https address"
            .to_owned(),
    ))
}

/// `Set-Cookie` for a session that began.
pub fn session_cookie(config: &Config, value: &str) -> HeaderValue {
    set(config, Kind::Session, value, config.sign_in.absolute.as_secs())
}

/// `Set-Cookie` that takes the session's cookie away.
pub fn cleared(config: &Config) -> HeaderValue {
    set(config, Kind::Session, "", 0)
}

/// The session's cookie, if it was sent once and looks like one.
pub fn read<'a>(config: &Config, headers: &'a HeaderMap) -> Option<&'a str> {
    get(config, Kind::Session, headers)
}

/// `Set-Cookie` for a sign-in that begins; `value` is 43 characters of base64url.
pub fn flow_cookie(config: &Config, value: &str) -> HeaderValue {
    set(config, Kind::Flow, value, FLOW_SECONDS)
}

/// `Set-Cookie` that takes the cookie of a sign-in away.
pub fn cleared_flow(config: &Config) -> HeaderValue {
    set(config, Kind::Flow, "", 0)
}

/// The cookie of the sign-in that is under way.
pub fn read_flow<'a>(config: &Config, headers: &'a HeaderMap) -> Option<&'a str> {
    get(config, Kind::Flow, headers)
}

fn set(config: &Config, kind: Kind, value: &str, seconds: u64) -> HeaderValue {
    let secure = is_secure(config);
    let name = kind.name(secure);
    let flag = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{flag}");
    let mut header = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

fn get<'a>(config: &Config, kind: Kind, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = kind.name(is_secure(config));
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|value| {
        value.to_str().unwrap_or_default().split(';').filter_map(|pair| pair.trim().split_once('='))
    });
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    let value = values.next()?;
    // Two of one name: somebody else's is among them.
    if values.next().is_some() {
        return None;
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (value.len() == LENGTH && value.bytes().all(fits)).then_some(value)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{cleared, flow_cookie, may_sign_in, read, read_flow, session_cookie};
    use crate::{
        config::{Config, Overrides},
        http::limit::Peer,
    };

    fn config(public_url: Option<&str>) -> Config {
        let mut config = Config::load_leniently(Overrides::default()).0;
        config.public_url = public_url.map(|url| url.parse().unwrap());
        config
    }

    const VALUE: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-_";

    #[test]
    fn over_https_the_cookie_is_for_this_host_alone() {
        let secure = config(Some("https://lux.example.com"));
        let set = session_cookie(&secure, VALUE);
        assert_eq!(
            set.to_str().unwrap(),
            format!("__Host-lux={VALUE}; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure")
        );
        // The same attributes, or a browser would keep the cookie.
        assert_eq!(
            cleared(&secure).to_str().unwrap(),
            "__Host-lux=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(flow_cookie(&secure, VALUE).to_str().unwrap().starts_with("__Host-lux-flow="));
        let plain = session_cookie(&config(None), VALUE);
        let plain = plain.to_str().unwrap();
        assert!(plain.starts_with("lux-dev=") && !plain.contains("Secure"), "{plain}");
    }

    #[test]
    fn cookies_are_read_strictly() {
        let config = config(Some("https://lux.example.com"));
        let sent = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("cookie", HeaderValue::from_str(line).unwrap());
            }
            read(&config, &headers).map(str::to_owned)
        };
        let good = format!("__Host-lux={VALUE}");
        assert_eq!(sent(&[&good]).as_deref(), Some(VALUE));
        assert_eq!(sent(&[&format!("a=b; {good}; c=d")]).as_deref(), Some(VALUE));
        assert_eq!(sent(&["a=b", &good]).as_deref(), Some(VALUE));
        for bad in [
            format!("{good}; {good}"),
            format!("{good}; __Host-lux="),
            format!("{good}x"),
            format!("__Host-lux=\"{VALUE}\""),
            format!("__host-lux={VALUE}"),
            format!("lux-dev={VALUE}"),
            format!("__Host-lux-flow={VALUE}"),
            format!("__Host-lux={}", VALUE.replace('a', " ")),
            "__Host-lux".to_owned(),
            String::new(),
        ] {
            assert_eq!(sent(&[&bad]), None, "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("cookie", format!("__Host-lux-flow={VALUE}").parse().unwrap());
        assert_eq!(read_flow(&config, &headers), Some(VALUE));
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        let peer = |text: &str, forwarded| Some(Peer { address: text.parse().unwrap(), forwarded });
        let may = |url: Option<&str>, peer| may_sign_in(&config(url), peer).is_ok();
        assert!(may(None, peer("127.0.0.1", false)));
        assert!(may(None, peer("::1", false)));
        assert!(may(Some("http://localhost:5000"), peer("127.0.0.1", false)));
        assert!(may(Some("http://127.0.0.1:5000"), peer("127.0.0.1", false)));
        assert!(may(Some("https://lux.example.com"), peer("203.0.113.9", true)));
        assert!(!may(None, peer("127.0.0.1", true)));
        assert!(!may(None, peer("203.0.113.9", false)));
        assert!(!may(Some("http://lux.example.com"), peer("127.0.0.1", false)));
        assert!(!may(None, None));
    }
}
