//! A mail server on loopback that takes down what it is given, and does as it is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_parser::MessageParser;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// What is done with a mail, by its recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Take,
    /// Answers RCPT with this.
    Rcpt(&'static str),
    /// Answers the end of the mail with this; it was not taken.
    End(&'static str),
    /// Closes the connection in the place of an answer to DATA.
    CutAtData,
    /// Takes the mail, and closes the connection in the place of an answer.
    CutAfter,
    /// Takes the mail, and never answers.
    HangAfter,
    /// Never answers RCPT.
    Hang,
}

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) to: String,
    pub(crate) text: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> String {
        let message = MessageParser::default().parse(self.text.as_bytes()).unwrap();
        message.header_raw(name).unwrap_or_default().trim().to_owned()
    }

    /// The number of the mail.
    pub(crate) fn mail(&self) -> i64 {
        self.header("X-Lux-Mail").split('-').next().unwrap().parse().unwrap()
    }

    pub(crate) fn body(&self) -> String {
        let message = MessageParser::default().parse(self.text.as_bytes()).unwrap();
        message.body_text(0).unwrap().into_owned()
    }
}

impl Received {
    pub(crate) fn html(&self) -> String {
        let message = MessageParser::default().parse(self.text.as_bytes()).unwrap();
        message.body_html(0).unwrap().into_owned()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    None,
    Starttls,
    Implicit,
}

type Choose = Box<dyn Fn(&str, usize) -> Act + Send + Sync>;

struct State {
    received: Mutex<Vec<Received>>,
    /// How often each recipient was named.
    named: Mutex<HashMap<String, usize>>,
    choose: Choose,
    tls: Tls,
    acceptor: Option<TlsAcceptor>,
    /// "user:password", if a sign-in is needed.
    login: Option<&'static str>,
}

pub(crate) struct Sink {
    pub(crate) port: u16,
    /// What its certificate is signed with, as PEM.
    pub(crate) certificate: Option<String>,
    state: Arc<State>,
    listening: tokio::task::JoinHandle<()>,
}

impl Sink {
    /// Takes everything.
    pub(crate) async fn new() -> Self {
        Self::acting(|_, _| Act::Take).await
    }

    /// Does with each mail what is chosen by its recipient and how often that was named before.
    pub(crate) async fn acting(
        choose: impl Fn(&str, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::begin(0, Box::new(choose), Tls::None, None).await
    }

    pub(crate) async fn secure(tls: Tls, login: &'static str) -> Self {
        Self::begin(0, Box::new(|_, _| Act::Take), tls, Some(login)).await
    }

    /// On a port that was looked for before.
    pub(crate) async fn at(port: u16) -> Self {
        Self::begin(port, Box::new(|_, _| Act::Take), Tls::None, None).await
    }

    async fn begin(port: u16, choose: Choose, tls: Tls, login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mut certificate, mut acceptor) = (None, None);
        if tls != Tls::None {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let key =
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
            let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
            certificate = Some(made.cert.pem());
            acceptor = Some(TlsAcceptor::from(Arc::new(config)));
        }
        let state = Arc::new(State {
            received: Mutex::default(),
            named: Mutex::default(),
            choose,
            tls,
            acceptor,
            login,
        });
        let serving = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { port, certificate, state, listening }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.received.lock().unwrap().len()
    }

    pub(crate) fn to(&self, recipient: &str) -> Vec<Received> {
        self.received().into_iter().filter(|it| it.to == recipient).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    stream.set_nodelay(true).unwrap();
    if state.tls == Tls::Implicit {
        if let Ok(stream) = state.acceptor.clone().unwrap().accept(stream).await {
            dialogue(stream, &state, true, true).await;
        }
        return;
    }
    let secure = state.tls == Tls::None;
    if let Some(stream) = dialogue(stream, &state, secure, true).await
        && let Ok(stream) = state.acceptor.clone().unwrap().accept(stream).await
    {
        dialogue(stream, &state, true, false).await;
    }
}

/// Speaks until the client leaves; gives the stream back for STARTTLS.
async fn dialogue<S>(stream: S, state: &State, secure: bool, greets: bool) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    if greets {
        stream.write_all(b"220 sink ESMTP\r\n").await.ok()?;
    }
    let mut signed_in = state.login.is_none();
    let (mut to, mut act) = (String::new(), Act::Take);
    let mut line = String::new();
    loop {
        stream.flush().await.ok()?;
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let command = line.trim_end();
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" if !secure => "250-sink\r\n250 STARTTLS",
            "EHLO" => "250-sink\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
            "STARTTLS" if !secure => {
                stream.write_all(b"220 go on\r\n").await.ok()?;
                stream.flush().await.ok()?;
                return Some(stream.into_inner());
            }
            _ if !secure => "530 5.7.0 Must issue a STARTTLS command first",
            "AUTH" => {
                let given = command.rsplit(' ').next().unwrap_or_default();
                let given = STANDARD.decode(given).unwrap_or_default();
                let given = String::from_utf8_lossy(&given).trim_matches('\0').replace('\0', ":");
                signed_in = state.login == Some(given.as_str());
                if signed_in {
                    "235 2.7.0 ok"
                } else {
                    "535 5.7.8 Authentication credentials invalid"
                }
            }
            "MAIL" if !signed_in => "530 5.7.0 Authentication required",
            "MAIL" | "RSET" | "NOOP" => "250 2.0.0 ok",
            "RCPT" => {
                to = command.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                let before = {
                    let mut named = state.named.lock().unwrap();
                    let times = named.entry(to.clone()).or_default();
                    *times += 1;
                    *times - 1
                };
                act = (state.choose)(&to, before);
                match act {
                    Act::Rcpt(answer) => answer,
                    Act::Hang => std::future::pending().await,
                    _ => "250 2.1.5 ok",
                }
            }
            "DATA" => {
                if act == Act::CutAtData {
                    return None;
                }
                stream.write_all(b"354 go on\r\n").await.ok()?;
                let mut text = Vec::new();
                loop {
                    let begin = text.len();
                    if stream.read_until(b'\n', &mut text).await.ok()? == 0 {
                        return None;
                    }
                    if &text[begin..] == b".\r\n" {
                        text.truncate(begin);
                        break;
                    }
                    if text[begin] == b'.' {
                        text.remove(begin);
                    }
                }
                if let Act::End(answer) = act {
                    answer
                } else {
                    let text = String::from_utf8(text).unwrap();
                    state.received.lock().unwrap().push(Received { to: to.clone(), text });
                    match act {
                        Act::CutAfter => return None,
                        Act::HangAfter => std::future::pending().await,
                        _ => "250 2.0.0 queued",
                    }
                }
            }
            "QUIT" => {
                let _ = stream.write_all(b"221 bye\r\n").await;
                let _ = stream.flush().await;
                return None;
            }
            _ => "500 5.5.1 what?",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}
