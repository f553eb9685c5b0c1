//! TLS by rustls (TLS 1.2 and 1.3, certificates and host names always verified). Files are read and checked when a sink
//! is constructed, never later: what is wrong with them is an error there and not a sink that never delivers.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::TlsFiles;
use crate::error::Error;

/// A bundle of all public roots takes a quarter of this.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Sessions kept for resumption: one endpoint gives a few tickets a handshake.
const SESSIONS: usize = 4;

/// Builds the client side for `files`, offering the `alpn` protocols.
///
/// # Errors
/// [`Error::Config`] naming the argument, the file and what is wrong with it.
pub(super) fn client_config(files: &TlsFiles, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    let roots = match &files.ca_file {
        Some(path) => file_roots(path)?,
        None => system_roots(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::config)?
        .with_root_certificates(roots);
    let mut config = match (&files.client_cert_file, &files.client_key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert_file), Some(key_file)) => {
            let key = PrivateKeyDer::from_pem_slice(&read("client_key_file", key_file)?)
                .map_err(|error| bad("client_key_file", key_file, error))?;
            builder
                .with_client_auth_cert(certificates("client_cert_file", cert_file)?, key)
                .map_err(|error| bad("client_key_file", key_file, error))?
        }
        (Some(_), None) => {
            return Err(Error::config("client_key_file: required together with client_cert_file"));
        }
        (None, Some(_)) => {
            return Err(Error::config("client_cert_file: required together with client_key_file"));
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

fn file_roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_file", path)? {
        roots.add(certificate).map_err(|error| bad("ca_file", path, error))?;
    }
    Ok(roots)
}

/// The operating system's; where it has none (a container image without certificates), the bundled ones.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn certificates(argument: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(argument, path)?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(argument, path, error))?;
    if found.is_empty() {
        return Err(bad(argument, path, "no PEM certificate in it"));
    }
    Ok(found)
}

fn read(argument: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| bad(argument, path, error))?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(bad(argument, path, "larger than 1 MiB"));
    }
    Ok(content)
}

fn bad(argument: &str, path: &Path, what: impl std::fmt::Display) -> Error {
    Error::config(format_args!("{argument}: {path:?}: {what}"))
}
