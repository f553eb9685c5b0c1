//! The sending side of HTTP/1.1 without a socket: what all requests to one endpoint have in common, checked once, and the
//! bytes of one request's head. Never prints a header's value or the endpoint's path.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use ureq_proto::client::state::RecvResponse;
use ureq_proto::client::{Call, SendRequestResult};

use super::answer::protocol;
use super::proxy::{self, Route};
use super::{Failure, Request, Response};
use crate::config::{Proxy, TransportConfig};
use crate::error::Error;

/// Headers that follow from the exporter's other settings or from the protocol's framing.
const RESERVED: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A request to an endpoint, but for its body: a POST unless said otherwise.
pub(super) struct Post {
    pub(super) method: Method,
    target: http::Uri,
    /// The proxy that gets the requests, and what stands in front of the path for it.
    forwarder: Option<(Proxy, String)>,
    headers: HeaderMap,
}

impl Post {
    /// # Errors
    /// [`Error::Config`] for a header or path that cannot be sent.
    pub(super) fn new(
        config: &TransportConfig,
        content_type: &'static str,
        agent: &str,
    ) -> Result<Self, Error> {
        let path = &config.endpoint.path;
        let target: PathAndQuery = path.parse().map_err(|_| {
            Error::config(
                "endpoint: its path has characters that a URL cannot have (not shown: it can hold a token)",
            )
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, header_value("endpoint", &config.endpoint.host_header())?);
        headers.insert(header::USER_AGENT, header_value("user_agent", agent)?);
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let too_many = |_| Error::config("headers: too many");
        let mut given = HeaderMap::new();
        for (name, secret) in &config.headers {
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Error::config(format_args!("headers: {name:?} is not a header name")))?;
            if RESERVED.contains(&key) {
                return Err(Error::config(format_args!("headers: {name:?} is set by the exporter itself")));
            }
            let mut value = header_value(&format!("headers: {name:?}"), secret.expose())?;
            value.set_sensitive(true);
            given.try_append(key, value).map_err(too_many)?;
        }
        if given.get_all(header::HOST).iter().count() > 1 {
            return Err(Error::config("headers: \"host\" is given more than once"));
        }
        // What the user gives replaces ours of that name (`user-agent`, `host`).
        for key in given.keys() {
            headers.remove(key);
            for value in given.get_all(key) {
                headers.try_append(key, value.clone()).map_err(too_many)?;
            }
        }
        let forwarder = match Route::of(config) {
            Route::Forwarded(proxy) => Some((proxy, format!("http://{}", config.endpoint.host_header()))),
            Route::Direct | Route::Tunneled(_) => None,
        };
        if let Some((proxy, _)) = &forwarder
            && let Some(authorization) = proxy::authorization(proxy)
        {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        Ok(Self { method: Method::POST, target: target.into(), forwarder, headers })
    }

    /// The head as bytes, and the protocol's state with all of the body on its way: it is sent from where it lies, so
    /// that the answer can be read before its end.
    pub(super) fn render(&self, request: &Request) -> Result<(Vec<u8>, Call<RecvResponse>), Failure> {
        let mut message = http::Request::new(());
        *message.method_mut() = self.method.clone();
        *message.uri_mut() = self.target.clone();
        let mut headers = self.headers.clone();
        for (name, value) in &request.headers {
            headers.insert(name, value.clone());
        }
        if self.method != Method::GET {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(request.body.len()));
        }
        // Each header takes a line of `name: value\r\n`; the rest is for method, version and the empty line.
        let lines: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let mut head =
            vec![0; lines + self.target.path().len() + self.target.query().map_or(0, str::len) + 64];
        *message.headers_mut() = headers;
        let call = start(message, &mut head, request.body.len()).map_err(protocol)?;
        if let Some((_, origin)) = &self.forwarder {
            let method = self.method.as_str().len() + " ".len();
            head.splice(method..method, origin.bytes());
        }
        Ok((head, call))
    }

    /// Why a request that a proxy was to forward ended with it.
    pub(super) fn refused_by_proxy(&self, response: &Response) -> Option<Failure> {
        let (proxy, _) = self.forwarder.as_ref()?;
        let refused = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        (response.status == refused).then(|| proxy::refusal(proxy, refused))
    }
}

fn start(
    message: http::Request<()>,
    head: &mut Vec<u8>,
    body_len: usize,
) -> Result<Call<RecvResponse>, ureq_proto::Error> {
    let mut call = Call::new(message)?.proceed();
    let length = call.write(head)?;
    head.truncate(length);
    match call.proceed()? {
        Some(SendRequestResult::RecvResponse(call)) => Ok(call),
        Some(SendRequestResult::SendBody(mut call)) => {
            call.consume_direct_write(body_len)?;
            call.proceed().ok_or(ureq_proto::Error::OutputOverflow)
        }
        // Waiting for a 100 is never asked for, and `head` has room for everything.
        Some(SendRequestResult::Await100(_)) | None => Err(ureq_proto::Error::OutputOverflow),
    }
}

/// The value stays out of the error: it can be a secret.
pub(super) fn header_value(what: &str, value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        Error::config(format_args!("{what}: control characters such as CR, LF and NUL are not allowed"))
    })
}
