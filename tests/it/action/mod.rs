//! Actions: real commands, run by the real program and, where only a repair run would
//! propose, by the library on the same database.

mod bounds;
mod decide;
mod files;
mod lost;
mod replicas;
mod run;
mod stop;

use std::{collections::BTreeMap, fs, path::Path};

use lux::{
    app::App,
    auth::OrganizationId,
    config::{Config, Overrides},
    repair::action::{ActionRun, Actions, Rendered, Status},
    serve,
};
use reqwest::Method;
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, Database, Role, Server, Setup, until};

const HERE: OrganizationId = OrganizationId::FIRST;

/// An action that runs a script of the shell, which finds its folder in `$HERE`. It is
/// proposed for the cause of its own name.
pub(crate) fn script(folder: &Path, name: &str, text: &str, more: &str) -> String {
    let path = folder.join(format!("{name}.sh"));
    fs::write(&path, text).unwrap();
    let cooldown = if more.contains("cooldown") { "" } else { "cooldown = \"0s\"\n" };
    let policy = if more.contains("policy") { "" } else { "policy = \"auto\"\n" };
    let most = if more.contains("max_per_day") { "" } else { "max_per_day = 1000\n" };
    format!(
        "[[actions]]\nname = \"{name}\"\nargv = [\"sh\", \"{}\"]\nfixes = [\"{name}\"]\n\
         env = {{ HERE = \"{}\" }}\n{cooldown}{policy}{most}{more}\n",
        path.display(),
        folder.display()
    )
}

/// `lux.toml` with actions switched on.
fn toml(folder: &Path, actions: &str) -> String {
    let log = folder.join("app.log");
    format!(
        "[[sources]]\nname = \"app\"\npath = \"{}\"\n[repair]\nactions = true\n{actions}",
        log.display()
    )
}

/// A server, and the library on the same settings and database.
pub(crate) struct Rig {
    pub(crate) server: Server,
    library: Library,
}

/// The library as one more replica, in this process.
struct Library {
    app: App,
    actions: Actions,
}

impl Library {
    async fn of(server: &Server) -> Self {
        let mut environment =
            BTreeMap::from([("LUX_DATA_DIR".to_owned(), server.data().display().to_string())]);
        if let Database::Postgres(url) = server.database() {
            environment.insert("DATABASE_URL".to_owned(), url.clone());
        }
        let file = Some(server.folder().join("lux.toml"));
        let config = Config::load(Overrides { environment, file, ..Overrides::default() }).unwrap();
        let db = serve::open_database(&config).await.unwrap();
        let (app, features) = serve::start(config, db, CancellationToken::new()).await.unwrap();
        Self { app, actions: features.actions }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.app.shutdown.cancel();
    }
}

impl Rig {
    pub(crate) async fn start(database: &Database, actions: impl FnOnce(&Path) -> String) -> Self {
        let setup = Setup::new(database).env("LUX_REQUESTS_PER_MINUTE", "1000000");
        let folder = setup.folder().to_owned();
        let text = toml(&folder, &actions(&folder));
        let server = setup.toml(&text).start().await;
        let library = Library::of(&server).await;
        Self { server, library }
    }

    fn actions(&self) -> &Actions {
        &self.library.actions
    }

    /// What is offered for the cause that has the action's name.
    async fn offered(&self, name: &str) -> Rendered {
        let mut offered = self.actions().for_cause(HERE, name, &BTreeMap::new()).await.unwrap();
        assert_eq!(offered.len(), 1, "{offered:?}");
        offered.remove(0)
    }

    pub(crate) async fn propose(&self, name: &str, run: i64) -> ActionRun {
        let rendered = self.offered(name).await;
        self.actions().propose(HERE, run, 1, &rendered, "test").await.unwrap()
    }

    /// Proposes and runs it here.
    async fn run(&self, name: &str, run: i64) -> ActionRun {
        let proposed = self.propose(name, run).await;
        assert_eq!(proposed.status, Status::Approved, "{proposed:?}");
        self.actions().execute(HERE, proposed.id, "test").await.unwrap()
    }

    async fn read(&self, id: i64) -> Value {
        self.server.get(&format!("/api/auto-repair/actions/{id}")).await
    }

    async fn becomes(&self, id: i64, status: &str) -> Value {
        until(&format!("action {id} is {status}"), async || {
            let run = self.read(id).await;
            (run["status"] == status).then_some(run)
        })
        .await
    }

    pub(crate) async fn decide(&self, id: i64, word: &str, hash: &str) -> Answer {
        let path = format!("/api/auto-repair/actions/{id}/{word}");
        let body = json!({ "hash": hash, "reason": "looked at it" });
        Answer::of(self.server.request_as(Role::Operator, Method::POST, &path).json(&body)).await
    }

    /// Has the server run the undo of an action: a run in the spawned program.
    async fn undo(&self, id: i64) -> Answer {
        undo_at(&self.server, &self.server.base, id).await
    }

    /// How often a script left a line in a file.
    fn lines(&self, file: &str) -> usize {
        let text = fs::read_to_string(self.server.folder().join(file)).unwrap_or_default();
        text.lines().count()
    }

    /// The process ids that a script wrote into a file, once there are so many.
    async fn pids(&self, file: &str, count: usize) -> Vec<Pid> {
        until(&format!("{file} names {count} processes"), async || {
            let text = fs::read_to_string(self.server.folder().join(file)).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let pids: Vec<_> = whole
                .lines()
                .map(|line| Pid::from_raw(line.trim().parse().unwrap()).unwrap())
                .collect();
            (pids.len() >= count).then_some(pids)
        })
        .await
    }
}

async fn undo_at(server: &Server, base: &str, id: i64) -> Answer {
    let path = format!("{base}/api/auto-repair/actions/{id}/undo");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Answer::of(client.post(path).bearer_auth(server.token(Role::Operator))).await
}

/// Whether a process runs; one that is dead and not yet reaped does not.
fn lives(pid: Pid) -> bool {
    if test_kill_process(pid).is_err() {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

async fn gone(pids: &[Pid]) {
    until("its processes are gone", async || pids.iter().all(|pid| !lives(*pid)).then_some(()))
        .await;
}
