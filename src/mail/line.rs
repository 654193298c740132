//! An open connection to the mail server, and one mail after another over it.

use std::{iter, path::Path, sync::Arc, time::Duration};

use lettre::{
    Address,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters},
        commands::{Data, Mail, Rcpt, Rset},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
        response::Response,
    },
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    Ready, Trouble,
    trouble::shown,
    watch::{Secure, Watch, Watched, Witness},
};
use crate::config::{self, MailTls};

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// The longest wait for the answer to what only makes room or says goodbye.
const SHORT: Duration = Duration::from_secs(5);

/// The largest file of certificates that is read, in bytes.
const MAX_CA_FILE: u64 = 1 << 20;

/// An open connection, signed in.
pub struct Line {
    connection: AsyncSmtpConnection,
    watch: Arc<Watch>,
    timeout: Duration,
    usable: bool,
}

impl Line {
    pub(super) async fn open(
        config: &config::Mail,
        witness: Option<Arc<dyn Witness>>,
    ) -> Result<Self, Trouble> {
        let (Some(host), Some(_)) = (&config.host, &config.from) else {
            return Err(Trouble::NotSetUp);
        };
        let place = format!("{host} port {}", config.port);
        let limit = CONNECT.min(config.timeout);
        let tcp = TcpStream::connect((host.as_str(), config.port));
        let tcp = match tokio::time::timeout(limit, tcp).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => return Err(Trouble::Unreachable(format!("{place}: {error}"))),
            Err(_) => return Err(slow(&place, limit)),
        };
        // The end of a mail is a small packet of its own.
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "nodelay was refused");
        }
        let watch = Arc::new(Watch::new(witness));
        let watched = Watched { tcp, watch: Arc::clone(&watch) };
        let greeting = tokio::time::timeout(config.timeout, greet(config, host, watched));
        let connection = match greeting.await {
            Ok(greeted) => greeted?,
            Err(_) => return Err(slow(&place, config.timeout)),
        };
        Ok(Self { connection, watch, timeout: config.timeout, usable: true })
    }

    /// Whether another mail may go over it.
    pub fn is_usable(&self) -> bool {
        self.usable && !self.connection.has_broken()
    }

    /// Gives one mail to the server; what it said to it. `number` is what the witness is told.
    pub async fn hand_over(&mut self, ready: &Ready, number: i64) -> Result<String, Trouble> {
        self.watch.begin(number);
        let done = self.dialogue(ready).await;
        if let Err(trouble) = &done {
            let answered = matches!(trouble, Trouble::Later { .. } | Trouble::Refused { .. });
            if !answered || trouble.is_of_server() {
                self.usable = false;
            } else if !self.watch.may_be_out() {
                // Else what was begun would be a part of the next mail.
                let reset = tokio::time::timeout(SHORT, self.connection.command(Rset)).await;
                self.usable = matches!(reset, Ok(Ok(_)));
            }
        }
        done
    }

    async fn dialogue(&mut self, ready: &Ready) -> Result<String, Trouble> {
        let mut parameters = Vec::new();
        let is_plain = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        if !is_plain(&ready.to) || !is_plain(&ready.from) {
            if !self.connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Trouble::Letter(
                    "the address holds letters that this mail server does not take".to_owned(),
                ));
            }
            parameters.push(MailParameter::SmtpUtfEight);
            if self.connection.server_info().supports_feature(Extension::EightBitMime) {
                parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
            }
        }
        let (from, to) = (ready.from.clone(), ready.to.clone());
        self.within(false, async |line| line.command(Mail::new(Some(from), parameters)).await)
            .await?;
        self.within(true, async |line| line.command(Rcpt::new(to, Vec::new())).await).await?;
        self.within(false, async |line| line.command(Data).await).await?;
        let watch = Arc::clone(&self.watch);
        let mut parts = iter::once(ready.bytes.as_slice());
        // After the last part lettre writes the dot that ends the mail: until then the server
        // has nothing that it would deliver.
        let parts = iter::from_fn(|| {
            let part = parts.next();
            if part.is_none() {
                watch.last();
            }
            part
        });
        let said = self.within(false, async |line| line.message_iter(parts).await).await;
        match said {
            Ok(response) => Ok(shown(&response.message().collect::<Vec<_>>().join(" "))),
            Err(Trouble::Unreachable(why)) if self.watch.may_be_out() => Err(Trouble::Unknown(
                format!("it was handed over, and the connection failed before the answer: {why}"),
            )),
            Err(trouble) => Err(trouble),
        }
    }

    /// One command with its answer, in time.
    async fn within<F>(&mut self, recipient: bool, ask: F) -> Result<Response, Trouble>
    where
        F: AsyncFnOnce(&mut AsyncSmtpConnection) -> Result<Response, Error>,
    {
        match tokio::time::timeout(self.timeout, ask(&mut self.connection)).await {
            Ok(answer) => answer.map_err(|error| Trouble::of(&error, recipient)),
            Err(_) => Err(slow("it", self.timeout)),
        }
    }

    /// Says goodbye. Dropping the line does without.
    pub async fn close(mut self) {
        if self.is_usable() {
            let _ = tokio::time::timeout(SHORT, self.connection.quit()).await;
        }
    }
}

fn slow(place: &str, limit: Duration) -> Trouble {
    Trouble::Unreachable(format!("{place} did not answer within {} s", limit.as_secs_f32()))
}

/// TLS, EHLO, sign-in.
async fn greet(
    config: &config::Mail,
    host: &str,
    watched: Watched,
) -> Result<AsyncSmtpConnection, Trouble> {
    let name = ClientId::default();
    let stream: Box<dyn AsyncTokioStream> = match config.tls {
        MailTls::Implicit => {
            let connector = TlsConnector::from(Arc::new(tls(config.ca_file.as_deref())?));
            let server = ServerName::try_from(host.to_owned())
                .map_err(|_| Trouble::Unreachable(format!("{host} is no name for TLS")))?;
            let secured = connector.connect(server, watched).await.map_err(|error| {
                Trouble::Unreachable(format!(
                    "TLS with {host} failed: {}",
                    shown(&error.to_string())
                ))
            })?;
            Box::new(Secure(secured))
        }
        MailTls::Starttls | MailTls::None => Box::new(watched),
    };
    let connected = AsyncSmtpConnection::connect_with_transport(stream, &name).await;
    let mut connection = connected.map_err(|error| of_server(&error))?;
    if config.tls == MailTls::Starttls {
        if !connection.can_starttls() {
            return Err(Trouble::Unreachable(format!(
                "{host} offers no STARTTLS, and nothing is sent in the clear; use tls = \
                 \"implicit\" (port 465) if it speaks that"
            )));
        }
        let parameters = starttls(config, host)?;
        connection.starttls(parameters, &name).await.map_err(|error| {
            Trouble::Unreachable(format!("TLS with {host} failed: {}", shown(&error.to_string())))
        })?;
    }
    if let (Some(user), Some(password)) = (&config.user, &config.password) {
        let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        if let Err(error) = connection.auth(&mechanisms, &credentials).await {
            return Err(match Trouble::of(&error, false) {
                Trouble::Refused { code, said, .. } => Trouble::SignIn(format!("{code} {said}")),
                _ if error.is_client() => Trouble::SignIn(shown(&error.to_string())),
                trouble => trouble,
            });
        }
    }
    Ok(connection)
}

/// What the server says before there is a mail is about us, not about a mail.
fn of_server(error: &Error) -> Trouble {
    match Trouble::of(error, false) {
        Trouble::Refused { code, said, .. } | Trouble::Later { code, said } => {
            Trouble::Unreachable(format!("it turns us away: {code} {said}"))
        }
        trouble => trouble,
    }
}

fn starttls(config: &config::Mail, host: &str) -> Result<TlsParameters, Trouble> {
    let unset = |error: Error| Trouble::Unreachable(format!("TLS cannot be set up: {error}"));
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &config.ca_file {
        let certificates =
            Certificate::from_pem(&read(path)?).map_err(|error| unread(path, &error))?;
        builder = builder.add_root_certificate(certificates);
    }
    builder.build().map_err(unset)
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, Trouble> {
    let unset = |error: &dyn std::fmt::Display| {
        Trouble::Unreachable(format!("TLS cannot be set up: {error}"))
    };
    let mut extra = Vec::new();
    if let Some(path) = ca_file {
        for certificate in CertificateDer::pem_slice_iter(&read(path)?) {
            extra.push(certificate.map_err(|error| unread(path, &error))?);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra, Arc::clone(&provider))
            .map_err(|error| unset(&error))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unset(&error))?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn unread(path: &Path, error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Unreachable(format!("ca_file {} cannot be read: {error}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    let size = std::fs::metadata(path).map_err(|error| unread(path, &error))?.len();
    if size > MAX_CA_FILE {
        return Err(unread(path, &format!("it is larger than {MAX_CA_FILE} bytes")));
    }
    std::fs::read(path).map_err(|error| unread(path, &error))
}
