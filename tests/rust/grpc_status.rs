//! What the answers to OTLP calls over gRPC mean.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use proptest::prelude::*;
use prost::Message;
use pytracingx::transport::grpc_status::{classify_otlp_grpc, grpc_code_name};
use pytracingx::transport::retry::Outcome;
use pytracingx::transport::{Failure, Response};

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

fn answer(status: u16, headers: &[(&'static str, &[u8])], body: &[u8]) -> Result<Response, Failure> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    Ok(Response { status, headers: map, body: body.to_vec() })
}

fn of(code: &str, words: &str) -> Outcome {
    of_details(code, words, None)
}

fn of_details(code: &str, words: &str, details: Option<&[u8]>) -> Outcome {
    let mut headers = vec![("grpc-status", code.as_bytes()), ("grpc-message", words.as_bytes())];
    headers.extend(details.map(|details| ("grpc-status-details-bin", details)));
    classify_otlp_grpc(&answer(200, &headers, b""))
}

fn retry(after: Option<u64>, reason: &str) -> Outcome {
    Outcome::Retry { after: after.map(Duration::from_millis), reason: reason.to_owned() }
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused { reason: reason.to_owned() }
}

#[test]
fn each_code_has_its_meaning() {
    assert_eq!(of("0", "ignored"), Outcome::Delivered { rejected: 0, message: None });
    for (code, name) in NAMES.iter().enumerate().skip(1) {
        let reason = format!("gRPC {name} ({code}): no");
        let expected = match code {
            1 | 4 | 10 | 11 | 14 | 15 => Outcome::Retry { after: None, reason },
            12 => Outcome::Unsupported { reason },
            _ => Outcome::Refused { reason },
        };
        assert_eq!(of(&code.to_string(), "no"), expected);
        let headers = [("grpc-status", code.to_string().into_bytes())];
        let headers = headers.each_ref().map(|(name, value)| (*name, &value[..]));
        assert_eq!(grpc_code_name(&answer(200, &headers, b"")), Some(*name));
    }
    for strange in ["17", "-1", "", "ok", "4294967296", "0x0", "99999999999999999999999"] {
        assert_eq!(of(strange, ""), refused("gRPC UNKNOWN (2)"), "{strange}");
    }
    // Trailers come after the headers.
    let twice = answer(200, &[("grpc-status", b"0"), ("grpc-status", b"7")], b"");
    assert_eq!(classify_otlp_grpc(&twice), refused("gRPC PERMISSION_DENIED (7)"));
}

#[test]
fn each_http_status_has_its_code() {
    for (status, code) in [
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (429, 14),
        (502, 14),
        (503, 14),
        (504, 14),
        (200, 2),
        (204, 2),
        (302, 2),
        (500, 2),
        (0, 2),
    ] {
        let result = answer(status, &[("content-type", b"text/html")], b"<html>");
        let reason = format!("gRPC {} ({code}): HTTP {status} without a gRPC status", NAMES[code]);
        let expected =
            if code == 14 { Outcome::Retry { after: None, reason } } else { Outcome::Refused { reason } };
        assert_eq!(classify_otlp_grpc(&result), expected);
        assert_eq!(grpc_code_name(&result), Some(NAMES[code]));
    }
    assert_eq!(classify_otlp_grpc(&answer(413, &[], b"")), Outcome::TooLarge);
    // What the server itself says counts, whatever stands before it.
    let declared = classify_otlp_grpc(&answer(503, &[("grpc-status", b"3")], b""));
    assert_eq!(declared, refused("gRPC INVALID_ARGUMENT (3)"));
}

#[test]
fn each_reset_has_its_code() {
    for (reset, code) in [
        (0, 13),
        (1, 13),
        (2, 13),
        (3, 13),
        (4, 13),
        (5, 2),
        (6, 13),
        (7, 14),
        (8, 1),
        (9, 13),
        (10, 13),
        (11, 8),
        (12, 7),
        (13, 2),
        (u32::MAX, 2),
    ] {
        let result = Err(Failure::Reset(reset));
        assert_eq!(grpc_code_name(&result), Some(NAMES[code]));
        let begin = format!("gRPC {} ({code}): the call was reset with ", NAMES[code]);
        match classify_otlp_grpc(&result) {
            Outcome::Retry { after: None, reason } if matches!(code, 1 | 14) => {
                assert!(reason.starts_with(&begin), "{reason}");
            }
            Outcome::Refused { reason } => assert!(reason.starts_with(&begin) && !matches!(code, 1 | 14)),
            other => panic!("{reset}: {other:?}"),
        }
    }
}

#[test]
fn failures_are_as_of_http() {
    let of = |failure| classify_otlp_grpc(&Err(failure));
    assert_eq!(of(Failure::Io("x".into())), retry(None, "connection lost: x"));
    assert_eq!(of(Failure::Timeout("send")), retry(None, "timed out (send)"));
    assert_eq!(of(Failure::Tls("x".into())), retry(Some(30_000), "TLS failed: x"));
    assert_eq!(of(Failure::Oversized("x")), refused("answer refused: x"));
    assert_eq!(grpc_code_name(&Err(Failure::Timeout("send"))), None);
}

#[test]
fn messages_too_large_are_told_by_the_words() {
    for (code, words) in [
        ("8", "Received message larger than max (5242880 vs. 4194304)"),
        ("8", "CLIENT:%20Received%20message%20larger%20than%20max%20%285 vs. 4%29"),
        ("8", "grpc: received message after decompression larger than max 4194304"),
        ("8", "gRPC message exceeds maximum size 4194304: 5242880"),
        ("11", "Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes"),
        ("8", "Received message exceeds the maximum configured message size."),
    ] {
        assert_eq!(of(code, words), Outcome::TooLarge, "{words}");
    }
    assert_eq!(of("8", "quota"), refused("gRPC RESOURCE_EXHAUSTED (8): quota"));
}

#[test]
fn words_are_decoded_and_made_harmless() {
    for (words, shown) in [
        ("caf%C3%A9 %e2%82%ac", "café €"),
        ("100%, %zz %4", "100%, %zz %4"),
        ("a%0D%0Ab%1B[31m%E2%80%AEc", "a b [31m c"),
        ("%FF%FE", "\u{fffd}\u{fffd}"),
        ("", ""),
    ] {
        let separator = if shown.is_empty() { "" } else { ": " };
        assert_eq!(of("3", words), refused(&format!("gRPC INVALID_ARGUMENT (3){separator}{shown}")));
    }
    let Outcome::Refused { reason } = of("3", &"x".repeat(10_000)) else { panic!() };
    assert!(reason.len() < 300);
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

fn details(type_url: &str, retry_delay: Option<(i64, i32)>, padded: bool) -> Vec<u8> {
    let retry_delay = retry_delay.map(|(seconds, nanos)| Delay { seconds, nanos });
    let other = Any { type_url: "type.googleapis.com/google.rpc.Help".into(), value: vec![0xff; 5] };
    let info = Any { type_url: type_url.into(), value: RetryInfo { retry_delay }.encode_to_vec() };
    let status = Status { code: 8, message: "later".into(), details: vec![other, info] };
    base64(&status.encode_to_vec(), padded)
}

fn base64(bytes: &[u8], padded: bool) -> Vec<u8> {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    if padded { STANDARD.encode(bytes) } else { STANDARD_NO_PAD.encode(bytes) }.into_bytes()
}

#[test]
fn a_server_may_name_the_wait() {
    for (delay, wait) in [
        (Some((2, 500_000_000)), 2_500),
        (Some((0, 1_000_000)), 1),
        (Some((299, 999_000_000)), 299_999),
        (Some((300, 999_000_000)), 300_000),
        (Some((i64::MAX, i32::MAX)), 300_000),
        (Some((-5, 0)), 0),
        (Some((0, -5)), 0),
        (None, 0),
    ] {
        for padded in [true, false] {
            let details = details(RETRY_INFO, delay, padded);
            let exhausted = of_details("8", "later", Some(&details));
            assert_eq!(exhausted, retry(Some(wait), "gRPC RESOURCE_EXHAUSTED (8): later"), "{delay:?}");
            let unavailable = of_details("14", "", Some(&details));
            assert_eq!(unavailable, retry(Some(wait), "gRPC UNAVAILABLE (14)"));
            let denied = of_details("7", "", Some(&details));
            assert_eq!(denied, refused("gRPC PERMISSION_DENIED (7)"), "final is final");
        }
    }
    let elsewhere = details("type.googleapis.com/google.rpc.DebugInfo", Some((2, 0)), true);
    let cut = base64(&[0x1a, 0x7f, 0x0a], true);
    for useless in [&elsewhere[..], &cut, b"not base64!", b""] {
        assert_eq!(of_details("8", "", Some(useless)), refused("gRPC RESOURCE_EXHAUSTED (8)"));
        assert_eq!(of_details("14", "", Some(useless)), retry(None, "gRPC UNAVAILABLE (14)"));
    }
}

#[test]
fn a_partial_success_is_read_as_of_http() {
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too\nold".into() };
    let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let of = |body: &[u8]| classify_otlp_grpc(&answer(200, &[("grpc-status", b"0")], body));
    assert_eq!(of(&body), Outcome::Delivered { rejected: 3, message: Some("too old".into()) });
    let message = Some("the answer's body is not an OTLP response".to_owned());
    assert_eq!(of(&body[..body.len() - 1]), Outcome::Delivered { rejected: 0, message });
}

proptest! {
    #[test]
    fn anything_can_be_classified(
        status: u16,
        code in ".{0,4}",
        words in prop::collection::vec(32..=255_u8, 0..40),
        status_details in prop::collection::vec(any::<u8>(), 0..60),
        encoded: bool,
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let details = if encoded { base64(&status_details, false) } else { status_details };
        let headers = [("grpc-status", code.as_bytes()), ("grpc-message", &words), ("grpc-status-details-bin", &details)];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.extend(HeaderValue::from_bytes(value).ok().map(|value| (http::HeaderName::from_static(name), value)));
        }
        match classify_otlp_grpc(&Ok(Response { status, headers: map, body })) {
            Outcome::Retry { after, reason } => {
                prop_assert!(after.is_none_or(|after| after <= Duration::from_secs(300)));
                prop_assert!(!reason.contains(char::is_control));
            }
            Outcome::Refused { reason } | Outcome::Unsupported { reason } => {
                prop_assert!(!reason.contains(char::is_control) && reason.chars().count() < 300);
            }
            Outcome::Delivered { .. } | Outcome::TooLarge => {}
        }
    }
}
