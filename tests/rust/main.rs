//! One binary for all integration tests of the core: cheap to link.

mod attrs;
mod chunk;
mod clock;
mod config;
mod console;
mod context;
mod diagnostics;
mod environment;
mod fork;
mod http;
mod intern;
mod model;
mod model_logs;
mod model_metrics;
mod otlp;
mod otlp_logs;
mod otlp_metrics;
mod pending;
mod pipeline;
mod poll;
mod retry;
mod sampler;
mod sink;
mod strategies;
mod tls;
