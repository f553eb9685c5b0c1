//! Metric points on the console as they look.

use pytracingx::accumulate::{Buckets, ExplicitHistogram, ExponentialHistogram};
use pytracingx::aggregate::{Data, Metric, Point, Value};
use pytracingx::attrs::{self, Text};
use pytracingx::clock::Timeline;
use pytracingx::config::ConsoleFormat;
use pytracingx::encode::{Lookup, console};
use pytracingx::intern::Interner;
use pytracingx::record::Number;

/// 2023-11-14 22:13:20 UTC.
const TIME: u64 = 1_700_000_000_000_000_000;

pub(crate) struct Given<'a> {
    pub name: &'a str,
    pub unit: &'a str,
    pub data: Data,
    pub value: Value<'a>,
    pub attributes: &'a [u8],
}

pub(crate) fn draw(given: &Given<'_>, format: ConsoleFormat, color: bool) -> String {
    let (strings, timeline) = (Interner::default(), Timeline::identity());
    let metric = Metric {
        scope: 0,
        name: given.name,
        description: "for people",
        unit: given.unit,
        data: given.data,
        points: vec![Point {
            attributes: given.attributes,
            start_unix_nano: TIME - 1,
            time_unix_nano: TIME,
            value: given.value,
            exemplars: &[],
        }],
    };
    let mut out = Vec::new();
    let lookup = Lookup { strings: &strings, timeline: &timeline };
    console::metric(&metric, &metric.points[0], lookup, format, color, &mut out);
    String::from_utf8(out).expect("console output is UTF-8")
}

/// `{model="m", stream=true}`.
fn labels() -> Vec<u8> {
    let mut items = Vec::new();
    attrs::put_attribute(&mut items, Text::Inline(b"model"), attrs::Value::Str(b"m"));
    attrs::put_attribute(&mut items, Text::Inline(b"stream"), attrs::Value::Bool(true));
    items
}

fn sum(value: Number, attributes: &[u8]) -> Given<'_> {
    let data = Data::Sum { monotonic: true, delta: false };
    Given { name: "llm.tokens", unit: "{token}", data, value: Value::Number(value), attributes }
}

fn gauge(value: Number) -> Given<'static> {
    Given { name: "kv.used", unit: "", data: Data::Gauge, value: Value::Number(value), attributes: &[] }
}

fn explicit(boundaries: &[f64], counts: &[u64], sum: f64, min: f64, max: f64) -> ExplicitHistogram {
    let count = counts.iter().sum();
    ExplicitHistogram { boundaries: boundaries.into(), counts: counts.to_vec(), count, sum, min, max }
}

/// Twelve times to first token.
fn ttft() -> ExplicitHistogram {
    explicit(&[0.1, 0.25, 0.5, 1.0], &[2, 8, 0, 1, 1], 3.4, 0.05, 1.5)
}

fn histogram<'a>(histogram: &'a ExplicitHistogram, attributes: &'a [u8]) -> Given<'a> {
    let data = Data::Histogram { delta: false };
    Given { name: "llm.ttft", unit: "s", data, value: Value::Explicit(histogram), attributes }
}

/// Scale 0: the boundaries are powers of two.
fn powers() -> ExponentialHistogram {
    ExponentialHistogram {
        scale: 0,
        count: 10,
        sum: 13.5,
        min: -3.5,
        max: 7.0,
        zero_count: 2,
        positive: Buckets { offset: 0, counts: vec![4, 0, 1] },
        negative: Buckets { offset: -1, counts: vec![1, 0, 2] },
    }
}

fn exponential(histogram: &ExponentialHistogram) -> Given<'_> {
    let data = Data::ExponentialHistogram { delta: true };
    Given { name: "drift", unit: "ms", data, value: Value::Exponential(histogram), attributes: &[] }
}

#[test]
fn compact_is_one_line_a_point() {
    use ConsoleFormat::Compact;
    let labels = labels();
    let at = "2023-11-14T22:13:20.000000Z INFO  pytracingx: metric";
    assert_eq!(
        draw(&sum(Number::Int(5), &labels), Compact, false),
        format!("{at} llm.tokens sum {{token}} sum=5 {{model=\"m\",stream=true}}\n")
    );
    assert_eq!(
        draw(&gauge(Number::Double(0.75)), Compact, false),
        format!("{at} kv.used gauge value=0.75\n")
    );
    assert_eq!(
        draw(&histogram(&ttft(), &labels), Compact, false),
        format!(
            "{at} llm.ttft histogram s count=12 sum=3.4 min=0.05 max=1.5 p50≈0.175 p99≈1.44 \
             {{model=\"m\",stream=true}}\n"
        )
    );
    assert_eq!(
        draw(&exponential(&powers()), Compact, false),
        format!("{at} drift exponential_histogram ms count=10 sum=13.5 min=-3.5 max=7.0 p50≈0.0 p99≈6.7\n")
    );
    let none = explicit(&[1.0], &[0, 0], 0.0, f64::INFINITY, f64::NEG_INFINITY);
    assert_eq!(
        draw(&histogram(&none, &[]), Compact, false),
        format!("{at} llm.ttft histogram s count=0 sum=0.0\n")
    );
}

#[test]
fn pretty_draws_the_buckets() {
    let expected = r#"2023-11-14T22:13:20.000000Z INFO  pytracingx: metric llm.ttft histogram s
    temporality: cumulative
    count: 12
    sum: 3.4
    min: 0.05
    max: 1.5
    p50: ≈0.175
    p99: ≈1.44
    model: "m"
    stream: true
    ≤  0.1 ▇▇▇▇▇▇▇▇▇▇ 2
    ≤ 0.25 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ 8
    ≤  1.0 ▇▇▇▇▇ 1
    ≤ +Inf ▇▇▇▇▇ 1
"#;
    assert_eq!(draw(&histogram(&ttft(), &labels()), ConsoleFormat::Pretty, false), expected);

    let expected = r#"2023-11-14T22:13:20.000000Z INFO  pytracingx: metric drift exponential_histogram ms
    temporality: delta
    count: 10
    sum: 13.5
    min: -3.5
    max: 7.0
    p50: ≈0.0
    p99: ≈6.7
    ≤ -2.0 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ 2
    ≤ -0.5 ▇▇▇▇▇▇▇▇▇▇ 1
    ≤  0.0 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ 2
    ≤  2.0 ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ 4
    ≤  8.0 ▇▇▇▇▇▇▇▇▇▇ 1
"#;
    assert_eq!(draw(&exponential(&powers()), ConsoleFormat::Pretty, false), expected);

    let expected = r#"2023-11-14T22:13:20.000000Z INFO  pytracingx: metric kv.used gauge
    value: 3
"#;
    assert_eq!(draw(&gauge(Number::Int(3)), ConsoleFormat::Pretty, false), expected);
}

#[test]
fn json_is_one_object_a_line() {
    use ConsoleFormat::Json;
    let at = r#"{"timestamp":"2023-11-14T22:13:20.000000Z","level":"INFO","kind":"metric","name""#;
    assert_eq!(
        draw(&sum(Number::Int(5), &labels()), Json, true),
        format!(
            r#"{at}:"llm.tokens","logger":"pytracingx","unit":"{{token}}","type":"sum","temporality":"cumulative","value":5,"attributes":{{"model":"m","stream":true}}}}"#
        ) + "\n"
    );
    assert_eq!(
        draw(&gauge(Number::Double(f64::NAN)), Json, false),
        format!(
            r#"{at}:"kv.used","logger":"pytracingx","unit":"","type":"gauge","value":"NaN","attributes":{{}}}}"#
        ) + "\n"
    );
    assert_eq!(
        draw(&histogram(&ttft(), &[]), Json, false),
        format!(
            concat!(
                r#"{}:"llm.ttft","logger":"pytracingx","unit":"s","type":"histogram","temporality":"cumulative","#,
                r#""count":12,"sum":3.4,"min":0.05,"max":1.5,"#,
                r#""buckets":{{"bounds":[0.1,0.25,0.5,1.0],"counts":[2,8,0,1,1]}},"attributes":{{}}}}"#,
                "\n"
            ),
            at
        )
    );
    assert_eq!(
        draw(&exponential(&powers()), Json, false),
        format!(
            concat!(
                r#"{}:"drift","logger":"pytracingx","unit":"ms","type":"exponential_histogram","temporality":"delta","#,
                r#""count":10,"sum":13.5,"min":-3.5,"max":7.0,"buckets":{{"scale":0,"zero_count":2,"#,
                r#""positive":{{"offset":0,"counts":[4,0,1]}},"negative":{{"offset":-1,"counts":[1,0,2]}}}},"#,
                r#""attributes":{{}}}}"#,
                "\n"
            ),
            at
        )
    );
}

#[test]
fn color_paints_the_name() {
    assert_eq!(
        draw(&gauge(Number::Int(3)), ConsoleFormat::Compact, true),
        "\x1b[2m2023-11-14T22:13:20.000000Z\x1b[0m \x1b[32mINFO \x1b[0m \x1b[2mpytracingx:\x1b[0m metric \
         \x1b[1mkv.used\x1b[0m gauge value=3\n"
    );
}

/// The counts that stand behind the bars, and how long these are.
fn bars(given: &Given<'_>) -> Vec<(u64, usize)> {
    let drawn = draw(given, ConsoleFormat::Pretty, false);
    let rows = drawn.lines().filter(|line| line.starts_with("    ≤"));
    rows.map(|row| {
        let count = row.rsplit(' ').next().expect("a count").parse().expect("a number");
        (count, row.matches('▇').count())
    })
    .collect()
}

#[test]
fn many_buckets_share_rows() {
    let boundaries: Vec<f64> = (1..100).map(f64::from).collect();
    let every = explicit(&boundaries, &[3; 100], 1.0, 0.5, 99.5);
    let rows = bars(&histogram(&every, &[]));
    assert_eq!(rows.iter().map(|(count, _)| count).sum::<u64>(), 300);
    assert_eq!(rows.len(), 7, "by 16: {rows:?}");

    let both_sides = ExponentialHistogram {
        scale: 20,
        count: 321,
        sum: 0.0,
        min: -2.0,
        max: 2.0,
        zero_count: 1,
        positive: Buckets { offset: -80, counts: vec![1; 160] },
        negative: Buckets { offset: i32::MIN, counts: vec![1; 160] },
    };
    let rows = bars(&exponential(&both_sides));
    assert_eq!(rows.iter().map(|(count, _)| count).sum::<u64>(), 321);
    assert!((3..=12).contains(&rows.len()), "{rows:?}");
}

#[test]
fn bars_show_proportion_and_never_vanish() {
    let uneven = explicit(&[1.0, 2.0, 3.0], &[u64::MAX / 2, 1, 0, u64::MAX / 4], 1.0, 0.0, 9.0);
    let rows = bars(&histogram(&uneven, &[]));
    assert_eq!(rows.iter().map(|(_, length)| *length).collect::<Vec<_>>(), [40, 1, 20]);
}

/// A percentile of a single value is that value, wherever its bucket ends.
#[test]
fn percentiles_stay_within_what_was_measured() {
    let one = explicit(&[10.0, 20.0], &[0, 1, 0], 12.5, 12.5, 12.5);
    let line = draw(&histogram(&one, &[]), ConsoleFormat::Compact, false);
    assert!(line.contains(" p50≈12.5 p99≈12.5\n"), "{line}");
    let unbounded = explicit(&[], &[100], 150.0, 1.0, 2.0);
    let line = draw(&histogram(&unbounded, &[]), ConsoleFormat::Compact, false);
    assert!(line.contains(" p50≈1.5 p99≈1.99\n"), "{line}");
}
