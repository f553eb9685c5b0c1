//! Endpoints: from what a user writes to scheme, host, port and path. Pure. A path or a user part can hold a token, so
//! neither `Display`, nor `Debug`, nor an error text shows one: `scheme://host:port/…`.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use zeroize::Zeroize;

use super::{Protocol, Signal};
use crate::error::Error;

/// Where a sink sends: parsed and checked when the sink is constructed.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// TLS or not.
    pub tls: bool,
    /// Host name in lower case, or IP literal (no brackets), an IPv6 one possibly with a zone (`fe80::1%eth0`).
    pub host: String,
    /// Port, defaulted by scheme (80, 443) or, without a scheme, by protocol (4317, 4318).
    pub port: u16,
    /// Path and query as requested, at least `/`. Can hold a token: never printed, wiped on drop. gRPC: always `/`.
    pub path: String,
}

/// What becomes of the path of an HTTP endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathRule {
    /// None, or `/`: the signal's own (`/v1/traces`). Any other as it is; `/?` is the way to say "really `/`".
    Signal(Signal),
    /// The signal's own is appended to it (`OTEL_EXPORTER_OTLP_ENDPOINT`).
    Base(Signal),
    /// As it is.
    AsIs,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.path.zeroize();
    }
}

impl Signal {
    /// Path of its OTLP/HTTP requests.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

impl Endpoint {
    /// Parses `[scheme://]host[:port][/path[?query]]`, and settles the protocol: `http/protobuf` when the endpoint has
    /// a path or port 4318, else gRPC. Without a scheme the connection uses TLS unless `insecure` is true or the host
    /// is a loopback one (and `insecure` is not false); with one, the scheme decides.
    ///
    /// # Errors
    /// [`Error::Config`] that begins with `argument`, shows the endpoint without its secrets and says what is wrong.
    pub fn parse(
        argument: &str,
        text: &str,
        protocol: Option<Protocol>,
        insecure: Option<bool>,
        rule: PathRule,
    ) -> Result<(Self, Protocol), Error> {
        let refuse = |what: &str| Error::config(format_args!("{argument} '{}' {what}", redacted(text)));
        if text.is_empty() {
            return Err(Error::config(format_args!("{argument} must not be empty")));
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(refuse(&format!(
                "must not hold {bad:?}: no space, CR, LF, NUL or control character"
            )));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        if scheme.is_none()
            && ["http:", "https:"].iter().any(|scheme| starts_with_ignoring_case(rest, scheme))
        {
            return Err(refuse("must begin with http:// or https://, with both slashes"));
        }
        if !matches!(scheme.as_deref(), None | Some("http" | "https")) {
            return Err(refuse("must begin with http:// or https:// (or name a host alone)"));
        }
        if rest.contains('#') {
            return Err(refuse("must not hold a fragment (#…)"));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(refuse("must not hold a user or password; send credentials with headers"));
        }
        if !path.is_ascii() {
            return Err(refuse("must have a percent-encoded path"));
        }
        let (host, port) = split_port(authority).map_err(refuse)?;
        let host = check_host(host).map_err(refuse)?;

        let has_path = !matches!(path, "" | "/");
        let protocol = protocol.unwrap_or(if has_path || port == Some(4318) {
            Protocol::HttpProtobuf
        } else {
            Protocol::Grpc
        });
        let tls = match scheme.as_deref() {
            Some(scheme) => scheme == "https",
            None => !insecure.unwrap_or_else(|| is_loopback(&host)),
        };
        let port = port.unwrap_or(match (&scheme, protocol) {
            (Some(_), _) if tls => 443,
            (Some(_), _) => 80,
            (None, Protocol::Grpc) => 4317,
            (None, Protocol::HttpProtobuf) => 4318,
        });
        let path = match protocol {
            Protocol::Grpc => "/".to_owned(),
            Protocol::HttpProtobuf => rule.apply(path),
        };
        Ok((Self { tls, host, port, path }, protocol))
    }

    /// The host is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The whole URL, path included, in a form that [`Endpoint::parse`] reads back with [`PathRule::Signal`]. Can hold
    /// a token.
    pub fn expose(&self) -> String {
        let path = if self.path == "/" { "/?" } else { &self.path };
        format!("{}{path}", self.origin())
    }

    /// The host without an IPv6 zone, which has a meaning on this machine only: for certificates and other machines.
    pub fn global_host(&self) -> &str {
        self.host.split('%').next().unwrap_or(&self.host)
    }

    /// The host, if it is an IP literal.
    pub fn address(&self) -> Option<IpAddr> {
        self.global_host().parse().ok()
    }

    /// `host:port` for other machines, IPv6 in brackets.
    pub fn authority(&self) -> String {
        format!("{}:{}", bracketed(self.global_host()), self.port)
    }

    /// [`Endpoint::authority`] without the scheme's own port: `Host`.
    pub fn host_header(&self) -> String {
        let default_port = if self.tls { 443 } else { 80 };
        if self.port == default_port { bracketed(self.global_host()).into_owned() } else { self.authority() }
    }

    fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", bracketed(&self.host).replace('%', "%25"), self.port)
    }
}

impl PathRule {
    fn apply(self, path: &str) -> String {
        match (self, path) {
            (Self::Signal(signal), "" | "/") => signal.path().to_owned(),
            (Self::Base(signal), _) => {
                let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
                format!("{}{}{query}", path.trim_end_matches('/'), signal.path())
            }
            (_, "" | "/" | "?" | "/?") => "/".to_owned(),
            (_, query) if query.starts_with('?') => format!("/{query}"),
            (_, path) => path.to_owned(),
        }
    }
}

/// `scheme://host:port/…`: the path stays secret.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.origin())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv6 address as it stands in a URL.
pub(super) fn bracketed(host: &str) -> Cow<'_, str> {
    if host.contains(':') { format!("[{host}]").into() } else { host.into() }
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.rfind(']') {
        Some(end) => (&authority[..=end], &authority[end + 1..]),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let Some(digits) = port.strip_prefix(':') else {
        return if port.is_empty() { Ok((host, None)) } else { Err("must be [IPv6]:port, nothing else") };
    };
    if digits.contains(':') {
        return Err("must put an IPv6 address in brackets: [::1]:4317");
    }
    match digits.parse::<u16>() {
        Ok(port) if port != 0 && digits.bytes().all(|c| c.is_ascii_digit()) => Ok((host, Some(port))),
        _ => Err("must have a port from 1 to 65535"),
    }
}

pub(super) fn check_host(host: &str) -> Result<String, &'static str> {
    if let Some(literal) = host.strip_prefix('[') {
        let text = literal.strip_suffix(']').unwrap_or_default();
        // RFC 6874 wants %25; most people write the bare %.
        let (address, zone) = text
            .split_once('%')
            .map_or((text, None), |(address, zone)| (address, Some(zone.strip_prefix("25").unwrap_or(zone))));
        let address = address.parse::<Ipv6Addr>();
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        return match (address, zone) {
            (Ok(ip), None) => Ok(ip.to_string()),
            (Ok(ip), Some(zone)) if !zone.is_empty() && zone.bytes().all(plain) => Ok(format!("{ip}%{zone}")),
            _ => Err("must have an IPv6 address in its brackets: [::1]"),
        };
    }
    if !host.is_ascii() {
        return Err("must have an ASCII host; write an international name in its 'xn--' form");
    }
    if host.is_empty() {
        return Err("must name a host");
    }
    let label = |label: &str| {
        label.len() <= 63 && label.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    if host.len() > 253 || labels.split('.').any(|part| part.is_empty() || !label(part)) {
        return Err("must have a host of letters, digits, '-' and '.'");
    }
    Ok(host.to_ascii_lowercase())
}

fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let address = host.split('%').next().unwrap_or(host).parse::<IpAddr>();
    address.map_or(name == "localhost" || name.ends_with(".localhost"), |address| address.is_loopback())
}

/// What of a refused endpoint may be shown: nothing after the authority, nothing at all once there may be a password.
pub(super) fn redacted(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    let scheme = super::check::shown(scheme);
    if text.contains('@') {
        return format!("{scheme}{separator}…");
    }
    match rest.find(|c: char| matches!(c, '/' | '?' | '#') || c.is_control() || c.is_whitespace()) {
        Some(end) => format!("{scheme}{separator}{}/…", super::check::shown(&rest[..end])),
        None => format!("{scheme}{separator}{}", super::check::shown(rest)),
    }
}
