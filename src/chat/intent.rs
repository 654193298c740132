//! What an operator's message asks for, as far as it can be told without a model.

/// A question that can be answered from data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// "What is wrong?", "why do I get 502s?"
    Diagnose,
    /// "Since when?"
    Since,
    /// "How often?"
    HowOften,
    /// "Show me the lines around it."
    Around,
    /// "Which endpoint fails most?"
    FailingEndpoints,
    /// "Is it healthy?"
    Healthy,
    /// "Which errors are open?"
    Errors,
    /// "What can you do?"
    Help,
    /// Needs a model.
    Other,
}

/// Words that tell an intent, the more special ones first. Each row is a list of
/// alternatives; an alternative holds words that must all occur.
const TELLTALES: &[(Intent, &[&str])] = &[
    (Intent::Help, &["what can you", "help", "how do you work", "who are you", "commands"]),
    (
        Intent::Around,
        &[
            "lines around",
            "around it",
            "around that",
            "around line",
            "show lines",
            "show me the lines",
            "show the lines",
            "more context",
            "in context",
            "before and after",
            "surrounding",
        ],
    ),
    (
        Intent::FailingEndpoints,
        &[
            "which endpoint",
            "what endpoint",
            "which route",
            "which url",
            "which path",
            "which page",
            "which request",
            "endpoint fails",
            "endpoints fail",
            "failing endpoint",
            "worst endpoint",
            "fails most",
            "fail the most",
            "fails the most",
        ],
    ),
    (
        Intent::Since,
        &[
            "since when",
            "how long",
            "when did",
            "when was",
            "when has",
            "since what time",
            "what time",
            "started when",
            "start time",
            "first seen",
            "first happen",
        ],
    ),
    (
        Intent::HowOften,
        &["how often", "how many", "how frequent", "how much", "frequency", "count", "what rate"],
    ),
    (
        Intent::Healthy,
        &[
            "healthy",
            "health",
            "is everything ok",
            "everything all right",
            "everything fine",
            "all good",
            "all ok",
            "is it ok",
            "is it up",
            "are we up",
            "is the site up",
            "are we ok",
            "still broken",
            "is it fixed",
            "status",
        ],
    ),
    (
        Intent::Errors,
        &[
            "list error",
            "list the error",
            "list of error",
            "show error",
            "show me the error",
            "show the error",
            "which error",
            "what error",
            "recent error",
            "latest error",
            "open error",
            "unresolved",
        ],
    ),
    (
        Intent::Diagnose,
        &[
            "wrong",
            "diagnos",
            "why",
            "what happen",
            "what's happening",
            "what is happening",
            "going on",
            "broken",
            "break",
            "broke",
            "problem",
            "issue",
            "fail",
            "error",
            "exception",
            "traceback",
            "crash",
            "down",
            "outage",
            "slow",
            "timeout",
            "time out",
            "cause",
            "investigate",
            "check",
            "fix",
            "repair",
            "troubleshoot",
            "not work",
            "doesn't work",
            "does not work",
            "isn't work",
            "can't log",
            "cannot log",
            "404",
            "500",
            "502",
            "503",
            "504",
        ],
    ),
];

/// Reads the intent from the operator's words alone; nothing from logs comes in here.
pub(super) fn read(message: &str) -> Intent {
    let words = normalised(message);
    TELLTALES
        .iter()
        .find(|(_, telltales)| telltales.iter().any(|telltale| holds(&words, telltale)))
        .map_or(Intent::Other, |(intent, _)| *intent)
}

/// Lower case, single blanks, a blank at both ends, punctuation gone but for apostrophes.
fn normalised(message: &str) -> String {
    let mut text = String::with_capacity(message.len() + 2);
    text.push(' ');
    for c in message.chars().take(4096) {
        match c {
            '\u{2019}' => text.push('\''),
            c if c.is_alphanumeric() || c == '\'' => text.extend(c.to_lowercase()),
            _ if text.ends_with(' ') => {}
            _ => text.push(' '),
        }
    }
    if !text.ends_with(' ') {
        text.push(' ');
    }
    text
}

/// A telltale counts from the beginning of a word: "fail" finds "failing", not "detail".
fn holds(words: &str, telltale: &str) -> bool {
    words.match_indices(telltale).any(|(at, _)| words[..at].ends_with(' '))
}

#[cfg(test)]
mod tests {
    use super::{Intent, read};

    #[test]
    fn questions_are_understood() {
        for (message, intent) in [
            ("what is wrong with my system?", Intent::Diagnose),
            ("What's wrong?", Intent::Diagnose),
            ("why do users get 502 since this morning?", Intent::Diagnose),
            ("the shop is down!!", Intent::Diagnose),
            ("checkout doesn\u{2019}t work", Intent::Diagnose),
            ("since when?", Intent::Since),
            ("When did it start", Intent::Since),
            ("how often does that happen", Intent::HowOften),
            ("how many times?", Intent::HowOften),
            ("show me the lines around it", Intent::Around),
            ("Can I see that in context?", Intent::Around),
            ("which endpoint fails most?", Intent::FailingEndpoints),
            ("is it healthy now?", Intent::Healthy),
            ("is everything OK?", Intent::Healthy),
            ("what errors are unresolved?", Intent::Errors),
            ("help", Intent::Help),
            ("what can you do", Intent::Help),
            ("write me a poem about the details of autumn", Intent::Other),
            ("draft an e-mail to our customers", Intent::Other),
            ("", Intent::Other),
        ] {
            assert_eq!(read(message), intent, "{message}");
        }
    }
}
