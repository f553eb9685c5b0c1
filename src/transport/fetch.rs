//! One blocking HTTP request, for what is asked for rarely and off the exporter: credentials. Never on the exporter's
//! thread, never holding the interpreter. Redirects are not followed: what they lead to would get the request's secrets.

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method};

use super::{Exchange, Http1, Request, one_line};
use crate::config::{Endpoint, Protocol, Proxy, ProxyChoice, TransportConfig};
use crate::sys::poll::wait;

/// Longer answers are errors: credentials take a few kilobytes.
const MAX_BODY_BYTES: usize = 64 << 10;
const MAX_ERROR_CHARS: usize = 200;
/// Nothing of an exchange waits longer without saying so.
const SLICE: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// `GET`, `POST`, `PUT`.
    pub method: &'a str,
    /// Where, path and query included.
    pub endpoint: &'a Endpoint,
    /// Names and values; may be secrets.
    pub headers: &'a [(String, String)],
    /// May hold secrets.
    pub body: &'a [u8],
    /// From name resolution to the last byte.
    pub timeout: Duration,
    /// On the way there, if any.
    pub proxy: Option<&'a Proxy>,
}

/// Status and body of the answer. Verifies certificates by the system's roots, or the bundled ones where there are none.
///
/// # Errors
/// No complete answer in time, or one of more than 64 KiB: one line without anything of the request but its host.
pub fn fetch(question: &Question<'_>) -> Result<(u16, Vec<u8>), String> {
    let host = question.endpoint.host_header();
    let told = |what: &str| one_line(&format!("{host}: {what}"), MAX_ERROR_CHARS);
    let request = request(question).ok_or_else(|| told("not a request"))?;
    let method = Method::from_bytes(question.method.as_bytes()).map_err(|_| told("not a request"))?;
    let mut config = TransportConfig::new(question.endpoint.clone(), Protocol::HttpProtobuf);
    config.proxy = question.proxy.map_or(ProxyChoice::Direct, |proxy| ProxyChoice::Via(proxy.clone()));
    let mut exchange = Http1::asking(method, &config).map_err(|error| told(&error.to_string()))?;
    exchange.begin(request, Instant::now());
    let response = loop {
        let now = Instant::now();
        if let Some(result) = exchange.step(now) {
            break result.map_err(|failure| told(&failure.to_string()))?;
        }
        let interest = exchange.interest(now);
        let due = interest.wake_at.map_or(SLICE, |at| at.saturating_duration_since(now));
        let mut fds: Vec<_> = interest.poll_fd().into_iter().collect();
        wait(&mut fds, due);
    };
    if response.body.len() > MAX_BODY_BYTES {
        return Err(told("an answer of more than 64 KiB"));
    }
    Ok((response.status, response.body))
}

/// `None` for a header that cannot be one.
fn request(question: &Question<'_>) -> Option<Request> {
    let header = |(name, value): &(String, String)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    let headers = question.headers.iter().map(header).collect::<Option<_>>()?;
    Some(Request { headers, body: question.body.into(), deadline: Instant::now() + question.timeout })
}
