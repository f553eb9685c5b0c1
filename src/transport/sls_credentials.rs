//! Who signs: a key that is there from the start, or one that a provider gives and renews. Any thread, no waiting: the
//! exporter reads the key and says when it was refused, whoever runs the provider looks for what is wanted. The locks
//! are `std`'s (see `exporter::flush` for why) and held for a few loads and stores. Nothing here prints a secret.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::one_line;
use super::sls_sign::AccessKey;
use crate::config::SlsCredentials;
use crate::observe::Observations;

/// A key is renewed so long before it expires, or in the last quarter of its life if that is less.
const MARGIN_SECONDS: u64 = 300;
/// A temporary key that does not say when it expires is renewed as often.
const TEMPORARY_SECONDS: u64 = 600;
/// Between two answers of a provider: servers may go on refusing, and a provider may give what is about to expire.
const PAUSE: Duration = Duration::from_secs(1);
/// After failures, doubled from [`PAUSE`].
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The wall clock may jump: it is read again so often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
const MAX_ERROR_CHARS: usize = 200;

/// See the module documentation. Clones are the same credentials.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provided: bool,
    state: Mutex<State>,
    /// Who waits for what is wanted.
    served_by: OnceLock<Arc<Observations>>,
}

#[derive(Debug, Default)]
struct State {
    key: Option<AccessKey>,
    expires_unix_seconds: Option<u64>,
    renew_unix_seconds: Option<u64>,
    refused: bool,
    not_before: Option<Instant>,
    pause: Duration,
    last_error: Option<String>,
}

impl Credentials {
    /// A key that stays.
    pub fn fixed(key: AccessKey) -> Self {
        Self::new(false, State { key: Some(key), ..State::default() })
    }

    /// None yet: a provider is to [`Self::set`] it.
    pub fn provided() -> Self {
        Self::new(true, State::default())
    }

    /// What a sink is configured with.
    pub fn of(configured: &SlsCredentials) -> Self {
        match configured {
            SlsCredentials::Static { ak_id, ak_secret, security_token } => Self::fixed(AccessKey {
                id: ak_id.clone(),
                secret: ak_secret.clone(),
                security_token: security_token.clone(),
            }),
            SlsCredentials::Provider => Self::provided(),
        }
    }

    fn new(provided: bool, state: State) -> Self {
        Self(Arc::new(Inner { provided, state: Mutex::new(state), served_by: OnceLock::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a provider gives the key.
    pub fn is_provided(&self) -> bool {
        self.0.provided
    }

    /// The key to sign with at that time. `None`: not there yet, or expired.
    pub fn current(&self, now_unix_seconds: u64) -> Option<AccessKey> {
        let state = self.state();
        let expired = state.expires_unix_seconds.is_some_and(|expires| expires <= now_unix_seconds);
        state.key.clone().filter(|_| !expired)
    }

    /// The server refused the key: another is wanted.
    pub fn ask_refresh(&self) {
        self.state().refused = true;
        if let Some(server) = self.0.served_by.get() {
            server.ring();
        }
    }

    /// The provider's answer. Without an expiry it stays until the server refuses it; one with a token is renewed every
    /// ten minutes.
    pub fn set(&self, key: AccessKey, expires_unix_seconds: Option<u64>) {
        let now = unix_seconds();
        let temporary = key.security_token.is_some();
        let renewal = |expires: u64| {
            let left = expires.saturating_sub(now);
            now + left - MARGIN_SECONDS.min(left / 4)
        };
        *self.state() = State {
            renew_unix_seconds: expires_unix_seconds
                .map(renewal)
                .or(temporary.then_some(now + TEMPORARY_SECONDS)),
            key: Some(key),
            expires_unix_seconds,
            not_before: Instant::now().checked_add(PAUSE),
            ..State::default()
        };
    }

    /// The provider gave nothing usable: it is asked again later, after 1 second, then 2, up to 60. `error` is kept as one
    /// line; it must hold no secret. True: this is the first failure in a row.
    pub fn fail(&self, error: &str) -> bool {
        let mut state = self.state();
        let first = state.last_error.replace(one_line(error, MAX_ERROR_CHARS)).is_none();
        state.pause = (state.pause * 2).clamp(PAUSE, MAX_PAUSE);
        state.not_before = Instant::now().checked_add(state.pause);
        first
    }

    /// Why there is no new key, until there is one.
    pub fn last_error(&self) -> Option<String> {
        self.state().last_error.clone()
    }

    /// Whether the provider is to be asked now: there is no key, it was refused, or it expires soon.
    pub fn is_refresh_wanted(&self) -> bool {
        self.wanted_in().is_some_and(|wait| wait.is_zero())
    }

    /// How long until [`Self::is_refresh_wanted`] may become true by itself; a minute at most, then look again. `None`:
    /// never.
    pub fn wanted_in(&self) -> Option<Duration> {
        if !self.0.provided {
            return None;
        }
        let state = self.state();
        let pause =
            state.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        if state.key.is_none() || state.refused {
            return Some(pause);
        }
        let left = state.renew_unix_seconds.map(|at| Duration::from_secs(at.saturating_sub(unix_seconds())));
        Some(left.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN).max(pause))
    }

    /// From now on `server` is rung when the server refused a key. Once.
    pub fn serve(&self, server: Arc<Observations>) {
        let _ = self.0.served_by.set(server);
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
