//! The access key of an SLS sink: who obtains it and who signs with it meet here. Any thread; nothing waits but for a
//! lock that is held for a copy. Nothing here prints a secret.

use std::sync::Arc;

use parking_lot::Mutex;

use super::sls_sign::AccessKey;

#[derive(Debug, Default)]
struct State {
    key: Option<AccessKey>,
    /// `None`: never.
    expires_unix_seconds: Option<u64>,
    refresh_wanted: bool,
}

/// See the module. Clones share one key. `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
pub struct Credentials(Arc<Mutex<State>>);

impl Credentials {
    /// A key that is there for good.
    pub fn fixed(key: AccessKey) -> Self {
        Self(Arc::new(Mutex::new(State { key: Some(key), ..State::default() })))
    }

    /// A key that somebody will [`Credentials::set`].
    pub fn provided() -> Self {
        Self(Arc::new(Mutex::new(State { refresh_wanted: true, ..State::default() })))
    }

    /// The key to sign with at that time; `None`: not there yet, or expired.
    pub fn current(&self, now_unix_seconds: u64) -> Option<AccessKey> {
        let state = self.0.lock();
        let expired = state.expires_unix_seconds.is_some_and(|at| at <= now_unix_seconds);
        state.key.clone().filter(|_| !expired)
    }

    /// Another key is wanted: this one expired, or the server refused it.
    pub fn ask_refresh(&self) {
        self.0.lock().refresh_wanted = true;
    }

    /// A key, and when it ends.
    pub fn set(&self, key: AccessKey, expires_unix_seconds: Option<u64>) {
        *self.0.lock() = State { key: Some(key), expires_unix_seconds, refresh_wanted: false };
    }

    /// Whether [`Credentials::ask_refresh`] was called since the last key.
    pub fn is_refresh_wanted(&self) -> bool {
        self.0.lock().refresh_wanted
    }
}
