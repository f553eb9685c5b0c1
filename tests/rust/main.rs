//! One binary for all integration tests of the core: cheap to link.

mod attrs;
mod chunk;
mod console;
mod model;
mod otlp;
mod strategies;
