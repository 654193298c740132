//! The real program as a child process.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    header::{HeaderMap, HeaderValue},
};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout},
};

use super::{Database, Model, PATIENCE, lux, run, say};

/// The role of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Admin,
    Operator,
    Ingest,
    Read,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Ingest, Self::Read];

    fn name(self) -> &'static str {
        ["admin", "operator", "ingest", "read"][self as usize]
    }
}

/// How a server is to be started. All of it lives in one temporary folder.
pub(crate) struct Setup {
    folder: PathBuf,
    temporary: Option<tempfile::TempDir>,
    database: Database,
    toml: String,
    environment: Vec<(String, String)>,
}

impl Setup {
    pub(crate) fn new(database: &Database) -> Self {
        let temporary = tempfile::Builder::new().prefix("lux-it").tempdir().unwrap();
        // Without a source of its own it would watch the logs of this machine.
        let toml = format!(
            "[[sources]]\nname = \"app\"\npath = \"{}\"\n",
            temporary.path().join("app.log").display()
        );
        Self {
            folder: temporary.path().to_owned(),
            temporary: Some(temporary),
            database: database.clone(),
            toml,
            environment: Vec::new(),
        }
    }

    /// Another server on the same database, with a data directory of its own: replicas share
    /// the master key.
    pub(crate) fn replica_of(server: &Server) -> Self {
        let key = server.data().join("master.key");
        let setup = Self::new(server.database()).env("LUX_MASTER_KEY_FILE", key.to_str().unwrap());
        match server.database() {
            Database::Sqlite => {
                let url = format!("sqlite:{}", server.data().join("lux.db").display());
                setup.env("DATABASE_URL", &url)
            }
            Database::Postgres(_) => setup,
        }
    }

    /// Where the test keeps its log files, beside the data directory.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The text of `lux.toml`.
    #[must_use]
    pub(crate) fn toml(mut self, text: &str) -> Self {
        text.clone_into(&mut self.toml);
        self
    }

    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets it ask a scripted model.
    #[must_use]
    pub(crate) fn model(self, model: &Model) -> Self {
        self.env("OPENAI_API_KEY", "sk-scripted").env("OPENAI_BASE_URL", &model.url)
    }

    /// Gives it the time of a file ("+0", "-3d"); `None` without libfaketime.
    pub(crate) fn with_clock(self, clock: &Path) -> Option<Self> {
        let library =
            glob::glob("/usr/lib/*/faketime/libfaketime.so.1").unwrap().flatten().next()?;
        let setup = self
            .env("LD_PRELOAD", library.to_str().unwrap())
            .env("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        Some(setup)
    }

    /// Starts the server and waits until it listens.
    pub(crate) async fn start(self) -> Server {
        fs::write(self.folder.join("lux.toml"), &self.toml).unwrap();
        let tokens = Role::ALL.map(|_| OnceLock::new());
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let mut server = Server { setup: self, client, tokens, base: String::new(), running: None };
        // Without one, the program would make one and say it in its log.
        server.token(Role::Admin);
        server.start().await;
        server
    }

    fn command(&self) -> std::process::Command {
        let mut command = lux(&self.folder);
        command.arg("--config").arg(self.folder.join("lux.toml"));
        if let Database::Postgres(url) = &self.database {
            command.env("DATABASE_URL", url);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

struct Running {
    child: Child,
    /// Kept open: a server whose stdout is closed must not matter here.
    _stdout: BufReader<ChildStdout>,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    setup: Setup,
    client: Client,
    /// Made by the command line when one is needed for the first time.
    tokens: [OnceLock<String>; 4],
    pub(crate) base: String,
    running: Option<Running>,
}

impl Server {
    /// A server with defaults, which watches `app.log` in its folder.
    pub(crate) async fn plain(database: &Database) -> Self {
        Setup::new(database).start().await
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.setup.folder
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.setup.folder.join("data")
    }

    pub(crate) fn database(&self) -> &Database {
        &self.setup.database
    }

    /// Another command of the program on the same data and settings.
    pub(crate) fn command(&self) -> std::process::Command {
        self.setup.command()
    }

    /// Starts (again) on the same data directory.
    pub(crate) async fn start(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = tokio::process::Command::from(self.setup.command());
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await;
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| {
            panic!("it does not listen ({read:?}, {line:?}); its log:\n{}", self.log())
        });
        address.clone_into(&mut self.base);
        self.running = Some(Running { child, _stdout: stdout });
    }

    fn log_file(&self) -> PathBuf {
        self.setup.folder.join("stderr")
    }

    /// What the server wrote to stderr, over all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read(self.log_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> Pid {
        let id = self.running.as_ref().unwrap().child.id().unwrap();
        Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
    }

    /// The most memory that the process had so far, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.running.take().unwrap().child.wait().await.unwrap();
    }

    /// Waits for the process to end; its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut running = self.running.take().unwrap();
        let ended = tokio::time::timeout(PATIENCE, running.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("it does not end; its log:\n{}", self.log()))
            .unwrap()
            .code()
    }

    /// SIGTERM; its exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Whether the process still runs.
    pub(crate) fn is_up(&mut self) -> bool {
        matches!(self.running.as_mut().map(|running| running.child.try_wait()), Some(Ok(None)))
    }

    pub(crate) fn token(&self, role: Role) -> &str {
        self.tokens[role as usize].get_or_init(|| {
            let mut command = self.command();
            command.args(["token", "create", "--role", role.name(), "--name", "rig"]);
            let said = run(&mut command);
            assert_eq!(said.code, Some(0), "{said:?}");
            said.out.trim().to_owned()
        })
    }

    /// A request without a token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) fn request_as(&self, role: Role, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(self.token(role))
    }

    /// As an administrator; must succeed.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = Answer::of(self.request_as(Role::Admin, Method::GET, path)).await;
        assert!(answer.status.is_success(), "GET {path}: {answer:?}\n{}", self.log());
        answer.json()
    }

    /// As an administrator, whatever the answer.
    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        Answer::of(self.request_as(Role::Admin, Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &impl Serialize) -> Answer {
        Answer::of(self.request_as(Role::Admin, Method::PATCH, path).json(body)).await
    }

    /// The newest entries of the audit log, without those of the rig's own tokens.
    pub(crate) async fn deeds(&self) -> Vec<Value> {
        let log = self.get("/api/audit?limit=200").await;
        let entries = log["entries"].as_array().unwrap().iter();
        entries.filter(|entry| entry["detail"]["name"] != "rig").cloned().collect()
    }

    /// The source of that name, once it is listed.
    pub(crate) async fn source(&self, name: &str) -> Option<Value> {
        let answer = self.get("/api/diagnostics/logs/sources").await;
        let sources = answer["sources"].as_array().cloned().unwrap_or_default();
        sources.into_iter().find(|source| source["name"] == name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(8000);
            let from = (from..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
            say(&format!("--- the server's log:\n{}---", &log[from..]));
            if self.setup.temporary.is_none() {
                say(&format!("its folder: {}", self.setup.folder.display()));
            }
        }
    }
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::try_of(request).await.unwrap()
    }

    /// An error when the server went away.
    pub(crate) async fn try_of(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, text: response.text().await? })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("the answer is not JSON ({error}): {self:?}"))
    }

    /// Checks that this is a whole problem document of `status`, and gives its detail.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        let kind = self.headers.get("content-type").map(HeaderValue::as_bytes);
        assert_eq!(kind, Some(&b"application/problem+json"[..]), "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], status, "{self:?}");
        for key in ["type", "title", "detail", "request_id"] {
            let text = document[key].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{key} is missing: {self:?}");
        }
        assert_eq!(
            self.headers.get("x-request-id").and_then(|value| value.to_str().ok()),
            document["request_id"].as_str(),
            "{self:?}"
        );
        document["detail"].as_str().unwrap_or_default().to_owned()
    }
}

impl Answer {
    /// Checks that this is a whole refusal in OpenAI's form, and gives its message.
    pub(crate) fn openai_error(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        let error = &self.json()["error"];
        for key in ["message", "type", "code"] {
            let text = error[key].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{key} is missing: {self:?}");
        }
        assert!(error.as_object().unwrap().contains_key("param"), "{self:?}");
        assert!(self.headers.contains_key("x-request-id"), "{self:?}");
        error["message"].as_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text.chars().take(2000).collect();
        write!(f, "{} {text}", self.status)
    }
}
