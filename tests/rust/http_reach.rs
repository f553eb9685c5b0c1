//! HTTP/1.1 over real sockets: names and addresses, black holes, deadlines.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use pytracingx::config::Secret;
use pytracingx::transport::{Exchange, Failure, Http1};

use crate::http_peer::{
    LONG, OK, Server, client, config, drive, drive_within, ok, post, request, status_and_body, wait_for,
};

// ---- reaching a server ---------------------------------------------------------------------------------------------

/// A port that nothing listens on, as long as the returned listener's twin is not reused.
fn refused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_refused_connection_fails_with_the_address_and_nothing_secret() {
    let address = refused_address();
    let mut config = config("127.0.0.1", address.port());
    config.endpoint.path = "/v1/traces?token=canary".into();
    config.headers = vec![("authorization".into(), Secret::new("Bearer canary"))];
    let failure = post(&mut client(&config), "x").unwrap_err();
    let Failure::Connect(text) = &failure else { panic!("{failure}") };
    assert!(text.starts_with(&format!("{address}: ")), "{text}");
    assert!(!failure.to_string().contains("canary") && !failure.to_string().contains('\n'));
}

#[test]
fn the_next_address_is_tried() {
    let server = Server::answering(OK);
    let mut client = client(&config("collector.example", 4318));
    client.pin_addresses(vec![refused_address(), refused_address(), server.address]);
    assert_eq!(ok(), status_and_body(post(&mut client, "x")));
    let (first, last) = (refused_address(), refused_address());
    client.cancel();
    client.pin_addresses(vec![first, last]);
    let Err(Failure::Connect(text)) = post(&mut client, "x") else { panic!() };
    assert!(text.starts_with(&format!("collector.example ({last}): ")), "{text}");
}

/// A listener whose queue is full: further connection attempts are dropped without a word.
#[cfg(target_os = "linux")]
fn black_hole() -> (socket2::Socket, Vec<TcpStream>, SocketAddr) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
    }
    (listener, queued, address)
}

#[cfg(target_os = "linux")]
#[test]
fn addresses_that_do_not_answer_share_three_seconds() {
    let (_listener, _queued, hole) = black_hole();
    let server = Server::answering(OK);
    let mut client = client(&config("collector.example", 4318));
    client.pin_addresses(vec![hole, hole, server.address]);
    let begun = Instant::now();
    client.begin(request("x", LONG), begun);
    assert!(client.step(begun).is_none());
    for passed_ms in [1000, 2000] {
        let wake_at = client.interest(begun).wake_at.unwrap();
        assert_eq!(Duration::from_millis(passed_ms), wake_at - begun);
        assert!(client.step(wake_at).is_none());
    }
    let result = loop {
        wait_for(&client);
        if let Some(result) = client.step(begun + Duration::from_millis(2001)) {
            break result;
        }
    };
    assert_eq!(ok(), status_and_body(result));

    client.cancel();
    client.pin_addresses(vec![hole]);
    client.begin(request("x", LONG), begun);
    assert!(client.step(begun).is_none());
    #[cfg(target_os = "linux")]
    super::poll::assert_quiet(client.interest(begun).fd.unwrap());
    assert!(client.step(begun + Duration::from_millis(2999)).is_none());
    let Some(Err(Failure::Connect(text))) = client.step(begun + Duration::from_secs(3)) else { panic!() };
    assert_eq!(format!("collector.example ({hole}): no answer in time"), text);
    client.begin(request("x", Duration::ZERO), begun);
    assert_eq!(
        Some(Err(Failure::Timeout("connect"))),
        client.step(Instant::now()).map(|result| result.map(drop))
    );
}

#[test]
fn names_are_resolved_off_the_loop() {
    let server = Server::answering(OK);
    let mut client = client(&config("localhost", server.address.port()));
    client.begin(request("x", LONG), Instant::now());
    let mut polls = 0;
    let result = loop {
        if let Some(result) = client.step(Instant::now()) {
            break result;
        }
        wait_for(&client);
        polls += 1;
    };
    assert_eq!(ok(), status_and_body(result));
    assert!(polls <= 8, "{polls} polls: waiting for the resolver must not spin");
}

#[test]
fn a_name_that_does_not_exist_fails_and_is_looked_up_again() {
    let mut client = client(&config("no-such-host.invalid", 4318));
    for _ in 0..2 {
        match drive_within(&mut client, request("x", Duration::from_secs(5)), 8) {
            Err(Failure::Resolve(text)) => {
                assert!(text.starts_with("no-such-host.invalid: ") && !text.contains('\n'))
            }
            // A resolver without a network can take longer than we wait.
            Err(Failure::Timeout(phase)) => assert_eq!("resolve", phase),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn addresses_are_kept_until_they_are_old_or_take_no_connection() {
    // A request whose time is over ends in the phase that it waits in.
    let looks_up = |client: &mut Http1, now: Instant| {
        client.begin(request("x", Duration::ZERO), now);
        let result = client.step(now + Duration::from_secs(1));
        client.cancel();
        matches!(result, Some(Err(Failure::Timeout("resolve"))))
    };
    // A lookup can be over before we look, so it need not be seen each time.
    const TRIES: u32 = 100;
    let server = Server::answering(OK);
    let mut known = client(&config("localhost", server.address.port()));
    post(&mut known, "x").unwrap();
    known.cancel();
    let now = Instant::now();
    assert!((0..58).all(|passed_s| !looks_up(&mut known, now + Duration::from_secs(passed_s))));
    assert!((1..TRIES).any(|minutes| looks_up(&mut known, now + minutes * Duration::from_secs(62))), "old");

    let mut refused = client(&config("localhost", refused_address().port()));
    let looked_up = (0..TRIES).any(|_| {
        assert!(matches!(post(&mut refused, "x"), Err(Failure::Connect(_))));
        looks_up(&mut refused, Instant::now())
    });
    assert!(looked_up, "the addresses took no connection");
}

// ---- deadlines -----------------------------------------------------------------------------------------------------

#[test]
fn a_server_that_never_answers_ends_by_the_deadline() {
    let server = Server::new(|_, peer| {
        peer.take();
        peer.until_closed();
    });
    let mut client = server.client();
    let result = drive_within(&mut client, request("x", Duration::from_millis(100)), 10);
    assert_eq!(Failure::Timeout("receive"), result.unwrap_err());
    assert!(client.interest(Instant::now()).fd.is_none(), "the connection is of no more use");
}

#[test]
fn a_server_that_never_reads_ends_by_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = client(&config("127.0.0.1", listener.local_addr().unwrap().port()));
    let result = drive_within(&mut client, request(vec![0; 64 << 20], Duration::from_millis(200)), 500);
    assert_eq!(Failure::Timeout("send"), result.unwrap_err());
}

#[test]
fn a_trickling_server_ends_by_the_deadline() {
    for head in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", "HTTP/1.1 200 OK\r\nx-filler: "] {
        let server = Server::new(move |_, peer| {
            peer.stream.set_nodelay(true).unwrap();
            peer.take();
            peer.give(head.as_bytes());
            while peer.give(b"H") {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let result = drive(&mut server.client(), request("x", Duration::from_millis(200)));
        match result.unwrap_err() {
            Failure::Timeout(phase) => assert_eq!("receive", phase),
            // "HHHH" is soon seen to be no status line.
            failure => assert!(head.is_empty() && matches!(failure, Failure::Protocol(_)), "{failure}"),
        }
    }
}

#[test]
fn a_hung_server_does_not_hold_up_another() {
    let hung = Server::new(|_, peer| peer.until_closed());
    let healthy = Server::answering(OK);
    let (mut slow, mut quick) = (hung.client(), healthy.client());
    slow.begin(request(vec![0; 16 << 20], LONG), Instant::now());
    for _ in 0..50 {
        quick.begin(request("x", LONG), Instant::now());
        loop {
            assert!(slow.step(Instant::now()).is_none());
            if let Some(result) = quick.step(Instant::now()) {
                assert_eq!(ok(), status_and_body(result));
                break;
            }
            wait_for(&quick);
        }
    }
}
