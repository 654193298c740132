//! Colours, and how well one can be read upon another (WCAG 2.2, 1.4.3).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

impl FromStr for Colour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no colour like #6b1fb8");
        let digits = text.trim().strip_prefix('#').ok_or_else(wrong)?;
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let part = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong());
        Ok(Self(part(0)?, part(2)?, part(4)?))
    }
}

impl Serialize for Colour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Colour {
    fn luminance(self) -> f64 {
        let part = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(self.0) + 0.7152 * part(self.1) + 0.0722 * part(self.2)
    }

    /// Black or white, whichever can be read better upon it.
    #[must_use]
    pub fn ink(self) -> Self {
        let (black, white) = (Self(0, 0, 0), Self(255, 255, 255));
        if contrast(white, self) >= contrast(black, self) { white } else { black }
    }

    /// The colour, made lighter until it can be read upon a dark ground.
    #[must_use]
    pub fn on_dark(self, ground: Self) -> Self {
        let mut colour = self;
        while contrast(colour, ground) < 4.5 {
            let lighter = |value: u8| value.saturating_add((255 - value) / 8 + 1);
            colour = Self(lighter(colour.0), lighter(colour.1), lighter(colour.2));
        }
        colour
    }
}

/// From 1 (the same) to 21 (black upon white); text needs 4.5.
pub fn contrast(one: Colour, other: Colour) -> f64 {
    let (one, other) = (one.luminance(), other.luminance());
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::{Colour, contrast};

    #[test]
    fn contrast_is_that_of_wcag() {
        let (black, white) = (Colour(0, 0, 0), Colour(255, 255, 255));
        assert!((contrast(black, white) - 21.0).abs() < 0.01);
        let grey: Colour = "#767676".parse().unwrap();
        assert!((contrast(grey, white) - 4.54).abs() < 0.01);
        assert_eq!(grey.to_string(), "#767676");
        assert!(contrast(black.on_dark(Colour(20, 20, 28)), Colour(20, 20, 28)) >= 4.5);
        for wrong in ["", "767676", "#76767", "#gggggg", "#ää6", "red;}"] {
            assert!(wrong.parse::<Colour>().is_err(), "{wrong}");
        }
    }
}
