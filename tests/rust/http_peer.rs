//! Servers on real sockets that follow a script, and a client driven as the exporter drives it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pytracingx::config::{Compression, Endpoint, Protocol, ProxyChoice, TlsFiles, TransportConfig};
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

pub(crate) fn wait_for(client: &impl Exchange) {
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

    pub(crate) fn on<R>(
        listener: TcpListener,
        serve: impl Fn(usize, &mut Peer) -> R + Send + Sync + 'static,
    ) -> Self {
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

pub(crate) fn status_and_body(result: Result<Response, Failure>) -> (u16, String) {
    let response = result.unwrap();
    (response.status, String::from_utf8(response.body).unwrap())
}

pub(crate) fn ok() -> (u16, String) {
    (200, "hi".into())
}
