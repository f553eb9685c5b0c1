//! What must not come back: the secrets of a sink's configuration, blotted out of what a server says.

use percent_encoding::percent_decode_str;

use super::proxy;
use crate::config::{ProxyChoice, Secret, TransportConfig};

/// Shorter words of a header's value or of a path are no secrets, and too likely to occur by chance.
const MIN_SECRET_BYTES: usize = 8;

/// See the module. Never printed.
pub(super) struct Secrets(Vec<Secret>);

impl Secrets {
    /// The endpoint's path and query, what these are made of (ARMS's begins with `/adapt_{token}`), the last word of each
    /// header's value, and what a proxy is told.
    pub(super) fn of(config: &TransportConfig) -> Self {
        let path = &config.endpoint.path;
        let parts = path.split(['/', '?', '&', '=']).map(|part| part.strip_prefix("adapt_").unwrap_or(part));
        let headers = config.headers.iter().filter_map(|(_, value)| value.expose().split_whitespace().last());
        let secrets = path.split('?').chain(parts).chain(headers);
        let mut secrets: Vec<_> = secrets.map(Secret::new).collect();
        if let ProxyChoice::Via(proxy) = &config.proxy {
            let credentials = proxy.credentials.iter().flat_map(|text| text.expose().split(':'));
            let decoded: Vec<_> =
                credentials.clone().map(|part| percent_decode_str(part).decode_utf8_lossy()).collect();
            let authorization = proxy::authorization(proxy);
            let encoded =
                authorization.as_ref().and_then(|value| value.to_str().ok()?.split(' ').next_back());
            secrets.extend(credentials.chain(encoded).map(Secret::new));
            // What the proxy knows them as.
            secrets.extend(decoded.into_iter().map(Secret::new));
        }
        secrets.retain(|secret| secret.expose().len() >= MIN_SECRET_BYTES);
        Self(secrets)
    }

    /// Servers quote what they refuse. Keeps the length, so that a protobuf body stays one.
    pub(super) fn redact(&self, words: &mut [u8]) {
        self.0.iter().for_each(|secret| secret.redact(words));
    }
}
