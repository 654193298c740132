//! How TLS is spoken to others. The system's authorities are read once, and kept once: they take
//! half a megabyte, and longer to read than a small command takes otherwise.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, client::Resumption};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::error::{Error, Result};

static SYSTEM: OnceLock<ClientConfig> = OnceLock::new();

/// Trusts whom the system trusts; sessions are resumed among the connections of one client only.
/// Fails where the system's certificates cannot be read.
pub(super) fn system() -> Result<ClientConfig> {
    let known = SYSTEM.get().map_or_else(read, |known| Ok(known.clone()))?;
    let mut config = SYSTEM.get_or_init(|| known).clone();
    config.resumption = Resumption::default();
    Ok(config)
}

fn read() -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| Error::Internal(error.into()))?;
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
