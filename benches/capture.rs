//! `POST /api/errors` until committed, against a bare axum handler that commits in
//! groups: `cargo bench --bench capture`, or with `DATABASE_URL=postgres://…` in front.
//!
//! The load comes from the same process, so both share the machine's cores alike.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, not a product")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::post};
use lux::{
    auth::{OrganizationId, Role, token},
    config::{Config, Overrides},
    db::Db,
    serve::{self, Door},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

/// Turns that both take, so that what else the machine does meets both alike.
const TURNS: usize = 4;
/// How long one turn takes.
const TIME: Duration = Duration::from_millis(1500);

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let bare = bare(folder.path()).await;
    let (lux, token) = lux(folder.path()).await;
    // For a profile: `cargo bench --bench capture -- lux`.
    let only_lux = std::env::args().any(|argument| argument == "lux");
    println!(
        "{:<32} {:>9} {:>9} {:>6}   {:>9} {:>9} {:>6}",
        "until committed", "bare ev/s", "lux ev/s", "share", "bare µs", "lux µs", "share"
    );
    for (name, connections, events) in [
        ("single, 16 connections", 16, 1),
        ("single, 64 connections", 64, 1),
        ("arrays of 100, 16 connections", 16, 100),
    ] {
        let (mut of_bare, mut of_lux) = (Figures::default(), Figures::default());
        for _ in 0..TURNS {
            if !only_lux {
                of_bare.add(rate(bare, "/bare", "", connections, events).await);
            }
            of_lux.add(rate(lux, "/api/errors", &token, connections, events).await);
        }
        let (bare, lux) = (of_bare.events / of_bare.seconds, of_lux.events / of_lux.seconds);
        let cost = |figures: &Figures| figures.processor / figures.events * 1e6;
        let (bare_cost, lux_cost) = (cost(&of_bare), cost(&of_lux));
        println!(
            "{name:<32} {bare:>9.0} {lux:>9.0} {:>5.0}%   {bare_cost:>9.1} {lux_cost:>9.1} {:>5.0}%",
            lux / bare * 100.0,
            bare_cost / lux_cost * 100.0
        );
    }
}

/// What some turns came to. The processor's time (of both sides of the connections) is
/// what a busy machine falsifies least.
#[derive(Clone, Copy, Default)]
struct Figures {
    events: f64,
    seconds: f64,
    processor: f64,
}

impl Figures {
    fn add(&mut self, turn: Self) {
        self.events += turn.events;
        self.seconds += turn.seconds;
        self.processor += turn.processor;
    }
}

/// Seconds of processor time that this process has used so far.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_ascii_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// The whole of Lux on a fresh database.
async fn lux(folder: &std::path::Path) -> (SocketAddr, String) {
    let mut overrides = Overrides::of_process();
    overrides.flags.insert("data_dir", folder.join("data").display().to_string());
    overrides.environment.insert("LUX_EVENTS_PER_MINUTE".into(), "4000000000".into());
    let config = Config::load(overrides).unwrap();
    let db = serve::open_database(&config).await.unwrap();
    let limits = config.http.clone();
    let (app, features) = serve::start(config, db, CancellationToken::new()).await.unwrap();
    let organization = OrganizationId::FIRST;
    let token = token::create(&app.db, organization, Role::Ingest, "bench", None).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve::serve(app, features, Door::new(listener, &limits)));
    (address, token)
}

#[derive(Deserialize, Serialize)]
struct Small {
    error_type: String,
    error_message: String,
}

type Waiting = (Vec<Small>, oneshot::Sender<()>);

/// What any service would have to do at least: parse, queue, one statement for all that
/// waits, commit, answer.
async fn bare(folder: &std::path::Path) -> SocketAddr {
    let overrides = Overrides::of_process();
    let url = overrides.environment.get("DATABASE_URL").cloned();
    let file = format!("sqlite:{}", folder.join("bare.db").display());
    let db = Db::open(&url.unwrap_or(file), 4).await.unwrap();
    db.query("drop table if exists bare_row").run().await.unwrap();
    db.query("create table bare_row (error_type text not null, error_message text not null)")
        .run()
        .await
        .unwrap();
    let (queue, waiting) = mpsc::channel(10_000);
    tokio::spawn(write(db, waiting));
    let router = Router::new().route("/bare", post(take)).with_state(queue);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn take(State(queue): State<mpsc::Sender<Waiting>>, body: axum::body::Bytes) -> &'static str {
    let rows = if body.starts_with(b"[") {
        serde_json::from_slice(&body).unwrap()
    } else {
        vec![serde_json::from_slice(&body).unwrap()]
    };
    let (answer, answered) = oneshot::channel();
    queue.send((rows, answer)).await.unwrap();
    answered.await.unwrap();
    "stored"
}

async fn write(db: Db, mut waiting: mpsc::Receiver<Waiting>) {
    while let Some((mut rows, answer)) = waiting.recv().await {
        let mut answers = vec![answer];
        while rows.len() < 2000
            && let Ok((more, answer)) = waiting.try_recv()
        {
            rows.extend(more);
            answers.push(answer);
        }
        let mut tx = db.begin().await.unwrap();
        let sql = tx.dialect(
            "insert into bare_row select r.error_type, r.error_message
             from json_to_recordset(cast($1 as json)) as r(error_type text, error_message text)",
            "insert into bare_row select value ->> 'error_type', value ->> 'error_message'
             from json_each($1)",
        );
        tx.query(sql).bind(serde_json::to_string(&rows).unwrap()).run().await.unwrap();
        tx.commit().await.unwrap();
        for answer in answers {
            answer.send(()).unwrap();
        }
    }
}

/// Loads it over so many connections, each of which sends as soon as it is answered.
async fn rate(
    to: SocketAddr,
    path: &str,
    token: &str,
    connections: usize,
    events: usize,
) -> Figures {
    let done = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + TIME;
    let senders: Vec<_> = (0..connections)
        .map(|sender| {
            let (done, head) = (
                Arc::clone(&done),
                format!(
                    "POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\
                     content-type: application/json\r\ncontent-length: "
                ),
            );
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(to).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 64 * 1024];
                let mut number = sender;
                while Instant::now() < until {
                    let one = |number: usize| {
                        format!(
                            "{{\"error_type\":\"KeyError{}\",\"error_message\":\"order {number} is missing\"}}",
                            number % 20
                        )
                    };
                    number += events;
                    let body = if events == 1 {
                        one(number)
                    } else {
                        let all: Vec<String> = (0..events).map(|i| one(number + i)).collect();
                        format!("[{}]", all.join(","))
                    };
                    let request = format!("{head}{}\r\n\r\n{body}", body.len());
                    stream.write_all(request.as_bytes()).await.unwrap();
                    answered(&mut stream, &mut buffer).await;
                    done.fetch_add(events as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let (started, before) = (Instant::now(), processor());
    for sender in senders {
        sender.await.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let events = done.load(Ordering::Relaxed) as f64;
    Figures { events, seconds: started.elapsed().as_secs_f64(), processor: processor() - before }
}

/// Reads one whole answer, which must be a success.
async fn answered(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(read > 0, "the server closed the connection");
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 20"), "{text}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        if body.len() >= length.unwrap().unwrap() {
            return;
        }
    }
}
