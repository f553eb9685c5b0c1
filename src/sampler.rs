//! Sampling: one bit per trace sink, decided at the local root and inherited.

use crate::config::SamplerConfig;
use crate::ids::TraceId;

/// The samplers of all trace sinks, prepared so that a decision is a few compares. Plain data, shared read-only.
#[derive(Debug, Clone, Default)]
pub struct Sampler {}

impl Sampler {
    /// Bit `i` belongs to `sinks[i]`; at most 16.
    pub fn new(_sinks: &[SamplerConfig]) -> Self {
        todo!()
    }

    /// Decision for a span without a local parent. `remote_sampled` is the remote parent's flag, if there is one.
    #[inline]
    pub fn decide(&self, _trace_id: TraceId, _remote_sampled: Option<bool>) -> u16 {
        todo!()
    }
}
