//! A scripted server that speaks the model provider's protocol.

use axum::{Router, http::HeaderMap, http::StatusCode, routing::get};

/// How it treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// Accepts this key only.
    Key(&'static str),
    /// Takes the request and never answers.
    Hang,
    Broken,
}

pub(crate) struct Model {
    pub(crate) url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Model {
    pub(crate) async fn start(script: Script) -> Self {
        let models = move |headers: HeaderMap| async move {
            match script {
                Script::Hang => std::future::pending().await,
                Script::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "oops".to_owned()),
                Script::Key(key) => {
                    let sent = headers.get("authorization").and_then(|value| value.to_str().ok());
                    if sent == Some(&format!("Bearer {key}")) {
                        (StatusCode::OK, r#"{"object":"list","data":[{"id":"m"}]}"#.to_owned())
                    } else {
                        (
                            StatusCode::UNAUTHORIZED,
                            r#"{"error":{"code":"invalid_api_key"}}"#.to_owned(),
                        )
                    }
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/models", get(models));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, task }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.task.abort();
    }
}
