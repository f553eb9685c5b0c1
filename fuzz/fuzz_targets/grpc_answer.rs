//! Whatever a gRPC server sends over HTTP/2: an outcome within the limits, in one line, and the same answer however the
//! bytes are cut into reads.

#![cfg_attr(fuzzing, no_main)]

mod shim;

use std::cell::OnceCell;

use pytracingx::config::{Endpoint, PathRule, Protocol, Signal, TransportConfig};
use pytracingx::transport::grpc_status::{classify_otlp_grpc, grpc_code_name};
use pytracingx::transport::retry::Outcome;
use pytracingx::transport::{Failure, Grpc, Response};

fuzz_target!(grpc_answer);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What heads and trailers are made of.
const FIELDS: [(&str, &str); 16] = [
    (":status", "200"),
    (":status", "503"),
    (":status", "100"),
    ("content-type", "application/grpc"),
    ("grpc-encoding", "gzip"),
    ("grpc-encoding", "zstd"),
    ("grpc-status", "0"),
    ("grpc-status", "8"),
    ("grpc-status", "14"),
    ("grpc-status", "12"),
    ("grpc-status", "-1"),
    ("grpc-message", "message larger than max (5 vs. 4)%0d%e2%80%ae"),
    // google.rpc.Status with a RetryInfo of 7 s, then one cut short, then no base64.
    ("grpc-status-details-bin", "CAgaLgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxICCgA"),
    ("grpc-status-details-bin", "CAgaLgoodHlwZS5nb29n"),
    ("grpc-status-details-bin", "=!"),
    ("x-y", "\u{1b}[31m"),
];
/// What messages are made of: partial success, its beginning, a compressed prefix, none.
const MESSAGES: [&[u8]; 5] = [
    b"\0\0\0\0\x07\x0a\x05\x08\x02\x12\x01\x1b",
    b"\0\0\0\0\x07\x0a\xff\xff\xff\xff\x0f\x00",
    b"\x01\0\0\0\x03\x1f\x8b\x08",
    b"\0\xff\xff\xff\xff",
    b"",
];

/// One input of the fuzzer: a byte that chooses a frame, then what it needs.
fn grpc_answer(data: &[u8]) {
    let (cuts, frames) = data.split_at(data.len() / 4);
    let mut bytes = Vec::new();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    let mut input = frames.iter().copied();
    while let Some(choice) = input.next() {
        let mut next = || input.next().unwrap_or(0);
        let stream = if choice & 0x80 == 0 { 1 } else { u32::from(choice >> 4) };
        match choice & 0x0f {
            0..=4 => {
                let block: Vec<u8> =
                    (0..next() % 8).flat_map(|_| field(FIELDS[usize::from(next() % 16)])).collect();
                let kind = if choice & 0x0f == 4 { CONTINUATION } else { HEADERS };
                frame(
                    &mut bytes,
                    kind,
                    (next() & (END | END_HEADERS)) | (END_HEADERS * u8::from(choice < 3)),
                    stream,
                    &block,
                );
            }
            5..=7 => frame(&mut bytes, DATA, next() & END, stream, MESSAGES[usize::from(next() % 5)]),
            8 => frame(&mut bytes, DATA, 0, stream, &vec![next(); 64 * usize::from(next())]),
            9 => frame(&mut bytes, RST_STREAM, 0, stream, &[0, 0, 0, next() % 16]),
            10 => frame(
                &mut bytes,
                GOAWAY,
                0,
                0,
                &[0, 0, 0, next() % 4, 0, 0, 0, next() % 16, b'b', 0x1b, b'y'],
            ),
            11 => frame(&mut bytes, PING, next() & END, 0, &[next(); 8]),
            12 => {
                frame(&mut bytes, WINDOW_UPDATE, 0, stream * u32::from(next() & 1), &[next(), 0, 0, next()])
            }
            13 => frame(&mut bytes, SETTINGS, next() & END, 0, &[0, next() % 8, 0, 0, next(), next()]),
            14 => {
                let payload: Vec<u8> = (0..next()).map(|_| next()).collect();
                frame(&mut bytes, next(), next(), stream, &payload);
            }
            _ => bytes.push(next()),
        }
    }
    thread_local!(static CLIENT: OnceCell<Grpc> = const { OnceCell::new() });
    let (whole, pieces) = CLIENT.with(|cell| {
        let client = cell.get_or_init(client);
        (client.replay([&bytes[..]]), client.replay(cut(&bytes, cuts)))
    });
    check(&whole);
    check(&pieces);
    if let (Ok(whole), Ok(pieces)) = (&whole, &pieces) {
        assert_eq!((whole.status, &whole.body), (pieces.status, &pieces.body));
    }
}

fn client() -> Grpc {
    let rule = PathRule::AsIs;
    let endpoint = Endpoint::parse("endpoint", "http://127.0.0.1:1", Some(Protocol::Grpc), None, rule);
    let config = TransportConfig::new(endpoint.expect("an endpoint").0, Protocol::Grpc);
    Grpc::new(&config, Signal::Traces, "fuzz").expect("a client")
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// HPACK: a literal that is not indexed, with a name of its own.
fn field((name, value): (&str, &str)) -> Vec<u8> {
    let mut out = vec![0, name.len() as u8];
    out.extend_from_slice(name.as_bytes());
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
    out
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
        assert!(response.body.len() <= 4 << 20);
        let headers = response.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        assert!(headers.sum::<usize>() <= 64 << 10);
    }
    if let Err(failure) = result {
        one_line(&failure.to_string());
    }
    let ok = grpc_code_name(result) == Some("OK");
    match classify_otlp_grpc(result) {
        Outcome::Delivered { message, .. } => {
            assert!(ok);
            message.iter().for_each(|text| one_line(text));
        }
        Outcome::TooLarge => assert!(!ok),
        Outcome::Refused { reason } | Outcome::Unsupported { reason } => one_line(&reason),
        Outcome::Retry { after, reason } => {
            assert!(!ok && after.is_none_or(|after| after.as_secs() <= 300));
            one_line(&reason);
        }
    }
}

fn one_line(text: &str) {
    assert!(
        text.chars().count() <= 400 && !text.contains(|c: char| c.is_control() || c == '\u{202e}'),
        "{text:?}"
    );
}
