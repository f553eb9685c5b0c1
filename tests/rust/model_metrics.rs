//! Metrics as a test describes them: handed out as a collection does on one side, stated as official protobuf structs on
//! the other. The fuzz crate includes this file too.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    self as proto, AggregationTemporality, exemplar, exponential_histogram_data_point, metric,
    number_data_point,
};
use pytracingx::accumulate::{Buckets, ExplicitHistogram, ExponentialHistogram};
use pytracingx::aggregate::{Data, Exemplar, Metric, Point, Value};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::intern::Interner;
use pytracingx::record::Number;

use crate::model::{self, Attributes};

#[derive(Debug, Clone)]
pub(crate) struct MetricModel {
    pub scope: u16,
    pub name: String,
    pub description: String,
    pub unit: String,
    pub data: Data,
    /// Of the kind that `data` says.
    pub points: Vec<PointModel>,
}

#[derive(Debug, Clone)]
pub(crate) struct PointModel {
    pub attributes: Attributes,
    pub start: u64,
    pub time: u64,
    pub value: PointValue,
    pub exemplars: Vec<ExemplarModel>,
}

#[derive(Debug, Clone)]
pub(crate) enum PointValue {
    Number(Number),
    Explicit(ExplicitHistogram),
    Exponential(ExponentialHistogram),
}

#[derive(Debug, Clone)]
pub(crate) struct ExemplarModel {
    pub time: u64,
    pub value: Number,
    /// All zero for none.
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub filtered: Attributes,
}

// ---------------------------------------------------------------------------------------------- as collected

fn items(attributes: &Attributes, strings: &Interner) -> Vec<u8> {
    let mut out = Vec::new();
    model::write_attributes(&mut out, strings, attributes);
    out
}

/// Hands the metric out.
pub(crate) fn hand_out(model: &MetricModel, strings: &Interner, to: &mut dyn FnMut(&Metric<'_>)) {
    let exemplar = |model: &ExemplarModel| Exemplar {
        time_unix_nano: model.time,
        value: model.value,
        trace_id: TraceId(model.trace_id),
        span_id: SpanId(model.span_id),
        filtered_attributes: items(&model.filtered, strings).into(),
    };
    let owned: Vec<(Vec<u8>, Vec<Exemplar>)> = model
        .points
        .iter()
        .map(|point| (items(&point.attributes, strings), point.exemplars.iter().map(exemplar).collect()))
        .collect();
    let points = model.points.iter().zip(&owned).map(|(point, (attributes, exemplars))| Point {
        attributes,
        start_unix_nano: point.start,
        time_unix_nano: point.time,
        value: match &point.value {
            PointValue::Number(number) => Value::Number(*number),
            PointValue::Explicit(cell) => Value::Explicit(cell),
            PointValue::Exponential(cell) => Value::Exponential(cell),
        },
        exemplars,
    });
    to(&Metric {
        scope: model.scope,
        name: &model.name,
        description: &model.description,
        unit: &model.unit,
        data: model.data,
        points: points.collect(),
    });
}

// ---------------------------------------------------------------------------------------------- as protobuf

fn key_values(attributes: &Attributes) -> Vec<KeyValue> {
    let own = attributes.iter().map(|(name, value)| (name, value));
    model::expected_attributes(own, u32::MAX, u32::MAX).0
}

fn expected_exemplar(model: &ExemplarModel) -> proto::Exemplar {
    let valid = model.trace_id != [0; 16] && model.span_id != [0; 8];
    proto::Exemplar {
        filtered_attributes: key_values(&model.filtered),
        time_unix_nano: model.time,
        span_id: if valid { model.span_id.to_vec() } else { Vec::new() },
        trace_id: if valid { model.trace_id.to_vec() } else { Vec::new() },
        value: Some(match model.value {
            Number::Int(value) => exemplar::Value::AsInt(value),
            Number::Double(value) => exemplar::Value::AsDouble(value),
        }),
    }
}

fn exemplars(point: &PointModel) -> Vec<proto::Exemplar> {
    point.exemplars.iter().map(expected_exemplar).collect()
}

fn number_point(point: &PointModel) -> proto::NumberDataPoint {
    let PointValue::Number(value) = point.value else { panic!("{point:?} is no number") };
    proto::NumberDataPoint {
        attributes: key_values(&point.attributes),
        start_time_unix_nano: point.start,
        time_unix_nano: point.time,
        exemplars: exemplars(point),
        flags: 0,
        value: Some(match value {
            Number::Int(value) => number_data_point::Value::AsInt(value),
            Number::Double(value) => number_data_point::Value::AsDouble(value),
        }),
    }
}

fn histogram_point(point: &PointModel) -> proto::HistogramDataPoint {
    let PointValue::Explicit(cell) = &point.value else { panic!("{point:?} has no explicit buckets") };
    proto::HistogramDataPoint {
        attributes: key_values(&point.attributes),
        start_time_unix_nano: point.start,
        time_unix_nano: point.time,
        count: cell.count,
        sum: Some(cell.sum),
        bucket_counts: cell.counts.clone(),
        explicit_bounds: cell.boundaries.to_vec(),
        exemplars: exemplars(point),
        flags: 0,
        min: (cell.count > 0).then_some(cell.min),
        max: (cell.count > 0).then_some(cell.max),
    }
}

fn expected_buckets(buckets: &Buckets) -> Option<exponential_histogram_data_point::Buckets> {
    let (offset, bucket_counts) = (buckets.offset, buckets.counts.clone());
    (!bucket_counts.is_empty()).then_some(exponential_histogram_data_point::Buckets { offset, bucket_counts })
}

fn exponential_point(point: &PointModel) -> proto::ExponentialHistogramDataPoint {
    let PointValue::Exponential(cell) = &point.value else { panic!("{point:?} has no exponential buckets") };
    proto::ExponentialHistogramDataPoint {
        attributes: key_values(&point.attributes),
        start_time_unix_nano: point.start,
        time_unix_nano: point.time,
        count: cell.count,
        sum: Some(cell.sum),
        scale: cell.scale,
        zero_count: cell.zero_count,
        positive: expected_buckets(&cell.positive),
        negative: expected_buckets(&cell.negative),
        flags: 0,
        exemplars: exemplars(point),
        min: (cell.count > 0).then_some(cell.min),
        max: (cell.count > 0).then_some(cell.max),
        zero_threshold: 0.0,
    }
}

/// What a metric must be on the wire, were there no bound on a message.
pub(crate) fn expected(model: &MetricModel) -> proto::Metric {
    let temporality = |delta: bool| {
        let which = if delta { AggregationTemporality::Delta } else { AggregationTemporality::Cumulative };
        which as i32
    };
    let points = model.points.iter();
    let data = match model.data {
        Data::Gauge => metric::Data::Gauge(proto::Gauge { data_points: points.map(number_point).collect() }),
        Data::Sum { monotonic, delta } => metric::Data::Sum(proto::Sum {
            data_points: points.map(number_point).collect(),
            aggregation_temporality: temporality(delta),
            is_monotonic: monotonic,
        }),
        Data::Histogram { delta } => metric::Data::Histogram(proto::Histogram {
            data_points: points.map(histogram_point).collect(),
            aggregation_temporality: temporality(delta),
        }),
        Data::ExponentialHistogram { delta } => {
            metric::Data::ExponentialHistogram(proto::ExponentialHistogram {
                data_points: points.map(exponential_point).collect(),
                aggregation_temporality: temporality(delta),
            })
        }
    };
    proto::Metric {
        name: model.name.clone(),
        description: model.description.clone(),
        unit: model.unit.clone(),
        metadata: Vec::new(),
        data: Some(data),
    }
}
