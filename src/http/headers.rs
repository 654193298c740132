//! What every answer tells browsers: to load, frame, keep and guess nothing.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Of pages: scripts, styles, pictures and requests are Lux's own or not at all, and nothing
/// stands in the page itself.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; \
     base-uri 'none'; object-src 'none'; require-trusted-types-for 'script'",
);

/// Of all that is no page.
const OTHER_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");

const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), \
     screen-wake-lock=(), usb=(), web-share=(), xr-spatial-tracking=()",
);

static PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
static OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Adds what is not there yet. With `https`, people reach Lux by TLS, and are to keep to it.
pub(super) fn add(headers: &mut HeaderMap, https: bool) {
    let kind = headers.get(header::CONTENT_TYPE);
    let page = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let mut set = |name: &HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    set(&header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(&header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    set(&header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    set(&header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set(&header::CONTENT_SECURITY_POLICY, if page { PAGE_POLICY } else { OTHER_POLICY });
    set(&RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    if page {
        set(&OPENER_POLICY, HeaderValue::from_static("same-origin"));
        set(&PERMISSIONS_POLICY, PERMISSIONS);
    }
    if https {
        let year = HeaderValue::from_static("max-age=31536000");
        set(&header::STRICT_TRANSPORT_SECURITY, year);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::add;

    fn of(kind: &'static str, https: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        add(&mut headers, https);
        headers
    }

    #[test]
    fn pages_may_load_what_is_ours_and_nothing_else() {
        let page = of("text/html; charset=utf-8", false);
        let policy = page["content-security-policy"].to_str().unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "frame-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "object-src 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.split("; ").any(|found| found == part), "{part}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page["cross-origin-opener-policy"], "same-origin");
        assert!(page["permissions-policy"].to_str().unwrap().contains("camera=()"));
        assert!(!page.contains_key("strict-transport-security"));
    }

    #[test]
    fn the_rest_may_load_nothing() {
        let json = of("application/json", true);
        let policy = json["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(!policy.contains("'self'"), "{policy}");
        assert_eq!(json["cache-control"], "no-store");
        assert_eq!(json["x-content-type-options"], "nosniff");
        assert_eq!(json["referrer-policy"], "no-referrer");
        assert_eq!(json["cross-origin-resource-policy"], "same-origin");
        assert_eq!(json["strict-transport-security"], "max-age=31536000");
    }

    #[test]
    fn what_a_handler_says_stands() {
        let mut headers = HeaderMap::new();
        let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, kept.clone());
        add(&mut headers, false);
        assert_eq!(headers[header::CACHE_CONTROL], kept);
    }
}
