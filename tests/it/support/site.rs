//! A small application that really answers, and really fails.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::StatusCode, http::Uri};

/// An application whose pages all fail until the file `fixed` is there.
#[derive(Clone)]
pub(crate) struct Site {
    folder: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// Starts it; its address.
    pub(crate) async fn start(folder: PathBuf) -> (Self, String) {
        let site = Self { folder, asked: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(page).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (site, url)
    }

    pub(crate) fn is_fixed(&self) -> bool {
        self.folder.join("fixed").exists()
    }

    pub(crate) fn fix(&self) {
        fs::write(self.folder.join("fixed"), "").unwrap();
    }

    pub(crate) fn spoil(&self) {
        // It may be spoilt already.
        let _ = fs::remove_file(self.folder.join("fixed"));
    }

    /// How often the action began.
    pub(crate) fn actions(&self) -> usize {
        fs::read_to_string(self.folder.join("ran")).unwrap_or_default().lines().count()
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

async fn page(State(site): State<Site>, uri: Uri) -> (StatusCode, &'static str) {
    site.asked.lock().unwrap().push(uri.path().to_owned());
    if site.is_fixed() {
        (StatusCode::OK, "<h1>Welcome</h1>")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "<h1>Internal Server Error</h1>")
    }
}
