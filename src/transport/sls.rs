//! A PutLogs request but for its time: where it goes, its compressed body, its headers. Pure.

use std::io::Write;
use std::net::IpAddr;

use http::header::{self, HeaderName, HeaderValue, InvalidHeaderValue};

use super::compress::{LEVEL, zstd};
use super::sls_sign::{API_VERSION, AccessKey, Unsigned, sign};
use crate::config::{Endpoint, SlsCompression, SlsSinkConfig};

/// The body of every PutLogs request.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

const BODY_RAW_SIZE: HeaderName = HeaderName::from_static("x-log-bodyrawsize");
const COMPRESS_TYPE: HeaderName = HeaderName::from_static("x-log-compresstype");
const PROJECT: HeaderName = HeaderName::from_static("x-log-project");

/// Replaces `out` with the compressed `body` and returns the `x-log-compresstype` to declare. `None`: `out` is the body as
/// it is, because that was asked for or because the compressor had no memory.
pub fn compress_sls(method: SlsCompression, body: &[u8], out: &mut Vec<u8>) -> Option<&'static str> {
    out.clear();
    let declared = match method {
        SlsCompression::None => None,
        SlsCompression::Lz4 => lz4(body, out).then_some("lz4"),
        SlsCompression::Zstd => zstd(body, out).then_some("zstd"),
        SlsCompression::Deflate => deflate(body, out).then_some("deflate"),
    };
    if declared.is_none() {
        out.clear();
        out.extend_from_slice(body);
    }
    declared
}

/// A raw block: no size in front, no frame, for the size travels in a header.
fn lz4(body: &[u8], out: &mut Vec<u8>) -> bool {
    out.resize(lz4_flex::block::get_maximum_output_size(body.len()), 0);
    let len = lz4_flex::block::compress_into(body, out);
    out.truncate(*len.as_ref().unwrap_or(&0));
    len.is_ok()
}

/// A zlib stream, as HTTP's `deflate` is.
fn deflate(body: &[u8], out: &mut Vec<u8>) -> bool {
    let mut encoder = flate2::write::ZlibEncoder::new(out, flate2::Compression::new(LEVEL));
    encoder.write_all(body).and_then(|()| encoder.try_finish()).is_ok()
}

/// Where a logstore takes records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlsDestination {
    /// What to connect to: the project's own host, or the address that was given. Its path is that of PutLogs.
    pub endpoint: Endpoint,
    /// `Host` to send, without a port, as the official Python client does.
    pub host: String,
    /// Told by a header where `host` cannot: in front of an IPv6 address no name can stand.
    project: Option<String>,
    region: Option<String>,
}

impl SlsDestination {
    /// See [`SlsSinkConfig::project_endpoint`]; where the project's name is not part of it, only `Host` says it.
    pub fn new(config: &SlsSinkConfig) -> Self {
        let SlsSinkConfig { endpoint, project, logstore, region, .. } = config;
        let is_ipv6 = matches!(endpoint.address(), Some(IpAddr::V6(_)));
        let host = if is_ipv6 { format!("[{}]", endpoint.global_host()) } else { config.project_host() };
        let mut endpoint = config.project_endpoint();
        endpoint.path = format!("/logstores/{logstore}/shards/lb");
        Self { endpoint, host, project: is_ipv6.then(|| project.clone()), region: region.clone() }
    }

    /// The headers of one attempt, `Host` and `Content-Type` included, signed for `unix_seconds`: the local clock, put
    /// right by what the server said of its own. `compress_type` is what [`compress_sls`] returned.
    ///
    /// # Errors
    /// A key id or token that no header can carry.
    pub fn headers(
        &self,
        key: &AccessKey,
        body: &[u8],
        raw_bytes: usize,
        compress_type: Option<&'static str>,
        unix_seconds: u64,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidHeaderValue> {
        let mut headers = vec![
            (HeaderName::from_static("x-log-apiversion"), HeaderValue::from_static(API_VERSION)),
            (BODY_RAW_SIZE, HeaderValue::from(raw_bytes)),
        ];
        headers.extend(compress_type.map(|name| (COMPRESS_TYPE, HeaderValue::from_static(name))));
        if let Some(project) = &self.project {
            headers.push((PROJECT, HeaderValue::from_str(project)?));
        }
        let unsigned = Unsigned {
            method: "POST",
            path: &self.endpoint.path,
            query: &[],
            host: &self.host,
            content_type: Some(CONTENT_TYPE),
            headers: &headers,
            body,
        };
        let added = sign(&unsigned, key, self.region.as_deref(), unix_seconds)?;
        headers.extend(added);
        headers.push((header::HOST, HeaderValue::from_str(&self.host)?));
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE)));
        Ok(headers)
    }
}
