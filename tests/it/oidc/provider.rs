//! The provider as a child process, and a browser without a screen.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
};

use reqwest::{Client, Method, Response, header, redirect::Policy};
use serde_json::{Value, json};
use url::Url;

use crate::support::{Running, free_port, listens, repository, skip, variable};

/// The client that needs no secret.
pub(super) const PUBLIC_CLIENT: &str = "00000000-1111-2222-3333-444444444444";

/// The secret of the clients `confidential` and `confidential-post`.
pub(super) const SECRET: &str = "s3cret of/the:test";

pub(super) struct Provider {
    _program: Running,
    base: String,
    pub(super) issuer: String,
    client: Client,
}

impl Provider {
    /// `None` where npm's packages are not installed.
    pub(super) async fn start() -> Option<Self> {
        Self::start_with("").await
    }

    /// The same; `redirects` are other addresses that it sends browsers back to.
    pub(super) async fn start_with(redirects: &str) -> Option<Self> {
        let modules = variable("LUX_TEST_OIDC").map(PathBuf::from);
        let modules = modules.filter(|folder| folder.join("node_modules/oidc-provider").is_dir());
        let Some(modules) = modules else {
            skip("oidc-provider from npm (LUX_TEST_OIDC)");
            return None;
        };
        let port = free_port();
        let program = Running::start(
            Command::new("node")
                .arg(repository("tests/oidc/server.mjs"))
                .env("PORT", port.to_string())
                .env("MODULES", modules)
                .env("REDIRECTS", redirects)
                .stdout(Stdio::null())
                .stderr(Stdio::inherit()),
        );
        listens(port).await;
        let base = format!("http://127.0.0.1:{port}");
        let client = Client::builder().no_proxy().build().unwrap();
        Some(Self { _program: program, issuer: format!("{base}/oidc"), base, client })
    }

    /// See the head of tests/oidc/server.mjs.
    pub(super) async fn control(&self, name: &str, body: &Value) {
        let url = format!("{}/__ctl/{name}", self.base);
        let answer = self.client.post(url).json(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{name} {body}");
    }

    /// The next token, and only that.
    pub(super) async fn forge(&self, mode: &str) {
        self.control("forge", &json!({ "mode": mode, "times": 1 })).await;
    }

    /// How often an endpoint was asked.
    pub(super) async fn asked(&self, endpoint: &str) -> u64 {
        let url = format!("{}/__ctl/stats", self.base);
        let stats: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
        stats[endpoint].as_u64().unwrap()
    }
}

/// Keeps cookies, and follows redirects as far as it is told.
pub(super) struct Browser {
    client: Client,
    /// By origin, then by name.
    pub(super) cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for Browser {
    fn default() -> Self {
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        Self { client, cookies: BTreeMap::new() }
    }
}

impl Browser {
    /// One request.
    pub(super) async fn send(
        &mut self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
    ) -> Response {
        self.ask(method, url, headers, None).await
    }

    /// What a form of a page of the same origin sends.
    pub(super) async fn post(&mut self, url: &Url, form: &[(&str, &str)]) -> Response {
        let body: String =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let headers = [
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.ask(Method::POST, url, &headers, Some(body)).await
    }

    async fn ask(
        &mut self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Response {
        let jar = self.cookies.entry(url.origin().ascii_serialization()).or_default();
        let mut request = self.client.request(method, url.clone());
        let sent: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !sent.is_empty() {
            request = request.header(header::COOKIE, sent.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.unwrap();
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.is_empty() || cookie.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Follows redirects until one leads to the origin `back`; that address is not opened.
    pub(super) async fn walk(&mut self, url: &Url, back: &str) -> Url {
        let mut url = url.clone();
        for _ in 0..12 {
            let answer = self.send(Method::GET, &url, &[]).await;
            let location = answer.headers().get(header::LOCATION).map(|to| to.to_str().unwrap());
            let Some(location) = location else {
                panic!("{url} leads nowhere: {} {}", answer.status(), answer.text().await.unwrap());
            };
            url = url.join(location).unwrap();
            if url.as_str().starts_with(back) {
                return url;
            }
        }
        panic!("it runs in circles: {url}");
    }
}
