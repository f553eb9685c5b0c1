//! `Retry-After`, whatever a server says there, as seconds or as a date: within five minutes, and for seconds what a second
//! reading says.

#![cfg_attr(fuzzing, no_main)]

mod shim;

use std::cell::OnceCell;
use std::time::Duration;

use pytracingx::config::{Endpoint, PathRule, Protocol, TransportConfig};
use pytracingx::transport::Http1;
use pytracingx::transport::retry::{Outcome, classify_otlp_http};
use pytracingx::transport::sls_answer::classify_sls;

fuzz_target!(retry_after);

/// Sun, 15 Jun 2025 15:06:40 GMT.
const NOW_UNIX: u64 = 1_750_000_000;
const MOST: u64 = 300;
/// What values are made of; other bytes are themselves.
const PARTS: [&str; 16] = [
    "0",
    "1",
    "9",
    "300",
    "99999999999999999999999",
    "-",
    "+",
    ".5",
    " ",
    ",",
    "Sun, 15 Jun 2025 15:06:42 GMT",
    "Sun, 15 Jun 2025 15:06:00 GMT",
    "Sunday, 15-Jun-25 15:08:00 GMT",
    "Sun Jun 15 15:07:40 2025",
    " GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
];

/// One input of the fuzzer: a byte for each part.
fn retry_after(data: &[u8]) {
    let mut value = Vec::new();
    for byte in data.iter().take(12) {
        match PARTS.get(usize::from(*byte) % 24) {
            Some(part) => value.extend_from_slice(part.as_bytes()),
            None => value.push(*byte),
        }
    }
    value.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    let head = [b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nretry-after: ", &value[..], b"\r\n\r\n"].concat();
    thread_local!(static CLIENT: OnceCell<Http1> = const { OnceCell::new() });
    let answer = CLIENT.with(|cell| cell.get_or_init(client).replay([&head[..]]));
    for outcome in [classify_otlp_http(&answer, NOW_UNIX), classify_sls(&answer, NOW_UNIX).outcome] {
        let Outcome::Retry { after, .. } = outcome else { panic!("a 503, or no answer: {outcome:?}") };
        assert!(after.is_none_or(|after| after.as_secs() <= MOST));
        // What is no header value is no answer.
        let (Ok(_), Ok(text)) = (&answer, std::str::from_utf8(&value)) else { continue };
        let text = text.trim_matches([' ', '\t']);
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
            let seconds = text.parse::<u128>().unwrap_or(u128::MAX).min(MOST.into()) as u64;
            assert_eq!(after, Some(Duration::from_secs(seconds)), "{text:?}");
        } else if let Some(known) = DATES.iter().find(|(date, _)| *date == text) {
            assert_eq!(after, Some(Duration::from_secs(known.1)), "{text:?}");
        } else if !text.contains("GMT") && !text.contains("2025") {
            assert_eq!(after, None, "{text:?}");
        }
    }
}

/// The same by hand.
const DATES: [(&str, u64); 5] = [
    ("Sun, 15 Jun 2025 15:06:42 GMT", 2),
    ("Sun, 15 Jun 2025 15:06:00 GMT", 0),
    ("Sunday, 15-Jun-25 15:08:00 GMT", 80),
    ("Sun Jun 15 15:07:40 2025", 60),
    ("Fri, 31 Dec 9999 23:59:59 GMT", MOST),
];

fn client() -> Http1 {
    let rule = PathRule::AsIs;
    let endpoint =
        Endpoint::parse("endpoint", "http://127.0.0.1:1/", Some(Protocol::HttpProtobuf), None, rule);
    let config = TransportConfig::new(endpoint.expect("an endpoint").0, Protocol::HttpProtobuf);
    Http1::new(&config, "application/x-protobuf", "fuzz").expect("a client")
}
