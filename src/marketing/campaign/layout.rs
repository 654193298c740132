//! What stands around the body of a mail: one column of 600 pixels without tables, looks that
//! also hold where a mail program knows no style sheets, and colours for dark screens.

use std::fmt::Write;

use super::compile::UNSUBSCRIBE;
use crate::marketing::brand::{Brand, Colour};

/// The ground of mails upon dark screens, and what is written upon it.
const DARK: Colour = Colour(0x14, 0x14, 0x1c);
const LIGHT: Colour = Colour(0xf0, 0xf0, 0xf5);

const FONT: &str =
    "font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";

/// Text as HTML, in attributes as well.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A name that stands in every mail, where the brand has none.
fn name(brand: &Brand) -> &str {
    let name = brand.name.trim();
    if name.is_empty() { "us" } else { name }
}

/// The whole mail. `title` is text; `preview` and `body` are clean HTML.
pub(super) fn html(brand: &Brand, title: &str, preview: &str, body: &str) -> String {
    let colours = brand.colours;
    let (ground, text, accent) = (colours.background, colours.text, colours.accent);
    let (ink, on_dark) = (accent.ink(), accent.on_dark(DARK));
    let button = format!(
        "display:inline-block;padding:13px 22px;border-radius:8px;background:{accent};color:{ink};\
         font-weight:600;text-decoration:none"
    );
    // The cleaner leaves these two forms of a link, and no others.
    let body = body
        .replace(
            "<a class=\"button\" href=",
            &format!("<a class=\"button\" style=\"{button}\" href="),
        )
        .replace("<a href=", &format!("<a style=\"color:{accent}\" href="))
        .replace("<img ", "<img style=\"max-width:100%;height:auto;border:0\" ");
    let mut out = String::with_capacity(body.len() + 3000);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"supported-color-schemes\" content=\"light dark\"><title>{title}</title>\
         <style>@media (prefers-color-scheme:dark){{body,.mail{{background:{DARK}!important;\
         color:{LIGHT}!important}}a:not(.button){{color:{on_dark}!important}}\
         .small{{color:#a9a9b8!important}}}}\
         .mail h1{{font-size:24px;line-height:1.25}}.mail h2{{font-size:20px;line-height:1.3}}\
         .mail p,.mail ul,.mail ol{{margin:0 0 16px}}\
         .mail blockquote{{margin:0 0 16px;padding-left:14px;border-left:3px solid {accent}}}\
         </style></head>\
         <body style=\"margin:0;padding:0;background:{ground};color:{text}\">",
        title = escaped(title),
    );
    if !preview.is_empty() {
        // Seen in the list of mails only; the spaces keep the body out of it.
        let _ = write!(
            out,
            "<div style=\"display:none;max-height:0;overflow:hidden\">{preview}{}</div>",
            "&#847;&zwnj;&nbsp;".repeat(40)
        );
    }
    let _ = write!(
        out,
        "<div class=\"mail\" style=\"max-width:600px;margin:0 auto;padding:28px 20px;\
         background:{ground};color:{text};{FONT};font-size:16px;line-height:1.55\">"
    );
    let named = escaped(brand.name.trim());
    if !brand.logo_url.is_empty() {
        let _ = write!(
            out,
            "<p style=\"margin:0 0 24px\"><img src=\"{}\" alt=\"{named}\" height=\"36\" \
             style=\"max-width:100%;height:36px;border:0\"></p>",
            escaped(&brand.logo_url)
        );
    } else if !named.is_empty() {
        let _ =
            write!(out, "<p style=\"margin:0 0 24px;font-weight:700;font-size:18px\">{named}</p>");
    }
    out.push_str(&body);
    let address = escaped(brand.address.trim()).replace('\n', "<br>");
    let _ = writeln!(
        out,
        "<div class=\"small\" style=\"margin-top:32px;padding-top:16px;border-top:1px solid #c9c9d4;\
         font-size:13px;line-height:1.5;color:#5d5d6e\">\
         <p style=\"margin:0 0 8px\">You get this mail because you agreed to hear from {}. \
         <a href=\"{UNSUBSCRIBE}\" style=\"color:inherit\">Unsubscribe</a></p>{}</div></div>\
         </body></html>",
        escaped(name(brand)),
        if address.is_empty() {
            String::new()
        } else {
            format!("<p style=\"margin:0\">{address}</p>")
        },
    );
    out
}

/// The mail as text.
pub(super) fn text(brand: &Brand, body: &str) -> String {
    let mut out = format!(
        "{body}\n\n--\nYou get this mail because you agreed to hear from {}.\n\
         Unsubscribe: {UNSUBSCRIBE}\n",
        name(brand)
    );
    if !brand.address.trim().is_empty() {
        let _ = write!(out, "\n{}\n", brand.address.trim());
    }
    out
}
