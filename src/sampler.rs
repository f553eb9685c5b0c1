//! Sampling: one bit per trace sink, decided at the local root and inherited by everything below it.
//!
//! Without ratio samplers a decision is one branch and a load; each ratio sampler adds one compare. Nothing here
//! allocates after construction or blocks. The ratio test is OpenTelemetry Python's, bit for bit, so that services
//! of either kind agree about a trace.

use crate::config::SamplerConfig;
use crate::ids::TraceId;

/// Sinks that have a bit.
pub const MAX_SINKS: usize = 16;

/// The samplers of all trace sinks, prepared so that a decision is a few compares. Plain data, shared read-only.
#[derive(Debug, Clone, Default)]
pub struct Sampler {
    /// Sinks that want every trace that has no remote parent.
    root: u16,
    /// Sinks that want every trace that has a remote parent, by its flag: not sampled, sampled.
    remote: [u16; 2],
    /// Sinks that compare trace ids; those that do so whatever a remote parent says come first.
    ratios: Vec<Ratio>,
    /// How many of `ratios` ignore a remote parent.
    independent: usize,
}

/// A sink that wants the trace ids whose low 64 bits are below `bound`.
#[derive(Debug, Clone, Copy)]
struct Ratio {
    bit: u16,
    bound: u64,
}

impl Sampler {
    /// Bit `i` belongs to `sinks[i]`; sinks beyond [`MAX_SINKS`] get nothing (configuration refuses them).
    pub fn new(sinks: &[SamplerConfig]) -> Self {
        let mut sampler = Self::default();
        let mut by_parent = Vec::new();
        for (i, sink) in sinks.iter().take(MAX_SINKS).enumerate() {
            let bit = 1 << i;
            let (root, parent_based) = match *sink {
                SamplerConfig::AlwaysOn => (TraceShare::All, false),
                SamplerConfig::AlwaysOff => (TraceShare::None, false),
                SamplerConfig::TraceIdRatio(rate) => (TraceShare::of_rate(rate), false),
                SamplerConfig::ParentBased(true) => (TraceShare::All, true),
                SamplerConfig::ParentBased(false) => (TraceShare::None, true),
                SamplerConfig::ParentBasedTraceIdRatio(rate) => (TraceShare::of_rate(rate), true),
            };
            match root {
                TraceShare::None => {}
                TraceShare::All => sampler.root |= bit,
                TraceShare::Below(bound) if parent_based => by_parent.push(Ratio { bit, bound }),
                TraceShare::Below(bound) => sampler.ratios.push(Ratio { bit, bound }),
            }
            let all = matches!(root, TraceShare::All);
            sampler.remote[0] |= if all && !parent_based { bit } else { 0 };
            sampler.remote[1] |= if all || parent_based { bit } else { 0 };
        }
        sampler.independent = sampler.ratios.len();
        sampler.ratios.extend(by_parent);
        sampler
    }

    /// Decision for a span without a local parent. `remote_sampled` is the remote parent's flag, if there is one: it
    /// decides for every parent-based sink; the others look at the trace id alone.
    #[inline]
    pub fn decide(&self, trace_id: TraceId, remote_sampled: Option<bool>) -> u16 {
        let (mut mask, ratios) = match remote_sampled {
            None => (self.root, &self.ratios[..]),
            Some(sampled) => (self.remote[usize::from(sampled)], &self.ratios[..self.independent]),
        };
        if !ratios.is_empty() {
            let low = trace_id.low64();
            for ratio in ratios {
                mask |= if low < ratio.bound { ratio.bit } else { 0 };
            }
        }
        mask
    }
}

/// A share of all traces, told by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceShare {
    /// No trace.
    None,
    /// Every trace.
    All,
    /// Traces whose id's low 64 bits are below this.
    Below(u64),
}

impl TraceShare {
    /// `round(rate * 2**64)` as Python computes it: the product is exact, ties go to even. Only a rate of 1.0 reaches
    /// 2**64, which would not fit. NaN, which configuration refuses, wants nothing.
    pub fn of_rate(rate: f64) -> Self {
        const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
        match (rate * TWO_POW_64).round_ties_even() {
            bound if bound >= TWO_POW_64 => Self::All,
            bound if bound > 0.0 => Self::Below(bound as u64),
            _ => Self::None,
        }
    }

    /// Whether this trace is in the share.
    #[inline]
    pub fn has(self, trace_id: TraceId) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Below(bound) => trace_id.low64() < bound,
        }
    }
}
