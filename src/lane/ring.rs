//! One lane: a chain of blocks with one writing and one reading end.
//!
//! ```text
//!   reader ─► [block | tail ──────────]──next──►[block | tail ──────]──next──►[block | tail ─►   ] ◄─ writer
//!             drained, then given back                                         published up to tail
//! ```
//!
//! A record is contiguous and lies in one block. The writer copies it behind the tail and publishes it with one
//! release store of the tail; when a block has no room it takes another, publishes the record there, and links it.
//! Neither end ever waits for the other, and neither allocates. There is exactly one of each end; the writing end may
//! move between threads (a thread that exits hands it to the next one).
#![expect(unsafe_code, reason = "the ends read and write block memory under the protocol described above")]

use std::sync::Arc;

use super::arena::{Arena, BLOCK_BYTES, HEADER_BYTES, NONE};
use crate::sync::{AtomicBool, AtomicU32, Ordering, release_unless};

// What makes records visible; a build with one of them weakened must fail the models.
const PUBLISH: Ordering =
    release_unless(cfg!(any(loom_seeded_bug = "relaxed_tail", seeded_bug = "unordered")));
const LINK: Ordering = release_unless(cfg!(loom_seeded_bug = "relaxed_link"));
const CLOSE: Ordering = release_unless(cfg!(loom_seeded_bug = "relaxed_close"));

/// 256 KiB: a burst becomes resident up to here before anybody looks at it, and at 100 000 spans a second it is
/// reached ten times a second, so what a wake-up costs (about 20 µs) does not show. From there to the default bound a
/// fast thread has 16 ms; a wake-up was measured at up to 12.
const MARK_BLOCKS: u32 = 4;

/// What both ends of a lane see, beside its blocks.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The first block, for the reader to begin with. NONE until the writer took one.
    first: AtomicU32,
    /// Blocks the writer has taken. Written by the writer only.
    taken: AtomicU32,
    /// Blocks the reader has given back. Written by the reader only; may lag behind, which only makes the writer
    /// see less room than there is.
    given: AtomicU32,
    /// The writing end is gone. Set after its last publication.
    closed: AtomicBool,
}

impl Shared {
    /// Blocks between the ends.
    pub(crate) fn blocks(&self) -> u32 {
        // Relaxed: a bound and a fill level; where the order against parking matters there is a fence (`Doorbell`).
        self.taken.load(Ordering::Relaxed).wrapping_sub(self.given.load(Ordering::Relaxed))
    }

    /// So much waits that a sleeping exporter should be woken: [`MARK_BLOCKS`], or a quarter of a small lane. The
    /// block being filled does not count.
    pub(crate) fn is_pressed(&self, max_blocks: u32) -> bool {
        self.blocks().saturating_sub(1) > MARK_BLOCKS.min(max_blocks / 4)
    }
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Writer {
    arena: Arc<Arena>,
    shared: Arc<Shared>,
    /// The block being filled; NONE before the first record.
    block: u32,
    /// First free byte in it. `BLOCK_BYTES` when `block` is NONE, so that the first push takes a block.
    at: u32,
    /// Taken by [`Writer::reserve`] for the next record that begins a block, or NONE. Not in the lane yet.
    spare: u32,
    /// Bound for blocks between the ends, at least 1.
    max_blocks: u32,
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct Reader {
    arena: Arc<Arena>,
    shared: Arc<Shared>,
    /// NONE until the writer's first block was seen.
    block: u32,
    /// First unread byte in it.
    at: u32,
}

/// Largest payload that travels inside a lane.
pub const MAX_PAYLOAD_BYTES: usize = BLOCK_BYTES - HEADER_BYTES - 64;

/// A new, empty lane. It takes its first block with its first record.
pub(crate) fn lane(arena: &Arc<Arena>, max_blocks: u32) -> (Writer, Reader) {
    let shared = Arc::new(Shared {
        first: AtomicU32::new(NONE),
        taken: AtomicU32::new(0),
        given: AtomicU32::new(0),
        closed: AtomicBool::new(false),
    });
    let writer = Writer {
        arena: Arc::clone(arena),
        shared: Arc::clone(&shared),
        block: NONE,
        at: BLOCK_BYTES as u32,
        spare: NONE,
        max_blocks: max_blocks.max(1),
    };
    (writer, Reader { arena: Arc::clone(arena), shared, block: NONE, at: HEADER_BYTES as u32 })
}

impl Writer {
    /// Appends and publishes a record. `Ok(true)` when it began a new block: the moment to look at the fill level.
    /// `Err` when the lane or the arena is full; nothing is written then.
    #[inline(always)]
    pub(crate) fn push(&mut self, head: &[u8; 64], body: &[u8]) -> Result<bool, ()> {
        debug_assert!(body.len() <= MAX_PAYLOAD_BYTES);
        let need = (64 + body.len().next_multiple_of(64)) as u32;
        if need > BLOCK_BYTES as u32 - self.at {
            return self.push_into_new_block(*head, body, need);
        }
        // SAFETY: we are the only writer, the record fits, and `at` is the tail: nothing behind it is published.
        unsafe { self.arena.write(self.block, self.at, head, body) };
        self.at += need;
        // Release: the record's bytes are visible to whoever reads this tail.
        self.arena.header(self.block).tail.store(self.at, PUBLISH);
        Ok(false)
    }

    /// By value (as all that is out of line here): a reference would force every header through the stack.
    #[cold]
    #[inline(never)]
    fn push_into_new_block(&mut self, head: [u8; 64], body: &[u8], need: u32) -> Result<bool, ()> {
        let block = self.next_block()?;
        let at = HEADER_BYTES as u32;
        // SAFETY: a block just taken belongs to us alone and has nothing published; a record fits an empty block
        // because its payload is at most MAX_PAYLOAD_BYTES.
        unsafe { self.arena.write(block, at, &head, body) };
        self.link(block, at + need);
        Ok(true)
    }

    /// A block for the lane, not in it yet.
    fn next_block(&mut self) -> Result<u32, ()> {
        if self.shared.blocks() >= self.max_blocks {
            return Err(());
        }
        match std::mem::replace(&mut self.spare, NONE) {
            NONE => self.arena.take().ok_or(()),
            spare => Ok(spare),
        }
    }

    /// Makes a block, written up to `tail`, the lane's last. All of the block before is published.
    fn link(&mut self, block: u32, tail: u32) {
        // Relaxed: published by the link below.
        self.arena.header(block).tail.store(tail, Ordering::Relaxed);
        // Relaxed: see `Shared::blocks`. A plain add, for we are the only writer.
        self.shared.taken.store(self.shared.taken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        // Release: the record and the new block's header are visible to whoever follows the link. The old block's
        // tail was stored before, so a reader that sees the link also sees the final tail.
        match self.block {
            NONE => self.shared.first.store(block, LINK),
            old => {
                self.arena.count_waiting();
                self.arena.header(old).next.store(block, LINK);
            }
        }
        (self.block, self.at) = (block, tail);
    }

    /// Has `fill` write a record in place, behind what was written before. Readers see it after [`Writer::publish`]: any
    /// number of records for one store. Results as of [`Writer::push`].
    #[inline(always)]
    pub(crate) fn append(
        &mut self,
        body_bytes: usize,
        fill: impl FnOnce(&mut [u8; 64], &mut [u8]),
    ) -> Result<bool, ()> {
        debug_assert!(body_bytes <= MAX_PAYLOAD_BYTES);
        let need = (64 + body_bytes.next_multiple_of(64)) as u32;
        let is_new = need > BLOCK_BYTES as u32 - self.at;
        if is_new {
            self.begin_block()?;
        }
        // SAFETY: we are the only writer, the record fits (a new block because its body is at most MAX_PAYLOAD_BYTES),
        // and the published tail is at or before `at`. Should `fill` panic, `at` has not moved.
        unsafe { self.arena.fill(self.block, self.at, body_bytes, fill) };
        self.at += need;
        Ok(is_new)
    }

    #[cold]
    #[inline(never)]
    fn begin_block(&mut self) -> Result<(), ()> {
        let block = self.next_block()?;
        self.publish();
        self.link(block, HEADER_BYTES as u32);
        Ok(())
    }

    /// Makes visible what was appended.
    #[inline]
    pub(crate) fn publish(&self) {
        if self.block != NONE {
            // Release: the bytes of all records below are visible to whoever reads this tail.
            self.arena.header(self.block).tail.store(self.at, PUBLISH);
        }
    }

    /// Makes sure that the next push, of a record with this many payload bytes, is accepted. `Err` when the lane or the
    /// arena is full.
    pub(crate) fn reserve(&mut self, payload_bytes: usize) -> Result<(), ()> {
        let need = 64 + payload_bytes.next_multiple_of(64);
        if need <= BLOCK_BYTES - self.at as usize {
            return Ok(());
        }
        // Nobody but the writer uses a lane's room up, so what holds now holds at the push.
        if self.shared.blocks() >= self.max_blocks {
            return Err(());
        }
        if self.spare == NONE {
            self.spare = self.arena.take().ok_or(())?;
        }
        Ok(())
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Release: everything published happens before the flag; the reader looks at the flag *before* its last drain.
        self.shared.closed.store(true, CLOSE);
        if self.spare != NONE {
            self.arena.give_back(self.spare);
        }
    }
}

impl Reader {
    /// Hands out every record published so far, a run per block, and gives emptied blocks back. Returns the bytes
    /// handed out. At most as many blocks as were in the lane when it began, so a fast writer cannot hold it.
    pub(crate) fn drain(&mut self, run: &mut dyn FnMut(&[u8])) -> usize {
        let mut bytes = 0;
        // Relaxed: a bound, not a synchronisation.
        let taken = self.shared.taken.load(Ordering::Relaxed);
        let mut blocks_left = taken.wrapping_sub(self.shared.given.load(Ordering::Relaxed)).max(1);
        if self.block == NONE {
            // Acquire: pairs with the writer's Release; the block's header and records are visible.
            self.block = self.shared.first.load(Ordering::Acquire);
            if self.block == NONE {
                return 0;
            }
        }
        loop {
            let header = self.arena.header(self.block);
            // Acquire: pairs with the writer's Release of the link. Read before the tail: if there is a link, the
            // tail read after it is final.
            let next = header.next.load(Ordering::Acquire);
            // Acquire: pairs with the writer's Release; the bytes below the tail are visible.
            let tail = header.tail.load(Ordering::Acquire);
            if tail > self.at {
                // Before `run`: should that panic, what it did not copy is lost, but not handed out for ever.
                let from = std::mem::replace(&mut self.at, tail);
                // SAFETY: we are the lane's only reader and `tail` was read with Acquire.
                unsafe { self.arena.read(self.block, from, tail, run) };
                bytes += (tail - from) as usize;
            }
            // The block that the bound ends at is read too: what a drain leaves in the lane then came after it.
            if next == NONE || blocks_left == 0 {
                return bytes;
            }
            self.arena.give_back_drained(self.block);
            // Relaxed: a lagging count only makes the writer more careful.
            self.shared.given.fetch_add(1, Ordering::Relaxed);
            (self.block, self.at) = (next, HEADER_BYTES as u32);
            blocks_left -= 1;
        }
    }

    /// True once the writing end is gone. Ask before a drain: what that drain leaves is nothing.
    pub(crate) fn is_closed(&self) -> bool {
        // Acquire: pairs with the Release in `Writer::drop`; the last records are visible to the drain that follows.
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Nothing is left to read; for good, if the lane was closed before.
    pub(crate) fn is_drained(&self) -> bool {
        // Acquire: pairs with the writer's Release, as in `drain`.
        match self.block {
            NONE => self.shared.first.load(Ordering::Acquire) == NONE,
            block => {
                let header = self.arena.header(block);
                header.next.load(Ordering::Acquire) == NONE && header.tail.load(Ordering::Acquire) == self.at
            }
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Reader {
    /// A reader is dropped when its lane is closed and drained, and gives its last block back; or with the whole
    /// session, where a writer may still be at work, and where the arena goes anyway.
    fn drop(&mut self) {
        if self.block != NONE && self.is_closed() && self.is_drained() {
            self.arena.give_back(self.block);
        }
    }
}
