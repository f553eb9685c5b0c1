//! A unary OTLP call without a socket: the head and prefix of its request, and what its answer says. Whatever the bytes
//! are, it answers with an error or a response, decodes at most 4 MiB, and never panics.

use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::header::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};

use super::http2::Field;
use super::http2_stream::Stream;
use super::post::header_value;
use super::secrets::Secrets;
use super::{Failure, Request, Response};
use crate::config::{Signal, TransportConfig};
use crate::error::Error;

/// Compression of messages, by its name in gRPC; a request with it is compressed.
pub const GRPC_ENCODING: &str = "grpc-encoding";
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Names and values of all metadata; servers take 8 to 16 KiB.
const MAX_METADATA_BYTES: usize = 32 * 1024;
/// `grpc-timeout` has eight digits.
const MAX_TIMEOUT_MS: u128 = 99_999_999;
/// Percent-encoded in `grpc-message`, beside all that is not ASCII.
const NOT_IN_MESSAGES: &AsciiSet = &CONTROLS.add(b'%');

/// Metadata that follows from the exporter's other settings or from the protocol; so does all that begins with `grpc-`.
const RESERVED: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What all calls of one signal to one endpoint have in common, checked once. Never prints a value.
pub(super) struct Head {
    scheme: &'static str,
    path: &'static str,
    authority: String,
    user_agent: String,
    metadata: Vec<(String, String)>,
}

impl Head {
    /// # Errors
    /// [`Error::Config`] for metadata that cannot be sent.
    pub(super) fn new(config: &TransportConfig, signal: Signal, agent: &str) -> Result<Self, Error> {
        let mut head = Self {
            scheme: if config.endpoint.tls { "https" } else { "http" },
            path: match signal {
                Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
                Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            },
            authority: config.endpoint.host_header(),
            user_agent: agent.to_owned(),
            metadata: Vec::new(),
        };
        for (name, value) in &config.headers {
            let value = metadata_value(name, value.expose())?;
            let name = metadata_name(name)?;
            // What the user gives replaces ours of that name.
            match name.as_str() {
                "host" => head.authority = value,
                "user-agent" => head.user_agent = value,
                _ => head.metadata.push((name, value)),
            }
        }
        let bytes: usize = head.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MAX_METADATA_BYTES {
            return Err(Error::config(format_args!(
                "headers: {bytes} bytes, gRPC metadata has at most 32 KiB"
            )));
        }
        Ok(head)
    }

    /// The head of one call. `timeout`: see [`timeout`].
    pub(super) fn fields<'a>(&'a self, request: &'a Request, timeout: &'a str) -> Vec<Field<'a>> {
        let ours = [
            (":method", "POST"),
            (":scheme", self.scheme),
            (":path", self.path),
            (":authority", &self.authority),
            ("te", "trailers"),
            ("grpc-timeout", timeout),
            ("content-type", "application/grpc"),
            ("user-agent", &self.user_agent),
            ("grpc-accept-encoding", "identity,gzip"),
        ];
        let field = |name: &'a str, value: &'a [u8], secret| Field { name: name.as_bytes(), value, secret };
        let ours = ours.into_iter().map(|(name, value)| field(name, value.as_bytes(), false));
        let own = request.headers.iter().map(|(name, value)| field(name.as_str(), value.as_bytes(), false));
        let metadata = self.metadata.iter().map(|(name, value)| field(name, value.as_bytes(), true));
        ours.chain(own).chain(metadata).collect()
    }
}

/// `grpc-timeout`: at least a millisecond, at most a day.
pub(super) fn timeout(left: Duration) -> String {
    format!("{}m", left.as_millis().clamp(1, MAX_TIMEOUT_MS))
}

/// What stands before a message: whether it is compressed, and its length.
pub(super) fn prefix(request: &Request) -> [u8; 5] {
    let compressed = request.headers.iter().any(|(name, _)| name == GRPC_ENCODING);
    // No request comes near 4 GiB.
    let [a, b, c, d] = u32::try_from(request.body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [compressed.into(), a, b, c, d]
}

/// What the answer of an ended call says, without the secrets that the server quotes.
///
/// # Errors
/// The call was reset, or its answer is beyond a limit.
pub(super) fn answer(stream: Stream, secrets: &Secrets) -> Result<Response, Failure> {
    let Stream { status, mut headers, data, ended, reset, excess, .. } = stream;
    if let Some(limit) = excess {
        return Err(Failure::Oversized(limit));
    }
    // A proxy that says what is wrong and resets the rest is heard all the same.
    if let Some(code) = reset.filter(|_| !ended && matches!(status, 0 | 200)) {
        return Err(Failure::Reset(code));
    }
    let mut body = message(data, last(&headers, GRPC_ENCODING))?;
    secrets.redact(&mut body);
    if let Some(words) = last(&headers, "grpc-message") {
        let mut words: Vec<u8> = percent_decode(words.as_bytes()).collect();
        secrets.redact(&mut words);
        let words = percent_encode(&words, NOT_IN_MESSAGES).to_string();
        headers.remove("grpc-message");
        headers.extend(HeaderValue::try_from(words).ok().map(|words| (GRPC_MESSAGE, words)));
    }
    Ok(Response { status, headers, body })
}

const GRPC_MESSAGE: http::HeaderName = http::HeaderName::from_static("grpc-message");

/// Trailers come after the headers, so of several values the last counts.
pub(super) fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    headers.get_all(name).iter().next_back()
}

/// The message of an answer's DATA; the DATA itself where that is none.
fn message(data: Vec<u8>, encoding: Option<&HeaderValue>) -> Result<Vec<u8>, Failure> {
    let framed = data.split_first_chunk().and_then(|(&[flag, a, b, c, d], rest)| {
        Some((flag, rest.get(..u32::from_be_bytes([a, b, c, d]) as usize)?))
    });
    match framed {
        Some((0, message)) => Ok(message.to_vec()),
        Some((1, message)) if encoding.is_some_and(|encoding| encoding == "gzip") => {
            let mut plain = Vec::new();
            let limit = MAX_MESSAGE_BYTES as u64 + 1;
            match flate2::read::GzDecoder::new(message).take(limit).read_to_end(&mut plain) {
                Ok(_) if plain.len() > MAX_MESSAGE_BYTES => {
                    Err(Failure::Oversized("a message of more than 4 MiB"))
                }
                Ok(_) => Ok(plain),
                Err(_) => Ok(data),
            }
        }
        _ => Ok(data),
    }
}

fn metadata_name(name: &str) -> Result<String, Error> {
    let key = name.to_ascii_lowercase();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return Err(Error::config(format_args!(
            "headers: {name:?} is not a gRPC metadata key (letters, digits, '_', '-', '.')"
        )));
    }
    if key.starts_with("grpc-") || RESERVED.contains(&key.as_str()) {
        return Err(Error::config(format_args!("headers: {name:?} is set by the exporter itself")));
    }
    Ok(key)
}

/// The value stays out of the error: it can be a secret.
fn metadata_value(name: &str, value: &str) -> Result<String, Error> {
    let what = format!("headers: {name:?}");
    header_value(&what, value)?;
    let value = value.trim();
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Error::config(format_args!(
            "{what}: gRPC metadata is ASCII; other values go base64-encoded under a key that ends in -bin"
        )));
    }
    let is_base64 = |value: &str| {
        let value = value.trim();
        STANDARD.decode(value).is_ok() || STANDARD_NO_PAD.decode(value).is_ok()
    };
    if name.to_ascii_lowercase().ends_with("-bin") && !value.split(',').all(is_base64) {
        return Err(Error::config(format_args!("{what}: the value of a key that ends in -bin is base64")));
    }
    Ok(value.to_owned())
}
