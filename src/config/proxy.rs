//! HTTP proxies: what a user or the environment says of them, and which endpoints they lead to. Pure. A proxy's user and
//! password are secret: neither `Display`, nor `Debug`, nor an error text shows them.

use std::fmt;
use std::net::IpAddr;

use super::endpoint::{bracketed, check_host, redacted, split_port};
use super::variables::Environment;
use super::{Config, Endpoint, Secret};
use crate::error::Error;

/// An HTTP proxy, spoken to without TLS: tunnels are opened through it by CONNECT, and plain `http` requests handed to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Host name in lower case, or IP literal (no brackets).
    pub host: String,
    /// Port. Default 80.
    pub port: u16,
    /// `user:password` for basic authentication, percent-encoded as it was given.
    pub credentials: Option<Secret>,
}

/// Which proxy leads to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxyChoice {
    /// What the environment says when a session starts ([`Config::merge_env`]); none as long as it has not been asked.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Direct,
    /// This one, whatever the endpoint.
    Via(Proxy),
}

impl Proxy {
    /// Parses `[http://][user:password@]host[:port][/]`.
    ///
    /// # Errors
    /// [`Error::Config`] that begins with `argument`, shows the proxy without its secrets and says what is wrong.
    pub fn parse(argument: &str, text: &str) -> Result<Self, Error> {
        let refuse = |what: &str| Error::config(format_args!("{argument} '{}' {what}", redacted(text)));
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refuse("must not hold a space or control character"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(refuse("must begin with http://: proxies that speak TLS or SOCKS are not supported"));
        }
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(Secret::new(credentials)), authority),
            None => (None, rest),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = split_port(authority).map_err(refuse)?;
        let host = check_host(host).map_err(refuse)?;
        Ok(Self { host, port: port.unwrap_or(80), credentials })
    }

    /// The whole URL in a form that [`Proxy::parse`] reads back, with its secrets.
    pub fn expose(&self) -> String {
        self.url(self.credentials.as_ref().map(Secret::expose))
    }

    fn url(&self, credentials: Option<&str>) -> String {
        let Self { host, port, .. } = self;
        let (credentials, at) = credentials.map_or(("", ""), |credentials| (credentials, "@"));
        format!("http://{credentials}{at}{}:{port}", bracketed(host))
    }
}

/// `http://host:port`, with `***@` in front of the host where there are credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url(self.credentials.as_ref().map(|_| "***")))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ProxyChoice {
    /// What `proxy=` says: nothing, an empty text (none), or a proxy.
    ///
    /// # Errors
    /// As of [`Proxy::parse`].
    pub fn parse(argument: &str, text: Option<&str>) -> Result<Self, Error> {
        match text {
            None => Ok(Self::Environment),
            Some("") => Ok(Self::Direct),
            Some(text) => Proxy::parse(argument, text).map(Self::Via),
        }
    }
}

/// What the environment says of proxies: `https_proxy`, `http_proxy` (by the endpoint's scheme), `all_proxy`, `no_proxy`,
/// in lower or upper case, lower first.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exempt: Vec<Exempt>,
}

impl Proxies {
    /// Reads them, with a line about each that cannot be used. `HTTP_PROXY` does not count where `REQUEST_METHOD` is set:
    /// in a CGI program it is whatever a client sent as its `Proxy` header.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut env = Environment { variable: &variable, warnings: Vec::new() };
        let proxies = Self::read(&mut env);
        (proxies, env.warnings)
    }

    fn read(env: &mut Environment<'_>) -> Self {
        let is_cgi = env.text("REQUEST_METHOD").is_some();
        let mut proxy = |names: [&str; 4]| {
            let names = names.into_iter().filter(|&name| !(is_cgi && name == "HTTP_PROXY"));
            names.filter_map(|name| env.proxy(name)).next()
        };
        let https = proxy(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
        let http = proxy(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]);
        let exempt = env.text("no_proxy").or_else(|| env.text("NO_PROXY")).unwrap_or_default();
        let entries = exempt.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        Self { https, http, exempt: entries.map(Exempt::parse).collect() }
    }

    /// The proxy on the way to `endpoint`. This machine is reached directly, and so is what `no_proxy` names.
    pub fn towards(&self, endpoint: &Endpoint) -> Option<&Proxy> {
        let proxy = if endpoint.tls { self.https.as_ref() } else { self.http.as_ref() };
        proxy.filter(|_| !endpoint.is_loopback() && !self.exempt.iter().any(|entry| entry.covers(endpoint)))
    }
}

/// An entry of `no_proxy`.
#[derive(Debug, Clone)]
enum Exempt {
    Everything,
    /// A name and all names below it.
    Name(String, Option<u16>),
    /// The addresses that have the first so many bits of this one.
    Network(IpAddr, u32, Option<u16>),
}

impl Exempt {
    /// `*`; a host, with or without `.` or `*.` in front and port behind; an address, likewise; `address/bits`.
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::Everything;
        }
        let address = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if let Some((network, bits)) = entry.split_once('/')
            && let (Some(network), Ok(bits)) = (address(network), bits.parse())
        {
            return Self::Network(network, bits, None);
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if address(entry).is_none() => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (entry, None),
            },
            _ => (entry, None),
        };
        match address(host) {
            Some(address) => Self::Network(address, u32::MAX, port),
            None => {
                let name = host.strip_prefix('*').unwrap_or(host).trim_matches('.');
                Self::Name(name.to_ascii_lowercase(), port)
            }
        }
    }

    fn covers(&self, endpoint: &Endpoint) -> bool {
        let same_port = |port: &Option<u16>| port.is_none_or(|port| port == endpoint.port);
        match self {
            Self::Everything => true,
            Self::Name(name, port) => {
                let host = endpoint.host.trim_end_matches('.');
                let above = host.strip_suffix(name.as_str());
                let is_it = above.is_some_and(|above| above.is_empty() || above.ends_with('.'));
                is_it && !name.is_empty() && endpoint.address().is_none() && same_port(port)
            }
            Self::Network(network, bits, port) => {
                endpoint.address().is_some_and(|address| shares_bits(address, *network, *bits))
                    && same_port(port)
            }
        }
    }
}

fn shares_bits(a: IpAddr, b: IpAddr, bits: u32) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits.min(32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= bits.min(128),
        _ => false,
    }
}

impl Config {
    /// Settles what is left to the environment. Its variables are read only when an endpoint could need a proxy, so that
    /// nothing is said of variables that do not matter here.
    pub(super) fn settle_proxies(&mut self, env: &mut Environment<'_>) {
        let traces = self.trace_sinks.iter_mut().map(|sink| &mut sink.transport);
        let metrics = self.metric_sinks.iter_mut().map(|sink| &mut sink.transport);
        let logs = self.otlp_log_sinks.iter_mut().map(|sink| &mut sink.transport);
        let otlp = traces.chain(metrics).chain(logs);
        let otlp = otlp.map(|transport| (transport.endpoint.clone(), &mut transport.proxy));
        let sls = self.sls_log_sinks.iter_mut().map(|sink| (sink.project_endpoint(), &mut sink.proxy));
        let mut proxies = None;
        for (endpoint, choice) in otlp.chain(sls).filter(|(_, choice)| **choice == ProxyChoice::Environment) {
            let needed = !endpoint.is_loopback();
            let proxy = needed.then(|| proxies.get_or_insert_with(|| Proxies::read(env)).towards(&endpoint));
            *choice = proxy.flatten().cloned().map_or(ProxyChoice::Direct, ProxyChoice::Via);
        }
    }
}
