//! The way through an HTTP proxy: which requests are handed to it and which go through a tunnel (CONNECT), and the opening
//! of a tunnel, stepped. Never waits, never reads beyond the proxy's answer to CONNECT, so that what follows belongs to
//! the connection inside. Credentials go to the proxy alone, and into no text.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderValue};
use percent_encoding::percent_decode_str;
use ureq_proto::client::state::RecvResponse;
use ureq_proto::client::{Call, SendRequestResult};
use zeroize::Zeroizing;

use super::answer::{protocol, read_head};
use super::socket::would_block;
use super::{Failure, USER_AGENT, one_line};
use crate::config::{Endpoint, Protocol, Proxy, ProxyChoice, TransportConfig};

/// How requests reach an endpoint.
#[derive(Clone)]
pub(super) enum Route {
    Direct,
    /// The proxy gets the requests themselves: `http`, HTTP/1.1.
    Forwarded(Proxy),
    /// The proxy opens a connection: TLS, whose ends nobody may come between, and HTTP/2, which few proxies speak.
    Tunneled(Proxy),
}

impl Route {
    pub(super) fn of(config: &TransportConfig) -> Self {
        match &config.proxy {
            ProxyChoice::Environment | ProxyChoice::Direct => Self::Direct,
            ProxyChoice::Via(proxy) if config.endpoint.tls || config.protocol == Protocol::Grpc => {
                Self::Tunneled(proxy.clone())
            }
            ProxyChoice::Via(proxy) => Self::Forwarded(proxy.clone()),
        }
    }

    pub(super) fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Direct => None,
            Self::Forwarded(proxy) | Self::Tunneled(proxy) => Some(proxy),
        }
    }
}

/// The proxy refused: its status, and of its words none.
pub(super) fn refusal(proxy: &Proxy, status: http::StatusCode) -> Failure {
    Failure::Proxy(format!("{proxy}: HTTP {status}"))
}

/// `Proxy-Authorization`, for a proxy with credentials.
pub(super) fn authorization(proxy: &Proxy) -> Option<HeaderValue> {
    let credentials =
        Zeroizing::new(percent_decode_str(proxy.credentials.as_ref()?.expose()).collect::<Vec<_>>());
    // A user without password is one with an empty password.
    let colon: &[u8] = if credentials.contains(&b':') { b"" } else { b":" };
    let encoded = Zeroizing::new(STANDARD.encode(Zeroizing::new([&credentials[..], colon].concat())));
    let mut value = HeaderValue::from_str(&Zeroizing::new(format!("Basic {}", *encoded))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A tunnel being opened over a connection to the proxy.
pub(super) struct Opening {
    request: Vec<u8>,
    sent: usize,
    call: Call<RecvResponse>,
    /// Of the answer, read and not parsed yet.
    input: Vec<u8>,
    header_bytes: usize,
}

impl Opening {
    pub(super) fn new(proxy: &Proxy, endpoint: &Endpoint) -> Result<Self, Failure> {
        let (request, call) = connect(proxy, endpoint).map_err(|error| match protocol(error) {
            Failure::Protocol(text) => Failure::Proxy(format!("{proxy}: {text}")),
            failure => failure,
        })?;
        Ok(Self { request, sent: 0, call, input: Vec::new(), header_bytes: 0 })
    }

    pub(super) fn has_output(&self) -> bool {
        self.sent < self.request.len()
    }

    /// True once the tunnel is open.
    pub(super) fn step(
        &mut self,
        proxy: &Proxy,
        mut socket: &TcpStream,
        budget: &mut usize,
    ) -> Result<bool, Failure> {
        let failed = |what: &str| Failure::Proxy(format!("{proxy}: {what}"));
        let broken = |error: io::Error| failed(&one_line(&error.to_string(), 200));
        while self.has_output() {
            match would_block(socket.write(&self.request[self.sent..])).map_err(broken)? {
                Some(count) => self.sent += count,
                None => break,
            }
        }
        let mut chunk = [0; 4096];
        while *budget > 0 {
            let Some(count) = would_block(socket.peek(&mut chunk)).map_err(broken)? else {
                return Ok(false);
            };
            if count == 0 {
                return Err(failed("closed without an answer to CONNECT"));
            }
            *budget = budget.saturating_sub(count);
            self.input.extend_from_slice(&chunk[..count]);
            let head = read_head(&mut self.call, &mut self.input, &mut self.header_bytes);
            let head = head.map_err(|failure| failed(&failure.to_string()))?;
            // Before the head is complete all of it is the head's.
            let beyond = if head.is_some() { self.input.len() } else { 0 };
            socket.read_exact(&mut chunk[..count - beyond]).map_err(broken)?;
            match head {
                Some(head) if head.status().is_success() => return Ok(true),
                Some(head) => return Err(refusal(proxy, head.status())),
                None => {}
            }
        }
        Ok(false)
    }
}

fn connect(proxy: &Proxy, endpoint: &Endpoint) -> Result<(Vec<u8>, Call<RecvResponse>), ureq_proto::Error> {
    let message = http::Request::connect(endpoint.authority()).body(());
    let mut message = message.map_err(|error| ureq_proto::Error::BadHeader(error.to_string()))?;
    message.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    if let Some(authorization) = authorization(proxy) {
        message.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
    }
    let mut call = Call::new(message)?.proceed();
    let mut request = vec![0; 4096 + 4 * proxy.credentials.as_ref().map_or(0, |text| text.expose().len())];
    let length = call.write(&mut request)?;
    request.truncate(length);
    match call.proceed()? {
        Some(SendRequestResult::RecvResponse(call)) => Ok((request, call)),
        // CONNECT has no body, and `request` has room for everything.
        _ => Err(ureq_proto::Error::OutputOverflow),
    }
}
