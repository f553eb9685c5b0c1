//! Lanes: how records get from recording threads to the exporter. The only place where both sides meet, and the only
//! home of ring `unsafe`.
//!
//! ```text
//! thread A ─ Producer ─► lane ─┐
//! thread B ─ Producer ─► lane ─┼─► Drainer (exporter) ─► Batch      blocks: one Arena, one budget
//! (exited) ─ idle ──────► lane ┘
//! ```
//!
//! A producer never blocks, and allocates or makes a system call in two rare cases only: a payload larger than a
//! block is copied to an allocation of its own, and a lane that passes its mark (256 KiB) while the exporter sleeps wakes
//! it.
//!
//! A thread that exits leaves its lane to the next one that starts, so thread churn costs neither memory nor drains.

mod arena;
mod doorbell;
#[cfg(loom)]
pub mod model;
mod ring;

use std::io;
use std::sync::Arc;

use crossbeam_queue::{ArrayQueue, SegQueue};

use crate::record::{Header, flag};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use crate::sys::poll::Waker;
use arena::{Arena, BLOCK_BYTES};
use doorbell::Doorbell;
pub use ring::MAX_PAYLOAD_BYTES;
use ring::{Reader, Writer};

/// Lanes of exited threads kept for new ones; more are closed.
const IDLE_LANES: usize = 64;
/// Oversized payloads that may wait for the exporter at once.
const OVERSIZE_PAYLOADS: usize = 256;

/// All lanes of one session: the block arena, the registry of threads, the wake-up of the exporter.
#[derive(Debug)]
pub struct Lanes {
    arena: Arc<Arena>,
    /// Blocks one lane may hold.
    max_blocks: u32,
    /// Readers of new lanes, on their way to the drainer.
    registered: SegQueue<Reader>,
    /// Writers of exited threads.
    idle: ArrayQueue<Writer>,
    oversize: ArrayQueue<(u64, Box<[u8]>)>,
    /// Bytes in `oversize`, bounded by `oversize_budget_bytes`.
    oversize_bytes: AtomicU64,
    oversize_budget_bytes: u64,
    next_ticket: AtomicU64,
    doorbell: Doorbell,
    drainer_taken: AtomicBool,
    waker: Waker,
}

/// The lane had no room, the record is lost. The caller counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushError {
    /// `ring_capacity` or `lane_budget_bytes` reached.
    Full,
    /// The hand-over queue for oversized payloads is full.
    OversizeFull,
}

impl Lanes {
    /// Reserves `budget_bytes` of address space; `capacity_bytes` of it one thread may use. Both are rounded to
    /// blocks of 64 KiB, at least two a thread. A thread that has recorded keeps a block until it exits, so no more
    /// threads than blocks can record. Oversized payloads may hold another `budget_bytes`.
    pub fn new(capacity_bytes: usize, budget_bytes: usize) -> io::Result<Arc<Self>> {
        let arena = Arc::new(Arena::new(budget_bytes.max(2 * BLOCK_BYTES))?);
        Ok(Arc::new(Self {
            max_blocks: u32::try_from(capacity_bytes / BLOCK_BYTES).unwrap_or(u32::MAX).max(2),
            arena,
            registered: SegQueue::new(),
            idle: ArrayQueue::new(IDLE_LANES),
            oversize: ArrayQueue::new(OVERSIZE_PAYLOADS),
            oversize_bytes: AtomicU64::new(0),
            oversize_budget_bytes: budget_bytes as u64,
            next_ticket: AtomicU64::new(1),
            doorbell: Doorbell::new(),
            drainer_taken: AtomicBool::new(false),
            waker: Waker::new()?,
        }))
    }

    /// A lane for the calling thread: one that an exited thread left, or a new one. Allocates in the second case;
    /// lane memory is taken with the first record.
    pub fn attach(self: &Arc<Self>) -> Producer {
        let writer = self.idle.pop().unwrap_or_else(|| {
            let (writer, reader) = ring::lane(&self.arena, self.max_blocks);
            self.registered.push(reader);
            writer
        });
        Producer { writer: Some(writer), lanes: Arc::clone(self) }
    }

    /// The reading side. There is one: the second call returns `None`.
    pub fn drainer(self: &Arc<Self>) -> Option<Drainer> {
        let taken = self.drainer_taken.swap(true, Ordering::SeqCst);
        (!taken).then(|| Drainer { lanes: Arc::clone(self), readers: Vec::new(), most_blocks: 0 })
    }

    /// Wakes the exporter, wherever it waits.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    #[cold]
    fn wake_if_parked(&self) {
        if self.doorbell.must_wake() {
            self.waker.wake();
        }
    }
}

/// One thread's writing end. Dropping it (thread exit) leaves the lane to another thread; what it holds is drained.
#[derive(Debug)]
pub struct Producer {
    /// Some until dropped.
    writer: Option<Writer>,
    lanes: Arc<Lanes>,
}

impl Producer {
    /// Appends a record (`header.payload_bytes` must be the payload's length) and publishes it with one release
    /// store. See the module documentation for what it does in rare cases.
    ///
    /// Always inline, as is what it calls: the header is then made where it stays. One made on the stack in words and
    /// copied in lines stalls the processor until the words have left its store buffer.
    #[inline(always)]
    pub fn push(&mut self, header: &Header, payload: &[u8]) -> Result<(), PushError> {
        debug_assert_eq!(header.payload_bytes as usize, payload.len());
        if payload.len() > MAX_PAYLOAD_BYTES {
            return self.push_oversize(*header, payload.into());
        }
        let Some(writer) = &mut self.writer else {
            return Err(PushError::Full);
        };
        let head: &[u8; 64] = bytemuck::must_cast_ref(header);
        match writer.push(head, payload) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.look_at_level();
                Ok(())
            }
            Err(()) => Err(PushError::Full),
        }
    }

    /// Begins a run of records that are published together, at its end.
    #[inline]
    pub fn run(&mut self) -> Run<'_> {
        Run(self)
    }

    /// A block was begun: the moment to wake the exporter, should it sleep.
    #[cold]
    #[inline(never)]
    fn look_at_level(&self) {
        let is_pressed = |writer: &Writer| writer.shared().is_pressed(self.lanes.max_blocks);
        if self.writer.as_ref().is_some_and(is_pressed) || self.lanes.arena.is_pressed() {
            self.lanes.wake_if_parked();
        }
    }

    /// [`Producer::push`] for a record that must not be handed over: one too large for the lane finds it full.
    #[inline(always)]
    pub fn push_within(&mut self, header: &Header, payload: &[u8]) -> Result<(), PushError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(PushError::Full);
        }
        self.push(header, payload)
    }

    /// [`Producer::push`] for a payload that may be large: then its memory itself is handed over, and nothing is left in
    /// `payload`. Otherwise it stays as it is, for the next record's memory.
    #[inline(always)]
    pub fn push_owned(&mut self, header: &Header, payload: &mut Vec<u8>) -> Result<(), PushError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return self.push_oversize(*header, std::mem::take(payload).into());
        }
        self.push(header, payload)
    }

    /// The payload goes into the hand-over queue before the record that refers to it is published, so the exporter
    /// finds it once it has seen the record.
    #[cold]
    #[inline(never)]
    fn push_oversize(&mut self, mut header: Header, payload: Box<[u8]>) -> Result<(), PushError> {
        const TICKET_BYTES: usize = size_of::<u64>();
        let lanes = &*self.lanes;
        // First, so that a payload never waits for a record that found no room.
        if self.writer.as_mut().is_none_or(|writer| writer.reserve(TICKET_BYTES).is_err()) {
            return Err(PushError::Full);
        }
        let len = payload.len() as u64;
        // Relaxed (here and below): a budget and a number dispenser, nothing is published through them.
        if lanes.oversize_bytes.fetch_add(len, Ordering::Relaxed) + len > lanes.oversize_budget_bytes {
            lanes.oversize_bytes.fetch_sub(len, Ordering::Relaxed);
            return Err(PushError::OversizeFull);
        }
        let ticket = lanes.next_ticket.fetch_add(1, Ordering::Relaxed);
        if lanes.oversize.push((ticket, payload)).is_err() {
            lanes.oversize_bytes.fetch_sub(len, Ordering::Relaxed);
            return Err(PushError::OversizeFull);
        }
        // In place: of a header that is only read the compiler makes no copy for this call, and then keeps the one that it
        // has in memory for all others too.
        header.payload_bytes = TICKET_BYTES as u32;
        header.flags |= flag::OVERSIZE;
        let pushed = self.push(&header, &ticket.to_ne_bytes());
        self.lanes.wake_if_parked();
        pushed
    }
}

/// Records written in place and published with one release store, when it is dropped. (A block that is full is published
/// before.)
#[derive(Debug)]
pub struct Run<'a>(&'a mut Producer);

impl Run<'_> {
    /// Appends a record whose payload, of `header.payload_bytes`, `fill` writes: it has to write all of it. One larger
    /// than a block's is for [`Producer::push`]; here it finds the lane full.
    #[inline(always)]
    pub fn push(&mut self, header: &Header, fill: impl FnOnce(&mut [u8])) -> Result<(), PushError> {
        let Self(Producer { writer: Some(writer), .. }) = self else {
            return Err(PushError::Full);
        };
        let payload_bytes = header.payload_bytes as usize;
        if payload_bytes > MAX_PAYLOAD_BYTES {
            return Err(PushError::Full);
        }
        let head: &[u8; 64] = bytemuck::must_cast_ref(header);
        let appended = writer.append(payload_bytes, |to, payload| {
            *to = *head;
            fill(payload);
        });
        match appended {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.0.look_at_level();
                Ok(())
            }
            Err(()) => Err(PushError::Full),
        }
    }

    /// Appends a record whose payload may be of any size, and publishes all so far.
    #[cold]
    pub fn push_any(&mut self, header: &Header, payload: &[u8]) -> Result<(), PushError> {
        self.publish();
        self.0.push(header, payload)
    }

    #[inline]
    fn publish(&self) {
        if let Some(writer) = &self.0.writer {
            writer.publish();
        }
    }
}

impl Drop for Run<'_> {
    #[inline]
    fn drop(&mut self) {
        self.publish();
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            if cfg!(seeded_bug = "leak") {
                return std::mem::forget(writer);
            }
            // A full queue gives the writer back; dropping it closes its lane.
            drop(self.lanes.idle.push(writer));
        }
    }
}

/// The reading end of all lanes; lives on the exporter thread.
#[derive(Debug)]
pub struct Drainer {
    lanes: Arc<Lanes>,
    readers: Vec<Reader>,
    most_blocks: u32,
}

impl Drainer {
    /// Hands every record that was published before the call to `run` (whole records, see `Batch::extend`), frees
    /// their blocks, and forgets closed lanes. Then hands out oversized payloads as (ticket, payload): all that those
    /// records refer to, possibly some whose record follows in the next drain. Returns the bytes of the runs.
    pub fn drain(&mut self, run: &mut dyn FnMut(&[u8]), oversize: &mut dyn FnMut(u64, Box<[u8]>)) -> usize {
        #[cfg(not(loom))]
        if self.most_blocks == 0 && !self.lanes.registered.is_empty() {
            self.lanes.arena.warm_up();
        }
        while let Some(reader) = self.lanes.registered.pop() {
            self.readers.push(reader);
        }
        self.most_blocks = self.most_blocks.max(self.lanes.arena.in_use());
        let mut bytes = 0;
        self.readers.retain_mut(|reader| {
            let closed = reader.is_closed();
            bytes += reader.drain(run);
            !closed
        });
        while let Some((ticket, payload)) = self.lanes.oversize.pop() {
            // Relaxed: a budget.
            self.lanes.oversize_bytes.fetch_sub(payload.len() as u64, Ordering::Relaxed);
            oversize(ticket, payload);
        }
        bytes
    }

    /// Announces that the exporter is about to wait. False: a lane is above its mark, drain again instead. Producers
    /// that pass the mark afterwards wake it, once.
    pub fn park(&self) -> bool {
        self.lanes.doorbell.park(|| {
            // A lane that the drainer does not know yet may be pressed too: the next drain gets to know it.
            !self.lanes.registered.is_empty()
                || !self.lanes.oversize.is_empty()
                || self.lanes.arena.is_pressed()
                || self.readers.iter().any(|reader| reader.shared().is_pressed(self.lanes.max_blocks))
        })
    }

    /// The exporter is awake: producers need not wake it.
    pub fn unpark(&self) {
        self.lanes.doorbell.unpark();
    }

    /// Gives unused lane memory back to the operating system and closes lanes that no thread has claimed. Call when
    /// idle for a while.
    pub fn shrink(&mut self) {
        while let Some(writer) = self.lanes.idle.pop() {
            drop(writer);
        }
        self.readers.retain(|reader| !(reader.is_closed() && reader.is_drained()));
        #[cfg(not(loom))]
        self.lanes.arena.release_free();
    }

    /// Lanes alive, bytes in use now, most bytes ever in use (as seen at drains).
    pub fn usage(&self) -> (usize, usize, usize) {
        let bytes = |blocks: u32| blocks as usize * BLOCK_BYTES;
        (self.readers.len(), bytes(self.lanes.arena.in_use()), bytes(self.most_blocks))
    }
}
