//! What differs between the protocols that sinks speak: how a request is built, which headers each attempt has, what an
//! answer means, and how long to wait before the next attempt. No I/O; never waits.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_ENCODING;
use http::{HeaderName, HeaderValue};

use super::request::Scratch;
use crate::config::{Compression, Protocol};
use crate::encode::chunk::Part;
use crate::encode::otlp;
use crate::stats::SinkProtocol;
use crate::transport::grpc_status::{classify_otlp_grpc, grpc_code_name};
use crate::transport::retry::{Backoff, Outcome, classify_otlp_http};
use crate::transport::{Failure, GRPC_ENCODING, Response, compress};

/// What an OTLP envelope adds around resource and scopes, at most.
const OTLP_ENVELOPE_BYTES: usize = 64;
/// A request holds fewer bytes before compression (gRPC servers take 4 MiB by default).
pub const OTLP_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// The same with gzip, which takes 12 ms for a mebibyte that is hard to compress, and every other sink waits for it.
const GZIP_REQUEST_BYTES: usize = 1024 * 1024;

/// How large an OTLP request may be before compression.
pub fn otlp_request_bytes(compression: Compression) -> usize {
    match compression {
        Compression::Gzip => GZIP_REQUEST_BYTES,
        Compression::None | Compression::Zstd => OTLP_REQUEST_BYTES,
    }
}

/// A body before it is signed or labelled: what all its attempts have in common.
#[derive(Debug, Clone)]
pub struct Body {
    /// As it goes on the wire.
    pub bytes: Arc<[u8]>,
    /// Bytes before compression.
    pub plain_bytes: usize,
    /// What the compression is called; `None`: there is none.
    pub encoding: Option<&'static str>,
}

/// Headers of one attempt, beside the exchange's own.
pub type Headers = Vec<(HeaderName, HeaderValue)>;

/// See the module.
pub trait Dialect: Debug + Send {
    /// A request holds fewer bytes before compression, unless a single record is larger.
    fn request_bytes(&self) -> usize;

    /// Bytes of a request beside its records and their scopes.
    fn envelope_bytes(&self) -> usize;

    /// Whether a request could be made now. The error says what it waits for.
    ///
    /// # Errors
    /// One line without secrets; ask again soon.
    fn prepare(&mut self, _now_unix_seconds: u64) -> Result<(), String> {
        Ok(())
    }

    /// The body of a request of these parts.
    fn build(&mut self, parts: &[Part], scratch: &mut Scratch) -> Body;

    /// The headers of one attempt, made now. Only after [`Dialect::prepare`].
    ///
    /// # Errors
    /// As of [`Dialect::prepare`].
    fn headers(&mut self, body: &Body, now_unix_seconds: u64) -> Result<Headers, String>;

    /// What an answer means. May blot out what of it is secret.
    fn classify(&mut self, result: &mut Result<Response, Failure>, now_unix_seconds: u64) -> Outcome;

    /// The status that self-metrics show; `None`: there was no answer.
    fn status(&self, result: &Result<Response, Failure>) -> Option<Status> {
        result.as_ref().ok().map(|response| Status::Http(response.status))
    }

    /// What it is.
    fn protocol(&self) -> SinkProtocol;

    /// How long to wait after an answer that [`Dialect::classify`] found worth a repetition; `None`: no repetition.
    /// `random` is any uniformly random number.
    fn next_wait(&mut self, random: u64) -> Option<Duration>;

    /// What the last answer says of this machine's settings, for people.
    fn hint(&self) -> Option<String> {
        None
    }

    /// After an answer that settled a batch.
    fn reset(&mut self);
}

/// Of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// HTTP's.
    Http(u16),
    /// The name of gRPC's code.
    Grpc(&'static str),
}

/// OTLP over HTTP or gRPC: the messages are the same.
#[derive(Debug)]
pub struct Otlp {
    /// Builds the request from resource and parts, replacing the buffer.
    pub envelope: fn(&[u8], &[Part], &mut Vec<u8>),
    /// How compression is declared, and what an answer means.
    pub protocol: Protocol,
    /// Encoded resource.
    pub resource: Arc<[u8]>,
    /// Request bodies.
    pub compression: Compression,
    /// Between attempts.
    pub backoff: Backoff,
}

impl Default for Otlp {
    /// HTTP, an empty resource, no compression.
    fn default() -> Self {
        Self {
            envelope: otlp::request,
            protocol: Protocol::HttpProtobuf,
            resource: Arc::default(),
            compression: Compression::None,
            backoff: Backoff::default(),
        }
    }
}

impl Dialect for Otlp {
    fn request_bytes(&self) -> usize {
        otlp_request_bytes(self.compression)
    }

    fn envelope_bytes(&self) -> usize {
        self.resource.len() + OTLP_ENVELOPE_BYTES
    }

    fn build(&mut self, parts: &[Part], scratch: &mut Scratch) -> Body {
        (self.envelope)(&self.resource, parts, &mut scratch.plain);
        let encoding = match self.compression {
            Compression::None => None,
            method => compress(method, &scratch.plain, &mut scratch.body),
        };
        let bytes = Arc::from(if encoding.is_some() { &scratch.body[..] } else { &scratch.plain[..] });
        Body { bytes, plain_bytes: scratch.plain.len(), encoding }
    }

    fn headers(&mut self, body: &Body, _now_unix_seconds: u64) -> Result<Headers, String> {
        let name = match self.protocol {
            Protocol::HttpProtobuf => CONTENT_ENCODING,
            Protocol::Grpc => const { HeaderName::from_static(GRPC_ENCODING) },
        };
        Ok(body.encoding.map(|encoding| (name, HeaderValue::from_static(encoding))).into_iter().collect())
    }

    fn classify(&mut self, result: &mut Result<Response, Failure>, now_unix_seconds: u64) -> Outcome {
        match self.protocol {
            Protocol::HttpProtobuf => classify_otlp_http(result, now_unix_seconds),
            Protocol::Grpc => classify_otlp_grpc(result),
        }
    }

    fn status(&self, result: &Result<Response, Failure>) -> Option<Status> {
        match self.protocol {
            Protocol::HttpProtobuf => result.as_ref().ok().map(|response| Status::Http(response.status)),
            Protocol::Grpc => grpc_code_name(result).map(Status::Grpc),
        }
    }

    fn protocol(&self) -> SinkProtocol {
        match self.protocol {
            Protocol::HttpProtobuf => SinkProtocol::OtlpHttp,
            Protocol::Grpc => SinkProtocol::OtlpGrpc,
        }
    }

    fn next_wait(&mut self, random: u64) -> Option<Duration> {
        Some(self.backoff.next_wait(random))
    }

    fn reset(&mut self) {
        self.backoff.reset();
    }
}
