//! An answer's words as HTML: what our own renderer made of them, with its citations as links to
//! the evidence beside it.

use std::fmt::Write;

use crate::chat::{Citation, markdown};

/// The words of message `message`. Only numbers of `citations` become links; what was not
/// proven is marked, and references to nothing are gone.
pub(super) fn cited(text: &str, message: i64, citations: &[Citation]) -> String {
    decorate(&markdown::to_html(text), &|number| {
        let cited = citations.iter().find(|cited| cited.number == number)?;
        let label = format!("Source {number}: {} {}", cited.source, place(cited));
        Some(format!(
            "<a class=\"cite\" href=\"#m{message}-e{number}\" aria-label=\"{}\">{number}</a>",
            escaped(&label)
        ))
    })
}

/// The words so far: nothing is looked up yet, so nothing is a link.
pub(super) fn plain(text: &str) -> String {
    decorate(&markdown::to_html(text), &|_| None)
}

/// One sentence of a plan, without a paragraph around it.
pub(super) fn sentence(text: &str) -> String {
    let html = plain(text);
    let html = html.trim();
    html.strip_prefix("<p>")
        .and_then(|rest| rest.strip_suffix("</p>"))
        .filter(|inner| !inner.contains("<p>"))
        .map_or_else(|| html.to_owned(), str::to_owned)
}

fn place(cited: &Citation) -> String {
    match cited.source.as_str() {
        "error_log" => format!("event {}", cited.line),
        "probe" => format!("result {}", cited.line),
        _ => format!("line {}", cited.line),
    }
}

/// Goes through HTML without attributes (see [`markdown`]) and puts ours in.
fn decorate(html: &str, link: &dyn Fn(usize) -> Option<String>) -> String {
    let mut out = String::with_capacity(html.len() + 256);
    let mut in_code = 0_u32;
    // The page has its own first heading, and no level may be left out below it.
    let mut has_second = false;
    let mut level = 2;
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        let (text, tag) = rest.split_at(open);
        let end = tag.find('>').map_or(tag.len(), |end| end + 1);
        let (tag, after) = tag.split_at(end);
        if in_code == 0 {
            references(text, link, &mut out);
        } else {
            out.push_str(text);
        }
        match tag {
            "<code>" | "<pre>" => in_code += 1,
            "</code>" | "</pre>" => in_code = in_code.saturating_sub(1),
            _ => {}
        }
        out.push_str(match tag {
            // What scrolls is reached by the keyboard.
            "<pre>" => "<pre tabindex=\"0\">",
            "<table>" => "<div class=\"wide\" tabindex=\"0\"><table>",
            "</table>" => "</table></div>",
            "<h1>" | "<h2>" | "<h3>" | "<h4>" | "<h5>" | "<h6>" => {
                level = if has_second && !matches!(tag, "<h1>" | "<h2>") { 3 } else { 2 };
                has_second = true;
                if level == 2 { "<h2>" } else { "<h3>" }
            }
            "</h1>" | "</h2>" | "</h3>" | "</h4>" | "</h5>" | "</h6>" => {
                if level == 2 {
                    "</h2>"
                } else {
                    "</h3>"
                }
            }
            other => other,
        });
        rest = after;
    }
    if in_code == 0 {
        references(rest, link, &mut out);
    } else {
        out.push_str(rest);
    }
    out
}

/// `[1]` and `[1, 3]` become links.
fn references(text: &str, link: &dyn Fn(usize) -> Option<String>, out: &mut String) {
    let mut rest = text;
    while let Some(open) = rest.find(['[', '(']) {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        if let Some(after) = rest.strip_prefix("[unproven]") {
            out.truncate(out.trim_end_matches(' ').len());
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("(unproven)") {
            out.push_str("<span class=\"badge warn\">unproven</span>");
            rest = after;
            continue;
        }
        let inside = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let links = inside.and_then(|(inner, _)| {
            let numbers = inner.split(',').map(|part| part.trim().parse::<usize>().ok());
            numbers.map(|number| link(number?)).collect::<Option<Vec<String>>>()
        });
        if let (Some(links), Some((_, after))) = (links, inside) {
            out.push_str(&links.join(" "));
            rest = after;
        } else {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
}

pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{cited, plain, sentence};
    use crate::chat::Citation;

    fn of(text: &str) -> String {
        let cited_one = |number, source: &str| Citation {
            number,
            source: source.to_owned(),
            line: 7,
            text: "x".to_owned(),
        };
        cited(text, 5, &[cited_one(1, "app"), cited_one(2, "\"><script>")])
    }

    const ONE: &str = "<a class=\"cite\" href=\"#m5-e1\" aria-label=\"Source 1: app line 7\">1</a>";

    #[test]
    fn what_is_cited_is_a_link() {
        assert_eq!(of("It broke [1]."), format!("<p>It broke {ONE}.</p>\n"));
        assert!(of("Both [1, 2].").contains(&format!("{ONE} <a class=\"cite\" href=\"#m5-e2\"")));
        assert!(!of("[2]").contains("<script"), "{}", of("[2]"));
    }

    #[test]
    fn what_is_not_is_none() {
        for text in ["see [9].", "see [1, 9].", "`[1]`", "[x]", "[", "a (b)", "```\n[1]\n```"] {
            assert!(!of(text).contains("<a "), "{text}: {}", of(text));
        }
        assert_eq!(of("see [unproven]."), "<p>see.</p>\n");
        assert!(of("\"a\" (unproven) [1]").contains("<span class=\"badge warn\">unproven</span>"));
        assert!(!plain("It broke [1].").contains("<a "));
    }

    #[test]
    fn headings_go_below_the_pages_own() {
        assert_eq!(of("# A\n\n#### B"), "<h2>A</h2>\n<h3>B</h3>\n");
        assert_eq!(of("### A"), "<h2>A</h2>\n");
        assert_eq!(sentence("Run `ls -l` now."), "Run <code>ls -l</code> now.");
    }
}
