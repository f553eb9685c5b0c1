//! Proptest strategies for spans, log records, metrics and limits.

use proptest::prelude::*;
use pytracingx::accumulate::{Buckets, ExplicitHistogram, ExponentialHistogram};
use pytracingx::aggregate::Data;
use pytracingx::limits::{LogLimits, SpanLimits};
use pytracingx::record::{Number, SpanKind, StatusCode};

use crate::model::{self, Item, Name, SpanModel, Value};
use crate::model_logs::LogModel;
use crate::model_metrics::{ExemplarModel, MetricModel, PointModel, PointValue};

/// Some ASCII, some of every UTF-8 length, around the lengths at which sizes take another byte or another path.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z.]{0,40}",
        2 => "[aé€😀]{0,12}",
        1 => (120_usize..135).prop_map(|len| "x".repeat(len)),
        1 => (16_370_usize..16_390).prop_map(|len| "y".repeat(len)),
    ]
}

/// Not empty: an empty key is written out, where prost leaves it away.
fn name() -> impl Strategy<Value = Name> {
    (text(), any::<bool>()).prop_map(|(text, interned)| Name { text: text + "k", interned })
}

/// Every length of a varint.
fn int() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Empty),
        any::<bool>().prop_map(Value::Bool),
        int().prop_map(Value::Int),
        any::<u64>().prop_map(|bits| Value::Double(f64::from_bits(bits))),
        text().prop_map(Value::Str),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((name(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

pub(crate) fn attributes() -> impl Strategy<Value = model::Attributes> {
    prop::collection::vec((name(), value()), 0..5)
}

/// Counts that a limit and what recording dropped can push over the edge.
fn dropped() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 1..300_u32, Just(u32::MAX)]
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        6 => (name(), value()).prop_map(|(name, value)| Item::Attribute(name, value)),
        1 => text().prop_map(Item::Name),
        1 => text().prop_map(Item::TraceState),
        1 => text().prop_map(Item::Status),
        2 => (name(), 1_u64.., any::<bool>(), dropped(), attributes()).prop_map(
            |(name, time, explicit, dropped, attributes)| Item::Event { name, time, explicit, dropped, attributes }
        ),
        2 => (any::<[u8; 16]>(), any::<[u8; 8]>(), 0..0x400_u32, text(), dropped(), attributes()).prop_map(
            |(trace_id, span_id, flags, trace_state, dropped, attributes)| {
                Item::Link { trace_id, span_id, flags, trace_state, dropped, attributes }
            }
        ),
        1 => text().prop_map(Item::SeverityText),
        1 => value().prop_map(Item::Body),
        1 => (dropped(), dropped(), dropped())
            .prop_map(|(attributes, events, links)| Item::Dropped { attributes, events, links }),
    ]
}

pub(crate) fn span() -> impl Strategy<Value = SpanModel> {
    let kinds =
        [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
    let statuses = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];
    let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), prop::option::of(prop::array::uniform8(1_u8..)));
    let what = (prop::sample::select(kinds.to_vec()), prop::sample::select(statuses.to_vec()));
    let flags = (any::<bool>(), any::<u8>(), any::<bool>());
    let rest = (0..4_u16, 0..4_u16, prop::option::of(text()), 1_u64.., prop_oneof![Just(0), any::<u64>()]);
    (ids, what, flags, rest, prop::collection::vec(item(), 0..12)).prop_map(
        |(
            (trace_id, span_id, parent),
            (kind, status),
            (remote, trace_flags, oversize),
            (mask, scope, name, start, duration),
            items,
        )| SpanModel {
            mask,
            scope,
            trace_id,
            span_id,
            parent,
            remote,
            trace_flags,
            kind,
            status,
            name,
            start,
            duration,
            items,
            oversize,
        },
    )
}

pub(crate) fn limits() -> impl Strategy<Value = SpanLimits> {
    let count = || prop_oneof![Just(128_u32), 0..4_u32];
    (count(), count(), count(), count(), count(), prop_oneof![Just(u32::MAX), 0..20_u32]).prop_map(
        |(attributes, events, links, attributes_per_event, attributes_per_link, value_length)| SpanLimits {
            attributes,
            events,
            links,
            attributes_per_event,
            attributes_per_link,
            value_length,
        },
    )
}

/// None for every fourth or so.
fn id<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    prop_oneof![1 => Just([0; N]), 3 => any::<[u8; N]>()]
}

pub(crate) fn log() -> impl Strategy<Value = LogModel> {
    let times = (1_u64.., any::<bool>(), 1_u64..);
    let context = (id(), id(), prop_oneof![Just(0_u8), any::<u8>()]);
    let items = prop::collection::vec(item(), 0..8);
    (0..4_u16, 0..=24_u8, times, context, items, any::<bool>()).prop_map(
        |(scope, severity, (time, explicit, observed), (trace_id, span_id, trace_flags), items, oversize)| {
            LogModel {
                scope,
                severity,
                time,
                explicit,
                observed,
                trace_id,
                span_id,
                trace_flags,
                items,
                oversize,
            }
        },
    )
}

pub(crate) fn log_limits() -> impl Strategy<Value = LogLimits> {
    let count = prop_oneof![Just(128_u32), 0..4_u32];
    (count, prop_oneof![Just(u32::MAX), 0..20_u32])
        .prop_map(|(attributes, value_length)| LogLimits { attributes, value_length })
}

fn double() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits)
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![int().prop_map(Number::Int), double().prop_map(Number::Double)]
}

/// A count of every length.
fn count() -> impl Strategy<Value = u64> {
    int().prop_map(|value| value as u64)
}

/// Always with measurements: an empty count is written out, where prost leaves it away.
fn explicit() -> impl Strategy<Value = ExplicitHistogram> {
    let counts = prop::collection::vec(count(), 1..40);
    (counts, 1_u64.., double(), double(), double()).prop_map(|(counts, count, sum, min, max)| {
        let boundaries = (1..counts.len()).map(|at| at as f64 / 3.0).collect();
        ExplicitHistogram { boundaries, counts, count, sum, min, max }
    })
}

fn buckets() -> impl Strategy<Value = Buckets> {
    (any::<i32>(), 0..32_u32, prop::collection::vec(count(), 0..200))
        .prop_map(|(offset, shift, counts)| Buckets { offset: offset >> shift, counts })
}

fn exponential() -> impl Strategy<Value = ExponentialHistogram> {
    let doubles = (double(), double(), double());
    let zeros = prop_oneof![Just(0), count()];
    (-10..=20_i32, 1_u64.., doubles, zeros, buckets(), buckets()).prop_map(
        |(scale, count, (sum, min, max), zero_count, positive, negative)| ExponentialHistogram {
            scale,
            count,
            sum,
            min,
            max,
            zero_count,
            positive,
            negative,
        },
    )
}

fn exemplar() -> impl Strategy<Value = ExemplarModel> {
    (1_u64.., number(), id(), id(), attributes()).prop_map(|(time, value, trace_id, span_id, filtered)| {
        ExemplarModel { time, value, trace_id, span_id, filtered }
    })
}

fn points<V: std::fmt::Debug>(
    value: impl Strategy<Value = V>,
    wrap: fn(V) -> PointValue,
) -> impl Strategy<Value = Vec<PointModel>> {
    let start = prop_oneof![Just(0), 1_u64..];
    let exemplars = prop::collection::vec(exemplar(), 0..3);
    let point = (attributes(), start, 1_u64.., value, exemplars);
    let point = point.prop_map(move |(attributes, start, time, value, exemplars)| PointModel {
        attributes,
        start,
        time,
        value: wrap(value),
        exemplars,
    });
    prop::collection::vec(point, 1..5)
}

pub(crate) fn metric() -> impl Strategy<Value = MetricModel> {
    let sums = (any::<bool>(), any::<bool>(), points(number(), PointValue::Number))
        .prop_map(|(monotonic, delta, points)| (Data::Sum { monotonic, delta }, points));
    let gauges = points(number(), PointValue::Number).prop_map(|points| (Data::Gauge, points));
    let explicit = (any::<bool>(), points(explicit(), PointValue::Explicit))
        .prop_map(|(delta, points)| (Data::Histogram { delta }, points));
    let exponential = (any::<bool>(), points(exponential(), PointValue::Exponential))
        .prop_map(|(delta, points)| (Data::ExponentialHistogram { delta }, points));
    let what = prop_oneof![sums, gauges, explicit, exponential];
    (0..4_u16, text(), text(), text(), what).prop_map(|(scope, name, description, unit, (data, points))| {
        MetricModel { scope, name, description, unit, data, points }
    })
}
