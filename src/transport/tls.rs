//! TLS by rustls (TLS 1.2 and 1.3, certificates and host names always verified). Files are read and checked when a sink
//! is constructed, never later: what is wrong with them is an error there and not a sink that never delivers.

use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{TlsFiles, certificates};
use crate::error::Error;

/// Sessions kept for resumption: one endpoint gives a few tickets a handshake.
const SESSIONS: usize = 4;

/// Builds the client side for `files`, offering the `alpn` protocols.
///
/// # Errors
/// [`Error::Config`] naming the argument, the file and what is wrong with it.
pub(super) fn client_config(files: &TlsFiles, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    let roots = match &files.ca_file {
        Some(path) => Arc::new(certificates::roots("ca_file", path)?),
        None => system_roots(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::config)?
        .with_root_certificates(roots);
    let mut config = match certificates::client(files)? {
        None => builder.with_no_client_auth(),
        Some(client) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(client))),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// The operating system's, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name; where there are none (a container image
/// without certificates), the bundled ones. Read once per process, for all sinks and all sessions: it takes some
/// milliseconds, and each copy some hundred kilobytes.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Arc::clone(roots);
    }
    // Not inside of `get_or_init`: a fork meanwhile would leave the child with a cell that is never filled.
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let roots = Arc::new(roots);
    Arc::clone(ROOTS.get_or_init(|| roots))
}
