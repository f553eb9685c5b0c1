//! HTTP/1.1 over real sockets: well-formed requests, kept connections, both directions at once, settings.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pytracingx::config::{Secret, TransportConfig};
use pytracingx::error::Error;
use pytracingx::transport::{Exchange, Failure, Http1, USER_AGENT};

use crate::http_peer::{
    LONG, OK, Server, client, config, drive, drive_within, ok, post, read_request, request, status_and_body,
    wait_for,
};

// ---- the ordinary --------------------------------------------------------------------------------------------------

#[test]
fn requests_are_well_formed_and_share_a_connection() {
    let server = Server::answering(OK);
    let mut config = config("127.0.0.1", server.address.port());
    config.endpoint.path = "/base/v1/traces?tenant=a%20b".into();
    config.headers =
        vec![("X-Api-Key".into(), Secret::new("secret-key")), ("x-two".into(), Secret::new("2"))];
    let mut client = client(&config);
    for body in ["one", "", "three"] {
        let mut request = request(body, LONG);
        request.headers = vec![(http::header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"))];
        assert_eq!(ok(), status_and_body(drive(&mut client, request)));
    }
    assert_eq!(1, server.connections());
    let requests = server.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    assert_eq!(("POST /base/v1/traces?tenant=a%20b HTTP/1.1", "one"), (line, body));
    let mut headers: Vec<_> = headers.split("\r\n").collect();
    headers.sort_unstable();
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        "content-encoding: gzip".to_owned(),
        "content-length: 3".to_owned(),
        "content-type: application/x-protobuf".to_owned(),
        format!("host: {}", server.address),
        format!("user-agent: pytracingx/{version} OTel-OTLP-Exporter-Python/{version}"),
        "x-api-key: secret-key".to_owned(),
        "x-two: 2".to_owned(),
    ];
    assert_eq!(expected.as_slice(), headers);
    assert!(requests[1].ends_with("\r\n\r\n") && requests[1].contains("content-length: 0\r\n"));
}

#[test]
fn host_header_has_brackets_for_ipv6_and_no_default_port() {
    let server = Server::answering(OK);
    for (host, port, expected) in [
        ("::1", 4318, "host: [::1]:4318\r\n"),
        ("2001:db8::2", 80, "host: [2001:db8::2]\r\n"),
        ("collector.example", 80, "host: collector.example\r\n"),
        ("collector.example", 443, "host: collector.example:443\r\n"),
    ] {
        let mut client = client(&config(host, port));
        client.pin_addresses(vec![server.address]);
        post(&mut client, "x").unwrap();
        let request = server.requests().pop().unwrap();
        assert!(request.contains(expected), "{request}");
    }
}

#[test]
fn ipv6_literal_connects() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return;
    };
    let server = Server::on(listener, |_, peer| while peer.take() && peer.give(OK) {});
    assert_eq!(ok(), status_and_body(post(&mut server.client(), "x")));
}

/// A zone means something to this machine only: the socket gets it, the server does not.
#[cfg(target_os = "linux")]
#[test]
fn ipv6_zone_connects() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return;
    };
    let server = Server::on(listener, |_, peer| while peer.take() && peer.give(OK) {});
    let port = server.address.port();
    assert_eq!(ok(), status_and_body(post(&mut client(&config("::1%1", port)), "x")));
    assert!(server.requests()[0].contains(&format!("\r\nhost: [::1]:{port}\r\n")));
    let failure = post(&mut client(&config("fe80::1%nosuchzone", port)), "x").unwrap_err();
    assert!(
        matches!(&failure, Failure::Resolve(text) if text.starts_with("fe80::1%nosuchzone: ")),
        "{failure}"
    );
}

#[test]
fn user_agent_and_host_can_be_replaced() {
    let server = Server::answering(OK);
    let mut config = config("127.0.0.1", server.address.port());
    config.headers =
        vec![("User-Agent".into(), Secret::new("mine/1")), ("Host".into(), Secret::new("tenant.example"))];
    post(&mut client(&config), "x").unwrap();
    let request = server.requests().pop().unwrap();
    assert_eq!(1, request.matches("user-agent: mine/1\r\n").count());
    assert_eq!(
        (1, 1),
        (request.matches("host: tenant.example\r\n").count(), request.matches("host:").count())
    );
}

#[test]
fn every_framing_is_understood_and_decides_about_reuse() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (answer, reused) in [
        (format!("{chunked}1\r\nh\r\n1;ext=1\r\ni\r\n0\r\n\r\n"), true),
        (format!("{chunked}2\r\nhi\r\n0\r\nx-trailer: 1\r\n\r\n"), true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".into(), true),
        (
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
                .into(),
            true,
        ),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi".into(), true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi".into(), false),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi".into(), false),
        (
            format!("{}2\r\nhi\r\n0\r\n\r\n", chunked.replace("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\n")),
            false,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n".into(), false),
    ] {
        let server = Server::answering(answer.clone());
        let mut client = server.client();
        for _ in 0..2 {
            assert_eq!(ok(), status_and_body(post(&mut client, "x")), "{answer:?}");
        }
        assert_eq!(if reused { 1 } else { 2 }, server.connections(), "{answer:?}");
    }
}

#[test]
fn an_answer_can_end_with_the_connection() {
    for answer in
        ["HTTP/1.1 200 OK\r\n\r\nhi", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"]
    {
        let server = Server::new(move |_, peer| peer.take() && peer.give(answer.as_bytes()));
        let mut client = server.client();
        for _ in 0..2 {
            assert_eq!(ok(), status_and_body(post(&mut client, "x")), "{answer:?}");
        }
        assert_eq!(2, server.connections());
    }
}

#[test]
fn an_answer_in_single_bytes_is_put_together() {
    for answer in [OK, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n\r\n"] {
        let server = Server::new(move |_, peer| {
            peer.stream.set_nodelay(true).unwrap();
            while peer.take() && answer.chunks(1).all(|byte| peer.give(byte)) {}
        });
        let mut client = server.client();
        for _ in 0..2 {
            assert_eq!(ok(), status_and_body(post(&mut client, "x")));
        }
        assert_eq!(1, server.connections());
    }
}

// ---- kept connections ----------------------------------------------------------------------------------------------

#[test]
fn a_connection_closed_while_idle_is_replaced() {
    let server = Server::new(|_, peer| peer.take() && peer.give(OK));
    let mut client = server.client();
    for _ in 0..3 {
        assert_eq!(ok(), status_and_body(post(&mut client, "x")));
    }
    assert_eq!((3, 3), (server.connections(), server.requests().len()));
}

#[test]
fn a_kept_connection_closed_instead_of_an_answer_is_resent_once() {
    let server = Server::new(|_, peer| peer.take() && peer.give(OK) && peer.take());
    let mut client = server.client();
    for body in ["first", "second"] {
        assert_eq!(ok(), status_and_body(post(&mut client, body)));
    }
    let bodies: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.split("\r\n\r\n").nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(
        (2, vec!["first".to_owned(), "second".into(), "second".into()]),
        (server.connections(), bodies)
    );
}

#[test]
fn a_request_is_not_resent_twice_nor_on_a_fresh_connection_nor_once_an_answer_began() {
    let closing = Server::new(|number, peer| peer.take() && number == 0 && peer.give(OK) && peer.take());
    let mut client = closing.client();
    assert_eq!(ok(), status_and_body(post(&mut client, "x")));
    assert_eq!(Err(Failure::Io("closed before an answer".into())), post(&mut client, "x").map(|_| ()));
    assert_eq!(2, closing.connections());
    assert_eq!(Err(Failure::Io("closed before an answer".into())), post(&mut client, "x").map(|_| ()));
    assert_eq!(3, closing.connections());

    let stopping = Server::new(|_, peer| peer.take() && peer.give(OK) && peer.take() && peer.give(&OK[..9]));
    let mut client = stopping.client();
    assert_eq!(ok(), status_and_body(post(&mut client, "x")));
    assert!(matches!(post(&mut client, "x"), Err(Failure::Io(_))));
    assert_eq!(1, stopping.connections());
}

#[test]
fn an_idle_connection_is_closed_after_55_seconds() {
    let closed = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&closed);
    let server = Server::new(move |_, peer| {
        while peer.take() && peer.give(OK) {}
        seen.fetch_add(1, SeqCst);
    });
    let mut client = server.client();
    assert!(client.interest(Instant::now()).fd.is_none());
    post(&mut client, "x").unwrap();
    let now = Instant::now();
    let interest = client.interest(now);
    assert!(interest.fd.is_some() && interest.readable && !interest.writable);
    let wake_at = interest.wake_at.unwrap();
    assert!(client.step(wake_at - Duration::from_millis(1)).is_none());
    assert!(client.interest(now).fd.is_some());
    assert!(client.step(wake_at).is_none());
    assert_eq!(pytracingx::transport::Interest::default(), client.interest(now));
    while closed.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_on_which_the_server_speaks_unasked_is_not_used_again() {
    let (idle, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let server = Server::new(move |number, peer| {
        peer.take();
        peer.give(OK);
        if number == 0 {
            gate.lock().recv().unwrap();
            peer.give(b"HTTP/1.1 408 Timeout\r\n\r\n");
            peer.until_closed();
        }
    });
    let mut client = server.client();
    post(&mut client, "x").unwrap();
    idle.send(()).unwrap();
    wait_for(&client);
    assert!(client.step(Instant::now()).is_none());
    assert!(client.interest(Instant::now()).fd.is_none());
    assert_eq!(ok(), status_and_body(post(&mut client, "x")));
    assert_eq!(2, server.connections());
}

#[test]
fn cancel_closes_the_connection() {
    let server = Server::new(|_, peer| {
        peer.take();
        peer.until_closed();
        peer.requests.lock().push(b"closed".to_vec());
    });
    let mut client = server.client();
    client.begin(request("x", LONG), Instant::now());
    while server.requests().is_empty() {
        assert!(client.step(Instant::now()).is_none());
    }
    client.cancel();
    assert_eq!(pytracingx::transport::Interest::default(), client.interest(Instant::now()));
    while server.requests().len() < 2 {
        std::thread::yield_now();
    }
}

// ---- both directions at once ---------------------------------------------------------------------------------------

#[test]
fn an_early_answer_is_heard_while_the_body_is_still_on_its_way() {
    let answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
    let patient = Server::new(move |_, peer| {
        peer.stream.read_exact(&mut [0; 100]).unwrap();
        peer.give(answer);
        // Neither reads on nor closes: only the answer can end this request.
        std::thread::park_timeout(LONG);
    });
    let resetting = Server::new(move |_, peer| {
        peer.stream.read_exact(&mut [0; 100]).unwrap();
        // Closing with the rest unread resets the connection.
        peer.give(answer);
    });
    for server in [patient, resetting] {
        let mut client = server.client();
        let result = drive(&mut client, request(vec![0; 64 << 20], LONG));
        assert_eq!((413, "no".into()), status_and_body(result));
        assert!(client.interest(Instant::now()).fd.is_none(), "half a request was sent on that connection");
    }
}

#[test]
fn a_large_body_reaches_a_slow_reader_whole() {
    let body: Vec<u8> =
        (0..20u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let server = Server::new(|_, peer| {
        let mut slowly = Slow(peer.stream.try_clone().unwrap());
        while let Some(request) = read_request(&mut slowly) {
            peer.requests.lock().push(request);
            peer.give(OK);
        }
    });
    let mut client = server.client();
    for _ in 0..2 {
        let result = drive_within(&mut client, request(body.clone(), LONG), 20_000);
        assert_eq!(ok(), status_and_body(result));
    }
    assert_eq!(1, server.connections());
    for request in server.requests.lock().iter() {
        assert!(request.ends_with(&body));
    }
}

/// Reads in small pieces and lets others go first.
struct Slow(TcpStream);

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        std::thread::yield_now();
        let length = into.len().min(16_384);
        self.0.read(&mut into[..length])
    }
}

// ---- settings ------------------------------------------------------------------------------------------------------

#[test]
fn bad_settings_are_refused_at_construction_without_their_secrets() {
    let error = |change: &dyn Fn(&mut TransportConfig)| {
        let mut config = config("127.0.0.1", 4318);
        change(&mut config);
        let Err(Error::Config(text)) = Http1::new(&config, "application/x-protobuf", USER_AGENT) else {
            panic!()
        };
        assert!(!text.contains("canary") && !text.contains('\n'), "{text}");
        text
    };
    let header = |name: &'static str, value: &'static str| {
        error(&move |config| config.headers = vec![(name.into(), Secret::new(value))])
    };
    for value in ["canary\r\nx: y", "canary\n", "canary\0", "\u{7f}canary"] {
        assert!(header("x-key", value).starts_with("headers: \"x-key\": "));
    }
    for name in ["", "two words", "x:y", "x\r\ny", "é"] {
        assert!(header(name, "canary").contains(&format!("{name:?}")));
    }
    for name in ["Content-Length", "transfer-encoding", "connection", "content-type", "Expect"] {
        assert!(header(name, "canary").contains("set by the exporter"));
    }
    assert!(error(&|config| config.endpoint.path = "/a b\r\ncanary".into()).starts_with("endpoint: "));
    let twice = |config: &mut TransportConfig| config.headers = vec![("host".into(), Secret::new("a")); 2];
    assert!(error(&twice).contains("more than once"));
}
