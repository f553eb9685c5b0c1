//! Metrics on their way to their sinks: measurements go into one series table for each distinct (temporality, interval)
//! at once; when a collection is due, observable instruments are asked, and what every table then has is encoded and
//! handed to its sinks, over several turns if that is much. A worker that does not answer in time costs its own values
//! only.

use std::time::{Duration, Instant};
use std::{mem, vec};

use super::console::Console;
use super::hand_over::{Probe, Stage};
use super::parts::{Reading, Recorded};
use super::request::{Now, after};
use super::select::{expect, push};
use super::self_metrics::{LOGS, POINTS, SPANS, SelfMetrics};
use super::sink::Sink;
use crate::accumulate::{Folded, FoldedEntry};
use crate::aggregate::Table;
use crate::batch::{Batch, Lookup};
use crate::config::Temporality;
use crate::encode::otlp::metrics::MetricEncoder;
use crate::stats::{MeasurementStats, Snapshot};
use crate::tally::Taken;

/// Observable instruments have so long to answer.
const OBSERVE_FOR: Duration = Duration::from_secs(1);

/// A collection that caused so many panics does not go on.
const MOST_PANICS: u32 = 16;

/// Attribute sets taken between two looks at the clock.
const FOLDS_AT_ONCE: usize = 1024;

#[derive(Debug)]
struct Reader {
    reading: Reading,
    due: Instant,
    table: Table,
    /// Sinks, a bit each.
    sinks: u16,
    console: bool,
}

#[derive(Debug, Clone, Copy)]
struct Collection {
    /// Readers whose tables are still to be collected, a bit each.
    readers: u32,
    /// The worker's round to wait for; `None`: there is no worker.
    round: Option<u64>,
    deadline: Instant,
    began: Instant,
    /// Of all points, once nothing is waited for any more.
    unix_nano: Option<u64>,
    panics: u32,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Metrics {
    recorded: Recorded,
    readers: Vec<Reader>,
    underway: Option<Collection>,
    /// Fetched, not yet taken into the tables.
    folded: Vec<Folded>,
    /// The rest of what is being taken of it.
    folding: vec::IntoIter<FoldedEntry>,
    /// Measurements that are on their way into the tables: a panic costs these.
    in_hand: u64,
    encoder: MetricEncoder,
    /// What the SDK says about itself, if anybody wants to know.
    about_self: Option<SelfMetrics>,
    /// How long the collection before took; `None` before the first.
    last_collection: Option<Duration>,
    stats: MeasurementStats,
    /// Nothing more is taken.
    ended: bool,
    /// Of the tallies, on the way into the tables, and kept for its memory. Empty between collections but for what a
    /// panic left: that is the next collection's.
    taken: Vec<Taken>,
}

impl Metrics {
    /// `sinks`: how each is read. `console`: the console's interval, if it shows metrics.
    pub(super) fn new(
        recorded: Recorded,
        sinks: &[Reading],
        console: Option<Duration>,
        sdk_metrics: bool,
        now: Now,
    ) -> Self {
        let mut readers: Vec<Reader> = Vec::new();
        let mut add = |reading: Reading, sinks: u16, console: bool| {
            if let Some(reader) = readers.iter_mut().find(|reader| reader.reading == reading) {
                reader.sinks |= sinks;
                reader.console |= console;
                return;
            }
            let due = after(now.instant, reading.interval);
            let table = Table::new(recorded.instruments.clone(), reading.temporality, now.unix_nano);
            readers.push(Reader { reading, due, table, sinks, console });
        };
        for (index, reading) in sinks.iter().enumerate() {
            add(*reading, 1 << index, false);
        }
        if let Some(interval) = console {
            add(Reading { temporality: Temporality::Cumulative, interval }, 0, true);
        }
        let about_self = sdk_metrics.then(|| SelfMetrics::new(recorded.instruments.clone()));
        Self {
            recorded,
            readers,
            underway: None,
            folded: Vec::new(),
            folding: Vec::new().into_iter(),
            in_hand: 0,
            encoder: MetricEncoder::default(),
            about_self,
            last_collection: None,
            stats: MeasurementStats::default(),
            ended: false,
            taken: Vec::new(),
        }
    }

    /// Takes a batch's measurements but for the first `taken`, which grows with each: after a panic the next is the one
    /// behind that which caused it.
    pub(super) fn take(&mut self, batch: &Batch, taken: &mut usize, lookup: Lookup<'_>, probe: &mut Probe) {
        for record in batch.measurements().skip(*taken) {
            *taken += 1;
            self.stats.recorded += 1;
            self.in_hand = 1;
            probe.at(Stage::Measurement);
            self.readers.iter_mut().for_each(|reader| reader.table.record(record, lookup));
        }
        self.in_hand = 0;
    }

    /// Measurements that a panic cost on their way here.
    pub(super) fn lose(&mut self, measurements: u64) {
        self.stats.recorded += measurements;
        self.stats.internal += measurements;
    }

    /// Fetches what was folded because a lane was full. Right after a drain: it is newer than what that brought, and
    /// older than what the next one will.
    pub(super) fn fetch_folds(&mut self) {
        let folded = self.recorded.folds.all().into_iter().map(|fold| fold.take());
        self.folded.extend(folded.filter(|folded| !folded.entries.is_empty()));
    }

    /// Takes what was fetched, after all that the drain brought, until the time is up.
    pub(super) fn take_folds(&mut self, until: Instant, lookup: Lookup<'_>, probe: &mut Probe) {
        loop {
            for entry in self.folding.by_ref() {
                self.stats.folded += entry.count;
                self.stats.recorded += entry.count;
                self.in_hand = entry.count;
                probe.at(Stage::Fold);
                self.readers.iter_mut().for_each(|reader| reader.table.fold_entry(&entry, lookup));
            }
            self.in_hand = 0;
            let Some(Folded { entries: rest }) = self.folded.last_mut() else { return };
            self.folding = rest.split_off(rest.len().saturating_sub(FOLDS_AT_ONCE)).into_iter();
            if rest.is_empty() {
                self.folded.pop();
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// All that was fetched is taken.
    pub(super) fn has_no_folds(&self) -> bool {
        self.folded.is_empty() && self.folding.len() == 0
    }

    /// A collection of all readers begins, or the one under way becomes one: for a flush until `deadline`. `observe`
    /// false: the observable instruments have been asked already.
    pub(super) fn begin_all(&mut self, observe: bool, deadline: Instant, now: Instant) {
        if self.readers.is_empty() {
            return;
        }
        let all = u32::MAX >> (u32::BITS - self.readers.len() as u32);
        let half = deadline.saturating_duration_since(now) / 2;
        match &mut self.underway {
            Some(underway) => {
                underway.readers = all;
                underway.deadline = underway.deadline.min(after(now, half));
            }
            None => self.underway = Some(self.begin(all, observe, half, now)),
        }
    }

    /// A collection begins if one is due.
    pub(super) fn begin_due(&mut self, now: Instant) {
        if self.underway.is_some() {
            return;
        }
        let mut due = 0;
        for (index, reader) in self.readers.iter_mut().enumerate() {
            if reader.due <= now {
                due |= 1 << index;
                reader.due = after(reader.due, reader.reading.interval);
                if reader.due <= now {
                    reader.due = after(now, reader.reading.interval);
                }
            }
        }
        if due != 0 {
            self.underway = Some(self.begin(due, true, OBSERVE_FOR, now));
        }
    }

    fn begin(&self, readers: u32, observe: bool, time: Duration, now: Instant) -> Collection {
        let observations = &self.recorded.observations;
        Collection {
            readers,
            round: (observe && observations.is_attended()).then(|| observations.ask()),
            deadline: after(now, time.min(OBSERVE_FOR)),
            began: now,
            unix_nano: None,
            panics: 0,
        }
    }

    /// The collection under way waits for nothing more. To be asked before a drain: what the worker recorded before it
    /// answered is then in the tables.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.underway.is_some_and(|collection| {
            let answered = || self.recorded.observations.answered();
            collection.round.is_none_or(|round| answered() >= round) || collection.deadline <= now
        })
    }

    /// No collection is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.underway.is_none()
    }

    /// Takes what the books of all sinks (of traces, metrics and logs) say into the tables.
    /// Before [`Metrics::begin_handing_out`].
    pub(super) fn observe_self(&mut self, snapshot: &Snapshot, sinks: [&mut [Sink]; 3], lookup: Lookup<'_>) {
        let Some(about_self) = &mut self.about_self else { return };
        let readers = &mut self.readers;
        let mut take = |batch: &Batch| {
            for record in batch.measurements() {
                readers.iter_mut().for_each(|reader| reader.table.record(record, lookup));
            }
        };
        take(about_self.observe(snapshot));
        for (words, sinks) in [SPANS, POINTS, LOGS].iter().zip(sinks) {
            for (index, sink) in sinks.iter_mut().enumerate() {
                let ended = sink.take_operations();
                take(about_self.operations(words, index, sink.stats(), &ended));
            }
        }
        if let Some(took) = self.last_collection.take() {
            take(about_self.collection(took));
        }
    }

    /// The collection under way waits for nothing more: from now on [`Metrics::collect`] hands it out.
    pub(super) fn begin_handing_out(&mut self, now: Now, lookup: Lookup<'_>, probe: &mut Probe) {
        if self.underway.is_none() {
            return;
        }
        self.recorded.tallies.take(&mut self.taken);
        self.take_tallies(lookup, probe);
        let Some(collection) = &mut self.underway else { return };
        collection.unix_nano = Some(now.unix_nano);
        if collection.round.is_some_and(|round| self.recorded.observations.answered() < round) {
            self.stats.late_observations += 1;
        }
    }

    fn take_tallies(&mut self, lookup: Lookup<'_>, probe: &mut Probe) {
        while let Some(taken) = self.taken.pop() {
            self.in_hand = taken.additions;
            probe.at(Stage::Tally);
            // Into all tables, for what is taken is taken for all.
            self.readers.iter_mut().for_each(|reader| reader.table.add(&taken, lookup));
        }
        self.in_hand = 0;
    }

    /// There is no further collection: what came too late for the last one is counted, and what comes now is not.
    pub(super) fn end(&mut self, lookup: Lookup<'_>, probe: &mut Probe) {
        self.recorded.tallies.close(&mut self.taken);
        self.take_tallies(lookup, probe);
        self.stats.shutdown = self.readers.iter().map(|reader| reader.table.uncollected()).max().unwrap_or(0);
        self.ended = true;
    }

    /// [`Metrics::end`] came to its own.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// A collection is being handed out.
    pub(super) fn is_handing_out(&self) -> bool {
        self.underway.is_some_and(|collection| collection.unix_nano.is_some())
    }

    /// Hands what the tables of the collection under way have to their sinks and the console, an instrument after the
    /// other, until the time is up; what is then left follows at the next call.
    pub(super) fn collect(
        &mut self,
        now: Instant,
        until: Instant,
        lookup: Lookup<'_>,
        console: &mut Console,
        sinks: &mut [Sink],
        probe: &mut Probe,
    ) {
        let Some(Collection { readers, unix_nano: Some(unix_nano), began, .. }) = &mut self.underway else {
            return;
        };
        while *readers != 0 {
            let reader = &mut self.readers[readers.trailing_zeros() as usize];
            if !reader.table.is_collecting() {
                reader.table.begin_collection(*unix_nano);
            }
            let (encoder, shown) = (&mut self.encoder, reader.console);
            let wanting = reader.sinks;
            let mut each = |metric: &crate::aggregate::Metric<'_>| {
                if wanting != 0 {
                    expect(&[(wanting, metric.points.len() as u64)], sinks);
                    probe.at(Stage::Collection);
                    encoder.put(metric, lookup);
                }
                if shown {
                    console.add_metric(metric, lookup);
                }
            };
            while reader.table.collect_next(lookup, &mut each) {
                if Instant::now() >= until {
                    break;
                }
            }
            let chunk = self.encoder.finish();
            if !chunk.is_empty() {
                push(chunk, wanting, now, sinks);
            }
            if reader.table.is_collecting() {
                return;
            }
            *readers &= *readers - 1;
        }
        self.last_collection = Some(began.elapsed());
        self.underway = None;
    }

    /// When to come back, if not sooner.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.underway {
            Some(collection) => Some(collection.deadline),
            None => self.readers.iter().map(|reader| reader.due).min(),
        }
    }

    /// The books as of now, but for what recording threads count, tallies among it.
    pub(super) fn stats(&mut self) -> MeasurementStats {
        self.stats.conflicts = self.recorded.instruments.conflicts();
        self.stats.overflowed =
            self.readers.iter().map(|reader| reader.table.overflowed()).max().unwrap_or(0);
        self.stats
    }

    /// What instruments have to be told, once.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.recorded.instruments.take_warnings()
    }

    /// After a panic. The collection under way goes on with the next instrument: an end would begin the same windows
    /// again.
    pub(super) fn recover(&mut self) {
        self.stats.internal += mem::take(&mut self.in_hand);
        self.encoder = MetricEncoder::default();
        if let Some(collection) = &mut self.underway {
            collection.panics += 1;
            if collection.panics == MOST_PANICS {
                self.underway = None;
                self.readers.iter_mut().for_each(|reader| reader.table.abandon_collection());
            }
        }
    }
}
