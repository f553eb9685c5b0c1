//! gRPC over real sockets against servers that follow a script: calls, connections, deadlines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pytracingx::config::{Protocol, Secret, Signal, TransportConfig};
use pytracingx::transport::{Exchange, Failure, GRPC_ENCODING, Grpc, Response, USER_AGENT};

use super::h2_peer::*;
use super::http_peer::{LONG, Peer, Server, config, drive, post, request};

/// Time enough for a round trip, and soon over.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

fn grpc_config(server: &Server) -> TransportConfig {
    let mut config = config("127.0.0.1", server.address.port());
    config.protocol = Protocol::Grpc;
    config.endpoint.path = "/".into();
    config
}

pub(crate) fn client(server: &Server) -> Grpc {
    Grpc::new(&grpc_config(server), Signal::Traces, USER_AGENT).unwrap()
}

pub(crate) fn code_and_body(result: Result<Response, Failure>) -> (String, Vec<u8>) {
    let response = result.unwrap();
    let code = response.headers.get("grpc-status").expect("a gRPC status");
    (code.to_str().unwrap().to_owned(), response.body)
}

fn ok(body: &[u8]) -> (String, Vec<u8>) {
    ("0".to_owned(), body.to_vec())
}

/// Reacts to a connection that is idle, as the sink does.
fn idle(client: &mut Grpc) {
    assert!(client.step(Instant::now()).is_none());
}

/// Until the server's part of the idle connection is there.
fn idle_until_closed(client: &mut Grpc) {
    let until = Instant::now() + LONG;
    while client.interest(Instant::now()).fd.is_some() {
        assert!(Instant::now() < until, "still open");
        idle(client);
        std::thread::yield_now();
    }
}

// ---- the ordinary --------------------------------------------------------------------------------------------------

#[test]
fn calls_share_a_connection() {
    let seen = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let kept = Arc::clone(&seen);
    let server = Server::new(move |_, peer| {
        peer.open();
        while let Some(call) = peer.call() {
            kept.lock().push(call.data);
            peer.give(&answer(call.stream, b"hi"));
        }
    });
    let mut client = client(&server);
    let large = vec![7; 3 << 20];
    for body in [b"one".to_vec(), Vec::new(), large.clone()] {
        let mut request = request(body, LONG);
        if request.body.is_empty() {
            request.headers = vec![(GRPC_ENCODING.parse().unwrap(), http::HeaderValue::from_static("gzip"))];
        }
        assert_eq!(ok(b"hi"), code_and_body(drive(&mut client, request)));
        idle(&mut client);
    }
    assert_eq!(*seen.lock(), [message(b"one"), framed(1, b""), message(&large)]);
    assert_eq!(server.connections(), 1);
}

#[test]
fn an_answer_may_come_in_any_shape() {
    let continued = |stream| {
        let block = fields(&[HEAD, &[("grpc-status", "5"), ("grpc-message", "no")]].concat());
        let (front, back) = block.split_at(7);
        [frame(HEADERS, END, stream, front), frame(9, END_HEADERS, stream, back)].concat()
    };
    let padded = |stream| {
        let padding = [&[3][..], &message(b"padded"), &[0; 3]].concat();
        let end = headers(stream, END, &[("grpc-status", "0")]);
        [headers(stream, 0, HEAD), frame(DATA, 8, stream, &padding), end].concat()
    };
    let interim = |stream| {
        let early = headers(stream, 0, &[(":status", "103"), ("grpc-status", "9")]);
        [early, answer(stream, b"final")].concat()
    };
    let pieces = |stream| {
        let data = message(b"pieces").iter().flat_map(|byte| frame(DATA, 0, stream, &[*byte])).collect();
        [headers(stream, 0, HEAD), data, headers(stream, END, &[("grpc-status", "0")])].concat()
    };
    let unknown = |stream| {
        let strange = frame(0xfa, 0xff, stream, b"of the future");
        let settings = frame(SETTINGS, 0, 0, &[0xfa, 0xfa, 1, 2, 3, 4]);
        [strange, settings, frame(PING, 0, 0, b"are you?"), answer(stream, b"unknown")].concat()
    };
    /// The reply on a stream; code and message that it means.
    type Shape<'a> = (&'a dyn Fn(u32) -> Vec<u8>, &'a str, &'a [u8]);
    let shapes: [Shape<'_>; 7] = [
        (&|stream| answer(stream, b"whole"), "0", b"whole"),
        (&|stream| trailers_only(stream, "7", "not%20you"), "7", b""),
        (&continued, "5", b""),
        (&padded, "0", b"padded"),
        (&interim, "0", b"final"),
        (&pieces, "0", b"pieces"),
        (&unknown, "0", b"unknown"),
    ];
    for (index, (reply, code, body)) in shapes.into_iter().enumerate() {
        // Stream 1 in one write, stream 3 byte by byte.
        let (whole, split) = (reply(1), reply(3));
        let server = Server::new(move |_, peer| {
            peer.open();
            peer.call();
            peer.give(&whole);
            peer.call();
            peer.stream.set_nodelay(true).unwrap();
            split.iter().for_each(|byte| assert!(peer.give(&[*byte])));
            peer.until_closed();
        });
        let mut client = client(&server);
        for _ in 0..2 {
            let answer = code_and_body(post(&mut client, "x"));
            assert_eq!((code.to_owned(), body.to_vec()), answer, "shape {index}");
        }
        assert_eq!(server.connections(), 1, "shape {index}");
    }
}

#[test]
fn what_a_server_quotes_is_blotted_out() {
    let server = Server::new(|_, peer| {
        peer.serve(|number, stream| match number {
            0 => answer(stream, b"token secret-token!"),
            _ => trailers_only(stream, "16", "token secret%2Dtoken%21 for caf\u{c3}%A9"),
        })
    });
    let mut config = grpc_config(&server);
    config.headers = vec![("Authorization".into(), Secret::new("Bearer secret-token!"))];
    let mut client = Grpc::new(&config, Signal::Logs, USER_AGENT).unwrap();
    assert_eq!(ok(b"token *************"), code_and_body(post(&mut client, "x")));
    let response = post(&mut client, "x").unwrap();
    let words = response.headers.get_all("grpc-message").iter().collect::<Vec<_>>();
    assert_eq!(words, ["token ************* for caf%C3%83%A9"]);
}

#[test]
fn metadata_that_cannot_be_sent_is_refused() {
    let mut config = config("collector", 4317);
    config.endpoint.path = "/".into();
    for (name, value, words) in [
        ("grpc-timeout", "1S", "is set by the exporter itself"),
        ("Content-Type", "x", "is set by the exporter itself"),
        ("TE", "x", "is set by the exporter itself"),
        (":path", "x", "is not a gRPC metadata key"),
        ("a b", "x", "is not a gRPC metadata key"),
        ("", "x", "is not a gRPC metadata key"),
        ("x\u{e9}", "x", "is not a gRPC metadata key"),
        ("x-city", "K\u{f6}ln", "gRPC metadata is ASCII"),
        ("x-key", "a\r\nb", "control characters"),
        ("x-key-bin", "not base64", "is base64"),
        ("x-long", &"x".repeat(33_000), "at most 32 KiB"),
    ] {
        config.headers = vec![(name.into(), Secret::new(value))];
        let error = Grpc::new(&config, Signal::Traces, USER_AGENT).err().expect(name).to_string();
        assert!(error.contains(words) && error.starts_with("headers: "), "{name}: {error}");
        assert!(value.len() < 4 || !error.contains(value), "{error}");
    }
    for (name, value) in [("Host", "h"), ("x-Key-Bin", "AAE=,AAE"), ("x_y.z", " trimmed ")] {
        config.headers = vec![(name.into(), Secret::new(value))];
        assert!(Grpc::new(&config, Signal::Metrics, USER_AGENT).is_ok(), "{name}");
    }
}

// ---- connections ---------------------------------------------------------------------------------------------------

#[test]
fn a_goaway_between_calls_costs_nothing() {
    let server = Server::new(|_, peer| {
        peer.open();
        let call = peer.call().unwrap();
        peer.give(&[answer(call.stream, b"hi"), goaway(call.stream, 0, b"max_age")].concat());
        peer.until_closed();
    });
    let mut client = client(&server);
    for calls in 1..=20 {
        assert_eq!(ok(b"hi"), code_and_body(post(&mut client, "x")));
        assert_eq!(server.connections(), calls);
    }
    idle_until_closed(&mut client);
}

#[test]
fn a_connection_closed_between_calls_costs_nothing() {
    let server = Server::new(|_, peer| {
        peer.open();
        let call = peer.call().unwrap();
        peer.give(&answer(call.stream, b"hi"));
    });
    let mut client = client(&server);
    for calls in 1..=20 {
        assert_eq!(ok(b"hi"), code_and_body(post(&mut client, "x")));
        assert_eq!(server.connections(), calls);
    }
}

#[test]
fn a_call_that_a_goaway_leaves_out_is_sent_again() {
    let server = Server::new(|number, peer| {
        peer.open();
        let call = peer.call().unwrap();
        peer.give(&if number == 0 { goaway(0, 0, b"") } else { answer(call.stream, b"second") });
        peer.until_closed();
    });
    assert_eq!(ok(b"second"), code_and_body(post(&mut client(&server), "x")));
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_call_that_a_goaway_lets_through_is_waited_for() {
    let server = Server::new(|_, peer| {
        peer.open();
        let call = peer.call().unwrap();
        peer.give(&goaway(0x7fff_ffff, 0, b"graceful"));
        // The connection is still alive: it answers.
        peer.give(&frame(PING, 0, 0, b"12345678"));
        assert!(peer.next(PING).unwrap().payload == b"12345678");
        peer.give(&[goaway(call.stream, 0, b"graceful"), answer(call.stream, b"hi")].concat());
        peer.until_closed();
    });
    let mut client = client(&server);
    assert_eq!(ok(b"hi"), code_and_body(post(&mut client, "x")));
    assert_eq!(ok(b"hi"), code_and_body(post(&mut client, "x")));
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_goaway_says_why_the_connection_went() {
    let server = Server::new(|_, peer| {
        peer.open();
        let call = peer.call().unwrap();
        peer.give(&goaway(call.stream, 11, b"too_many\n\x1b[31mpings"));
    });
    let failure = post(&mut client(&server), "x").unwrap_err();
    assert_eq!(failure, Failure::Io("GOAWAY ENHANCE_YOUR_CALM: too_many [31mpings".to_owned()));
    assert_eq!(server.connections(), 1, "the server may have worked on it");
}

#[test]
fn a_refused_call_is_sent_again_once() {
    let server = Server::new(|_, peer| {
        peer.serve(|number, stream| if number == 1 { answer(stream, b"hi") } else { reset(stream, 7) })
    });
    let mut client = client(&server);
    assert_eq!(ok(b"hi"), code_and_body(post(&mut client, "x")));
    assert_eq!(Err(Failure::Reset(7)), post(&mut client, "x").map(|_| ()));
    assert_eq!((server.connections(), client.last_phase()), (1, "receive"));
}

#[test]
fn a_reset_ends_the_call_and_not_the_connection() {
    let codes = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 99];
    let server = Server::new(move |_, peer| peer.serve(|number, stream| reset(stream, codes[number])));
    let mut client = client(&server);
    for code in codes {
        assert_eq!(Err(Failure::Reset(code)), post(&mut client, "x").map(|_| ()));
    }
    assert_eq!(server.connections(), 1);
}

// ---- long messages -------------------------------------------------------------------------------------------------

/// So much that no socket buffers it.
fn long_message() -> Vec<u8> {
    vec![1; 16 << 20]
}

#[test]
fn pings_are_answered_while_a_message_is_on_its_way() {
    let server = Server::new(|_, peer| {
        // Not as much by far as all of it.
        let further = [window_update(0, 1 << 20), window_update(1, 1 << 20)].concat();
        peer.open_with(&settings(1 << 20));
        peer.next(DATA);
        for number in 0..5_u8 {
            peer.give(&[frame(PING, 0, 0, &[number; 8]), further.clone()].concat());
            let pong = peer.next(PING).unwrap();
            assert_eq!((pong.flags, pong.payload), (ACK, vec![number; 8]));
        }
        peer.give(&[window_update(0, 1 << 30), window_update(1, 1 << 30)].concat());
        let call = peer.call().unwrap();
        peer.give(&answer(call.stream, b"hi"));
        peer.until_closed();
    });
    assert_eq!(ok(b"hi"), code_and_body(drive(&mut client(&server), request(long_message(), LONG))));
}

#[test]
fn nothing_is_sent_beyond_the_window() {
    let server = Server::new(|_, peer| {
        peer.open_with(&settings(0));
        let head = peer.next(HEADERS).unwrap();
        // Before the settings are there the window is 65 535 bytes; the answer to this comes after all that was sent.
        peer.give(&frame(PING, 0, 0, b"12345678"));
        let before = std::iter::from_fn(|| peer.frame()).take_while(|frame| frame.kind != PING);
        let early: usize = before.filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum();
        assert!(early <= 65_535);
        peer.give(&[window_update(0, 1 << 20), window_update(head.stream, early as u32)].concat());
        let mut sent = early;
        while sent < 100_005 {
            let piece = 1000.min(100_005 - sent);
            peer.give(&window_update(head.stream, 1000));
            let data = peer.next(DATA).unwrap();
            assert_eq!(data.payload.len(), piece);
            sent += piece;
            assert_eq!(data.flags & END != 0, sent == 100_005);
        }
        peer.give(&answer(head.stream, b"hi"));
        peer.until_closed();
    });
    assert_eq!(ok(b"hi"), code_and_body(post(&mut client(&server), &"x".repeat(100_000))));
}

#[test]
fn an_answer_before_the_end_of_the_message_counts() {
    let server = Server::new(|_, peer| {
        peer.open_with(&settings(1000));
        let first = peer.next(DATA).unwrap();
        peer.give(&trailers_only(first.stream, "8", "much%20too%20long"));
        let reset = peer.next(RST_STREAM).unwrap();
        assert_eq!((reset.stream, reset.payload), (first.stream, vec![0, 0, 0, 8]));
        peer.give(&window_update(0, 1 << 20));
        let call = peer.call().unwrap();
        peer.give(&answer(call.stream, b"hi"));
        peer.until_closed();
    });
    let mut client = client(&server);
    let refused = code_and_body(drive(&mut client, request(long_message(), LONG)));
    assert_eq!(refused, ("8".to_owned(), Vec::new()));
    assert_eq!(ok(b"hi"), code_and_body(post(&mut client, "x")));
    assert_eq!(server.connections(), 1);
}

// ---- deadlines -----------------------------------------------------------------------------------------------------

#[test]
fn a_deadline_keeps_a_connection_that_was_heard() {
    let server = Server::new(|_, peer| {
        peer.open();
        let late = peer.call().unwrap();
        let reset = peer.next(RST_STREAM).unwrap();
        assert_eq!((reset.stream, reset.payload), (late.stream, vec![0, 0, 0, 8]));
        // Too late, and of no consequence.
        peer.give(&answer(late.stream, b"late"));
        let call = peer.call().unwrap();
        peer.give(&answer(call.stream, b"hi"));
        peer.until_closed();
    });
    let mut client = client(&server);
    let began = Instant::now();
    assert_eq!(Err(Failure::Timeout("receive")), drive(&mut client, request("x", SHORT)).map(|_| ()));
    assert!(began.elapsed() >= SHORT);
    assert_eq!((client.last_phase(), server.connections()), ("receive", 1));
    assert_eq!(ok(b"hi"), code_and_body(post(&mut client, "x")));
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_deadline_drops_a_connection_that_kept_silent() {
    let server = Server::new(|number, peer| match number {
        0 => peer.until_closed(),
        _ => peer.serve(|_, stream| answer(stream, b"hi")),
    });
    let mut client = client(&server);
    assert_eq!(Err(Failure::Timeout("receive")), drive(&mut client, request("x", SHORT)).map(|_| ()));
    assert_eq!(ok(b"hi"), code_and_body(post(&mut client, "x")));
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_deadline_ends_a_message_that_nobody_takes() {
    let server = Server::new(|number, peer: &mut Peer| {
        if number == 0 {
            peer.open_with(&settings(1000));
        } else {
            peer.open();
        }
        if let Some(call) = peer.call() {
            peer.give(&answer(call.stream, b"hi"));
        }
        peer.until_closed();
    });
    let mut client = client(&server);
    let failure = drive(&mut client, request(long_message(), SHORT)).map(|_| ());
    assert_eq!((failure, client.last_phase()), (Err(Failure::Timeout("send")), "send"));
}

#[test]
fn a_call_given_up_closes_the_connection() {
    let server = Server::new(|number, peer| match number {
        0 => peer.until_closed(),
        _ => peer.serve(|_, stream| answer(stream, b"hi")),
    });
    let mut client = client(&server);
    client.begin(request("x", LONG), Instant::now());
    assert!(client.step(Instant::now()).is_none());
    client.cancel();
    assert_eq!(client.interest(Instant::now()).fd, None);
    assert_eq!(ok(b"hi"), code_and_body(post(&mut client, "x")));
}
