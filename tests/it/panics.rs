//! A handler that panics. None of Lux's own can be made to, so one is put behind the same guard.

use std::collections::BTreeMap;

use axum::{Router, routing::get};
use lux::{
    app::App,
    config::{Config, Overrides},
    http::limit::Limits,
    serve, web,
};
use reqwest::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_panic_ends_one_request() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.log").display().to_string();
    let file = folder.path().join("lux.toml");
    std::fs::write(&file, format!("[[sources]]\nname = \"app\"\npath = \"{log}\"\n")).unwrap();
    let data = folder.path().join("data").display().to_string();
    let environment = BTreeMap::from([("LUX_DATA_DIR".to_owned(), data)]);
    let overrides = Overrides { environment, file: Some(file), ..Overrides::default() };
    let config = Config::load(overrides).unwrap();
    let db = serve::open_database(&config).await.unwrap();
    let shutdown = CancellationToken::new();
    let (app, features) = serve::start(config, db.clone(), shutdown.clone()).await.unwrap();

    let limits = Limits::new(&app.config.http);
    let routes = Router::<App>::new()
        .route("/panics", get(async || -> &'static str { panic!("with hunter22 in its words") }))
        .route("/answers", get(async || "well"));
    let router = web::guard(routes, &app, limits).with_state(app);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = shutdown.clone().cancelled_owned();
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop);
    let serving = tokio::spawn(async move { serving.await.unwrap() });

    // One connection for all.
    let client = Client::builder().no_proxy().pool_max_idle_per_host(1).build().unwrap();
    for n in 0..3 {
        let request = client.get(format!("{base}/panics")).header("x-request-id", format!("n{n}"));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["request_id"], format!("n{n}"), "{problem}");
        assert!(!problem.to_string().contains("hunter22"), "{problem}");
        let answer = client.get(format!("{base}/answers")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "well");
    }
    // It is an error of Lux's own, as it is of any application's.
    crate::support::until("it is captured", async || {
        let sql = "select error_message from error_log where app = 'lux'";
        let messages: Vec<(String,)> = db.query(sql).all().await.unwrap();
        messages.iter().any(|(text,)| text.contains("in its words")).then_some(())
    })
    .await;
    let counted = features.capture.doing();
    assert!(counted.stored > 0, "{counted:?}");
    shutdown.cancel();
    drop(client);
    serving.await.unwrap();
}
