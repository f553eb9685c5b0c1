//! TLS against rustls servers with certificates made for each test.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use pytracingx::config::{Signal, TlsFiles, TransportConfig, certificates};
use pytracingx::error::Error;
use pytracingx::transport::{Exchange, Failure, Grpc, Http1, USER_AGENT};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::h2_peer;
use super::http_peer::{
    LONG, OK, Peer, Server, client, config, drive, drive_within, post, read_request, request,
};

/// A certificate authority and the directory for the files of one test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: rcgen::Certificate,
    directory: PathBuf,
}

/// A certificate with its key.
pub(crate) struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, SeqCst);
        let directory = std::env::temp_dir().join(format!("pytracingx-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        let root = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), root, directory }
    }

    pub(crate) fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> Option<PathBuf> {
        let path = self.directory.join(name);
        std::fs::write(&path, content).unwrap();
        Some(path)
    }

    /// Settings that trust this authority.
    pub(crate) fn config(&self, server: &Server) -> TransportConfig {
        let mut config = config("127.0.0.1", server.address.port());
        config.endpoint.tls = true;
        config.tls = TlsFiles { ca_file: self.file("ca.pem", &self.root.pem()), ..TlsFiles::default() };
        config
    }

    pub(crate) fn client(&self, server: &Server) -> Http1 {
        client(&self.config(server))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub(crate) type Stream = StreamOwned<ServerConnection, std::net::TcpStream>;

/// Speaks TLS with `leaf` and gives each connection to `serve`. With `clients`, asks for a certificate of theirs.
pub(crate) fn server(
    leaf: &Leaf,
    clients: Option<&Authority>,
    serve: impl Fn(&mut Stream) + Send + Sync + 'static,
) -> Server {
    server_of(leaf, clients, &[b"http/1.1"], serve)
}

fn server_of(
    leaf: &Leaf,
    clients: Option<&Authority>,
    alpn: &[&[u8]],
    serve: impl Fn(&mut Stream) + Send + Sync + 'static,
) -> Server {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.root.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::Pkcs8(leaf.key.serialize_der().into());
    let mut config = builder.with_single_cert(vec![leaf.certificate.der().clone()], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let config = Arc::new(config);
    Server::new(move |_, peer: &mut Peer| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        serve(&mut StreamOwned::new(session, peer.stream.try_clone().unwrap()));
    })
}

/// Answers until the end.
pub(crate) fn answer(stream: &mut Stream) {
    while read_request(stream).is_some() && stream.write_all(OK).and_then(|()| stream.flush()).is_ok() {}
}

fn tls_failure(client: &mut impl Exchange) -> String {
    let failure = post(client, "x").unwrap_err();
    let Failure::Tls(text) = &failure else { panic!("{failure}") };
    assert!(!failure.to_string().contains('\n'));
    text.clone()
}

#[test]
fn requests_share_a_verified_connection() {
    let authority = Authority::new();
    let server = server(&authority.leaf("127.0.0.1", |_| ()), None, answer);
    let mut client = authority.client(&server);
    for _ in 0..3 {
        assert_eq!(b"hi".to_vec(), post(&mut client, "x").unwrap().body);
        // Session tickets that arrive after the answer are no reason to close.
        assert!(client.step(Instant::now()).is_none());
    }
    assert_eq!(1, server.connections());
}

#[test]
fn names_are_verified_against_the_endpoint_not_the_address() {
    let authority = Authority::new();
    let server = server(&authority.leaf("collector.example", |_| ()), None, answer);
    let mut config = authority.config(&server);
    config.endpoint.host = "collector.example".into();
    let mut named = client(&config);
    named.pin_addresses(vec![server.address]);
    assert_eq!(200, post(&mut named, "x").unwrap().status);
    assert!(tls_failure(&mut authority.client(&server)).contains("certificate"), "wrong host");
}

#[test]
fn large_bodies_pass_in_both_directions() {
    let authority = Authority::new();
    let body: Vec<u8> =
        (0..8u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (expected, half) = (body.clone(), body[..3 << 20].to_vec());
    let sent = half.clone();
    let server = server(&authority.leaf("127.0.0.1", |_| ()), None, move |stream| {
        while let Some(request) = read_request(stream) {
            assert!(request.ends_with(&expected));
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", sent.len()).unwrap();
            stream.write_all(&sent).unwrap();
        }
    });
    let mut client = authority.client(&server);
    for _ in 0..2 {
        let response = drive_within(&mut client, request(body.clone(), LONG), 20_000).unwrap();
        assert!(response.body == half);
    }
    assert_eq!(1, server.connections());
}

#[test]
fn certificates_that_prove_nothing_are_refused() {
    let authority = Authority::new();
    let expired = authority.leaf("127.0.0.1", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let future = authority.leaf("127.0.0.1", |params| params.not_before = date_time_ymd(3000, 1, 1));
    let elsewhere = authority.leaf("127.0.0.2", |_| ());
    let unknown = Authority::new().leaf("127.0.0.1", |_| ());
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let own = Leaf { certificate: own.cert, key: own.signing_key };
    for (leaf, word) in [
        (expired, "expired"),
        (future, "not valid yet"),
        (elsewhere, "127.0.0.2"),
        (unknown, "UnknownIssuer"),
        (own, "UnknownIssuer"),
    ] {
        let server = server(&leaf, None, answer);
        let text = tls_failure(&mut authority.client(&server));
        assert!(text.contains(word), "{text}");
    }
    // With the system's roots instead of ours.
    let server = server(&authority.leaf("127.0.0.1", |_| ()), None, answer);
    let mut config = authority.config(&server);
    config.tls = TlsFiles::default();
    assert!(tls_failure(&mut client(&config)).contains("UnknownIssuer"));
}

#[test]
fn client_certificates_are_shown_when_asked_for() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let ours = clients.leaf("client", |_| ());
    let server = server(&authority.leaf("127.0.0.1", |_| ()), Some(&clients), answer);
    let mut config = authority.config(&server);
    config.tls.client_cert_file = authority.file("client.pem", &ours.certificate.pem());
    config.tls.client_key_file = authority.file("client.key", &ours.key.serialize_pem());
    assert_eq!(200, post(&mut client(&config), "x").unwrap().status);
    let text = tls_failure(&mut authority.client(&server));
    assert!(text.contains("CertificateRequired"), "{text}");
    let stranger = Authority::new().leaf("client", |_| ());
    config.tls.client_cert_file = authority.file("client.pem", &stranger.certificate.pem());
    config.tls.client_key_file = authority.file("client.key", &stranger.key.serialize_pem());
    tls_failure(&mut client(&config));
}

#[test]
fn servers_that_do_not_speak_tls_fail() {
    let authority = Authority::new();
    let plain = Server::new(|_, peer| peer.give(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    tls_failure(&mut authority.client(&plain));
    // Closing with our greeting unread would reset; closing after it is a plain end.
    let closing = Server::new(|_, peer| peer.stream.read(&mut [0; 65_536]).unwrap());
    let failure = post(&mut authority.client(&closing), "x").unwrap_err();
    assert_eq!(Failure::Io("closed during the TLS handshake".into()), failure);
    let hung = Server::new(|_, peer| peer.until_closed());
    let result = drive(&mut authority.client(&hung), request("x", Duration::from_millis(100)));
    assert_eq!(Failure::Timeout("tls"), result.unwrap_err());
}

/// A server that sends `bytes` once it has our greeting, and closes.
fn saying(bytes: &'static [u8]) -> Server {
    Server::new(move |_, peer| {
        assert!(peer.stream.read(&mut [0; 65_536]).unwrap() > 0);
        peer.give(bytes)
    })
}

#[test]
fn handshakes_that_come_to_nothing_fail_in_one_line() {
    let authority = Authority::new();
    // What peers of TLS 1.1 and before answer: an alert, or a ServerHello of their own version.
    for (bytes, word) in [
        (&b"\x15\x03\x01\x00\x02\x02\x46"[..], "ProtocolVersion"),
        (b"\x15\x03\x00\x00\x02\x02\x28", "HandshakeFailure"),
        (
            b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
           0123456789abcdef0123456789abcdef\x00\xc0\x13\x00",
            "ServerDoesNotSupportTls12Or13",
        ),
        (b"\x16\x03\x03\xff\xff", "corrupt message"),
    ] {
        let failure = post(&mut authority.client(&saying(bytes)), "x").unwrap_err();
        assert!(failure.to_string().contains(word), "{failure}");
    }
    for cut in [&b"\x16"[..], b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"] {
        let mut client = authority.client(&saying(cut));
        let failure = post(&mut client, "x").unwrap_err();
        assert_eq!(Failure::Io("closed during the TLS handshake".into()), failure);
        assert_eq!("tls", client.last_phase());
    }
    let other_protocol = server_of(&authority.leaf("127.0.0.1", |_| ()), None, &[b"h2"], answer);
    let text = tls_failure(&mut authority.client(&other_protocol));
    assert!(text.contains("NoApplicationProtocol"), "{text}");
    let none = server_of(&authority.leaf("127.0.0.1", |_| ()), None, &[], answer);
    assert_eq!(200, post(&mut authority.client(&none), "x").unwrap().status);
}

#[test]
fn a_complete_answer_counts_however_its_connection_ends() {
    let authority = Authority::new();
    let abrupt = server(&authority.leaf("127.0.0.1", |_| ()), None, |stream| {
        read_request(stream);
        stream.write_all(OK).unwrap();
    });
    let mut client = authority.client(&abrupt);
    for _ in 0..3 {
        assert_eq!(200, post(&mut client, "x").unwrap().status);
    }
    assert_eq!(3, abrupt.connections());
}

#[test]
fn a_cut_connection_does_not_pass_for_the_end_of_an_answer() {
    let authority = Authority::new();
    let leaf = authority.leaf("127.0.0.1", |_| ());
    let cut = server(&leaf, None, |stream| {
        read_request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhi").unwrap();
    });
    let failure = post(&mut authority.client(&cut), "x").unwrap_err();
    assert_eq!(Failure::Io("closed without a TLS close_notify".into()), failure);
    let closed = server(&leaf, None, |stream| {
        read_request(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhi").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    assert_eq!(b"hi".to_vec(), post(&mut authority.client(&closed), "x").unwrap().body);
}

#[test]
fn a_kept_connection_that_the_server_closed_is_replaced() {
    let authority = Authority::new();
    let server = server(&authority.leaf("127.0.0.1", |_| ()), None, |stream| {
        read_request(stream);
        stream.write_all(OK).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    let mut client = authority.client(&server);
    for _ in 0..3 {
        assert_eq!(200, post(&mut client, "x").unwrap().status);
    }
    assert_eq!(3, server.connections());
}

#[test]
fn bad_files_are_refused_at_construction_by_name() {
    let authority = Authority::new();
    let leaf = authority.leaf("client", |_| ());
    let other = authority.leaf("client", |_| ());
    let missing = Some(authority.directory.join("missing.pem"));
    let empty = authority.file("empty.pem", "");
    let garbage =
        authority.file("garbage.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    let no_der =
        authority.file("no_der.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let no_key =
        authority.file("no_der.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let encrypted = authority.file("encrypted.key", encrypted);
    let cut = authority.file("cut.pem", &leaf.certificate.pem()[..100]);
    let directory = Some(authority.directory.clone());
    let huge = authority.file("huge.pem", &"a".repeat(2 << 20));
    let cert = authority.file("cert.pem", &leaf.certificate.pem());
    let key = authority.file("cert.key", &leaf.key.serialize_pem());
    let other_key = authority.file("other.key", &other.key.serialize_pem());
    let cases: [(&str, &str, [&Option<PathBuf>; 3]); 17] = [
        ("ca_file", "missing.pem' cannot be read: No such file", [&missing, &None, &None]),
        ("ca_file", "empty.pem' is empty", [&empty, &None, &None]),
        ("ca_file", "garbage.pem' holds a PEM block that is not base64", [&garbage, &None, &None]),
        ("ca_file", "cut.pem' holds a PEM block without end", [&cut, &None, &None]),
        ("ca_file", "no_der.pem", [&no_der, &None, &None]),
        ("ca_file", "huge.pem", [&huge, &None, &None]),
        ("ca_file", "directory", [&directory, &None, &None]),
        ("ca_file", "cert.key' holds no PEM certificate", [&key, &None, &None]),
        ("client_cert_file", "missing.pem", [&None, &missing, &key]),
        ("client_key_file", "empty.pem", [&None, &cert, &empty]),
        ("client_cert_file", "no_der.pem", [&None, &no_der, &key]),
        ("client_key_file", "no_der.key", [&None, &cert, &no_key]),
        ("client_key_file", "encrypted.key' holds no PEM private key (PKCS#8", [&None, &cert, &encrypted]),
        ("client_key_file", "cert.pem' holds no PEM private key", [&None, &cert, &cert]),
        ("client_key_file", "other.key' does not belong to the certificate of", [&None, &cert, &other_key]),
        ("client_cert_file", "needs client_key_file beside it", [&None, &cert, &None]),
        ("client_key_file", "needs client_cert_file beside it", [&None, &None, &key]),
    ];
    for (argument, word, [ca, cert, key]) in cases {
        let mut config = config("127.0.0.1", 4318);
        config.endpoint.tls = true;
        config.tls =
            TlsFiles { ca_file: ca.clone(), client_cert_file: cert.clone(), client_key_file: key.clone() };
        let early = certificates::check(&config.tls).unwrap_err();
        let Err(Error::Config(text)) = Http1::new(&config, "application/x-protobuf", USER_AGENT) else {
            panic!("{argument} {word} was accepted");
        };
        assert!(text.starts_with(argument) && text.contains(word) && !text.contains('\n'), "{text}");
        assert_eq!(early, Error::Config(text.clone()), "refused where it is given");
        assert_no_key(&text);
    }
    let mut config = config("not a name", 4318);
    config.endpoint.tls = true;
    assert!(
        matches!(Http1::new(&config, "x/y", USER_AGENT), Err(Error::Config(text)) if text.contains("not a name"))
    );
}

/// No part of a key file is quoted.
fn assert_no_key(text: &str) {
    assert!(!text.contains("BEGIN") && !text.contains("MIG"), "{text}");
}

fn grpc(authority: &Authority, server: &Server) -> Grpc {
    Grpc::new(&authority.config(server), Signal::Traces, USER_AGENT).unwrap()
}

#[test]
fn grpc_needs_a_server_that_agrees_on_http_2() {
    let authority = Authority::new();
    let leaf = authority.leaf("127.0.0.1", |_| ());
    let server = server_of(&leaf, None, &[], |stream| drop(std::io::copy(stream, &mut std::io::sink())));
    let mut without = grpc(&authority, &server);
    assert_eq!(tls_failure(&mut without), "the server does not offer HTTP/2, which gRPC needs");
    assert_eq!(without.last_phase(), "tls");
    let server = server_of(&leaf, None, &[b"http/1.1"], answer);
    assert!(tls_failure(&mut grpc(&authority, &server)).contains("NoApplicationProtocol"));
    // One that does: it answers the preface and our settings, and resets the call.
    let server = server_of(&leaf, None, &[b"h2"], |stream| {
        let reset = [&h2_peer::settings(1000)[..], &h2_peer::reset(1, 2)].concat();
        stream.read_exact(&mut [0; 24]).and_then(|()| stream.write_all(&reset)).unwrap();
        let _ = std::io::copy(stream, &mut std::io::sink());
    });
    let mut agreed = grpc(&authority, &server);
    assert_eq!(post(&mut agreed, "x").unwrap_err(), Failure::Reset(2));
    assert_eq!(server.connections(), 1);
}
