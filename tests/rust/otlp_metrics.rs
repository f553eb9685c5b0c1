//! The metric encoder against the official structs decoded by prost: every kind of point, exemplars, cutting of metrics
//! that are too large, counts of data points.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{Metric as ProtoMetric, ResourceMetrics, ScopeMetrics, metric};
use proptest::prelude::*;
use prost::Message;
use pytracingx::accumulate::{ExplicitHistogram, ExponentialHistogram};
use pytracingx::aggregate::Data;
use pytracingx::clock::Timeline;
use pytracingx::encode::Lookup;
use pytracingx::encode::chunk::Chunk;
use pytracingx::encode::otlp::metrics::{MAX_METRIC_BYTES, MetricEncoder};
use pytracingx::encode::{otlp, wire};
use pytracingx::intern::Interner;
use pytracingx::record::Number;

use crate::model::{Name, Value};
use crate::model_metrics::{self, ExemplarModel, MetricModel, PointModel, PointValue};
use crate::otlp::{assert_same, resource, scopes, whole};
use crate::strategies::metric;

fn encode(models: &[MetricModel], strings: &Interner) -> Chunk {
    let timeline = Timeline::identity();
    let lookup = Lookup { strings, timeline: &timeline };
    let mut encoder = MetricEncoder::default();
    for model in models {
        model_metrics::hand_out(model, strings, &mut |metric| encoder.put(metric, lookup));
    }
    let chunk = encoder.finish();
    assert!(encoder.finish().is_empty());
    chunk
}

fn decode(chunk: Chunk) -> Vec<ProtoMetric> {
    let mut body = Vec::new();
    otlp::request(&resource().0, &[whole(chunk)], &mut body);
    let request = ExportMetricsServiceRequest::decode(&*body).expect("a request that decodes");
    let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

fn key(text: &str) -> Name {
    Name { text: text.into(), interned: false }
}

fn point(value: PointValue) -> PointModel {
    PointModel { attributes: vec![], start: 1, time: 2, value, exemplars: vec![] }
}

fn of(data: Data, points: Vec<PointModel>) -> MetricModel {
    MetricModel { scope: 0, name: "m".into(), description: String::new(), unit: String::new(), data, points }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn metrics_decode_to_what_was_collected(models in prop::collection::vec(metric(), 0..5)) {
        let is_one_message = |model| model_metrics::expected(model).encoded_len() < MAX_METRIC_BYTES;
        prop_assume!(models.iter().all(is_one_message)); // the others have a test of their own
        let strings = Interner::default();
        let scopes = scopes(&strings);
        let chunk = encode(&models, &strings);
        let points = models.iter().map(|model| model.points.len() as u64);
        prop_assert_eq!(chunk.count(0..chunk.len()), points.sum::<u64>());
        let mut body = vec![0xff];
        otlp::request(&resource().0, &[whole(chunk)], &mut body);

        let scope_metrics = models.chunk_by(|a, b| a.scope == b.scope).map(|run| {
            let (scope, schema_url) = scopes[usize::from(run[0].scope)].clone();
            let metrics = run.iter().map(model_metrics::expected).collect();
            ScopeMetrics { scope: Some(scope), metrics, schema_url }
        });
        let scope_metrics: Vec<_> = scope_metrics.collect();
        let resource_metrics = if models.is_empty() {
            vec![]
        } else {
            vec![ResourceMetrics { resource: Some(resource().1), scope_metrics, ..Default::default() }]
        };
        assert_same(&body, &ExportMetricsServiceRequest { resource_metrics });
    }

    #[test]
    fn packed_words_are_those_of_prost(words in prop::collection::vec(any::<u64>(), 0..40)) {
        let mut ours = vec![9];
        wire::put_packed64_field(&mut ours, wire::tag(6, wire::LEN), words.iter().copied());
        let mut theirs = vec![9];
        prost::encoding::fixed64::encode_packed(6, &words, &mut theirs);
        prop_assert_eq!(ours, theirs);
    }
}

/// Each byte written out from the `.proto` files, not from any encoder.
#[test]
fn golden_sum() {
    let model = MetricModel {
        scope: 0,
        name: "tokens".into(),
        description: "d".into(),
        unit: "{token}".into(),
        data: Data::Sum { monotonic: true, delta: true },
        points: vec![PointModel {
            attributes: vec![(Name { text: "k".into(), interned: true }, Value::Bool(true))],
            start: 1,
            time: 2,
            value: PointValue::Number(Number::Int(-1)),
            exemplars: vec![ExemplarModel {
                time: 3,
                value: Number::Double(1.0),
                trace_id: [0x11; 16],
                span_id: [0x22; 8],
                filtered: vec![],
            }],
        }],
    };
    let chunk = encode(&[model], &Interner::default());

    let mut expected = Vec::new();
    expected.extend([0x12, 0x70]); // metrics, 112 bytes
    expected.extend(b"\x0a\x06tokens\x12\x01d\x1a\x07{token}");
    expected.extend([0x3a, 0x5a]); // sum, 90
    expected.extend([0x10, 1, 0x18, 1]); // aggregation_temporality: delta; is_monotonic
    expected.extend([0x0a, 0x54]); // data_points, 84
    expected.extend([0x31, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]); // as_int
    expected.extend([0x19, 2, 0, 0, 0, 0, 0, 0, 0]); // time_unix_nano
    expected.extend([0x11, 1, 0, 0, 0, 0, 0, 0, 0]); // start_time_unix_nano
    expected.extend(b"\x3a\x07\x0a\x01k\x12\x02\x10\x01"); // attributes: k = true
    expected.extend([0x2a, 0x2e]); // exemplars, 46
    expected.extend([0x11, 3, 0, 0, 0, 0, 0, 0, 0]); // time_unix_nano
    expected.extend([0x19, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]); // as_double: 1
    expected.extend([0x22, 8]); // span_id
    expected.extend([0x22; 8]);
    expected.extend([0x2a, 16]); // trace_id
    expected.extend([0x11; 16]);
    assert_eq!(chunk.bytes, expected);
    assert_eq!((chunk.ends, chunk.points), (vec![expected.len()], vec![1]));
}

/// Of a series that nothing was measured in, neither the smallest nor the largest measurement is known.
#[test]
fn empty_histograms_have_a_sum_but_no_extremes() {
    let explicit = ExplicitHistogram { min: 7.0, max: 7.0, counts: vec![0], ..Default::default() };
    let exponential = ExponentialHistogram { min: 7.0, max: 7.0, ..Default::default() };
    let models = [
        of(Data::Histogram { delta: false }, vec![point(PointValue::Explicit(explicit))]),
        of(Data::ExponentialHistogram { delta: false }, vec![point(PointValue::Exponential(exponential))]),
    ];
    let decoded = decode(encode(&models, &Interner::default()));
    assert_eq!(decoded, models.iter().map(model_metrics::expected).collect::<Vec<_>>());
    let Some(metric::Data::Histogram(histogram)) = &decoded[0].data else { panic!("{decoded:?}") };
    let found = &histogram.data_points[0];
    assert_eq!((found.count, found.sum, found.min, found.max), (0, Some(0.0), None, None));
    let Some(metric::Data::ExponentialHistogram(histogram)) = &decoded[1].data else { panic!("{decoded:?}") };
    let found = &histogram.data_points[0];
    assert_eq!((found.count, found.sum, found.min, found.max), (0, Some(0.0), None, None));
    assert_eq!((&found.positive, &found.negative), (&None, &None));
}

/// 10,000 series: several messages, each of the same name and kind, none much larger than the bound, no point lost or
/// doubled.
#[test]
fn a_large_metric_is_cut_into_messages() {
    let series = |number: i64| PointModel {
        attributes: vec![(key("series"), Value::Str(format!("{number:060}")))],
        ..point(PointValue::Number(Number::Int(number)))
    };
    let mut model = of(Data::Sum { monotonic: false, delta: false }, (0..10_000).map(series).collect());
    model.unit = "By".into();
    let chunk = encode(&[of(Data::Gauge, vec![series(-1)]), model.clone()], &Interner::default());
    assert_eq!(chunk.runs.len(), 1);
    assert_eq!(chunk.points.len(), chunk.len());
    assert_eq!((chunk.points[0], chunk.count(1..chunk.len())), (1, 10_000));
    for record in 1..chunk.len() {
        let bytes = chunk.size_of(record..record + 1);
        assert!(bytes < MAX_METRIC_BYTES + 200, "{bytes}");
        assert!(record == chunk.len() - 1 || bytes >= MAX_METRIC_BYTES, "{bytes}");
    }
    let points = chunk.points.clone();
    let decoded = decode(chunk);
    assert!(decoded.len() > 4, "{}", decoded.len());
    let mut rest = model.points.as_slice();
    for (message, points) in decoded[1..].iter().zip(&points[1..]) {
        let (here, after) = rest.split_at(*points as usize);
        assert_eq!(
            *message,
            model_metrics::expected(&MetricModel { points: here.to_vec(), ..model.clone() })
        );
        rest = after;
    }
    assert!(rest.is_empty());
}

/// The deepest value sits in an exemplar's attribute: what official decoders would refuse is cut there too.
#[test]
fn depth_is_cut_where_decoders_give_up() {
    let deep = (0..200).fold(Value::Int(7), |value, _| Value::Array(vec![value]));
    let exemplar = ExemplarModel {
        time: 1,
        value: Number::Int(1),
        trace_id: [1; 16],
        span_id: [1; 8],
        filtered: vec![(key("k"), deep)],
    };
    let point = PointModel { exemplars: vec![exemplar], ..point(PointValue::Number(Number::Int(1))) };
    let decoded = decode(encode(&[of(Data::Gauge, vec![point])], &Interner::default()));
    let Some(metric::Data::Gauge(gauge)) = &decoded[0].data else { panic!("{decoded:?}") };
    let mut value = gauge.data_points[0].exemplars[0].filtered_attributes[0].value.clone();
    let mut depth = 0;
    while let Some(any_value::Value::ArrayValue(mut array)) = value.and_then(|any| any.value) {
        (value, depth) = (array.values.pop(), depth + 1);
    }
    assert_eq!(depth, 46);
}
