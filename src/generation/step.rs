//! One turn of a scheduler's loop: a span (or none), how long it took, how long nothing ran before it, and what the scheduler
//! knows of it. Clock reads are the kernel's monotonic clock, so nothing needs converting. Allocates nothing of its own.

use std::sync::Arc;

use arrayvec::ArrayVec;

use super::names::{Key, Measure, Names, Side};
use super::series::{Here, Series};
use super::{scope, seconds};
use crate::attrs::{Text, Value};
use crate::emit::{LiveSpan, Start, StatusUpdate, Thread};
use crate::record::{Number, SpanKind, StatusCode, StrId};

/// What a scheduler may know of a step: argument, attribute, measure.
pub const FIELDS: [(&str, Key, Measure); 7] = [
    ("batch_size", Key::BatchSize, Measure::BatchSize),
    ("scheduled_tokens", Key::ScheduledTokens, Measure::ScheduledTokens),
    ("kv_cache_usage", Key::KvCacheUsage, Measure::KvCacheUsage),
    ("preemptions", Key::Preemptions, Measure::Preemptions),
    ("prefix_cache_queries", Key::PrefixCacheQueries, Measure::PrefixCacheQueries),
    ("prefix_cache_hits", Key::PrefixCacheHits, Measure::PrefixCacheHits),
    ("waiting", Key::Waiting, Measure::Waiting),
];
const QUERIES: usize = 4;
const HITS: usize = 5;

/// Values of [`FIELDS`].
pub type Fields = [Option<Number>; FIELDS.len()];

/// The loop's state between its steps.
#[derive(Debug, Default)]
pub struct Loop {
    /// Monotonic nanoseconds; 0: nothing to measure a gap from.
    last_end: u64,
    /// Steps begun.
    begun: u64,
}

impl Loop {
    /// Nothing to run: what passes until the next step is no gap.
    pub fn idle(&mut self) {
        self.last_end = 0;
    }

    /// A step begins, or began at this monotonic time, of which every `spans`-th has a span. Steps that overlap have no
    /// gap.
    pub fn begin(&mut self, spans: u64, started: u64) -> Turn {
        let has_span = spans > 0 && self.begun.is_multiple_of(spans);
        self.begun += 1;
        let gap = if self.last_end == 0 { None } else { started.checked_sub(self.last_end) };
        Turn { started, gap, has_span }
    }

    /// Steps end in any order.
    pub fn end(&mut self, now: u64) {
        self.last_end = self.last_end.max(now);
    }
}

/// What the loop says of a step that begins.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// Monotonic nanoseconds.
    started: u64,
    /// Since the step before ended.
    gap: Option<u64>,
    /// It has a span.
    has_span: bool,
}

/// What one session says of a loop, looked up once.
#[derive(Debug)]
pub struct Known {
    /// That session.
    pub session: u64,
    series: Arc<Series>,
    /// NONE: there was no room for it.
    name: StrId,
    text: Box<[u8]>,
    scope: u16,
}

impl Known {
    /// Of a loop whose steps have this name, and its metrics these attributes, as bindings want them.
    pub fn of(thread: &mut Thread, name: &[u8], names: Names, attributes: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            session: thread.intake.session,
            series: Series::of(thread, Side::Step, names, attributes),
            name: thread.intake.strings.intern_now(name).unwrap_or(StrId::NONE),
            text: name.into(),
            scope: scope(thread),
        })
    }

    fn start(&self, start_unix_nano: Option<u64>) -> Start<'_> {
        Start {
            name: if self.name == StrId::NONE { Text::Inline(&self.text) } else { Text::Id(self.name) },
            kind: SpanKind::Internal,
            scope: self.scope,
            parent: None,
            start_unix_nano,
            ids: None,
        }
    }
}

/// A step under way.
#[derive(Debug)]
pub struct Step {
    /// Its span; one that records nothing if it has none.
    pub span: LiveSpan,
    /// The last value of each field.
    pub fields: Fields,
    started: u64,
    gap: Option<u64>,
    known: Option<Arc<Known>>,
}

impl Step {
    /// Not begun.
    pub const NONE: Self =
        Self { span: LiveSpan::NONE, fields: [None; FIELDS.len()], started: 0, gap: None, known: None };

    /// Begins, or began then.
    pub fn begin(
        &mut self,
        thread: &mut Thread,
        turn: Turn,
        known: Arc<Known>,
        start_unix_nano: Option<u64>,
    ) {
        if turn.has_span {
            self.span.start_again(thread, &known.start(start_unix_nano));
        } else {
            self.span = LiveSpan::NONE;
        }
        self.known = Some(known);
        (self.started, self.gap) = (turn.started, turn.gap);
    }

    /// It has begun and not ended.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.known.is_some()
    }

    /// Ends at this monotonic time, which is now: feeds the metrics, completes and ends the span. False if it was not open.
    pub fn end(&mut self, thread: &mut Thread, now: u64, error: Option<(&[u8], &[u8])>) -> bool {
        let Some(known) = self.known.take() else { return false };
        let series = &*known.series;
        let here = Here::of(&self.span);
        let mut together = here.together();
        let mut measure =
            |measure, value| series.measure_with_others(thread, &mut together, measure, value, here);
        measure(Measure::StepDuration, seconds(now.saturating_sub(self.started)));
        if let Some(gap) = self.gap {
            measure(Measure::StepGap, seconds(gap));
        }
        for (value, (_, _, measured)) in self.fields.iter().zip(FIELDS) {
            if let Some(value) = value {
                measure(measured, *value);
            }
        }
        if let (Some(queries), Some(hits)) = (self.fields[QUERIES], self.fields[HITS])
            && queries.as_f64() > 0.0
        {
            measure(Measure::PrefixCacheHitRate, Number::Double(hits.as_f64() / queries.as_f64()));
        }
        thread.measure_together(&mut together);
        if self.span.is_recording() {
            self.end_span(thread, series, error);
        }
        true
    }

    fn end_span(&mut self, thread: &mut Thread, series: &Series, error: Option<(&[u8], &[u8])>) {
        let mut numbers = ArrayVec::<_, { 2 * FIELDS.len() }>::new();
        for (value, (_, key, _)) in self.fields.iter().zip(FIELDS) {
            if let Some(value) = value {
                numbers.extend(series.key(key).map(|name| (name, *value)));
            }
        }
        if let Some((class, message)) = error {
            series
                .key(Key::ErrorType)
                .for_each(|name| self.span.set_attribute(thread, name, Value::Str(class)));
            self.span.set_status(thread, StatusUpdate { code: StatusCode::Error, description: message });
        }
        self.span.end_with_numbers(thread, &numbers);
    }

    /// Ends without a session.
    pub fn discard(&mut self) {
        self.known = None;
        self.span.discard();
    }
}
