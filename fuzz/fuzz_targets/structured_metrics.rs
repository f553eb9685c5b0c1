//! Log records and metrics out of fuzzer bytes.

use arbitrary::{Arbitrary, Result};
use pytracingx::accumulate::{Buckets, ExplicitHistogram, ExponentialHistogram};
use pytracingx::aggregate::Data;
use pytracingx::limits::LogLimits;
use pytracingx::record::Number;

use crate::model_logs::LogModel;
use crate::model_metrics::{ExemplarModel, MetricModel, PointModel, PointValue};
use crate::structured::{Bytes, attributes, item, many, text};

/// A log record of scope 0 to 3.
pub fn log(u: Bytes<'_, '_>) -> Result<LogModel> {
    Ok(LogModel {
        scope: u.int_in_range(0..=3)?,
        severity: u.int_in_range(0..=24)?,
        time: u.arbitrary()?,
        explicit: u.arbitrary()?,
        observed: u.arbitrary()?,
        trace_id: u.arbitrary()?,
        span_id: u.arbitrary()?,
        trace_flags: u.arbitrary()?,
        items: many(u, 10, item)?,
        oversize: u.arbitrary()?,
    })
}

pub fn log_limits(u: Bytes<'_, '_>) -> Result<LogLimits> {
    Ok(LogLimits {
        attributes: if u.arbitrary()? { 128 } else { u.int_in_range(0..=4)? },
        value_length: if u.arbitrary()? { u32::MAX } else { u.int_in_range(0..=20)? },
    })
}

fn number(u: Bytes<'_, '_>) -> Result<Number> {
    Ok(if u.arbitrary()? { Number::Int(u.arbitrary()?) } else { Number::Double(double(u)?) })
}

fn double(u: Bytes<'_, '_>) -> Result<f64> {
    Ok(f64::from_bits(u.arbitrary()?))
}

fn count(u: Bytes<'_, '_>) -> Result<u64> {
    Ok(u64::arbitrary(u)? >> u.int_in_range(0..=63)?)
}

fn buckets(u: Bytes<'_, '_>) -> Result<Buckets> {
    // More than are drawn one by one, as a length of two bytes needs.
    let repeated = u.int_in_range(1..=20)?;
    Ok(Buckets { offset: u.arbitrary()?, counts: many(u, 10, count)?.repeat(repeated) })
}

fn point(u: Bytes<'_, '_>, data: Data) -> Result<PointModel> {
    let value = match data {
        Data::Sum { .. } | Data::Gauge => PointValue::Number(number(u)?),
        Data::Histogram { .. } => PointValue::Explicit(ExplicitHistogram {
            boundaries: many(u, 20, double)?.into(),
            counts: many(u, 21, count)?,
            count: count(u)?,
            sum: double(u)?,
            min: double(u)?,
            max: double(u)?,
        }),
        Data::ExponentialHistogram { .. } => PointValue::Exponential(ExponentialHistogram {
            scale: u.arbitrary()?,
            count: count(u)?,
            sum: double(u)?,
            min: double(u)?,
            max: double(u)?,
            zero_count: count(u)?,
            positive: buckets(u)?,
            negative: buckets(u)?,
        }),
    };
    let exemplar = |u: Bytes<'_, '_>| {
        Ok(ExemplarModel {
            time: u.arbitrary()?,
            value: number(u)?,
            trace_id: u.arbitrary()?,
            span_id: u.arbitrary()?,
            filtered: attributes(u)?,
        })
    };
    Ok(PointModel {
        attributes: attributes(u)?,
        start: u.arbitrary()?,
        time: u.arbitrary()?,
        value,
        exemplars: many(u, 2, exemplar)?,
    })
}

/// A metric of scope 0 to 3.
pub fn metric(u: Bytes<'_, '_>) -> Result<MetricModel> {
    let (monotonic, delta) = (u.arbitrary()?, u.arbitrary()?);
    let data = *u.choose(&[
        Data::Sum { monotonic, delta },
        Data::Gauge,
        Data::Histogram { delta },
        Data::ExponentialHistogram { delta },
    ])?;
    let mut points = vec![point(u, data)?];
    points.extend(many(u, 4, |u| point(u, data))?);
    Ok(MetricModel {
        scope: u.int_in_range(0..=3)?,
        name: text(u)?,
        description: text(u)?,
        unit: text(u)?,
        data,
        points,
    })
}
