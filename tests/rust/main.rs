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
mod otlp;
mod pending;
mod pipeline;
mod poll;
mod retry;
mod sampler;
mod sink;
mod sls;
mod sls_model;
mod sls_transport;
mod strategies;
mod tls;
