//! What an answer means, and when to try again. Pure functions of their arguments; whatever a server sends, nothing here
//! panics, and nothing of it reaches a text unsanitised.

use std::time::{Duration, UNIX_EPOCH};

use super::{Failure, Response, one_line};

/// The longest wait that a server is believed to want.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// A refused certificate is a matter of configuration or of a renewal under way: no use asking every second. A connection
/// that merely breaks during the handshake is not: so does one to a server that restarts.
pub(super) const TLS_RETRY: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
pub(super) const MAX_MESSAGE_CHARS: usize = 256;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it; so many of its records it rejected, with its message (sanitised, at most 256 characters).
    Delivered {
        /// `rejected_spans` and its siblings, as the server says: can exceed what was sent.
        rejected: u64,
        /// Partial-success message, if any.
        message: Option<String>,
    },
    /// Try again, not before the server's `Retry-After` (clamped to 5 minutes) if it gave one.
    Retry {
        /// `Retry-After`; 30 s after a failed TLS handshake.
        after: Option<Duration>,
        /// One line for `stats()`.
        reason: String,
    },
    /// Too large for the server: halve it.
    TooLarge,
    /// Final. One line for `stats()` with the status and the server's words (sanitised).
    Refused {
        /// The line.
        reason: String,
    },
    /// Final, and so it would be for whatever follows: the server does not know this signal.
    Unsupported {
        /// The line.
        reason: String,
    },
}

/// The meaning of an OTLP/HTTP answer, by the OTLP specification. `now_unix` (seconds) resolves `Retry-After` dates.
pub fn classify_otlp_http(result: &Result<Response, Failure>, now_unix: u64) -> Outcome {
    let response = match result {
        Ok(response) => response,
        Err(failure) => return without_answer(failure),
    };
    match response.status {
        200..=299 => delivered(response),
        413 => Outcome::TooLarge,
        429 | 503 => Outcome::Retry { after: retry_after(response, now_unix), reason: status_line(response) },
        502 | 504 => Outcome::Retry { after: None, reason: status_line(response) },
        status @ 300..=399 => {
            Outcome::Refused { reason: format!("HTTP {status}: redirects are not followed") }
        }
        _ => Outcome::Refused { reason: status_line(response) },
    }
}

pub(super) fn without_answer(failure: &Failure) -> Outcome {
    let reason = failure.to_string();
    match failure {
        Failure::Oversized(_) => Outcome::Refused { reason },
        Failure::Tls(_) => Outcome::Retry { after: Some(TLS_RETRY), reason },
        _ => Outcome::Retry { after: None, reason },
    }
}

fn delivered(response: &Response) -> Outcome {
    let declared = content_type(response);
    match (declared, partial_success(&response.body)) {
        (None, None) => Outcome::Delivered { rejected: 0, message: None },
        (Some(_), _) if !is_protobuf(declared) => Outcome::Delivered { rejected: 0, message: None },
        _ => delivered_with(&response.body),
    }
}

/// A message that cannot be read leaves the request delivered: the status alone says so.
pub(super) fn delivered_with(message: &[u8]) -> Outcome {
    let (rejected, message) = match partial_success(message) {
        Some((rejected, message)) => (rejected, one_line(&message, MAX_MESSAGE_CHARS)),
        None => (0, "the answer's body is not an OTLP response".to_owned()),
    };
    Outcome::Delivered { rejected, message: (!message.is_empty()).then_some(message) }
}

/// Status and the server's words: the message of a `google.rpc.Status`, or the body's text.
fn status_line(response: &Response) -> String {
    let words = if is_protobuf(content_type(response)) {
        rpc_status_message(&response.body).unwrap_or_default()
    } else {
        // Four bytes a character at most: no need to look at a body of megabytes.
        let head = &response.body[..response.body.len().min(4 * MAX_MESSAGE_CHARS)];
        String::from_utf8_lossy(head).into_owned()
    };
    let words = one_line(&words, MAX_MESSAGE_CHARS);
    let separator = if words.is_empty() { "" } else { ": " };
    format!("HTTP {}{separator}{words}", response.status)
}

fn content_type(response: &Response) -> Option<&str> {
    response.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()
}

fn is_protobuf(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|value| value.to_ascii_lowercase().contains("protobuf"))
}

/// Seconds or a date; anything else is as good as absent. Of several values the first that can be read.
pub(super) fn retry_after(response: &Response, now_unix: u64) -> Option<Duration> {
    response.headers.get_all(http::header::RETRY_AFTER).iter().find_map(|value| {
        let value = value.to_str().ok()?.trim();
        let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            value.parse().unwrap_or(u64::MAX)
        } else {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(UNIX_EPOCH).ok()?.as_secs().saturating_sub(now_unix)
        };
        Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
    })
}

/// `Export*ServiceResponse { partial_success = 1 { rejected_* = 1; error_message = 2 } }`, the same numbers for all
/// signals. `None` if it is not well formed.
fn partial_success(body: &[u8]) -> Option<(u64, String)> {
    let (mut rejected, mut message) = (0, String::new());
    for_each_field(body, |number, value| match (number, value) {
        (1, Value::Bytes(partial)) => for_each_field(partial, |number, value| {
            match (number, value) {
                // An int64: negative is nonsense.
                (1, Value::Varint(count)) => rejected = i64::try_from(count).unwrap_or(0).unsigned_abs(),
                (2, Value::Bytes(text)) => message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
            Some(())
        }),
        _ => Some(()),
    })?;
    Some((rejected, message))
}

/// `google.rpc.Status { code = 1; message = 2; … }`.
fn rpc_status_message(body: &[u8]) -> Option<String> {
    let mut message = None;
    for_each_field(body, |number, value| {
        if let (2, Value::Bytes(text)) = (number, value) {
            message = Some(String::from_utf8_lossy(text).into_owned());
        }
        Some(())
    })?;
    message
}

pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Visits a protobuf message's fields in order. `None` at the first that is malformed, or that `visit` refuses.
pub(super) fn for_each_field<'a>(
    mut rest: &'a [u8],
    mut visit: impl FnMut(u64, Value<'a>) -> Option<()>,
) -> Option<()> {
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            1 => take(&mut rest, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = varint(&mut rest)?;
                Value::Bytes(take(&mut rest, usize::try_from(length).ok()?)?)
            }
            5 => take(&mut rest, 4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        visit(tag >> 3, value)?;
    }
    Some(())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

/// At most ten bytes; bits beyond the 64th are dropped, as protobuf decoders do.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for index in 0..10 {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Exponential backoff with jitter: 1 s doubling to 30 s, each wait uniform in its upper half.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait. `random` is any uniformly random number.
    pub fn next_wait(&mut self, random: u64) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << self.attempts.min(16)).min(LONGEST_WAIT);
        self.attempts = self.attempts.saturating_add(1);
        let half = wait / 2;
        half + Duration::from_nanos(random % (half.as_nanos() as u64 + 1))
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// What a server asked for and up to a tenth more: clients that were told the same do not come back together. `random` is
/// any uniformly random number.
pub fn spread(asked: Duration, random: u64) -> Duration {
    asked + Duration::from_nanos(random % (asked.as_nanos() as u64 / 10 + 1))
}
