//! Starting it all and stopping it in order: stop accepting, let requests in flight
//! end, finish background work, close the database.

mod door;
mod folder;
mod own_log;
mod waiting;

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::Context;
use hyper_util::server::graceful::GracefulShutdown;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    app::{App, Parts},
    apps::Apps,
    auth::{OrganizationId, Role, account, audit, link, oidc::Providers, session::Sessions, token},
    chat::{Chat, tools::Tools},
    clock,
    config::Config,
    contacts::{Contacts, import::Imports},
    customers,
    db::Db,
    deploys,
    diagnose::{Advisor, Analyst, Diagnoser},
    errors::{self, Capture, FromLogs, Intake},
    health::Health,
    hooks,
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

pub use door::{Door, bind};
pub use folder::{hold_alone, make_private_folder};
pub use own_log::log_to_stderr;

/// How long background work may take to end after the last request.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the service until SIGTERM or SIGINT.
pub async fn run(mut config: Config) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    cancel_on_signal(shutdown.clone())?;
    make_private_folder(&config.data_dir)?;
    // As long as the process lives.
    let _running = folder::hold(&config.data_dir)?;
    door::raise_descriptor_limit();
    let listener = bind(config.listen).await?;
    // The system may have chosen the port; without `public_url` this is Lux's address.
    config.listen = listener.local_addr()?;
    // Other commands on this host find the server by this file, and links are made with it.
    std::fs::write(config.data_dir.join("address"), config.listen.to_string())?;
    let door = Door::new(listener, &config.http);
    let (db, waited) = match open_database(&config).await {
        Err(error) if waiting::is_worth_it(&error) => {
            // systemd, too, is not to wait for what may take an hour.
            announce(&config)?;
            let opened = waiting::until_there(&config, &door, error, &shutdown).await?;
            let Some(db) = opened else { return Ok(()) };
            (db, true)
        }
        opened => (opened?, false),
    };
    let (app, features) = start(config, db, shutdown).await?;
    greet(&app).await?;
    if !waited {
        announce(&app.config)?;
    }
    serve(app, features, door).await
}

/// Starts everything but the door: background work, features.
pub async fn start(
    config: Config,
    db: Db,
    shutdown: CancellationToken,
) -> anyhow::Result<(App, Features)> {
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

/// Connects and migrates, in a data directory that is there; the message names the database,
/// without its password.
pub async fn open_database(config: &Config) -> anyhow::Result<Db> {
    make_private_folder(&config.data_dir)?;
    Db::connect(config.database_url.expose_secret(), config.database_connections)
        .await
        .with_context(|| {
            let shown = config.settings.iter().find(|setting| setting.key == "database_url");
            let shown = shown.map_or("the database", |setting| &setting.value);
            format!("cannot open {shown}; check DATABASE_URL, `lux doctor` tells more")
        })
}

/// Says where we listen.
fn announce(config: &Config) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    writeln!(out, "listening on http://{}", config.listen)?;
    out.flush()?;
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "systemd was not told that we are ready");
    }
    Ok(())
}

/// On a fresh instance gives the operator a way in.
async fn greet(app: &App) -> anyhow::Result<()> {
    if !token::lacks_admin(&app.db, OrganizationId::FIRST).await? {
        return Ok(());
    }
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
    Ok(())
}

/// Serves until the app's shutdown token is cancelled, then drains.
pub async fn serve(app: App, features: Features, door: Door) -> anyhow::Result<()> {
    let router = web::router(app.clone(), &features);
    app.jobs.schedule(Scheduled::of_config(&app.config.schedule));
    app.jobs.start(&app.tasks, app.shutdown.clone());
    deploys::watch::start(&app);
    audit::watch(&app.db, &app.tasks, &app.shutdown);
    let ((), open) = door.answer(&router, &app.tasks, app.shutdown.cancelled()).await;
    drop(door);
    drain(app, features, open).await;
    Ok(())
}

async fn drain(app: App, features: Features, open: GracefulShutdown) {
    tracing::info!("shutting down: letting requests in flight end");
    if tokio::time::timeout(app.config.http.drain_timeout, open.shutdown()).await.is_err() {
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
