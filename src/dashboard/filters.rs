//! What templates write as `{{ value|filter }}`. A page's module uses this one by name.

#![expect(clippy::inline_always, reason = "what makes filters of functions writes so")]

use std::fmt::Display;

use askama::{Result, Values, filter_fn, filters::Safe};
use chrono::{DateTime, Utc};

use super::{assets, when};

/// An icon of `assets/icons.svg`, 18 pixels wide; beside words, so hidden from screen readers.
#[filter_fn]
pub fn icon(name: impl Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(drawn(&name.to_string(), "i"))
}

/// The same, 14 pixels wide.
#[filter_fn]
pub fn small_icon(name: impl Display, _: &dyn Values) -> Result<Safe<String>> {
    Ok(drawn(&name.to_string(), "i s"))
}

fn drawn(name: &str, class: &str) -> Safe<String> {
    let file = assets::icons();
    Safe(format!("<svg class=\"{class}\" aria-hidden=\"true\"><use href=\"{file}#{name}\"/></svg>"))
}

/// Where a file of `assets` is.
#[filter_fn]
pub fn asset(path: impl Display, _: &dyn Values) -> Result<String> {
    Ok(assets::url(&path.to_string()))
}

/// "12 min ago".
#[filter_fn]
pub fn ago(at: &DateTime<Utc>, _: &dyn Values, now: &DateTime<Utc>) -> Result<Safe<String>> {
    Ok(when::ago(at, now))
}

/// "in 12 min".
#[filter_fn]
pub fn until(at: &DateTime<Utc>, _: &dyn Values, now: &DateTime<Utc>) -> Result<Safe<String>> {
    Ok(when::until(at, now))
}

/// Date and time.
#[filter_fn]
pub fn full(at: &DateTime<Utc>, _: &dyn Values) -> Result<Safe<String>> {
    Ok(when::full(at))
}

/// Time of the day.
#[filter_fn]
pub fn clock(at: &DateTime<Utc>, _: &dyn Values) -> Result<Safe<String>> {
    Ok(when::clock(at))
}

/// 1234567 as "1 234 567", with thin spaces that no line breaks at.
#[filter_fn]
pub fn thousands(number: &i64, _: &dyn Values) -> Result<String> {
    Ok(grouped(*number))
}

fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{drawn, grouped};

    #[test]
    fn numbers_are_readable() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1\u{202f}000"),
            (-1_234_567, "-1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn icons_come_from_the_sheet() {
        let text = drawn("bug", "i").0;
        assert!(text.contains("/assets/icons.svg?v=") && text.contains("#bug\""), "{text}");
    }
}
