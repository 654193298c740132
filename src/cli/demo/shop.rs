//! A small shop whose database is not running: its errors are real, down to the errno.
//! Something starts the database when a file appears, as a service manager would.

use std::{
    fs::OpenOptions,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::State, routing::get};
use http::{Method, StatusCode};
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::Client;
use crate::{clock, outbound::Outbound};

/// Requests that the demonstration's customers make.
const CUSTOMERS: usize = 12;

/// How often it is looked whether the database is to be started.
const LOOK: Duration = Duration::from_millis(20);

pub(super) struct Shop {
    address: SocketAddr,
    parts: Arc<Parts>,
}

struct Parts {
    log: PathBuf,
    database: SocketAddr,
    /// The file whose appearance starts the database.
    switch: PathBuf,
}

impl Shop {
    /// Opens the shop on a port of the system's choice.
    pub(super) async fn open(folder: &Path) -> anyhow::Result<Self> {
        // The port is its own, and refuses connections until it listens.
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let parts = Arc::new(Parts {
            log: folder.join("shop.log"),
            database: socket.local_addr()?,
            switch: folder.join("start-database"),
        });
        tokio::spawn(database(socket, parts.switch.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/", get(|| async { "Welcome to the shop.\n" }))
            .route("/checkout", get(checkout))
            .with_state(Arc::clone(&parts));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the shop closed");
            }
        });
        Ok(Self { address, parts })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the database is, or would be.
    pub(super) fn database(&self) -> SocketAddr {
        self.parts.database
    }

    /// The file whose appearance starts the database.
    pub(super) fn switch(&self) -> &Path {
        &self.parts.switch
    }

    /// Lets customers in, and reports what fails as an application would; returns the
    /// number of failed requests.
    pub(super) async fn serve_customers(
        &self,
        lux: &Client,
        ingest: &str,
    ) -> anyhow::Result<usize> {
        let outbound = Outbound::new()?;
        let reporter = lux.with_token(ingest);
        let mut failures = 0;
        for number in 0..CUSTOMERS {
            let path = if number % 3 == 0 { "/" } else { "/checkout" };
            let url = format!("http://{}{path}", self.address);
            let request = outbound.request(Method::GET, &url);
            let answer = outbound.send(request, super::PATIENCE, 1 << 16).await?;
            if answer.status.is_success() {
                continue;
            }
            failures += 1;
            let text = String::from_utf8_lossy(&answer.body);
            let event = json!({
                "app": "shop",
                "error_type": "psycopg2.OperationalError",
                "error_message": text.trim(),
                "endpoint": path,
                "method": "GET",
                "severity": "error",
                "user_id": format!("customer-{number}"),
            });
            reporter.ask(Method::POST, "/api/errors", Some(&event)).await?;
        }
        anyhow::ensure!(self.parts.log.exists(), "the shop wrote no log");
        Ok(failures)
    }
}

/// Takes connections once it was started.
async fn database(socket: TcpSocket, switch: PathBuf) {
    while !switch.exists() {
        tokio::time::sleep(LOOK).await;
    }
    let listener = match socket.listen(64) {
        Ok(listener) => listener,
        Err(error) => return tracing::warn!(%error, "the shop's database does not start"),
    };
    while let Ok((connection, _)) = listener.accept().await {
        drop(connection);
    }
}

/// Takes the money, if the database says that there is stock.
async fn checkout(State(shop): State<Arc<Parts>>) -> (StatusCode, String) {
    let Err(error) = TcpStream::connect(shop.database).await else {
        return (StatusCode::OK, "Thank you.\n".to_owned());
    };
    let reason = if error.kind() == std::io::ErrorKind::ConnectionRefused {
        "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?"
            .to_owned()
    } else {
        error.to_string()
    };
    let database = shop.database;
    let message = format!(
        "connection to server at \"{}\", port {} failed: {reason}",
        database.ip(),
        database.port()
    );
    let at = clock::now().format("%Y-%m-%d %H:%M:%S,%3f");
    let record = format!(
        "{at} ERROR [shop] Exception on /checkout [GET]\nTraceback (most recent call last):\n  \
         File \"/srv/shop/checkout.py\", line 31, in checkout\n    \
         stock = database.connect().stock(item)\npsycopg2.OperationalError: {message}\n\n"
    );
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&shop.log)
        .and_then(|mut log| log.write_all(record.as_bytes()));
    if let Err(error) = written {
        tracing::warn!(%error, "the shop could not write its log");
    }
    (StatusCode::INTERNAL_SERVER_ERROR, message)
}
