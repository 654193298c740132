//! An origin that may be asked, and building addresses on it from text that nobody
//! vouches for.

use std::{fmt, net::IpAddr};

use url::{Host, Url};

use super::address;

/// Longest path (and query) that is asked for, in bytes.
pub const MAX_PATH: usize = 2000;
/// How often a path may be percent-encoded over and over.
const MAX_LAYERS: usize = 4;

/// Why an address is not asked: one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// An origin that an operator configured (`base_url`), the only thing that decides where
/// a request goes. Everything else is a path on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    base: Url,
}

impl Target {
    /// The origin of `base_url`; its path is put before every path that is asked for.
    pub fn new(base_url: &Url) -> Result<Self, Refusal> {
        if !matches!(base_url.scheme(), "http" | "https") {
            return refuse(format!("{}: is neither http nor https", base_url.scheme()));
        }
        if !base_url.username().is_empty() || base_url.password().is_some() {
            return refuse("the base URL holds a user name or password");
        }
        let literal = match base_url.host() {
            None => return refuse("the base URL has no host"),
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) if is_metadata(name) => {
                return refuse(format!("{name} is the metadata service of a cloud"));
            }
            Some(Host::Domain(_)) => None,
        };
        // A literal is connected to without any resolver being asked.
        if let Some(address) = literal
            && let Some(why) = address::refused(address)
        {
            return refuse(format!("{address} is {why}; Lux never asks it"));
        }
        let mut base = base_url.clone();
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self { base })
    }

    /// `scheme://host:port`, for people and as the key of the rate limit.
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// The URL of a path that an error, a log or a playbook names: untrusted text. It is
    /// refused, never mended, where it is not plainly a path; its query is dropped, as it
    /// may hold a person's token.
    pub fn untrusted(&self, endpoint: &str) -> Result<Url, Refusal> {
        let path = endpoint.split('?').next().unwrap_or_default();
        check(endpoint)?;
        check_layers(path)?;
        self.build(path, None)
    }

    /// The URL of a path that an operator configured, with its query.
    pub fn configured(&self, path_and_query: &str) -> Result<Url, Refusal> {
        check(path_and_query)?;
        match path_and_query.split_once('?') {
            Some((path, query)) => self.build(path, Some(query)),
            None => self.build(path_and_query, None),
        }
    }

    /// Whether the URL is on this very origin, without credentials.
    pub fn holds(&self, url: &Url) -> bool {
        url.scheme() == self.base.scheme()
            && url.host() == self.base.host()
            && url.port_or_known_default() == self.base.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none()
    }

    /// Sets the path on the configured base, never joins, and looks afterwards whether
    /// anything else has moved.
    fn build(&self, path: &str, query: Option<&str>) -> Result<Url, Refusal> {
        let prefix = self.base.path().trim_end_matches('/');
        let has_prefix =
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut url = self.base.clone();
        if has_prefix {
            url.set_path(path);
        } else {
            url.set_path(&format!("{prefix}{path}"));
        }
        url.set_query(query);
        let stays = self.holds(&url)
            && url.fragment().is_none()
            && url.path().starts_with('/')
            && !url.path().starts_with("//");
        if stays { Ok(url) } else { refuse("the path leads away from the application") }
    }
}

fn is_metadata(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "metadata" || name == "metadata.google.internal" || name == "instance-data"
}

/// What every path has to be.
fn check(path: &str) -> Result<(), Refusal> {
    if path.len() > MAX_PATH {
        return refuse(format!("it is longer than {MAX_PATH} bytes"));
    }
    if !path.starts_with('/') {
        return refuse("it is no path: it does not begin with /");
    }
    if path.starts_with("//") {
        return refuse("it begins with //, which names another host");
    }
    if path.contains(char::is_control) {
        return refuse("it holds a control character");
    }
    if path.contains('\\') {
        return refuse("it holds a backslash");
    }
    if path.contains('#') {
        return refuse("it holds a #");
    }
    Ok(())
}

/// What an untrusted path has to be in addition, however often it is percent-encoded:
/// a server behind may decode it again.
fn check_layers(path: &str) -> Result<(), Refusal> {
    let mut layer = path.as_bytes().to_vec();
    for _ in 0..MAX_LAYERS {
        let text = String::from_utf8_lossy(&layer);
        if text.starts_with("//") || text.contains('\\') || text.contains(char::is_control) {
            return refuse("it hides a second /, a backslash or a control character");
        }
        let dots = |segment: &str| {
            let segment = segment.split(';').next().unwrap_or_default().trim();
            segment == "." || segment == ".."
        };
        if text.split('/').any(dots) {
            return refuse("it holds . or .. as a part, which leads elsewhere");
        }
        let decoded = decode(&layer);
        if decoded == layer {
            return Ok(());
        }
        layer = decoded;
    }
    refuse("it is percent-encoded over and over")
}

/// One layer of percent-encoding less; what is no escape stays.
fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(text.get(at + 1)), digit(text.get(at + 2)))
            && let Ok(decoded) = u8::try_from(high * 16 + low)
        {
            out.push(decoded);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    out
}

/// The path as a server may read it in the end: decoded as often as it can be, in small
/// letters. For comparing it with patterns.
pub fn plain(path: &str) -> String {
    let mut layer = path.as_bytes().to_vec();
    for _ in 0..MAX_LAYERS {
        let decoded = decode(&layer);
        if decoded == layer {
            break;
        }
        layer = decoded;
    }
    String::from_utf8_lossy(&layer).to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(base: &str) -> Target {
        Target::new(&base.parse().unwrap()).unwrap()
    }

    /// The rows of the table of hostile endpoints, and more of their kind.
    const HOSTILE: &[&str] = &[
        "",
        " ",
        "//evil.example/x",
        "///evil.example/x",
        "/\\evil.example/x",
        "\\\\evil.example\\x",
        "\\/evil.example",
        "/\t/evil.example",
        "\n//evil.example",
        "/\n/evil.example",
        " //evil.example ",
        " /x",
        "\u{feff}/x",
        "@evil.example/",
        ":8443/x",
        ".evil.example/x",
        "evil.example/x",
        "https://evil.example/",
        "HTTPS://evil.example/",
        "http:evil.example",
        "http:/evil.example",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "gopher://evil.example:70/1",
        "data:text/html,x",
        "ftp://evil.example",
        "http://127.0.0.1@evil.example/",
        "http://evil.example\\@127.0.0.1/",
        "http://1.1.1.1 @127.0.0.1/",
        "http://2130706433/",
        "http://[::ffff:169.254.169.254]/",
        "/a/../../etc",
        "/a/..",
        "/./x",
        "/%2e%2e/%2e%2e/admin",
        "/%2E%2E/admin",
        "/.%2e/admin",
        "/a/%2e%2e%2fadmin",
        "/a/%252e%252e%252fadmin",
        "/a/%25252e%25252e/admin",
        "/a/..;/admin",
        "/a/..;x=1/admin",
        "/%2f/evil.example",
        "/%2fevil.example",
        "/%5cevil.example",
        "/%255cevil.example",
        "/x\r\nHost: evil.example",
        "/x%0d%0aHost:%20evil.example",
        "/x%00",
        "/x\0",
        "/x\u{7f}",
        "/x\u{85}",
        "/x#fragment",
        "/%2525252525252525252541",
    ];

    #[test]
    fn hostile_endpoints_are_refused() {
        let target = target("https://app.example.com/");
        for endpoint in HOSTILE {
            assert!(target.untrusted(endpoint).is_err(), "{endpoint:?} is built");
        }
        let long = format!("/{}", "x".repeat(MAX_PATH));
        assert!(target.untrusted(&long).is_err());
        assert!(target.untrusted(&long[..MAX_PATH]).is_ok());
    }

    #[test]
    fn plain_paths_are_built_and_lose_their_query() {
        let target = target("https://app.example.com:8443/");
        for (endpoint, url) in [
            ("/", "/"),
            ("/checkout", "/checkout"),
            ("/reset?token=secret", "/reset"),
            ("/x?next=//evil.example", "/x"),
            ("/x?next=https://evil.example/", "/x"),
            ("/user/42/orders/", "/user/42/orders/"),
            ("/@evil.example/", "/@evil.example/"),
            ("/:8443/x", "/:8443/x"),
            ("/a b", "/a%20b"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/\u{ff0f}evil.example", "/%EF%BC%8Fevil.example"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%20b", "/a%20b"),
            ("/a..b/...", "/a..b/..."),
            ("/100%", "/100%"),
            ("/http://evil.example/", "/http://evil.example/"),
            ("/a//b", "/a//b"),
        ] {
            let built =
                target.untrusted(endpoint).unwrap_or_else(|why| panic!("{endpoint}: {why}"));
            assert_eq!(built.as_str(), format!("https://app.example.com:8443{url}"), "{endpoint}");
        }
    }

    #[test]
    fn a_configured_path_keeps_its_query() {
        let target = target("http://127.0.0.1:8000");
        let url = target.configured("/health?full=1&x=%2F").unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:8000/health?full=1&x=%2F");
        assert!(target.configured("//evil.example/").is_err());
        assert!(target.configured("https://evil.example/").is_err());
    }

    #[test]
    fn the_path_of_the_base_stands_before_all_others() {
        let target = target("http://127.0.0.1:8000/shop/");
        let built = |path: &str| target.untrusted(path).unwrap().path().to_owned();
        assert_eq!(built("/checkout"), "/shop/checkout");
        assert_eq!(built("/shop/checkout"), "/shop/checkout");
        assert_eq!(built("/shop"), "/shop");
        assert_eq!(built("/shopping"), "/shop/shopping");
    }

    #[test]
    fn bases_that_lead_astray_are_refused() {
        for base in [
            "ftp://app.example/",
            "file:///x",
            "http://user@app.example/",
            "http://user:pass@app.example/",
            "http://169.254.169.254/",
            "http://0/",
            "http://0x0a9fea9fe/",
            "http://2852039166/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[fe80::1]/",
            "http://metadata.google.internal/",
            "http://METADATA.google.internal./",
        ] {
            assert!(Target::new(&base.parse().unwrap()).is_err(), "{base}");
        }
        for base in ["http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://[::1]/"] {
            assert!(Target::new(&base.parse().unwrap()).is_ok(), "{base}");
        }
    }

    #[test]
    fn only_the_same_origin_is_held() {
        let target = target("https://app.example.com/");
        for (url, held) in [
            ("https://app.example.com/x", true),
            ("https://app.example.com:443/x", true),
            ("https://APP.example.com/x", true),
            ("https://app.example.com:444/x", false),
            ("http://app.example.com/x", false),
            ("https://app.example.com.evil/x", false),
            ("https://app.example.com@evil/", false),
            ("https://user@app.example.com/", false),
        ] {
            assert_eq!(target.holds(&url.parse().unwrap()), held, "{url}");
        }
    }

    fn endpoints() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "/",
            "//",
            "\\",
            "@",
            ":",
            "?",
            "#",
            ".",
            "..",
            "%2e",
            "%2f",
            "%5c",
            "%00",
            "%25",
            "\t",
            "\n",
            "\r",
            " ",
            "http:",
            "https://",
            "evil.example",
            "127.0.0.1",
            "[::1]",
            "a",
            "\u{ff0f}",
            "\u{2025}",
            "\u{200b}",
            ";",
            "&",
            "\0",
        ]);
        prop_oneof![
            any::<String>(),
            prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat()),
            any::<String>().prop_map(|text| format!("/{text}")),
        ]
    }

    proptest! {
        #[test]
        fn no_endpoint_moves_scheme_host_or_port(
            endpoint in endpoints(),
            base in prop::sample::select(vec![
                "http://127.0.0.1:8000/", "https://app.example.com/", "https://[::1]:8443/base/",
            ]),
        ) {
            let target = target(base);
            let base: Url = base.parse().unwrap();
            for built in [target.untrusted(&endpoint), target.configured(&endpoint)].into_iter().flatten() {
                prop_assert_eq!(built.scheme(), base.scheme());
                prop_assert_eq!(built.host(), base.host());
                prop_assert_eq!(built.port_or_known_default(), base.port_or_known_default());
                prop_assert_eq!(built.username(), "");
                prop_assert!(built.password().is_none() && built.fragment().is_none());
                // Nor does reading it again.
                let again: Url = built.as_str().parse().unwrap();
                prop_assert_eq!(&again, &built);
                prop_assert!(target.holds(&again));
            }
            if let Ok(built) = target.untrusted(&endpoint) {
                prop_assert!(built.query().is_none());
                prop_assert!(!built.path().split('/').any(|part| part == ".." || part == "."));
            }
        }
    }
}
