//! Batches to bytes. No I/O, no time, no threads.

pub mod chunk;
pub mod console;
pub mod otlp;
pub mod sls;
pub mod wire;

use crate::clock::Timeline;
use crate::intern::Interner;

/// What an encoder looks things up in.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// Names, keys, scopes.
    pub strings: &'a Interner,
    /// Ticks to Unix time.
    pub timeline: &'a Timeline,
}
