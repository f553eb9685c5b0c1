//! One binary for all integration tests of the core: cheap to link.

mod clock;
mod config;
mod environment;
mod fork;
mod http;
mod intern;
mod pending;
mod poll;
mod retry;
mod sampler;
mod sink;
mod tls;
