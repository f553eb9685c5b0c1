//! One call over HTTP/2 as plain data: what of its message has been handed over, and what of its answer has come, within
//! limits. Never panics, whatever the peer sends.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Names and values with 32 bytes for each field, as HTTP/2 counts; final headers and trailers together.
pub(super) const MAX_HEADER_BYTES: usize = 64 * 1024;
/// One message of 4 MiB and its prefix.
const MAX_DATA_BYTES: usize = 4 * 1024 * 1024 + 5;
/// HTTP/2's own count of a header field beside name and value.
const FIELD_BYTES: usize = 32;

/// The peer has not begun to work on the call.
pub(super) const REFUSED_STREAM: u32 = 0x7;
/// The call is no longer of interest.
pub(super) const CANCEL: u32 = 0x8;

/// See the module.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) id: i32,
    /// What stands before the message.
    front: [u8; 5],
    body: Arc<[u8]>,
    /// Of front and body together.
    sent: usize,
    /// The HTTP status; 0 before it is known.
    pub(super) status: u16,
    /// Headers, then trailers.
    pub(super) headers: HeaderMap,
    header_bytes: usize,
    /// All of the answer's DATA.
    pub(super) data: Vec<u8>,
    /// The peer has ended its answer.
    pub(super) ended: bool,
    /// Closed with this code, by either side, before the answer's end.
    pub(super) reset: Option<u32>,
    /// The limit that the answer went beyond.
    pub(super) excess: Option<&'static str>,
}

impl Stream {
    pub(super) fn new(id: i32, front: [u8; 5], body: Arc<[u8]>) -> Self {
        Self { id, front, body, ..Self::default() }
    }

    /// All of the message is handed over.
    pub(super) fn all_sent(&self) -> bool {
        self.sent == self.front.len() + self.body.len()
    }

    /// Hands the next piece over, of `most` bytes at most; empty after the last.
    pub(super) fn next_piece(&mut self, most: usize) -> &[u8] {
        let rest = match self.front.get(self.sent..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => self.body.get(self.sent - self.front.len()..).unwrap_or_default(),
        };
        let piece = &rest[..rest.len().min(most)];
        self.sent += piece.len();
        piece
    }

    /// Takes a header or trailer in. False beyond the limit.
    pub(super) fn take_header(&mut self, name: &[u8], value: &[u8]) -> bool {
        if name == b":status" {
            // Whatever came before was an interim answer.
            self.headers.clear();
            self.status = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        }
        self.header_bytes += name.len() + value.len() + FIELD_BYTES;
        if self.header_bytes > MAX_HEADER_BYTES {
            self.excess = Some("headers of more than 64 KiB");
            return false;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            // The limit keeps their number far below the map's.
            let _ = self.headers.try_append(name, value);
        }
        true
    }

    /// Takes DATA in. False beyond the limit.
    pub(super) fn take_data(&mut self, chunk: &[u8]) -> bool {
        if self.data.len() + chunk.len() > MAX_DATA_BYTES {
            self.excess = Some("a message of more than 4 MiB");
            return false;
        }
        self.data.extend_from_slice(chunk);
        true
    }
}

/// The name of an HTTP/2 error code.
pub(super) fn error_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES.get(code as usize).copied().unwrap_or("an unknown code")
}
