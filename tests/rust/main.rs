//! One binary for all integration tests of the core: cheap to link.

mod clock;
mod context;
mod fork;
mod intern;
mod sampler;
