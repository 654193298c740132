//! A wire between Lux and a provider, which can be cut at the worst moment: the request has arrived
//! there, and its answer never comes back.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What becomes of the answer to a request that holds a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It does not come, and the connection stays.
    Silent(&'static str),
    /// The connection ends.
    Dropped(&'static str),
}

impl Cut {
    fn mark(&self) -> &'static str {
        match self {
            Self::Silent(mark) | Self::Dropped(mark) => mark,
        }
    }
}

#[derive(Clone)]
pub(super) struct Wire {
    pub(super) address: String,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl Wire {
    /// A wire to a port of this host.
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let wire = Self { address, cut: Arc::default() };
        let this = wire.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move {
                    let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    Box::pin(this.carry(near, far)).await;
                });
            }
        });
        wire
    }

    pub(super) fn cut(&self, cut: Option<Cut>) {
        *self.cut.lock().unwrap() = cut;
    }

    /// Carries both ways until one side ends.
    async fn carry(&self, near: TcpStream, far: TcpStream) {
        let (mut from_near, mut to_near) = near.into_split();
        let (mut from_far, mut to_far) = far.into_split();
        let (mut asked, mut is_silent) = (Vec::new(), false);
        let (mut there, mut back) = ([0; 16 << 10], [0; 16 << 10]);
        loop {
            tokio::select! {
                read = from_near.read(&mut there) => {
                    let Some(bytes) = read.ok().filter(|n| *n > 0).map(|n| &there[..n]) else { return };
                    asked.extend_from_slice(bytes);
                    if to_far.write_all(bytes).await.is_err() {
                        return;
                    }
                }
                read = from_far.read(&mut back) => {
                    let Some(bytes) = read.ok().filter(|n| *n > 0).map(|n| &back[..n]) else { return };
                    let cut = self.cut.lock().unwrap().clone();
                    let text = String::from_utf8_lossy(&asked).into_owned();
                    match cut.filter(|cut| text.contains(cut.mark())) {
                        Some(Cut::Dropped(_)) => return,
                        Some(Cut::Silent(_)) => is_silent = true,
                        None => {}
                    }
                    asked.clear();
                    if !is_silent && to_near.write_all(bytes).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
