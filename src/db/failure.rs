//! What an error of the database means to its caller.

use super::Error;

/// True for a duplicate key in either database.
///
/// `DatabaseError::constraint()` names the constraint on PostgreSQL only, so a
/// portable caller may ask for the kind of violation, not for its name.
pub fn is_duplicate(error: &Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Whether a server could not be reached, or takes nobody yet or for the moment: it may by itself.
pub fn is_unreachable(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::PoolTimedOut => true,
        Error::Database(told) => told.code().is_some_and(|code| {
            // It starts, ends or crashed; it has no connection to spare; connecting failed.
            matches!(&*code, "57P01" | "57P02" | "57P03" | "53300") || code.starts_with("08")
        }),
        _ => false,
    }
}

/// What kind of failure an error is, as far as a caller acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another writer was faster or holds a lock: the same again may succeed at once.
    Busy,
    /// The database does not answer, shuts down or has no connection to spare.
    Away,
    /// The disk (or a quota) is full.
    Full,
    /// The statement or its values: the same again fails again.
    Statement,
}

/// Sorts an error by what can be done about it.
pub fn failure(error: &Error) -> Failure {
    let Some(told) = error.as_database_error() else {
        return match error {
            Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::PoolTimedOut
            | Error::PoolClosed
            | Error::WorkerCrashed
            | Error::BeginFailed
            | Error::InvalidSavePointStatement => Failure::Away,
            _ => Failure::Statement,
        };
    };
    let code = told.code().unwrap_or_default();
    if told.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // Extended result codes hold the primary one in their low byte.
        return match code.parse::<i32>().map_or(0, |code| code & 0xff) {
            5 | 6 => Failure::Busy,
            13 => Failure::Full,
            // An I/O error, a file that cannot be opened or became read-only.
            8 | 10 | 14 => Failure::Away,
            _ => Failure::Statement,
        };
    }
    match &*code {
        "40001" | "40P01" | "55P03" => Failure::Busy,
        "53100" => Failure::Full,
        "25006" => Failure::Away,
        code if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => Failure::Away,
        _ => Failure::Statement,
    }
}
