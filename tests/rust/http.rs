//! HTTP/1.1 over real sockets against servers that follow a script, well behaved and not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proptest::prelude::*;
use pytracingx::config::{Compression, Endpoint, Protocol, ProxyChoice, Secret, TlsFiles, TransportConfig};
use pytracingx::error::Error;
use pytracingx::sys::poll::{PollFd, wait};
use pytracingx::transport::{Exchange, Failure, Http1, Request, Response, USER_AGENT};

/// Longer than any test needs: what ends by it has hung.
pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

pub(crate) fn config(host: &str, port: u16) -> TransportConfig {
    TransportConfig {
        endpoint: Endpoint { tls: false, host: host.into(), port, path: "/v1/traces".into() },
        protocol: Protocol::HttpProtobuf,
        headers: Vec::new(),
        timeout_ms: 10_000,
        max_export_timeout_ms: 300_000,
        compression: Compression::None,
        tls: TlsFiles::default(),
        proxy: ProxyChoice::Environment,
        max_queue_bytes: 64 << 20,
    }
}

pub(crate) fn client(config: &TransportConfig) -> Http1 {
    Http1::new(config, "application/x-protobuf", USER_AGENT).unwrap()
}

pub(crate) fn request(body: impl Into<Vec<u8>>, timeout: Duration) -> Request {
    Request { headers: Vec::new(), body: body.into().into(), deadline: Instant::now() + timeout }
}

/// What the exporter does, for one exchange: waits for its interest, steps it. Counts the steps, so that one that
/// spins instead of waiting does not pass.
pub(crate) fn drive(client: &mut impl Exchange, request: Request) -> Result<Response, Failure> {
    drive_within(client, request, 2_000)
}

pub(crate) fn drive_within(
    client: &mut impl Exchange,
    request: Request,
    steps: usize,
) -> Result<Response, Failure> {
    client.begin(request, Instant::now());
    for _ in 0..steps {
        if let Some(result) = client.step(Instant::now()) {
            return result;
        }
        wait_for(client);
    }
    panic!("no end after {steps} steps");
}

fn wait_for(client: &impl Exchange) {
    let now = Instant::now();
    let interest = client.interest(now);
    let wake_at = interest.wake_at.expect("a request under way has a deadline");
    let mut fds = Vec::new();
    fds.extend(interest.fd.map(|fd| PollFd {
        fd,
        readable: interest.readable,
        writable: interest.writable,
        ready: false,
    }));
    wait(&mut fds, wake_at.saturating_duration_since(now));
}

pub(crate) fn post(client: &mut impl Exchange, body: &str) -> Result<Response, Failure> {
    drive(client, request(body, LONG))
}

/// A listener whose connections are each served by `serve` (its number, counted from 0, and the stream) on a thread.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    pub(crate) requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// One connection as its server sees it.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    pub(crate) fn new<R>(serve: impl Fn(usize, &mut Peer) -> R + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    fn on<R>(listener: TcpListener, serve: impl Fn(usize, &mut Peer) -> R + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (counted, kept, serve) = (Arc::clone(&connections), Arc::clone(&requests), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(LONG)).unwrap();
                let number = counted.fetch_add(1, SeqCst);
                let (serve, mut peer) = (Arc::clone(&serve), Peer { stream, requests: Arc::clone(&kept) });
                std::thread::spawn(move || drop(serve(number, &mut peer)));
            }
        });
        Self { address, connections, requests }
    }

    /// Answers every request on every connection with `answer`.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |_, peer| while peer.take() && peer.give(&answer) {})
    }

    pub(crate) fn client(&self) -> Http1 {
        client(&config(&self.address.ip().to_string(), self.address.port()))
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect()
    }
}

impl Peer {
    /// Reads one request; false at the end of the connection.
    pub(crate) fn take(&mut self) -> bool {
        let Some(request) = read_request(&mut self.stream) else {
            return false;
        };
        self.requests.lock().push(request);
        true
    }

    pub(crate) fn give(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Until the client has closed: then what it does is not a reaction to our closing.
    pub(crate) fn until_closed(&mut self) {
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
    }
}

/// Head and body of one request, by its content-length.
pub(crate) fn read_request(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut buffer = [0; 65_536];
    let mut expected = None;
    while expected.is_none_or(|expected| request.len() < expected) {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&buffer[..count]);
        if expected.is_none() {
            expected = request.windows(4).position(|window| window == b"\r\n\r\n").map(|at| {
                let head = String::from_utf8_lossy(&request[..at]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
                at + 4 + length.trim().parse::<usize>().unwrap()
            });
        }
    }
    assert_eq!(expected, Some(request.len()), "one request at a time");
    Some(request)
}

fn status_and_body(result: Result<Response, Failure>) -> (u16, String) {
    let response = result.unwrap();
    (response.status, String::from_utf8(response.body).unwrap())
}

fn ok() -> (u16, String) {
    (200, "hi".into())
}

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
