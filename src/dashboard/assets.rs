//! What pages load: scripts, styles, fonts and icons, all in the program.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "assets"]
#[exclude = "*.md"]
struct Files;

/// The files of pages, which need nothing else.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/assets/{*path}", get(read))
}

/// Where a page finds a file: the address changes with the content, so that browsers may keep
/// it for ever.
pub fn url(path: &str) -> String {
    match Files::get(path) {
        Some(file) => format!("/assets/{path}?v={}", &tag(&file)[..12]),
        None => format!("/assets/{path}"),
    }
}

/// The sheet of icons.
pub fn icons() -> &'static str {
    static ICONS: LazyLock<String> = LazyLock::new(|| url("icons.svg"));
    &ICONS
}

/// The SHA-256 of a file, in hexadecimal.
fn tag(file: &EmbeddedFile) -> String {
    use std::fmt::Write;
    file.metadata.sha256_hash().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn read(Path(path): Path<String>, uri: http::Uri, headers: HeaderMap) -> Response {
    let Some(file) = Files::get(&path) else { return StatusCode::NOT_FOUND.into_response() };
    let tag = tag(&file);
    let asked = uri.query().and_then(|query| query.strip_prefix("v="));
    // Under an address with its sum a file never changes; under another it is asked for again.
    let ending = path.rsplit('.').next();
    let cache = match asked {
        Some(version) if tag.starts_with(version) && version.len() == 12 => {
            "public, max-age=31536000, immutable"
        }
        _ if ending == Some("woff2") => "public, max-age=604800",
        _ => "public, no-cache",
    };
    let etag = format!("\"{tag}\"");
    let mut answer = HeaderMap::new();
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        answer.insert(header::ETAG, etag);
    }
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    // A compressing layer makes an ETag weak.
    if known.is_some_and(|known| known.trim_start_matches("W/") == etag) {
        return (StatusCode::NOT_MODIFIED, answer).into_response();
    }
    let kind = match ending {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    };
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    (answer, file.data).into_response()
}

#[cfg(test)]
mod tests {
    use super::{Files, tag, url};

    #[test]
    fn what_others_made_is_as_published() {
        for (path, sum) in [
            (
                "vendor/htmx-4.0.1.min.js",
                "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
            ),
            (
                "fonts/inter-latin-wght-normal.woff2",
                "3100e775e8616cd2611beecfa23a4263d7037586789b43f035236a2e6fbd4c62",
            ),
            (
                "fonts/jetbrains-mono-latin-wght-normal.woff2",
                "18be452724bfdc236c074ca94a249a7f41a86752c7d04ab258ce9ed5651f6a7e",
            ),
        ] {
            assert_eq!(tag(&Files::get(path).unwrap()), sum, "{path}");
        }
    }

    /// An icon that is not in the sheet shows nothing, and nobody would notice.
    #[test]
    fn the_sheet_has_the_icons_that_are_used() {
        let sheet = Files::get("icons.svg").unwrap();
        let sheet = std::str::from_utf8(&sheet.data).unwrap();
        let mut used = 0;
        let mut folders =
            vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "html") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    for (before, _) in
                        text.match_indices("|icon").chain(text.match_indices("|small_icon"))
                    {
                        let Some(text) = text[..before].strip_suffix('"') else { continue };
                        let name = text.rsplit('"').next().unwrap();
                        assert!(
                            sheet.contains(&format!("id=\"{name}\"")),
                            "{}: {name}",
                            path.display()
                        );
                        used += 1;
                    }
                }
            }
        }
        assert!(used > 5, "{used}");
    }

    #[test]
    fn an_address_tells_the_content() {
        let url = url("lux.css");
        assert!(url.starts_with("/assets/lux.css?v=") && url.len() == 30, "{url}");
    }
}
