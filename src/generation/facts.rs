//! What a generation came to, as measurements and as attributes. Plain arithmetic on what is known at its end.

use super::arrivals::{MAX_OFFSETS, Summary, Thinned};
use super::names::{Key, Measure, Names, TOKEN_EVENT};
use super::series::{Here, Series};
use super::{Detail, seconds, set};
use crate::attrs::{self, Text, Value, Values};
use crate::emit::{LiveSpan, Thread};
use crate::record::Number;

/// What a generation came to. Nanoseconds.
pub(super) struct Facts {
    pub(super) begun: u64,
    pub(super) duration: u64,
    pub(super) summary: Option<Summary>,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: u64,
    pub(super) output_tokens_known: bool,
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
    pub(super) fn feed(&self, thread: &mut Thread, series: &Series, here: Here, error_type: &[u8]) {
        let mut together = here.together();
        let mut measure =
            |measure, value| series.measure_with_others(thread, &mut together, measure, value, here);
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
        thread.measure_together(&mut together);
        if !error_type.is_empty() {
            let label = (Key::ErrorType.name(Names::Latest), error_type);
            series.measure_with(thread, Measure::Duration, seconds(self.duration), here, label);
        }
    }

    /// The span's attributes.
    pub(super) fn describe(&self, span: &mut LiveSpan, thread: &mut Thread, series: &Series) {
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
    pub(super) fn limit(self, thread: &Thread) -> usize {
        match self {
            Self::Array => MAX_OFFSETS,
            Self::Events => MAX_OFFSETS.min(thread.intake.limits.events.saturating_sub(1) as usize),
        }
    }

    pub(super) fn put(
        self,
        span: &mut LiveSpan,
        thread: &mut Thread,
        series: &Series,
        begun: u64,
        times: &Thinned,
    ) {
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

fn tokens(count: u64) -> Number {
    Number::Int(saturated(count))
}

fn saturated(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
