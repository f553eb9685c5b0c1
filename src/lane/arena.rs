//! Lane memory: equal blocks in one reserved region, addressed by index, so nothing in it is a pointer. Taking and
//! giving back a block is lock-free, allocates nothing and makes no system call; memory is resident only where a
//! block has been touched. Any thread may take and give back, only the exporter releases.
#![expect(unsafe_code, reason = "blocks are views into raw memory that producers and the drainer share")]

use std::io;

use crate::sync::{AtomicU32, AtomicU64, Ordering, release_unless};

/// A weakened build must fail the models.
const GIVE_BACK: Ordering = release_unless(cfg!(loom_seeded_bug = "relaxed_give_back"));

/// Bytes of a block, its header included. 64 KiB: a fast thread (0.4 µs and 192 bytes a span) switches blocks every
/// 340 spans, so what a switch costs does not show, and an idle thread keeps no more than this.
#[cfg(not(loom))]
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
/// Loom explores every interleaving, so its blocks hold two one-slot records.
#[cfg(loom)]
pub(crate) const BLOCK_BYTES: usize = 3 * 64;

/// Bytes before the first record; one cache line, so that publishing does not share one with data.
pub(crate) const HEADER_BYTES: usize = 64;

/// Free blocks that stay resident in a session that has recorded: 256 KiB, what a lane takes before it wakes the exporter.
/// A burst after a pause then meets no page fault there, of which each costs a recording call 1 or 2 µs (measured: 80 for
/// 3000 records, a third of what these cost).
#[cfg(not(loom))]
const WARM_BLOCKS: u32 = 4;

/// No block. Block indices are stored plus one so that zeroed memory reads as "none".
pub(crate) const NONE: u32 = 0;

/// What a block says about itself.
#[repr(C, align(64))]
pub(crate) struct BlockHeader {
    /// Bytes of the block that are published, header included; 0 reads as [`HEADER_BYTES`]. Written by the producer.
    pub(crate) tail: AtomicU32,
    /// In a lane: the block after this one. In the free stack: the free block below.
    pub(crate) next: AtomicU32,
}

/// All blocks of a session.
pub(crate) struct Arena {
    #[cfg(not(loom))]
    region: crate::sys::memory::Region,
    #[cfg(loom)]
    blocks: Vec<(BlockHeader, [loom::cell::UnsafeCell<[u8; 64]>; BLOCK_BYTES / 64])>,
    count: u32,
    /// Blocks from here on were never taken. Never above `count`.
    fresh: AtomicU32,
    /// Free blocks that were used lately. Last in, first out: a busy session keeps using the few blocks that are in
    /// the cache, and the rest of the region is never touched.
    warm: Stack,
    /// How many those are, or will be at once. Advisory.
    warm_blocks: AtomicU32,
    /// Free blocks whose memory went back to the operating system.
    #[cfg(not(loom))]
    cold: Stack,
    /// Blocks taken and not given back. Advisory.
    in_use: AtomicU32,
    /// Those of them that their lane's writer has left behind. Advisory: read to decide about waking the exporter.
    waiting: AtomicU32,
}

/// A stack of free blocks, linked through their headers: the top in the low half, a counter against ABA in the high.
struct Stack(AtomicU64);

impl Arena {
    pub(crate) fn new(budget_bytes: usize) -> io::Result<Self> {
        let count = u32::try_from(budget_bytes / BLOCK_BYTES).unwrap_or(u32::MAX - 1).max(1);
        Ok(Self {
            #[cfg(not(loom))]
            region: crate::sys::memory::Region::reserve(count as usize * BLOCK_BYTES)?,
            #[cfg(loom)]
            blocks: (0..count)
                .map(|_| {
                    let header = BlockHeader { tail: AtomicU32::new(0), next: AtomicU32::new(NONE) };
                    (header, std::array::from_fn(|_| loom::cell::UnsafeCell::new([0; 64])))
                })
                .collect(),
            count,
            fresh: AtomicU32::new(0),
            warm: Stack(AtomicU64::new(0)),
            warm_blocks: AtomicU32::new(0),
            #[cfg(not(loom))]
            cold: Stack(AtomicU64::new(0)),
            in_use: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        })
    }

    pub(crate) fn in_use(&self) -> u32 {
        // Relaxed: advisory.
        self.in_use.load(Ordering::Relaxed)
    }

    /// More than a quarter of what lanes do not hold anyway (each keeps the block that it fills) waits to be drained.
    pub(crate) fn is_pressed(&self) -> bool {
        // Relaxed: advisory; where the order against parking matters there is a fence (`Doorbell`).
        let waiting = self.waiting.load(Ordering::Relaxed);
        let kept = self.in_use().saturating_sub(waiting);
        u64::from(waiting) * 4 > u64::from(self.count.saturating_sub(kept))
    }

    /// A writer has left a full block behind. Before it links the next one, so that the count is never below zero.
    pub(crate) fn count_waiting(&self) {
        // Relaxed: see `is_pressed`; ordered before `give_back_drained` by the link.
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// The header of a block. `block` came from [`Arena::take`].
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn header(&self, block: u32) -> &BlockHeader {
        debug_assert!(block != NONE && block <= self.count);
        // SAFETY: the block lies inside the region (indices only come from `take`), is page aligned, lives as long as
        // `self`, and its first line is only ever accessed as this struct of atomics, for which zero is valid.
        unsafe { &*self.region.as_ptr().add((block - 1) as usize * BLOCK_BYTES).cast::<BlockHeader>() }
    }

    #[cfg(loom)]
    pub(crate) fn header(&self, block: u32) -> &BlockHeader {
        &self.blocks[block as usize - 1].0
    }

    /// Writes `head` and behind it `body` at `at`.
    ///
    /// # Safety
    /// The caller owns `block` as its producer, `at >= HEADER_BYTES`, both parts fit, and nothing at or after `at` is
    /// published.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) unsafe fn write(&self, block: u32, at: u32, head: &[u8; 64], body: &[u8]) {
        debug_assert!(block != NONE && block <= self.count);
        debug_assert!(at as usize >= HEADER_BYTES && at as usize + 64 + body.len() <= BLOCK_BYTES);
        // SAFETY: in bounds by the caller's promise; readers stay below the published tail, so nobody else accesses
        // these bytes; the sources are not in the region.
        unsafe {
            let to = self.region.as_ptr().add((block - 1) as usize * BLOCK_BYTES + at as usize);
            to.copy_from_nonoverlapping(head.as_ptr(), 64);
            if !body.is_empty() {
                let beyond = if cfg!(seeded_bug = "out_of_bounds") { 1 } else { 0 };
                to.add(64).copy_from_nonoverlapping(body.as_ptr(), body.len() + beyond);
            }
        }
    }

    /// The models' records take one slot each, and loom watches each slot by itself.
    #[cfg(loom)]
    pub(crate) unsafe fn write(&self, block: u32, at: u32, head: &[u8; 64], _body: &[u8]) {
        self.blocks[block as usize - 1].1[at as usize / 64].with_mut(|slot| {
            // SAFETY: loom checks that no other access overlaps.
            unsafe { *slot = *head };
        });
    }

    /// Has `fill` write a record at `at`, in place: its first slot, and the body behind it, which is as it was left.
    ///
    /// # Safety
    /// As [`Arena::write`], with a body of `body_bytes`.
    #[cfg(not(loom))]
    #[inline(always)]
    pub(crate) unsafe fn fill(
        &self,
        block: u32,
        at: u32,
        body_bytes: usize,
        fill: impl FnOnce(&mut [u8; 64], &mut [u8]),
    ) {
        debug_assert!(block != NONE && block <= self.count);
        debug_assert!(at as usize >= HEADER_BYTES && at as usize + 64 + body_bytes <= BLOCK_BYTES);
        // SAFETY: in bounds by the caller's promise; readers stay below the published tail, so nobody else accesses
        // these bytes; memory of the region is initialised from the start, and the two parts do not overlap.
        let (head, body) = unsafe {
            let to = self.region.as_ptr().add((block - 1) as usize * BLOCK_BYTES + at as usize);
            (&mut *to.cast::<[u8; 64]>(), std::slice::from_raw_parts_mut(to.add(64), body_bytes))
        };
        fill(head, body);
    }

    #[cfg(loom)]
    pub(crate) unsafe fn fill(
        &self,
        block: u32,
        at: u32,
        _body_bytes: usize,
        fill: impl FnOnce(&mut [u8; 64], &mut [u8]),
    ) {
        self.blocks[block as usize - 1].1[at as usize / 64].with_mut(|slot| {
            // SAFETY: loom checks that no other access overlaps.
            fill(unsafe { &mut *slot }, &mut []);
        });
    }

    /// Reads published bytes.
    ///
    /// # Safety
    /// The caller is the lane's drainer and read (with Acquire) a tail of `block` of at least `to`.
    #[cfg(not(loom))]
    pub(crate) unsafe fn read(&self, block: u32, from: u32, to: u32, f: &mut dyn FnMut(&[u8])) {
        debug_assert!(block != NONE && block <= self.count);
        debug_assert!(HEADER_BYTES as u32 <= from && from <= to && to as usize <= BLOCK_BYTES);
        // SAFETY: inside the block; published bytes are not written again before the drainer gives the block back.
        let bytes = unsafe {
            let start = self.region.as_ptr().add((block - 1) as usize * BLOCK_BYTES + from as usize);
            std::slice::from_raw_parts(start, (to - from) as usize)
        };
        f(bytes);
    }

    #[cfg(loom)]
    pub(crate) unsafe fn read(&self, block: u32, from: u32, to: u32, f: &mut dyn FnMut(&[u8])) {
        for slot in &self.blocks[block as usize - 1].1[from as usize / 64..to as usize / 64] {
            // SAFETY: loom checks that no write overlaps.
            slot.with(|slot| f(unsafe { &*slot }));
        }
    }

    /// A block with an empty header, owned by the caller; `None` when the budget is used up. Lock-free.
    pub(crate) fn take(&self) -> Option<u32> {
        let block = self.pop_warm();
        #[cfg(not(loom))]
        let block = block.or_else(|| self.pop(&self.cold));
        let block = block.or_else(|| self.take_fresh())?;
        let header = self.header(block);
        // Relaxed: published with the link (or registration) that makes the block reachable.
        header.tail.store(HEADER_BYTES as u32, Ordering::Relaxed);
        header.next.store(NONE, Ordering::Relaxed);
        self.in_use.fetch_add(1, Ordering::Relaxed);
        Some(block)
    }

    fn take_fresh(&self) -> Option<u32> {
        // Relaxed: the counter only hands out numbers; the memory behind them is zero for everybody.
        let fresh = self
            .fresh
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.count).then_some(n + 1));
        fresh.ok().map(|n| n + 1)
    }

    fn pop_warm(&self) -> Option<u32> {
        let block = self.pop(&self.warm)?;
        // Relaxed: advisory; after the increment in `push_warm`, for the block came from there.
        self.warm_blocks.fetch_sub(1, Ordering::Relaxed);
        Some(block)
    }

    fn push_warm(&self, block: u32) {
        // Relaxed: advisory; first, so that the count is never below zero.
        self.warm_blocks.fetch_add(1, Ordering::Relaxed);
        self.push(&self.warm, block);
    }

    fn pop(&self, stack: &Stack) -> Option<u32> {
        // Acquire: pairs with the Release in `push`, so that the drainer's last reads of the block happen before
        // our writes to it.
        let mut top = stack.0.load(Ordering::Acquire);
        loop {
            let block = top as u32;
            if block == NONE {
                return None;
            }
            // Relaxed: if somebody else took the block meanwhile, this may be any value; the counter in `top` makes
            // the exchange below fail then.
            let below = self.header(block).next.load(Ordering::Relaxed);
            let new = stacked(below, top);
            match stack.0.compare_exchange_weak(top, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(block),
                Err(now) => top = now,
            }
        }
    }

    /// Gives a block back that is its lane's last, or never was in a lane.
    pub(crate) fn give_back(&self, block: u32) {
        // Relaxed: advisory; after the increment in `take`, for the block came from there.
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        self.push_warm(block);
    }

    /// Gives a drained block back that its writer had left behind.
    pub(crate) fn give_back_drained(&self, block: u32) {
        // Relaxed: see `count_waiting`.
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.give_back(block);
    }

    fn push(&self, stack: &Stack, block: u32) {
        // Relaxed: the exchange validates it.
        let mut top = stack.0.load(Ordering::Relaxed);
        loop {
            // Relaxed: published by the exchange.
            self.header(block).next.store(top as u32, Ordering::Relaxed);
            // Release: publishes the link, and that the drainer is done with the block.
            match stack.0.compare_exchange_weak(top, stacked(block, top), GIVE_BACK, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Makes [`WARM_BLOCKS`] that were never taken resident.
    #[cfg(not(loom))]
    pub(crate) fn warm_up(&self) {
        let page = crate::sys::memory::ALIGN_BYTES;
        for block in (0..WARM_BLOCKS).map_while(|_| self.take_fresh()) {
            for offset in (0..BLOCK_BYTES).step_by(page) {
                // SAFETY: inside the region; nobody else has the block, which is all zeros.
                unsafe {
                    let block = self.region.as_ptr().add((block - 1) as usize * BLOCK_BYTES);
                    block.add(offset).write_volatile(0);
                }
            }
            self.push_warm(block);
        }
    }

    /// Returns the memory of free blocks but [`WARM_BLOCKS`] to the operating system (a page of each stays, for the link).
    /// One block at a time, so that a writer who needs one meanwhile finds the others.
    #[cfg(not(loom))]
    pub(crate) fn release_free(&self) {
        // Relaxed: how many stay is advice.
        while self.warm_blocks.load(Ordering::Relaxed) > WARM_BLOCKS
            && let Some(block) = self.pop_warm()
        {
            let page = crate::sys::memory::ALIGN_BYTES;
            let offset = (block - 1) as usize * BLOCK_BYTES + page;
            // SAFETY: we took the block off its stack, so nobody reads or writes its records; the header, which others
            // may still look at, lies in the page before.
            unsafe { self.region.release(offset, BLOCK_BYTES - page) };
            self.push(&self.cold, block);
        }
    }
}

/// A stack's next state: `block` on top, the counter one further.
fn stacked(block: u32, old: u64) -> u64 {
    ((old >> 32).wrapping_add(1) << 32) | u64::from(block)
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("blocks", &self.count).field("in_use", &self.in_use()).finish()
    }
}
