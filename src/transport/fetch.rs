//! One blocking HTTP request, for what is asked for rarely and off the exporter: credentials. Never on the exporter's
//! thread, never holding the interpreter. Redirects are not followed: what they lead to would get the request's secrets.

use std::time::Duration;

use rustls_native_certs::load_native_certs;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use super::{USER_AGENT, one_line};
use crate::config;

/// Longer answers are errors: credentials take a few kilobytes.
const MAX_BODY_BYTES: u64 = 64 << 10;
const MAX_ERROR_CHARS: usize = 200;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// `GET`, `POST`, `PUT`.
    pub method: &'a str,
    /// `http` or `https`.
    pub url: &'a str,
    /// Names and values; may be secrets.
    pub headers: &'a [(String, String)],
    /// May hold secrets.
    pub body: &'a [u8],
    /// From name resolution to the last byte.
    pub timeout: Duration,
    /// On the way there, if any.
    pub proxy: Option<&'a config::Proxy>,
}

/// Status and body of the answer. Verifies certificates by the system's roots, or the bundled ones where there are none.
///
/// # Errors
/// No complete answer in time, or one of more than 64 KiB: one line without anything of the request but its host.
pub fn fetch(question: &Question<'_>) -> Result<(u16, Vec<u8>), String> {
    let mut request = ureq::http::Request::builder().method(question.method).uri(question.url);
    for (name, value) in question.headers {
        request = request.header(name, value);
    }
    let request = request.body(question.body).map_err(|_| "not a request".to_owned())?;
    let told = |error: ureq::Error| {
        let host = request_host(question.url);
        one_line(&format!("{host}: {error}"), MAX_ERROR_CHARS)
    };
    let mut config = Agent::config_builder()
        .timeout_global(Some(question.timeout))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(USER_AGENT)
        .proxy(question.proxy.map(|proxy| Proxy::new(&proxy.expose())).transpose().map_err(told)?);
    if question.url.starts_with("https:") {
        config = config.tls_config(TlsConfig::builder().root_certs(system_roots()).build());
    }
    let mut response = config.build().new_agent().run(request).map_err(told)?;
    let body = response.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec().map_err(told)?;
    Ok((response.status().as_u16(), body))
}

fn request_host(url: &str) -> &str {
    url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

fn system_roots() -> RootCerts {
    let certificates = load_native_certs().certs;
    if certificates.is_empty() {
        return RootCerts::WebPki;
    }
    let certificates: Vec<_> = certificates.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    RootCerts::new_with_certs(&certificates)
}
