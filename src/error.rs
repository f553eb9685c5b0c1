//! The one error type of the core. It exists for configuration: after a session has started nothing that records
//! fails with an error, it degrades and is counted (see [`crate::stats`]).

use std::fmt;

/// What was wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A setting's value is not allowed. The text names the argument, the value and what is allowed.
    Config(String),
    /// `init` while a session is active.
    AlreadyInitialized,
    /// The exporter thread could not be started (the operating system's reason).
    Thread(String),
}

impl Error {
    /// A [`Error::Config`] from anything printable.
    pub fn config(text: impl fmt::Display) -> Self {
        Self::Config(text.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text) => f.write_str(text),
            Self::AlreadyInitialized => f.write_str(
                "pytracingx is already initialized; call pytracingx.shutdown() before re-initializing",
            ),
            Self::Thread(reason) => write!(f, "the exporter thread could not be started: {reason}"),
        }
    }
}

impl std::error::Error for Error {}
