//! pytracingx: telemetry for latency-critical Python services.

pub mod attrs;
pub mod batch;
pub mod clock;
pub mod config;
pub mod context;
pub mod diagnostics;
pub mod emit;
pub mod encode;
pub mod error;
pub mod ids;
pub mod intern;
pub mod lane;
pub mod limits;
pub mod record;
pub mod resource;
pub mod sampler;
pub mod stats;
mod sync;
pub mod sys;

#[cfg(feature = "net")]
pub mod exporter;
#[cfg(feature = "net")]
pub mod session;
#[cfg(feature = "net")]
pub mod transport;

#[cfg(feature = "python")]
mod python;
