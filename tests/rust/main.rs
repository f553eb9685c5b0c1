//! One binary for all integration tests of the core: cheap to link.

mod clock;
mod fork;
mod intern;
mod sampler;
mod http;
mod poll;
mod retry;
mod tls;
mod config;
mod environment;
