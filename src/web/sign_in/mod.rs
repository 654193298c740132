//! The browser's way through a sign-in: to the provider, back, and out again. What a person sees
//! are redirects and small pages; the decisions are made in `auth`.

mod attempts;
mod page;

use std::time::Duration;

use axum::{
    Form, Router,
    extract::{FromRequestParts, Path, RawQuery},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use url::form_urlencoded;

use attempts::Attempts;
use page::{Link, Page};

use crate::{
    app::App,
    auth::{
        OrganizationId, Who,
        account::{self, Arrived, Carried, Identity},
        audit,
        oidc::{self, Finished, Providers, Refused, Start, Stopped},
        session,
    },
    config::REPLIT,
    customers::signup,
    error::Error,
    http::{Known, Problem, cookie, edge::RequestId, limit::Peer, origin, safe_next},
};

/// How long signing out waits to learn where the provider signs out.
const GOODBYE: Duration = Duration::from_secs(3);

/// What the routes need. Cheap to clone.
#[derive(Clone)]
pub struct SignIn {
    providers: Providers,
    attempts: Attempts,
}

impl SignIn {
    pub fn new(providers: Providers) -> Self {
        Self { providers, attempts: Attempts::new() }
    }
}

/// The routes; they are no part of the API's description, because they are for browsers.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/auth/sign-in", get(choose))
        .route("/auth/replit_auth/login", get(login).post(login_with_link))
        .route("/auth/replit_auth/link", post(link))
        .route("/auth/replit_auth/authorized", get(authorized))
        .route("/auth/replit_auth/replit-logout", get(leave).post(logout))
        .route("/auth/oidc/{name}/login", get(login).post(login_with_link))
        .route("/auth/oidc/{name}/link", post(link))
        .route("/auth/oidc/{name}/authorized", get(authorized))
        .route("/auth/oidc/{name}/logout", get(leave).post(logout))
}

/// What every one of these requests brings along.
struct Visit {
    app: App,
    web: SignIn,
    /// The provider's name.
    name: String,
    peer: Option<Peer>,
    headers: HeaderMap,
    request_id: Option<String>,
}

impl FromRequestParts<App> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        // What another site's page posts is not done.
        origin::check(parts, &app.config)?;
        let web = parts.extensions.get::<SignIn>().cloned();
        let web =
            web.ok_or_else(|| Error::Internal(anyhow::anyhow!("no sign-in in the request")))?;
        let name = Path::<String>::from_request_parts(parts, app).await;
        Ok(Self {
            app: app.clone(),
            web,
            // Replit's routes have no name in their path.
            name: name.map_or_else(|_| REPLIT.to_owned(), |Path(name)| name),
            peer: parts.extensions.get::<Peer>().copied(),
            headers: parts.headers.clone(),
            request_id: parts.extensions.get::<RequestId>().map(|RequestId(id)| id.clone()),
        })
    }
}

/// Why a page is shown in the place of what was asked for.
enum Shown {
    Refused(Refused),
    Failed(Error),
    Other(Response),
}

impl From<Stopped> for Shown {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Refused(refused) => Self::Refused(refused),
            Stopped::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<Error> for Shown {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Visit {
    /// Whether a sign-in may happen at all, for this address and on this way.
    fn admit(&self) -> Result<(), Shown> {
        if !self.web.attempts.request(self.peer) {
            return Err(Shown::Other(self.slow_down()));
        }
        cookie::may_sign_in(&self.app.config, self.peer)
            .map_err(|error| Shown::Other(self.refusal("not_private", error.to_string(), None)))
    }

    fn slow_down(&self) -> Response {
        let page = Page {
            title: "Sign-in",
            sentence: Some("There were too many attempts from your address.".to_owned()),
            next_step: Some("Wait half a minute, and begin again.".to_owned()),
            code: Some("too_many_attempts"),
            request_id: self.request_id.clone(),
            ..Page::default()
        };
        page.answer(StatusCode::TOO_MANY_REQUESTS)
    }

    fn refusal(&self, code: &'static str, why: String, next_step: Option<&str>) -> Response {
        let page = Page {
            title: "Sign-in failed",
            sentence: Some(why),
            next_step: next_step.map(str::to_owned),
            links: vec![Link { href: "/auth/sign-in".to_owned(), text: "Begin again".to_owned() }],
            code: Some(code),
            request_id: self.request_id.clone(),
            ..Page::default()
        };
        page.answer(StatusCode::FORBIDDEN)
    }

    fn show(&self, shown: Shown) -> Response {
        match shown {
            Shown::Refused(refused) => {
                let remedy = refused.remedy();
                let next_step = Some(remedy.next_step());
                let why = refused.sentence().to_owned();
                let mut response = self.refusal(refused.code(), why, next_step);
                *response.status_mut() = remedy.status();
                if remedy.status() == StatusCode::SERVICE_UNAVAILABLE {
                    let seconds = HeaderValue::from_static("30");
                    response.headers_mut().insert(header::RETRY_AFTER, seconds);
                }
                response
            }
            Shown::Failed(error) => Problem::from(error).into_response(),
            Shown::Other(response) => response,
        }
    }

    /// Sends the browser to the provider. What answers a form is a page that leads there: a
    /// redirect would be held against the `form-action` of the page with the form.
    async fn begin(&self, start: Start<'_>, to_form: bool) -> Result<Response, Shown> {
        self.admit()?;
        let browser = cookie::read_flow(&self.app.config, &self.headers);
        let begun = self.web.providers.begin(&self.name, Start { browser, ..start }).await?;
        let mut response = if to_form {
            page::onward(&begun.url)
        } else {
            Redirect::to(begun.url.as_str()).into_response()
        };
        let cookie = cookie::flow_cookie(&self.app.config, begun.browser.expose_secret());
        response.headers_mut().append(header::SET_COOKIE, cookie);
        Ok(response)
    }

    async fn end(&self, query: &str) -> Result<Response, Shown> {
        self.admit()?;
        let browser = cookie::read_flow(&self.app.config, &self.headers);
        let finished = match self.web.providers.finish(&self.name, query, browser).await {
            Ok(finished) => finished,
            Err(Stopped::Refused(refused)) => {
                self.note(refused).await?;
                return Err(Shown::Refused(refused));
            }
            Err(Stopped::Failed(error)) => return Err(Shown::Failed(error)),
        };
        self.let_in(finished).await
    }

    /// Writes a refusal down, as often as an address may cause it.
    async fn note(&self, refused: Refused) -> Result<(), Shown> {
        if !self.web.attempts.failure(self.peer) {
            return Err(Shown::Other(self.slow_down()));
        }
        let detail = json!({
            "why": refused.code(),
        });
        let (db, organization) = (&self.app.db, OrganizationId::FIRST);
        let action = "sign_in.refuse";
        let nobody = audit::Actor { name: "nobody", address: self.peer.map(|peer| peer.address) };
        audit::write(db, organization, nobody, action, &self.name, &detail)
            .await
            .map_err(|error| Shown::Failed(error.into()))
    }

    async fn let_in(&self, finished: Finished) -> Result<Response, Shown> {
        let Finished { claims, next, linking, link_token, refresh } = finished;
        let identity = Identity {
            issuer: claims.issuer,
            subject: claims.subject,
            email: claims.email,
            email_verified: claims.email_verified,
            name: claims.name,
            picture: claims.picture,
        };
        let link_token = link_token.map(|token| token.expose_secret().to_owned());
        let address = self.peer.map(|peer| peer.address);
        let carried = Carried { linking, link_token, address };
        let (app, config) = (&self.app, &self.app.config);
        let organization = OrganizationId::FIRST;
        let arrived =
            account::arrive(&app.db, organization, &identity, &carried, &config.sign_in).await?;
        let account = match arrived {
            Arrived::SignedIn(account) => account,
            Arrived::Refused(refusal) => {
                let why = format!("{refusal}.");
                return Err(Shown::Other(self.refusal("not_admitted", why, None)));
            }
        };
        let new = session::New {
            config: &config.sign_in,
            provider: Some(&self.name),
            user_agent: self.headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok()),
            address,
            replaces: cookie::read(config, &self.headers),
        };
        let started = session::start(&app.db, &account, new).await?;
        if let Some(before) = new.replaces {
            app.sessions.forget_cookie(before);
        }
        if let Some(refresh) = &refresh {
            self.web.providers.keep(started.session, refresh).await?;
        }
        let mut response = Redirect::to(&next).into_response();
        let cookies = [
            cookie::session_cookie(config, started.cookie_value.expose_secret()),
            cookie::cleared_flow(config),
        ];
        for cookie in cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// Ends the session here, then at the provider if that answers.
    async fn sign_out(&self) -> Result<Response, Shown> {
        let (app, config) = (&self.app, &self.app.config);
        let mut to = "/".to_owned();
        if let Some(cookie) = cookie::read(config, &self.headers) {
            let caller = app.sessions.recognise(&app.db, cookie, &config.sign_in).await?;
            if let Some(Who::Person { session, .. }) = caller.map(|caller| caller.who) {
                session::end(&app.db, session, "signed out").await?;
                app.sessions.forget_cookie(cookie);
                let url = self.web.providers.end_session_url(&self.name);
                if let Ok(Some(url)) = tokio::time::timeout(GOODBYE, url).await {
                    to = url.into();
                }
            }
        }
        let mut response = Redirect::to(&to).into_response();
        response.headers_mut().append(header::SET_COOKIE, cookie::cleared(config));
        Ok(response)
    }
}

fn asked<'a>(query: Option<&'a str>, wanted: &str) -> Option<std::borrow::Cow<'a, str>> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find(|(name, _)| name == wanted).map(|(_, value)| value)
}

/// The providers to choose from.
async fn choose(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let next = asked(query.as_deref(), "next");
    let next = safe_next(next.as_deref());
    let link = |(name, label): (&str, &str)| {
        let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let href = format!("{}?next={next}", oidc::path(name, "login"));
        Link { href, text: format!("Sign in with {label}") }
    };
    let mut links: Vec<Link> = visit.web.providers.list().map(link).collect();
    if signup::is_offered(&visit.app) {
        let text = "Sign up, or sign in by letter".to_owned();
        links.push(Link { href: "/auth/sign-up".to_owned(), text });
    }
    let without = "No sign-in provider is set up. On the machine that Lux runs on, \
                   `lux login-link` signs you in.";
    let page = Page {
        title: "Sign in",
        sentence: links.is_empty().then(|| without.to_owned()),
        links,
        ..Page::default()
    };
    page.answer(StatusCode::OK)
}

/// To the provider.
async fn login(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let next = asked(query.as_deref(), "next");
    let start = Start { next: safe_next(next.as_deref()), ..Start::default() };
    visit.begin(start, false).await.unwrap_or_else(|shown| visit.show(shown))
}

/// What the page of a one-time link sends.
#[derive(Deserialize)]
struct WithLink {
    /// The link's token, which is carried through the sign-in.
    link: Option<String>,
    next: Option<String>,
}

/// The longest token of a link, in bytes.
const MAX_LINK: usize = 200;

/// To the provider, with the one-time link that is to be used at the end.
async fn login_with_link(visit: Visit, Form(form): Form<WithLink>) -> Response {
    let link_token = form.link.as_deref().filter(|token| token.len() <= MAX_LINK);
    let start = Start { next: safe_next(form.next.as_deref()), link_token, ..Start::default() };
    visit.begin(start, true).await.unwrap_or_else(|shown| visit.show(shown))
}

/// Back from the provider.
async fn authorized(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    visit.end(&query).await.unwrap_or_else(|shown| visit.show(shown))
}

/// To the provider, for an account that is signed in and wants that identity as well. Its
/// session has to be fresh: who sits down at somebody's desk must not make it theirs.
async fn link(known: Known, visit: Visit, Form(form): Form<WithLink>) -> Response {
    let Who::Person { account, session } = known.caller.who else {
        let why = "a token has no account; sign in with a browser to link a provider to yours";
        return Problem::from(Error::Denied(why.to_owned())).into_response();
    };
    let linking = async {
        if !session::is_fresh(&visit.app.db, session).await? {
            let why = "You signed in more than five minutes ago.".to_owned();
            let next_step = Some("Sign in again, and then link the provider.");
            return Err(Shown::Other(visit.refusal("not_fresh", why, next_step)));
        }
        let next = safe_next(form.next.as_deref());
        let start = Start { next, linking: Some(account), ..Start::default() };
        visit.begin(start, true).await
    };
    linking.await.unwrap_or_else(|shown| visit.show(shown))
}

/// Signing out by a link, whose address is fixed. Another site can send a browser here too, so
/// only a link of Lux itself (or the person's own typing) does it at once.
async fn leave(visit: Visit) -> Response {
    let site = visit.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if matches!(site, Some(b"same-origin" | b"none")) {
        return logout(visit).await;
    }
    let leaf = if visit.name == REPLIT { "replit-logout" } else { "logout" };
    let page = Page {
        title: "Sign out",
        sentence: Some("Do you want to sign out of Lux?".to_owned()),
        action: Some(oidc::path(&visit.name, leaf)),
        ..Page::default()
    };
    page.answer(StatusCode::OK)
}

async fn logout(visit: Visit) -> Response {
    visit.sign_out().await.unwrap_or_else(|shown| visit.show(shown))
}
