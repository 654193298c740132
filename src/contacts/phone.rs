//! Telephone numbers in the form that all networks understand.

use phonenumber::country;

/// The number in E.164 ("+442079460018"), read as somebody in `region` (an ISO 3166 code such as
/// "GB"; with none, only numbers with their country's prefix) would dial it. `None` for what is
/// no possible number: it is kept as it came, and nothing else of the contact suffers.
pub fn e164(text: &str, region: Option<country::Id>) -> Option<String> {
    // Whoever writes more than this did not write a number; the parser is not asked.
    if text.len() > 40 {
        return None;
    }
    let number = phonenumber::parse(region, text.trim()).ok()?;
    if !phonenumber::is_valid(&number) {
        return None;
    }
    // The crate's own way to write it looks for patterns that this form has none of.
    let text = format!("+{}{}", number.code().value(), number.national());
    // E.164 allows 15 digits at most.
    (text.len() <= 16 && text.bytes().skip(1).all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::e164;
    use phonenumber::country::Id;

    #[test]
    fn numbers_are_read_as_they_are_dialled() {
        for (text, region, expected) in [
            ("+44 20 7946 0018", None, Some("+442079460018")),
            ("(020) 7946-0018", Some(Id::GB), Some("+442079460018")),
            ("030 901820", Some(Id::DE), Some("+4930901820")),
            ("0049 30 901820", Some(Id::DE), Some("+4930901820")),
            ("tel:+1-650-253-0000", None, Some("+16502530000")),
            ("650 253 0000", Some(Id::US), Some("+16502530000")),
            // Without a region, a number of some country is none.
            ("650 253 0000", None, None),
            ("call me", Some(Id::US), None),
            ("", Some(Id::US), None),
            ("+1 23", None, None),
            ("+0000000000", None, None),
        ] {
            assert_eq!(e164(text, region).as_deref(), expected, "{text:?}");
        }
        assert_eq!(e164(&"1".repeat(5000), Some(Id::US)), None);
    }
}
