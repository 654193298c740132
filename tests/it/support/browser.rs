//! What a browser does with cookies, and what it tells of where a request comes from.

use std::collections::BTreeMap;

use reqwest::{Client, Method, RequestBuilder, redirect::Policy};
use serde_json::Value;

use super::{Answer, PATIENCE, Server, run};

/// A browser that follows no redirect by itself.
#[derive(Clone)]
pub(crate) struct Browser {
    client: Client,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let client = Client::builder().no_proxy().timeout(PATIENCE).redirect(Policy::none());
        Self { client: client.build().unwrap(), cookies: BTreeMap::new() }
    }

    /// One that signed in by a link of the command line: `args` of `lux`.
    pub(crate) async fn signed_in(server: &Server, args: &[&str]) -> Self {
        let mut browser = Self::new();
        let answer = browser.open_link(server, &link(server, args)).await;
        assert_eq!(answer.status, 303, "{answer:?}\n{}", server.log());
        browser
    }

    /// Presses the button of a one-time link.
    pub(crate) async fn open_link(&mut self, server: &Server, link: &str) -> Answer {
        let path = link.rfind("/auth/link/").map(|at| &link[at..]).unwrap();
        let fields = [("name", "Ada"), ("next", "/")];
        let request = form(self.request(server, Method::POST, path), &fields);
        self.send(request).await
    }

    /// A request of a page of Lux itself.
    pub(crate) fn request(&self, server: &Server, method: Method, path: &str) -> RequestBuilder {
        self.bare(server, method, path).header("sec-fetch-site", "same-origin")
    }

    /// A request that tells nothing of where it comes from.
    pub(crate) fn bare(&self, server: &Server, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", server.base))
    }

    /// Sends it with the cookies, and keeps those of the answer.
    pub(crate) async fn send(&mut self, mut request: RequestBuilder) -> Answer {
        if !self.cookies.is_empty() {
            let pairs: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        let answer = Answer::of(request).await;
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) async fn get(&mut self, server: &Server, path: &str) -> Answer {
        let request = self.request(server, Method::GET, path);
        self.send(request).await
    }

    pub(crate) async fn with_body(
        &mut self,
        server: &Server,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Answer {
        let request = self.request(server, method, path).json(body);
        self.send(request).await
    }

    /// The value of the only cookie.
    pub(crate) fn cookie(&self) -> &str {
        assert_eq!(self.cookies.len(), 1, "{:?}", self.cookies);
        self.cookies.values().next().unwrap()
    }
}

/// A link that the command line prints.
pub(crate) fn link(server: &Server, args: &[&str]) -> String {
    let said = run(server.command().args(args));
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.trim().to_owned()
}

/// What a browser sends of a form.
pub(crate) fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}
