//! How deep, how many and how clear the values of a JSON body are, before anything is made of
//! them.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

/// Objects and arrays within each other.
const MAX_DEPTH: usize = 32;

/// Values of all kinds in one body.
const MAX_VALUES: usize = 100_000;

/// Checks a body; the error says what is wrong with it, and where. Keys that stand twice in one
/// object are refused: two readers could each believe in another one.
pub fn check(body: &[u8]) -> Result<(), serde_json::Error> {
    let mut left = MAX_VALUES;
    let mut reader = serde_json::Deserializer::from_slice(body);
    Shape { depth: 0, left: &mut left }.deserialize(&mut reader)?;
    reader.end()
}

struct Shape<'l> {
    depth: usize,
    left: &'l mut usize,
}

impl Shape<'_> {
    fn count<E: Error>(&mut self) -> Result<(), E> {
        *self.left = self.left.checked_sub(1).ok_or_else(|| {
            E::custom(format_args!("the body has more than {MAX_VALUES} values; send less at once"))
        })?;
        Ok(())
    }

    fn below<E: Error>(&mut self) -> Result<Shape<'_>, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("the body is nested deeper than {MAX_DEPTH}")));
        }
        Ok(Shape { depth: self.depth + 1, left: self.left })
    }
}

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        loop {
            let item = self.below()?;
            if items.next_element_seed(item)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = Seen::default();
        while let Some(key) = fields.next_key_seed(Key)? {
            if seen.has(&key) {
                let key: String = key.chars().take(60).collect();
                return Err(A::Error::custom(format_args!("the key {key:?} stands there twice")));
            }
            seen.insert(key);
            let value = self.below()?;
            fields.next_value_seed(value)?;
        }
        Ok(())
    }
}

/// A key, borrowed from the body where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// The keys of an object.
#[derive(Default)]
struct Seen<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

/// Up to so many keys, looking at each is fastest.
const FEW: usize = 16;

impl<'de> Seen<'de> {
    fn has(&self, key: &str) -> bool {
        if self.many.is_empty() {
            self.few.iter().any(|seen| seen == key)
        } else {
            self.many.contains(key)
        }
    }

    fn insert(&mut self, key: Cow<'de, str>) {
        if self.many.is_empty() && self.few.len() < FEW {
            self.few.push(key);
            return;
        }
        self.many.extend(self.few.drain(..));
        self.many.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, MAX_VALUES, check};

    fn refusal(body: &str) -> Option<String> {
        check(body.as_bytes()).err().map(|error| error.to_string())
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(refusal(&nested(MAX_DEPTH)), None);
        assert!(refusal(&nested(MAX_DEPTH + 1)).unwrap().contains("deeper than 32"));
        let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert_eq!(refusal(&objects(MAX_DEPTH)), None);
        assert!(refusal(&objects(MAX_DEPTH + 1)).unwrap().contains("deeper"));
    }

    #[test]
    fn values_are_counted() {
        let list = |items: usize| format!("[{}0]", "0,".repeat(items - 1));
        assert_eq!(refusal(&list(MAX_VALUES - 1)), None);
        assert!(refusal(&list(MAX_VALUES)).unwrap().contains("send less"));
    }

    #[test]
    fn a_key_stands_there_once() {
        assert_eq!(refusal(r#"{"a": 1, "b": {"a": 2}, "c": [{"a": 1}, {"a": 1}]}"#), None);
        for twice in
            [r#"{"a": 1, "a": 1}"#, r#"{"a": 1, "\u0061": 2}"#, r#"[{"x": {"": 1, "": 2}}]"#]
        {
            assert!(refusal(twice).unwrap().contains("twice"), "{twice}");
        }
        let many = |last: u32| {
            let keys = (0..40).chain([last]).map(|n| format!("\"k{n}\": {n}"));
            format!("{{{}}}", keys.collect::<Vec<_>>().join(","))
        };
        assert_eq!(refusal(&many(40)), None);
        for again in [0, 15, 16, 39] {
            assert!(refusal(&many(again)).unwrap().contains("twice"), "{again}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for body in ["", "{", "nul", "NaN", "Infinity", "1e999", "{\"a\":1} x", "'a'", "\"\u{1}\""]
        {
            assert!(refusal(body).is_some(), "{body}");
        }
    }
}
