//! What the SDK says about itself (`otel.sdk.*`), from the books that are kept anyway.

use crate::aggregate::Metric;
use crate::stats::Snapshot;

/// Hands out a metric for each of OpenTelemetry's names.
pub(super) fn put(_snapshot: &Snapshot, _start_unix_nano: u64, _now_unix_nano: u64, _each: &mut dyn FnMut(&Metric<'_>)) {}
