//! A consent: its tokens, how it is, and how its token stays fresh.

mod refresh;
pub(super) mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::seal::Field;

pub(super) use refresh::Fresh;

/// Failures in a row after which a connection is shown as troubled.
pub(super) const TROUBLED: i64 = 5;

/// Where the token for the API is sealed.
pub(super) fn access_field(row: &str) -> Field<'_> {
    Field { table: "oauth_grant", column: "access_sealed", row }
}

/// Where the one for new tokens is.
pub(super) fn refresh_field(row: &str) -> Field<'_> {
    Field { table: "oauth_grant", column: "refresh_sealed", row }
}

/// How a consent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = IntegrationStatus)]
pub enum Status {
    Active,
    /// It aged out: only a person can renew it.
    Expired,
    /// It was withdrawn, here or there.
    Revoked,
    /// It failed several times in a row, or the provider does not know Lux. It is still tried.
    Error,
}

/// What is shown, from what is stored: a token that ended, and that nothing renews, is expired
/// before anybody tried it.
pub(super) fn shown(
    stored: Status,
    expires_at: Option<DateTime<Utc>>,
    can_refresh: bool,
    now: DateTime<Utc>,
) -> Status {
    match stored {
        Status::Active | Status::Error
            if !can_refresh && expires_at.is_some_and(|at| at <= now) =>
        {
            Status::Expired
        }
        stored => stored,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{Status, shown};
    use crate::clock;

    #[test]
    fn what_ended_is_expired() {
        let now = clock::now();
        let (past, future) = (Some(now - TimeDelta::seconds(1)), Some(now + TimeDelta::hours(1)));
        for (stored, expires_at, can_refresh, expected) in [
            (Status::Active, past, true, Status::Active),
            (Status::Active, past, false, Status::Expired),
            (Status::Active, future, false, Status::Active),
            (Status::Active, None, false, Status::Active),
            (Status::Error, past, false, Status::Expired),
            (Status::Error, future, true, Status::Error),
            (Status::Revoked, past, false, Status::Revoked),
            (Status::Expired, future, true, Status::Expired),
        ] {
            assert_eq!(shown(stored, expires_at, can_refresh, now), expected, "{stored:?}");
        }
    }
}
