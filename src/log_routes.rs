//! Which destinations a log record goes to: each has a filter by logger name and severity, and may sample by trace.
//! A recording thread asks once per logger and session for [`LogRoutes::threshold`]; the exporter asks per record.

use crate::config::LogFilter;
use crate::ids::TraceId;

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
    routes: Vec<LogRoute>,
}

impl LogRoutes {
    /// Routes beyond [`MAX_DESTINATIONS`] get nothing (configuration refuses them).
    pub fn new(routes: Vec<LogRoute>) -> Self {
        Self { routes }
    }

    /// The lowest severity number that any destination takes from this logger; [`NOTHING`] when none does. A record
    /// without a severity number (0) counts as the lowest.
    pub fn threshold(&self, logger: &str) -> u8 {
        let _ = logger;
        unimplemented!()
    }

    /// For the exporter: each destination's threshold for this logger.
    pub fn thresholds(&self, logger: &str) -> [u8; MAX_DESTINATIONS] {
        let _ = logger;
        unimplemented!()
    }

    /// Destinations whose sampling wants records of this trace, a bit each.
    pub fn sampled(&self, trace_id: TraceId) -> u16 {
        let _ = (trace_id, &self.routes);
        unimplemented!()
    }
}
