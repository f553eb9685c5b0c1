//! Batches to bytes. No I/O, no time, no threads.

pub mod chunk;
pub mod console;
pub mod otlp;
pub mod sls;
pub mod wire;

pub use crate::batch::Lookup;
