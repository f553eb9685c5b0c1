//! What is allowed: names of choices, ranges of numbers, headers. Every refusal is an
//! [`Error::Config`] that names the argument, the value and what is allowed; a secret's value is never in it.

use super::{
    Compression, ConsoleFormat, ExemplarFilter, HistogramAggregation, Level, Propagator, Protocol,
    RedactAction, SamplerConfig, Secret, SlsAttributes, SlsCompression, Temporality,
};
use crate::error::Error;
use crate::record::InstrumentKind;

/// Longer durations mean the same as this one (a year), and deadlines computed from it cannot overflow.
const FOREVER_MS: u64 = 365 * 86_400_000;

/// The names of an enumerated argument, in any case.
#[derive(Debug)]
pub struct Choice<T: 'static> {
    /// Offered in error texts, and printed.
    pub names: &'static [(&'static str, T)],
    /// Understood as well.
    pub aliases: &'static [(&'static str, T)],
}

impl<T: Copy + PartialEq> Choice<T> {
    /// The value of a name.
    pub fn find(&self, text: &str) -> Option<T> {
        let mut all = self.names.iter().chain(self.aliases);
        all.find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    }

    /// The value of a name.
    ///
    /// # Errors
    /// "unknown `argument` 'x', expected 'a' | 'b' | 'c'".
    pub fn parse(&self, argument: &str, text: &str) -> Result<T, Error> {
        self.find(text).ok_or_else(|| {
            Error::config(format_args!("unknown {argument} '{}', expected {}", shown(text), self.expected()))
        })
    }

    /// The first name of a value.
    pub fn name(&self, value: T) -> &'static str {
        let mut all = self.names.iter().chain(self.aliases);
        all.find(|(_, known)| *known == value).map_or("", |(name, _)| name)
    }

    /// What may be written.
    pub fn expected(&self) -> String {
        let names: Vec<_> = self.names.iter().map(|(name, _)| format!("'{name}'")).collect();
        names.join(if names.len() == 2 { " or " } else { " | " })
    }
}

/// `protocol`.
pub const PROTOCOLS: Choice<Protocol> = Choice {
    names: &[("grpc", Protocol::Grpc), ("http/protobuf", Protocol::HttpProtobuf)],
    aliases: &[("http", Protocol::HttpProtobuf)],
};

/// `compression` of OTLP sinks.
pub const COMPRESSIONS: Choice<Compression> = Choice {
    names: &[("gzip", Compression::Gzip), ("zstd", Compression::Zstd), ("none", Compression::None)],
    aliases: &[],
};

/// `temporality`.
pub const TEMPORALITIES: Choice<Temporality> = Choice {
    names: &[
        ("cumulative", Temporality::Cumulative),
        ("delta", Temporality::Delta),
        ("lowmemory", Temporality::LowMemory),
    ],
    aliases: &[("low_memory", Temporality::LowMemory)],
};

/// `sampler`; a ratio stands for the `sampler_arg` that [`sampler`] fills in.
pub const SAMPLERS: Choice<SamplerConfig> = Choice {
    names: &[
        ("always_on", SamplerConfig::AlwaysOn),
        ("always_off", SamplerConfig::AlwaysOff),
        ("parent_based_traceid_ratio", SamplerConfig::ParentBasedTraceIdRatio(1.0)),
        ("traceidratio", SamplerConfig::TraceIdRatio(1.0)),
        ("parentbased_always_on", SamplerConfig::ParentBased(true)),
        ("parentbased_always_off", SamplerConfig::ParentBased(false)),
        ("parentbased_traceidratio", SamplerConfig::ParentBasedTraceIdRatio(1.0)),
    ],
    aliases: &[],
};

/// `console_format`.
pub const CONSOLE_FORMATS: Choice<ConsoleFormat> = Choice {
    names: &[
        ("compact", ConsoleFormat::Compact),
        ("pretty", ConsoleFormat::Pretty),
        ("json", ConsoleFormat::Json),
    ],
    aliases: &[],
};

/// `console_level`, and the levels of a filter.
pub const LEVELS: Choice<Level> = Choice {
    names: &[
        ("trace", Level::Trace),
        ("debug", Level::Debug),
        ("info", Level::Info),
        ("warn", Level::Warn),
        ("error", Level::Error),
        ("fatal", Level::Fatal),
        ("off", Level::Off),
    ],
    aliases: &[("warning", Level::Warn), ("critical", Level::Fatal)],
};

/// `default_histogram`, and the environment's names.
pub const HISTOGRAMS: Choice<HistogramAggregation> = Choice {
    names: &[
        ("explicit", HistogramAggregation::Explicit),
        ("exponential", HistogramAggregation::Exponential),
    ],
    aliases: &[
        ("explicit_bucket_histogram", HistogramAggregation::Explicit),
        ("base2_exponential_bucket_histogram", HistogramAggregation::Exponential),
    ],
};

/// `exemplar_filter`.
pub const EXEMPLAR_FILTERS: Choice<ExemplarFilter> = Choice {
    names: &[
        ("trace_based", ExemplarFilter::TraceBased),
        ("always_on", ExemplarFilter::AlwaysOn),
        ("always_off", ExemplarFilter::AlwaysOff),
    ],
    aliases: &[],
};

/// `aggregation` of views; see [`ViewAggregation::parse`](super::ViewAggregation::parse).
pub const AGGREGATIONS: Choice<&str> = Choice {
    names: &[
        ("default", "default"),
        ("sum", "sum"),
        ("last_value", "last_value"),
        ("explicit", "explicit"),
        ("exponential", "exponential"),
        ("drop", "drop"),
    ],
    aliases: &[
        ("explicit_bucket_histogram", "explicit"),
        ("base2_exponential_bucket_histogram", "exponential"),
    ],
};

/// `instrument_kind` of views.
pub const INSTRUMENT_KINDS: Choice<InstrumentKind> = Choice {
    names: &[
        ("counter", InstrumentKind::Counter),
        ("up_down_counter", InstrumentKind::UpDownCounter),
        ("histogram", InstrumentKind::Histogram),
        ("gauge", InstrumentKind::Gauge),
        ("observable_counter", InstrumentKind::ObservableCounter),
        ("observable_up_down_counter", InstrumentKind::ObservableUpDownCounter),
        ("observable_gauge", InstrumentKind::ObservableGauge),
    ],
    aliases: &[],
};

/// `action` of `redact` rules; the length of a truncation stands for the `length` that
/// [`RedactAction::parse`] fills in.
pub const REDACT_ACTIONS: Choice<RedactAction> = Choice {
    names: &[
        ("drop", RedactAction::Drop),
        ("hash", RedactAction::Hash),
        ("truncate", RedactAction::Truncate(0)),
    ],
    aliases: &[],
};

/// `OTEL_PROPAGATORS`.
pub const PROPAGATORS: Choice<Propagator> = Choice {
    names: &[("tracecontext", Propagator::TraceContext), ("baggage", Propagator::Baggage)],
    aliases: &[],
};

/// `diagnostics`.
pub const DIAGNOSTICS: Choice<bool> = Choice { names: &[("warn", true), ("off", false)], aliases: &[] };

/// `compression` of SLS sinks.
pub const SLS_COMPRESSIONS: Choice<SlsCompression> = Choice {
    names: &[
        ("lz4", SlsCompression::Lz4),
        ("zstd", SlsCompression::Zstd),
        ("deflate", SlsCompression::Deflate),
        ("none", SlsCompression::None),
    ],
    aliases: &[],
};

/// `attributes` of SLS sinks.
pub const SLS_ATTRIBUTES: Choice<SlsAttributes> =
    Choice { names: &[("flat", SlsAttributes::Flat), ("json", SlsAttributes::Json)], aliases: &[] };

/// A value for an error text: control characters escaped, at most 80 characters.
pub fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

/// A sampler by name. Ratios outside 0 to 1 mean the nearer end, as in earlier versions.
///
/// # Errors
/// An unknown name, or a ratio that is not a number.
pub fn sampler(name: Option<&str>, arg: Option<f64>) -> Result<SamplerConfig, Error> {
    let arg = arg.unwrap_or(1.0);
    if arg.is_nan() {
        return Err(Error::config("sampler_arg must be a number from 0 to 1, got nan"));
    }
    let ratio = arg.clamp(0.0, 1.0);
    let named = name.map(|name| SAMPLERS.parse("sampler", name)).transpose()?.unwrap_or_default();
    Ok(match named {
        SamplerConfig::TraceIdRatio(_) => SamplerConfig::TraceIdRatio(ratio),
        SamplerConfig::ParentBasedTraceIdRatio(_) => SamplerConfig::ParentBasedTraceIdRatio(ratio),
        other => other,
    })
}

/// The name and ratio that build this sampler again.
pub fn sampler_name(sampler: SamplerConfig) -> (&'static str, Option<f64>) {
    match sampler {
        SamplerConfig::TraceIdRatio(ratio) => ("traceidratio", Some(ratio)),
        SamplerConfig::ParentBasedTraceIdRatio(ratio) => ("parent_based_traceid_ratio", Some(ratio)),
        other => (SAMPLERS.name(other), None),
    }
}

/// A ratio from 0 to 1.
///
/// # Errors
/// Anything else.
pub fn ratio(argument: &str, value: f64) -> Result<f64, Error> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::config(format_args!("{argument} must be a number from 0 to 1, got {value}")))
}

/// A whole number of at least `min`; beyond what its type holds it means the type's largest.
///
/// # Errors
/// A smaller number.
pub fn whole<T: TryFrom<i128> + Bounded>(argument: &str, value: i128, min: i128) -> Result<T, Error> {
    if value < min {
        return Err(Error::config(format_args!("{argument} must be at least {min}, got {value}")));
    }
    Ok(T::try_from(value).unwrap_or(T::MAX))
}

/// A duration in milliseconds of at least `min`; more than a year means a year.
///
/// # Errors
/// A smaller number.
pub fn milliseconds(argument: &str, value: i128, min: i128) -> Result<u64, Error> {
    Ok(whole::<u64>(argument, value, min)?.min(FOREVER_MS))
}

/// Integers with a largest value.
pub trait Bounded {
    /// It.
    const MAX: Self;
}

impl Bounded for u32 {
    const MAX: Self = Self::MAX;
}

impl Bounded for u64 {
    const MAX: Self = Self::MAX;
}

impl Bounded for usize {
    const MAX: Self = Self::MAX;
}

/// Boundaries between a histogram's buckets: finite and ascending. None at all means one bucket.
///
/// # Errors
/// What is wrong with them.
pub fn boundaries(argument: &str, values: &[f64]) -> Result<(), Error> {
    if values.iter().all(|value| value.is_finite()) && values.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    Err(Error::config(format_args!(
        "{argument} must be finite numbers, each larger than the one before, got {values:?}"
    )))
}

/// Text that must not be empty.
///
/// # Errors
/// "`argument` must not be empty".
pub fn non_empty(argument: &str, value: &str) -> Result<(), Error> {
    if value.is_empty() { Err(Error::config(format_args!("{argument} must not be empty"))) } else { Ok(()) }
}

/// The name of an SLS project or logstore: letters, digits, `-`, `_`.
///
/// # Errors
/// "`argument` must not be empty", or what else may stand in it.
pub fn name(argument: &str, value: &str) -> Result<(), Error> {
    non_empty(argument, value)?;
    if value.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')) {
        return Ok(());
    }
    Err(Error::config(format_args!(
        "{argument} must be letters, digits, '-' and '_', got '{}'",
        shown(value)
    )))
}

/// Headers as they go on the wire. The framing of a request is the exporter's, so its headers are refused.
///
/// # Errors
/// A name that is not an HTTP token, a value with a control character (CR, LF, NUL, …): the text has the name only.
pub fn headers(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Vec<(String, Secret)>, Error> {
    const FRAMING: [&str; 3] = ["connection", "content-length", "transfer-encoding"];
    let header = |(name, value): (String, String)| {
        let refuse = |what: &str| Err(Error::config(format_args!("headers: {what} '{}'", shown(&name))));
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return refuse("a name must be letters, digits or one of !#$%&'*+-.^_`|~, got");
        }
        if http::HeaderValue::from_bytes(value.as_bytes()).is_err() {
            return refuse("a value must not hold CR, LF, NUL or another control character, see");
        }
        if FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(&name)) {
            return refuse("the exporter alone sets");
        }
        Ok((name, Secret::new(value)))
    };
    pairs.into_iter().map(header).collect()
}
