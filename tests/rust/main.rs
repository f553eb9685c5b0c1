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
mod log_routes;
mod model;
mod otlp;
mod pending;
mod pipeline;
mod poll;
mod retry;
mod sampler;
mod sink;
mod strategies;
mod tls;
