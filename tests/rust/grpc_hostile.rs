//! gRPC against servers that break the protocol or want to exhaust the client: each costs one call, a bounded number of
//! steps and a bounded amount of memory.

use std::io::Write;
use std::time::Instant;

use proptest::prelude::*;
use pytracingx::transport::{Exchange, Failure};

use super::grpc::{SHORT, client, code_and_body};
use super::h2_peer::*;
use super::http_peer::{LONG, Server, drive, drive_within, post, request};

fn failure(server: &Server) -> Failure {
    post(&mut client(server), "x").unwrap_err()
}

#[test]
fn what_is_not_http_2_is_an_error() {
    for (first, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"[..], "does not speak HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "does not speak HTTP/2"),
        (&[0; 4096], "does not speak HTTP/2"),
        (&[0xff; 4096], "does not speak HTTP/2"),
        (b"\x15\x03\x03\x00\x02\x02\x16\x00\x00\x00", "does not speak HTTP/2"),
    ] {
        let server = Server::new(move |_, peer| {
            peer.give(first);
            peer.until_closed();
        });
        let failure = failure(&server);
        assert!(matches!(&failure, Failure::Protocol(text) if text.contains(words)), "{failure}");
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn frames_that_break_the_protocol_are_an_error() {
    let broken = [
        frame(SETTINGS, 0, 0, &[1, 2, 3]),
        frame(SETTINGS, ACK, 0, &[0; 6]),
        frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        frame(DATA, 0, 0, b"on no stream"),
        frame(DATA, 0, 7, b"on a stream that is not open"),
        frame(PING, 0, 0, b"short"),
        frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        // A pushed stream, which the settings that this confirms do not allow.
        [frame(SETTINGS, ACK, 0, &[]), frame(5, END_HEADERS, 1, &[0, 0, 0, 2])].concat(),
        // A header block that refers to what is not there.
        frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        frame(HEADERS, 0, 1, &[]),
        // Longer than we allow.
        [&[0x7f, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 64]].concat(),
        frame(SETTINGS, 0, 0, &[0xfa, 0xfa, 0, 0, 0, 0].repeat(100)),
    ];
    for (index, broken) in broken.into_iter().enumerate() {
        let server = Server::new(move |_, peer| {
            peer.open();
            peer.call();
            peer.give(&broken);
            // Whatever follows an unfinished header block but its continuation is wrong.
            peer.give(&frame(PING, 0, 0, &[0; 8]));
            peer.until_closed();
        });
        let failure = failure(&server);
        assert!(matches!(failure, Failure::Protocol(_)), "frame {index}: {failure:?}");
    }
}

#[test]
fn heads_that_break_the_protocol_are_an_error() {
    for head in [
        &[("content-type", "application/grpc")][..],
        &[(":status", "200"), (":status", "200")],
        &[(":status", "ok")],
        &[("x", "y"), (":status", "200")],
        &[(":status", "200"), ("UPPER", "case")],
        &[(":status", "200"), ("connection", "close")],
    ] {
        let reply = move |stream| headers(stream, END, head);
        let server = Server::new(move |_, peer| peer.serve(|_, stream| reply(stream)));
        let failure = failure(&server);
        assert!(matches!(failure, Failure::Reset(1) | Failure::Protocol(_)), "{head:?}: {failure:?}");
    }
}

#[test]
fn answers_beyond_the_limits_are_refused() {
    let many: Vec<(String, String)> =
        (0..700).map(|number| (format!("x-{number}"), "y".repeat(60))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let block = |named: &[(&str, &str)]| {
        let block = fields(&[HEAD, named].concat());
        let mut pieces = block.chunks(16_000);
        let mut frames = frame(HEADERS, 0, 1, pieces.next().unwrap());
        pieces.for_each(|piece| frames.extend(frame(9, 0, 1, piece)));
        frames.extend(frame(9, END_HEADERS, 1, &[]));
        frames
    };
    // One entry of 4 KiB in the table, then one byte for each of its repetitions.
    let mut bomb = fields(HEAD);
    bomb.extend_from_slice(&[0x40, 1, b'x', 127, 0xa1, 0x1e]);
    bomb.extend_from_slice(&[b'y'; 4000]);
    bomb.extend_from_slice(&[0x80 | 62; 10_000]);
    let cases = [
        (block(&many), "headers of more than 64 KiB"),
        (frame(HEADERS, END_HEADERS, 1, &bomb), "headers of more than 64 KiB"),
    ];
    for (reply, limit) in cases {
        let server = Server::new(move |_, peer| {
            peer.open();
            peer.call();
            peer.give(&reply);
            peer.until_closed();
        });
        assert_eq!(failure(&server), Failure::Oversized(limit));
        assert_eq!(server.connections(), 1, "never resent");
    }
    for (encoding, data) in [
        ("identity", message(&vec![0; 5 << 20])),
        ("identity", vec![0; 5 << 20]),
        ("gzip", gzipped(5 << 20)),
        ("gzip", gzipped(100 << 20)),
    ] {
        let server = Server::new(move |_, peer| {
            peer.open();
            peer.call();
            peer.give(&headers(1, 0, &[HEAD, &[("grpc-encoding", encoding)]].concat()));
            if peer.give_data(&data) {
                peer.give(&headers(1, END, &[("grpc-status", "0")]));
            }
            peer.until_closed();
        });
        assert_eq!(failure(&server), Failure::Oversized("a message of more than 4 MiB"));
        assert_eq!(server.connections(), 1, "never resent");
    }
}

/// A message of so many zeros.
fn gzipped(zeros: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    let block = vec![0; 1 << 20];
    (0..zeros >> 20).for_each(|_| encoder.write_all(&block).unwrap());
    framed(1, &encoder.finish().unwrap())
}

#[test]
fn a_compressed_answer_is_decoded() {
    let server = Server::new(|_, peer| {
        peer.open();
        peer.call();
        peer.give(&headers(1, 0, &[HEAD, &[("grpc-encoding", "gzip")]].concat()));
        peer.give_data(&gzipped(1 << 20));
        peer.give(&headers(1, END, &[("grpc-status", "0")]));
        peer.until_closed();
    });
    assert_eq!(("0".to_owned(), vec![0; 1 << 20]), code_and_body(post(&mut client(&server), "x")));
}

/// The status says whether the call was accepted; what stands there instead of a message is kept for the reader to find.
#[test]
fn an_answer_without_a_message_is_an_answer() {
    for data in [&b""[..], b"\0", b"\0\0\0\0\x09short", b"\x01\0\0\0\x02??", b"\x07\0\0\0\0", b"<html>"] {
        let reply = move |stream| {
            let end = headers(stream, END, &[("grpc-status", "0")]);
            [headers(stream, 0, HEAD), frame(DATA, 0, stream, data), end].concat()
        };
        let server = Server::new(move |_, peer| peer.serve(|_, stream| reply(stream)));
        assert_eq!(("0".to_owned(), data.to_vec()), code_and_body(post(&mut client(&server), "x")));
    }
}

/// Ends by the deadline at the latest, in steps that each come to an end.
fn survives(flood: Vec<u8>) {
    let server = Server::new(move |_, peer| {
        peer.open();
        peer.call();
        while peer.give(&flood) {}
    });
    let mut client = client(&server);
    client.begin(request("x", SHORT), Instant::now());
    let began = Instant::now();
    let result = loop {
        if let Some(result) = client.step(Instant::now()) {
            break result;
        }
        assert!(began.elapsed() < LONG, "no end");
    };
    assert!(result.is_err());
}

#[test]
fn floods_end_by_the_deadline() {
    survives(frame(PING, 0, 0, &[1; 8]).repeat(1000));
    survives(frame(SETTINGS, 0, 0, &[]).repeat(1000));
    survives(window_update(0, 1).repeat(1000));
    survives(frame(0xfa, 0, 0, &[0; 16_384]).repeat(16));
    survives(frame(DATA, 0, 1, &[]).repeat(1000));
    survives(headers(1, 0, &[(":status", "100")]).repeat(1000));
}

#[test]
fn a_server_that_is_not_quiet_between_calls_loses_the_connection() {
    let server = Server::new(|_, peer| {
        peer.open();
        let call = peer.call().unwrap();
        peer.give(&answer(call.stream, b"hi"));
        while peer.give(&frame(PING, 0, 0, &[1; 8]).repeat(100)) {}
    });
    let mut client = client(&server);
    post(&mut client, "x").unwrap();
    let until = Instant::now() + LONG;
    while client.interest(Instant::now()).fd.is_some() {
        assert!(client.step(Instant::now()).is_none() && Instant::now() < until);
    }
}

#[test]
fn a_server_that_always_goes_away_is_not_asked_for_ever() {
    let server = Server::new(|_, peer| {
        peer.open();
        peer.call();
        peer.give(&goaway(0, 0, b""));
        peer.until_closed();
    });
    assert_eq!(failure(&server), Failure::Reset(7));
    assert_eq!(server.connections(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each call ends, with an answer or a failure, before the deadline is twice over.
    #[test]
    fn any_frames_end(frames in prop::collection::vec((0..12_u8, any::<u8>(), 0..4_u32, prop::collection::vec(any::<u8>(), 0..40)), 1..20)) {
        let bytes: Vec<u8> =
            frames.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload)).collect();
        let server = Server::new(move |_, peer| {
            peer.open();
            peer.call();
            peer.give(&bytes);
        });
        let mut client = client(&server);
        let began = Instant::now();
        let _ = drive_within(&mut client, request("x", LONG), 2_000);
        prop_assert!(began.elapsed() < LONG);
        // And the exchange is fit for the next.
        let _ = drive(&mut client, request("x", LONG));
    }
}
