//! How other threads ask the exporter for a flush or its end, and get the answer. Asking never blocks; waiting does, up
//! to the caller's own limit, so a stuck exporter holds nobody.
//!
//! `std`'s mutex and condition variable rather than parking_lot's: those share a process-wide table whose locks a
//! thread of the parent may hold at a fork, and a forked child would wait for them for ever.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::console::Console;
use super::sink::{Progress, Sink};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Everything recorded so far sent or given up.
    Flush,
    /// The same, then the end of the exporter.
    Shutdown,
    /// The same at interpreter exit: endpoints that refuse connections are given up early.
    Exit,
}

/// A request to the exporter.
#[derive(Debug)]
pub struct Ask {
    /// What for.
    pub goal: Goal,
    /// The answer is due then.
    pub deadline: Instant,
    answer: Ticket,
}

impl Ask {
    /// The exporter should have ended by now.
    pub(super) fn is_overdue_end(&self, now: Instant) -> bool {
        self.goal != Goal::Flush && self.deadline < now
    }
}

/// Fetches the answer.
#[derive(Debug, Clone, Default)]
pub struct Ticket(Arc<Mutex<Option<bool>>>);

/// Where requests wait for the exporter.
#[derive(Debug, Default)]
pub struct Asks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<Ask>,
    /// The exporter has ended: this is the answer to whatever is asked.
    ended: Option<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Asks {
    /// Leaves a request. The caller wakes the exporter.
    pub fn ask(&self, goal: Goal, deadline: Instant) -> Ticket {
        let ticket = Ticket::default();
        lock(&self.state).asked.push(Ask { goal, deadline, answer: ticket.clone() });
        ticket
    }

    /// Waits for the answer until `until` at the latest.
    pub fn wait(&self, ticket: &Ticket, until: Instant) -> Option<bool> {
        self.wait_until(until, |ended| lock(&ticket.0).or(ended))
    }

    /// Waits for the exporter's end until `until` at the latest.
    pub fn wait_for_end(&self, until: Instant) -> bool {
        self.wait_until(until, |ended| ended).is_some()
    }

    fn wait_until(&self, until: Instant, ready: impl Fn(Option<bool>) -> Option<bool>) -> Option<bool> {
        let mut state = lock(&self.state);
        loop {
            if let Some(value) = ready(state.ended) {
                return Some(value);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What was asked since the last call.
    pub fn take(&self) -> Vec<Ask> {
        std::mem::take(&mut lock(&self.state).asked)
    }

    /// Somebody asked for the end, in vain so far, and nobody took it.
    pub(super) fn has_overdue_end(&self, now: Instant) -> bool {
        lock(&self.state).asked.iter().any(|ask| ask.is_overdue_end(now))
    }

    /// Answers.
    pub fn answer(&self, ask: &Ask, verdict: bool) {
        // The lock orders the answer before a waiter's look or sleep.
        let _state = lock(&self.state);
        *lock(&ask.answer.0) = Some(verdict);
        self.changed.notify_all();
    }

    /// The exporter ends; whoever still waits, or asks again, is told `verdict`. The first call counts.
    pub fn end(&self, verdict: bool) {
        lock(&self.state).ended.get_or_insert(verdict);
        self.changed.notify_all();
    }
}

/// The books when a request was taken.
#[derive(Debug)]
pub struct Before {
    /// What each sink had lost.
    pub lost: Vec<u64>,
    /// Panics, each of which may have cost what no sink knew of.
    pub restarts: u64,
}

/// A request that the exporter works on.
#[derive(Debug)]
pub struct Flush {
    /// The request.
    pub ask: Ask,
    /// For each sink: what it must have dealt with, and what it had lost before.
    marks: Vec<(u64, u64)>,
    restarts: u64,
}

impl Flush {
    /// Begins. Everything that was recorded before the request must have been handed to the sinks by now; `before` is as
    /// of before that.
    pub fn begin(ask: Ask, sinks: &mut [Sink], before: Before, now: Instant) -> Self {
        let mark = |sink: &mut Sink| match ask.goal {
            Goal::Flush => sink.flush(now),
            Goal::Shutdown => sink.flush_finally(now, false),
            Goal::Exit => sink.flush_finally(now, true),
        };
        let marks = sinks.iter_mut().map(mark).zip(before.lost).collect();
        Self { ask, marks, restarts: before.restarts }
    }

    /// `Some` when there is nothing more to wait for: true if all that was to be sent reached its server or was
    /// finally refused by it, and no panic cost anything meanwhile.
    pub fn verdict(
        &self,
        sinks: &mut [Sink],
        console: &Console,
        restarts: u64,
        now: Instant,
    ) -> Option<bool> {
        let mut all = Progress::Done;
        let mut delivered = restarts == self.restarts;
        for (sink, (mark, lost)) in sinks.iter_mut().zip(&self.marks) {
            let progress = sink.progress(*mark, self.ask.deadline);
            delivered &= progress == Progress::Done && sink.stats().undelivered() == *lost;
            if progress == Progress::Pending {
                all = Progress::Pending;
            }
        }
        let ended = all == Progress::Done && console.is_flushed(now);
        (ended || now >= self.ask.deadline).then_some(delivered)
    }
}
