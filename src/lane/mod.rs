//! Lanes: how records get from recording threads to the exporter. The only place where both sides meet.

use std::io;
use std::sync::Arc;

use crate::record::Header;
use crate::sys::poll::Waker;

/// All lanes of one session: the block arena, the registry of threads, the wake-up of the exporter.
#[derive(Debug)]
pub struct Lanes {}

/// The lane had no room, the record is lost. The caller counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushError {
    /// `ring_capacity` or `lane_budget_bytes` reached.
    Full,
    /// The hand-over queue for oversized payloads is full.
    OversizeFull,
}

impl Lanes {
    /// Reserves `budget_bytes` of address space. `capacity_bytes` bounds one thread.
    pub fn new(_capacity_bytes: usize, _budget_bytes: usize) -> io::Result<Arc<Self>> {
        todo!()
    }

    /// A lane for the calling thread.
    pub fn attach(self: &Arc<Self>) -> Producer {
        todo!()
    }

    /// The reading side. There is one: the second call returns `None`.
    pub fn drainer(self: &Arc<Self>) -> Option<Drainer> {
        todo!()
    }

    /// Wakes the exporter, wherever it waits.
    pub fn waker(&self) -> &Waker {
        todo!()
    }
}

/// One thread's writing end. Dropping it (thread exit) marks the lane closed; what it holds is still drained.
#[derive(Debug)]
pub struct Producer {}

impl Producer {
    /// Appends a record and publishes it with one release store. Never blocks, allocates or makes a system call
    /// (except the rare wake-up); only a payload larger than a lane block is copied to an owned allocation.
    #[inline]
    pub fn push(&mut self, _header: &Header, _payload: &[u8]) -> Result<(), PushError> {
        todo!()
    }
}

/// The reading end of all lanes; lives on the exporter thread.
#[derive(Debug)]
pub struct Drainer {}

impl Drainer {
    /// Hands every record that was published before the call to `run` (whole records, see `Batch::extend`), frees
    /// their blocks, and forgets closed lanes once they are empty. `oversize` gets (ticket, payload) pairs, always
    /// before the run that refers to them. Returns the number of bytes handed out.
    pub fn drain(&mut self, _run: &mut dyn FnMut(&[u8]), _oversize: &mut dyn FnMut(u64, Box<[u8]>)) -> usize {
        todo!()
    }

    /// Announces that the exporter is about to wait. False: a lane is above half, drain again instead. Producers
    /// that pass half of their lane afterwards wake it, once.
    pub fn park(&self) -> bool {
        todo!()
    }

    /// The exporter is awake: producers need not wake it.
    pub fn unpark(&self) {
        todo!()
    }

    /// Gives unused lane memory back to the operating system. Call when idle for a while.
    pub fn shrink(&mut self) {
        todo!()
    }

    /// Lanes alive, bytes in use now, most bytes ever in use.
    pub fn usage(&self) -> (usize, usize, usize) {
        todo!()
    }
}
