//! nginx, gunicorn and a Flask application, really installed, broken by hand, and the
//! question that an operator asks.

use std::fs;

use crate::support::Host;

/// Customers come, and all is well: nothing may be found.
async fn healthy(host: &Host) {
    for path in ["/", "/price/apple", "/", "/price/plum"] {
        assert_eq!(host.visit(path).await, 200);
    }
    assert_eq!(host.upload(1000).await, 200);
    host.all_is_read().await;
    let reply = host.ask().await;
    assert_eq!(reply["diagnosis"]["findings"], serde_json::json!([]), "{reply:#}");
    assert_eq!(reply["diagnosis"]["healthy"], true, "{reply:#}");
}

#[tokio::test]
async fn the_application_is_stopped_and_started_again() {
    let Some(mut host) = Host::start().await else { return };
    healthy(&host).await;
    host.stop_shop().await;
    for _ in 0..5 {
        assert_eq!(host.visit("/").await, 502);
    }
    host.names("app_not_running").await;
    host.start_shop().await;
    assert_eq!(host.visit("/").await, 200);
}

#[tokio::test]
async fn a_deploy_forgets_a_module() {
    let Some(mut host) = Host::start().await else { return };
    healthy(&host).await;
    host.stop_shop().await;
    let shop = fs::read_to_string(host.file("shop.py")).unwrap();
    fs::write(
        host.file("shop.py"),
        shop.replace("import psycopg", "import psycopg\nimport tariffs"),
    )
    .unwrap();
    host.start_broken_shop().await;
    for _ in 0..5 {
        assert_eq!(host.visit("/").await, 502);
    }
    host.names("missing_python_module").await;
}

#[tokio::test]
async fn a_request_outlives_the_workers_timeout() {
    let Some(host) = Host::start().await else { return };
    healthy(&host).await;
    for _ in 0..2 {
        // gunicorn answers 500 as its last word, or nothing, which nginx makes a 502.
        assert!(host.visit("/report").await.is_server_error());
    }
    host.names("gunicorn_worker_timeout").await;
}

#[tokio::test]
async fn uploads_are_larger_than_nginx_lets_in() {
    let Some(host) = Host::start().await else { return };
    healthy(&host).await;
    for _ in 0..5 {
        assert_eq!(host.upload(2 << 20).await, 413);
    }
    host.names("client_max_body_size").await;
}

#[tokio::test]
async fn a_route_has_a_bug() {
    let Some(host) = Host::start().await else { return };
    healthy(&host).await;
    for _ in 0..5 {
        assert_eq!(host.visit("/price/pear").await, 500);
    }
    host.names("code_bug_key_error").await;
}

#[tokio::test]
async fn the_applications_database_is_down() {
    let Some(mut host) = Host::start().await else { return };
    healthy(&host).await;
    host.stop_shop().await;
    // Nothing listens on port 1.
    host.shop_database = "postgres://shop@127.0.0.1:1/shop".to_owned();
    host.start_shop().await;
    for _ in 0..5 {
        assert_eq!(host.visit("/orders").await, 500);
    }
    host.names("postgres_down").await;
}

#[tokio::test]
async fn a_deploy_has_a_syntax_error() {
    let Some(mut host) = Host::start().await else { return };
    healthy(&host).await;
    host.stop_shop().await;
    let shop = fs::read_to_string(host.file("shop.py")).unwrap();
    fs::write(host.file("shop.py"), shop.replace("def front():", "def front()")).unwrap();
    host.start_broken_shop().await;
    for _ in 0..5 {
        assert_eq!(host.visit("/").await, 502);
    }
    host.names("python_syntax_error").await;
}

#[tokio::test]
async fn two_things_are_wrong_at_once() {
    let Some(host) = Host::start().await else { return };
    healthy(&host).await;
    for _ in 0..5 {
        assert_eq!(host.visit("/price/pear").await, 500);
        assert_eq!(host.upload(2 << 20).await, 413);
    }
    host.all_is_read().await;
    crate::support::until("both causes are named", async || {
        let reply = host.ask().await;
        let findings = reply["diagnosis"]["findings"].as_array().unwrap();
        let causes: Vec<_> =
            findings.iter().take(2).map(|f| f["cause"].as_str().unwrap()).collect();
        (causes.contains(&"code_bug_key_error") && causes.contains(&"client_max_body_size"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn nginx_is_told_the_wrong_port() {
    let Some(host) = Host::start().await else { return };
    healthy(&host).await;
    host.point_nginx_elsewhere();
    // The old worker takes visitors for a moment longer.
    let mut refused = 0;
    crate::support::until("nginx has its new settings", async || {
        refused += u32::from(host.visit("/").await == 502);
        (refused > 5).then_some(())
    })
    .await;
    host.names("nginx_wrong_upstream_port").await;
}
