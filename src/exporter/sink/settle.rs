//! What a sink does when a request has ended: the books, and which way it goes from there.

use std::time::Duration;

use super::{Sink, State};
use crate::exporter::request::{Now, after};
use crate::exporter::self_metrics::Operation;
use crate::stats::DropReason;
use crate::transport::retry::{Outcome, spread};
use crate::transport::{Failure, Response};

/// The wait between the connections that must fail before a sink is given up at interpreter exit.
const EXIT_RETRY: Duration = Duration::from_millis(200);
/// Between questions to a server that does not know a signal: it may learn it when it is configured anew.
const UNSUPPORTED_PAUSE: Duration = Duration::from_secs(300);
/// Ended requests that are remembered between collections.
const MOST_OPERATIONS: usize = 1024;

impl Sink {
    /// The request under way has ended.
    pub(super) fn settle(&mut self, result: &mut Result<Response, Failure>, now: Now) {
        self.state = State::Idle;
        if let (Some(operations), Some(began)) = (&mut self.operations, self.began.take())
            && operations.len() < MOST_OPERATIONS
        {
            let status = self.settings.dialect.status(result);
            operations.push(Operation { duration: now.instant.duration_since(began), status });
        }
        match self.settings.dialect.classify(result, now.unix_seconds()) {
            Outcome::Delivered { rejected, message } => {
                let rejected = rejected.min(self.pending.taken().records as u64);
                self.stats.exported += self.pending.taken().records as u64 - rejected;
                self.drop_records(DropReason::Rejected, rejected);
                self.pending.finish();
                self.attempt = None;
                let most = self.settings.dialect.request_bytes();
                self.request_bytes += (self.request_bytes / 256 + 1).min(most - self.request_bytes);
                self.answered();
                if let Some(message) = message {
                    self.fail(&message);
                }
            }
            Outcome::Refused { reason } => {
                self.fail(&reason);
                self.finish(DropReason::Refused);
                self.answered();
            }
            Outcome::Unsupported { reason } => {
                self.fail(&reason);
                // Nothing will be taken that waits, either.
                self.abandon(DropReason::Refused);
                self.unasked_until = Some(after(now.instant, UNSUPPORTED_PAUSE));
                self.answered();
            }
            Outcome::TooLarge => {
                self.fail("the server found the request too large");
                if self.pending.divisible() {
                    // What made the batch due still holds once it waits again, so a smaller one follows at once.
                    self.request_bytes =
                        self.attempt.take().map_or(0, |attempt| attempt.body.plain_bytes / 2);
                    self.pending.put_back();
                } else {
                    self.finish(DropReason::TooLarge);
                }
                self.answered();
            }
            Outcome::Retry { after: asked, reason } => {
                self.fail(&reason);
                self.stats.failures_in_a_row += 1;
                let random = self.next_random();
                let Some(wait) = self.settings.dialect.next_wait(random) else {
                    // The server says the same again and again; another batch may fare better.
                    self.finish(DropReason::Refused);
                    self.settings.dialect.reset();
                    return;
                };
                let asked_and_more = asked.map(|asked| spread(asked, self.next_random()));
                let mut wait = wait.max(asked_and_more.unwrap_or_default());
                if let Some(refusals) = &mut self.exit_refusals
                    && matches!(
                        result,
                        Err(Failure::Resolve(_) | Failure::Connect(_) | Failure::Proxy(_) | Failure::Tls(_))
                    )
                {
                    *refusals += 1;
                    wait = wait.min(EXIT_RETRY);
                }
                let asked = asked.is_some() && result.is_ok();
                self.state = State::BackingOff { until: after(now.instant, wait), asked };
            }
        }
    }

    fn answered(&mut self) {
        self.settings.dialect.reset();
        self.stats.failures_in_a_row = 0;
    }

    /// splitmix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}
