//! Metric points, one entry each. Percentiles are estimates: as if values were spread evenly within their buckets.

use super::{Head, Layout};
use crate::accumulate::{Buckets, ExplicitHistogram, ExponentialHistogram};
use crate::aggregate::{self, Data, Metric, Point};
use crate::attrs::{Items, Value};
use crate::config::ConsoleFormat;
use crate::encode::Lookup;
use crate::record::Number;

/// Rows of a drawn histogram at most; neighbouring buckets share one if there are more.
const MAX_ROWS: usize = 12;
/// Blocks of its longest bar.
const BAR: u64 = 40;

/// Appends one point of a metric. JSON adds `unit`, `type` (`sum`, `gauge`, `histogram`, `exponential_histogram`),
/// `temporality` (not of gauges), and `value` or `count`, `sum`, `min`, `max` (not when nothing was counted) and `buckets`:
/// `bounds` and `counts`, or `scale`, `zero_count`, `positive` and `negative` with `offset` and `counts`. `pretty` draws the
/// buckets, each labelled with its upper bound.
pub fn metric(
    metric: &Metric<'_>,
    point: &Point<'_>,
    lookup: Lookup<'_>,
    format: ConsoleFormat,
    color: bool,
    out: &mut Vec<u8>,
) {
    let mut text = Layout::new(lookup, format, color, out);
    text.begin(&Head {
        unix_nano: point.time_unix_nano,
        level: "INFO",
        kind: "metric",
        scope: metric.scope,
        subject: Value::Str(metric.name.as_bytes()),
    });
    text.type_and_unit(metric);
    match point.value {
        aggregate::Value::Number(number) => {
            text.field(match metric.data {
                Data::Sum { .. } if format != ConsoleFormat::Json => "sum",
                _ => "value",
            });
            text.number(number);
        }
        aggregate::Value::Explicit(histogram) => text.histogram(histogram),
        aggregate::Value::Exponential(histogram) => text.histogram(histogram),
    }
    let attributes = Items::new(point.attributes);
    if format == ConsoleFormat::Compact {
        text.label_set(attributes);
    } else {
        text.attributes(attributes);
    }
    if format == ConsoleFormat::Pretty {
        match point.value {
            aggregate::Value::Number(_) => {}
            aggregate::Value::Explicit(histogram) => text.bars(histogram),
            aggregate::Value::Exponential(histogram) => text.bars(histogram),
        }
    }
    out.push(b'\n');
}

impl<'a> Layout<'a, '_> {
    fn type_and_unit(&mut self, metric: &Metric<'_>) {
        let (kind, delta) = match metric.data {
            Data::Sum { delta, .. } => ("sum", Some(delta)),
            Data::Gauge => ("gauge", None),
            Data::Histogram { delta } => ("histogram", Some(delta)),
            Data::ExponentialHistogram { delta } => ("exponential_histogram", Some(delta)),
        };
        if self.format == ConsoleFormat::Json {
            self.field("unit");
            self.quoted(metric.unit.as_bytes());
            self.word("type", kind);
        } else {
            self.fmt(format_args!(" {kind}"));
            if !metric.unit.is_empty() {
                self.fmt(format_args!(" "));
                self.bare(metric.unit.as_bytes());
            }
        }
        if let (Some(delta), ConsoleFormat::Pretty | ConsoleFormat::Json) = (delta, self.format) {
            self.word("temporality", if delta { "delta" } else { "cumulative" });
        }
    }

    fn number(&mut self, number: Number) {
        self.value(number.into(), 0);
    }

    fn histogram(&mut self, histogram: &impl Histogram) {
        let Summary { count, sum, min, max } = histogram.summary();
        self.field("count");
        self.fmt(format_args!("{count}"));
        self.field("sum");
        self.number(Number::Double(sum));
        if count > 0 {
            for (key, value) in [("min", min), ("max", max)] {
                self.field(key);
                self.number(Number::Double(value));
            }
        }
        if self.format == ConsoleFormat::Json {
            self.field("buckets");
            histogram.write_json(self);
        } else if count > 0 {
            let buckets = histogram.buckets(0);
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                match self.format {
                    ConsoleFormat::Pretty => self.fmt(format_args!("\n    {name}: ≈")),
                    _ => self.fmt(format_args!(" {name}≈")),
                }
                self.number(Number::Double(three_digits(quantile(&buckets, share, min, max))));
            }
        }
    }

    fn label_set(&mut self, items: Items<'a>) {
        let mut separator = " {";
        for attribute in items.attributes() {
            self.fmt(format_args!("{separator}"));
            self.pair(attribute);
            separator = ",";
        }
        if separator == "," {
            self.fmt(format_args!("}}"));
        }
    }

    fn bars<H: Histogram>(&mut self, histogram: &H) {
        let drawn = (0..).map(|coarser| histogram.buckets(coarser)).find(|buckets| buckets.len() <= MAX_ROWS);
        let buckets = drawn.unwrap_or_default();
        let labels: Vec<_> = buckets.iter().map(|bucket| label(bucket.upper, H::IS_EXACT)).collect();
        let width = labels.iter().map(String::len).max().unwrap_or_default();
        let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or_default();
        for (bucket, label) in buckets.iter().zip(labels) {
            let length = (u128::from(bucket.count) * u128::from(BAR)).div_ceil(u128::from(most)) as usize;
            self.fmt(format_args!("\n    ≤ {label:>width$} {:▇<length$} {}", "", bucket.count));
        }
    }

    fn list(&mut self, values: impl Iterator<Item = Value<'a>>) {
        let mut separator = "";
        self.fmt(format_args!("["));
        for value in values {
            self.fmt(format_args!("{separator}"));
            self.value(value, 0);
            separator = ",";
        }
        self.fmt(format_args!("]"));
    }

    fn counts(&mut self, counts: &[u64]) {
        let mut separator = "";
        self.fmt(format_args!(r#""counts":["#));
        for count in counts {
            self.fmt(format_args!("{separator}{count}"));
            separator = ",";
        }
        self.fmt(format_args!("]}}"));
    }
}

#[derive(Debug, Clone, Copy)]
struct Summary {
    count: u64,
    sum: f64,
    /// Meaningless while nothing was counted.
    min: f64,
    max: f64,
}

/// Values above `lower`, up to and including `upper`.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    lower: f64,
    upper: f64,
    count: u64,
}

trait Histogram {
    /// Boundaries are numbers that somebody chose.
    const IS_EXACT: bool;

    fn summary(&self) -> Summary;

    /// Those that hold something, ascending; 2 to the power of `coarser` neighbours are one.
    fn buckets(&self, coarser: u32) -> Vec<Bucket>;

    fn write_json(&self, text: &mut Layout<'_, '_>);
}

impl Histogram for ExplicitHistogram {
    const IS_EXACT: bool = true;

    fn summary(&self) -> Summary {
        Summary { count: self.count, sum: self.sum, min: self.min, max: self.max }
    }

    fn buckets(&self, coarser: u32) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        // The boundary below each group of buckets; there are far fewer than 2 to the 32.
        let boundary =
            |group: usize| (group << coarser).checked_sub(1).and_then(|at| self.boundaries.get(at));
        for (index, count) in self.counts.iter().enumerate() {
            let group = index >> coarser;
            let lower = boundary(group).copied().unwrap_or(f64::NEG_INFINITY);
            let upper = boundary(group + 1).copied().unwrap_or(f64::INFINITY);
            add(&mut buckets, lower, upper, *count);
        }
        buckets
    }

    fn write_json(&self, text: &mut Layout<'_, '_>) {
        text.fmt(format_args!(r#"{{"bounds":"#));
        text.list(self.boundaries.iter().map(|bound| Value::Double(*bound)));
        text.fmt(format_args!(","));
        text.counts(&self.counts);
    }
}

impl Histogram for ExponentialHistogram {
    const IS_EXACT: bool = false;

    fn summary(&self) -> Summary {
        Summary { count: self.count, sum: self.sum, min: self.min, max: self.max }
    }

    fn buckets(&self, coarser: u32) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        let factor = (f64::from(coarser) - f64::from(self.scale)).exp2();
        let boundary = |index: i64| (index as f64 * factor).exp2();
        for (index, count) in indices(&self.negative, coarser).rev() {
            add(&mut buckets, -boundary(index + 1), -boundary(index), count);
        }
        add(&mut buckets, 0.0, 0.0, self.zero_count);
        for (index, count) in indices(&self.positive, coarser) {
            add(&mut buckets, boundary(index), boundary(index + 1), count);
        }
        buckets
    }

    fn write_json(&self, text: &mut Layout<'_, '_>) {
        text.fmt(format_args!(r#"{{"scale":{},"zero_count":{}"#, self.scale, self.zero_count));
        for (name, side) in [("positive", &self.positive), ("negative", &self.negative)] {
            text.fmt(format_args!(r#","{name}":{{"offset":{},"#, side.offset));
            text.counts(&side.counts);
        }
        text.fmt(format_args!("}}"));
    }
}

/// Index and count of each bucket.
fn indices(side: &Buckets, coarser: u32) -> impl DoubleEndedIterator<Item = (i64, u64)> {
    let index = move |at: usize| (i64::from(side.offset) + at as i64) >> coarser;
    side.counts.iter().enumerate().map(move |(at, count)| (index(at), *count))
}

fn add(buckets: &mut Vec<Bucket>, lower: f64, upper: f64, count: u64) {
    match buckets.last_mut() {
        _ if count == 0 => {}
        Some(last) if (last.lower, last.upper) == (lower, upper) => {
            last.count = last.count.saturating_add(count);
        }
        _ => buckets.push(Bucket { lower, upper, count }),
    }
}

/// The value that this share of all values does not exceed.
fn quantile(buckets: &[Bucket], share: f64, min: f64, max: f64) -> f64 {
    let count: f64 = buckets.iter().map(|bucket| bucket.count as f64).sum();
    let mut rank = share * count;
    for bucket in buckets {
        let within = bucket.count as f64;
        if rank <= within {
            let (lower, upper) = (bucket.lower.max(min), bucket.upper.min(max));
            return lower + (upper - lower) * (rank / within);
        }
        rank -= within;
    }
    max
}

fn label(upper: f64, is_exact: bool) -> String {
    match upper {
        f64::INFINITY => "+Inf".to_owned(),
        _ if is_exact => format!("{upper:?}"),
        _ => format!("{:?}", three_digits(upper)),
    }
}

fn three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}
