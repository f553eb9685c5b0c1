//! Which destinations a log record goes to: each has a filter by logger name and severity, and may sample by trace.
//! A recording thread asks once per logger and session for [`LogRoutes::threshold`]; the exporter asks per record.

use crate::config::{EVERY_LOGGER, Level, LogFilter};
use crate::ids::TraceId;
use crate::sampler::TraceShare;

/// Destinations that have a bit.
pub const MAX_DESTINATIONS: usize = 16;
/// Above every severity number: nothing passes.
pub const NOTHING: u8 = u8::MAX;

/// One destination's conditions.
#[derive(Debug, Clone)]
pub struct LogRoute {
    /// The longest prefix that matches decides; a logger that none matches gets nothing.
    pub filter: LogFilter,
    /// Share of traces, 0 to 1; records outside a trace always pass.
    pub sample_ratio: f64,
}

/// Bit `i` belongs to route `i`: OTLP sinks, SLS sinks, the console last. Plain data, shared read-only.
#[derive(Debug, Clone, Default)]
pub struct LogRoutes {
    routes: Vec<(LogFilter, TraceShare)>,
}

impl LogRoutes {
    /// Routes beyond [`MAX_DESTINATIONS`] get nothing (configuration refuses them).
    pub fn new(routes: Vec<LogRoute>) -> Self {
        let routes = routes.into_iter().take(MAX_DESTINATIONS);
        Self { routes: routes.map(|route| (route.filter, TraceShare::of_rate(route.sample_ratio))).collect() }
    }

    /// The lowest severity number that any destination takes from this logger; [`NOTHING`] when none does. A record
    /// without a severity number (0) counts as the lowest.
    pub fn threshold(&self, logger: &str) -> u8 {
        self.routes.iter().map(|(filter, _)| threshold(filter, logger)).min().unwrap_or(NOTHING)
    }

    /// For the exporter: each destination's threshold for this logger.
    pub fn thresholds(&self, logger: &str) -> [u8; MAX_DESTINATIONS] {
        let mut thresholds = [NOTHING; MAX_DESTINATIONS];
        for (out, (filter, _)) in thresholds.iter_mut().zip(&self.routes) {
            *out = threshold(filter, logger);
        }
        thresholds
    }

    /// Destinations whose sampling wants records of this trace, a bit each.
    pub fn sampled(&self, trace_id: TraceId) -> u16 {
        let outside = !trace_id.is_valid();
        let wanted = |(_, share): &(_, TraceShare)| outside || share.has(trace_id);
        self.routes.iter().enumerate().fold(0, |bits, (i, route)| bits | u16::from(wanted(route)) << i)
    }
}

/// What a filter lets pass of a logger. A prefix is plain text, as in `RUST_LOG`: `a.b` means `a.b`, `a.b.c` and
/// `a.bc`. Of equal prefixes the last decides.
fn threshold(filter: &LogFilter, logger: &str) -> u8 {
    let rank = |prefix: &str| match prefix {
        EVERY_LOGGER => Some((0, true)),
        prefix => logger.starts_with(prefix).then_some((prefix.len(), false)),
    };
    let matching = filter.directives.iter().filter_map(|(prefix, level)| Some((rank(prefix)?, *level)));
    match matching.max_by_key(|(rank, _)| *rank).map_or(Level::Off, |(_, level)| level) {
        Level::Trace => 0,
        Level::Debug => 5,
        Level::Info => 9,
        Level::Warn => 13,
        Level::Error => 17,
        Level::Fatal => 21,
        Level::Off => NOTHING,
    }
}
