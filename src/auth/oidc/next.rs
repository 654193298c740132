//! Where a person goes after the sign-in: only to a page of Lux.

use url::Url;

/// The longest address, in bytes.
const MAX: usize = 2000;

/// The address if it is a path on Lux, else its first page. What a browser or a proxy could read
/// as another host is none.
pub fn safe(next: &str) -> String {
    checked(next).unwrap_or_else(|| "/".to_owned())
}

fn checked(next: &str) -> Option<String> {
    let harmless = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if next.len() > MAX || !next.starts_with('/') || !next.bytes().all(harmless) {
        return None;
    }
    let base = Url::parse("http://lux.invalid/").ok()?;
    let url = base.join(next).ok()?;
    let path = url.path().to_ascii_lowercase();
    // Encoded separators and control characters: what decodes once more reads another path.
    let encoded = ["%2f", "%5c", "%0", "%1", "%7f", "%25"].iter().any(|code| path.contains(code));
    // The sign-in's own pages would run in circles, or sign out at once.
    let circles = path == "/auth" || path.starts_with("/auth/");
    if url.origin() != base.origin() || path.contains("//") || encoded || circles {
        return None;
    }
    Some(url[url::Position::BeforePath..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn only_pages_of_lux_are_gone_to() {
        for good in ["/", "/groups/7", "/groups?status=open&q=a%20b#top", "/chat?next=//x"] {
            assert_eq!(safe(good), good);
        }
        for bad in [
            "",
            "groups",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            "/%2f%2fevil.example",
            "/%2Fevil.example",
            "/%5cevil.example",
            "/%09/evil.example",
            "/%252f%252fevil.example",
            "/./\\evil.example",
            "/.//evil.example",
            "/a/..//evil.example",
            "https://evil.example/",
            "https:evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "/@evil.example:80//x",
            "/auth/replit_auth/replit-logout",
            "/AUTH/oidc/x/login",
            "/a/../auth/sign-in",
            "/ä",
        ] {
            assert_eq!(safe(bad), "/", "{bad:?}");
        }
        assert_eq!(safe(&format!("/{}", "x".repeat(2000))), "/");
    }
}
