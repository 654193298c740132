//! The moment at which a mail is out of our hands.
//!
//! What the kernel has taken it delivers, even if this process is killed in the next moment. The
//! stream between TLS and TCP sees that moment: it is told that the last bytes come now
//! ([`Watch::last`]), and the flush that follows them ends when the kernel has all of them.
//! Witnesses write it down before and after, so that a kill between the two (some microseconds)
//! leaves a mail of which is known that it is not known.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// Writes down how far a mail is. Called in the middle of sending: it must not block for long.
pub trait Witness: Send + Sync {
    /// The last bytes of a mail are about to be handed over. An error keeps them back.
    fn about_to(&self, mail: i64) -> io::Result<()>;
    /// They were handed over.
    fn handed_over(&self, mail: i64);
}

const IDLE: u8 = 0;
/// The last bytes come now.
const LAST: u8 = 1;
/// Some of them were written.
const WRITTEN: u8 = 2;
/// All of them were taken.
const HANDED: u8 = 3;
/// The witness could not write: nothing more goes out.
const CLOSED: u8 = 4;

/// What the sender and its stream know together.
pub(super) struct Watch {
    stage: AtomicU8,
    mail: AtomicI64,
    witness: Option<Arc<dyn Witness>>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({})", self.stage.load(Ordering::Relaxed))
    }
}

impl Watch {
    pub(super) fn new(witness: Option<Arc<dyn Witness>>) -> Self {
        Self { stage: AtomicU8::new(IDLE), mail: AtomicI64::new(0), witness }
    }

    pub(super) fn begin(&self, mail: i64) {
        self.mail.store(mail, Ordering::Release);
        self.stage.store(IDLE, Ordering::Release);
    }

    /// What is written from now on completes the mail.
    pub(super) fn last(&self) {
        let mail = self.mail.load(Ordering::Acquire);
        let stage = match self.witness.as_ref().map(|witness| witness.about_to(mail)) {
            Some(Err(error)) => {
                tracing::error!(%error, mail, "a mail is kept back: its journal cannot be written");
                CLOSED
            }
            _ => LAST,
        };
        self.stage.store(stage, Ordering::Release);
    }

    /// Whether any of the last bytes may have gone out.
    pub(super) fn may_be_out(&self) -> bool {
        matches!(self.stage.load(Ordering::Acquire), WRITTEN | HANDED)
    }

    fn wrote(&self) {
        let _ = self.stage.compare_exchange(LAST, WRITTEN, Ordering::AcqRel, Ordering::Acquire);
    }

    fn flushed(&self) {
        let changed =
            self.stage.compare_exchange(WRITTEN, HANDED, Ordering::AcqRel, Ordering::Acquire);
        if let (Ok(_), Some(witness)) = (changed, &self.witness) {
            witness.handed_over(self.mail.load(Ordering::Acquire));
        }
    }

    fn may_write(&self) -> io::Result<()> {
        if self.stage.load(Ordering::Acquire) == CLOSED {
            return Err(io::Error::other("the journal in the data directory cannot be written"));
        }
        Ok(())
    }
}

/// A connection that knows when it has handed over what was written to it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) tcp: TcpStream,
    pub(super) watch: Arc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Who reads the answer has written everything.
        self.watch.flushed();
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch.may_write()?;
        let written = ready!(Pin::new(&mut self.tcp).poll_write(context, bytes));
        self.watch.wrote();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watch.may_write()?;
        let written = ready!(Pin::new(&mut self.tcp).poll_write_vectored(context, parts));
        self.watch.wrote();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.tcp).poll_flush(context))?;
        self.watch.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Watched {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }
}

/// TLS from the first byte, above the watched connection.
#[derive(Debug)]
pub(super) struct Secure(pub(super) TlsStream<Watched>);

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl AsyncTokioStream for Secure {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}
