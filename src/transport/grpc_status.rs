//! What the answer to an OTLP call over gRPC means, by the OTLP specification and gRPC's own tables. Pure functions of
//! their arguments; whatever a server sends, nothing here panics, and nothing of it reaches a text unsanitised.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use percent_encoding::percent_decode;

use super::grpc_call::last;
use super::http2_stream::error_name;
use super::retry::{
    MAX_MESSAGE_CHARS, MAX_RETRY_AFTER, Outcome, Value, delivered_with, for_each_field, without_answer,
};
use super::{Failure, Response, one_line};

const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const OK: usize = 0;
const CANCELLED: usize = 1;
const UNKNOWN: usize = 2;
const DEADLINE_EXCEEDED: usize = 4;
const PERMISSION_DENIED: usize = 7;
const RESOURCE_EXHAUSTED: usize = 8;
const ABORTED: usize = 10;
const OUT_OF_RANGE: usize = 11;
const UNIMPLEMENTED: usize = 12;
const INTERNAL: usize = 13;
const UNAVAILABLE: usize = 14;
const DATA_LOSS: usize = 15;
const UNAUTHENTICATED: usize = 16;

/// How servers say that a message was beyond their limit. They disagree on the code.
const TOO_LARGE: [&str; 4] = ["larger than max", "exceeds max", "exceeds the max", "length too large"];

/// The meaning of the answer to an OTLP call over gRPC.
pub fn classify_otlp_grpc(result: &Result<Response, Failure>) -> Outcome {
    let response = match result {
        Ok(response) => response,
        Err(Failure::Reset(code)) => {
            return status(of_reset(*code), &format!("the call was reset with {}", error_name(*code)), None);
        }
        Err(failure) => return without_answer(failure),
    };
    if let Some(code) = declared(response) {
        return match code {
            OK => delivered_with(&response.body),
            code => status(code, &words(response), retry_info(response)),
        };
    }
    match response.status {
        413 => Outcome::TooLarge,
        http => match status(of_http(http), &format!("HTTP {http} without a gRPC status"), None) {
            // The server has not said so itself.
            Outcome::Unsupported { reason } => Outcome::Refused { reason },
            outcome => outcome,
        },
    }
}

/// The name of an answer's gRPC code, declared or implied; `None`: there was no answer.
pub fn grpc_code_name(result: &Result<Response, Failure>) -> Option<&'static str> {
    let code = match result {
        Ok(response) => declared(response).unwrap_or_else(|| of_http(response.status)),
        Err(Failure::Reset(code)) => of_reset(*code),
        Err(_) => return None,
    };
    NAMES.get(code).copied()
}

/// `retry`: the wait that the server named, if it sent a RetryInfo at all.
fn status(code: usize, words: &str, retry: Option<Duration>) -> Outcome {
    let lower = words.to_ascii_lowercase();
    if TOO_LARGE.iter().any(|phrase| lower.contains(phrase)) {
        return Outcome::TooLarge;
    }
    let words = one_line(words, MAX_MESSAGE_CHARS);
    let separator = if words.is_empty() { "" } else { ": " };
    let reason = format!("gRPC {} ({code}){separator}{words}", NAMES.get(code).unwrap_or(&"UNKNOWN"));
    match code {
        CANCELLED | DEADLINE_EXCEEDED | ABORTED | OUT_OF_RANGE | UNAVAILABLE | DATA_LOSS => {
            Outcome::Retry { after: retry, reason }
        }
        RESOURCE_EXHAUSTED if retry.is_some() => Outcome::Retry { after: retry, reason },
        UNIMPLEMENTED => Outcome::Unsupported { reason },
        _ => Outcome::Refused { reason },
    }
}

/// `grpc-status`, whatever the HTTP status. One that is no known code is UNKNOWN.
fn declared(response: &Response) -> Option<usize> {
    let text = last(&response.headers, "grpc-status")?.as_bytes();
    let code = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    Some(code.filter(|code| *code < NAMES.len()).unwrap_or(UNKNOWN))
}

/// For an answer without `grpc-status`, as gRPC wants it: something on the way answered, not the server.
fn of_http(status: u16) -> usize {
    match status {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// For a stream that ended without an answer, as gRPC wants it.
fn of_reset(code: u32) -> usize {
    match code {
        0x0..=0x4 | 0x6 | 0x9 | 0xa => INTERNAL,
        0x7 => UNAVAILABLE,
        0x8 => CANCELLED,
        0xb => RESOURCE_EXHAUSTED,
        0xc => PERMISSION_DENIED,
        _ => UNKNOWN,
    }
}

fn words(response: &Response) -> String {
    let words = last(&response.headers, "grpc-message").map_or(&b""[..], |value| value.as_bytes());
    percent_decode(words).decode_utf8_lossy().into_owned()
}

/// The wait of the `google.rpc.RetryInfo` in `grpc-status-details-bin`, 5 minutes at most.
fn retry_info(response: &Response) -> Option<Duration> {
    let text = last(&response.headers, "grpc-status-details-bin")?.as_bytes();
    let details = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
    let mut wait = None;
    // Status { details = 3: Any { type_url = 1, value = 2 } }
    for_each_field(&details, |number, value| {
        if let (3, Value::Bytes(any)) = (number, value) {
            let (mut kind, mut info) = (&b""[..], &b""[..]);
            for_each_field(any, |number, value| {
                match (number, value) {
                    (1, Value::Bytes(url)) => kind = url,
                    (2, Value::Bytes(value)) => info = value,
                    _ => {}
                }
                Some(())
            })?;
            if kind.ends_with(b"/google.rpc.RetryInfo") {
                wait = Some(retry_delay(info)?);
            }
        }
        Some(())
    })?;
    wait
}

/// `RetryInfo { retry_delay = 1: Duration { seconds = 1, nanos = 2 } }`: 0 where it is absent or negative.
fn retry_delay(info: &[u8]) -> Option<Duration> {
    let (mut seconds, mut nanos) = (0, 0);
    for_each_field(info, |number, value| {
        if let (1, Value::Bytes(delay)) = (number, value) {
            for_each_field(delay, |number, value| {
                match (number, value) {
                    (1, Value::Varint(value)) => seconds = value as i64,
                    (2, Value::Varint(value)) => nanos = value as i64,
                    _ => {}
                }
                Some(())
            })?;
        }
        Some(())
    })?;
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
        return Some(Duration::ZERO);
    };
    let wait = Duration::from_secs(seconds.min(MAX_RETRY_AFTER.as_secs()));
    Some((wait + Duration::from_nanos(nanos.into())).min(MAX_RETRY_AFTER))
}
