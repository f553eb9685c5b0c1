//! Host names to addresses without waiting. `getaddrinfo` blocks and cannot be cancelled, so it runs on a thread of its
//! own that wakes the loop; one that comes too late is left to itself, and its answer serves the next request. At
//! most one thread a resolver at any time; none for IP literals without zone.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Failure, one_line};
use crate::sys::Fd;
use crate::sys::poll::Waker;

/// How long addresses serve new connections before they are looked up again.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Addresses that were good before are used when a lookup takes longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Addresses tried per connection; a name with more is served by its first.
const MAX_ADDRESSES: usize = 8;

#[derive(Debug)]
pub(super) struct Resolver {
    host: String,
    port: u16,
    /// Of an IP literal, or as last looked up. Kept beyond its age as long as nothing better is found.
    known: Vec<SocketAddr>,
    /// `known` is given and never looked up.
    pinned: bool,
    /// Until when `known` serves new connections; `None`: look up again.
    fresh_until: Option<Instant>,
    /// With when it began.
    lookup: Option<(Arc<Lookup>, Instant)>,
}

#[derive(Debug)]
struct Lookup {
    result: Mutex<Option<Result<Vec<SocketAddr>, String>>>,
    waker: Waker,
}

impl Resolver {
    pub(super) fn new(host: &str, port: u16) -> Self {
        let literal = host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port));
        Self {
            host: host.to_owned(),
            port,
            known: literal.into_iter().collect(),
            pinned: literal.is_some(),
            fresh_until: None,
            lookup: None,
        }
    }

    /// The addresses, or `None` while a lookup runs (see [`Resolver::fd`]).
    pub(super) fn addresses(&mut self, now: Instant) -> Result<Option<Vec<SocketAddr>>, Failure> {
        if self.pinned || self.fresh_until.is_some_and(|until| now < until) {
            return Ok(Some(self.known.clone()));
        }
        let (lookup, began) = match &self.lookup {
            Some(lookup) => lookup,
            None => {
                let lookup = spawn(self.host.clone(), self.port).map_err(Failure::Resolve)?;
                self.lookup.insert((lookup, now))
            }
        };
        let Some(result) = lookup.result.lock().take() else {
            let hangs = !self.known.is_empty() && now >= *began + PATIENCE;
            return Ok(hangs.then(|| self.known.clone()));
        };
        self.lookup = None;
        match result {
            Ok(addresses) => {
                self.known = addresses;
                self.fresh_until = Some(now + MAX_AGE);
            }
            // An address that once worked is a better guess than none.
            Err(_) if !self.known.is_empty() => {}
            Err(reason) => return Err(Failure::Resolve(reason)),
        }
        Ok(Some(self.known.clone()))
    }

    /// These addresses instead of whatever the host's name stands for.
    pub(super) fn pin(&mut self, addresses: Vec<SocketAddr>) {
        self.known = addresses;
        self.pinned = true;
    }

    /// None of the addresses took a connection: look the name up again before the next attempt.
    pub(super) fn distrust(&mut self) {
        self.fresh_until = None;
    }

    /// Readable once the running lookup is done.
    pub(super) fn fd(&self) -> Option<Fd> {
        self.lookup.as_ref().map(|(lookup, _)| lookup.waker.fd())
    }

    /// When [`Resolver::addresses`] has an answer even if the running lookup has none.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.lookup.as_ref().filter(|_| !self.known.is_empty()).map(|(_, began)| *began + PATIENCE)
    }
}

fn spawn(host: String, port: u16) -> Result<Arc<Lookup>, String> {
    let failed = |error: io::Error| format!("{host}: {}", one_line(&error.to_string(), 200));
    let lookup = Arc::new(Lookup { result: Mutex::new(None), waker: Waker::new().map_err(failed)? });
    let (name, theirs) = (host.clone(), Arc::clone(&lookup));
    let run = move || {
        let result = match (name.as_str(), port).to_socket_addrs() {
            Ok(found) => Ok(found.take(MAX_ADDRESSES).collect::<Vec<_>>()),
            Err(error) => Err(format!("{name}: {}", one_line(&error.to_string(), 200))),
        };
        *theirs.result.lock() = Some(match result {
            Ok(found) if found.is_empty() => Err(format!("{name}: it has no address")),
            result => result,
        });
        theirs.waker.wake();
    };
    std::thread::Builder::new().name("pytracingx-dns".to_owned()).spawn(run).map_err(failed)?;
    Ok(lookup)
}
