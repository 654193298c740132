//! Telephone numbers in the form that all networks understand.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

/// The number in E.164 ("+442079460018"), read as somebody in `region` (an ISO 3166 code such as
/// "GB"; with none, only numbers with their country's prefix) would dial it. `None` for what is
/// no possible number: it is kept as it came, and nothing else of the contact suffers.
pub fn e164(text: &str, region: Option<Region>) -> Option<String> {
    // Whoever writes more than this did not write a number; the parser is not asked.
    if text.len() > 40 {
        return None;
    }
    let number = PHONE_NUMBER_UTIL.parse(text.trim(), region).ok()?;
    if !number.is_valid() {
        return None;
    }
    let text = number.format_as(PhoneNumberFormat::E164).into_owned();
    // E.164 allows 15 digits at most.
    (text.len() <= 16 && text.bytes().skip(1).all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::e164;
    use proptest::prelude::*;
    use rlibphonenumber::Region;

    #[test]
    fn numbers_are_read_as_they_are_dialled() {
        for (text, region, expected) in [
            ("+44 20 7946 0018", None, Some("+442079460018")),
            ("(020) 7946-0018", Some(Region::GB), Some("+442079460018")),
            ("030 901820", Some(Region::DE), Some("+4930901820")),
            ("0049 30 901820", Some(Region::DE), Some("+4930901820")),
            ("tel:+1-650-253-0000", None, Some("+16502530000")),
            // From elsewhere, and with the zero that Italy keeps.
            ("+39 06 698 12345", Some(Region::DE), Some("+390669812345")),
            ("+44 (0)20 7946 0018", None, Some("+442079460018")),
            ("650 253 0000", Some(Region::US), Some("+16502530000")),
            // Without a region, a number of some country is none.
            ("650 253 0000", None, None),
            ("call me", Some(Region::US), None),
            ("", Some(Region::US), None),
            ("+1 23", None, None),
            ("+0000000000", None, None),
        ] {
            assert_eq!(e164(text, region).as_deref(), expected, "{text:?}");
        }
        assert_eq!(e164(&"1".repeat(5000), Some(Region::US)), None);
    }

    proptest! {
        #[test]
        fn what_is_taken_for_a_number_is_one_in_its_own_form(
            text in prop_oneof!["[-+0-9 ().x;=#*tel:]{0,40}", "\\+?[0-9 ]{0,20}", "\\PC{0,40}"],
            region in prop_oneof![
                Just(None), Just(Some(Region::US)), Just(Some(Region::IT)), Just(Some(Region::AR))
            ],
        ) {
            if let Some(number) = e164(&text, region) {
                prop_assert!(number.starts_with('+') && (5..=16).contains(&number.len()));
                // Who dials from a country may mean another number than its form says.
                if region.is_none() {
                    prop_assert_eq!(e164(&number, None), Some(number));
                }
            }
        }
    }
}
