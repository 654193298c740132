//! What Lux adds in front of a model: `cargo bench --bench front`, or with
//! `DATABASE_URL=postgres://…` in front.
//!
//! The same client asks a minimal model server directly and through Lux's
//! `/v1/chat/completions`, in turn: the time to the first word, streams a second, and many
//! streams that are open at once. All of it shares this machine's cores.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, not a product")]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lux::{
    auth::{OrganizationId, Role, token},
    config::{Config, Overrides},
    serve::{self, Door},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// Pairs of requests whose first words are timed, after so many that warm up.
const PAIRS: usize = 3000;
const WARM_UP: usize = 300;

/// How long streams are counted.
const TIME: Duration = Duration::from_secs(5);

/// Words of one answer.
const WORDS: usize = 40;

/// Streams that are open at once.
const OPEN: usize = 1000;

/// A question that holds its stream open after the first word.
const HOLD: &str = "Tell me more and hold the line";
const QUESTION: &str = "Tell me of the baskets";

#[tokio::main]
async fn main() {
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(16_000), maximum: Some(16_000) },
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (released, hold) = watch::channel(false);
    let model = model(hold).await;
    let (lux, token) = lux(folder.path(), model).await;
    let (direct, through) = (Target::new(model, ""), Target::new(lux, &token));
    first_words(&direct, &through).await;
    for connections in [1, 16] {
        let bare = streams(&direct, connections).await;
        let mine = streams(&through, connections).await;
        println!(
            "{connections:>4} connections, streams/s        direct {bare:>8.0}   lux {mine:>8.0}"
        );
    }
    open(&through, &released).await;
}

/// Where requests go.
struct Target {
    address: SocketAddr,
    question: Vec<u8>,
    hold: Vec<u8>,
}

impl Target {
    fn new(address: SocketAddr, token: &str) -> Self {
        let request = |question: &str| {
            let body = format!(
                "{{\"model\":\"lux\",\"stream\":true,\"messages\":\
                 [{{\"role\":\"user\",\"content\":\"{question}\"}}]}}"
            );
            let length = body.len();
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer \
                 {token}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .into_bytes()
        };
        Self { address, question: request(QUESTION), hold: request(HOLD) }
    }

    async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, read: Vec::with_capacity(32 << 10) }
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Sends a request; the time to the first word of the answer.
    async fn first_word(&mut self, request: &[u8]) -> Duration {
        let begun = Instant::now();
        self.read.clear();
        self.stream.write_all(request).await.unwrap();
        self.until(b"\"content\":\"word").await;
        begun.elapsed()
    }

    /// Reads the rest of the answer.
    async fn end(&mut self) {
        self.until(b"data: [DONE]").await;
        self.until(b"\r\n0\r\n\r\n").await;
    }

    async fn until(&mut self, mark: &[u8]) {
        let mut from = 0;
        while !self.read[from..].windows(mark.len()).any(|window| window == mark) {
            from = self.read.len().saturating_sub(mark.len());
            let read = self.stream.read_buf(&mut self.read).await.unwrap();
            assert!(read > 0, "closed: {}", String::from_utf8_lossy(&self.read));
            let begins = self.read.starts_with(b"HTTP/1.1 200");
            assert!(begins, "{}", String::from_utf8_lossy(&self.read));
        }
    }
}

async fn first_words(direct: &Target, through: &Target) {
    let (mut near, mut far) = (direct.connect().await, through.connect().await);
    let (mut bare, mut mine) = (Vec::new(), Vec::new());
    for pair in 0..WARM_UP + PAIRS {
        let first = near.first_word(&direct.question).await;
        near.end().await;
        let second = far.first_word(&through.question).await;
        far.end().await;
        if pair >= WARM_UP {
            bare.push(first);
            mine.push(second);
        }
    }
    let added = bare.iter().zip(&mine).map(|(bare, mine)| mine.saturating_sub(*bare)).collect();
    println!("time to the first word, ms            p50      p90      p99      max");
    for (name, mut times) in [("direct", bare), ("lux", mine), ("added by lux", added)] {
        times.sort_unstable();
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "an index"
            )]
            let index = ((times.len() - 1) as f64 * share) as usize;
            times[index].as_secs_f64() * 1000.0
        };
        println!("{name:<32} {:>8.3} {:>8.3} {:>8.3} {:>8.3}", at(0.5), at(0.9), at(0.99), at(1.0));
    }
}

/// Whole streams a second.
async fn streams(target: &Target, connections: usize) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + TIME;
    let mut asking = Vec::new();
    for _ in 0..connections {
        let (mut connection, done) = (target.connect().await, Arc::clone(&done));
        let question = target.question.clone();
        asking.push(tokio::spawn(async move {
            while Instant::now() < until {
                connection.first_word(&question).await;
                connection.end().await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for one in asking {
        one.await.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let count = done.load(Ordering::Relaxed) as f64;
    count / TIME.as_secs_f64()
}

/// Opens many streams, waits until each has its first word, then lets all end.
async fn open(target: &Target, released: &watch::Sender<bool>) {
    let before = resident();
    let begun = Instant::now();
    let mut asking = Vec::new();
    for _ in 0..OPEN {
        let (mut connection, hold) = (target.connect().await, target.hold.clone());
        asking.push(tokio::spawn(async move {
            connection.first_word(&hold).await;
            connection
        }));
    }
    let mut opened = Vec::new();
    for one in asking {
        opened.push(one.await.unwrap());
    }
    let (all_open, during) = (begun.elapsed(), resident());
    released.send(true).unwrap();
    for connection in &mut opened {
        connection.end().await;
    }
    println!(
        "{OPEN} streams open at once: all spoke after {:.2} s, all ended after {:.2} s; \
         {:.0} MiB more in this process, client and model included",
        all_open.as_secs_f64(),
        begun.elapsed().as_secs_f64(),
        during - before
    );
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// The whole of Lux on a fresh database, with the model behind it.
async fn lux(folder: &Path, model: SocketAddr) -> (SocketAddr, String) {
    let file = folder.join("lux.toml");
    let log = folder.join("bench.log");
    std::fs::write(
        &file,
        format!(
            "[[sources]]\nname = \"bench\"\npath = \"{}\"\n[model]\ndaily_tokens = 1000000000000\n\
             [http]\nrequests_per_minute = 100000000\n",
            log.display()
        ),
    )
    .unwrap();
    let mut overrides = Overrides::of_process();
    overrides.file = Some(file);
    overrides.flags.insert("data_dir", folder.join("data").display().to_string());
    overrides.environment.insert("OPENAI_API_KEY".into(), "sk-bench".into());
    overrides.environment.insert("OPENAI_BASE_URL".into(), format!("http://{model}/v1"));
    let config = Config::load(overrides).unwrap();
    let db = serve::open_database(&config).await.unwrap();
    let limits = config.http.clone();
    let (app, features) = serve::start(config, db, CancellationToken::new()).await.unwrap();
    let first = OrganizationId::FIRST;
    let token = token::create(&app.db, first, Role::Operator, "bench", None).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve::serve(app, features, Door::new(listener, &limits)));
    (address, token)
}

/// A server that knows one answer.
async fn model(hold: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let event = |delta: &str, finish: &str, more: &str| {
        let data = format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\
             \"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\
             \"finish_reason\":{finish}}}]{more}}}\n\n"
        );
        format!("{:x}\r\n{data}\r\n", data.len())
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let role = event("\"role\":\"assistant\",\"content\":\"\"", "null", "");
    let word = event("\"content\":\"word \"", "null", "");
    let usage = ",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":40,\"total_tokens\":49}";
    let done = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    let begin: Arc<str> = format!("{head}{role}{word}").into();
    let rest = word.repeat(WORDS - 1) + &event("", "\"stop\"", usage) + done;
    let rest: Arc<str> = rest.into();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(answer(stream, Arc::clone(&begin), Arc::clone(&rest), hold.clone()));
        }
    });
    address
}

async fn answer(
    mut stream: TcpStream,
    begin: Arc<str>,
    rest: Arc<str>,
    mut hold: watch::Receiver<bool>,
) -> Option<()> {
    let mut read = Vec::with_capacity(64 << 10);
    loop {
        read.clear();
        let (body, length) = loop {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
                let (_, length) = head.split_once("content-length:")?;
                break (end + 4, length.lines().next()?.trim().parse::<usize>().ok()?);
            }
        };
        while read.len() < body + length {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        stream.write_all(begin.as_bytes()).await.ok()?;
        if read.windows(HOLD.len()).any(|window| window == HOLD.as_bytes()) {
            hold.wait_for(|released| *released).await.ok()?;
        }
        stream.write_all(rest.as_bytes()).await.ok()?;
    }
}
