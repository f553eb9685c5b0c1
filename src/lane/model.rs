//! The lane's parts as loom models use them: one-byte records, and the same code underneath.

#![expect(missing_docs, reason = "only loom models see this")]

use std::sync::Arc;

use super::arena::{Arena, BLOCK_BYTES, HEADER_BYTES};
use super::doorbell::Doorbell as Bell;
use super::ring::{self, Reader, Writer};
use crate::sync::{AtomicBool, Ordering};

#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Pushed,
    Full,
}

pub struct ModelWriter(Writer);
pub struct ModelReader(Reader);

fn arena(blocks: usize) -> Arc<Arena> {
    Arc::new(Arena::new(blocks * BLOCK_BYTES).unwrap())
}

/// A lane in an arena of its own.
pub fn lane(arena_blocks: usize, max_blocks: u32) -> (ModelWriter, ModelReader) {
    let (writer, reader) = ring::lane(&arena(arena_blocks), max_blocks);
    (ModelWriter(writer), ModelReader(reader))
}

fn record(value: u8) -> [u8; 64] {
    [value; 64]
}

impl ModelWriter {
    pub fn push(&mut self, value: u8) -> Outcome {
        if self.0.push(&record(value), &[]).is_ok() { Outcome::Pushed } else { Outcome::Full }
    }
}

impl ModelWriter {
    /// Appends as many as there is room for, then publishes them. Returns how many.
    pub fn push_run(&mut self, values: &[u8]) -> usize {
        let append = |value: &&u8| self.0.append(0, |slot, _| *slot = record(**value)).is_ok();
        let appended = values.iter().take_while(append).count();
        self.0.publish();
        appended
    }
}

impl ModelReader {
    /// The values read; panics when a record is torn.
    pub fn drain(&mut self) -> Vec<u8> {
        let mut values = Vec::new();
        self.0.drain(&mut |run| {
            for bytes in run.chunks_exact(64) {
                assert_eq!(bytes, record(bytes[0]), "torn record");
                values.push(bytes[0]);
            }
        });
        values
    }

    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

#[derive(Clone)]
pub struct Blocks(Arc<Arena>);

impl Blocks {
    pub fn new(blocks: usize) -> Self {
        Self(arena(blocks))
    }

    pub fn take(&self) -> Option<u32> {
        self.0.take()
    }

    pub fn give_back(&self, block: u32) {
        self.0.give_back(block);
    }

    /// Writes and reads the block: loom fails if anybody else does at the same time.
    #[expect(unsafe_code, reason = "calls the arena as its producer and its drainer")]
    pub fn use_exclusively(&self, block: u32) {
        let at = HEADER_BYTES as u32;
        // SAFETY: the block was taken and not given back, so it is ours; loom checks exactly that.
        unsafe {
            self.0.write(block, at, &record(block as u8), &[]);
            self.0.read(block, at, at + 64, &mut |bytes| assert_eq!(bytes[0], block as u8));
        }
    }
}

/// A lane with a doorbell, as `Lanes` puts them together; the bell's button is a flag.
#[derive(Clone)]
pub struct Doorbell {
    arena: Arc<Arena>,
    max_blocks: u32,
    bell: Arc<Bell>,
    /// Relaxed: read when the other thread was joined.
    rung: Arc<AtomicBool>,
}

impl Doorbell {
    pub fn new(arena_blocks: usize, max_blocks: u32) -> Self {
        Self {
            arena: arena(arena_blocks),
            max_blocks,
            bell: Arc::new(Bell::new()),
            rung: Arc::new(AtomicBool::new(false)),
        }
    }

    pub fn lane(&self) -> (ModelWriter, ModelReader) {
        let (writer, reader) = ring::lane(&self.arena, self.max_blocks);
        (ModelWriter(writer), ModelReader(reader))
    }

    pub fn push(&self, writer: &mut ModelWriter, value: u8) -> Outcome {
        match writer.0.push(&record(value), &[]) {
            Ok(true) if writer.0.shared().is_pressed(self.max_blocks) && self.bell.must_wake() => {
                self.rung.store(true, Ordering::Relaxed);
                Outcome::Pushed
            }
            Ok(_) => Outcome::Pushed,
            Err(()) => Outcome::Full,
        }
    }

    pub fn park(&self, reader: &ModelReader) -> bool {
        self.bell.park(|| self.is_pressed(reader))
    }

    pub fn is_pressed(&self, reader: &ModelReader) -> bool {
        reader.0.shared().is_pressed(self.max_blocks)
    }

    pub fn was_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }
}
