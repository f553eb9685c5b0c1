//! One binary for all integration tests of the core: cheap to link.

mod clock;
mod config;
mod environment;
mod fork;
mod intern;
mod pending;
mod sampler;
mod sink;
