//! Starting it all and stopping it in order: stop accepting, let requests in flight
//! end, finish background work, close the database.

use std::{
    fs::{File, TryLockError},
    io::Write,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::{Router, extract::ConnectInfo};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::{
    app::{App, Parts},
    apps::Apps,
    auth::{OrganizationId, Role, account, audit, link, oidc::Providers, session::Sessions, token},
    chat::{Chat, tools::Tools},
    clock,
    config::{Config, LogFormat},
    contacts::{Contacts, import::Imports},
    customers,
    db::Db,
    deploys,
    diagnose::{Advisor, Analyst, Diagnoser},
    errors::{self, Capture, FromLogs, Intake},
    health::Health,
    hooks,
    http::connection::{Addresses, Answering, Counted, Patience, Timed},
    integrations::{Integrations, ticketing::Tickets},
    jobs::{self, Jobs, Scheduled},
    llm::Llm,
    logs::{self, Live, Programs},
    mail::Mail,
    marketing::{agent::Agents, campaign::Drafted, sending::Sending},
    notify::Notify,
    outbound::Outbound,
    probe::Probes,
    repair::{FORGET, Repair, action::Actions},
    seal::{self, Lasting},
    web::{self, Features, SignIn},
};

/// The longest head of a request, in bytes; also what is read ahead of a body.
const MAX_HEAD: usize = 64 << 10;

/// How long background work may take to end after the last request.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the service until SIGTERM or SIGINT.
pub async fn run(mut config: Config) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    cancel_on_signal(shutdown.clone())?;
    make_private_folder(&config.data_dir)?;
    // As long as the process lives.
    let _running = hold(&config.data_dir)?;
    raise_descriptor_limit();
    let listener = bind(config.listen).await?;
    // The system may have chosen the port; without `public_url` this is Lux's address.
    config.listen = listener.local_addr()?;
    let (app, features) = start(config, shutdown).await?;
    announce(&app, listener.local_addr()?).await?;
    serve(app, features, listener).await
}

/// Opens everything but the door: database, background work, features.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<(App, Features)> {
    make_private_folder(&config.data_dir)?;
    let db = open_database(&config).await?;
    let outbound = Outbound::new()?.with_probes_per_second(config.repair.probes_per_second)?;
    let sealer = seal::check(&db, config.key_origin()).await?;
    let llm =
        Llm::new(db.clone(), &config, sealer.clone()).context("the model cannot be set up")?;
    let from_logs = FromLogs::new(db.clone(), logs::host_name(), &config);
    let tasks = TaskTracker::new();
    let apps = Apps::start(&db, &config, &tasks, &shutdown).await?;
    let app = App::new(Parts {
        apps,
        live: Live::start_heard(
            db.clone(),
            logs::host_name(),
            config.sources.clone(),
            config.window_bytes,
            shutdown.clone(),
            Programs::default(),
            Some(Arc::new(from_logs.clone())),
        ),
        metrics: install_metrics()?,
        outbound,
        llm,
        lasting: Lasting::new(db.clone(), sealer.clone()),
        mail: Mail::new(config.mail.clone()),
        sealer,
        sessions: Sessions::default(),
        tokens: token::Tokens::default(),
        jobs: Jobs::new(db.clone(), jobs::this_process()),
        tasks,
        shutdown,
        started_at: clock::now(),
        db,
        config,
    });
    // Made before anybody needs it: on SQLite nobody can make it within a transaction.
    if let Err(error) = app.lasting.keyed().await {
        tracing::warn!(%error, "links in mails and the list of who is not written to are unusable");
    }
    let looking = app.clone();
    app.tasks.spawn(async move {
        let look = looking.llm.look();
        looking.shutdown.run_until_cancelled(look).await;
    });
    errors::clear::register(&app, &[FORGET]);
    errors::grouping::register(&app);
    let rules = errors::grouping::Rules::new(&app.config.grouping);
    let capture = Capture::start(app.db.clone(), rules.clone(), app.config.capture.keep_first);
    from_logs.start(&app, capture.clone());
    errors::own::start(capture.clone(), &app.tasks, app.shutdown.clone());
    let sources = &app.config.error_sources;
    let intake = Intake::start(&app.db, sources, &rules, &app.tasks, &app.shutdown);
    errors::find::start(&app);
    errors::mute::start(&app);
    errors::retain::start(&app);
    errors::storm::start(&app);
    let providers =
        Providers::new(&app.config, app.db.clone(), app.outbound.clone(), app.sealer.clone());
    providers.start(&app.tasks, app.shutdown.clone());
    web::sessions::start_expiring(&app);
    let actions = Actions::start(app.clone());
    let health = Health::start(&app, capture.clone(), from_logs, intake, actions.clone());
    let advisor = Advisor::new(app.config.playbooks_dir.as_deref())?;
    let diagnoser = Diagnoser::new(app.clone(), advisor);
    let probes = Probes::new(app.clone());
    let repair = Repair::start_up(app.clone(), diagnoser.clone(), probes.clone(), actions.clone());
    let agents = Agents::start(app.clone(), health.clone(), repair.clone());
    let integrations = Integrations::start(&app)?;
    let notify = Notify::start(&app, &integrations);
    let tickets = Tickets::start(integrations.clone(), repair.clone());
    let tools = Tools {
        app: app.clone(),
        actions: actions.clone(),
        agents: agents.clone(),
        diagnoser: diagnoser.clone(),
        health: health.clone(),
        probes: probes.clone(),
        repair: repair.clone(),
        tickets: tickets.clone(),
    };
    let analyst = Analyst::new(app.clone(), diagnoser.clone(), probes.clone());
    let chat = Chat::new(
        app.clone(),
        analyst.clone(),
        diagnoser,
        health.clone(),
        repair.clone(),
        tools.clone(),
    );
    let sending = Sending::start(&app, Arc::new(Drafted(app.db.clone())));
    let sign_in = SignIn::new(providers);
    let contacts = Contacts::start(&app);
    let imports = Imports::start(app.clone(), contacts.clone());
    customers::start(&app);
    hooks::start(&app);
    let features = Features {
        actions,
        agents,
        analyst,
        capture,
        chat,
        contacts,
        health,
        imports,
        integrations,
        notify,
        probes,
        repair,
        sending,
        sign_in,
        tickets,
        tools,
    };
    Ok((app, features))
}

/// Histograms of seconds; the exporter's own listener is not used.
fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    let buckets = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0];
    let recorder = PrometheusBuilder::new().set_buckets(&buckets)?.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::debug!("metrics were set up before");
    }
    Ok(handle)
}

/// Connects and migrates; the message names the database, without its password.
pub async fn open_database(config: &Config) -> anyhow::Result<Db> {
    Db::connect(config.database_url.expose_secret(), config.database_connections)
        .await
        .with_context(|| {
            let shown = config.settings.iter().find(|setting| setting.key == "database_url");
            let shown = shown.map_or("the database", |setting| &setting.value);
            format!("cannot open {shown}; check DATABASE_URL, `lux doctor` tells more")
        })
}

/// Makes the data directory; only this user may look into it.
pub fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| {
        format!(
            "cannot make the data directory {}; choose another with --data-dir or LUX_DATA_DIR",
            path.display()
        )
    })?;
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "other users may look into the data directory; chmod 700 it"
        );
    }
    Ok(())
}

/// Says to `lux restore` that a server runs on this data directory.
fn hold(folder: &Path) -> anyhow::Result<File> {
    let lock = lock_of(folder)?;
    match lock.try_lock_shared() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "a backup is being restored into {}; start Lux when that is done",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Makes sure that no server runs on this data directory, as long as the file is held.
pub fn hold_alone(folder: &Path) -> anyhow::Result<File> {
    let lock = lock_of(folder)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("Lux runs on {}; stop it first (systemctl stop lux)", folder.display())
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn lock_of(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("running.lock");
    let opened = File::options().write(true).create(true).truncate(false).open(&path);
    opened.with_context(|| format!("cannot write {}", path.display()))
}

/// Each connection and each call of a model takes a descriptor, and the limit that a shell or
/// systemd gives at first is too low for `max_connections`. Raising it to what is allowed anyway
/// needs no rights.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none() || current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised; see LimitNOFILE=");
    }
}

/// Takes the address, or says why not and what to do.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}; if another program (or another Lux) has that port, \
             choose one with --listen 127.0.0.1:PORT or PORT"
        )
    })
}

/// Says where we listen, and on a fresh instance gives the operator a way in.
async fn announce(app: &App, address: SocketAddr) -> anyhow::Result<()> {
    // Other commands on this host find the server by this file, and links are made with it.
    std::fs::write(app.config.data_dir.join("address"), address.to_string())?;
    if token::lacks_admin(&app.db, OrganizationId::FIRST).await? {
        let secret =
            token::create(&app.db, OrganizationId::FIRST, Role::Admin, "first start", None).await?;
        let mut err = anstream::stderr();
        writeln!(err, "first start: this admin token is shown once, keep it:\n\n    {secret}\n")?;
        if account::lacks_admin(&app.db, OrganizationId::FIRST).await? {
            let made = link::for_setup(&app.db, OrganizationId::FIRST).await?;
            let link = link::url(&app.config, made.token.expose_secret());
            writeln!(
                err,
                "this link makes a browser's user the administrator, once, within 24 hours:\n\n    {link}\n"
            )?;
        }
    }
    let mut out = anstream::stdout();
    writeln!(out, "listening on http://{address}")?;
    out.flush()?;
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "systemd was not told that we are ready");
    }
    Ok(())
}

/// Serves until the app's shutdown token is cancelled, then drains.
pub async fn serve(app: App, features: Features, listener: TcpListener) -> anyhow::Result<()> {
    let router = web::router(app.clone(), &features);
    app.jobs.schedule(Scheduled::of_config(&app.config.schedule));
    app.jobs.start(&app.tasks, app.shutdown.clone());
    deploys::watch::start(&app);
    audit::watch(&app.db, &app.tasks, &app.shutdown);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(app.config.http.max_connections));
    let addresses = Addresses::default();
    let patience = Patience::of(&app.config.http);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = app.shutdown.cancelled() => break,
        };
        let (stream, peer, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: the next try must not spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay was refused");
        }
        let Some(share) = addresses.admit(peer.ip(), &app.config.http) else {
            metrics::counter!("lux_http_connections_refused_total").increment(1);
            tracing::debug!(%peer, "this address holds its share of connections already");
            continue;
        };
        let answering = Answering::default();
        let stream = Timed::new(stream, patience, answering.clone());
        // The stream keeps the times: hyper knows one limit for heads and idle connections.
        let connection = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .max_headers(100)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service(router.clone(), peer, answering));
        let connection = graceful.watch(connection);
        app.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "connection ended early");
            }
            drop((slot, share));
        });
    }
    drop(listener);
    drain(app, features, graceful).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

fn service(
    router: Router,
    peer: SocketAddr,
    answering: Answering,
) -> impl hyper::service::Service<
    http::Request<hyper::body::Incoming>,
    Response = http::Response<Counted<axum::body::Body>>,
    Error = std::convert::Infallible,
    Future: Send,
> {
    hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        web::host::complete(&mut request);
        let answer = answering.begin();
        let answered = router.clone().oneshot(request);
        async move { Ok(answered.await?.map(|body| Counted::new(body, answer))) }
    })
}

async fn drain(app: App, features: Features, graceful: GracefulShutdown) {
    tracing::info!("shutting down: letting requests in flight end");
    if tokio::time::timeout(app.config.http.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut off");
    }
    features.capture.drain().await;
    features.contacts.drain().await;
    if tokio::time::timeout(BACKGROUND_TIMEOUT, app.live.stopped()).await.is_err() {
        tracing::warn!("the last log positions were not stored; some lines will be read again");
    }
    app.tasks.close();
    if tokio::time::timeout(BACKGROUND_TIMEOUT, app.tasks.wait()).await.is_err() {
        tracing::warn!("some background work did not end in time");
    }
    // The last requests were counted after the last tick.
    app.apps.flush(&app.db).await;
    audit::tell(&app.db).await;
    app.db.close().await;
}

/// Cancels `shutdown` on SIGTERM or SIGINT.
pub fn cancel_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    });
    Ok(())
}

/// Lux's own log: on stderr, readable or JSON.
pub fn log_to_stderr(config: &Config) {
    use std::io::IsTerminal;

    use tracing_subscriber::{
        EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt,
    };

    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // It logs whole answers and refusals, whatever stands in them.
    let filter = match "async_openai=off".parse() {
        Ok(silent) => filter.add_directive(silent),
        Err(_) => filter,
    };
    let shown = fmt::layer().with_writer(std::io::stderr);
    let shown = shown.with_ansi(std::io::stderr().is_terminal());
    let shown = match config.log_format {
        LogFormat::Text => shown.boxed(),
        LogFormat::Json => shown.json().flatten_event(true).boxed(),
    };
    // A second call (in tests) finds the first one's subscriber in place.
    let set =
        tracing_subscriber::registry().with(filter).with(shown).with(errors::own::Watch).try_init();
    if let Err(error) = set {
        tracing::debug!(%error, "logging was set up before");
    }
}
