//! Any JSON as one tree that borrows from its text: what programs report has whatever
//! form they like, and a field of the wrong type must not lose an event.

mod read;

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

pub use read::{Broken, read};

/// What stands for parts that were too deep or too many to be kept.
pub const CUT: &str = "… [cut]";

/// A JSON value. Names of a [`Tree::Map`] keep their order and may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tree<'a> {
    #[default]
    Null,
    Bool(bool),
    /// As it was written.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    List(Vec<Tree<'a>>),
    Map(Vec<(Cow<'a, str>, Tree<'a>)>),
    /// Too deep, or too many: see [`CUT`].
    Cut,
}

/// How much of a tree is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Levels of lists and maps.
    pub depth: usize,
    /// Entries of one list or map.
    pub entries: usize,
    /// Bytes of one text or name.
    pub text: usize,
}

impl<'a> Tree<'a> {
    /// The value of the first field with this name.
    pub fn get(&self, name: &str) -> Option<&Tree<'a>> {
        match self {
            Self::Map(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, tree)| tree),
            _ => None,
        }
    }

    /// The same, taken out; [`Tree::Null`] if there is none.
    #[must_use]
    pub fn take(&mut self, name: &str) -> Tree<'a> {
        match self {
            Self::Map(fields) => fields
                .iter_mut()
                .find(|(key, _)| key == name)
                .map(|(_, tree)| std::mem::take(tree))
                .unwrap_or_default(),
            _ => Self::Null,
        }
    }

    /// Its text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What can be said in one text: texts, numbers and truth values.
    pub fn plain(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            _ => None,
        }
    }

    /// The same, without a copy.
    pub fn into_plain(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Bool(truth) => Some(Cow::Borrowed(if truth { "true" } else { "false" })),
            _ => None,
        }
    }

    /// `{"values": […]}`, `[…]` or one object, as SDKs of different ages write lists.
    pub fn into_values(mut self) -> Vec<Tree<'a>> {
        match &mut self {
            Self::List(trees) => std::mem::take(trees),
            Self::Map(_) => match self.take("values") {
                Self::List(trees) => trees,
                Self::Null if self.get("values").is_none() => vec![self],
                Self::Null => Vec::new(),
                one => vec![one],
            },
            _ => Vec::new(),
        }
    }

    /// Names with their values, of an object or of a list of pairs.
    pub fn into_pairs(self) -> Vec<(Cow<'a, str>, Tree<'a>)> {
        let pair = |tree| match tree {
            Tree::List(pair) => {
                let mut pair = pair.into_iter();
                let name = pair.next()?.into_plain()?;
                Some((name, pair.next().unwrap_or_default()))
            }
            mut tree @ Tree::Map(_) => {
                let name = match tree.take("key") {
                    Tree::Null => tree.take("name"),
                    name => name,
                };
                Some((name.into_plain()?, tree.take("value")))
            }
            _ => None,
        };
        match self {
            Self::Map(fields) => fields,
            Self::List(pairs) => pairs.into_iter().filter_map(pair).collect(),
            _ => Vec::new(),
        }
    }

    /// Nothing worth keeping.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            Self::List(trees) => trees.is_empty(),
            Self::Map(fields) => fields.is_empty(),
            _ => false,
        }
    }

    /// Cuts what goes beyond `bounds`, and says so where it was.
    #[must_use]
    pub fn bounded(mut self, bounds: Bounds) -> Self {
        self.bound(bounds);
        self
    }

    fn bound(&mut self, bounds: Bounds) {
        let inner = Bounds { depth: bounds.depth.saturating_sub(1), ..bounds };
        match self {
            Self::Text(text) | Self::Number(text) => cut(text, bounds.text),
            Self::List(trees) if bounds.depth > 0 => {
                if trees.len() > bounds.entries {
                    trees.truncate(bounds.entries);
                    trees.push(Self::Cut);
                }
                for tree in trees {
                    tree.bound(inner);
                }
            }
            Self::Map(fields) if bounds.depth > 0 => {
                if fields.len() > bounds.entries {
                    fields.truncate(bounds.entries);
                    fields.push((Cow::Borrowed("…"), Self::Cut));
                }
                for (name, tree) in fields {
                    cut(name, bounds.text);
                    tree.bound(inner);
                }
            }
            Self::List(trees) if trees.is_empty() => {}
            Self::Map(fields) if fields.is_empty() => {}
            Self::List(_) | Self::Map(_) => *self = Self::Cut,
            Self::Null | Self::Bool(_) | Self::Cut => {}
        }
    }
}

/// Cuts a text to about `most` bytes and says how many are missing.
pub fn cut(text: &mut Cow<'_, str>, most: usize) {
    if text.len() > most {
        let kept = text.floor_char_boundary(most);
        let rest = text.len() - kept;
        *text = Cow::Owned(format!("{}… [{rest} bytes cut]", &text[..kept]));
    }
}

impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Number(text) => {
                if let Ok(number) = text.parse::<i64>() {
                    serializer.serialize_i64(number)
                } else if let Ok(number) = text.parse::<u64>() {
                    serializer.serialize_u64(number)
                } else {
                    match text.parse::<f64>() {
                        Ok(number) if number.is_finite() => serializer.serialize_f64(number),
                        _ => serializer.serialize_str(text),
                    }
                }
            }
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(trees) => serializer.collect_seq(trees),
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, tree) in fields {
                    map.serialize_entry(name, tree)?;
                }
                map.end()
            }
            Self::Cut => serializer.serialize_str(CUT),
        }
    }
}

impl<'de> Deserialize<'de> for Tree<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Tree<'static>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Tree::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Tree::Number(Cow::Owned(number.to_string())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Tree::Number(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        // With its point: 5.0 stays one.
        Ok(Tree::Number(Cow::Owned(format!("{number:?}"))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Tree::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Tree::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut trees = Vec::new();
        while let Some(tree) = seq.next_element()? {
            trees.push(tree);
        }
        Ok(Tree::List(trees))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, tree)) = map.next_entry::<String, _>()? {
            fields.push((Cow::Owned(name), tree));
        }
        Ok(Tree::Map(fields))
    }
}
