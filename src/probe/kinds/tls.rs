//! A TLS handshake as a client makes it.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::TlsConnector;

use super::{
    Seen, certificate,
    tcp::{self, Unconnected},
};
use crate::{
    clock,
    outbound::{Visitor, visit::shown},
    probe::Outcome,
};

/// A file of authorities, in bytes.
const MAX_CA_FILE: u64 = 4 << 20;

pub(super) async fn run(
    visitor: &Visitor,
    target: &str,
    name: Option<&str>,
    ca_file: Option<&Path>,
    days: Option<u32>,
    timeout: Duration,
) -> Seen {
    let host = tcp::split(target).map_or(target, |(host, _)| host);
    let name = name.unwrap_or(host);
    let request = format!("TLS handshake with {target} as {name}");
    let unclear = |why: String| Seen::new(Outcome::Unclear, request.clone(), why);
    let Ok(server) = ServerName::try_from(name.to_owned()) else {
        return unclear(format!("{name} is no name that a certificate can be for"));
    };
    let config = match config(ca_file) {
        Ok(config) => config,
        Err(why) => return unclear(why),
    };
    let shake = async {
        let stream = tcp::connect(visitor, target).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(server, stream).await;
        stream.map_err(|error| Unconnected::Failed(format!("the handshake fails: {error}")))
    };
    let stream = match tokio::time::timeout(timeout, shake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(Unconnected::Failed(why))) => return Seen::new(Outcome::Fail, request, why),
        Ok(Err(Unconnected::Forbidden(why))) => return unclear(why),
        Err(_) => {
            let why = format!("{target} did not finish the handshake within {}", shown(timeout));
            return Seen::new(Outcome::Fail, request, why);
        }
    };
    let der = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    match certificate::check(der.map(AsRef::as_ref), days.unwrap_or(0), clock::now()) {
        Ok(why) => Seen::new(Outcome::Pass, request, why),
        Err(why) => Seen::new(Outcome::Fail, request, why),
    }
}

fn config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let Some(path) = ca_file else {
        let builder = builder.with_platform_verifier().map_err(|error| {
            format!("the system's authorities cannot be read ({error}); install ca-certificates")
        })?;
        return Ok(builder.with_no_client_auth());
    };
    let unread = |error: &dyn std::fmt::Display| {
        format!("ca_file {} cannot be read: {error}", path.display())
    };
    let size = std::fs::metadata(path).map_err(|error| unread(&error))?.len();
    if size > MAX_CA_FILE {
        return Err(unread(&format!("it is larger than {MAX_CA_FILE} bytes")));
    }
    let pem = std::fs::read(path).map_err(|error| unread(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unread(&error))?;
        roots.add(certificate).map_err(|error| unread(&error))?;
    }
    if roots.is_empty() {
        return Err(unread(&"it holds no certificate in PEM form"));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
