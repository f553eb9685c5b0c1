//! Address space for lanes: reserved at once, resident only where touched, always zero at first sight.
//!
//! Two system calls to reserve, one to release, one to drop; reading and writing is plain memory. Any thread may
//! hold the pointer; who may touch which byte when is the lanes' business. In a forked child a region is a
//! copy-on-write copy of the parent's, so a child can never scribble over its parent's records.
#![expect(unsafe_code, reason = "memory mapping is a system call, and its result a raw pointer")]

use std::io;
use std::ptr::NonNull;

/// A region starts at a multiple of this, and [`Region::release`] takes multiples of it, whatever the platform's
/// page size is.
pub const ALIGN_BYTES: usize = 4096;

/// Zeroed, page-aligned memory of fixed size that costs nothing until touched. Dropping it unmaps it.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a region is an address range that belongs to no thread; its methods only ask the kernel for things.
unsafe impl Send for Region {}
// SAFETY: as above; through `&Region` one gets a raw pointer, and every access through that is its user's `unsafe`.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves `bytes`, rounded up to [`ALIGN_BYTES`]; at least that much.
    ///
    /// # Errors
    /// The operating system's, when it has no address space left.
    pub fn reserve(bytes: usize) -> io::Result<Self> {
        let bytes = bytes
            .max(1)
            .checked_next_multiple_of(ALIGN_BYTES)
            .filter(|bytes| isize::try_from(*bytes).is_ok())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start: os::map(bytes)?, bytes })
    }

    /// First byte, aligned to [`ALIGN_BYTES`]; valid for [`Region::bytes`] bytes as long as the region lives.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Zeroes a range and gives its memory back to the operating system where that is possible.
    ///
    /// # Safety
    /// The range lies within the region, both numbers are multiples of [`ALIGN_BYTES`], and nobody else touches the
    /// range, or holds a reference into it, during the call.
    pub unsafe fn release(&self, offset: usize, len: usize) {
        debug_assert!(offset.is_multiple_of(ALIGN_BYTES) && len.is_multiple_of(ALIGN_BYTES));
        debug_assert!(offset.checked_add(len).is_some_and(|end| end <= self.bytes));
        // SAFETY: inside the mapping, and exclusively ours, both by this function's contract.
        unsafe { os::release(self.start.add(offset), len) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by `reserve` with this size, and not used after this.
        unsafe { os::unmap(self.start, self.bytes) }
    }
}

#[cfg(all(unix, not(miri)))]
mod os {
    use std::io;
    use std::ptr::{NonNull, null_mut};

    pub(super) fn map(bytes: usize) -> io::Result<NonNull<u8>> {
        // SAFETY: asks for a new mapping wherever the kernel likes; touches no existing memory.
        let start = unsafe {
            libc::mmap(
                null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // A huge page would make 2 MiB resident for the first touched byte. Advice: failing changes nothing else.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: the mapping made above.
        unsafe {
            libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE);
        }
        NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// # Safety
    /// The range is mapped and not in use.
    pub(super) unsafe fn release(start: NonNull<u8>, len: usize) {
        // Linux promises zero pages after DONTNEED on private anonymous memory. It rounds lengths up to its page size,
        // which can be 64 KiB: such a range is zeroed by hand. Locked memory is refused (EINVAL).
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: by this function's contract.
        if unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            start.addr().get().is_multiple_of(page)
                && len.is_multiple_of(page)
                && libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTNEED) == 0
        } {
            return;
        }
        // SAFETY: by this function's contract.
        unsafe { start.write_bytes(0, len) };
        // Elsewhere pages stay or go at the kernel's leisure; either way they read as zero now.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        // SAFETY: by this function's contract.
        unsafe {
            libc::madvise(start.as_ptr().cast(), len, libc::MADV_FREE);
        }
    }

    /// # Safety
    /// `start` and `bytes` are of one successful `map`, and nothing uses the memory any more.
    pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
        // SAFETY: by this function's contract.
        unsafe {
            libc::munmap(start.as_ptr().cast(), bytes);
        }
    }
}

/// Windows, and Miri: the global allocator. Large zeroed allocations come from fresh pages there too; `release`
/// zeroes but keeps them.
#[cfg(not(all(unix, not(miri))))]
mod os {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::io;
    use std::ptr::NonNull;

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes, super::ALIGN_BYTES).ok()
    }

    pub(super) fn map(bytes: usize) -> io::Result<NonNull<u8>> {
        let layout = layout(bytes).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: `reserve` never asks for zero bytes.
        NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// # Safety
    /// The range is mapped and not in use.
    pub(super) unsafe fn release(start: NonNull<u8>, len: usize) {
        // SAFETY: by this function's contract.
        unsafe { start.write_bytes(0, len) }
    }

    /// # Safety
    /// `start` and `bytes` are of one successful `map`, and nothing uses the memory any more.
    pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
        if let Some(layout) = layout(bytes) {
            // SAFETY: by this function's contract; `map` allocated with the same layout.
            unsafe { dealloc(start.as_ptr(), layout) }
        }
    }
}
