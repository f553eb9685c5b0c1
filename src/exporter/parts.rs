//! What an exporter is made of, and what it shares with the threads that control it. The only lock here is held for
//! copying the books.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::console::Console;
use super::flush::Asks;
use super::sink::Sink;
use super::{LogForm, Stage};
use crate::accumulate::Folds;
use crate::config::Temporality;
use crate::instruments::Instruments;
use crate::intern::Interner;
use crate::lane::{Drainer, Lanes};
use crate::limits::SpanLimits;
use crate::log_routes::LogRoutes;
use crate::observe::Observations;
use crate::redact::Redactor;
use crate::stats::{RecordingCounters, Snapshot};
use crate::tally::Tallies;

/// What the exporter shares with the threads that control it.
#[derive(Debug)]
pub struct Shared {
    /// Flush and shutdown.
    pub asks: Asks,
    /// To wake it.
    pub lanes: Arc<Lanes>,
    snapshot: Mutex<Snapshot>,
}

impl Shared {
    /// `stats` until the first turn.
    pub fn new(lanes: Arc<Lanes>, stats: Snapshot) -> Self {
        Self { asks: Asks::default(), lanes, snapshot: Mutex::new(stats) }
    }

    /// The books after a turn.
    pub(super) fn publish(&self, stats: &Snapshot) {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone_from(stats);
    }

    /// The books after the last turn.
    pub fn stats(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Every sink of a session, with what the signals need to know of it.
#[derive(Debug, Default)]
pub struct Sinks {
    /// Bit `i` of a span's mask is sink `i`, at most 16.
    pub traces: Vec<(SpanLimits, Sink)>,
    /// How each is read.
    pub metrics: Vec<(Reading, Sink)>,
    /// In the order of [`Parts::log_routes`].
    pub logs: Vec<(LogForm, Sink)>,
}

/// What the recording side shares with the exporter.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What measurements belong to.
    pub instruments: Arc<Instruments>,
    /// Who is asked before a collection.
    pub observations: Arc<Observations>,
    /// What counters count by themselves.
    pub tallies: Arc<Tallies>,
    /// Measurements that found their lane full.
    pub folds: Arc<Folds>,
}

/// Who gets what a collection yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Totals or changes.
    pub temporality: Temporality,
    /// Between collections.
    pub interval: Duration,
}

/// What an exporter is made of.
pub struct Parts {
    /// The reading end of [`Shared::lanes`].
    pub drainer: Drainer,
    /// What the records' ids mean.
    pub strings: Arc<Interner>,
    /// What recording threads count.
    pub counters: Arc<RecordingCounters>,
    /// What measurements belong to.
    pub recorded: Recorded,
    /// Called on the exporter's thread: reading certificates takes longer than a recording call in a forked child may.
    pub sinks: Box<dyn FnOnce() -> Sinks + Send>,
    /// Which sink wants which log record; the console's route is the last.
    pub log_routes: LogRoutes,
    /// What is hidden; `None`: nothing.
    pub redactor: Option<Redactor>,
    /// Records for people.
    pub console: Console,
    /// Between collections for the console.
    pub console_interval: Duration,
    /// Export what the SDK says about itself.
    pub sdk_metrics: bool,
    /// Warnings on stderr.
    pub diagnostics: bool,
    /// Warnings to begin with.
    pub warnings: Vec<String>,
    /// Called at each [`Stage`], for tests: it may panic.
    pub probe: Option<Box<dyn FnMut(Stage) + Send>>,
}
