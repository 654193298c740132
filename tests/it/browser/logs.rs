//! The logs: real files, written while somebody looks.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::story;
use crate::support::{Database, Server, Setup, on_both, until};

/// The logs of a host that the stories write to.
struct Logs {
    folder: PathBuf,
    /// Whoever writes on and on.
    talking: Option<(Arc<AtomicBool>, std::thread::JoinHandle<usize>)>,
}

impl Logs {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = File::options().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Writes `rate` lines a second until [`Logs::hush`], each with an error in a hundred.
    fn talk(&mut self, rate: u32) {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let mut file = File::options().create(true).append(true).open(self.path("app")).unwrap();
        let thread = std::thread::spawn(move || {
            let mut written = 0;
            let many = (rate / 50).max(1);
            while !told.load(Ordering::Relaxed) {
                let mut text = String::new();
                for _ in 0..many {
                    let level = if written % 100 == 99 { "ERROR" } else { "INFO" };
                    text += &python(lux::clock::now(), level, &format!("number {written}"));
                    written += 1;
                }
                file.write_all(text.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            written
        });
        self.talking = Some((stop, thread));
    }

    /// How many lines were written.
    fn hush(&mut self) -> usize {
        let (stop, thread) = self.talking.take().unwrap();
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap()
    }

    async fn host(&mut self, server: &Server, wire: &Wire, ask: &str, data: &Value) -> Value {
        match ask {
            "append" => {
                self.append(data["log"].as_str().unwrap(), data["text"].as_str().unwrap());
                Value::Null
            }
            "talk" => {
                self.talk(u32::try_from(data.as_u64().unwrap()).unwrap());
                Value::Null
            }
            "hush" => {
                let written = self.hush();
                until("what was written is read", async || {
                    let read = server.source("app").await?["lines"].as_u64()?;
                    (read >= written as u64).then_some(())
                })
                .await;
                json!(written)
            }
            "cut" | "join" => {
                wire.cut.send_replace(ask == "cut");
                Value::Null
            }
            other => panic!("{other}?"),
        }
    }
}

/// A line as Python's logging writes it, in UTC.
fn python(at: DateTime<Utc>, level: &str, text: &str) -> String {
    format!("{} {level} shop: {text}\n", at.format("%Y-%m-%d %H:%M:%S,%3f"))
}

/// A wire between browser and server that can be cut.
struct Wire {
    url: String,
    cut: watch::Sender<bool>,
}

impl Wire {
    async fn to(base: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let target = base.strip_prefix("http://").unwrap().to_owned();
        let (cut, is_cut) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (mut browser, _) = listener.accept().await.unwrap();
                let (target, mut is_cut) = (target.clone(), is_cut.clone());
                tokio::spawn(async move {
                    if *is_cut.borrow() {
                        return;
                    }
                    let mut server = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut browser, &mut server) => {}
                        _ = is_cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { url, cut }
    }
}

/// A server with the logs of a shop.
async fn shop(database: &Database) -> (Server, Logs, Wire) {
    let setup = Setup::new(database);
    let logs = Logs { folder: setup.folder().to_owned(), talking: None };
    let sources =
        [("app", "python"), ("nginx", "nginx-error"), ("worker", "json"), ("later", "auto")];
    let toml = sources.map(|(name, kind)| {
        let path = logs.path(name);
        format!(
            "[[sources]]\nname = \"{name}\"\nkind = \"{kind}\"\ntimezone = \"UTC\"\npath = \"{}\"\n",
            path.display()
        )
    });
    for name in ["app", "nginx", "worker"] {
        fs::write(logs.path(name), "").unwrap();
    }
    let setup = setup.toml(&toml.concat()).env("LUX_REQUESTS_PER_MINUTE", "100000");
    let mut server = setup.start().await;
    let wire = Wire::to(&server.base).await;
    server.base.clone_from(&wire.url);
    (server, logs, wire)
}

/// Half an hour as shops have them: quiet first, then the database has too many clients.
fn half_an_hour(logs: &Logs) {
    let now = lux::clock::now();
    let (mut app, mut nginx, mut worker) = (String::new(), String::new(), String::new());
    for second in (1..600_i64).rev().map(|step| step * 3) {
        let at = now - TimeDelta::seconds(second);
        let page = ["/products/brush-set", "/cart", "/products?page=2", "/static/app.css"];
        let page = page[usize::try_from(second).unwrap() / 3 % 4];
        app += &python(at, "INFO", &format!("GET {page} 200 {}ms", 12 + second % 30));
        if second % 60 == 0 {
            let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
            let line = format!(
                "{{\"time\":\"{at}\",\"level\":\"info\",\"message\":\"order {} paid\",\"order\":{},\"user\":{{\"id\":7}}}}\n",
                88_000 + second,
                88_000 + second
            );
            worker.push_str(&line);
        }
        if second < 900 && second % 30 == 0 {
            app += &python(at, "WARNING", "pool exhausted, waiting 1.0 s (checked out 15 of 15)");
            app += &python(at, "ERROR", "checkout failed");
            app += "Traceback (most recent call last):\n  File \"/srv/shop/app.py\", line 12, in checkout\n    charge(cart)\n  File \"/srv/shop/pay.py\", line 40, in charge\n    raise OperationalError(reason)\npsycopg.OperationalError: FATAL: sorry, too many clients already\n";
            let line = format!(
                "{} [error] 311#311: *{second} upstream prematurely closed connection while reading response header from upstream, client: 203.0.113.7, server: shop.example, request: \"POST /checkout HTTP/1.1\", upstream: \"http://127.0.0.1:8000/checkout\", host: \"shop.example\"\n",
                at.format("%Y/%m/%d %H:%M:%S")
            );
            nginx.push_str(&line);
        }
    }
    for (name, text) in [("app", app), ("nginx", nginx), ("worker", worker)] {
        logs.append(name, &text);
    }
}

/// Waits until what a log holds is read.
async fn read(server: &Server, names: &[&str]) {
    for name in names {
        until("the log is read", async || {
            let source = server.source(name).await?;
            (source["lines"].as_i64()? > 0 && source["lag"] == 0).then_some(())
        })
        .await;
    }
}

on_both!(somebody_follows_the_logs);
async fn somebody_follows_the_logs(database: Database) {
    let (server, mut logs, wire) = shop(&database).await;
    half_an_hour(&logs);
    read(&server, &["app", "nginx", "worker"]).await;
    story(&server, "operator", "following_logs", async |ask, data| {
        logs.host(&server, &wire, ask, &data).await
    })
    .await;
}

on_both!(logs_are_text);
async fn logs_are_text(database: Database) {
    let (server, mut logs, wire) = shop(&database).await;
    story(&server, "operator", "hostile_logs", async |ask, data| {
        logs.host(&server, &wire, ask, &data).await
    })
    .await;
}

on_both!(a_flood_leaves_the_page_awake);
async fn a_flood_leaves_the_page_awake(database: Database) {
    let (server, mut logs, wire) = shop(&database).await;
    story(&server, "operator", "flooded_logs", async |ask, data| {
        logs.host(&server, &wire, ask, &data).await
    })
    .await;
}

on_both!(there_is_no_log_yet);
async fn there_is_no_log_yet(database: Database) {
    let server = Server::plain(&database).await;
    story(&server, "operator", "no_logs", async |ask, _| {
        assert_eq!(ask, "begin");
        fs::write(server.folder().join("app.log"), "the first line\n").unwrap();
        Value::Null
    })
    .await;
}
