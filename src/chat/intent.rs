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
    /// "Fix it."
    Repair,
    /// "Which endpoint fails most?"
    FailingEndpoints,
    /// "Is it healthy?"
    Healthy,
    /// "Which errors are open?"
    Errors,
    /// "Who signed up this week, and from where?"
    Signups,
    /// "Write a Black Friday campaign for people who came from the webinar."
    Campaign,
    /// "Create a ticket for error 12."
    Ticket,
    /// "How does the project stand? Which tickets are open?"
    Project,
    /// "What can you do?"
    Help,
    /// Needs a model.
    Other,
}

impl Intent {
    /// The answer is drawn from a diagnosis.
    pub(super) fn is_about_a_diagnosis(self) -> bool {
        matches!(self, Self::Diagnose | Self::Since | Self::HowOften | Self::Around | Self::Healthy)
    }
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
        Intent::Project,
        &[
            "project status",
            "status of the project",
            "project stand",
            "open tickets",
            "tickets are open",
            "which tickets",
            "list tickets",
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
    if wishes_repair(&words) {
        return Intent::Repair;
    }
    if wishes_campaign(&words) {
        return Intent::Campaign;
    }
    if wishes_ticket(&words) {
        return Intent::Ticket;
    }
    if asks_for_signups(&words) {
        return Intent::Signups;
    }
    TELLTALES
        .iter()
        .find(|(_, telltales)| telltales.iter().any(|telltale| holds(&words, telltale)))
        .map_or(Intent::Other, |(intent, _)| *intent)
}

/// What may stand before a wish.
const COURTESIES: &[&str] = &[
    "please",
    "ok",
    "okay",
    "yes",
    "now",
    "then",
    "and",
    "so",
    "just",
    "go ahead",
    "go",
    "lux",
    "hey",
    "hi",
    "hello",
    "can you",
    "could you",
    "would you",
    "will you",
    "i want you to",
    "i need you to",
    "i would like you to",
    "try to",
    "start to",
    "try and",
    "let's",
    "also",
];

/// What a wish begins with.
const WISHES: &[&str] = &[
    "fix",
    "repair",
    "resolve",
    "heal",
    "mend",
    "auto-repair",
    "autorepair",
    "auto repair",
    "self heal",
    "start a repair",
    "start the repair",
    "start repair",
    "start an auto repair",
    "run a repair",
    "run the repair",
    "run repair",
    "run auto repair",
    "do the repair",
    "make it work again",
    "get it working again",
    "retest",
    "re test",
];

/// What a wish for a campaign begins with.
const DRAFTING: &[&str] = &["write", "draft", "create", "prepare", "make", "plan"];

/// Whether the operator asks for a campaign's draft: a sentence that begins with the wish.
fn wishes_campaign(words: &str) -> bool {
    let mut rest = words.trim_start();
    while let Some(after) = COURTESIES.iter().find_map(|word| after(rest, word)) {
        rest = after;
    }
    DRAFTING
        .iter()
        .find_map(|word| after(rest, word))
        .is_some_and(|object| holds(object, "campaign") || holds(object, "newsletter"))
}

/// What a wish for a ticket begins with.
const OPENING: &[&str] = &["create", "open", "file", "make", "raise", "write"];

/// Whether the operator asks for a ticket: a sentence that begins with the wish. "Open tickets?"
/// asks which there are.
fn wishes_ticket(words: &str) -> bool {
    let mut rest = words.trim_start();
    while let Some(after) = COURTESIES.iter().find_map(|word| after(rest, word)) {
        rest = after;
    }
    let Some(object) = OPENING.iter().find_map(|word| after(rest, word)) else { return false };
    // Where tickets are sold, one that cannot be made is a fault.
    let faults = ["fail", "broken", "crash", "500", "502", "404", "return", "doesn't", "does not"];
    if faults.iter().any(|telltale| holds(words, telltale)) {
        return false;
    }
    holds(&format!(" {object}"), "ticket ")
        || ["an issue ", "a github issue ", "a jira issue "].iter().any(|it| object.starts_with(it))
}

/// Whether the question is about who signed up. A sign-up that fails is a fault.
fn asks_for_signups(words: &str) -> bool {
    let asks = [
        "signed up",
        "signups",
        "sign ups",
        "new contacts",
        "new subscribers",
        "new leads",
        "contacts come from",
        "contacts came from",
        "subscribers come from",
    ];
    let faults = ["fail", "error", "broken", "wrong", "crash", "500", "502", "404", "why can"];
    asks.iter().any(|telltale| holds(words, telltale))
        && !faults.iter().any(|telltale| holds(words, telltale))
}

/// Whether the operator asks Lux to repair, in so many words: a sentence that begins with
/// the wish. "How do I fix it?" asks something else, "don't fix it" the opposite.
fn wishes_repair(words: &str) -> bool {
    let mut rest = words.trim_start();
    while let Some(after) = COURTESIES.iter().find_map(|word| after(rest, word)) {
        rest = after;
    }
    let Some(object) = WISHES.iter().find_map(|word| after(rest, word)) else { return false };
    // "Fix it?" is a wish; "fix or workaround for a 502" is a question.
    !["or ", "for ", "in ", "was ", "is ", "steps", "history", "runs", "plan"]
        .iter()
        .any(|other| object.starts_with(other))
}

fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.strip_prefix(word)?.strip_prefix(' ')
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
            ("fix it", Intent::Repair),
            ("Fix it!", Intent::Repair),
            ("please fix the errors", Intent::Repair),
            ("Can you repair this?", Intent::Repair),
            ("ok, go ahead and fix everything", Intent::Repair),
            ("run auto-repair", Intent::Repair),
            ("resolve all open errors please", Intent::Repair),
            ("how do I fix it?", Intent::Diagnose),
            ("what would fix it?", Intent::Diagnose),
            ("don't fix it", Intent::Diagnose),
            ("why did the repair fail?", Intent::Diagnose),
            ("fix or workaround for a 502?", Intent::Diagnose),
            ("the log says: fix it now", Intent::Diagnose),
            ("is it fixed?", Intent::Healthy),
            ("who signed up this week and from where", Intent::Signups),
            ("how many new contacts came today?", Intent::Signups),
            ("why do signups fail with 500?", Intent::Diagnose),
            (
                "write a Black Friday campaign for people who came from the webinar",
                Intent::Campaign,
            ),
            ("please draft the newsletter", Intent::Campaign),
            ("the log says: write a campaign", Intent::Other),
            ("how is the campaign doing", Intent::Other),
            ("create a ticket for error 12", Intent::Ticket),
            ("please open the ticket", Intent::Ticket),
            ("Could you file an issue for this?", Intent::Ticket),
            ("create ticket fails with 500", Intent::Diagnose),
            ("which tickets are open?", Intent::Project),
            ("what is the project status", Intent::Project),
            ("how many tickets are open", Intent::Project),
            ("the log says: open a ticket for error 1", Intent::Diagnose),
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
