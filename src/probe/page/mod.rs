//! Reading a body for signs of failure: pages and documents that say, under a status of
//! success, that something failed.

mod html;
mod json;

use std::sync::LazyLock;

use aws_lc_rs::digest;
use regex::Regex;

use html::Page;

/// A page with so little text says one thing only, in bytes.
const SHORT: usize = 300;

/// What pages of frameworks, servers and applications say when they failed.
const PHRASES: &[&str] = &[
    "internal server error",
    "server error",
    "application error",
    "bad gateway",
    "service unavailable",
    "service temporarily unavailable",
    "temporarily unavailable",
    "gateway timeout",
    "gateway time-out",
    "unhandled exception",
    "uncaught exception",
    "exception caught",
    "an error occurred",
    "an error has occurred",
    "an unexpected error occurred",
    "an unexpected error has occurred",
    "an internal error occurred",
    "unexpected error",
    "internal error",
    "something went wrong",
    "something went terribly wrong",
    "looks like something went wrong",
    "we're sorry, but something went wrong",
    "there was an error processing your request",
    "there was a problem loading this page",
    "error establishing a database connection",
    "database error",
    "database connection error",
    "whitelabel error page",
    "runtime error",
    "fatal error",
    "server error in '/' application",
    "this page isn't working",
    "a server error occurred",
    "please contact the administrator",
    "down for maintenance",
    "under maintenance",
    "scheduled maintenance",
    "we'll be back soon",
    "we'll be right back",
    "be right back",
];

/// The same for what is not there or not allowed, which only a whole heading says.
const REFUSALS: &[&str] = &[
    "not found",
    "page not found",
    "forbidden",
    "access denied",
    "unauthorized",
    "bad request",
    "request timeout",
    "too many requests",
];

/// A heading that is nothing but a failure: numbers, fillers and the phrases above.
static HEADING: LazyLock<Regex> = LazyLock::new(|| {
    let phrases = PHRASES.iter().chain(REFUSALS).map(|phrase| regex::escape(phrase));
    let phrases = phrases.collect::<Vec<_>>().join("|");
    pattern(&format!(
        r"^(?:(?:http|status|code|error|oops|whoops|uh oh|sorry|ups)\W*)*(?:\(?[45]\d\d\)?\W*)?(?:error\W*)?(?:{phrases})(?:\W*\(?[45]\d\d\)?)?\W*$"
    ))
});

/// "500 Error", "Error 503", "HTTP ERROR 502"
static NUMBERED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?:(?:http|status|code)\W*)*(?:error\W*(?:code\W*)?5\d\d|5\d\d\W*error)\W*$")
});

/// An exception's class as a heading: "KeyError at /checkout", "TypeError: …",
/// "NoMethodError in ShopController#show", "Shop::PaymentError".
static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:[A-Za-z_][A-Za-z0-9_]*(?:::|\.|\\))*[A-Z][A-Za-z0-9]*(?:Error|Exception|DoesNotExist|Failure)(?:$|:|\s+at\s+/|\s+in\s+[A-Z]|\s+\()",
    )
});

/// Lines of stack traces: Node, Java, Ruby, Go, PHP, Perl's and .NET's are alike enough.
static TRACE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?m)traceback \(most recent call last\)|^\s*at .{0,300}\.(?:js|ts|mjs|cjs|jsx|tsx):\d+:\d+\)?\s*$|^\s*at [\w.$<>/]+\([\w$]+\.(?:java|kt|scala):\d+\)|\.rb:\d+:in [`']|goroutine \d+ \[running\]|(?:fatal|parse) error: .{0,500} on line \d+|^\s*at .{1,300} in .{1,300}:line \d+\s*$",
    )
});

/// What only debugging pages and database drivers write.
const MARKS: &[(&str, &str)] = &[
    ("you're seeing this error because you have debug = true", "it is Django's page of an error"),
    ("werkzeug debugger", "it is Werkzeug's page of an error"),
    ("whitelabel error page", "it is Spring's page of an error"),
    ("sqlstate[", "it shows an error of the database"),
    ("you have an error in your sql syntax", "it shows an error of the database"),
    (
        "an error occurred in the application and your page could not be served",
        "it is Heroku's page of an error",
    ),
];

/// How a short text begins that is no page and no JSON.
static CURT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:error|failed|failure|exception|fatal|panic|down|unhealthy|unavailable)(?:$|[\s:!.,])",
    )
});

/// Paths that lead to a login.
const LOGINS: &[&str] = &[
    "login",
    "log-in",
    "log_in",
    "logon",
    "signin",
    "sign-in",
    "sign_in",
    "sso",
    "oauth",
    "oauth2",
    "saml",
    "saml2",
    "openid",
    "auth",
    "authenticate",
    "authorize",
    "wp-login",
];

/// Paths that lead to a page about a failure.
const ERRORS: &[&str] = &[
    "error",
    "errors",
    "500",
    "502",
    "503",
    "504",
    "50x",
    "oops",
    "maintenance",
    "server-error",
    "server_error",
    "internal-error",
    "internal-server-error",
    "unavailable",
    "something-went-wrong",
    "404",
    "not-found",
    "notfound",
];

/// The patterns are constant; a test sees to it that all of them compile.
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Whether nothing is in it.
pub(super) fn is_empty(text: &str) -> bool {
    matches!(text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}'), "" | "null" | "{}")
}

/// Why the body says that something failed; `None`: it does not.
pub(super) fn failure(text: &str, content_type: &str) -> Option<String> {
    let content_type = content_type.to_ascii_lowercase();
    if content_type.contains("problem+json") {
        return Some("it is a problem document".to_owned());
    }
    let body = text.trim_start_matches('\u{feff}').trim();
    if body.starts_with(['{', '[', '"'])
        && let Ok(value) = serde_json::from_str(body)
    {
        return json::failure(&value);
    }
    if let Some(page) = Page::read(body, &content_type) {
        return of_page(&page);
    }
    of_text(body).or_else(|| of_curt(body))
}

/// A few words that are no page and no JSON.
fn of_curt(text: &str) -> Option<String> {
    let lower = straight(text);
    let trimmed = lower.trim();
    let curt = trimmed.len() <= SHORT && CURT.is_match(trimmed);
    curt.then(|| format!("it says \"{}\"", clip(trimmed)))
}

fn of_page(page: &Page) -> Option<String> {
    if let Some(title) = &page.title
        && (is_failing_heading(title) || matches!(title.trim(), "500" | "502" | "503" | "504"))
    {
        return Some(format!("its title is \"{}\"", clip(title)));
    }
    if let Some(heading) = page.headings.iter().find(|heading| is_failing_heading(heading)) {
        return Some(format!("its heading is \"{}\"", clip(heading)));
    }
    let found = of_text(&page.text);
    // Frameworks send plain words as HTML, too.
    let bare = page.title.is_none() && page.headings.is_empty();
    found.or_else(|| bare.then(|| of_curt(&page.text)).flatten())
}

fn is_failing_heading(heading: &str) -> bool {
    let heading = heading.trim();
    if EXCEPTION.is_match(heading) || heading.ends_with("// Werkzeug Debugger") {
        return true;
    }
    let lower = straight(heading);
    // "Internal Server Error | Shop"
    let mut parts = vec![lower.as_str()];
    for separator in [" | ", " – ", " — ", " - ", " · ", " :: ", " // ", " » "] {
        if lower.contains(separator) {
            parts.extend(lower.split(separator));
        }
    }
    parts.iter().map(|part| part.trim()).any(|part| {
        part.trim_end_matches(['.', '!']) == "error"
            || HEADING.is_match(part)
            || NUMBERED.is_match(part)
            || part.starts_with("application error:")
            || part.starts_with("action controller: exception caught")
    })
}

/// Text without marks.
fn of_text(text: &str) -> Option<String> {
    let lower = straight(text);
    if let Some(found) = TRACE.find(&lower) {
        return Some(format!("it shows a stack trace (\"{}\")", clip(found.as_str().trim())));
    }
    if let Some((_, what)) = MARKS.iter().find(|(mark, _)| lower.contains(mark)) {
        return Some((*what).to_owned());
    }
    let trimmed = lower.trim();
    if trimmed.len() <= SHORT {
        if let Some(phrase) = PHRASES.iter().find(|phrase| holds_words(trimmed, phrase)) {
            return Some(format!("it says \"{phrase}\""));
        }
        if HEADING.is_match(trimmed) || NUMBERED.is_match(trimmed) {
            return Some(format!("it says \"{}\"", clip(trimmed)));
        }
    }
    None
}

/// The error that Lux knows of, in the body of an answer that should not have it.
pub(super) fn tells_of(text: &str, error_type: &str, message: &str) -> Option<String> {
    let body = text.trim();
    let page = if body.starts_with(['{', '[']) { None } else { Page::read(body, "") };
    let shown = page.as_ref().map_or(body, |page| &page.text);
    let title = page.as_ref().and_then(|page| page.title.as_deref()).unwrap_or_default();
    let class = error_type.rsplit(['.', ':', '\\', '/']).next().unwrap_or_default();
    let message = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let message: String = message.chars().take(200).collect();
    let plain = masked(&format!("{title}\n{shown}"));
    if !message.is_empty() && !class.is_empty() {
        let whole = masked(&format!("{class}: {message}"));
        if whole.len() >= 8 && plain.contains(&whole) {
            return Some(format!("it says \"{}\"", clip(&format!("{class}: {message}"))));
        }
    }
    let telling = message.chars().count() >= 20 && message.split_whitespace().count() >= 3;
    if telling && plain.contains(&masked(&message)) {
        return Some(format!("it says \"{}\"", clip(&message)));
    }
    let capitals = class.chars().filter(char::is_ascii_uppercase).count();
    let is_class = class.len() >= 8
        && capitals >= 2
        && ["Error", "Exception", "Failure", "Fault", "DoesNotExist", "Timeout"]
            .iter()
            .any(|end| class.ends_with(end));
    (is_class && (holds_words(shown, class) || holds_words(title, class)))
        .then(|| format!("it names the error ({})", clip(class)))
}

/// Hash of a body without what varies from answer to answer: numbers, ids, tokens, blanks.
pub(super) fn hash(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        for piece in word.split_inclusive(|c: char| !c.is_alphanumeric() && !"_-+=.".contains(c)) {
            if piece.chars().any(|c| c.is_ascii_digit()) || piece.len() > 32 {
                plain.push('#');
                plain.extend(piece.chars().last().filter(|c| !c.is_alphanumeric()));
            } else {
                plain.push_str(piece);
            }
        }
        plain.push(' ');
    }
    super::hex(digest::digest(&digest::SHA256, plain.as_bytes()).as_ref(), 16)
}

/// Whether a path leads to a login.
pub(super) fn is_login(path: &str) -> bool {
    leads_to(path, LOGINS)
}

/// Whether a path leads to a page about a failure.
pub(super) fn is_error(path: &str) -> bool {
    leads_to(path, ERRORS)
}

fn leads_to(path: &str, names: &[&str]) -> bool {
    let path = path.to_ascii_lowercase();
    path.split('/').any(|part| {
        let stem = part.split('.').next().unwrap_or_default();
        names.contains(&stem)
    })
}

/// Whether it is a login form: it asks for a password, and says so.
pub(super) fn is_login_form(text: &str) -> bool {
    static PASSWORD: LazyLock<Regex> =
        LazyLock::new(|| pattern(r#"(?is)<input\b[^>]{0,500}\btype\s*=\s*["']?password"#));
    static SIGN_IN: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?i)\b(?:log|sign)[ -]?(?:in|on)\b|\bauthentication\b"));
    PASSWORD.is_match(text)
        && Page::read(text, "text/html").is_some_and(|page| {
            page.title.iter().chain(&page.headings).any(|text| SIGN_IN.is_match(text))
        })
}

/// Small letters, with plain quotes.
fn straight(text: &str) -> String {
    text.replace(['\u{2019}', '\u{2018}'], "'").to_lowercase()
}

/// Small letters, single blanks, numbers as 0, quotes alike.
fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\\\"", "\"").chars() {
        let c = match c {
            c if c.is_ascii_digit() => '0',
            c if c.is_whitespace() => ' ',
            '"' | '\u{2018}' | '\u{2019}' | '`' => '\'',
            c => c,
        };
        if matches!(c, '0' | ' ') && out.ends_with(c) {
            continue;
        }
        out.extend(c.to_lowercase());
    }
    out.trim().to_owned()
}

/// Whether the text holds the words, not as a part of others.
fn holds_words(text: &str, words: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(words).any(|(at, _)| {
        !letter(text[..at].chars().next_back()) && !letter(text[at + words.len()..].chars().next())
    })
}

fn clip(text: &str) -> String {
    let clipped: String = text.chars().take(120).collect();
    clipped.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests;
