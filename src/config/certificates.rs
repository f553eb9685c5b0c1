//! Certificate files: read and parsed where they are configured, so that what is wrong with one is told there, with its
//! name, and not found out by a sink that never delivers. Blocks on the disk. Quotes nothing of a file's content.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::TlsFiles;
use super::check::shown;
use crate::error::Error;

/// A bundle of all public roots takes a quarter of this.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// All of [`roots`] and [`client`].
///
/// # Errors
/// Theirs.
pub fn check(files: &TlsFiles) -> Result<(), Error> {
    files.ca_file.as_deref().map_or(Ok(()), |path| roots("ca_file", path).map(drop))?;
    client(files).map(drop)
}

/// Certificates to trust.
///
/// # Errors
/// [`Error::Config`]: the argument, the file and what is wrong with it.
pub fn roots(argument: &str, path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(argument, path)? {
        roots.add(certificate).map_err(|error| unusable(argument, path, &error))?;
    }
    Ok(roots)
}

/// A certificate and those that lead from it to a root.
///
/// # Errors
/// As of [`roots`].
pub fn chain(argument: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(argument, path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(refused(argument, path, "holds no PEM certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(malformed(argument, path, &error)),
    }
}

/// A private key.
///
/// # Errors
/// As of [`roots`].
pub fn key(argument: &str, path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(&read(argument, path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            refused(argument, path, "holds no PEM private key (PKCS#8, PKCS#1 or SEC1, not encrypted)")
        }
        error => malformed(argument, path, &error),
    })
}

/// A client's certificate with the key that belongs to it, if there is to be one.
///
/// # Errors
/// As of [`roots`], also for one file without the other and for a key of another certificate.
pub fn client(files: &TlsFiles) -> Result<Option<CertifiedKey>, Error> {
    const CERT: &str = "client_cert_file";
    const KEY: &str = "client_key_file";
    let (cert_file, key_file) = match (&files.client_cert_file, &files.client_key_file) {
        (None, None) => return Ok(None),
        (Some(cert_file), Some(key_file)) => (cert_file, key_file),
        (Some(_), None) => return Err(Error::config(format_args!("{CERT} needs {KEY} beside it, got none"))),
        (None, Some(_)) => return Err(Error::config(format_args!("{KEY} needs {CERT} beside it, got none"))),
    };
    let (chain, key) = (chain(CERT, cert_file)?, key(KEY, key_file)?);
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(client) => Ok(Some(client)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(refused(KEY, key_file, "does not belong to the certificate of client_cert_file"))
        }
        Err(error @ rustls::Error::InvalidCertificate(_)) => Err(unusable(CERT, cert_file, &error)),
        Err(error) => Err(unusable(KEY, key_file, &error)),
    }
}

fn read(argument: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content))
        .map_err(|error| refused(argument, path, format_args!("cannot be read: {error}")))?;
    match content.len() as u64 {
        0 => Err(refused(argument, path, "is empty")),
        1..=MAX_FILE_BYTES => Ok(content),
        _ => Err(refused(argument, path, "is larger than 1 MiB")),
    }
}

/// The parser's own words would quote the file.
fn malformed(argument: &str, path: &Path, error: &pem::Error) -> Error {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "holds a PEM block without end",
        pem::Error::IllegalSectionStart { .. } => "holds a PEM block without a proper beginning",
        pem::Error::Base64Decode(_) => "holds a PEM block that is not base64",
        _ => "is not PEM",
    };
    refused(argument, path, what)
}

fn unusable(argument: &str, path: &Path, error: &dyn fmt::Display) -> Error {
    refused(argument, path, format_args!("cannot be used: {error}"))
}

fn refused(argument: &str, path: &Path, what: impl fmt::Display) -> Error {
    Error::config(format_args!("{argument}: '{}' {what}", shown(&path.to_string_lossy())))
}
