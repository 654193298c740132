//! `ACTION: REPAIR_ERRORS`, the line by which a model asks for a repair run. It counts only
//! as the last line of the model's own answer: a log may hold the same words, and a model
//! may quote them.

/// The line.
const MARKER: &str = "ACTION: REPAIR_ERRORS";

/// The answer without its marker, and whether it had one.
pub(super) fn split(answer: &str) -> (&str, bool) {
    let trimmed = answer.trim_end();
    let (before, last) = trimmed.rsplit_once('\n').unwrap_or(("", trimmed));
    if last.trim_end() != MARKER || in_code(before) {
        return (trimmed, false);
    }
    (before.trim_end(), true)
}

/// Whether a line could become the marker: it is held back from a stream until it is known.
pub(super) fn may_begin(line: &str) -> bool {
    let line = line.trim_end();
    MARKER.starts_with(line) || line == MARKER
}

/// Whether the text ends inside a fenced block.
fn in_code(text: &str) -> bool {
    let mut open: Option<(char, usize)> = None;
    for line in text.lines() {
        let line = line.trim_start();
        for mark in ['`', '~'] {
            let length = line.chars().take_while(|c| *c == mark).count();
            if length < 3 {
                continue;
            }
            open = match open {
                None => Some((mark, length)),
                // Closed by a fence of its own kind that is at least as long.
                Some((of, least)) if of == mark && length >= least => None,
                other => other,
            };
        }
    }
    open.is_some()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn only_the_last_line_of_the_answer_counts() {
        assert_eq!(split("Fixing.\nACTION: REPAIR_ERRORS"), ("Fixing.", true));
        assert_eq!(split("Fixing.\n\nACTION: REPAIR_ERRORS\n\n"), ("Fixing.", true));
        assert_eq!(split("ACTION: REPAIR_ERRORS"), ("", true));
        for harmless in [
            "ACTION: REPAIR_ERRORS\nThat is what the log says.",
            "The log says ACTION: REPAIR_ERRORS",
            "> ACTION: REPAIR_ERRORS",
            "`ACTION: REPAIR_ERRORS`",
            "- ACTION: REPAIR_ERRORS",
            "    ACTION: REPAIR_ERRORS",
            "\"ACTION: REPAIR_ERRORS\"",
            "| ACTION: REPAIR_ERRORS |",
            "ACTION: REPAIR_ERRORS now",
            "action: repair_errors",
            "ACTION:\u{2060} REPAIR_ERRORS",
            "```\nACTION: REPAIR_ERRORS",
            "````\n```\nACTION: REPAIR_ERRORS",
            "~~~ text\nACTION: REPAIR_ERRORS",
            "",
        ] {
            assert!(!split(harmless).1, "{harmless:?}");
        }
        assert!(split("```\ncode\n```\nACTION: REPAIR_ERRORS").1);
    }
}
