//! Connecting to a host and port.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::net::TcpStream;

use super::Seen;
use crate::{
    outbound::{Visitor, address, resolve::Astray, visit::shown},
    probe::Outcome,
};

/// Why there is no connection.
pub(super) enum Unconnected {
    Failed(String),
    /// Lux did not go there.
    Forbidden(String),
}

pub(super) async fn run(visitor: &Visitor, target: &str, timeout: Duration) -> Seen {
    let request = format!("connect to {target}");
    match tokio::time::timeout(timeout, connect(visitor, target)).await {
        Ok(Ok(stream)) => {
            let peer = stream.peer_addr().map_or_else(|_| target.to_owned(), |it| it.to_string());
            Seen::new(Outcome::Pass, request, format!("{peer} takes connections"))
        }
        Ok(Err(Unconnected::Failed(why))) => Seen::new(Outcome::Fail, request, why),
        Ok(Err(Unconnected::Forbidden(why))) => Seen::new(Outcome::Unclear, request, why),
        Err(_) => {
            let why = format!("{target} did not take a connection within {}", shown(timeout));
            Seen::new(Outcome::Fail, request, why)
        }
    }
}

/// Connects to the first of the target's addresses that accepts.
pub(super) async fn connect(visitor: &Visitor, target: &str) -> Result<TcpStream, Unconnected> {
    let (host, port) =
        split(target).ok_or_else(|| Unconnected::Failed(format!("{target} is not host:port")))?;
    visitor.turn(target).await;
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => match address::refused(address) {
            Some(why) => {
                return Err(Unconnected::Forbidden(format!(
                    "{address} is {why}; Lux never asks it"
                )));
            }
            None => vec![address],
        },
        Err(_) => visitor.resolver().addresses(host).await.map_err(|astray| match astray {
            Astray::Unknown(why) => Unconnected::Failed(why),
            Astray::Forbidden(why) => Unconnected::Forbidden(why),
        })?,
    };
    let mut last = String::new();
    for address in addresses {
        let address = SocketAddr::new(address, port);
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{address} does not take connections: {error}"),
        }
    }
    Err(Unconnected::Failed(last))
}

/// Host without brackets, and port.
pub(super) fn split(target: &str) -> Option<(&str, u16)> {
    let (host, port) = target.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}
