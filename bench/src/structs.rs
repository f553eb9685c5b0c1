//! The rival of the OTLP encoders: opentelemetry-proto's structs, built from the same records.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric as ProtoMetric, NumberDataPoint, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use pytracingx::aggregate::{self, Metric, Point};
use pytracingx::attrs::{Item, Items, Text, Value};
use pytracingx::batch::RecordRef;
use pytracingx::intern::{Interner, Scope};
use pytracingx::record::{Number, severity_name};

pub(crate) fn proto_scope(strings: &Interner) -> InstrumentationScope {
    let Scope { name, version, .. } = strings.scope(0);
    InstrumentationScope { name, version, ..Default::default() }
}

pub(crate) fn proto_resource() -> ProtoResource {
    let service = any_value::Value::StringValue("bench".into());
    ProtoResource { attributes: vec![key_value("service.name".into(), service)], ..Default::default() }
}

pub(crate) fn build_span(record: RecordRef<'_>, strings: &Interner) -> Span {
    let header = record.header;
    let parent = header.parent_span_id;
    Span {
        trace_id: header.trace_id.0.to_vec(),
        span_id: header.span_id.0.to_vec(),
        parent_span_id: if parent.is_valid() { parent.0.to_vec() } else { Vec::new() },
        flags: u32::from(header.trace_flags()) | 0x100,
        name: string(strings.resolve(header.name)),
        kind: header.span_kind() as i32,
        start_time_unix_nano: header.start,
        end_time_unix_nano: header.end,
        attributes: build_attributes(record.payload, strings),
        status: None::<Status>,
        ..Default::default()
    }
}

pub(crate) fn build_log(record: RecordRef<'_>, strings: &Interner) -> LogRecord {
    let header = record.header;
    let body = Items::new(record.payload).find_map(|item| match item {
        Item::Body(Value::Str(bytes)) => Some(any_value::Value::StringValue(string(bytes))),
        _ => None,
    });
    LogRecord {
        time_unix_nano: header.start,
        observed_time_unix_nano: header.end,
        severity_number: header.detail.into(),
        severity_text: severity_name(header.detail).into(),
        body: Some(AnyValue { value: body }),
        attributes: build_attributes(record.payload, strings),
        flags: header.trace_flags().into(),
        trace_id: header.trace_id.0.to_vec(),
        span_id: header.span_id.0.to_vec(),
        ..Default::default()
    }
}

pub(crate) fn build_sum(metric: &Metric<'_>, strings: &Interner) -> ProtoMetric {
    let point = |point: &Point<'_>| NumberDataPoint {
        attributes: build_attributes(point.attributes, strings),
        start_time_unix_nano: point.start_unix_nano,
        time_unix_nano: point.time_unix_nano,
        value: match point.value {
            aggregate::Value::Number(Number::Int(value)) => Some(number_data_point::Value::AsInt(value)),
            other => unreachable!("the metric holds no {other:?}"),
        },
        ..Default::default()
    };
    let data = metric::Data::Sum(Sum {
        data_points: metric.points.iter().map(point).collect(),
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
        is_monotonic: true,
    });
    ProtoMetric {
        name: metric.name.into(),
        description: metric.description.into(),
        unit: metric.unit.into(),
        data: Some(data),
        ..Default::default()
    }
}

fn build_attributes(items: &[u8], strings: &Interner) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(4);
    for item in Items::new(items) {
        if let Item::Attribute(attribute) = item {
            let key = match attribute.key {
                Text::Id(id) => string(strings.resolve(id)),
                Text::Inline(bytes) => string(bytes),
            };
            let value = match attribute.value {
                Value::Str(bytes) => any_value::Value::StringValue(string(bytes)),
                Value::Int(number) => any_value::Value::IntValue(number),
                Value::Double(number) => any_value::Value::DoubleValue(number),
                other => unreachable!("the items hold no {other:?}"),
            };
            attributes.push(key_value(key, value));
        }
    }
    attributes
}

fn key_value(key: String, value: any_value::Value) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// As cheap as a `String` of our bytes can be had.
pub(crate) fn string(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).expect("the batch holds UTF-8").to_owned()
}
