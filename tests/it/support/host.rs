//! A host as it stands in the field: nginx before gunicorn before a Flask application,
//! all of it real, watched by Lux.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use reqwest::{Client, StatusCode};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::{
    Answer, Database, PATIENCE, Running, Server, Setup, free_port, listens, repository, say, skip,
    until, variable,
};

/// The logs of the host by the names of their sources.
const LOGS: [(&str, &str); 5] = [
    ("nginx-error", "nginx-error.log"),
    ("nginx-access", "nginx-access.log"),
    ("gunicorn", "gunicorn.err"),
    ("gunicorn-access", "gunicorn.access"),
    ("shop", "shop.log"),
];

pub(crate) struct Host {
    pub(crate) server: Server,
    nginx: Running,
    gunicorn: Option<Running>,
    web_port: u16,
    app_port: u16,
    client: Client,
    /// Where the application's database is said to be.
    pub(crate) shop_database: String,
}

impl Host {
    /// Starts it all; `None` where gunicorn and Flask are not installed.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_on(&Database::sqlite()).await
    }

    /// [`Host::start`] with Lux on this database.
    pub(crate) async fn start_on(database: &Database) -> Option<Self> {
        if variable("LUX_TEST_VENV").is_none() {
            skip("gunicorn with Flask (LUX_TEST_VENV)");
            return None;
        }
        let setup = Setup::new(database);
        let folder = setup.folder().to_owned();
        let (web_port, app_port) = (free_port(), free_port());
        fs::copy(repository("tests/shop/shop.py"), folder.join("shop.py")).unwrap();
        let sources = LOGS.map(|(name, file)| {
            let path = folder.join(file);
            File::create(&path).unwrap();
            let path = path.display();
            format!("[[sources]]\nname = \"{name}\"\napp = \"shop\"\npath = \"{path}\"\n")
        });
        let base = format!("http://127.0.0.1:{app_port}");
        let toml =
            format!("[[apps]]\nname = \"shop\"\nbase_url = \"{base}\"\n{}", sources.concat());
        let server = setup.toml(&toml).start().await;
        fs::write(folder.join("nginx.conf"), nginx_configuration(&folder, web_port, app_port))
            .unwrap();
        let nginx = Running::start(
            Command::new("nginx")
                .arg("-p")
                .arg(&folder)
                .args(["-c", "nginx.conf", "-e", "nginx-error.log"])
                .env("PATH", format!("{}:/usr/sbin", variable("PATH").unwrap_or_default())),
        );
        listens(web_port).await;
        let client = Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        let shop_database = variable("LUX_TEST_POSTGRES").unwrap_or_default();
        let mut host =
            Self { server, nginx, gunicorn: None, web_port, app_port, client, shop_database };
        host.start_shop().await;
        Some(host)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.server.folder().join(name)
    }

    fn spawn_shop(&mut self) {
        let venv = PathBuf::from(variable("LUX_TEST_VENV").unwrap());
        self.gunicorn = Some(Running::start(
            Command::new(venv.join("bin/gunicorn"))
                .args(["--workers", "2", "--timeout", "2", "--graceful-timeout", "1"])
                .args(["--error-logfile", "gunicorn.err", "--access-logfile", "gunicorn.access"])
                .arg("--bind")
                .arg(format!("127.0.0.1:{}", self.app_port))
                .arg("shop:app")
                .current_dir(self.server.folder())
                .env("SHOP_LOG", self.file("shop.log"))
                .env("SHOP_DATABASE", &self.shop_database)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        ));
    }

    /// Starts gunicorn and waits until it answers.
    pub(crate) async fn start_shop(&mut self) {
        self.spawn_shop();
        listens(self.app_port).await;
        until("the shop answers", async || (self.visit("/").await == 200).then_some(())).await;
    }

    /// Starts gunicorn, which is going to fail.
    pub(crate) async fn start_broken_shop(&mut self) {
        self.spawn_shop();
        self.shop_ended().await;
    }

    /// Stops gunicorn as systemd would.
    pub(crate) async fn stop_shop(&mut self) {
        kill_process(self.gunicorn.as_ref().unwrap().pid(), Signal::TERM).unwrap();
        self.shop_ended().await;
    }

    async fn shop_ended(&mut self) {
        let mut gunicorn = self.gunicorn.take().unwrap();
        gunicorn.ended().await;
    }

    /// A customer's visit, through nginx.
    pub(crate) async fn visit(&self, path: &str) -> StatusCode {
        let url = format!("http://127.0.0.1:{}{path}", self.web_port);
        Answer::of(self.client.get(url)).await.status
    }

    pub(crate) async fn upload(&self, bytes: usize) -> StatusCode {
        let url = format!("http://127.0.0.1:{}/upload", self.web_port);
        Answer::of(self.client.post(url).body(vec![b'x'; bytes])).await.status
    }

    /// nginx gets a port where nothing listens, and reloads.
    pub(crate) fn point_nginx_elsewhere(&self) {
        let text = nginx_configuration(self.server.folder(), self.web_port, free_port());
        fs::write(self.file("nginx.conf"), text).unwrap();
        kill_process(self.nginx.pid(), Signal::HUP).unwrap();
    }

    /// Waits until Lux has read what is in the logs.
    pub(crate) async fn all_is_read(&self) {
        for (name, file) in LOGS {
            until(&format!("{file} is read"), async || {
                let written = BufReader::new(File::open(self.file(file)).unwrap()).lines().count();
                let read = self.server.source(name).await?["lines"].as_u64()?;
                (read >= written as u64).then_some(())
            })
            .await;
        }
    }

    pub(crate) async fn ask(&self) -> Value {
        let question = json!({ "message": "what is wrong?", "action": "diagnose" });
        let answer = self.server.post("/chatbot/send", &question).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Asks until the cause is named; checks the answer.
    pub(crate) async fn names(&self, cause: &str) {
        self.all_is_read().await;
        let mut last = Value::Null;
        let mut found = None;
        // A traceback's record ends some time after its last line.
        for _ in 0..100 {
            last = self.ask().await;
            if last["diagnosis"]["findings"][0]["cause"] == cause {
                found = Some(last.clone());
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let Some(reply) = found else {
            panic!("{cause} is not the first cause: {:#}", last["diagnosis"]);
        };
        self.check(&reply);
    }

    /// The answer is whole, and every quoted line is where it is said to be.
    fn check(&self, reply: &Value) {
        let finding = &reply["diagnosis"]["findings"][0];
        for key in ["title", "explanation", "confidence", "first_seen", "last_seen"] {
            assert!(
                finding[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key}: {finding:#}"
            );
        }
        assert_ne!(finding["confidence"], "inconclusive", "{finding:#}");
        assert!(!finding["fix"].as_array().unwrap().is_empty(), "{finding:#}");
        assert!(!finding["evidence"].as_array().unwrap().is_empty(), "{finding:#}");
        assert!(!reply["response"].as_str().unwrap().is_empty());
        assert!(!reply["citations"].as_array().unwrap().is_empty(), "{reply:#}");
        assert_eq!(reply["has_logs"], true);
        assert_eq!(reply["engine"], "advisor");
        let findings = reply["diagnosis"]["findings"].as_array().unwrap();
        for finding in findings {
            for quote in finding["evidence"].as_array().unwrap() {
                self.check_quote(quote);
            }
        }
        for quote in reply["citations"].as_array().unwrap() {
            self.check_quote(quote);
        }
    }

    fn check_quote(&self, quote: &Value) {
        let source = quote["source"].as_str().unwrap();
        let Some((_, file)) = LOGS.iter().find(|(name, _)| *name == source) else {
            panic!("{source} is no source: {quote}");
        };
        let number = usize::try_from(quote["line"].as_u64().unwrap()).unwrap();
        let text = fs::read_to_string(self.file(file)).unwrap();
        let line = text.lines().nth(number - 1);
        let line = line.unwrap_or_else(|| panic!("{file} has no line {number}: {quote}"));
        let quoted = quote["text"].as_str().unwrap();
        assert!(
            !quoted.is_empty() && line.contains(quoted),
            "{file}:{number} is {line:?}: {quote}"
        );
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (_, file) in LOGS {
                let text = fs::read_to_string(self.file(file)).unwrap_or_default();
                say(&format!("--- {file}\n{text}"));
            }
        }
    }
}

fn nginx_configuration(folder: &Path, web_port: u16, app_port: u16) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {}/{name};\n", folder.display()))
        .concat();
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid nginx.pid;\n\
         error_log nginx-error.log;\n\
         events {{ worker_connections 128; }}\n\
         http {{\n    access_log nginx-access.log combined;\n{temporary}\
         \x20   client_max_body_size 1m;\n\
         \x20   server {{\n        listen 127.0.0.1:{web_port};\n\
         \x20       location / {{ proxy_pass http://127.0.0.1:{app_port}; }}\n    }}\n}}\n"
    )
}
