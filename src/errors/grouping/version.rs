//! The order of releases: by semantic version where both have one of the same package
//! ("shop@1.4.2"), else by when they were first seen.

use std::cmp::Ordering;

/// Most numbers of a version.
const MAX_NUMBERS: usize = 4;

/// A release that names a version: numbers, and what comes before the final one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version<'a> {
    package: &'a str,
    numbers: [u64; MAX_NUMBERS],
    /// "rc.1"; empty for a final release.
    before: &'a str,
}

/// Which of two releases is the newer one, by their names alone; `None` where these do not
/// say (a commit id, another package).
pub fn compare(a: &str, b: &str) -> Option<Ordering> {
    if a == b {
        return Some(Ordering::Equal);
    }
    let (a, b) = (Version::parse(a)?, Version::parse(b)?);
    if a.package != b.package {
        return None;
    }
    Some(a.numbers.cmp(&b.numbers).then_with(|| before(a.before, b.before)))
}

impl<'a> Version<'a> {
    /// `shop@1.4.2-rc.1+build.7`, `v1.4`, `2026.11.21`. A number alone is no version, and
    /// neither is what looks like a commit.
    fn parse(release: &'a str) -> Option<Self> {
        let (package, version) = release.rsplit_once('@').unwrap_or(("", release));
        let version = version.strip_prefix(['v', 'V']).unwrap_or(version);
        let version = version.split('+').next().unwrap_or(version);
        let (numbers, before) = version.split_once('-').unwrap_or((version, ""));
        let mut parsed = [0; MAX_NUMBERS];
        let mut count = 0;
        for part in numbers.split('.') {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            *parsed.get_mut(count)? = part.parse().ok().filter(|_| digits)?;
            count += 1;
        }
        (count > 1).then_some(Self { package, numbers: parsed, before })
    }
}

/// Semver's order of pre-releases; a final release comes after all of them.
fn before(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let (a, b) = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => (a, b),
        };
        let order = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let ascending = [
            "shop@0.9",
            "shop@1.0.0-alpha",
            "shop@1.0.0-alpha.1",
            "shop@1.0.0-alpha.beta",
            "shop@1.0.0-beta.2",
            "shop@1.0.0-beta.11",
            "shop@1.0.0-rc.1",
            "shop@1.0.0",
            "shop@1.4.3",
            "shop@1.4.10",
            "shop@v1.4.10.2",
            "shop@2026.11.21",
        ];
        for (n, a) in ascending.iter().enumerate() {
            for (m, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), Some(n.cmp(&m)), "{a} and {b}");
            }
        }
        assert_eq!(compare("1.2+5", "1.2.0+6"), Some(Ordering::Equal), "builds have no order");
    }

    #[test]
    fn other_names_have_no_order_of_their_own() {
        for (a, b) in [
            ("3f2a91c", "9b1c2d3"),
            ("shop@1.2.3", "cart@1.2.4"),
            ("1.2.3", "3f2a91c"),
            ("12", "13"),
            ("1.2.3.4.5", "1.2.3.4.6"),
            ("1..2", "1.2.3"),
            ("99999999999999999999.1", "1.2"),
            ("", "1.2"),
        ] {
            assert_eq!(compare(a, b), None, "{a} and {b}");
        }
        assert_eq!(compare("3f2a91c", "3f2a91c"), Some(Ordering::Equal));
    }
}
