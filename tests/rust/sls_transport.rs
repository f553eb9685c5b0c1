//! SLS requests and answers: signatures equal to the official client's to the letter, bodies that independent decoders
//! read, where requests go, and what each answer of the code table means.

use std::io::Read;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use pytracingx::config::{Secret, SlsCompression, SlsSinkConfig};
use pytracingx::transport::retry::Outcome;
use pytracingx::transport::sls::{CONTENT_TYPE, SlsDestination, compress_sls};
use pytracingx::transport::sls_answer::{Cause, SlsAnswer, SlsBackoff, classify_sls};
use pytracingx::transport::sls_sign::{AccessKey, Unsigned, sign};
use pytracingx::transport::{Failure, Response};
use serde_json::Value as Json;

use crate::sls_model;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn key(id: &str, secret: &str, token: Option<&str>) -> AccessKey {
    AccessKey { id: Secret::new(id), secret: Secret::new(secret), security_token: token.map(Secret::new) }
}

fn value<'a>(headers: &'a [(HeaderName, HeaderValue)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_str().expect("ASCII"))
}

// ---------------------------------------------------------------------------------------------- signatures

/// Everything the official client sends is equal, but for the `x-log-date` that it adds to version 1 unsigned.
#[test]
fn signatures_are_those_of_the_official_client() {
    let file: Json = serde_json::from_str(include_str!("../data/sls/signing.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 26);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let input = &case["input"];
        let text = |key: &str| input[key].as_str().unwrap();
        let query = input["query_params"].as_object().unwrap().iter();
        let query: Vec<_> = query.map(|(key, value)| (&**key, value.as_str().unwrap())).collect();
        let before = input["headers_before_signing"].as_object().unwrap();
        let own = before.iter().filter(|(name, _)| name.starts_with("x-log-"));
        let own: Vec<(HeaderName, HeaderValue)> = own
            .map(|(name, value)| (name.parse().unwrap(), value.as_str().unwrap().parse().unwrap()))
            .collect();
        let body = unhex(text("body_hex"));
        let request = Unsigned {
            method: text("method"),
            path: text("path"),
            query: &query,
            host: before["Host"].as_str().unwrap(),
            content_type: before.get("Content-Type").map(|value| value.as_str().unwrap()),
            headers: &own,
            body: &body,
        };
        let key = key(text("access_key_id"), text("access_key_secret"), input["security_token"].as_str());
        let time = input["time_unix"].as_u64().unwrap();
        let added = sign(&request, &key, input["region"].as_str(), time).expect("headers");

        let is_v1 = case["auth_version"] == "v1";
        let official = case["expected"]["headers_added_by_signer"].as_object().unwrap();
        let official =
            official.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap()));
        let mut official: Vec<_> = official.filter(|(name, _)| !(is_v1 && name == "x-log-date")).collect();
        official.sort();
        let mut ours: Vec<_> =
            added.iter().map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap())).collect();
        ours.sort();
        assert_eq!(ours, official, "{name}");
        assert_eq!(value(&added, "authorization"), case["expected"]["authorization"].as_str(), "{name}");
    }
}

#[test]
fn secrets_do_not_show() {
    let key = key("made-up-id", "made-up-secret", Some("made-up-token"));
    let config = SlsSinkConfig { region: Some("cn-hangzhou".into()), ..sls_model::config() };
    let destination = SlsDestination::new(&config);
    let headers = destination.headers(&key, b"body", 4, None, 1_709_622_489).unwrap();
    let shown = format!("{key:?} {destination:?} {headers:?}");
    assert!(!shown.contains("made-up"), "{shown}");
    assert!(value(&headers, "authorization").unwrap().contains("made-up-id"));

    let mut body =
        br#"{"errorMessage": "made-up-id:made-up-token made-up-secretmade-up-id made-up"}"#.to_vec();
    let len = body.len();
    key.redact(&mut body);
    let text = String::from_utf8(body).unwrap();
    assert_eq!(text.len(), len);
    assert_eq!(text.matches("made-up").count(), 1, "{text}");
}

#[test]
fn what_no_header_can_carry_is_an_error_not_a_panic() {
    let destination = SlsDestination::new(&sls_model::config());
    for key in [key("i\nd", "s", None), key("id", "s", Some("to\0ken"))] {
        assert!(destination.headers(&key, b"", 0, None, 0).is_err());
    }
    let key = key("id", "", None);
    assert!(destination.headers(&key, b"", 0, None, u64::MAX).is_ok(), "a clock that is beside itself");
}

// ---------------------------------------------------------------------------------------------- destinations

fn destination(endpoint: &str) -> SlsDestination {
    let config = sls_model::config();
    let config = SlsSinkConfig::new(
        ["endpoint", "project", "logstore"],
        endpoint,
        config.project,
        config.logstore,
        config.credentials,
    );
    SlsDestination::new(&config.expect("a valid endpoint"))
}

#[test]
fn endpoints_become_hosts() {
    let region = "my-project.cn-hangzhou.log.aliyuncs.com";
    for (endpoint, tls, dial, port, host) in [
        ("cn-hangzhou.log.aliyuncs.com", true, region, 443, region),
        ("https://cn-hangzhou.log.aliyuncs.com/", true, region, 443, region),
        ("my-project.cn-hangzhou.log.aliyuncs.com", true, region, 443, region),
        ("http://cn-hangzhou.log.aliyuncs.com", false, region, 80, region),
        ("http://cn-hangzhou.log.aliyuncs.com:8080", false, region, 8080, region),
        ("http://127.0.0.1:8080", false, "127.0.0.1", 8080, "my-project.127.0.0.1"),
        ("10.1.2.3", true, "10.1.2.3", 443, "my-project.10.1.2.3"),
        ("http://localhost:99", false, "localhost", 99, "my-project.localhost"),
        ("http://sls.localhost:99", false, "sls.localhost", 99, "my-project.sls.localhost"),
        (
            "http://localhost.example",
            false,
            "my-project.localhost.example",
            80,
            "my-project.localhost.example",
        ),
    ] {
        let destination = destination(endpoint);
        let to = &destination.endpoint;
        assert_eq!((to.tls, &*to.host, to.port, &*destination.host), (tls, dial, port, host), "{endpoint}");
        assert_eq!(to.path, "/logstores/app-log/shards/lb");
    }
}

/// No name can stand in front of an address in brackets: a signed header names the project.
#[test]
fn an_ipv6_address_gets_the_project_in_a_header() {
    let key = key("id", "secret", None);
    let six = destination("http://[::1]:8080");
    assert_eq!((&*six.endpoint.host, &*six.host), ("::1", "[::1]"));
    let headers = six.headers(&key, b"x", 1, None, 0).unwrap();
    assert_eq!(value(&headers, "x-log-project"), Some("my-project"));
    let four = destination("http://127.0.0.1:8080").headers(&key, b"x", 1, None, 0).unwrap();
    assert_eq!(value(&four, "x-log-project"), None);
}

#[test]
fn each_attempt_is_signed_for_its_time() {
    let key = key("id", "secret", Some("token"));
    for region in [None, Some("cn-hangzhou".to_owned())] {
        let destination = SlsDestination::new(&SlsSinkConfig { region, ..sls_model::config() });
        let at = |time| destination.headers(&key, b"body", 9, Some("lz4"), time).unwrap();
        let (first, second) = (at(1_709_622_489), at(1_709_622_490));
        assert_ne!(value(&first, "authorization"), value(&second, "authorization"));
        for (name, expected) in [
            ("host", "my-project.cn-hangzhou.log.aliyuncs.com"),
            ("content-type", CONTENT_TYPE),
            ("x-log-apiversion", "0.6.0"),
            ("x-log-bodyrawsize", "9"),
            ("x-log-compresstype", "lz4"),
            ("x-acs-security-token", "token"),
        ] {
            assert_eq!(value(&first, name), Some(expected));
        }
        let mut names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "each header once");
    }
}

// ---------------------------------------------------------------------------------------------- compression

/// A raw LZ4 block, read as its specification says.
fn unlz4(block: &[u8]) -> Vec<u8> {
    let (mut at, mut out) = (0, Vec::new());
    let length = |at: &mut usize, nibble: u8| {
        let mut length = usize::from(nibble);
        let mut more = if nibble == 15 { 255 } else { 0 };
        while more == 255 {
            more = block[*at];
            *at += 1;
            length += usize::from(more);
        }
        length
    };
    loop {
        let token = block[at];
        at += 1;
        let literals = length(&mut at, token >> 4);
        out.extend_from_slice(&block[at..at + literals]);
        at += literals;
        if at == block.len() {
            return out;
        }
        let offset = usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
        at += 2;
        for _ in 0..length(&mut at, token & 15) + 4 {
            out.push(out[out.len() - offset]);
        }
    }
}

#[test]
fn lz4_blocks_are_raw() {
    let file: Json = serde_json::from_str(include_str!("../data/sls/lz4.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let raw = unhex(case["raw_hex"].as_str().unwrap());
        let official = unhex(case["compressed_hex"].as_str().unwrap());
        assert_eq!(unlz4(&official), raw, "the decoder of this test reads what liblz4 writes");
        let mut out = vec![7; 3];
        assert_eq!(
            compress_sls(SlsCompression::Lz4, &raw, &mut out),
            case["headers"]["x-log-compresstype"].as_str()
        );
        assert_eq!(unlz4(&out), raw, "{}", case["name"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bodies_come_back(seed in prop::collection::vec(any::<u8>(), 0..300), times in 0..200_usize) {
        let body = seed.repeat(times);
        let mut out = Vec::new();
        prop_assert_eq!(compress_sls(SlsCompression::None, &body, &mut out), None);
        prop_assert_eq!(&out, &body);
        prop_assert_eq!(compress_sls(SlsCompression::Lz4, &body, &mut out), Some("lz4"));
        prop_assert_eq!(&unlz4(&out), &body);
        prop_assert_eq!(compress_sls(SlsCompression::Zstd, &body, &mut out), Some("zstd"));
        prop_assert_eq!(&zstd::decode_all(&*out).unwrap(), &body);
        prop_assert_eq!(compress_sls(SlsCompression::Deflate, &body, &mut out), Some("deflate"));
        let mut plain = Vec::new();
        flate2::read::ZlibDecoder::new(&*out).read_to_end(&mut plain).unwrap();
        prop_assert_eq!(&plain, &body);
    }

    #[test]
    fn no_answer_makes_it_panic(status in 100..1000_u16, body in prop::collection::vec(any::<u8>(), 0..200), id in any::<bool>(), now in any::<u64>(), time in any::<u64>()) {
        let mut headers = HeaderMap::new();
        if id {
            headers.insert("x-log-requestid", HeaderValue::from_static("R"));
        }
        headers.insert("x-log-time", HeaderValue::from(time));
        let expired = br#"{"errorCode":"RequestTimeExpired","errorMessage":""}"#.to_vec();
        for body in [body, expired] {
            classify_sls(&Ok(Response { status, headers: headers.clone(), body }), now);
        }
    }
}

// ---------------------------------------------------------------------------------------------- answers

const NOW: u64 = 1_709_622_489;

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> SlsAnswer {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    classify_sls(&Ok(Response { status, headers, body: body.into() }), NOW)
}

fn error(status: u16, code: &str) -> SlsAnswer {
    let body = format!(r#"{{"errorCode":"{code}","errorMessage":"some\nwords"}}"#);
    answer(status, &[("x-log-requestid", "5C9B")], &body)
}

fn retried(answer: &SlsAnswer) -> (Cause, &str) {
    match (&answer.outcome, answer.cause) {
        (Outcome::Retry { reason, .. }, Some(cause)) => (cause, reason),
        other => panic!("not retried: {other:?}"),
    }
}

#[test]
fn taken() {
    let taken = SlsAnswer { outcome: Outcome::Delivered { rejected: 0, message: None }, cause: None };
    assert_eq!(answer(200, &[("x-log-requestid", "5C9B")], ""), taken);
}

#[test]
fn the_code_table() {
    let clock = Cause::Clock { offset_seconds: None };
    for (status, code, cause) in [
        (400, "RequestTimeExpired", clock),
        (400, "RequestTimeTooSkewed", clock),
        (401, "SignatureNotMatch", Cause::Credentials),
        (401, "Unauthorized", Cause::Credentials),
        (401, "InvalidAccessKeyId", Cause::Credentials),
        (403, "WriteQuotaExceed", Cause::Quota),
        (403, "ShardWriteQuotaExceed", Cause::Quota),
        (403, "ExceedQuota", Cause::Quota),
        (403, "QuotaExceed", Cause::Quota),
        (500, "InternalServerError", Cause::Server),
        (500, "RequestTimeout", Cause::Server),
        (502, "Anything", Cause::Server),
        (503, "ServerBusy", Cause::Server),
    ] {
        let answer = error(status, code);
        let expected = format!("HTTP {status} {code}: some words (request id 5C9B)");
        assert_eq!(retried(&answer), (cause, &*expected));
    }
    for (status, code) in [
        (400, "InvalidRequestTime"),
        (400, "ParameterInvalid"),
        (400, "PostBodyInvalid"),
        (400, "InvalidEncoding"),
        (403, "ProjectForbidden"),
        (404, "ProjectNotExist"),
        (404, "LogStoreNotExist"),
        (405, "InvalidMethod"),
        (411, "MissingContentLength"),
        (415, "InvalidContentType"),
    ] {
        let reason = format!("HTTP {status} {code}: some words (request id 5C9B)");
        assert_eq!(error(status, code), SlsAnswer { outcome: Outcome::Refused { reason }, cause: None });
    }
    for (status, code) in [(413, "PostBodyTooLarge"), (400, "PostBodyTooLarge"), (413, "Anything")] {
        assert_eq!(error(status, code).outcome, Outcome::TooLarge);
    }
}

#[test]
fn a_clock_that_is_wrong_is_told_by_how_much() {
    let body = r#"{"errorCode":"RequestTimeExpired","errorMessage":""}"#;
    let offset = |headers: &[(&'static str, &'static str)]| {
        let headers = [&[("x-log-requestid", "5C9B")], headers].concat();
        retried(&answer(400, &headers, body)).0
    };
    let date = ("date", "Tue, 05 Mar 2024 08:08:09 GMT");
    let by = |seconds| Cause::Clock { offset_seconds: Some(seconds) };
    assert_eq!(offset(&[date]), by(3600));
    assert_eq!(offset(&[date, ("x-log-time", "1709618889")]), by(-3600), "its own header is preferred");
    assert_eq!(offset(&[date, ("x-log-time", "soon")]), by(3600));
    assert_eq!(offset(&[("date", "soon")]), Cause::Clock { offset_seconds: None });
}

#[test]
fn without_a_request_id_it_was_a_proxy() {
    for status in [200, 204, 302, 400, 401, 403, 404, 500] {
        let answer = answer(status, &[], "<html>Sign in</html>");
        let expected = format!("HTTP {status} without a request id: not an answer of SLS");
        assert_eq!(retried(&answer), (Cause::Server, &*expected));
    }
    assert_eq!(answer(413, &[], "").outcome, Outcome::TooLarge);
    let wait = Some(Duration::from_secs(7));
    assert!(
        matches!(answer(503, &[("retry-after", "7")], "").outcome, Outcome::Retry { after, .. } if after == wait)
    );
}

#[test]
fn an_answer_in_no_known_form_is_asked_for_again() {
    let id = [("x-log-requestid", "5C9B")];
    for body in ["", "<html>", r#"{"errorCode":"X"}"#, r#"{"errorCode":1,"errorMessage":""}"#, "[]"] {
        assert_eq!(retried(&answer(400, &id, body)), (Cause::Server, "HTTP 400 (request id 5C9B)"));
        assert_eq!(retried(&answer(401, &id, body)).0, Cause::Credentials);
    }
    let long = format!(r#"{{"errorCode":"{0}","errorMessage":"{0}"}}"#, "x".repeat(5000));
    let answer = answer(400, &id, &long);
    assert!(matches!(answer.outcome, Outcome::Refused { reason } if reason.len() < 400));
}

#[test]
fn failures_are_retried_unless_the_server_may_have_taken_it() {
    let io = Failure::Io("reset".into());
    assert_eq!(retried(&classify_sls(&Err(io), NOW)), (Cause::Server, "connection lost: reset"));
    let tls = classify_sls(&Err(Failure::Tls("expired".into())), NOW);
    assert!(
        matches!(tls.outcome, Outcome::Retry { after: Some(after), .. } if after == Duration::from_secs(30))
    );
    let oversized = classify_sls(&Err(Failure::Oversized("headers")), NOW);
    assert!(matches!(oversized.outcome, Outcome::Refused { .. }));
}

#[test]
fn each_cause_waits_its_own_time() {
    let longest = |cause, tries| -> Vec<Option<u64>> {
        let mut backoffs: Vec<_> = (0..64).map(|_| SlsBackoff::default()).collect();
        let random = |index: usize| (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..tries)
            .map(|_| {
                let all = backoffs.iter_mut().enumerate();
                let all: Vec<_> =
                    all.map(|(index, backoff)| backoff.next_wait(cause, random(index))).collect();
                let (least, most) = (all.iter().min()?.as_ref()?, all.iter().max()?.as_ref()?);
                assert!(least.as_nanos() * 2 >= most.as_nanos(), "the upper half: {least:?} to {most:?}");
                Some(most.as_secs_f64().ceil() as u64)
            })
            .collect()
    };
    let some = |all: &[u64]| all.iter().map(|wait| Some(*wait)).collect::<Vec<_>>();
    assert_eq!(longest(Cause::Server, 7), some(&[1, 2, 4, 8, 16, 30, 30]));
    assert_eq!(longest(Cause::Quota, 6), some(&[3, 6, 12, 24, 48, 60]));
    assert_eq!(longest(Cause::Credentials, 6), [some(&[5, 10, 20, 40, 80]), vec![None]].concat());
    assert_eq!(longest(Cause::Clock { offset_seconds: Some(1) }, 4), [some(&[0, 0, 0]), vec![None]].concat());
    assert_eq!(longest(Cause::Server, 100).last(), Some(&Some(30)), "no overflow");

    let mut backoff = SlsBackoff::default();
    for _ in 0..5 {
        assert!(backoff.next_wait(Cause::Credentials, 0).is_some());
        assert!(backoff.next_wait(Cause::Quota, 0).is_some());
    }
    assert_eq!(backoff.next_wait(Cause::Credentials, 0), None);
    backoff.reset();
    assert_eq!(backoff.next_wait(Cause::Quota, 0), Some(Duration::from_millis(1500)));
}
