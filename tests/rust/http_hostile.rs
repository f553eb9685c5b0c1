//! HTTP/1.1 over real sockets against servers that answer too much, too little, or anything at all.

use proptest::prelude::*;
use pytracingx::config::Secret;
use pytracingx::transport::Failure;

use crate::http_peer::{LONG, OK, Server, client, config, drive, post, request, status_and_body};

// ---- hostile answers -----------------------------------------------------------------------------------------------

/// What comes of a server that sends `answer` and then `filler` for as long as the client listens.
fn endless(answer: impl Into<Vec<u8>>, filler: impl Into<Vec<u8>>) -> Failure {
    let (answer, filler) = (answer.into(), filler.into());
    let server = Server::new(move |_, peer| {
        peer.take();
        peer.give(&answer);
        while !filler.is_empty() && peer.give(&filler) {}
        peer.until_closed();
    });
    drive(&mut server.client(), request("x", LONG)).unwrap_err()
}

#[test]
fn headers_stop_at_64_kib() {
    let oversized = Failure::Oversized("headers of more than 64 KiB");
    assert_eq!(oversized, endless("HTTP/1.1 200 OK\r\nx: ", vec![b'a'; 4096]));
    assert_eq!(oversized, endless("", "HTTP/1.1 100 Continue\r\n\r\n".repeat(100)));
    assert_eq!(oversized, endless("", "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(100)));
    assert_eq!(oversized, endless("", "\r\n".repeat(1000)));
    let complete = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(66_000));
    assert_eq!(oversized, endless(complete, ""));
    assert!(
        matches!(endless("HTTP/1.1 200 OK\r\n", "x: y\r\n".repeat(100)), Failure::Protocol(_)),
        "too many"
    );
}

#[test]
fn bodies_stop_at_4_mib() {
    let oversized = Failure::Oversized("a body of more than 4 MiB");
    let chunk = format!("4000\r\n{}\r\n", "a".repeat(0x4000));
    assert_eq!(oversized, endless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunk));
    assert_eq!(oversized, endless("HTTP/1.1 200 OK\r\n\r\n", vec![b'a'; 65_536]));
    assert_eq!(oversized, endless("HTTP/1.1 200 OK\r\ncontent-length: 300000000\r\n\r\n", ""));
    assert_eq!(oversized, endless("HTTP/1.1 400 No\r\ncontent-length: 18446744073709551615\r\n\r\n", ""));

    let largest = 4 << 20;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {largest}\r\n\r\n{}", "a".repeat(largest));
    assert_eq!(largest, post(&mut Server::answering(answer).client(), "x").unwrap().body.len());
}

#[test]
fn what_is_not_http_is_an_error() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "\u{0}\u{1}\u{2}\u{3}".into(),
        "HTTP/2.0 200 OK\r\n\r\n".into(),
        "HTTP/1.1 99 Low\r\n\r\n".into(),
        "HTTP/1.1 abc OK\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".into(),
        format!("{chunked}zz\r\n"),
        format!("{chunked}-5\r\n"),
        format!("{chunked}fffffffffffffffff\r\n"),
        format!("{chunked}2\r\nhi!!\r\n"),
        format!("{chunked}2;{}\r\nhi\r\n", "e".repeat(100)),
    ] {
        let failure = endless(answer.clone(), "");
        assert!(matches!(failure, Failure::Protocol(_)), "{answer:?}: {failure}");
        assert!(!failure.to_string().contains('\n'));
    }
    assert_eq!(Failure::Protocol("chunk framing without end".into()), endless(chunked, "1".repeat(1000)));
}

#[test]
fn an_answer_cut_short_is_no_answer() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nh",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "",
    ] {
        let server = Server::new(move |_, peer| peer.take() && peer.give(answer.as_bytes()));
        let failure = post(&mut server.client(), "x").unwrap_err();
        assert!(matches!(failure, Failure::Io(_)), "{answer:?}: {failure}");
        assert_eq!(1, server.connections());
    }
}

#[test]
fn redirects_are_answers() {
    let elsewhere = Server::answering(OK);
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} Go\r\nlocation: http://{}/\r\ncontent-length: 2\r\n\r\nhi",
            elsewhere.address
        );
        let server = Server::answering(answer);
        let mut client = server.client();
        for _ in 0..2 {
            assert_eq!((status, "hi".into()), status_and_body(post(&mut client, "x")));
        }
        assert_eq!(1, server.connections());
    }
    assert_eq!(0, elsewhere.connections());
}

#[test]
fn secrets_that_a_server_quotes_are_blotted_out() {
    let server = Server::new(|_, peer| {
        while peer.take() {
            let request = peer.requests.lock().last().unwrap().clone();
            let head = format!("HTTP/1.1 401 No\r\ncontent-length: {}\r\n\r\n", request.len());
            peer.give(&[head.as_bytes(), &request].concat());
        }
    });
    let mut config = config("127.0.0.1", server.address.port());
    config.endpoint.path = "/v1/traces?token=canary-path".into();
    config.headers = vec![("authorization".into(), Secret::new("Bearer canary-header"))];
    let (status, body) = status_and_body(post(&mut client(&config), "body"));
    assert_eq!(401, status);
    assert!(
        body.contains("authorization: Bearer *************\r\n") && body.ends_with("\r\n\r\nbody"),
        "{body}"
    );
    assert!(!body.contains("canary"), "{body}");

    config.endpoint.path = "/adapt_canary@arms_canary/api/otlp/traces".into();
    let (_, body) = status_and_body(post(&mut client(&config), "no token canary@arms_canary"));
    assert!(body.ends_with("no token ******************") && !body.contains("canary"), "{body}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever a server sends, split however the network likes, the request ends: no panic, no hang.
    #[test]
    fn any_bytes_from_a_server_end_the_request(pieces in proptest::collection::vec(fragment(), 0..12)) {
        let server = Server::new(move |_, peer| {
            peer.stream.set_nodelay(true).unwrap();
            peer.take() && pieces.iter().all(|piece| peer.give(piece))
        });
        let result = drive(&mut server.client(), request("x", LONG));
        prop_assert!(!matches!(result, Err(Failure::Timeout(_))), "{:?}", result);
    }
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 404 \r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switch\r\n",
        "HTTP/1.1 204 No\r\n",
        "HTTP/1.1 302 Go\r\nlocation: :\r\n",
        "transfer-encoding: chunked\r\n",
        "content-length: 5\r\n",
        "connection: close\r\n",
        "connection: keep-alive\r\n",
        "\r\n",
        "\n",
        "\r",
        "5\r\nhello\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "x: y\r\n",
        "hello",
        "ffffffffffffffff\r\n",
        "5;a=b\r\n",
    ]);
    prop_oneof![4 => known.prop_map(|text| text.as_bytes().to_vec()), 1 => proptest::collection::vec(any::<u8>(), 0..40)]
}
