//! Lane memory: equal blocks in one reserved region, addressed by index, so nothing in it is a pointer. Taking and
//! giving back a block is lock-free, allocates nothing and makes no system call; memory is resident only where a
//! block has been touched. Any thread may take, only the exporter gives back and releases.
#![expect(unsafe_code, reason = "blocks are views into raw memory that producers and the drainer share")]

use std::io;

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Bytes of a block, its header included. 64 KiB: a fast thread (0.4 µs and 192 bytes a span) switches blocks every
/// 340 spans, so what a switch costs does not show, and an idle thread keeps no more than this.
#[cfg(not(loom))]
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
/// Loom explores every interleaving, so its blocks hold two one-slot records.
#[cfg(loom)]
pub(crate) const BLOCK_BYTES: usize = 3 * 64;

/// Bytes before the first record; one cache line, so that publishing does not share one with data.
pub(crate) const HEADER_BYTES: usize = 64;

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
    /// Top of the stack of free blocks in the low half; a counter against ABA in the high half. Last in, first out:
    /// a busy session keeps using the few blocks that are warm, and the rest of the region is never touched.
    free: AtomicU64,
    /// Blocks taken and not given back. Advisory: read to decide about waking the exporter.
    in_use: AtomicU32,
}

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
            free: AtomicU64::new(0),
            in_use: AtomicU32::new(0),
        })
    }

    pub(crate) fn block_count(&self) -> u32 {
        self.count
    }

    pub(crate) fn in_use(&self) -> u32 {
        // Relaxed: advisory.
        self.in_use.load(Ordering::Relaxed)
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
    #[inline]
    pub(crate) unsafe fn write(&self, block: u32, at: u32, head: &[u8; 64], body: &[u8]) {
        debug_assert!(block != NONE && block <= self.count);
        debug_assert!(at as usize >= HEADER_BYTES && at as usize + 64 + body.len() <= BLOCK_BYTES);
        // SAFETY: in bounds by the caller's promise; readers stay below the published tail, so nobody else accesses
        // these bytes; the sources are not in the region.
        unsafe {
            let to = self.region.as_ptr().add((block - 1) as usize * BLOCK_BYTES + at as usize);
            to.copy_from_nonoverlapping(head.as_ptr(), 64);
            to.add(64).copy_from_nonoverlapping(body.as_ptr(), body.len());
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
        let block = self.pop_free().or_else(|| self.take_fresh())?;
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

    fn pop_free(&self) -> Option<u32> {
        // Acquire: pairs with the Release in `give_back`, so that the drainer's last reads of the block happen before
        // our writes to it.
        let mut top = self.free.load(Ordering::Acquire);
        loop {
            let block = top as u32;
            if block == NONE {
                return None;
            }
            // Relaxed: if somebody else took the block meanwhile, this may be any value; the counter in `top` makes
            // the exchange below fail then.
            let below = self.header(block).next.load(Ordering::Relaxed);
            let new = stacked(below, top);
            match self.free.compare_exchange_weak(top, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(block),
                Err(now) => top = now,
            }
        }
    }

    /// Gives a drained block back.
    pub(crate) fn give_back(&self, block: u32) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        self.push_free(block);
    }

    fn push_free(&self, block: u32) {
        // Relaxed: the exchange validates it.
        let mut top = self.free.load(Ordering::Relaxed);
        loop {
            self.header(block).next.store(top as u32, Ordering::Relaxed);
            // Release: publishes the link, and that the drainer is done with the block.
            match self.free.compare_exchange_weak(
                top,
                stacked(block, top),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Returns the memory of free blocks above `keep` to the operating system (a page of each stays, for the link).
    #[cfg(not(loom))]
    pub(crate) fn release_free(&self, keep: usize) {
        let mut taken = Vec::new();
        while let Some(block) = self.pop_free() {
            taken.push(block);
        }
        // `taken` is warmest first. The coldest goes back first, so that the warm ones end on top again.
        for (position, block) in taken.iter().enumerate().rev() {
            if position >= keep {
                let page = crate::sys::memory::ALIGN_BYTES;
                let offset = (block - 1) as usize * BLOCK_BYTES + page;
                // SAFETY: we took the block off the stack, so nobody reads or writes its records; the header, which
                // others may still look at, lies in the page before.
                unsafe { self.region.release(offset, BLOCK_BYTES - page) };
            }
            self.push_free(*block);
        }
    }
}

/// The free stack's next state: `block` on top, the counter one further.
fn stacked(block: u32, old: u64) -> u64 {
    ((old >> 32).wrapping_add(1) << 32) | u64::from(block)
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("blocks", &self.count).field("in_use", &self.in_use()).finish()
    }
}
