//! OTLP protobuf: what all signals share (resource, scope, attribute values), and one file per signal.

pub mod trace;

use super::chunk::Part;
use crate::config::Resource;

/// Encodes a `Resource` message (without tag and length). Done once per session.
pub fn resource(_resource: &Resource) -> Vec<u8> {
    todo!()
}

/// Builds a complete `ExportTraceServiceRequest` (one `ResourceSpans`) from parts, in order, replacing `out`.
/// Neighbouring runs of equal scope share one `ScopeSpans`. Copies bytes; encodes nothing again.
pub fn trace_request(_resource: &[u8], _parts: &[Part], _out: &mut Vec<u8>) {
    todo!()
}
