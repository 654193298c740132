//! Probes go only where an operator sent them, whatever an error, a redirect or a name
//! server says, and come back whatever the other side does.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use lux::{
    auth::OrganizationId,
    config::{Config, Overrides},
    outbound::{Resolver, Target, Visit, Visitor, visit},
    probe::{Context, Failing, Outcome, Phase, Probes, Sample},
    serve,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

use crate::both::on_both;

/// What a listener sends after the head of a request; `{path}` is not looked at.
type Script = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// A listener that writes down every request's head and answers as a script says.
pub(crate) struct Canary {
    pub(crate) port: u16,
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Canary {
    pub(crate) async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (journal, answer): (_, Script) = (Arc::clone(&heads), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (journal, answer) = (Arc::clone(&journal), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    let mut byte = [0; 1];
                    while !head.ends_with(b"\r\n\r\n") {
                        match stream.read(&mut byte).await {
                            Ok(1) => head.push(byte[0]),
                            _ => break,
                        }
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    journal.lock().unwrap().push(head);
                    let _ = stream.write_all(&answer(&path)).await;
                });
            }
        });
        Self { port, heads, task }
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads.iter().map(|head| head.split(' ').nth(1).unwrap_or_default().to_owned()).collect()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "text/plain", body)
}

pub(crate) fn answer(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn redirect(to: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// The parts of the program that run probes, in this process.
pub(crate) struct Inside {
    pub(crate) probes: Probes,
    pub(crate) shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Inside {
    pub(crate) async fn start(database: Option<&str>, toml: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("lux-probe").tempdir().unwrap();
        let file = folder.path().join("lux.toml");
        let source = format!(
            "[[sources]]\nname = \"app\"\npath = \"{}\"\n",
            folder.path().join("app.log").display()
        );
        std::fs::write(&file, format!("{toml}\n{source}")).unwrap();
        let mut environment = BTreeMap::from([(
            "LUX_DATA_DIR".to_owned(),
            folder.path().join("data").display().to_string(),
        )]);
        environment.extend(database.map(|url| ("DATABASE_URL".to_owned(), url.to_owned())));
        let overrides = Overrides { environment, flags: BTreeMap::new(), file: Some(file) };
        let config = Config::load(overrides).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let shutdown = CancellationToken::new();
        let db = serve::open_database(&config).await.unwrap();
        let (_, features) = serve::start(config, db, shutdown.clone()).await.unwrap();
        Self { probes: features.probes, shutdown, _folder: folder }
    }

    pub(crate) async fn of(app: &Canary) -> Self {
        let toml = format!("[[apps]]\nname = \"shop\"\nbase_url = \"{}\"\n", app.url());
        Self::start(None, &toml).await
    }

    /// Learns the probe of a request and runs it.
    pub(crate) async fn learn(&self, endpoint: &str, failing: &Failing) -> Sample {
        let probe = self.probes.learnt("shop", Some("GET"), endpoint).unwrap();
        let context = Context {
            organization: OrganizationId::FIRST,
            attempt: None,
            phase: Phase::After,
            failing: Some(failing),
        };
        self.probes.run(&probe, &context).await.unwrap()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// An application whose answer can be changed while it runs.
pub(crate) async fn changing() -> (Canary, Arc<Mutex<Vec<u8>>>) {
    let now = Arc::new(Mutex::new(ok("")));
    let shown = Arc::clone(&now);
    let app = Canary::start(move |_| shown.lock().unwrap().clone()).await;
    (app, now)
}

#[tokio::test]
async fn no_endpoint_reaches_another_place() {
    let evil = Canary::start(|_| ok("stolen")).await;
    let app = Canary::start(|_| ok("fine")).await;
    let inside = Inside::of(&app).await;
    let there = format!("127.0.0.1:{}", evil.port);
    let mut asked = 0;
    for shape in [
        "//{}/x",
        "///{}/x",
        "/\\{}/x",
        "\\\\{}\\x",
        "/\t/{}/x",
        "\n//{}",
        " //{} ",
        "@{}/",
        ".{}/x",
        "http://{}/",
        "HTTP://{}/",
        "http:{}",
        "http:/{}/",
        "file://{}/etc/passwd",
        "gopher://{}/1",
        "javascript://{}/",
        "data:text/html,{}",
        "http://127.0.0.1@{}/",
        "http://{}\\@127.0.0.1/",
        "/%2f{}/",
        "/%5c{}/",
        "/%09/{}/",
        "/x\r\nHost: {}",
        "/x%0d%0aHost: {}",
        "/../{}/",
        "/%2e%2e/{}",
        "/a/%252e%252e%252f{}",
        "/;@{}/",
        "/@{}/",
        "/:{}/",
        "/?u=http://{}/",
        "/x?@{}/",
        "/\u{ff0f}{}/",
        "/x/http://{}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        ":{port}/x",
    ] {
        let endpoint = shape.replace("{port}", &evil.port.to_string()).replace("{}", &there);
        if let Ok(probe) = inside.probes.learnt("shop", Some("GET"), &endpoint) {
            let context = Context {
                organization: OrganizationId::FIRST,
                attempt: None,
                phase: Phase::Confirm,
                failing: None,
            };
            let sample = inside.probes.run(&probe, &context).await.unwrap();
            assert_eq!(sample.outcome, Outcome::Pass, "{endpoint}: {sample:?}");
            asked += 1;
        }
    }
    assert_eq!(evil.paths(), Vec::<String>::new());
    let paths = app.paths();
    assert_eq!(paths.len(), asked, "{paths:#?}");
    assert!(asked >= 5, "only {asked} plain paths were asked");
    for path in paths {
        assert!(path.starts_with('/') && !path.starts_with("//"), "{path}");
        assert!(!path.contains('?'), "a query was kept: {path}");
    }
}

#[tokio::test]
async fn what_could_change_something_is_not_asked() {
    let app =
        Canary::start(|path| if path == "/bye" { redirect("/logout") } else { ok("x") }).await;
    let inside = Inside::of(&app).await;
    for (method, endpoint) in [
        (Some("POST"), "/checkout"),
        (Some("DELETE"), "/orders/1"),
        (Some("PATCH"), "/orders/1"),
        (Some("GET"), "/logout"),
        (Some("GET"), "/account/LOGOUT?next=/"),
        (Some("GET"), "/%6cogout"),
        (Some("GET"), "/x%2flogout"),
        (Some("GET"), "/orders/1/delete"),
        (Some("GET"), "/newsletter/unsubscribe/5"),
        (Some("GET"), "/admin/export.csv"),
        (Some("GET"), "/tasks/cron/daily"),
        (Some("GET"), "/user/<int:id>"),
        (Some("GET"), "/user/{id}"),
        (Some("GET"), "/user/:id"),
        (Some("GET"), "checkout"),
    ] {
        let refused = inside.probes.learnt("shop", method, endpoint).unwrap_err();
        assert!(refused.0.len() > 20, "{endpoint}: {refused}");
    }
    let refused = inside.probes.learnt("shop", Some("POST"), "/checkout").unwrap_err();
    assert!(refused.0.contains("POST /checkout changes data"), "{refused}");
    let refused = inside.probes.learnt("other", Some("GET"), "/").unwrap_err();
    assert!(refused.0.contains("[[apps]]"), "{refused}");
    assert_eq!(app.paths(), Vec::<String>::new());
    // Neither by way of a redirect.
    let sample = inside.learn("/bye", &Failing::default()).await;
    assert_eq!(sample.outcome, Outcome::Unclear, "{sample:?}");
    assert_eq!(app.paths(), ["/bye"]);
    // A request that is not surely the same proves only what it was red for.
    let covers = |method, endpoint| inside.probes.learnt("", method, endpoint).unwrap().covers;
    assert_eq!(covers(Some("get"), "/cart"), ["GET /cart"]);
    assert_eq!(covers(None, "/cart"), Vec::<String>::new());
    assert_eq!(covers(Some("GET"), "/cart?id=1"), Vec::<String>::new());
}

#[tokio::test]
async fn redirects_stay_at_home() {
    let evil = Canary::start(|_| ok("stolen")).await;
    let there = evil.port;
    let app = Canary::start(move |path| match path {
        "/away" => redirect(&format!("http://127.0.0.1:{there}/x")),
        "/slashes" => redirect(&format!("//127.0.0.1:{there}/x")),
        "/user" => redirect(&format!("http://x@127.0.0.1:{there}/x")),
        "/metadata" => redirect("http://169.254.169.254/latest/meta-data/"),
        "/mapped" => redirect("http://[::ffff:a9fe:a9fe]/"),
        "/file" => redirect("file:///etc/passwd"),
        "/1" => redirect("/2"),
        "/2" => redirect("3?x=1"),
        "/3?x=1" => redirect("/end#part"),
        "/loop" => redirect("/loop"),
        "/private" => redirect("/accounts/login/?next=/private"),
        "/broken" => redirect("/error/500"),
        _ => ok("the end"),
    })
    .await;
    let inside = Inside::of(&app).await;
    let none = Failing::default();
    for (path, told) in [
        ("/away", "another origin"),
        ("/slashes", "another origin"),
        ("/user", "another origin"),
        ("/metadata", "169.254.169.254"),
        ("/mapped", "another origin"),
        ("/file", "another origin"),
        ("/loop", "more than 3 times"),
        ("/private", "login"),
    ] {
        let sample = inside.learn(path, &none).await;
        assert_eq!(sample.outcome, Outcome::Unclear, "{path}: {sample:?}");
        assert!(sample.why.contains(told), "{path}: {sample:?}");
    }
    assert_eq!(inside.learn("/broken", &none).await.outcome, Outcome::Fail);
    let sample = inside.learn("/1", &none).await;
    assert_eq!((sample.outcome, sample.excerpt.as_deref()), (Outcome::Pass, Some("the end")));
    assert_eq!(evil.paths(), Vec::<String>::new());
    assert_eq!(app.paths().iter().filter(|path| *path == "/loop").count(), 4);
}

/// A name server's answers, one after the other.
fn names(answers: &'static [&'static str]) -> Resolver {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    Resolver::with(Arc::new(move |_| {
        let turn = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let address = answers[turn.min(answers.len() - 1)].parse().unwrap();
        Box::pin(async move { Ok(vec![address]) })
    }))
}

#[tokio::test]
async fn a_name_that_is_bound_anew_is_not_followed() {
    let app = Canary::start(|_| ok("fine")).await;
    for later in ["169.254.169.254", "10.0.0.1", "::ffff:169.254.169.254", "0.0.0.0"] {
        let answers: &'static [&'static str] = Box::leak(Box::new(["127.0.0.1", later]));
        let visitor = Visitor::new(names(answers), 100).unwrap();
        let base = format!("http://shop.test:{}/", app.port).parse().unwrap();
        let target = Target::new(&base).unwrap();
        let visit = || {
            visitor.visit(Visit {
                target: &target,
                url: target.untrusted("/x").unwrap(),
                method: reqwest::Method::GET,
                headers: reqwest::header::HeaderMap::new(),
                body: None,
                mark: "test",
                timeout: Duration::from_secs(20),
                follow: true,
                may_lead_to: &|_| Ok(()),
            })
        };
        assert_eq!(visit().await.unwrap().status, 200);
        let failed = visit().await.unwrap_err();
        assert_eq!(failed.kind, visit::Failure::Forbidden, "{later}: {failed:?}");
    }
    assert_eq!(app.paths().len(), 4);
}

#[tokio::test]
async fn a_probe_is_marked_and_brings_nothing_along() {
    let app = Canary::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        head.as_bytes().to_vec()
    })
    .await;
    let inside = Inside::of(&app).await;
    let samples = [
        inside.learn("/x", &Failing::default()).await,
        inside.learn("/x", &Failing::default()).await,
    ];
    let heads = app.heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 2);
    for (head, sample) in heads.iter().zip(&samples) {
        let head = head.to_lowercase();
        assert!(head.contains("user-agent: lux-probe/0.1.0\r\n"), "{head}");
        assert!(head.contains(&format!("x-lux-probe: {}\r\n", sample.mark)), "{head}");
        assert!(!head.contains("cookie:") && !head.contains("authorization:"), "{head}");
    }
}

/// Sides that never end, each in its way.
async fn tiresome() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 8192];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                tire(&mut stream, &path).await;
            });
        }
    });
    port
}

async fn tire(stream: &mut tokio::net::TcpStream, path: &str) {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    match path {
        "/hang" => std::future::pending().await,
        "/drip" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        "/endless" => {
            let _ = stream.write_all(chunked).await;
            let block = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n"].concat();
            while stream.write_all(&block).await.is_ok() {}
        }
        "/headers" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while stream.write_all(b"X-More: and more and more and more\r\n").await.is_ok() {}
        }
        "/bomb" => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                BOMB.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&BOMB).await;
        }
        _ => {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9\r\n").await;
        }
    }
}

/// 64 MiB that arrive as some KiB.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b'0'; 1 << 20];
    for _ in 0..64 {
        std::io::Write::write_all(&mut packer, &zeros).unwrap();
    }
    packer.finish().unwrap()
});

#[tokio::test]
async fn whatever_the_other_side_does_it_ends() {
    LazyLock::force(&BOMB);
    let port = tiresome().await;
    let mut toml = format!("[[apps]]\nname = \"shop\"\nbase_url = \"http://127.0.0.1:{port}\"\n");
    let by_time = ["hang", "drip", "headers", "ssh"].map(|path| (path, "2s"));
    let by_size = ["endless", "bomb"].map(|path| (path, "20s"));
    for (path, timeout) in by_time.into_iter().chain(by_size) {
        write!(
            toml,
            "[[probes]]\nname = '{path}'\nkind = 'http'\npath = '/{path}'\ntimeout = '{timeout}'\n"
        )
        .unwrap();
    }
    let inside = Inside::start(None, &toml).await;
    let run = async |name: &str| {
        let probe = inside.probes.find(OrganizationId::FIRST, name).await.unwrap().unwrap();
        let context = Context {
            organization: OrganizationId::FIRST,
            attempt: None,
            phase: Phase::Before,
            failing: None,
        };
        inside.probes.run(&probe, &context).await.unwrap()
    };
    for name in ["hang", "drip", "headers", "ssh"] {
        let sample = run(name).await;
        assert_eq!(sample.outcome, Outcome::Fail, "{name}: {sample:?}");
    }
    // What is endless is read to the limit and judged by that.
    for name in ["endless", "bomb"] {
        let sample = run(name).await;
        assert_eq!(sample.outcome, Outcome::Pass, "{name}: {sample:?}");
        assert!(sample.excerpt.unwrap().len() <= lux::probe::MAX_EXCERPT);
    }
}

on_both! {
    async fn results_are_found_again(url: &str) {
        let (app, now) = changing().await;
        let toml = format!("[[apps]]\nname = \"shop\"\nbase_url = \"{}\"\n", app.url());
        let inside = Inside::start(Some(url), &toml).await;
        *now.lock().unwrap() = answer("500 Oops", "text/plain", "boom");
        let first = inside.learn("/cart", &Failing::default()).await;
        *now.lock().unwrap() = ok("2 things");
        let second = inside.learn("/cart", &Failing::default()).await;
        assert_eq!(first.key, second.key);
        assert_eq!((first.outcome, second.outcome), (Outcome::Fail, Outcome::Pass));
        let (probes, us) = (&inside.probes, OrganizationId::FIRST);
        let day = TimeDelta::days(1);
        let history = probes.history(us, &first.key, first.at - day, 10).await.unwrap();
        assert_eq!(history, [second.clone(), first.clone()]);
        assert_eq!(probes.history(us, &first.key, first.at - day, 1).await.unwrap().len(), 1);
        assert!(probes.history(OrganizationId(7), &first.key, first.at - day, 9).await.unwrap().is_empty());

        let probe = probes.learnt("shop", Some("GET"), "/cart").unwrap();
        let context = Context { organization: us, attempt: Some(12), phase: Phase::Before, failing: None };
        let third = probes.run(&probe, &context).await.unwrap();
        assert_eq!(probes.of_attempt(us, 12, 10).await.unwrap(), [third]);

        let failed = async |method, path, from, to| {
            probes.failed_between(us, "shop", method, path, from, to).await.unwrap()
        };
        let (from, to) = (first.started_at - day, first.at + day);
        let span = vec![(first.started_at, first.at)];
        assert_eq!(failed(Some("GET"), "/cart", from, to).await, span);
        assert_eq!(failed(None, "/cart", first.at, first.at).await, span);
        assert!(failed(Some("POST"), "/cart", from, to).await.is_empty());
        assert!(failed(None, "/other", from, to).await.is_empty());
        assert!(failed(None, "/cart", first.at + TimeDelta::microseconds(1), to).await.is_empty());
    }
}
