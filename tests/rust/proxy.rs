//! Proxies: what is said of them, whom they lead to, and real ones between a client and its server.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pytracingx::config::{
    Config, Endpoint, PathRule, Protocol, Proxies, Proxy, ProxyChoice, TransportConfig,
};
use pytracingx::transport::{Exchange, Failure, Http1};

use super::http_peer::{LONG, OK, Peer, Server, client, config, drive, post, request};
use super::tls::{Authority, answer, server};

const CANARY: &str = "c4n4ry-of-8";
/// `user:c4n4ry-of-8`.
const BASIC: &str = "Basic dXNlcjpjNG40cnktb2YtOA==";

fn parse(text: &str) -> Result<Proxy, String> {
    Proxy::parse("TraceSink proxy", text).map_err(|error| error.to_string())
}

#[test]
fn proxies_are_read_and_shown_without_their_secrets() {
    for (text, shown, exposed) in [
        ("http://proxy:3128", "http://proxy:3128", "http://proxy:3128"),
        ("Proxy.Example", "http://proxy.example:80", "http://proxy.example:80"),
        ("HTTP://[::1]:8080/", "http://[::1]:8080", "http://[::1]:8080"),
        ("user:p%40ss@10.0.0.1:1", "http://***@10.0.0.1:1", "http://user:p%40ss@10.0.0.1:1"),
        ("http://u@v@h:1", "http://***@h:1", "http://u@v@h:1"),
        ("http://:@h:1", "http://***@h:1", "http://:@h:1"),
        ("http://u:/#?@h:1", "http://***@h:1", "http://u:/#?@h:1"),
    ] {
        let proxy = parse(text).unwrap();
        assert_eq!((shown, exposed), (&*proxy.to_string(), &*proxy.expose()));
        assert_eq!(shown, format!("{proxy:?}"));
        assert_eq!(Ok(proxy), parse(exposed));
    }
    let choice = |text| ProxyChoice::parse("p", text).unwrap();
    assert_eq!([ProxyChoice::Environment, ProxyChoice::Direct], [choice(None), choice(Some(""))]);
}

#[test]
fn what_is_no_proxy_is_refused_without_its_secrets() {
    for (text, word) in [
        (&*format!("https://user:{CANARY}@proxy:1"), "TLS"),
        ("socks5://proxy:1080", "SOCKS"),
        (&*format!("http://user:{CANARY}@"), "must name a host"),
        ("http://proxy/path", "letters"),
        ("http://proxy:0", "port"),
        ("http://proxy:99999", "port"),
        ("http://", "must name a host"),
        ("::1", "brackets"),
        ("a proxy", "space"),
        ("http://proxy\r\n:1", "space"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.starts_with("TraceSink proxy '") && error.contains(word), "{error}");
        assert!(!error.contains(CANARY) && !error.contains('\n'), "{error}");
    }
}

fn proxies(variables: &[(&str, &str)]) -> (Proxies, Vec<String>) {
    let map: HashMap<_, _> = variables.iter().copied().collect();
    Proxies::from_env(|name| map.get(name).map(|value| (*value).to_owned()))
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse("endpoint", text, Some(Protocol::HttpProtobuf), None, PathRule::AsIs).unwrap().0
}

fn towards(variables: &[(&str, &str)], text: &str) -> Option<String> {
    proxies(variables).0.towards(&endpoint(text)).map(|proxy| proxy.host.clone())
}

#[test]
fn the_environment_names_proxies_by_scheme() {
    let all = [("https_proxy", "s"), ("HTTPS_PROXY", "S2"), ("http_proxy", "h"), ("ALL_PROXY", "a")];
    for (variables, https, http) in [
        (&all[..], Some("s"), Some("h")),
        (&all[1..], Some("s2"), Some("h")),
        (&all[3..], Some("a"), Some("a")),
        (&[("HTTP_PROXY", "h")], None, Some("h")),
        (&[("HTTP_PROXY", "h"), ("REQUEST_METHOD", "GET")], None, None),
        (&[("http_proxy", "h"), ("REQUEST_METHOD", "GET")], None, Some("h")),
        (&[("all_proxy", "a"), ("https_proxy", " ")], Some("a"), Some("a")),
        (&[("all_proxy", "a"), ("https_proxy", "socks5://s")], Some("a"), Some("a")),
        (&[], None, None),
    ] {
        assert_eq!(https, towards(variables, "https://collector.example").as_deref(), "{variables:?}");
        assert_eq!(http, towards(variables, "http://collector.example").as_deref(), "{variables:?}");
        for loopback in ["https://localhost", "http://127.9.9.9", "https://[::1]:1", "http://a.localhost."] {
            assert_eq!(None, towards(variables, loopback), "{variables:?}");
        }
    }
    let bad = format!("socks5://user:{CANARY}@s");
    let (_, warnings) = proxies(&[("all_proxy", &bad), ("HTTPS_PROXY", "https://s")]);
    assert!(
        warnings.iter().all(|line| line.ends_with("; ignored") && !line.contains(CANARY)),
        "{warnings:?}"
    );
    assert!(warnings[0].starts_with("HTTPS_PROXY 'https://s'"), "{warnings:?}");
}

#[test]
fn no_proxy_names_hosts_domains_networks_and_ports() {
    for (entries, inside, outside) in [
        ("*", &["http://a", "https://1.2.3.4", "http://[2001:db8::1]"][..], &[][..]),
        ("example.com", &["http://example.com", "http://a.EXAMPLE.com.:9"], &["http://badexample.com"]),
        (".example.com", &["http://example.com", "http://a.b.example.com"], &["http://example.org"]),
        ("*.example.com.", &["http://a.example.com"], &["http://acomexample.com"]),
        ("a,b\tc d", &["http://a", "http://b", "http://c", "http://d"], &["http://e"]),
        ("a:8080", &["http://a:8080", "http://x.a:8080"], &["http://a", "http://a:80"]),
        ("10.0.0.0/8", &["http://10.1.2.3"], &["http://11.0.0.1", "http://10.example"]),
        ("10.1.2.3/32,10.1.2.4", &["http://10.1.2.3", "http://10.1.2.4"], &["http://10.1.2.5"]),
        ("0.0.0.0/0", &["http://1.1.1.1"], &["http://[2001:db8::1]"]),
        ("10.0.0.1:80", &["http://10.0.0.1"], &["http://10.0.0.1:81"]),
        ("2001:db8::/32", &["http://[2001:db8:1::1]"], &["http://[2001:db9::1]", "http://32.1.13.184"]),
        (
            "[2001:db8::1]:9,fe80::1",
            &["http://[2001:db8::1]:9", "http://[fe80::1%25lo]"],
            &["http://[2001:db8::1]"],
        ),
        ("2001:db8::1", &["http://[2001:db8::1]:7"], &["http://[2001:db8::2]"]),
        ("1,0.1,.,*.,/8,10.0.0.0/x,:80,a:b", &[], &["http://10.0.0.1", "http://a", "http://b"]),
        ("10.0.0.0/99", &["http://10.0.0.0"], &["http://10.0.0.1"]),
    ] {
        for name in ["no_proxy", "NO_PROXY"] {
            let variables = [("all_proxy", "p"), (name, entries)];
            for url in inside {
                assert_eq!(None, towards(&variables, url), "{entries} {url}");
            }
            for url in outside {
                assert_eq!(Some("p"), towards(&variables, url).as_deref(), "{entries} {url}");
            }
        }
    }
}

#[test]
fn sinks_ask_the_environment_unless_they_say_themselves() {
    let map = HashMap::from([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics.example"),
        ("PYTRACINGX_SLS_ENDPOINT", "cn-hangzhou.log.aliyuncs.com"),
        ("PYTRACINGX_SLS_PROJECT", "Own"),
        ("PYTRACINGX_SLS_LOGSTORE", "l"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "i"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s"),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("NO_PROXY", "own.cn-hangzhou.log.aliyuncs.com"),
    ]);
    let variable = |name: &str| map.get(name).map(|value| (*value).to_owned());
    let mut config = Config::from_env(variable);
    let via = ProxyChoice::Via(parse("http://proxy:3128").unwrap());
    let choices = |config: &Config| {
        let sinks = [&config.trace_sinks[0].transport, &config.metric_sinks[0].transport];
        let [traces, metrics] = sinks.map(|transport| transport.proxy.clone());
        [
            traces,
            metrics,
            config.otlp_log_sinks[0].transport.proxy.clone(),
            config.sls_log_sinks[0].proxy.clone(),
        ]
    };
    let direct = ProxyChoice::Direct;
    assert_eq!([via, direct.clone(), direct.clone(), direct.clone()], choices(&config));
    config.trace_sinks[0].transport.proxy = ProxyChoice::Direct;
    config.merge_env(variable);
    assert_eq!(direct, choices(&config)[0]);
    // Told of sinks that need one only.
    for (name, warnings) in [("collector.example", 1), ("localhost", 0)] {
        let endpoint = format!("http://{name}");
        let config = Config::from_env(|name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
            "ALL_PROXY" => Some("socks5://proxy".to_owned()),
            _ => None,
        });
        assert_eq!(warnings, config.warnings.len(), "{:?}", config.warnings);
    }
}

// ---- plain requests are handed to the proxy ------------------------------------------------------------------------

fn via(mut config: TransportConfig, proxy: SocketAddr) -> TransportConfig {
    config.proxy = ProxyChoice::Via(parse(&format!("http://user:{CANARY}@{proxy}")).unwrap());
    config
}

#[test]
fn a_plain_request_names_its_origin_to_the_proxy() {
    let proxy = Server::answering(OK);
    for (host, port, origin) in [
        ("collector.example", 4318, "http://collector.example:4318"),
        ("collector.example", 80, "http://collector.example"),
        ("2001:db8::1", 4318, "http://[2001:db8::1]:4318"),
    ] {
        let mut client = client(&via(config(host, port), proxy.address));
        for body in ["one", "two"] {
            assert_eq!(200, post(&mut client, body).unwrap().status);
            let request = proxy.requests().pop().unwrap();
            assert!(request.starts_with(&format!("POST {origin}/v1/traces HTTP/1.1\r\n")), "{request}");
            let host = origin.strip_prefix("http://").unwrap();
            assert!(request.contains(&format!("\r\nhost: {host}\r\n")), "{request}");
            assert_eq!(1, request.matches(&format!("proxy-authorization: {BASIC}\r\n")).count(), "{request}");
            assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
        }
    }
    assert_eq!(3, proxy.connections());
}

#[test]
fn a_proxy_without_credentials_gets_none() {
    let proxy = Server::answering(OK);
    let mut config = config("collector.example", 4318);
    config.proxy = ProxyChoice::Via(parse(&proxy.address.to_string()).unwrap());
    post(&mut client(&config), "x").unwrap();
    assert!(!proxy.requests()[0].contains("proxy-authorization"));
}

#[test]
fn a_proxy_that_wants_other_credentials_is_not_the_servers_refusal() {
    let quoting =
        format!("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 50\r\n\r\n{CANARY:50}");
    let proxy = Server::answering(quoting.replace("407", "403"));
    let response = post(&mut client(&via(config("a.example", 80), proxy.address)), "x").unwrap();
    assert_eq!(403, response.status);
    assert!(!String::from_utf8(response.body).unwrap().contains(CANARY));
    let proxy = Server::answering(quoting.as_str());
    let mut client = client(&via(config("a.example", 80), proxy.address));
    let failure = post(&mut client, "x").unwrap_err();
    let shown = format!("http://***@{}: HTTP 407 Proxy Authentication Required", proxy.address);
    assert_eq!((Failure::Proxy(shown), "proxy"), (failure, client.last_phase()));
}

#[test]
fn a_proxy_that_quotes_the_decoded_password_is_not_heard_doing_so() {
    for quoted in ["c4n4ry:of@8", "c4n4ry%3Aof%408"] {
        let length = quoted.len();
        let proxy = Server::answering(format!("HTTP/1.1 403 No\r\ncontent-length: {length}\r\n\r\n{quoted}"));
        let mut config = config("a.example", 80);
        config.proxy =
            ProxyChoice::Via(parse(&format!("http://user:c4n4ry%3Aof%408@{}", proxy.address)).unwrap());
        let response = post(&mut client(&config), "x").unwrap();
        assert_eq!("*".repeat(length), String::from_utf8(response.body).unwrap());
    }
}

#[test]
fn nobody_but_the_proxy_setting_sends_credentials_to_proxies() {
    let mut config = config("a.example", 80);
    config.headers = vec![("Proxy-Authorization".into(), pytracingx::config::Secret::new(CANARY))];
    let Err(error) = Http1::new(&config, "x/y", "agent") else { panic!("accepted") };
    assert!(!error.to_string().contains(CANARY), "{error}");
}

#[test]
fn a_proxy_that_takes_no_connection_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = post(&mut client(&via(config("a.example", 80), nobody)), "x").unwrap_err();
    let Failure::Connect(text) = &failure else { panic!("{failure}") };
    assert!(text.starts_with(&format!("proxy {nobody}: ")), "{text}");
    assert!(!failure.to_string().contains(CANARY));
}

// ---- TLS goes through a tunnel -------------------------------------------------------------------------------------

/// A head that ends with an empty line.
fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    head
}

/// A CONNECT proxy that leads to `server`, whatever it is asked for, after saying `answer`.
fn tunnel_to(server: SocketAddr, answer: &'static [u8]) -> Server {
    Server::new(move |_, peer: &mut Peer| {
        let head = read_head(&mut peer.stream);
        peer.requests.lock().push(head);
        // In single bytes: it need not come at once.
        answer.iter().for_each(|byte| peer.stream.write_all(&[*byte]).unwrap());
        let mut inside = TcpStream::connect(server).unwrap();
        let (mut from, mut to) = (inside.try_clone().unwrap(), peer.stream.try_clone().unwrap());
        let back = std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut peer.stream, &mut inside);
        let _ = inside.shutdown(std::net::Shutdown::Write);
        back.join().unwrap()
    })
}

#[test]
fn tls_ends_at_the_server_and_not_at_the_proxy() {
    let authority = Authority::new();
    let server = server(&authority.leaf("collector.example", |_| ()), None, |stream| {
        while let Some(request) = super::http_peer::read_request(stream) {
            let body = String::from_utf8(request).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            stream.flush().unwrap();
        }
    });
    for answer in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nvia: x\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 Fine\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
    ] {
        let proxy = tunnel_to(server.address, answer.as_bytes());
        let mut config = via(authority.config(&server), proxy.address);
        config.endpoint.host = "collector.example".into();
        let mut client = client(&config);
        for _ in 0..2 {
            let seen = String::from_utf8(post(&mut client, "x").unwrap().body).unwrap();
            // A path that comes back is blotted out.
            assert!(seen.starts_with("POST ********** HTTP/1.1\r\n"), "{seen}");
            assert!(!seen.contains("proxy") && !seen.contains("Basic"), "{seen}");
        }
        let requests = proxy.requests();
        assert_eq!(1, requests.len());
        let authority = format!("collector.example:{}", server.address.port());
        assert!(requests[0].starts_with(&format!("CONNECT {authority} HTTP/1.1\r\n")), "{}", requests[0]);
        assert_eq!(1, requests[0].matches(&format!("host: {authority}\r\n")).count(), "{}", requests[0]);
        assert_eq!(1, requests[0].matches(&format!("proxy-authorization: {BASIC}\r\n")).count());
    }
}

fn refused(answer: &'static [u8]) -> Failure {
    let authority = Authority::new();
    let proxy = Server::new(move |_, peer: &mut Peer| {
        read_head(&mut peer.stream);
        peer.give(answer);
        peer.until_closed();
    });
    let mut client = client(&via(authority.config(&proxy), proxy.address));
    let failure = drive(&mut client, request("x", LONG)).unwrap_err();
    assert!(!failure.to_string().contains(CANARY) && !failure.to_string().contains('\n'), "{failure}");
    assert_eq!(if matches!(failure, Failure::Tls(_)) { "tls" } else { "proxy" }, client.last_phase());
    failure
}

#[test]
fn a_tunnel_that_is_refused_says_why_and_reads_no_further() {
    for (answer, word) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 1000000\r\n\r\n"[..],
            ": HTTP 407 Proxy A",
        ),
        (b"HTTP/1.1 502 Whatever\r\n\r\n", ": HTTP 502 Bad Gateway"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere\r\n\r\n", ": HTTP 302 Found"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not an HTTP answer"),
    ] {
        let Failure::Proxy(text) = refused(answer) else { panic!("not the proxy's") };
        assert!(text.starts_with("http://***@127.0.0.1:") && text.contains(word), "{text}");
    }
    // What follows the answer belongs to the tunnel: here it is no TLS.
    let failure = refused(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(matches!(failure, Failure::Tls(_)), "{failure}");
}

#[test]
fn a_proxy_that_does_not_come_to_an_end_is_given_up() {
    let authority = Authority::new();
    let endless = Server::new(|_, peer: &mut Peer| {
        peer.give(b"HTTP/1.1 200 OK\r\nx-filler: ");
        while peer.give(&[b'x'; 1000]) {}
    });
    let failure = post(&mut client(&via(authority.config(&endless), endless.address)), "x").unwrap_err();
    assert!(failure.to_string().ends_with("headers of more than 64 KiB"), "{failure}");
    let closing = Server::new(|_, peer: &mut Peer| read_head(&mut peer.stream));
    let failure = post(&mut client(&via(authority.config(&closing), closing.address)), "x").unwrap_err();
    assert!(failure.to_string().ends_with("closed without an answer to CONNECT"), "{failure}");
    let hung = Server::new(|_, peer: &mut Peer| peer.until_closed());
    let mut client = client(&via(authority.config(&hung), hung.address));
    let result = drive(&mut client, request("x", Duration::from_millis(100)));
    assert_eq!((Failure::Timeout("proxy"), "proxy"), (result.unwrap_err(), client.last_phase()));
    assert!(client.interest(std::time::Instant::now()).fd.is_none());
}

#[test]
fn a_server_that_the_tunnel_leads_to_must_still_prove_itself() {
    let authority = Authority::new();
    let server = server(&authority.leaf("elsewhere.example", |_| ()), None, answer);
    let proxy = tunnel_to(server.address, b"HTTP/1.1 200 OK\r\n\r\n");
    let mut config = via(authority.config(&server), proxy.address);
    config.endpoint.host = "collector.example".into();
    let failure = post(&mut client(&config), "x").unwrap_err();
    assert!(matches!(&failure, Failure::Tls(text) if text.contains("collector.example")), "{failure}");
}
