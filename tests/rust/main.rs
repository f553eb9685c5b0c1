//! One binary for all integration tests of the core: cheap to link.

mod config;
mod environment;
mod fork;
mod intern;
mod pending;
mod sink;
