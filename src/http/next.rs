//! Where a person goes after signing in: to where they wanted to, if that is here.

/// The longest, in bytes.
const MAX: usize = 2000;

/// A path of this server with its query; "/" for everything else, whatever it might be.
pub fn safe_next(wanted: Option<&str>) -> &str {
    wanted.filter(|path| is_own(path)).unwrap_or("/")
}

fn is_own(path: &str) -> bool {
    // Browsers take some characters out and some for others, so none of those may be there.
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'<');
    if path.len() > MAX || !path.starts_with('/') || !path.bytes().all(plain) {
        return false;
    }
    // What a proxy might decode counts as decoded; twice, for a second one.
    let lower = path.to_ascii_lowercase().replace("%25", "%");
    let decoded = lower.replace("%2f", "/").replace("%5c", "/");
    let before_query = decoded.split('?').next().unwrap_or_default();
    if before_query.contains("//") || lower.contains("%0") || lower.contains("%1") {
        return false;
    }
    // Back into a sign-in, or straight out again.
    if before_query.starts_with("/auth/") || before_query.contains("/.") {
        return false;
    }
    url::Url::parse("http://lux.invalid")
        .and_then(|base| base.join(path))
        .is_ok_and(|url| url.origin().ascii_serialization() == "http://lux.invalid")
}

#[cfg(test)]
mod tests {
    use super::safe_next;

    #[test]
    fn own_paths_are_kept() {
        for path in [
            "/",
            "/errors",
            "/errors/7?tab=logs&q=a%20b",
            "/errors?next=https://x.example/",
            "/groups/4-a_b~c",
            "/a/b/",
        ] {
            assert_eq!(safe_next(Some(path)), path);
        }
    }

    #[test]
    fn nothing_leads_elsewhere() {
        let long = format!("/{}", "x".repeat(2000));
        for path in [
            "",
            " ",
            "errors",
            "//evil.example",
            "//evil.example/x",
            "/\\evil.example",
            "\\\\evil.example",
            "\\/evil.example",
            "/\tevil.example",
            "/\t/evil.example",
            "\t//evil.example",
            "\n//evil.example",
            "/\n/evil.example",
            "/\r\nLocation: x",
            " //evil.example",
            "///evil.example",
            "/%2f%2fevil.example",
            "/%2Fevil.example",
            "%2f%2fevil.example",
            "/%5cevil.example",
            "/%5Cevil.example",
            "/%252fevil.example",
            "/%09/evil.example",
            "/%0d%0aSet-Cookie:x",
            "/%00",
            "https://evil.example",
            "http:evil.example",
            "https:/evil.example",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "@evil.example/",
            ":8443/x",
            ".evil.example/x",
            "/a//evil.example",
            "/x#//evil",
            "/\u{ff0f}evil.example",
            "/\u{2028}",
            "/..//evil.example",
            "/./x",
            "/a/../b",
            "/auth/link/x",
            "/auth/sign-out",
            "/%2e%2e//x",
            "/\"><script>",
            long.as_str(),
        ] {
            assert_eq!(safe_next(Some(path)), "/", "{path:?}");
        }
        assert_eq!(safe_next(None), "/");
    }
}
