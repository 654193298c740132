//! What the market depends on: small servers that behave well or badly, at once.

use std::{path::Path, process::Command, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::{JoinHandle, JoinSet},
};

use crate::support::{Running, free_port, listens, repository, until};

/// How a neighbour treats a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing listens.
    Down,
    /// HTTP: a status and a body.
    Answers(u16, &'static str),
    /// The same after so many milliseconds.
    Slow(u64, &'static str),
    /// Takes the request and never answers.
    Hangs,
    /// Answers PING.
    Redis,
    /// An OpenAI-compatible server that takes this key only.
    Models(&'static str),
}

impl Manner {
    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = vec![0; 8192];
        let mut read = 0;
        loop {
            let more = stream.read(&mut request[read..]).await?;
            read += more;
            let end: &[u8] = if self == Self::Redis { b"PING\r\n" } else { b"\r\n\r\n" };
            if request[..read].ends_with(end) {
                break;
            }
            if more == 0 || read == request.len() {
                return Ok(());
            }
        }
        let (status, body) = match self {
            Self::Down => return Ok(()),
            Self::Hangs => std::future::pending().await,
            Self::Redis => return stream.write_all(b"+PONG\r\n").await,
            Self::Answers(status, body) => (status, body),
            Self::Slow(millis, body) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                (200, body)
            }
            Self::Models(key) => {
                let head = String::from_utf8_lossy(&request[..read]).to_lowercase();
                if head.contains(&format!("authorization: bearer {key}\r\n")) {
                    (200, r#"{"object": "list", "data": [{"id": "m", "object": "model"}]}"#)
                } else {
                    (401, r#"{"error": {"code": "invalid_api_key", "message": "wrong key"}}"#)
                }
            }
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }
}

pub(crate) struct Neighbour {
    pub(crate) port: u16,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Neighbour {
    /// It is down until it is told its manners.
    pub(crate) fn new() -> Self {
        Self { port: free_port(), task: Mutex::new(None) }
    }

    /// When it is back, no connection is treated in the old way.
    pub(crate) async fn behave(&self, manner: Manner) {
        let mut task = self.task.lock().await;
        if let Some(old) = task.take() {
            old.abort();
            // Its listener and connections are closed when it has really ended.
            let _ = old.await;
        }
        if manner == Manner::Down {
            return;
        }
        let listener = until("the neighbour's port is free", async || {
            TcpListener::bind(("127.0.0.1", self.port)).await.ok()
        })
        .await;
        *task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let accepted = listener.accept().await;
                while connections.try_join_next().is_some() {}
                if let Ok((stream, _)) = accepted {
                    connections.spawn(manner.serve(stream));
                }
            }
        }));
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

/// A neighbour that speaks TLS.
pub(crate) struct Bank {
    pub(crate) port: u16,
    server: Mutex<Option<Running>>,
}

impl Bank {
    pub(crate) fn new() -> Self {
        Self { port: free_port(), server: Mutex::new(None) }
    }

    /// Shows the certificate of that name, of those that [`certificates`] made.
    pub(crate) async fn show(&self, python: &Path, folder: &Path, certificate: &str) {
        let mut server = self.server.lock().await;
        *server = None;
        *server = Some(Running::start(
            Command::new(python)
                .arg(repository("tests/matrix/bank.py"))
                .arg(self.port.to_string())
                .arg(folder.join(certificate))
                .arg(folder.join("bank.key")),
        ));
        listens(self.port).await;
    }
}

/// Makes `ca.pem`, and `good.pem` and `expired.pem` for 127.0.0.1, both with `bank.key`.
pub(crate) fn certificates(folder: &Path) {
    let script = "set -e
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
            -subj /CN=rig-authority -keyout ca.key -out ca.pem
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -subj /CN=127.0.0.1 -keyout bank.key -out bank.csr
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\nextendedKeyUsage=serverAuth\\n\
authorityKeyIdentifier=keyid\\nsubjectKeyIdentifier=hash\\n' >leaf.ext
        sign() { openssl x509 -req -in bank.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
            -extfile leaf.ext -days 60 -out \"$1\"; }
        sign good.pem
        export LD_PRELOAD=\"$FAKETIME_LIBRARY\" FAKETIME='-1000d'
        sign expired.pem";
    let library = glob::glob("/usr/lib/*/faketime/libfaketime.so.1").unwrap().flatten().next();
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder);
    command.env("FAKETIME_LIBRARY", library.unwrap_or_default());
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
