//! A client's connection: how long it may keep Lux waiting, and how many one address may hold.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::limit::bucket;
use crate::{clock, config};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To send the head of a request from its first byte on, and to begin with the first one.
    pub head: Duration,
    /// Between requests, and to take any part of an answer.
    pub idle: Duration,
}

impl Patience {
    pub const fn of(config: &config::Http) -> Self {
        Self { head: config.head_timeout, idle: config.idle_timeout }
    }
}

/// The requests of a connection that are being answered, shared by the stream, which is patient
/// meanwhile, and by the answers.
#[derive(Clone, Debug, Default)]
pub struct Answering(Arc<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    answers: AtomicUsize,
    /// Who reads the connection meanwhile: hyper would not look again by itself once the answer
    /// is over, and the time of the next request would not begin.
    reader: AtomicWaker,
}

impl Answering {
    /// To be kept until the answer's last byte was handed over.
    pub fn begin(&self) -> Answer {
        self.0.answers.fetch_add(1, Ordering::AcqRel);
        Answer(Arc::clone(&self.0))
    }

    fn any(&self) -> bool {
        self.0.answers.load(Ordering::Acquire) > 0
    }
}

/// One request's share of [`Answering`].
#[derive(Debug)]
pub struct Answer(Arc<UnderWay>);

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.answers.fetch_sub(1, Ordering::AcqRel);
        self.0.reader.wake();
    }
}

/// The body of an answer, which tells when it is over.
#[derive(Debug)]
pub struct Counted<B> {
    body: B,
    _answer: Answer,
}

impl<B> Counted<B> {
    pub const fn new(body: B, answer: Answer) -> Self {
        Self { body, _answer: answer }
    }
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a connection that says nothing is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// The rest of a head.
    Head,
    /// The next request.
    Request,
    /// Nothing: a request is being answered, and has a limit of its own.
    Nothing,
}

/// A stream that fails once the client took too long. hyper knows one limit for both heads and
/// idle connections, and none for a client that does not take its answer.
#[derive(Debug)]
pub struct Timed<S> {
    stream: S,
    patience: Patience,
    answering: Answering,
    awaited: Awaited,
    reading: Pin<Box<Sleep>>,
    /// Since when the client takes nothing, if it does not.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub fn new(stream: S, patience: Patience, answering: Answering) -> Self {
        let reading = Box::pin(tokio::time::sleep(patience.head));
        Self { stream, patience, answering, awaited: Awaited::Head, reading, writing: None }
    }

    fn wait_for(&mut self, awaited: Awaited, time: Duration) {
        self.awaited = awaited;
        self.reading.as_mut().reset(Instant::from_std(clock::instant() + time));
    }

    /// What a write came to: too long without progress is the end.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        came: Poll<std::io::Result<usize>>,
    ) -> Poll<std::io::Result<usize>> {
        if came.is_ready() {
            self.writing = None;
            return came;
        }
        let idle = self.patience.idle;
        let writing = self.writing.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        ready!(writing.as_mut().poll(cx));
        Poll::Ready(Err(too_slow("took nothing of the answer")))
    }
}

fn too_slow(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, format!("the client {what} for too long"))
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if this.answering.any() {
            this.awaited = Awaited::Nothing;
            this.answering.0.reader.register(cx.waker());
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        if this.awaited == Awaited::Nothing {
            this.wait_for(Awaited::Request, this.patience.idle);
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(came) => {
                if this.awaited == Awaited::Request && buffer.filled().len() > before {
                    this.wait_for(Awaited::Head, this.patience.head);
                }
                Poll::Ready(came)
            }
            Poll::Pending => {
                ready!(this.reading.as_mut().poll(cx));
                Poll::Ready(Err(too_slow("said nothing")))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let came = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, came)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let came = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(cx, came)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The connections that are open, by address. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Addresses {
    /// Counts one more connection of an address; `None` if it has its share already. Trusted
    /// proxies speak for many and have no share.
    pub fn admit(&self, address: IpAddr, config: &config::Http) -> Option<Share> {
        if config.trusts(address) {
            return Some(Share { address: None, addresses: self.clone() });
        }
        let address = bucket(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= config.max_connections_per_address {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Share { address: Some(address), addresses: self.clone() })
    }
}

/// A connection's share of its address's; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    address: Option<IpAddr>,
    addresses: Addresses,
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}
