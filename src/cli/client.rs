//! Commands that speak to the running server over its API.

use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use http::Method;
use serde_json::Value;

use crate::{
    auth::{OrganizationId, Role, token},
    clock,
    config::{Config, Overrides},
    outbound::Outbound,
    serve,
};

/// The server to ask, and the right to.
#[derive(clap::Args, Clone, Debug)]
pub struct Server {
    /// The server's address [default: the one that runs on this data directory]
    #[arg(long, env = "LUX_URL", value_name = "URL")]
    pub url: Option<String>,
    /// An API token [default: a short-lived one made from the data directory]
    #[arg(long, env = "LUX_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// An open line to the server.
pub struct Client {
    outbound: Outbound,
    base: String,
    token: String,
}

/// How long an event stream may last: it ends when either side has enough.
const STREAM: Duration = Duration::from_hours(24 * 365);

/// How long a connection for a download may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;

impl Server {
    /// Finds the server and a token. Whoever may read the data directory may make a
    /// token anyway, so a local user need not handle one.
    pub async fn connect(self, overrides: Overrides) -> anyhow::Result<Client> {
        let config = Config::load(overrides)?;
        let base = match self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => match std::fs::read_to_string(config.data_dir.join("address")) {
                Ok(address) => format!("http://{}", address.trim()),
                Err(_) => config.base_url(),
            },
        };
        let token = if let Some(token) = self.token {
            token
        } else {
            let exists = config.data_dir.exists();
            anyhow::ensure!(
                exists,
                "there is no data directory {}; start `lux` first, or name a server with \
                     --url and --token",
                config.data_dir.display()
            );
            let db = serve::open_database(&config).await?;
            token::forget_expired(&db, clock::now() - TimeDelta::days(1)).await?;
            let hour = Some(TimeDelta::hours(1));
            let role = Role::Operator;
            let made = token::create(&db, OrganizationId::FIRST, role, "command line", hour);
            let made = made.await?;
            db.close().await;
            made
        };
        Ok(Client::new(Outbound::new()?, base, token))
    }
}

impl Client {
    /// A line to the server at `base`, with a token.
    pub fn new(outbound: Outbound, base: String, token: String) -> Self {
        Self { outbound, base, token }
    }

    /// The same server, with another's right.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self::new(self.outbound.clone(), self.base.clone(), token.to_owned())
    }

    /// One exchange in JSON. A problem document becomes an error with its sentence.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self
            .outbound
            .send(request, Duration::from_mins(1), MAX_ANSWER)
            .await
            .with_context(|| format!("cannot ask {}; is `lux` running?", self.base))?;
        let value: Value = answer.json()?;
        if !answer.status.is_success() {
            let detail = value["detail"].as_str().unwrap_or("no reason given");
            anyhow::bail!("{detail} ({})", answer.status.as_u16());
        }
        Ok(value)
    }

    /// Sends a body of any length; the answer is JSON.
    pub async fn send_body(
        &self,
        path: &str,
        kind: &str,
        body: reqwest::Body,
    ) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path);
        let request = request.header(http::header::CONTENT_TYPE, kind).body(body);
        let answer = self
            .outbound
            .send(request, STREAM, MAX_ANSWER)
            .await
            .with_context(|| format!("cannot ask {}; is `lux` running?", self.base))?;
        let value: Value = answer.json()?;
        if !answer.status.is_success() {
            let detail = value["detail"].as_str().unwrap_or("no reason given");
            anyhow::bail!("{detail} ({})", answer.status.as_u16());
        }
        Ok(value)
    }

    /// A text, such as a report in Markdown.
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self
            .outbound
            .send(self.request(Method::GET, path), Duration::from_mins(1), MAX_ANSWER)
            .await
            .with_context(|| format!("cannot ask {}; is `lux` running?", self.base))?;
        anyhow::ensure!(answer.status.is_success(), "the server refused: {}", answer.status);
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Opens an event stream that lasts until either side ends it.
    pub async fn stream(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<reqwest::Response> {
        let mut request =
            self.request(method, path).header(http::header::ACCEPT, "text/event-stream");
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.outbound.open(request, STREAM).await;
        self.opened(response).await
    }

    /// Opens an answer of any length. Nothing may come for minutes: the server says nothing
    /// while it walks over what does not fit.
    pub async fn download(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        let client = Outbound::patient(CONNECT)?;
        let request = client.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let response = self.outbound.open(request, STREAM).await;
        self.opened(response).await
    }

    async fn opened(
        &self,
        response: crate::error::Result<reqwest::Response>,
    ) -> anyhow::Result<reqwest::Response> {
        let response =
            response.with_context(|| format!("cannot ask {}; is `lux` running?", self.base))?;
        let status = response.status();
        if !status.is_success() {
            let problem: Option<Value> = response.json().await.ok();
            let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
            anyhow::bail!("{} ({})", detail.unwrap_or("the server refused"), status.as_u16());
        }
        Ok(response)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.outbound.request(method, &format!("{}{path}", self.base)).bearer_auth(&self.token)
    }
}
