//! Whether a request that changes something was meant by the person whose cookie it carries, or
//! was made up by another site (CSRF).

use http::{HeaderMap, Method, header, request::Parts};

use super::Problem;
use crate::{config::Config, error::Error};

/// Refuses what another site made a browser send. To be asked where a cookie counts; tokens are
/// sent by no browser of its own accord. What is let through:
///
/// 1. what changes nothing,
/// 2. what comes from `public_url`'s origin,
/// 3. what the browser itself calls `same-origin` or the person's own doing (`none`),
/// 4. of browsers that do not say so: what comes from the origin that was asked, where no
///    `public_url` is set.
///
/// A request that tells neither where it comes from is refused: all browsers tell one of them.
pub fn check(parts: &Parts, config: &Config) -> Result<(), Problem> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS)
        || is_own(&parts.headers, config)
    {
        return Ok(());
    }
    let detail = "this request did not come from a page of Lux itself, so it is not done in the \
                  name of who is signed in; programs use a token";
    Err(Error::Denied(detail.to_owned()).into())
}

fn is_own(headers: &HeaderMap, config: &Config) -> bool {
    let origin = single(headers, header::ORIGIN.as_str());
    if let (Some(origin), Some(url)) = (origin, &config.public_url)
        && origin == url.origin().ascii_serialization()
    {
        return true;
    }
    if headers.contains_key("sec-fetch-site") {
        return matches!(single(headers, "sec-fetch-site"), Some("same-origin" | "none"));
    }
    // A proxy that rewrites Host would make a stranger's origin look like ours: with a public_url
    // only that counts.
    match (origin, &config.public_url) {
        (Some(origin), None) => single(headers, header::HOST.as_str())
            .is_some_and(|host| origin.strip_prefix("http://") == Some(host)),
        _ => false,
    }
}

/// The value of a header that is there once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok();
    value.filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::check;
    use crate::config::{Config, Overrides};

    const OURS: &str = "https://lux.example.com";

    fn allowed(method: &str, public_url: Option<&str>, headers: &[(&str, &str)]) -> bool {
        let mut config = Config::load_leniently(Overrides::default()).0;
        config.public_url = public_url.map(|url| url.parse().unwrap());
        let mut request = Request::builder().method(method).uri("/api/apps");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, &config).is_ok()
    }

    #[test]
    fn what_changes_nothing_may_come_from_anywhere() {
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(allowed(method, Some(OURS), &[("sec-fetch-site", "cross-site")]));
            assert!(allowed(method, None, &[]));
        }
    }

    #[test]
    fn changes_come_from_our_own_pages() {
        let host = ("host", "lux.example.com");
        let site = |site| ("sec-fetch-site", site);
        let origin = |origin| ("origin", origin);
        for method in ["POST", "PUT", "PATCH", "DELETE", "FOO"] {
            let ours = |headers: &[_]| allowed(method, Some(OURS), &[&[host], headers].concat());
            assert!(ours(&[site("same-origin")]));
            assert!(ours(&[site("same-origin"), origin(OURS)]));
            assert!(ours(&[site("none")]));
            assert!(ours(&[origin(OURS)]));
            // An older browser, or a page of ours behind a name that the browser takes for another.
            assert!(ours(&[site("same-site"), origin(OURS)]));
            assert!(!ours(&[]), "{method} without either header");
            assert!(!ours(&[site("cross-site")]));
            assert!(!ours(&[site("same-site")]));
            assert!(!ours(&[site("")]));
            assert!(!ours(&[site("same-origin"), site("cross-site")]));
            assert!(!ours(&[site("cross-site"), origin("https://evil.example")]));
            for stranger in [
                "null",
                "",
                "https://evil.example",
                "http://lux.example.com",
                "https://lux.example.com:8443",
                "https://lux.example.com.evil.example",
                "https://shop.lux.example.com",
                "https://lux.example.com/",
                "HTTPS://LUX.EXAMPLE.COM",
            ] {
                assert!(!ours(&[origin(stranger)]), "{method} from {stranger:?}");
            }
            assert!(!ours(&[origin(OURS), origin("https://evil.example")]));
        }
    }

    #[test]
    fn without_a_public_url_the_origin_is_the_one_that_was_asked() {
        let post = |host, origin| allowed("POST", None, &[("host", host), ("origin", origin)]);
        assert!(post("127.0.0.1:5000", "http://127.0.0.1:5000"));
        assert!(post("localhost:5000", "http://localhost:5000"));
        assert!(!post("127.0.0.1:5000", "http://127.0.0.1:8000"));
        assert!(!post("127.0.0.1:5000", "https://127.0.0.1:5000"));
        assert!(!post("127.0.0.1:5000", "http://localhost:5000"));
        assert!(!post("127.0.0.1:5000", "null"));
        // With one, what was asked does not matter: a proxy may have written it.
        let headers = [("host", "evil.example"), ("origin", "https://evil.example")];
        assert!(!allowed("POST", Some(OURS), &headers));
    }
}
