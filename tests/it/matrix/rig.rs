//! The market as it stands in the field, and the hands that break and mend it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use reqwest::{Client, StatusCode};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Signal, kill_process},
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::sync::Mutex;

use super::{
    kinds::{Fault, KINDS, Kind},
    neighbour::{Bank, Manner, Neighbour, certificates},
};
use crate::support::{
    Answer, Cluster, Database, Disk, PATIENCE, Role, Running, Server, Setup, free_port, repository,
    skip, until, variable,
};

/// An instance of the market with its own folder, gunicorn, and port of nginx.
struct Instance {
    folder: PathBuf,
    web_port: u16,
    app_port: u16,
    gunicorn: Mutex<Option<Running>>,
}

/// What nginx is told.
struct Proxy {
    running: Running,
    /// Instances whose visitors are sent to a port where nothing listens.
    astray: BTreeMap<&'static str, u16>,
    narrow: bool,
}

pub(crate) struct Rig {
    folder: PathBuf,
    venv: PathBuf,
    instances: BTreeMap<&'static str, Instance>,
    proxy: Mutex<Proxy>,
    /// The database that is only ever stopped and started, and whether it runs.
    other_cluster: Mutex<(Cluster, bool)>,
    cluster: Cluster,
    /// Connection strings by name.
    databases: BTreeMap<&'static str, String>,
    neighbours: BTreeMap<&'static str, Neighbour>,
    banks: BTreeMap<&'static str, Bank>,
    held_tables: Mutex<BTreeMap<&'static str, PgConnection>>,
    held_files: Mutex<BTreeMap<&'static str, File>>,
    /// None where mounting is not permitted: those kinds are left out.
    spool: Mutex<Option<(Disk, bool)>>,
    has_spool: bool,
    client: Client,
    /// The last to go: all live in its folder.
    pub(crate) server: Server,
}

const FOLDERS: [&str; 7] =
    ["data", "templates", "static", "thumbnails", "avatars", "switches", "units"];

/// What the application's database holds before anything breaks.
const SCHEMA: &str = "
    create table item (id int); create table crate (id int); create table paint (colour text);
    create table audit (id int); create table balance (id int);
    create role clerk login password 'right'; create role teller login password 'right';
    create role guest login; create role crowd login;
    grant select on audit to guest;";

impl Rig {
    /// Starts it all, whole; `None` where something is not installed.
    pub(crate) async fn start(database: &Database) -> Option<Self> {
        let Some(venv) = variable("LUX_TEST_VENV").map(PathBuf::from) else {
            skip("gunicorn with Flask (LUX_TEST_VENV)");
            return None;
        };
        let (cluster, other_cluster) = (Cluster::start()?, Cluster::start()?);
        let setup = Setup::new(database)
            .env("LUX_REQUESTS_PER_MINUTE", "1000000")
            .env("LUX_EVENTS_PER_MINUTE", "1000000");
        let folder = setup.folder().to_owned();
        certificates(&folder);

        let mut instances = BTreeMap::new();
        let (mut neighbours, mut banks) = (BTreeMap::new(), BTreeMap::new());
        for kind in KINDS {
            instances.entry(kind.app).or_insert_with(|| Instance {
                folder: folder.join(kind.app),
                web_port: free_port(),
                app_port: free_port(),
                gunicorn: Mutex::new(None),
            });
            match kind.fault {
                Fault::Neighbour { name, .. } | Fault::Unit { neighbour: name, .. } => {
                    neighbours.entry(name).or_insert_with(Neighbour::new);
                }
                Fault::Expired(name) => {
                    banks.entry(name).or_insert_with(Bank::new);
                }
                _ => {}
            }
        }
        for instance in instances.values() {
            for name in FOLDERS {
                fs::create_dir_all(instance.folder.join(name)).unwrap();
            }
            for file in ["market.py", "tariffs.py"] {
                let from = repository("tests/matrix").join(file);
                fs::copy(from, instance.folder.join(file)).unwrap();
            }
            let invoice = instance.folder.join("templates/invoice.html");
            fs::write(invoice, "<p>{{ order.sum.net }}</p>").unwrap();
            for log in ["market.log", "gunicorn.err"] {
                File::create(instance.folder.join(log)).unwrap();
            }
        }
        let spool = Disk::mount(&folder.join("market/spool"), "1m");
        let databases = prepare(&cluster, &other_cluster).await;
        fs::write(folder.join("teller.url"), &databases["teller"]).unwrap();
        fs::write(folder.join("oracle.key"), "sk-market").unwrap();
        write_systemctl(&folder);

        let ports = |name: &str| {
            let neighbour = neighbours.get(name).map(|neighbour: &Neighbour| neighbour.port);
            neighbour.or_else(|| banks.get(name).map(|bank: &Bank| bank.port))
        };
        let toml = settings(&folder, &instances, &databases, spool.is_some(), &ports);
        let server = setup.toml(&toml).start().await;
        let lux = json!({ "url": server.base, "token": server.token(Role::Ingest) });
        fs::write(folder.join("lux.json"), lux.to_string()).unwrap();

        let text = nginx_settings(&folder, &instances, &BTreeMap::new(), false);
        fs::write(folder.join("nginx.conf"), text).unwrap();
        let nginx = Running::start(
            Command::new("nginx")
                .arg("-p")
                .arg(&folder)
                .args(["-c", "nginx.conf", "-e", "nginx-error.log"])
                .env("PATH", format!("{}:/usr/sbin", variable("PATH").unwrap_or_default())),
        );
        let client = Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let rig = Self {
            server,
            folder,
            venv,
            instances,
            proxy: Mutex::new(Proxy { running: nginx, astray: BTreeMap::new(), narrow: false }),
            other_cluster: Mutex::new((other_cluster, true)),
            cluster,
            databases,
            neighbours,
            banks,
            held_tables: Mutex::default(),
            held_files: Mutex::default(),
            has_spool: spool.is_some(),
            spool: Mutex::new(spool.map(|disk| (disk, false))),
            client,
        };
        for kind in rig.kinds() {
            if !kind.fault.restarts() {
                rig.set(kind, false).await;
            }
        }
        for &app in rig.instances.keys() {
            rig.spawn(app, &rig.variables_of(app)).await;
        }
        for &app in rig.instances.keys() {
            rig.answers(app).await;
        }
        Some(rig)
    }

    /// Those that can be produced here.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &'static Kind> {
        KINDS.iter().filter(|kind| self.has_spool || !matches!(kind.fault, Fault::Full))
    }

    /// The user's request; the status, and the body.
    pub(crate) async fn visit(&self, kind: &Kind) -> (StatusCode, String) {
        let url = format!("http://127.0.0.1:{}{}", self.instances[kind.app].web_port, kind.path);
        let mut request = self
            .client
            .request(kind.method.parse().unwrap(), url)
            .header("User-Agent", "Mozilla/5.0");
        for (name, value) in kind.headers {
            request = request.header(*name, *value);
        }
        if kind.method == "POST" {
            request = request.body(vec![b'x'; kind.body]);
        }
        match Answer::try_of(request).await {
            Ok(answer) => (answer.status, answer.text),
            // While nginx changes its workers.
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }

    /// What a browser reports whose request failed.
    pub(crate) async fn report(&self, kind: &Kind, status: StatusCode) {
        let event = json!({
            "app": kind.app,
            "error_type": "RequestFailed",
            "error_message": format!("{} {} answered {status}", kind.method, kind.endpoint()),
            "endpoint": kind.endpoint(),
            "method": kind.method,
            "user_agent": "Mozilla/5.0",
            "request_headers": { "User-Agent": "Mozilla/5.0" },
        });
        let request =
            self.server.request_as(Role::Ingest, reqwest::Method::POST, "/api/errors").json(&event);
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Breaks or mends it; when this returns, users meet the new state.
    pub(crate) async fn set(&self, kind: &'static Kind, broken: bool) {
        let home = &self.instances[kind.app].folder;
        match kind.fault {
            Fault::File { path, good, bad } => {
                put(&home.join(path), if broken { bad } else { Some(good) }.map(str::as_bytes));
            }
            Fault::Bytes { path, good, bad } => {
                put(&home.join(path), Some(if broken { bad } else { good.as_bytes() }));
            }
            Fault::Mode { path, good, bad } => {
                let mode = Permissions::from_mode(if broken { bad } else { good });
                fs::set_permissions(home.join(path), mode).unwrap();
            }
            Fault::Sql { good, bad } => {
                let mut connection = PgConnection::connect(&self.cluster.url).await.unwrap();
                connection.execute(AssertSqlSafe(if broken { bad } else { good })).await.unwrap();
                connection.close().await.unwrap();
            }
            Fault::HeldTable(table) => {
                let held = self.held_tables.lock().await.remove(table);
                if let Some(connection) = held {
                    connection.close().await.unwrap();
                }
                if broken {
                    let mut connection = PgConnection::connect(&self.cluster.url).await.unwrap();
                    let sql = format!("begin; lock table {table}");
                    connection.execute(AssertSqlSafe(sql)).await.unwrap();
                    self.held_tables.lock().await.insert(table, connection);
                }
            }
            Fault::ClusterDown => {
                let mut other = self.other_cluster.lock().await;
                match (other.1, broken) {
                    (true, true) => other.0.stop(),
                    (false, false) => other.0.start_again(),
                    _ => {}
                }
                other.1 = !broken;
            }
            Fault::Neighbour { name, good, bad } => {
                self.neighbours[name].behave(if broken { bad } else { good }).await;
            }
            Fault::Expired(name) => {
                let certificate = if broken { "expired.pem" } else { "good.pem" };
                let python = self.venv.join("bin/python");
                self.banks[name].show(&python, &self.folder, certificate).await;
            }
            Fault::Stopped => {
                self.stop(kind.app).await;
                if !broken {
                    self.spawn(kind.app, &[]).await;
                }
            }
            Fault::Deployed { from, to } => {
                let text = fs::read_to_string(repository("tests/matrix/market.py")).unwrap();
                assert!(text.contains(from), "{from} is nowhere");
                let text = if broken { text.replace(from, to) } else { text };
                self.deploy(kind, "market.py", Some(&text)).await;
            }
            Fault::Forgotten(file) => {
                let text = fs::read_to_string(repository("tests/matrix").join(file)).unwrap();
                self.deploy(kind, file, (!broken).then_some(&text)).await;
            }
            Fault::Variable { name, value } => {
                self.stop(kind.app).await;
                let variables = [(name, value)];
                self.spawn(kind.app, if broken { &[] } else { &variables }).await;
            }
            Fault::Upstream => {
                let mut proxy = self.proxy.lock().await;
                proxy.astray.remove(kind.app);
                if broken {
                    proxy.astray.insert(kind.app, free_port());
                }
                self.reload(&proxy);
            }
            Fault::BodyLimit => {
                let mut proxy = self.proxy.lock().await;
                proxy.narrow = broken;
                self.reload(&proxy);
            }
            Fault::HeldFile(path) => {
                let mut held = self.held_files.lock().await;
                held.remove(path);
                if broken {
                    let file = File::create(home.join(path)).unwrap();
                    flock(&file, FlockOperation::LockExclusive).unwrap();
                    held.insert(path, file);
                }
            }
            Fault::Full => {
                let mut spool = self.spool.lock().await;
                let (disk, full) = spool.as_mut().unwrap();
                match (*full, broken) {
                    (false, true) => disk.fill(),
                    (true, false) => disk.free(),
                    _ => {}
                }
                *full = broken;
            }
            Fault::Unit { unit, neighbour } => {
                let state = if broken { "inactive" } else { "active" };
                fs::write(self.folder.join(unit), state).unwrap();
                let manner = if broken { Manner::Down } else { Manner::Redis };
                self.neighbours[neighbour].behave(manner).await;
            }
            Fault::Switch(name) => {
                put(&home.join("switches").join(name), broken.then_some(b""));
            }
        }
        let running = self.instances[kind.app].gunicorn.lock().await.is_some();
        if kind.plain && (running || broken) {
            let what = if broken { "fails" } else { "works" };
            until(&format!("{} {what}", kind.name), async || {
                let (status, _) = self.visit(kind).await;
                (status.is_success() != broken).then_some(())
            })
            .await;
        }
    }

    /// A deploy of something else: the application is away for a moment.
    pub(crate) async fn stop_for_a_deploy(&self, app: &'static str) {
        self.stop(app).await;
    }

    pub(crate) async fn start_after_a_deploy(&self, app: &'static str) {
        self.spawn(app, &[]).await;
        self.answers(app).await;
    }

    async fn deploy(&self, kind: &Kind, file: &str, text: Option<&str>) {
        self.stop(kind.app).await;
        put(&self.instances[kind.app].folder.join(file), text.map(str::as_bytes));
        self.spawn(kind.app, &[]).await;
    }

    fn variables_of(&self, app: &str) -> Vec<(&'static str, &'static str)> {
        let of_app = self.kinds().filter(|kind| kind.app == app);
        of_app
            .filter_map(|kind| match kind.fault {
                Fault::Variable { name, value } => Some((name, value)),
                _ => None,
            })
            .collect()
    }

    /// Starts gunicorn, which may fail.
    async fn spawn(&self, app: &'static str, variables: &[(&str, &str)]) {
        let instance = &self.instances[app];
        let mut neighbours: BTreeMap<&str, u16> =
            self.neighbours.iter().map(|(name, neighbour)| (*name, neighbour.port)).collect();
        neighbours.extend(self.banks.iter().map(|(name, bank)| (*name, bank.port)));
        let gunicorn = self.venv.join("bin/gunicorn");
        // Root may write everywhere, unless it has given that up.
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-dac_override,-dac_read_search", "--"]).arg(gunicorn);
            command
        } else {
            Command::new(gunicorn)
        };
        command
            .args(["--graceful-timeout", "1", "--pid", "gunicorn.pid"])
            .args(["--error-logfile", "gunicorn.err", "--access-logfile", "gunicorn.access"])
            .args(["--access-logformat", r#"%(m)s %(U)s %(s)s "%(a)s""#])
            .arg("--bind")
            .arg(format!("127.0.0.1:{}", instance.app_port));
        if app == "reports" {
            command.args(["--workers", "2", "--timeout", "2"]);
        } else {
            // Only the market has many visitors.
            let workers = if app == "market" { "2" } else { "1" };
            command.args(["--workers", workers, "--worker-class", "gthread", "--threads", "16"]);
        }
        command
            .arg("market:app")
            .current_dir(&instance.folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("MARKET_HOME", &instance.folder)
            .env("MARKET_APP", app)
            .env("MARKET_LOG", instance.folder.join("market.log"))
            .env("MARKET_PORTS", json!(neighbours).to_string())
            .env("MARKET_DATABASES", json!(self.databases).to_string())
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        *instance.gunicorn.lock().await = Some(Running::start(&mut command));
    }

    async fn answers(&self, app: &str) {
        let url = format!("http://127.0.0.1:{}/", self.instances[app].web_port);
        until(&format!("{app} answers"), async || {
            let answer = Answer::try_of(self.client.get(&url)).await;
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        })
        .await;
    }

    async fn stop(&self, app: &str) {
        let mut gunicorn = self.instances[app].gunicorn.lock().await;
        if let Some(mut running) = gunicorn.take() {
            // One that could not start has ended already.
            let _ = kill_process(running.pid(), Signal::TERM);
            running.ended().await;
        }
    }

    fn reload(&self, proxy: &Proxy) {
        let text = nginx_settings(&self.folder, &self.instances, &proxy.astray, proxy.narrow);
        fs::write(self.folder.join("nginx.conf"), text).unwrap();
        kill_process(proxy.running.pid(), Signal::HUP).unwrap();
    }

    /// What arrived at the applications: `METHOD PATH STATUS "USER AGENT"`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let texts = self.instances.values().map(|instance| {
            fs::read_to_string(instance.folder.join("gunicorn.access")).unwrap_or_default()
        });
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl Fault {
    /// It is switched by starting gunicorn anew.
    fn restarts(&self) -> bool {
        matches!(
            self,
            Self::Stopped | Self::Deployed { .. } | Self::Forgotten(_) | Self::Variable { .. }
        )
    }
}

/// Whole at once: nobody reads half a file.
fn put(path: &Path, text: Option<&[u8]>) {
    match text {
        Some(text) => {
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, path).unwrap();
        }
        None if path.exists() => fs::remove_file(path).unwrap(),
        None => {}
    }
}

/// Fills the application's database; the connection strings.
async fn prepare(cluster: &Cluster, other: &Cluster) -> BTreeMap<&'static str, String> {
    let mut connection = PgConnection::connect(&cluster.url).await.unwrap();
    connection.execute(SCHEMA).await.unwrap();
    let row = connection.fetch_one("show hba_file").await.unwrap();
    let file: String = row.get(0);
    let rules = fs::read_to_string(&file).unwrap();
    // In place: the file is the server's own.
    fs::write(&file, format!("local all clerk,teller scram-sha-256\n{rules}")).unwrap();
    connection.execute("select pg_reload_conf()").await.unwrap();
    connection.close().await.unwrap();
    let of = |user: &str| cluster.url.replacen("lux@", &format!("{user}@"), 1);
    BTreeMap::from([
        ("market", cluster.url.clone()),
        ("clerk", of("clerk:right")),
        ("teller", of("teller:right")),
        ("guest", of("guest")),
        ("crowd", of("crowd")),
        ("down", other.url.clone()),
    ])
}

/// A stand-in for systemd, which does not run here: it knows units by their files.
fn write_systemctl(folder: &Path) {
    let script = format!(
        "#!/bin/sh\n\
         value=\n\
         for word; do case $word in *.service) unit=$word ;; --value) value=1 ;; esac; done\n\
         state=$(cat '{}'/\"$unit\" 2>/dev/null || echo inactive)\n\
         case \" $* \" in\n\
         *' is-active '*) echo \"$state\"; [ \"$state\" = active ] ;;\n\
         *) [ -n \"$value\" ] && echo \"$state\" || \
         printf 'Id=%s\\nLoadState=loaded\\nActiveState=%s\\nSubState=running\\nMainPID=0\\n' \
         \"$unit\" \"$state\" ;;\n\
         esac\n",
        folder.display()
    );
    let path = folder.join("systemctl");
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

fn settings(
    folder: &Path,
    instances: &BTreeMap<&'static str, Instance>,
    databases: &BTreeMap<&'static str, String>,
    has_spool: bool,
    ports: &dyn Fn(&str) -> Option<u16>,
) -> String {
    let mut toml = format!(
        "[repair]\npasses = 3\nspacing = \"300ms\"\nprobes_per_second = 200\n\
         systemctl = \"{}\"\n\
         [[sources]]\nname = \"nginx-error\"\npath = \"{}\"\n",
        folder.join("systemctl").display(),
        folder.join("nginx-error.log").display(),
    );
    for (app, instance) in instances {
        let (home, port) = (instance.folder.display(), instance.web_port);
        write!(
            toml,
            "[[apps]]\nname = \"{app}\"\nbase_url = \"http://127.0.0.1:{port}\"\n\
             [[sources]]\nname = \"{app}\"\napp = \"{app}\"\npath = \"{home}/market.log\"\n\
             [[sources]]\nname = \"{app}-gunicorn\"\napp = \"{app}\"\npath = \"{home}/gunicorn.err\"\n"
        )
        .unwrap();
    }
    for kind in KINDS.iter().filter(|kind| !kind.probes.is_empty()) {
        if !has_spool && matches!(kind.fault, Fault::Full) {
            continue;
        }
        let mut probe = kind
            .probes
            .replace("{home}", &instances[kind.app].folder.display().to_string())
            .replace("{root}", &folder.display().to_string())
            .replace("{4096}", &"x".repeat(4096));
        for (name, url) in databases {
            probe = probe.replace(&format!("{{{name}}}"), url);
        }
        if let Fault::Neighbour { name, .. } | Fault::Expired(name) = kind.fault {
            probe = probe.replace(&format!("{{{name}}}"), &ports(name).unwrap().to_string());
        }
        write!(
            toml,
            "[[probes]]\nname = \"{}\"\napp = \"{}\"\ncovers = [\"{} {}\"]\n{probe}\n",
            kind.name,
            kind.app,
            kind.method,
            kind.endpoint(),
        )
        .unwrap();
    }
    toml
}

fn nginx_settings(
    folder: &Path,
    instances: &BTreeMap<&'static str, Instance>,
    astray: &BTreeMap<&'static str, u16>,
    narrow: bool,
) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {}/{name};\n", folder.display()))
        .concat();
    let mut servers = String::new();
    for (app, instance) in instances {
        let (home, web_port) = (instance.folder.display(), instance.web_port);
        let app_port = astray.get(app).copied().unwrap_or(instance.app_port);
        let most = if narrow && *app == "market" { "1k" } else { "1m" };
        write!(
            servers,
            "    server {{\n        listen 127.0.0.1:{web_port};\n\
             \x20       location /static/ {{ root {home}; }}\n\
             \x20       location /upload {{ client_max_body_size {most}; \
             proxy_pass http://127.0.0.1:{app_port}; }}\n\
             \x20       location / {{ proxy_pass http://127.0.0.1:{app_port}; }}\n    }}\n"
        )
        .unwrap();
    }
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid nginx.pid;\n\
         error_log nginx-error.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{\n    access_log nginx-access.log combined;\n{temporary}{servers}}}\n"
    )
}
