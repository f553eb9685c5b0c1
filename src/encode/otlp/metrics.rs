//! Metrics: what a collection hands out to `Metric` messages, several of one name where the points are many. Allocates for
//! its output and, at the first sight of a scope, for the encoded scope. Limits of attributes do not apply to metrics.

use super::records::Scopes;
use super::{ATTRIBUTE_BYTES, Attributes, envelope};
use crate::accumulate::{Buckets, ExplicitHistogram, ExponentialHistogram};
use crate::aggregate::{Data, Exemplar, Metric, Point, Value};
use crate::attrs::Items;
use crate::encode::Lookup;
use crate::encode::chunk::Chunk;
use crate::encode::wire::{self, FIXED64, LEN, VARINT, tag};
use crate::record::Number;

/// Tags of `metrics.proto`.
mod metric {
    use super::{LEN, tag};

    pub(super) const NAME: u8 = tag(1, LEN);
    pub(super) const DESCRIPTION: u8 = tag(2, LEN);
    pub(super) const UNIT: u8 = tag(3, LEN);
    pub(super) const GAUGE: u8 = tag(5, LEN);
    pub(super) const SUM: u8 = tag(7, LEN);
    pub(super) const HISTOGRAM: u8 = tag(9, LEN);
    pub(super) const EXPONENTIAL_HISTOGRAM: u8 = tag(10, LEN);
}

/// The same numbers in `Gauge`, `Sum`, `Histogram` and `ExponentialHistogram`, as far as these have the fields.
mod data {
    use super::{LEN, VARINT, tag};

    pub(super) const DATA_POINTS: u8 = tag(1, LEN);
    pub(super) const AGGREGATION_TEMPORALITY: u8 = tag(2, VARINT);
    pub(super) const IS_MONOTONIC: u8 = tag(3, VARINT);

    pub(super) const DELTA: u64 = 1;
    pub(super) const CUMULATIVE: u64 = 2;
}

/// The same numbers in all data points, as far as these have the fields.
mod point {
    use super::{FIXED64, tag};

    pub(super) const START_TIME_UNIX_NANO: u8 = tag(2, FIXED64);
    pub(super) const TIME_UNIX_NANO: u8 = tag(3, FIXED64);
    /// Of histograms of both kinds.
    pub(super) const COUNT: u8 = tag(4, FIXED64);
    /// Likewise.
    pub(super) const SUM: u8 = tag(5, FIXED64);
}

mod number {
    use super::{FIXED64, LEN, tag};

    pub(super) const AS_DOUBLE: u8 = tag(4, FIXED64);
    pub(super) const EXEMPLARS: u8 = tag(5, LEN);
    pub(super) const AS_INT: u8 = tag(6, FIXED64);
    pub(super) const ATTRIBUTES: u8 = tag(7, LEN);
}

mod histogram {
    use super::{FIXED64, LEN, tag};

    pub(super) const BUCKET_COUNTS: u8 = tag(6, LEN);
    pub(super) const EXPLICIT_BOUNDS: u8 = tag(7, LEN);
    pub(super) const EXEMPLARS: u8 = tag(8, LEN);
    pub(super) const ATTRIBUTES: u8 = tag(9, LEN);
    pub(super) const MIN: u8 = tag(11, FIXED64);
    pub(super) const MAX: u8 = tag(12, FIXED64);
}

mod exponential {
    use super::{FIXED64, LEN, VARINT, tag};

    pub(super) const ATTRIBUTES: u8 = tag(1, LEN);
    pub(super) const SCALE: u8 = tag(6, VARINT);
    pub(super) const ZERO_COUNT: u8 = tag(7, FIXED64);
    pub(super) const POSITIVE: u8 = tag(8, LEN);
    pub(super) const NEGATIVE: u8 = tag(9, LEN);
    pub(super) const EXEMPLARS: u8 = tag(11, LEN);
    pub(super) const MIN: u8 = tag(12, FIXED64);
    pub(super) const MAX: u8 = tag(13, FIXED64);
}

mod buckets {
    use super::{LEN, VARINT, tag};

    pub(super) const OFFSET: u8 = tag(1, VARINT);
    pub(super) const BUCKET_COUNTS: u8 = tag(2, LEN);
}

mod exemplar {
    use super::{FIXED64, LEN, tag};

    pub(super) const TIME_UNIX_NANO: u8 = tag(2, FIXED64);
    pub(super) const AS_DOUBLE: u8 = tag(3, FIXED64);
    pub(super) const SPAN_ID: u8 = tag(4, LEN);
    pub(super) const TRACE_ID: u8 = tag(5, LEN);
    pub(super) const AS_INT: u8 = tag(6, FIXED64);
    pub(super) const FILTERED_ATTRIBUTES: u8 = tag(7, LEN);
}

/// A `Metric` message takes no further point once it is this large: requests are cut between messages, not within.
pub const MAX_METRIC_BYTES: usize = 256 * 1024;

/// Gathers the metrics of one collection. Keeps encoded scopes for the next; belongs to one interner, whose scope indexes
/// it knows.
#[derive(Debug, Default)]
pub struct MetricEncoder {
    scopes: Scopes,
    chunk: Chunk,
    /// Of the last metric in the chunk.
    scope: Option<u16>,
}

impl MetricEncoder {
    /// Appends a metric. Those of one scope should follow each other: each change of scope costs its framing.
    pub fn put(&mut self, metric: &Metric<'_>, lookup: Lookup<'_>) {
        let attributes = Attributes { strings: lookup.strings, value_length: u32::MAX };
        let mut points = metric.points.as_slice();
        while !points.is_empty() {
            if self.scope != Some(metric.scope) {
                self.scope = Some(metric.scope);
                self.chunk.runs.push((self.chunk.ends.len(), self.scopes.get(metric.scope, lookup)));
            }
            let count = put_metric(&mut self.chunk.bytes, metric, points, attributes);
            self.chunk.ends.push(self.chunk.bytes.len());
            self.chunk.points.push(count as u32);
            points = &points[count..];
        }
    }

    /// What was put in since the last call: a record for each `Metric` message, with the count of its points.
    pub fn finish(&mut self) -> Chunk {
        self.scope = None;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.bytes.shrink_to_fit();
        chunk
    }
}

/// Bytes of the field of a window's start.
const START_BYTES: usize = 9;

/// Appends a `Metric` with as many of the points as it takes, at least one. Returns how many.
fn put_metric(
    out: &mut Vec<u8>,
    metric: &Metric<'_>,
    points: &[Point<'_>],
    attributes: Attributes<'_>,
) -> usize {
    let start = out.len();
    let points_bytes = points.iter().map(expected_point_bytes).sum::<usize>().min(MAX_METRIC_BYTES);
    let texts_bytes = metric.name.len() + metric.description.len() + metric.unit.len();
    out.reserve(texts_bytes + points_bytes + 2 * ATTRIBUTE_BYTES);
    let record = wire::open(out, envelope::RECORD, texts_bytes + points_bytes);
    wire::put_optional_field(out, metric::NAME, metric.name.as_bytes());
    wire::put_optional_field(out, metric::DESCRIPTION, metric.description.as_bytes());
    wire::put_optional_field(out, metric::UNIT, metric.unit.as_bytes());

    let (kind, delta, monotonic) = match metric.data {
        Data::Gauge => (metric::GAUGE, None, false),
        Data::Sum { monotonic, delta } => (metric::SUM, Some(delta), monotonic),
        Data::Histogram { delta } => (metric::HISTOGRAM, Some(delta), false),
        Data::ExponentialHistogram { delta } => (metric::EXPONENTIAL_HISTOGRAM, Some(delta), false),
    };
    let data = wire::open(out, kind, points_bytes);
    if let Some(delta) = delta {
        let temporality = if delta { data::DELTA } else { data::CUMULATIVE };
        wire::put_varint_field(out, data::AGGREGATION_TEMPORALITY, temporality);
    }
    if monotonic {
        wire::put_varint_field(out, data::IS_MONOTONIC, 1);
    }
    let mut count = 0;
    for point in points {
        put_point(out, point, attributes);
        count += 1;
        if out.len() - start >= MAX_METRIC_BYTES {
            break;
        }
    }
    wire::close(out, data);
    wire::close(out, record);
    count
}

/// A guess at the encoded size: interned keys make attributes about twice as long as their items.
fn expected_point_bytes(point: &Point<'_>) -> usize {
    let value = match point.value {
        Value::Number(_) => 30,
        Value::Explicit(histogram) => 60 + 16 * histogram.counts.len(),
        Value::Exponential(histogram) => {
            75 + histogram.positive.counts.len() + histogram.negative.counts.len()
        }
    };
    value + 2 * point.attributes.len() + 64 * point.exemplars.len()
}

fn put_point(out: &mut Vec<u8>, point: &Point<'_>, attributes: Attributes<'_>) {
    let part = wire::open(out, data::DATA_POINTS, expected_point_bytes(point));
    let (attributes_tag, exemplars_tag) = match point.value {
        Value::Number(value) => {
            put_number(out, point, value);
            (number::ATTRIBUTES, number::EXEMPLARS)
        }
        Value::Explicit(histogram) => {
            put_explicit(out, point, histogram);
            (histogram::ATTRIBUTES, histogram::EXEMPLARS)
        }
        Value::Exponential(histogram) => {
            put_exponential(out, point, histogram);
            (exponential::ATTRIBUTES, exponential::EXEMPLARS)
        }
    };
    attributes.put_all(out, attributes_tag, Items::new(point.attributes), u32::MAX);
    for exemplar in point.exemplars {
        put_exemplar(out, exemplars_tag, exemplar, attributes);
    }
    wire::close(out, part);
}

#[inline]
fn put_number(out: &mut Vec<u8>, point: &Point<'_>, value: Number) {
    let value = number_field(value, number::AS_INT, number::AS_DOUBLE);
    let time = (point::TIME_UNIX_NANO, point.time_unix_nano);
    let start = (point::START_TIME_UNIX_NANO, point.start_unix_nano);
    wire::put_fixed64_fields(out, [value, time, start]);
    if point.start_unix_nano == 0 {
        out.truncate(out.len() - START_BYTES);
    }
}

/// Integers are sfixed64.
#[inline]
fn number_field(value: Number, as_int: u8, as_double: u8) -> (u8, u64) {
    match value {
        Number::Int(value) => (as_int, value as u64),
        Number::Double(value) => (as_double, value.to_bits()),
    }
}

/// What both kinds of histogram begin with: the window, count and sum, and the extremes if there are any.
#[inline]
fn put_summary(out: &mut Vec<u8>, point: &Point<'_>, count: u64, sum: f64, [min, max]: [(u8, f64); 2]) {
    let sum = (point::SUM, sum.to_bits());
    let time = (point::TIME_UNIX_NANO, point.time_unix_nano);
    let start = (point::START_TIME_UNIX_NANO, point.start_unix_nano);
    wire::put_fixed64_fields(out, [(point::COUNT, count), sum, time, start]);
    if point.start_unix_nano == 0 {
        out.truncate(out.len() - START_BYTES);
    }
    if count != 0 {
        wire::put_fixed64_fields(out, [(min.0, min.1.to_bits()), (max.0, max.1.to_bits())]);
    }
}

fn put_explicit(out: &mut Vec<u8>, point: &Point<'_>, cell: &ExplicitHistogram) {
    let extremes = [(histogram::MIN, cell.min), (histogram::MAX, cell.max)];
    put_summary(out, point, cell.count, cell.sum, extremes);
    wire::put_packed64_field(out, histogram::BUCKET_COUNTS, cell.counts.iter().copied());
    let bounds = cell.boundaries.iter().map(|bound| bound.to_bits());
    wire::put_packed64_field(out, histogram::EXPLICIT_BOUNDS, bounds);
}

fn put_exponential(out: &mut Vec<u8>, point: &Point<'_>, cell: &ExponentialHistogram) {
    let extremes = [(exponential::MIN, cell.min), (exponential::MAX, cell.max)];
    put_summary(out, point, cell.count, cell.sum, extremes);
    if cell.zero_count != 0 {
        wire::put_fixed64_fields(out, [(exponential::ZERO_COUNT, cell.zero_count)]);
    }
    put_sint32(out, exponential::SCALE, cell.scale);
    put_buckets(out, exponential::POSITIVE, &cell.positive);
    put_buckets(out, exponential::NEGATIVE, &cell.negative);
}

fn put_buckets(out: &mut Vec<u8>, tag: u8, buckets: &Buckets) {
    if buckets.counts.is_empty() {
        return;
    }
    let part = wire::open(out, tag, buckets.counts.len() + 8);
    put_sint32(out, buckets::OFFSET, buckets.offset);
    let counts = wire::open(out, buckets::BUCKET_COUNTS, buckets.counts.len());
    for count in &buckets.counts {
        wire::put_varint(out, *count);
    }
    wire::close(out, counts);
    wire::close(out, part);
}

/// Zigzag; nothing for 0.
fn put_sint32(out: &mut Vec<u8>, tag: u8, value: i32) {
    if value != 0 {
        wire::put_varint_field(out, tag, u64::from((value << 1 ^ value >> 31) as u32));
    }
}

fn put_exemplar(out: &mut Vec<u8>, tag: u8, exemplar: &Exemplar, attributes: Attributes<'_>) {
    let part = wire::open(out, tag, 48 + 2 * exemplar.filtered_attributes.len());
    let value = number_field(exemplar.value, exemplar::AS_INT, exemplar::AS_DOUBLE);
    wire::put_fixed64_fields(out, [(exemplar::TIME_UNIX_NANO, exemplar.time_unix_nano), value]);
    if exemplar.trace_id.is_valid() && exemplar.span_id.is_valid() {
        wire::put_bytes_field(out, exemplar::SPAN_ID, &exemplar.span_id.0);
        wire::put_bytes_field(out, exemplar::TRACE_ID, &exemplar.trace_id.0);
    }
    let filtered = Items::new(&exemplar.filtered_attributes);
    attributes.put_all(out, exemplar::FILTERED_ATTRIBUTES, filtered, u32::MAX);
    wire::close(out, part);
}
