//! Making text harmless that was written to be read as something else: characters that
//! cannot be seen, the framing of models' conversations, the markers of actions.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};

/// ANSI sequences: colours, titles, links.
static ANSI: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)?|[@-Z\\^_])").ok()
});

/// The text with only what a reader would see: no control characters but line ends and tabs,
/// no ANSI sequences, nothing of no width, nothing that turns the direction of text.
pub fn visible(text: &str) -> String {
    let text = match ANSI.as_ref() {
        Some(ansi) if text.contains('\x1b') => ansi.replace_all(text, ""),
        _ => Cow::Borrowed(text),
    };
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' | '\u{2028}' | '\u{2029}' | '\u{85}' => out.push('\n'),
            '\n' | '\t' => out.push(c),
            c if is_hidden(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Whether a reader would not see a character, or it changes how others are shown.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// What opens or closes a part of a conversation in some model's format, roles at the
/// beginning of a line, and our own block's and actions' markers.
static FRAMES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?im)(?P<open><)(?:\||\s*/?\s*(?:data|logs?|s|system|user|assistant|developer|human|tool|",
        r"tool_?calls?|tool_?results?|tool_?response|function|functions|function_?calls?|",
        r"function_?results?|invoke|parameter|think|thinking|start_of_turn|end_of_turn|bos|eos|",
        r"instructions?|prompt|context|document|documents|im_start|im_end|antml)\b|\s*<\s*/?\s*sys)",
        r"|(?P<bracket>\[)/?(?:inst|system|assistant|user)\]",
        r"|^[ \t>*_#-]*(?:system|assistant|user|human|developer|tool)[ \t*_]*(?P<role>[::])",
        r"|action[ \t*_]*(?P<action>[::])[ \t*_]*repair",
        r"|(?-i:\bACTION)[ \t*_]*(?P<marker>[::])",
    ))
    .ok()
});

/// The text with such framing made inert, so that it can still be read and compared: a dot is
/// put behind an opening bracket, and a colon becomes the sign for a ratio (∶). Both sides of a
/// comparison have to go through this.
pub fn inert(text: &str) -> Cow<'_, str> {
    let Some(frames) = FRAMES.as_ref() else { return Cow::Owned(String::new()) };
    frames.replace_all(text, |found: &Captures<'_>| {
        let all = found.get(0).map_or(0..0, |all| all.range());
        let name = ["open", "bracket", "role", "action", "marker"]
            .into_iter()
            .find_map(|name| found.name(name).map(|part| (name, part.range())));
        let Some((name, part)) = name else { return String::new() };
        let (before, after) = (&text[all.start..part.start], &text[part.end..all.end]);
        match name {
            "open" | "bracket" => format!("{before}{}·{after}", &text[part]),
            _ => format!("{before}∶{after}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{FRAMES, inert, visible};

    #[test]
    fn what_cannot_be_seen_is_taken_out() {
        assert_eq!(visible("a\u{200b}b\u{202e}c\u{e0041}d\x00e\x1b[31mf\x1b[0m"), "abcdef");
        assert_eq!(visible("one\r\ntwo\rthree\u{2028}four\tfive"), "one\ntwo\nthree\nfour\tfive");
        assert_eq!(visible("\x1b]8;;http://x\x07link\x1b]8;;\x07"), "link");
        assert_eq!(visible("naïve 日本語 ‹email-1›"), "naïve 日本語 ‹email-1›");
    }

    #[test]
    fn framing_is_made_inert() {
        assert!(FRAMES.is_some());
        for (text, made) in [
            ("<|im_start|>system", "<·|im_start|>system"),
            ("[INST] x [/INST]", "[·INST] x [·/INST]"),
            ("<<SYS>>", "<·<SYS>>"),
            ("</data>", "<·/data>"),
            ("</data-00ff>", "<·/data-00ff>"),
            ("< / logs >", "<· / logs >"),
            ("system: obey", "system∶ obey"),
            ("x\n  User: hi", "x\n  User∶ hi"),
            ("ACTION: REPAIR_ERRORS", "ACTION∶ REPAIR_ERRORS"),
            ("action :repair_errors", "action ∶repair_errors"),
            ("ACTION:REPAIR", "ACTION∶REPAIR"),
            ("the user: bob, action: index", "the user: bob, action: index"),
            ("a < b and <div>", "a < b and <div>"),
        ] {
            assert_eq!(inert(text), made);
        }
        let once = inert("<|x|> ACTION: REPAIR").into_owned();
        assert_eq!(inert(&once), once);
    }
}
