//! The door: connections are accepted, bounded and answered by whatever router stands behind it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, extract::ConnectInfo};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::{
    config::Http,
    http::connection::{Addresses, Answering, Counted, Patience, Timed},
    web,
};

/// The longest head of a request, in bytes; also what is read ahead of a body.
const MAX_HEAD: usize = 64 << 10;

/// An address that is listened on, and the bounds of its connections.
pub struct Door {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    addresses: Addresses,
    patience: Patience,
    limits: Http,
}

impl Door {
    pub fn new(listener: TcpListener, limits: &Http) -> Self {
        Self {
            listener,
            slots: Arc::new(Semaphore::new(limits.max_connections)),
            addresses: Addresses::default(),
            patience: Patience::of(limits),
            limits: limits.clone(),
        }
    }

    /// Answers by `router` until `end`; gives the connections that are still open. One task of
    /// `tasks` each.
    pub async fn answer<T>(
        &self,
        router: &Router,
        tasks: &TaskTracker,
        end: impl Future<Output = T>,
    ) -> (T, GracefulShutdown) {
        let graceful = GracefulShutdown::new();
        let mut end = std::pin::pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                ended = &mut end => return (ended, graceful),
            };
            let (stream, peer, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: the next try must not spin.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "nodelay was refused");
            }
            let Some(share) = self.addresses.admit(peer.ip(), &self.limits) else {
                metrics::counter!("lux_http_connections_refused_total").increment(1);
                tracing::debug!(%peer, "this address holds its share of connections already");
                continue;
            };
            let answering = Answering::default();
            let stream = Timed::new(stream, self.patience, answering.clone());
            // The stream keeps the times: hyper knows one limit for heads and idle connections.
            let connection = hyper::server::conn::http1::Builder::new()
                .header_read_timeout(None)
                .max_headers(100)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service(router.clone(), peer, answering));
            let connection = graceful.watch(connection);
            tasks.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, %peer, "connection ended early");
                }
                drop((slot, share));
            });
        }
    }

    async fn accept(
        &self,
    ) -> std::io::Result<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)>
    {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(std::io::Error::other)?;
        let (stream, peer) = self.listener.accept().await?;
        Ok((stream, peer, slot))
    }
}

fn service(
    router: Router,
    peer: SocketAddr,
    answering: Answering,
) -> impl hyper::service::Service<
    http::Request<hyper::body::Incoming>,
    Response = http::Response<Counted<axum::body::Body>>,
    Error = std::convert::Infallible,
    Future: Send,
> {
    hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        web::host::complete(&mut request);
        let answer = answering.begin();
        let answered = router.clone().oneshot(request);
        async move { Ok(answered.await?.map(|body| Counted::new(body, answer))) }
    })
}

/// Each connection and each call of a model takes a descriptor, and the limit that a shell or
/// systemd gives at first is too low for `max_connections`. Raising it to what is allowed anyway
/// needs no rights.
pub(super) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none() || current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised; see LimitNOFILE=");
    }
}

/// Takes the address, or says why not and what to do.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}; if another program (or another Lux) has that port, \
             choose one with --listen 127.0.0.1:PORT or PORT"
        )
    })
}
