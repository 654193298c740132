//! The little of HTML that is needed: title, headings, and the text that is seen.

/// Headings that are looked at.
const MAX_HEADINGS: usize = 20;

/// Marks that do not part words.
const INLINE: &[&str] =
    &["a", "abbr", "b", "code", "em", "font", "i", "mark", "small", "span", "strong", "u"];
/// What is between these is not seen.
const HIDDEN: &[&str] = &["script", "style", "template", "noscript", "svg", "iframe"];

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: Option<String>,
    /// `h1` to `h3`.
    pub(super) headings: Vec<String>,
    /// What is seen, without title.
    pub(super) text: String,
}

impl Page {
    /// `None` for what is no HTML.
    pub(super) fn read(body: &str, content_type: &str) -> Option<Self> {
        let body = body.trim_start_matches('\u{feff}').trim_start();
        let head = body[..body.floor_char_boundary(2000)].to_ascii_lowercase();
        let is_html = content_type.contains("html")
            || (head.starts_with('<')
                && ["<!doctype html", "<html", "<head", "<body", "<title", "<h1", "<p", "<div"]
                    .iter()
                    .any(|mark| head.contains(mark)));
        is_html.then(|| Self::parse(body))
    }

    fn parse(body: &str) -> Self {
        // Small letters of ASCII only, so that places are the same in both.
        let lower = body.to_ascii_lowercase();
        let mut page = Self::default();
        let mut seen = String::new();
        // Where the heading begins in `seen`, and its mark.
        let mut heading: Option<(usize, &str)> = None;
        let mut at = 0;
        while let Some(open) = body[at..].find('<').map(|found| at + found) {
            seen.push_str(&body[at..open]);
            if lower[open..].starts_with("<!--") {
                at = lower[open + 4..].find("-->").map_or(body.len(), |end| open + 4 + end + 3);
                continue;
            }
            let name_at = open + 1;
            let closes = lower[name_at..].starts_with('/');
            let name_at = name_at + usize::from(closes);
            let name_len = lower[name_at..]
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(lower.len() - name_at);
            let name = &lower[name_at..name_at + name_len];
            if name.is_empty() && !lower[open..].starts_with("<!") {
                // No mark, only a "<".
                seen.push('<');
                at = open + 1;
                continue;
            }
            let end = lower[open..].find('>').map_or(body.len(), |end| open + end + 1);
            at = end;
            if !closes && (HIDDEN.contains(&name) || name == "title") {
                let close = format!("</{name}");
                let until = lower[end..].find(&close).map_or(body.len(), |found| end + found);
                if name == "title" && page.title.is_none() {
                    page.title = Some(squeezed(&body[end..until]));
                }
                at = until;
                continue;
            }
            if matches!(name, "h1" | "h2" | "h3") {
                match heading {
                    None if !closes => heading = Some((seen.len(), name)),
                    Some((from, open_name)) if closes && open_name == name => {
                        if page.headings.len() < MAX_HEADINGS {
                            page.headings.push(squeezed(&seen[from..]));
                        }
                        heading = None;
                    }
                    _ => {}
                }
            }
            if !INLINE.contains(&name) {
                seen.push('\n');
            }
        }
        seen.push_str(&body[at.min(body.len())..]);
        page.text = lines(&decoded(&seen));
        page
    }
}

/// Decoded, in one line.
fn squeezed(text: &str) -> String {
    decoded(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Without empty lines.
fn lines(text: &str) -> String {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// The character references that occur in messages of errors.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        let found = end.and_then(|end| Some((reference(&rest[1..end])?, end + 1)));
        if let Some((c, length)) = found {
            out.push(c);
            rest = &rest[length..];
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn reference(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "rsquo" => '\u{2019}',
        "lsquo" => '\u{2018}',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        _ => return None,
    })
}
