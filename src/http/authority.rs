//! Authority as a type: a handler that takes `Operator` cannot be reached by less.

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{HeaderMap, header, request::Parts};

use super::{
    Problem, cookie,
    limit::{Limits, Peer},
    origin,
};
use crate::{
    app::App,
    auth::{Caller, Remembered, Role},
    config,
    error::Error,
};

macro_rules! authority {
    ($(#[$meta:meta])* $name:ident, $may:ident, $needs:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name {
            pub caller: Caller,
        }

        impl From<$name> for Caller {
            fn from(authority: $name) -> Self {
                authority.caller
            }
        }

        impl FromRequestParts<App> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
                let caller = authenticate(parts, app).await?;
                if Role::$may(caller.role) {
                    return Ok(Self { caller });
                }
                let detail = format!(
                    "this needs the role {}; yours is {}", $needs, caller.role
                );
                Err(Error::Denied(detail).into())
            }
        }
    };
}

authority!(
    /// May administer: tokens, settings.
    Admin, may_administer, "admin"
);
authority!(
    /// May change things: groups, chat, repair.
    Operator, may_operate, "operator or admin"
);
authority!(
    /// May read.
    Reader, may_read, "read, operator or admin"
);
authority!(
    /// May report errors.
    Ingest, may_report, "ingest, operator or admin"
);
authority!(
    /// Somebody with things of their own: a person who signed in, whatever their role, or a token
    /// of an operator or admin. Not tokens that only read the system or report errors: they are
    /// nobody, and people's data is not what they are for. A handler asks `caller.account()`
    /// whether what is asked for is the caller's own; operators and admins may see everybody's.
    Customer, may_be_served, "customer, operator or admin"
);

/// Anybody who is known, for what is about the caller alone.
#[derive(Clone, Debug)]
pub struct Known {
    pub caller: Caller,
}

impl From<Known> for Caller {
    fn from(known: Known) -> Self {
        known.caller
    }
}

impl FromRequestParts<App> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self { caller: authenticate(parts, app).await? })
    }
}

async fn authenticate(parts: &mut Parts, app: &App) -> Result<Caller, Problem> {
    // A token goes before a cookie: what carries one is no browser's doing.
    let caller = match cookie::read(&app.config, &parts.headers) {
        Some(cookie) if !parts.headers.contains_key(header::AUTHORIZATION) => {
            by_session(parts, app, cookie).await?
        }
        _ => by_token(parts, app).await?,
    };
    if let Some(limits) = parts.extensions.get::<Limits>() {
        limits.check_caller(caller.who, parts.uri.path())?;
    }
    Ok(caller)
}

async fn by_session(parts: &Parts, app: &App, cookie: &str) -> Result<Caller, Problem> {
    let peer = parts.extensions.get::<Peer>().copied();
    cookie::may_sign_in(&app.config, peer)?;
    origin::check(parts, &app.config)?;
    let remembered = app.sessions.remembered(cookie);
    let mut caller = if let Remembered::Caller(caller) = remembered {
        caller
    } else {
        let guess = Guess::of(parts);
        if matches!(remembered, Remembered::Unknown) {
            guess.allowed()?;
        }
        let known = app.sessions.recognise(&app.db, cookie, &app.config.sign_in).await?;
        guess.came_to(known, "your session has ended; sign in again")?
    };
    caller.address = peer.map(|peer| peer.address);
    Ok(caller)
}

async fn by_token(parts: &Parts, app: &App) -> Result<Caller, Problem> {
    let Some(token) = bearer(&parts.headers) else {
        let detail = "sign in, or send a token: Authorization: Bearer lux_… (made by `lux token \
                      create`)";
        return Err(Error::Unauthenticated(detail).into());
    };
    let remembered = app.tokens.remembered(token);
    let mut caller = if let Remembered::Caller(caller) = remembered {
        caller
    } else {
        let guess = Guess::of(parts);
        // What was good a moment ago is no guess.
        if matches!(remembered, Remembered::Unknown) {
            guess.allowed()?;
        }
        let known = app.tokens.recognise(&app.db, token).await?;
        guess.came_to(known, "the token is not known, has expired or was revoked")?
    };
    caller.address = parts.extensions.get::<Peer>().map(|peer| peer.address);
    Ok(caller)
}

/// Credentials that have to be looked up: who guessed wrong too often does not reach the database.
#[derive(Clone, Copy)]
pub struct Guess<'r>(Option<(&'r Limits, Peer)>);

impl<'r> Guess<'r> {
    pub fn of(parts: &'r Parts) -> Self {
        let limits = parts.extensions.get::<Limits>();
        Self(limits.zip(parts.extensions.get::<Peer>().copied()))
    }

    pub fn allowed(self) -> Result<(), Problem> {
        self.0.map_or(Ok(()), |(limits, peer)| limits.may_guess(peer))
    }

    /// Counts it if it was wrong; `why` is then told.
    pub fn came_to<T>(self, found: Option<T>, why: &'static str) -> Result<T, Error> {
        if let (None, Some((limits, peer))) = (&found, self.0) {
            limits.guessed_wrong(peer);
        }
        found.ok_or(Error::Unauthenticated(why))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| token.len() <= 200)
}

/// The caller's address: the connection's, unless that is a trusted proxy that says
/// for whom it speaks. Of `X-Forwarded-For` only the last address that is not itself
/// a trusted proxy counts: what stands before it was written by the caller.
pub(super) fn peer(
    connection: Option<&ConnectInfo<std::net::SocketAddr>>,
    headers: &HeaderMap,
    config: &config::Http,
) -> Option<Peer> {
    let direct = connection?.0.ip();
    if !config.trusts(direct) {
        return Some(Peer { address: direct.to_canonical(), forwarded: false });
    }
    let mut forwarded = headers.get_all("x-forwarded-for").iter().rev().flat_map(|value| {
        value.to_str().unwrap_or_default().rsplit(',').map(|part| part.trim().parse().ok())
    });
    let told = forwarded.find(|address: &Option<std::net::IpAddr>| {
        address.is_none_or(|address| !config.trusts(address))
    });
    let any = headers.contains_key("x-forwarded-for");
    let address = told.flatten().unwrap_or(direct).to_canonical();
    Some(Peer { address, forwarded: any })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use axum::extract::ConnectInfo;
    use http::{HeaderMap, HeaderValue};
    use ipnet::IpNet;

    use super::{bearer, peer};
    use crate::config::{Config, Overrides};

    fn address_of(connection: &str, forwarded: &[&str]) -> (IpAddr, bool) {
        behind("127.0.0.1, ::1", connection, forwarded)
    }

    fn behind(trusted: &str, connection: &str, forwarded: &[&str]) -> (IpAddr, bool) {
        let (mut config, _) = Config::load_leniently(Overrides::default());
        config.http.trusted_proxies = trusted
            .split(", ")
            .map(|one| one.parse().or_else(|_| one.parse::<IpAddr>().map(IpNet::from)).unwrap())
            .collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
        }
        let connection = ConnectInfo(SocketAddr::new(connection.parse().unwrap(), 1));
        let peer = peer(Some(&connection), &headers, &config.http).unwrap();
        (peer.address, peer.forwarded)
    }

    #[test]
    fn a_caller_cannot_choose_its_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        // Not behind a proxy of ours: the header is the caller's invention.
        assert_eq!(address_of("203.0.113.9", &["10.0.0.1"]), (ip("203.0.113.9"), false));
        // Behind one: what nginx appended counts, not what the caller sent before it.
        assert_eq!(address_of("127.0.0.1", &["1.1.1.1, 203.0.113.9"]), (ip("203.0.113.9"), true));
        let several = ["1.1.1.1", "203.0.113.9, 127.0.0.1"];
        assert_eq!(address_of("127.0.0.1", &several), (ip("203.0.113.9"), true));
        assert_eq!(address_of("127.0.0.1", &["nonsense"]), (ip("127.0.0.1"), true));
        assert_eq!(address_of("127.0.0.1", &[]), (ip("127.0.0.1"), false));
    }

    #[test]
    fn proxies_are_networks_too() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let networks = "10.0.0.0/8, fd00::/8, 127.0.0.1";
        let client = (ip("203.0.113.9"), true);
        // Three hops, each of which added the one before.
        let hops = "198.51.100.1, 203.0.113.9, 10.1.2.3, fd00::7";
        assert_eq!(behind(networks, "10.9.9.9", &[hops]), client);
        assert_eq!(behind(networks, "::ffff:10.9.9.9", &[hops]), client);
        let six = "2001:db8::5";
        assert_eq!(behind(networks, "fd12::1", &[six]), (ip(six), true));
        // An address just outside is a stranger's.
        assert_eq!(behind(networks, "11.0.0.1", &[hops]), (ip("11.0.0.1"), false));
        assert_eq!(behind(networks, "fe00::1", &[hops]), (ip("fe00::1"), false));
        // Only proxies: nobody said for whom.
        assert_eq!(behind(networks, "10.9.9.9", &["10.1.1.1"]), (ip("10.9.9.9"), true));
    }

    #[test]
    fn tokens_are_read_strictly() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_str(value).unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(read("Bearer lux_a").as_deref(), Some("lux_a"));
        assert_eq!(read("bearer  lux_a ").as_deref(), Some("lux_a"));
        assert_eq!(read("Basic lux_a"), None);
        assert_eq!(read("lux_a"), None);
        assert_eq!(read(&format!("Bearer {}", "x".repeat(201))), None);
    }
}
