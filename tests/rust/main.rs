//! One binary for all integration tests of the core: cheap to link.

mod http;
mod poll;
mod retry;
mod tls;
