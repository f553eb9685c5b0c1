//! Whatever a server, a proxy or somebody in between sends as an answer: an outcome within the limits, in one line, and the
//! same however the bytes are cut into reads.

#![cfg_attr(fuzzing, no_main)]

mod shim;

use std::cell::OnceCell;

use pytracingx::config::{Endpoint, PathRule, Protocol, TransportConfig};
use pytracingx::transport::retry::{Outcome, classify_otlp_http};
use pytracingx::transport::sls_answer::classify_sls;
use pytracingx::transport::{Failure, Http1, Response};

fuzz_target!(http_answer);

const NOW_UNIX: u64 = 1_750_000_000;
/// What answers are made of: random bytes alone are never one.
const PARTS: [&[u8]; 32] = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 503 Service Unavailable\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 429 \r\n",
    b"HTTP/1.1 401 \x1b[31m\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 307 Elsewhere\r\nlocation: http://elsewhere/\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"content-length: 5\r\n",
    b"content-length: 0\r\n\r\n",
    b"content-length: 18446744073709551615\r\n",
    b"content-length: 5000000\r\n\r\n",
    b"transfer-encoding: chunked\r\n\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"connection: close\r\n",
    b"content-type: application/x-protobuf\r\n\r\n",
    b"content-type: application/json\r\n\r\n",
    b"retry-after: 120\r\n",
    b"retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
    b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    b"x-log-requestid: 1\r\n\r\n",
    b"{\"errorCode\": \"WriteQuotaExceed\", \"errorMessage\": \"\\u001b\"}",
    b"{\"errorCode\": \"RequestTimeExpired\"}",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"5;x=y\r\n",
    b"\x0a\x05\x08\x02\x12\x01\x1b",
    b"\x12\xff\xff\xff\xff\x0f",
    b"x-y: \xe2\x80\xae\xff\r\n",
    b"hello",
];

/// One input of the fuzzer.
fn http_answer(data: &[u8]) {
    let (cuts, parts) = data.split_at(data.len() / 4);
    let mut bytes = Vec::new();
    for byte in parts {
        match PARTS.get(usize::from(*byte)) {
            Some(part) => bytes.extend_from_slice(part),
            None => bytes.push(*byte),
        }
    }
    thread_local!(static CLIENT: OnceCell<Http1> = const { OnceCell::new() });
    let (whole, pieces) = CLIENT.with(|cell| {
        let client = cell.get_or_init(client);
        (client.replay([&bytes[..]]), client.replay(cut(&bytes, cuts)))
    });
    check(&whole);
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(
                (whole.status, &whole.headers, &whole.body),
                (pieces.status, &pieces.headers, &pieces.body)
            );
        }
        (Err(_), Err(_)) => {}
        _ => panic!("{whole:?} at once, {pieces:?} in pieces"),
    }
}

fn client() -> Http1 {
    let rule = PathRule::AsIs;
    let endpoint =
        Endpoint::parse("endpoint", "http://127.0.0.1:1/", Some(Protocol::HttpProtobuf), None, rule);
    let config = TransportConfig::new(endpoint.expect("an endpoint").0, Protocol::HttpProtobuf);
    Http1::new(&config, "application/x-protobuf", "fuzz").expect("a client")
}

/// In reads of so many bytes, in turn.
fn cut<'a>(mut bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = bytes.split_at(usize::from(*cut).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

fn check(result: &Result<Response, Failure>) {
    if let Ok(response) = result {
        assert!((100..=999).contains(&response.status) && response.body.len() <= 4 << 20);
        let headers = response.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        assert!(headers.sum::<usize>() <= 64 << 10);
    }
    if let Err(failure) = result {
        one_line(&failure.to_string());
    }
    let otlp = classify_otlp_http(result, NOW_UNIX);
    assert!(!matches!(otlp, Outcome::Delivered { .. }) || result.as_ref().is_ok_and(|r| r.status / 100 == 2));
    for outcome in [otlp, classify_sls(result, NOW_UNIX).outcome] {
        match outcome {
            Outcome::Delivered { message: None, .. } | Outcome::TooLarge => {}
            Outcome::Delivered { message: Some(text), .. } | Outcome::Refused { reason: text } => {
                one_line(&text)
            }
            Outcome::Unsupported { .. } => panic!("only gRPC says that"),
            Outcome::Retry { after, reason } => {
                assert!(after.is_none_or(|after| after.as_secs() <= 300));
                one_line(&reason);
            }
        }
    }
}

fn one_line(text: &str) {
    assert!(
        text.chars().count() <= 400 && !text.contains(|c: char| c.is_control() || c == '\u{202e}'),
        "{text:?}"
    );
}
