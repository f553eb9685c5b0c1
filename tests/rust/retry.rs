//! What answers mean, how long to wait, how bodies shrink, and the scripted exchange.

use std::io::Read;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use proptest::prelude::*;
use prost::Message;
use pytracingx::config::Compression;
use pytracingx::transport::memory::Memory;
use pytracingx::transport::retry::{Backoff, Outcome, classify_otlp_http};
use pytracingx::transport::{Exchange, Failure, Request, Response, compress};

/// 2026-01-01T00:00:00Z.
const NOW: u64 = 1_767_225_600;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Result<Response, Failure> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Ok(Response { status, headers: map, body: body.to_vec() })
}

fn classify(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Outcome {
    classify_otlp_http(&answer(status, headers, body), NOW)
}

fn delivered(rejected: u64, message: Option<&str>) -> Outcome {
    Outcome::Delivered { rejected, message: message.map(str::to_owned) }
}

fn partial(rejected_spans: i64, error_message: &str) -> Vec<u8> {
    let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() };
    ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
}

const PROTOBUF: &[(&str, &str)] = &[("content-type", "application/x-protobuf")];

#[test]
fn each_status_has_its_meaning() {
    for status in [200, 202, 204] {
        assert_eq!(delivered(0, None), classify(status, &[], b""));
    }
    for status in [429, 502, 503, 504] {
        let reason = format!("HTTP {status}: busy");
        assert_eq!(Outcome::Retry { after: None, reason }, classify(status, &[], b"busy"));
    }
    assert_eq!(Outcome::TooLarge, classify(413, &[], b"much too large"));
    for status in [101, 400, 401, 403, 404, 408, 500, 501, 505, 599] {
        assert_eq!(Outcome::Refused { reason: format!("HTTP {status}: no") }, classify(status, &[], b"no"));
    }
    for status in [301, 302, 303, 307, 308] {
        let reason = format!("HTTP {status}: redirects are not followed");
        assert_eq!(Outcome::Refused { reason }, classify(status, &[("location", "http://evil/")], b"moved"));
    }
}

#[test]
fn failures_are_tried_again_but_not_an_answer_beyond_the_limits() {
    let after = |failure| match classify_otlp_http(&Err(failure), NOW) {
        Outcome::Retry { after, .. } => after,
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(None, after(Failure::Resolve("x".into())));
    assert_eq!(None, after(Failure::Connect("x".into())));
    assert_eq!(None, after(Failure::Io("x".into())));
    assert_eq!(None, after(Failure::Protocol("x".into())));
    assert_eq!(None, after(Failure::Timeout("send")));
    assert_eq!(Some(Duration::from_secs(30)), after(Failure::Tls("x".into())));
    assert_eq!(None, after(Failure::Proxy("x".into())));
    let oversized = classify_otlp_http(&Err(Failure::Oversized("a body of more than 4 MiB")), NOW);
    assert_eq!(Outcome::Refused { reason: "answer refused: a body of more than 4 MiB".into() }, oversized);
}

#[test]
fn retry_after_is_believed_within_reason() {
    let after = |status, values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|value| ("retry-after", *value)).collect();
        match classify(status, &headers, b"") {
            Outcome::Retry { after, .. } => after.map(|after| after.as_secs()),
            outcome => panic!("{outcome:?}"),
        }
    };
    assert_eq!(Some(5), after(429, &["5"]));
    assert_eq!(Some(0), after(503, &["0"]));
    assert_eq!(Some(300), after(503, &["1000000000000"]));
    assert_eq!(Some(300), after(503, &["99999999999999999999999999"]));
    assert_eq!(Some(90), after(503, &["Thu, 01 Jan 2026 00:01:30 GMT"]));
    assert_eq!(Some(0), after(503, &["Wed, 31 Dec 2025 23:59:00 GMT"]));
    assert_eq!(Some(300), after(503, &["Fri, 31 Dec 9999 23:59:59 GMT"]));
    for garbage in
        ["-1", "abc", "", "1e12", "5, 10", "5.5", "+5", "0x10", "Thu, 99 Jan 2026 00:01:30 GMT", "\u{e9}"]
    {
        assert_eq!(None, after(503, &[garbage]), "{garbage}");
    }
    assert_eq!(Some(7), after(503, &["abc", "7", "9"]));
    assert_eq!(None, after(502, &["5"]), "only 429 and 503 carry it");
}

#[test]
fn partial_success_is_read_and_garbage_is_not() {
    assert_eq!(delivered(3, Some("too old")), classify(200, PROTOBUF, &partial(3, "too old")));
    assert_eq!(delivered(3, None), classify(200, &[], &partial(3, "")));
    assert_eq!(delivered(0, Some("careful")), classify(200, PROTOBUF, &partial(0, "careful")));
    assert_eq!(delivered(0, None), classify(200, PROTOBUF, &partial(-4, "")));
    assert_eq!(delivered(0, None), classify(200, &[("content-type", "text/plain")], b"\x0a\x02\x08\x05"));
    assert_eq!(delivered(0, None), classify(200, &[], b"OK"));
    let unreadable = Some("the answer's body is not an OTLP response");
    assert_eq!(
        delivered(0, unreadable),
        classify(200, PROTOBUF, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
    );
}

#[test]
fn words_of_a_server_become_one_printable_line() {
    let hostile = "no\r\npytracingx: fake \u{1b}[31mred\u{202e}drow\u{9b}x\u{2028}end\0";
    let Outcome::Refused { reason } = classify(400, &[], hostile.as_bytes()) else { panic!() };
    assert_eq!("HTTP 400: no pytracingx: fake [31mred drow x end", reason);
    let Outcome::Refused { reason } = classify(400, &[], "é".repeat(100_000).as_bytes()) else { panic!() };
    assert_eq!(format!("HTTP 400: {}", "é".repeat(256)), reason);
    // google.rpc.Status { code: 3, message: "bad span" }
    let Outcome::Refused { reason } = classify(400, PROTOBUF, b"\x08\x03\x12\x08bad span") else { panic!() };
    assert_eq!("HTTP 400: bad span", reason);
    let message = delivered(1, Some("two lines"));
    assert_eq!(message, classify(200, PROTOBUF, &partial(1, "two\n lines ")));
}

proptest! {
    #[test]
    fn classify_reads_what_the_official_encoder_writes(rejected in 0i64.., message in "[a-z]{1,12}") {
        let expected = Outcome::Delivered { rejected: rejected as u64, message: Some(message.clone()) };
        prop_assert_eq!(expected, classify(200, PROTOBUF, &partial(rejected, &message)));
    }

    #[test]
    fn classify_never_panics(
        status in 0u16.., retry_after in "[ -~]{0,40}", body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        for headers in [&[("retry-after", retry_after.as_str())][..], PROTOBUF] {
            classify(status, headers, &body);
        }
    }

    #[test]
    fn a_damaged_body_reads_as_the_official_decoder_reads_it(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = partial(300, "many spans");
        *at.get_mut(&mut body) = byte;
        if let Ok(ExportTraceServiceResponse { partial_success }) = ExportTraceServiceResponse::decode(&*body) {
            let theirs = partial_success.unwrap_or_default();
            let words: Vec<_> = theirs.error_message.split_whitespace().collect();
            let rejected = u64::try_from(theirs.rejected_spans).unwrap_or(0);
            let Outcome::Delivered { rejected: ours, message } = classify(200, PROTOBUF, &body) else { panic!() };
            prop_assert_eq!(rejected, ours);
            if words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_graphic())) {
                prop_assert_eq!(words.join(" "), message.unwrap_or_default());
            }
        }
    }

    #[test]
    fn compressed_bodies_come_back(body in proptest::collection::vec(any::<u8>(), 0..4096), copies in 1usize..40) {
        let body = body.repeat(copies);
        let mut out = b"left over".to_vec();
        prop_assert_eq!(None, compress(Compression::None, &body, &mut out));
        prop_assert_eq!(&body, &out);
        prop_assert_eq!(Some("gzip"), compress(Compression::Gzip, &body, &mut out));
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&*out).read_to_end(&mut back).unwrap();
        prop_assert_eq!(&body, &back);
        prop_assert_eq!(Some("zstd"), compress(Compression::Zstd, &body, &mut out));
        prop_assert_eq!(&body, &zstd::stream::decode_all(&*out).unwrap());
    }
}

#[test]
fn compression_makes_repetition_small() {
    let body = b"http.request.method".repeat(1000);
    let mut out = Vec::new();
    for method in [Compression::Gzip, Compression::Zstd] {
        compress(method, &body, &mut out);
        assert!(out.len() < body.len() / 20, "{method:?}: {}", out.len());
    }
}

#[test]
fn waits_double_to_thirty_seconds_in_their_upper_half() {
    let wait = |attempt: usize, random| {
        let mut backoff = Backoff::default();
        (0..=attempt).map(|_| backoff.next_wait(random)).last().unwrap()
    };
    for (attempt, seconds) in [1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
        let longest = Duration::from_secs(seconds);
        assert_eq!(longest / 2, wait(attempt, 0));
        assert_eq!(longest, wait(attempt, longest.as_nanos() as u64 / 2));
    }
    let mut backoff = Backoff::default();
    backoff.next_wait(0);
    backoff.reset();
    assert_eq!(Duration::from_millis(500), backoff.next_wait(0));
    for _ in 0..1000 {
        assert!(backoff.next_wait(u64::MAX) <= Duration::from_secs(30));
    }
}

#[test]
fn a_scripted_exchange_answers_in_order_and_hangs_without_an_answer() {
    let script = Memory::default();
    let mut exchange = script.clone();
    let now = Instant::now();
    let deadline = now + Duration::from_secs(1);
    let request = |body: &[u8]| Request { headers: Vec::new(), body: body.into(), deadline };
    exchange.begin(request(b"a"), now);
    assert!(exchange.step(now).is_none());
    assert_eq!(Some(deadline), exchange.interest(now).wake_at);
    script.answer_status(503);
    assert_eq!(Some(now), exchange.interest(now).wake_at);
    assert_eq!(503, exchange.step(now).unwrap().unwrap().status);
    assert!(exchange.step(now).is_none(), "idle");
    exchange.begin(request(b"b"), now);
    assert_eq!(Failure::Timeout("receive"), exchange.step(deadline).unwrap().unwrap_err());
    exchange.begin(request(b"c"), now);
    exchange.cancel();
    let bodies: Vec<_> = script.requests().iter().map(|request| request.body.to_vec()).collect();
    assert_eq!((vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], 1), (bodies, script.cancelled()));
}
