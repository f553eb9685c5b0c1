//! What an answer means, and when to try again. Pure functions of their arguments.

use std::time::Duration;

use super::{Failure, Response};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it; so many of its records it rejected, with its message (sanitised, at most 256 characters).
    Delivered {
        /// `rejected_spans` and its siblings.
        rejected: u64,
        /// Partial-success message, if any.
        message: Option<String>,
    },
    /// Try again, not before the server's `Retry-After` (clamped to 5 minutes) if it gave one.
    Retry {
        /// `Retry-After`.
        after: Option<Duration>,
        /// One line for `stats()`.
        reason: String,
    },
    /// Too large for the server: halve it.
    TooLarge,
    /// Final. One line for `stats()` with the status and the server's words (sanitised).
    Refused {
        /// The line.
        reason: String,
    },
}

/// The meaning of an OTLP/HTTP answer, by the OTLP specification. `now_unix` (seconds) resolves `Retry-After` dates.
pub fn classify_otlp_http(_result: &Result<Response, Failure>, _now_unix: u64) -> Outcome {
    todo!()
}

/// Exponential backoff with jitter: 1 s doubling to 30 s, each wait uniform in its upper half.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait. `random` is any uniformly random number.
    pub fn next_wait(&mut self, _random: u64) -> Duration {
        todo!()
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}
