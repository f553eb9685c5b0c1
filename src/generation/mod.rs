//! The life of one LLM request, and steps of the scheduler that serves it: what is kept while they run, and what they come
//! to. Not a signal of its own: a generation becomes one span, measurements and (with what Python converts) a log record,
//! by the same calls that a user would make.
//!
//! A token costs a clock read and one store into memory of the generation's own ([`arrivals`]): no lock, no system call, no
//! allocation but for amortised growth. Everything else happens once per request. What things are called is data: [`names`].

pub mod arrivals;
mod facts;
pub mod names;
pub mod series;
pub mod settings;
pub mod step;

use std::sync::Arc;

use crate::attrs::{self, Text, Value, Values};
use crate::emit::{self, LiveSpan, Start, StatusUpdate, Thread};
use crate::intern::Scope;
use crate::record::{Number, SpanKind, StatusCode};
use crate::sys::ticks::{self, Sample};
use arrivals::{Arrivals, Clock, Thinned};
use facts::Facts;
use names::{CANCELLED_EVENT, Key, METER, Measure, Names, Side};
use series::{Here, Series, put_sorted};

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
            let (here, arrivals) = (Here::of(&self.span), &mut self.arrivals);
            let measured = emit::with(self.span.context.session, |thread| {
                arrivals.fold(&clock, |gaps| series.measure_many(thread, Measure::Gap, gaps, here));
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
        let start = Start {
            name,
            kind: SpanKind::Internal,
            scope: self.scope,
            parent: Some(&self.span.context),
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
        let here = Here::of(&self.span);

        let wanted = self.detail.filter(|_| failed || duration >= self.detail_if_slower_than_nano);
        let wanted = wanted.filter(|_| self.span.is_recording());
        let mut thinned = wanted.map(|detail| Thinned::new(detail.limit(thread)));
        let counted = self.arrivals.tokens();
        let summary = self.arrivals.finish(
            &clock,
            |gaps| {
                if !failed {
                    series.measure_many(thread, Measure::Gap, gaps, here);
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
        facts.feed(thread, &series, here, end.error_type);
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

fn set(span: &mut LiveSpan, thread: &mut Thread, series: &Series, key: Key, value: Value<'_>) {
    for name in series.key(key) {
        span.set_attribute(thread, name, value);
    }
}

fn text_or_none(text: &[u8]) -> Value<'_> {
    if text.is_empty() { Value::Empty } else { Value::Str(text) }
}

/// The index of the scope of all generations and steps, in the thread's session.
pub fn scope(thread: &Thread) -> u16 {
    let version = env!("CARGO_PKG_VERSION").into();
    thread.intake.strings.scope_index(&Scope { name: METER.into(), version, schema_url: String::new() })
}

fn seconds(nanos: u64) -> Number {
    Number::Double(nanos as f64 / 1e9)
}
