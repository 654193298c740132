//! Reading JSON as programs write it: also with half surrogates, `NaN`, control characters
//! in texts, any depth and any number of fields. What is too deep or too much is read over,
//! so neither the stack nor memory depends on it.

use std::borrow::Cow;

use memchr::memchr2;

use super::Tree;

/// Levels that are kept: an event's own (exception, values, stacktrace, frames, vars) and
/// those of what it quotes.
const MAX_DEPTH: usize = 24;
/// Entries of one list or map that are kept.
const MAX_ENTRIES: usize = 2000;

/// Where the text stops being JSON, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why} at byte {at}")]
pub struct Broken {
    pub at: usize,
    pub why: &'static str,
}

/// Reads one value; nothing but blanks may follow it.
pub fn read(text: &str) -> Result<Tree<'_>, Broken> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0 };
    let tree = reader.value(0)?;
    reader.blanks();
    if reader.at < reader.bytes.len() {
        return reader.broken("there is more after the end of the JSON");
    }
    Ok(tree)
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn broken<T>(&self, why: &'static str) -> Result<T, Broken> {
        Err(Broken { at: self.at, why })
    }

    fn blanks(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<u8> {
        self.blanks();
        self.bytes.get(self.at).copied()
    }

    fn value(&mut self, depth: usize) -> Result<Tree<'a>, Broken> {
        match self.next() {
            None => self.broken("the JSON ends too early"),
            Some(b'"') => Ok(Tree::Text(self.text()?)),
            Some(b'{' | b'[') if depth >= MAX_DEPTH => {
                self.skip()?;
                Ok(Tree::Cut)
            }
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(_) => self.word(),
        }
    }

    fn map(&mut self, depth: usize) -> Result<Tree<'a>, Broken> {
        self.at += 1;
        let mut fields = Vec::new();
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(Tree::Map(fields));
        }
        loop {
            if self.next() != Some(b'"') {
                return self.broken("a field's name is missing");
            }
            let kept = fields.len() < MAX_ENTRIES;
            let name = if kept { self.text()? } else { self.skip_text().map(|()| "…".into())? };
            if self.next() != Some(b':') {
                return self.broken("a colon is missing");
            }
            self.at += 1;
            if kept {
                let tree = self.value(depth + 1)?;
                fields.push((name, tree));
            } else {
                self.skip()?;
                if fields.len() == MAX_ENTRIES {
                    fields.push((name, Tree::Cut));
                }
            }
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Tree::Map(fields));
                }
                _ => return self.broken("an object has no end"),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Tree<'a>, Broken> {
        self.at += 1;
        let mut trees = Vec::new();
        if self.next() == Some(b']') {
            self.at += 1;
            return Ok(Tree::List(trees));
        }
        loop {
            if trees.len() < MAX_ENTRIES {
                let tree = self.value(depth + 1)?;
                trees.push(tree);
            } else {
                self.skip()?;
                if trees.len() == MAX_ENTRIES {
                    trees.push(Tree::Cut);
                }
            }
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Tree::List(trees));
                }
                _ => return self.broken("an array has no end"),
            }
        }
    }

    /// A number, `true`, `null`, or what Python and JavaScript write in their places.
    fn word(&mut self) -> Result<Tree<'a>, Broken> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'))
            .count();
        let word = &self.text[self.at..self.at + length];
        let tree = match word {
            "null" | "undefined" | "None" => Tree::Null,
            "true" | "True" => Tree::Bool(true),
            "false" | "False" => Tree::Bool(false),
            "NaN" | "Infinity" | "-Infinity" | "inf" | "-inf" | "nan" => {
                Tree::Text(Cow::Borrowed(word))
            }
            _ if word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | '+')) => {
                Tree::Number(Cow::Borrowed(word))
            }
            _ => return self.broken("a value is missing"),
        };
        self.at += length;
        Ok(tree)
    }

    /// Stands at the opening quote.
    fn text(&mut self) -> Result<Cow<'a, str>, Broken> {
        self.at += 1;
        let from = self.at;
        let Some(length) = memchr2(b'"', b'\\', &self.bytes[from..]) else {
            return self.broken("a text has no end");
        };
        self.at += length;
        if self.bytes[self.at] == b'"' {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[from..from + length]));
        }
        let mut text = String::with_capacity(length + 32);
        text.push_str(&self.text[from..self.at]);
        loop {
            // At a backslash.
            self.escape(&mut text)?;
            let from = self.at;
            let Some(length) = memchr2(b'"', b'\\', &self.bytes[from..]) else {
                return self.broken("a text has no end");
            };
            text.push_str(&self.text[from..from + length]);
            self.at += length;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return Ok(Cow::Owned(text));
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Broken> {
        let rest = &self.text[self.at + 1..];
        let Some(escaped) = rest.chars().next() else {
            return self.broken("a text has no end");
        };
        self.at += 1 + escaped.len_utf8();
        text.push(match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => self.unicode(),
            other => other,
        });
        Ok(())
    }

    /// Half of a pair, which JavaScript writes where it has cut a text, is no character.
    fn unicode(&mut self) -> char {
        let Some(first) = self.hex() else { return char::REPLACEMENT_CHARACTER };
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        if self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            if let Some(second) = self.hex().filter(|second| (0xdc00..0xe000).contains(second)) {
                let both = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
            self.at = back;
        }
        char::REPLACEMENT_CHARACTER
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let value = u32::from_str_radix(digits, 16).ok()?;
        self.at += 4;
        Some(value)
    }

    fn skip_text(&mut self) -> Result<(), Broken> {
        self.at += 1;
        loop {
            let Some(length) = memchr2(b'"', b'\\', &self.bytes[self.at..]) else {
                return self.broken("a text has no end");
            };
            self.at += length;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return Ok(());
            }
            self.at = (self.at + 2).min(self.bytes.len());
        }
    }

    /// Reads over one value without recursion.
    fn skip(&mut self) -> Result<(), Broken> {
        let mut open = 0_usize;
        loop {
            match self.next() {
                None => return self.broken("the JSON ends too early"),
                Some(b'"') => self.skip_text()?,
                Some(b'{' | b'[') => {
                    open += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    if open == 0 {
                        return self.broken("a value is missing");
                    }
                    open -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if open > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(_) => {
                    self.word()?;
                }
            }
            if open == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(json: &str) {
        let tree = read(json).unwrap();
        let expected: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_value(&tree).unwrap(), expected);
        let back: Tree<'_> = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_value(&back).unwrap(), expected);
    }

    #[test]
    fn what_is_json_is_read_like_json() {
        same(
            r#" {"a": [1, -2.5, 1.5e3, 18446744073709551615, true, false, null, {}, []], "b": {"c": "x"}} "#,
        );
        same(r#""\"\\\/\b\f\n\r\té \u00e9 \ud83d\ude00 é😀""#);
        same("[[[[]]]]");
    }

    #[test]
    fn what_is_nearly_json_is_read_too() {
        let text = |json: &str| read(json).unwrap().plain().unwrap().to_owned();
        assert_eq!(text(r#""cut \ud83d""#), "cut \u{fffd}");
        assert_eq!(text(r#""\ud83d\u0041""#), "\u{fffd}A");
        assert_eq!(text(r#""\udc00\uZZZZ""#), "\u{fffd}\u{fffd}ZZZZ");
        assert_eq!(text("\"a\nb\0c\\x\""), "a\nb\0cx");
        assert_eq!(text("NaN"), "NaN");
        assert_eq!(read("[undefined]").unwrap(), Tree::List(vec![Tree::Null]));
    }

    #[test]
    fn depth_and_number_cost_neither_stack_nor_memory() {
        let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        let json = deep(1_000_000);
        let mut tree = read(&json).unwrap();
        let mut depth = 0;
        while let Tree::List(mut trees) = tree {
            tree = trees.pop().unwrap();
            depth += 1;
        }
        assert_eq!((depth, tree), (MAX_DEPTH, Tree::Cut));
        let many: Vec<String> = (0..1_000_000).map(|n| format!("\"k{n}\":{{\"a\":[1]}}")).collect();
        let json = format!("{{{}}}", many.join(","));
        let Tree::Map(fields) = read(&json).unwrap() else { panic!("no map") };
        assert_eq!(fields.len(), MAX_ENTRIES + 1);
    }

    #[test]
    fn broken_json_says_where() {
        for (json, at) in [
            ("", 0),
            ("{", 1),
            ("{\"a\"", 4),
            ("{\"a\":", 5),
            ("{\"a\":1", 6),
            ("{\"a\":1,", 7),
            ("[1", 2),
            ("[1,]", 3),
            ("\"abc", 1),
            ("\"abc\\", 4),
            ("1 2", 2),
            ("}", 0),
            ("hello", 0),
        ] {
            assert_eq!(read(json).expect_err(json).at, at, "{json}");
        }
        // Also where it is only read over.
        for inner in ["[", "{\"a\"", "\"", "[\"\\", "]}"] {
            let json = format!("{}{inner}", "[".repeat(MAX_DEPTH));
            assert!(read(&json).is_err(), "{inner}");
        }
    }
}
