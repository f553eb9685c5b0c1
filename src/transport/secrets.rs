//! What must not come back: the secrets of a sink's configuration, blotted out of what a server says.

use crate::config::TransportConfig;

/// Shorter words of a header's value are no secrets, and too likely to occur by chance.
const MIN_SECRET_BYTES: usize = 8;

/// See the module. Never printed.
pub(super) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// The endpoint's path and query, and the last word of each header's value.
    pub(super) fn of(config: &TransportConfig) -> Self {
        let path = config.endpoint.path.split('?').map(str::as_bytes);
        let headers = config.headers.iter().filter_map(|(_, value)| value.expose().split_whitespace().last());
        let secrets = path.chain(headers.map(str::as_bytes));
        Self(secrets.filter(|secret| secret.len() >= MIN_SECRET_BYTES).map(<[u8]>::to_vec).collect())
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
