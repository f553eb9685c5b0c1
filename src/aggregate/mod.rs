//! From measurements to metric points. One [`Table`] serves all readers of one temporality (and interval, for deltas):
//! it keeps every stream's series and hands out points at each collection. Single-threaded plain data, without a lock
//! but when it meets an instrument, a binding or a scope for the first time; memory is bounded by the streams'
//! cardinality limits.
//!
//! ```text
//! record ─► instrument by id ─► route: this attribute set's series in each stream ─► cell (and exemplar)
//!                                 │ by binding, or by the bytes as recorded; unknown:
//!                                 └► canonical form ─► keys that the stream keeps ─► series, or the overflow series
//! ```
//!
//! Observable instruments give totals, and the same set may be given twice: their values wait for the collection, which
//! puts them into series that begin anew each time.

mod attributes;
mod entry;
mod exemplars;
mod observed;
mod routes;
mod series;
mod table;

pub use table::Table;

use crate::accumulate::{ExplicitHistogram, ExponentialHistogram};
use crate::ids::{SpanId, TraceId};
use crate::record::Number;

/// All that one collection yields of one stream. Points in the order in which their series began.
#[derive(Debug)]
pub struct Metric<'a> {
    /// Index of the instrumentation scope.
    pub scope: u16,
    /// Metric name.
    pub name: &'a str,
    /// For people, empty when none.
    pub description: &'a str,
    /// UCUM unit, empty when none.
    pub unit: &'a str,
    /// What kind of points.
    pub data: Data,
    /// Never empty.
    pub points: Vec<Point<'a>>,
}

/// The kind of a metric's points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// `Value::Number` points.
    Sum {
        /// It never falls.
        monotonic: bool,
        /// Changes since the last collection, not totals.
        delta: bool,
    },
    /// `Value::Number` points.
    Gauge,
    /// `Value::Explicit` points.
    Histogram {
        /// Changes since the last collection, not totals.
        delta: bool,
    },
    /// `Value::Exponential` points.
    ExponentialHistogram {
        /// Changes since the last collection, not totals.
        delta: bool,
    },
}

/// One series' value at a collection.
#[derive(Debug)]
pub struct Point<'a> {
    /// Attribute items (see `crate::attrs`) with inline keys, sorted by key.
    pub attributes: &'a [u8],
    /// Start of the window, Unix nanoseconds; 0 for gauges.
    pub start_unix_nano: u64,
    /// End of the window, Unix nanoseconds.
    pub time_unix_nano: u64,
    /// The value.
    pub value: Value<'a>,
    /// Since the last collection.
    pub exemplars: &'a [Exemplar],
}

/// A point's value.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Of a sum or gauge.
    Number(Number),
    /// Of a histogram.
    Explicit(&'a ExplicitHistogram),
    /// Of an exponential histogram.
    Exponential(&'a ExponentialHistogram),
}

/// A measurement kept as an example.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// When, Unix nanoseconds.
    pub time_unix_nano: u64,
    /// The value.
    pub value: Number,
    /// The span it was made in, NONE outside.
    pub trace_id: TraceId,
    /// Likewise.
    pub span_id: SpanId,
    /// Attribute items that a view left out of the series.
    pub filtered_attributes: Box<[u8]>,
}
