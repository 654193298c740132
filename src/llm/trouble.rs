//! Why the model gave no answer: one plain line for operators each.

use std::{fmt, time::Duration};

use serde::Serialize;

/// Why there is no answer. `Display` is a line that an operator may read: what happened, and
/// what to do if there is something. It holds no secret and no text of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Neither a key nor a server of one's own is set.
    NoKey,
    /// 401 or 403.
    KeyRefused {
        host: String,
        status: u16,
    },
    UnknownModel {
        host: String,
        model: String,
    },
    /// The address answers, but not as a model's server.
    NoSuchRoute {
        host: String,
        status: u16,
    },
    /// No credit left at the provider.
    Quota {
        host: String,
    },
    RateLimited {
        host: String,
        retry_after: Option<Duration>,
    },
    /// Lux's own budget of the day.
    BudgetSpent {
        what: &'static str,
        limit: String,
    },
    Unreachable {
        host: String,
        why: String,
    },
    TimedOut {
        host: String,
        waiting_for: &'static str,
        after: Duration,
    },
    /// The answer broke off. `shown`: some of it had been handed over.
    Cut {
        host: String,
        shown: bool,
    },
    /// No JSON, or JSON of another form.
    Malformed {
        host: String,
        why: String,
    },
    /// The answer is longer than `max_answer_bytes`.
    TooLarge {
        limit: u64,
    },
    /// The conversation is longer than the use's `max_input_tokens`, or than the model takes
    /// (then the limit is not known: 0).
    TooLong {
        tokens: u64,
        limit: u64,
    },
    /// The server takes no such request (400, 422 and the like), in its words.
    Rejected {
        host: String,
        status: u16,
        said: String,
    },
    /// 5xx, with the server's words.
    ServerError {
        host: String,
        status: u16,
        said: String,
    },
    /// The model, or a filter before it, declined.
    Refused {
        said: String,
    },
    /// It failed several times in a row and is left alone for a while.
    CircuitOpen {
        wait: Duration,
        last: String,
    },
    /// The text holds what must not leave.
    Withheld {
        why: String,
    },
    /// The ledger cannot be written, so nothing was sent.
    NoLedger,
}

impl Trouble {
    /// Its class, as ledger, metrics and tests name it.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::KeyRefused { .. } => "key_refused",
            Self::UnknownModel { .. } => "unknown_model",
            Self::NoSuchRoute { .. } => "no_such_route",
            Self::Quota { .. } => "quota",
            Self::RateLimited { .. } => "rate_limited",
            Self::BudgetSpent { .. } => "budget_spent",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Cut { .. } => "cut",
            Self::Malformed { .. } => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::TooLong { .. } => "too_long",
            Self::Rejected { .. } => "rejected",
            Self::ServerError { .. } => "server_error",
            Self::Refused { .. } => "refused",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::Withheld { .. } => "withheld",
            Self::NoLedger => "no_ledger",
        }
    }

    /// Whether the same request may do better in a moment.
    pub(super) const fn passes(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Malformed { .. }
            | Self::ServerError { .. } => true,
            Self::Cut { shown, .. } => !*shown,
            _ => false,
        }
    }

    /// Whether it says that the server is ill, and not what was sent.
    pub(super) const fn is_the_servers(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::Malformed { .. }
                | Self::ServerError { .. }
                | Self::Cut { .. }
                | Self::TooLarge { .. }
        )
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("no model is set up; set OPENAI_API_KEY to have one"),
            Self::KeyRefused { host, status } => {
                write!(f, "the model's key was refused by {host} ({status}); check OPENAI_API_KEY")
            }
            Self::UnknownModel { host, model } => write!(
                f,
                "{host} has no model \"{model}\" for this key; check OPENAI_MODEL ([model] name)"
            ),
            Self::NoSuchRoute { host, status } => write!(
                f,
                "{host} has no chat completions at this address ({status}); OPENAI_BASE_URL \
                 usually ends in /v1"
            ),
            Self::Quota { host } => {
                write!(f, "the quota at {host} is used up; check plan and billing there")
            }
            Self::RateLimited { host, retry_after: Some(wait) } => write!(
                f,
                "{host} limits how often it is asked (429); it says to wait {}",
                seconds(*wait)
            ),
            Self::RateLimited { host, retry_after: None } => {
                write!(f, "{host} limits how often it is asked (429); try again in a minute")
            }
            Self::BudgetSpent { what, limit } => write!(
                f,
                "today's budget for the model is spent ({limit} {what}); it begins anew at 00:00 \
                 UTC, or raise [model] daily_{what}"
            ),
            Self::Unreachable { host, why } => write!(
                f,
                "the model's server {host} cannot be reached ({why}); check OPENAI_BASE_URL and \
                 the way out of this host"
            ),
            Self::TimedOut { host, waiting_for, after } => {
                write!(f, "{host} did not give {waiting_for} within {}", seconds(*after))
            }
            Self::Cut { host, shown: true } => {
                write!(f, "{host} broke off in the middle of its answer; what came is incomplete")
            }
            Self::Cut { host, shown: false } => write!(f, "{host} broke off its answer"),
            Self::Malformed { host, why } => {
                write!(f, "{host} answered in a form that cannot be read ({why})")
            }
            Self::TooLarge { limit } => write!(
                f,
                "the model's answer was longer than {limit} bytes and was dropped ([model] \
                 max_answer_bytes)"
            ),
            Self::TooLong { limit: 0, .. } => f.write_str(
                "the conversation is longer than the model can take; begin a new one, or lower \
                 [model] max_input_tokens",
            ),
            Self::TooLong { tokens, limit } => write!(
                f,
                "the conversation is too long for the model (about {tokens} tokens, {limit} are \
                 allowed); begin a new one"
            ),
            Self::Rejected { host, status, said } => {
                write!(f, "{host} did not take the request ({status}){}", quoted(said))
            }
            Self::ServerError { host, status, said } => {
                write!(f, "{host} failed ({status}){}", quoted(said))
            }
            Self::Refused { said } => write!(f, "the model declined to answer{}", quoted(said)),
            Self::CircuitOpen { wait, last } => write!(
                f,
                "the model is not asked for another {} because it failed repeatedly; last: {last}",
                seconds(*wait)
            ),
            Self::Withheld { why } => write!(f, "nothing was sent to the model: {why}"),
            Self::NoLedger => f.write_str(
                "nothing was sent to the model, because the database cannot note it in the ledger",
            ),
        }
    }
}

impl std::error::Error for Trouble {}

impl Serialize for Trouble {
    /// As its line.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn seconds(time: Duration) -> String {
    match time.as_millis() {
        millis if millis < 1000 => format!("{millis} ms"),
        millis => format!("{} s", millis.div_ceil(1000)),
    }
}
