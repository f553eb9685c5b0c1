//! How the exporter gets the values of observable instruments without touching Python: it asks, a worker thread that may
//! run Python code records the observations like any measurement and answers, the exporter goes on at the answer or at
//! its deadline, whichever is first. Asking never blocks. Locks are `std`'s: see `exporter::flush` for why.
//!
//! What else Python is to do for the session (giving credentials) waits here too, on threads of its own: it can take
//! longer than a collection has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Observations {
    state: Mutex<State>,
    changed: Condvar,
    attended: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    asked: u64,
    answered: u64,
    closed: bool,
}

/// What the worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Observe, then answer with this round.
    Observe(u64),
    /// The session has ended.
    End,
    /// Nothing asked for in this time.
    Nothing,
}

impl Observations {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker is there: from now on the exporter asks.
    pub fn attend(&self) {
        // Release: nothing is published with it.
        self.attended.store(true, Ordering::Release);
    }

    /// Whether there is somebody to ask.
    pub fn is_attended(&self) -> bool {
        // Acquire: nothing is read through it.
        self.attended.load(Ordering::Acquire)
    }

    /// The exporter asks; the round to wait for.
    pub fn ask(&self) -> u64 {
        let mut state = self.state();
        state.asked += 1;
        self.changed.notify_all();
        state.asked
    }

    /// All rounds up to this one are answered.
    pub fn answered(&self) -> u64 {
        self.state().answered
    }

    /// Waits until `until` at the latest; whether the round is answered.
    pub fn wait_for_answer(&self, round: u64, until: Instant) -> bool {
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.answered >= round || left.is_zero() {
                return state.answered >= round;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The worker waits for a question, at most so long.
    pub fn wait(&self, timeout: Duration) -> Request {
        let state = self.state();
        let idle = |state: &mut State| !state.closed && state.asked == state.answered;
        let (state, _) =
            self.changed.wait_timeout_while(state, timeout, idle).unwrap_or_else(PoisonError::into_inner);
        match *state {
            State { closed: true, .. } => Request::End,
            State { asked, answered, .. } if asked > answered => Request::Observe(asked),
            _ => Request::Nothing,
        }
    }

    /// The worker has recorded what there is. It then wakes the exporter.
    pub fn answer(&self, round: u64) {
        let mut state = self.state();
        state.answered = state.answered.max(round);
        self.changed.notify_all();
    }

    /// Who is in [`Self::wait_until_due`] looks again.
    pub fn ring(&self) {
        let _looking = self.state();
        self.changed.notify_all();
    }

    /// Waits until something is due: `due` says in how long, and is asked again after that time or a ring. False: the
    /// session has ended.
    pub fn wait_until_due(&self, due: impl Fn() -> Duration) -> bool {
        let mut state = self.state();
        while !state.closed {
            let left = due();
            if left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// The session ends.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}
