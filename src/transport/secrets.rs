//! What must not come back: the secrets of a sink's configuration, blotted out of what a server says.

use super::proxy;
use crate::config::{ProxyChoice, Secret, TransportConfig};

/// Shorter words of a header's value are no secrets, and too likely to occur by chance.
const MIN_SECRET_BYTES: usize = 8;

/// See the module. Never printed.
pub(super) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// The endpoint's path and query, the last word of each header's value, and what a proxy is told.
    pub(super) fn of(config: &TransportConfig) -> Self {
        let path = config.endpoint.path.split('?').map(str::as_bytes);
        let headers = config.headers.iter().filter_map(|(_, value)| value.expose().split_whitespace().last());
        let mut secrets: Vec<_> = path.chain(headers.map(str::as_bytes)).map(<[u8]>::to_vec).collect();
        if let ProxyChoice::Via(proxy) = &config.proxy {
            let credentials = proxy.credentials.as_ref().map_or("", Secret::expose);
            secrets.extend(credentials.split(':').map(|part| part.as_bytes().to_vec()));
            let authorization = proxy::authorization(proxy);
            secrets.extend(
                authorization.and_then(|value| Some(value.as_bytes().strip_prefix(b"Basic ")?.to_vec())),
            );
        }
        secrets.retain(|secret| secret.len() >= MIN_SECRET_BYTES);
        Self(secrets)
    }

    /// Servers quote what they refuse. Keeps the length, so that a protobuf body stays one.
    pub(super) fn redact(&self, words: &mut [u8]) {
        for secret in &self.0 {
            let mut from = 0;
            while let Some(at) = words[from..].windows(secret.len()).position(|window| window == secret) {
                words[from + at..][..secret.len()].fill(b'*');
                from += at + secret.len();
            }
        }
    }
}
