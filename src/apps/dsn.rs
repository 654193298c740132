//! Public keys, and the address (DSN) that an application's SDK is given.

use std::{fs, net::IpAddr};

use aws_lc_rs::rand;
use url::Url;

use crate::{
    config::Config,
    error::{Error, Result},
};

/// Where applications reach Lux.
#[derive(Clone, Debug)]
pub struct Address(Url);

impl Address {
    /// `public_url`, else where the server of this data directory listens.
    pub fn of(config: &Config) -> Self {
        if let Some(url) = &config.public_url {
            return Self(url.clone());
        }
        let written = fs::read_to_string(config.data_dir.join("address")).ok();
        let mut address =
            written.and_then(|text| text.trim().parse().ok()).unwrap_or(config.listen);
        if address.ip().is_unspecified() {
            // "Everywhere" is no place to send to.
            address.set_ip(IpAddr::from([127, 0, 0, 1]));
        }
        let url = Url::parse(&format!("http://{address}"));
        Self(url.unwrap_or_else(|_| unreachable!("a socket address is a host and a port")))
    }

    /// `http://KEY@HOST:PORT/ID`
    pub fn dsn(&self, app: i64, public_key: &str) -> String {
        let mut url = self.0.clone();
        let path = format!("{}/{app}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        // Cannot fail: http addresses with a host take a user name.
        let _ = url.set_username(public_key);
        url.to_string()
    }

    /// `http://HOST:PORT`, without a slash at the end.
    pub fn base(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

/// 128 random bits as 32 hexadecimal digits.
pub(super) fn make_key() -> Result<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes)
        .map_err(|_| Error::Unavailable("the system gave no random bytes".to_owned()))?;
    Ok(key_text(u128::from_be_bytes(bytes)))
}

pub(super) fn key_text(key: u128) -> String {
    format!("{key:032x}")
}

/// `None` for what is not 32 hexadecimal digits.
pub(super) fn parse_key(text: &str) -> Option<u128> {
    let is_key = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_key.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dsn_is_what_sdks_read() {
        let dsn = |url: &str| Address(Url::parse(url).unwrap()).dsn(7, "0123");
        assert_eq!(dsn("http://127.0.0.1:5000"), "http://0123@127.0.0.1:5000/7");
        assert_eq!(dsn("https://lux.example.com/"), "https://0123@lux.example.com/7");
        assert_eq!(dsn("https://example.com/lux/?a#b"), "https://0123@example.com/lux/7");
        assert_eq!(dsn("http://[::1]:5000"), "http://0123@[::1]:5000/7");
    }

    #[test]
    fn keys_are_read_strictly() {
        let key = make_key().unwrap();
        assert_eq!(key_text(parse_key(&key).unwrap()), key);
        assert_eq!(parse_key(&key.to_uppercase()), parse_key(&key));
        for wrong in ["", "+f", &key[1..], &format!("+{}", &key[1..]), &format!("{key}0")] {
            assert_eq!(parse_key(wrong), None, "{wrong}");
        }
    }
}
