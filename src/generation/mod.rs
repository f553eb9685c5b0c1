//! The life of one LLM request, and steps of the scheduler that serves it: what is kept while they run, and what they come
//! to. Not a signal of its own: a generation becomes one span, measurements and (with what Python converts) a log record,
//! by the same calls that a user would make.
//!
//! A token costs a clock read and one store into memory of the generation's own ([`arrivals`]): no lock, no system call, no
//! allocation but for amortised growth. Everything else happens once per request. What things are called is data: [`names`].

pub mod arrivals;
pub mod names;
pub mod series;
pub mod settings;
pub mod step;

use std::sync::Arc;

use crate::attrs::{self, Text, Value, Values};
use crate::emit::{self, LiveSpan, SpanIds, Start, StatusUpdate, Thread};
use crate::record::{Number, SpanKind, StatusCode};
use crate::sys::ticks::{self, Sample};
use arrivals::{Arrivals, Clock, MAX_OFFSETS, Summary, Thinned};
use names::{CANCELLED_EVENT, Key, Measure, Names, Side, TOKEN_EVENT};
use series::{Series, put_sorted};

/// How the times of single tokens are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// One attribute: an array of microseconds since the start.
    Array,
    /// An event each.
    Events,
}

/// What a generation begins with.
#[derive(Debug)]
pub struct Begin<'a> {
    /// The span's.
    pub start: Start<'a>,
    /// `gen_ai.operation.name`.
    pub operation: &'a [u8],
    /// `gen_ai.provider.name`, empty for none.
    pub provider: &'a [u8],
    /// `gen_ai.request.model`, empty for none.
    pub model: &'a [u8],
    /// Tokens of the prompt.
    pub input_tokens: Option<u64>,
    /// Which names.
    pub names: Names,
    /// Times of single tokens.
    pub detail: Option<Detail>,
    /// Only where it took at least so long, or failed.
    pub detail_if_slower_than_nano: u64,
}

/// What is known at its end.
#[derive(Debug, Default)]
pub struct End<'a> {
    /// Unix nanoseconds; `None` is now.
    pub unix_nano: Option<u64>,
    /// Why it stopped, empty for unknown.
    pub finish_reason: &'a [u8],
    /// Class of the error that it ended with, empty for none.
    pub error_type: &'a [u8],
    /// What the error says.
    pub error_message: &'a [u8],
    /// It was given up, which is no error.
    pub cancelled: bool,
    /// Better known than at the beginning.
    pub input_tokens: Option<u64>,
    /// Better known than by counting.
    pub output_tokens: Option<u64>,
    /// Attribute items, which win.
    pub attributes: &'a [u8],
    /// Attributes that were given and cannot be kept.
    pub dropped_attributes: u32,
}

/// One request. Belongs to whoever holds it: any thread may call it, one at a time.
#[derive(Debug)]
pub struct Generation {
    /// Its span.
    pub span: LiveSpan,
    /// Its tokens.
    pub arrivals: Arrivals,
    scope: u16,
    started: Sample,
    start_unix_nano: Option<u64>,
    /// `None` before the beginning and after the end.
    series: Option<Arc<Series>>,
    input_tokens: Option<u64>,
    detail: Option<Detail>,
    detail_if_slower_than_nano: u64,
    /// Nanoseconds in the stages "queue", "prefill", "decode".
    stages: [Option<u64>; 3],
}

impl Generation {
    /// Does nothing.
    pub const NONE: Self = Self {
        span: LiveSpan::NONE,
        arrivals: Arrivals::EMPTY,
        scope: 0,
        started: Sample { ticks: 0, monotonic_nano: 0, unix_nano: 0 },
        start_unix_nano: None,
        series: None,
        input_tokens: None,
        detail: None,
        detail_if_slower_than_nano: 0,
        stages: [None; 3],
    };

    /// Begins. Metrics are fed whether or not the span is sampled.
    pub fn begin(thread: &mut Thread, begin: &Begin<'_>) -> Self {
        let side = if begin.start.kind == SpanKind::Client { Side::Client } else { Side::Server };
        let mut items = thread.take_items();
        let labels =
            [(Key::Operation, begin.operation), (Key::Provider, begin.provider), (Key::Model, begin.model)];
        put_sorted(&mut items, labels.map(|(key, text)| (key.name(begin.names), text_or_none(text))));
        let series = Series::of(thread, side, begin.names, &items);
        thread.return_items(items);
        let mut span = LiveSpan::start(thread, &begin.start);
        if span.is_recording() {
            for (key, text) in labels.into_iter().filter(|(_, text)| !text.is_empty()) {
                set(&mut span, thread, &series, key, Value::Str(text));
            }
        }
        Self {
            span,
            arrivals: Arrivals::EMPTY,
            scope: begin.start.scope,
            started: Clock::begin(),
            start_unix_nano: begin.start.start_unix_nano,
            series: Some(series),
            input_tokens: begin.input_tokens,
            detail: begin.detail,
            detail_if_slower_than_nano: begin.detail_if_slower_than_nano,
            stages: [None; 3],
        }
    }

    /// It has begun and not ended.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.series.is_some()
    }

    /// Tokens so far.
    pub fn tokens(&self) -> u64 {
        self.arrivals.tokens()
    }

    /// A token arrives.
    #[inline(always)]
    pub fn token(&mut self) {
        let now = ticks::now();
        if !self.arrivals.push(now) {
            self.make_room(|arrivals| arrivals.push(now));
        }
    }

    /// Some arrive at once: one arrival.
    pub fn token_burst(&mut self, count: u64) {
        if count > 0 && self.is_open() {
            self.token();
            self.arrivals.add_tokens(count - 1);
        }
    }

    /// One arrived at a given time.
    pub fn token_at(&mut self, unix_nano: u64) {
        if !self.arrivals.push_unix_nano(unix_nano) {
            self.make_room(|arrivals| arrivals.push_unix_nano(unix_nano));
        }
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, push: impl FnOnce(&mut Arrivals) -> bool) {
        let Some(series) = &self.series else { return };
        if !self.arrivals.grow() {
            let clock = Clock::since(self.started);
            let (ids, arrivals) = (span_ids(&self.span), &mut self.arrivals);
            let measured = emit::with(self.span.session, |thread| {
                arrivals.fold(&clock, |gaps| series.measure_many(thread, Measure::Gap, gaps, ids));
            });
            if measured.is_none() {
                self.arrivals.fold(&clock, |_| {});
            }
        }
        push(&mut self.arrivals);
    }

    /// A stage of it is over: a child span, with its attributes as items.
    pub fn stage(
        &mut self,
        thread: &mut Thread,
        name: Text<'_>,
        from: u64,
        to: u64,
        attributes: (&[u8], u32),
    ) {
        let parent = self.span.as_parent();
        let start = Start {
            name,
            kind: SpanKind::Internal,
            scope: self.scope,
            parent: Some(&parent),
            start_unix_nano: Some(from),
            ids: None,
        };
        let mut child = LiveSpan::start(thread, &start);
        child.set_items(thread, attributes.0);
        child.drop_attributes(thread, attributes.1);
        child.end(thread, Some(to));
        let text = match name {
            Text::Id(id) => thread.intake.strings.resolve(id),
            Text::Inline(text) => text,
        };
        let known: [&[&[u8]]; 3] = [&[b"queue", b"schedule"], &[b"prefill"], &[b"decode"]];
        if let Some(stage) = known.iter().position(|names| names.contains(&text)) {
            *self.stages[stage].get_or_insert(0) += to.saturating_sub(from);
        }
    }

    /// Ends: feeds the metrics, completes and ends the span. A second call does nothing.
    pub fn end(&mut self, thread: &mut Thread, end: &End<'_>) {
        let Some(series) = self.series.take() else { return };
        let clock = Clock::since(self.started);
        let now = ticks::now();
        let begun = self.start_unix_nano.unwrap_or(clock.unix_nano(self.started.ticks));
        let ended = end.unix_nano.unwrap_or_else(|| clock.unix_nano(now));
        let duration = ended.saturating_sub(begun);
        let failed = !end.error_type.is_empty();
        let ids = span_ids(&self.span);

        let wanted = self.detail.filter(|_| failed || duration >= self.detail_if_slower_than_nano);
        let wanted = wanted.filter(|_| self.span.is_recording());
        let mut thinned = wanted.map(|detail| Thinned::new(detail.limit(thread)));
        let counted = self.arrivals.tokens();
        let summary = self.arrivals.finish(
            &clock,
            |gaps| {
                if !failed {
                    series.measure_many(thread, Measure::Gap, gaps, ids);
                }
            },
            thinned.as_mut(),
        );
        self.arrivals = Arrivals::EMPTY;
        let facts = Facts {
            begun,
            duration,
            summary,
            input_tokens: end.input_tokens.or(self.input_tokens),
            output_tokens: end.output_tokens.unwrap_or(counted),
            output_tokens_known: counted > 0 || end.output_tokens.is_some(),
        };
        facts.feed(thread, &series, ids, end.error_type);
        if !self.span.is_recording() {
            return;
        }
        facts.describe(&mut self.span, thread, &series);
        self.describe_stages(thread, &series);
        if let (Some(detail), Some(thinned)) = (wanted, thinned) {
            detail.put(&mut self.span, thread, &series, begun, &thinned);
        }
        self.describe_end(thread, &series, end);
        self.span.end(thread, end.unix_nano);
    }

    fn describe_end(&mut self, thread: &mut Thread, series: &Series, end: &End<'_>) {
        let span = &mut self.span;
        if !end.finish_reason.is_empty() {
            let mut reasons = Vec::with_capacity(16 + end.finish_reason.len());
            attrs::put_element(&mut reasons, Value::Str(end.finish_reason));
            set(span, thread, series, Key::FinishReasons, Value::Array(Values::new(&reasons)));
        }
        if !end.error_type.is_empty() {
            set(span, thread, series, Key::ErrorType, Value::Str(end.error_type));
            let update = StatusUpdate { code: StatusCode::Error, description: end.error_message };
            span.set_status(thread, update);
        }
        if end.cancelled {
            span.add_event(thread, Text::Inline(CANCELLED_EVENT.as_bytes()), end.unix_nano, &[], 0);
        }
        span.set_items(thread, end.attributes);
        span.drop_attributes(thread, end.dropped_attributes);
    }

    fn describe_stages(&mut self, thread: &mut Thread, series: &Series) {
        let [queue, prefill, decode] = self.stages;
        let model = prefill.zip(decode).map(|(prefill, decode)| prefill + decode);
        let keys = [Key::TimeInQueue, Key::TimeInPrefill, Key::TimeInDecode, Key::TimeInModel];
        for (key, nanos) in keys.into_iter().zip([queue, prefill, decode, model]) {
            if let Some(nanos) = nanos {
                set(&mut self.span, thread, series, key, Value::Double(nanos as f64 / 1e9));
            }
        }
    }

    /// Ends without a session (recording was turned off meanwhile): nothing is written.
    pub fn discard(&mut self) {
        self.series = None;
        self.arrivals = Arrivals::EMPTY;
        self.span.discard();
    }
}

/// What a generation came to. Nanoseconds.
struct Facts {
    begun: u64,
    duration: u64,
    summary: Option<Summary>,
    input_tokens: Option<u64>,
    output_tokens: u64,
    output_tokens_known: bool,
}

impl Facts {
    fn time_to_first_token(&self) -> Option<u64> {
        self.summary.map(|summary| summary.first.saturating_sub(self.begun))
    }

    /// From the first token to the last, by the tokens after the first.
    fn time_per_output_token(&self) -> Option<f64> {
        let summary = self.summary.filter(|summary| summary.arrivals > 1 && self.output_tokens > 1)?;
        Some((summary.last - summary.first) as f64 / (self.output_tokens - 1) as f64 / 1e9)
    }

    /// Latencies of what succeeded, duration and tokens of everything.
    fn feed(&self, thread: &mut Thread, series: &Series, ids: SpanIds, error_type: &[u8]) {
        let mut measure = |measure, value| series.measure(thread, measure, value, ids);
        if error_type.is_empty() {
            if let Some(nanos) = self.time_to_first_token() {
                measure(Measure::FirstToken, seconds(nanos));
            }
            if let Some(seconds) = self.time_per_output_token() {
                measure(Measure::PerToken, Number::Double(seconds));
            }
            measure(Measure::Duration, seconds(self.duration));
        }
        if let Some(count) = self.input_tokens {
            measure(Measure::InputTokens, tokens(count));
        }
        if self.output_tokens_known {
            measure(Measure::OutputTokens, tokens(self.output_tokens));
        }
        if !error_type.is_empty() {
            let label = (Key::ErrorType.name(Names::Latest), error_type);
            series.measure_with(thread, Measure::Duration, seconds(self.duration), ids, label);
        }
    }

    fn describe(&self, span: &mut LiveSpan, thread: &mut Thread, series: &Series) {
        let mut put = |key, value| set(span, thread, series, key, value);
        let time = |nanos: u64| Value::Double(nanos as f64 / 1e9);
        if let Some(count) = self.input_tokens {
            put(Key::InputTokens, Value::Int(saturated(count)));
        }
        put(Key::OutputTokens, Value::Int(saturated(self.output_tokens)));
        put(Key::Duration, time(self.duration));
        if let Some(nanos) = self.time_to_first_token() {
            put(Key::TimeToFirstToken, time(nanos));
        }
        if let Some(seconds) = self.time_per_output_token() {
            put(Key::TimePerOutputToken, Value::Double(seconds));
        }
        if self.output_tokens > 0 && self.duration > 0 {
            let rate = self.output_tokens as f64 / (self.duration as f64 / 1e9);
            put(Key::TokensPerSecond, Value::Double(rate));
        }
        if let Some(gaps) = self.summary.and_then(|summary| summary.gaps) {
            put(Key::GapP50, time(gaps.p50));
            put(Key::GapP99, time(gaps.p99));
            put(Key::GapMax, time(gaps.max));
        }
    }
}

impl Detail {
    /// Events that the session's limits would drop are thinned out instead; one is left for how it ended.
    fn limit(self, thread: &Thread) -> usize {
        match self {
            Self::Array => MAX_OFFSETS,
            Self::Events => MAX_OFFSETS.min(thread.intake.limits.events.saturating_sub(1) as usize),
        }
    }

    fn put(self, span: &mut LiveSpan, thread: &mut Thread, series: &Series, begun: u64, times: &Thinned) {
        set(span, thread, series, Key::Arrivals, Value::Int(times.seen as i64));
        set(span, thread, series, Key::OffsetsStride, Value::Int(times.stride as i64));
        match self {
            Self::Array => {
                let mut offsets = Vec::with_capacity(times.kept.len() * 9);
                for at in &times.kept {
                    let nanos = i128::from(*at) - i128::from(begun);
                    attrs::put_element(&mut offsets, Value::Int((nanos.div_euclid(1000)) as i64));
                }
                set(span, thread, series, Key::Offsets, Value::Array(Values::new(&offsets)));
            }
            Self::Events => {
                let mut items = Vec::new();
                for (index, at) in times.kept.iter().enumerate() {
                    items.clear();
                    for key in series.key(Key::TokenIndex) {
                        attrs::put_attribute(
                            &mut items,
                            key,
                            Value::Int((index as u64 * times.stride) as i64),
                        );
                    }
                    span.add_event(thread, Text::Inline(TOKEN_EVENT.as_bytes()), Some(*at), &items, 0);
                }
            }
        }
    }
}

fn set(span: &mut LiveSpan, thread: &mut Thread, series: &Series, key: Key, value: Value<'_>) {
    for name in series.key(key) {
        span.set_attribute(thread, name, value);
    }
}

fn text_or_none(text: &[u8]) -> Value<'_> {
    if text.is_empty() { Value::Empty } else { Value::Str(text) }
}

fn span_ids(span: &LiveSpan) -> SpanIds {
    SpanIds { trace_id: span.trace_id, span_id: span.span_id, flags: span.trace_flags() }
}

fn seconds(nanos: u64) -> Number {
    Number::Double(nanos as f64 / 1e9)
}

fn tokens(count: u64) -> Number {
    Number::Int(saturated(count))
}

fn saturated(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
