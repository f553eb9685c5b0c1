//! Appending small pieces to a vector under one check of capacity for all of them. Allocates only when the vector grows.
//!
//! A piece at a time, asking for room, writing and moving the end cost more than the bytes. Room that is zeroed first and
//! then written to is free of `unsafe`, and twice the stores.
#![expect(unsafe_code, reason = "a room's bytes are written before they are part of the vector")]

/// Names, keys and values are mostly no longer than this: two overlapping copies of constant size move them, without a
/// call.
pub const SHORT_BYTES: usize = 32;

/// Room for up to `N` bytes behind a vector's end. What is put there follows each other without a gap, and is part of the
/// vector from [`Room::end`] on.
///
/// All sizes being constants, or bounded by one, the compiler knows that most pieces fit: what is left of a piece is its
/// stores.
#[derive(Debug)]
#[must_use = "nothing is appended without end()"]
pub struct Room<'a, const N: usize> {
    out: &'a mut Vec<u8>,
    /// The first byte of the room: the vector has capacity for `N` from here on.
    start: *mut u8,
    /// Bytes written.
    len: usize,
}

impl<'a, const N: usize> Room<'a, N> {
    /// The one check of capacity.
    #[inline(always)]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.reserve(N);
        let start = out.spare_capacity_mut().as_mut_ptr().cast();
        Self { out, start, len: 0 }
    }

    /// Writes at an offset that may lie beyond what was put so far.
    #[inline(always)]
    fn write<const M: usize>(&mut self, at: usize, bytes: [u8; M]) {
        const { assert!(M <= N) }
        assert!(at <= N - M);
        // SAFETY: the room has `N` bytes from `start` on, and is borrowed from the vector, so nobody else has them.
        unsafe { self.start.add(at).cast::<[u8; M]>().write(bytes) }
    }

    /// Puts a few bytes.
    #[inline(always)]
    pub fn put<const M: usize>(&mut self, bytes: [u8; M]) {
        self.put_prefix(bytes, M);
    }

    /// Puts the first `len` of a few bytes. Takes up room for all of them.
    #[inline(always)]
    pub fn put_prefix<const M: usize>(&mut self, bytes: [u8; M], len: usize) {
        assert!(len <= M);
        self.write(self.len, bytes);
        self.len += len;
    }

    /// Puts a text of at most [`SHORT_BYTES`]: two copies of constant size that may overlap.
    #[inline(always)]
    pub fn put_short(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= SHORT_BYTES);
        let at = self.len;
        match bytes.len() {
            8..=16 => self.write_ends::<8>(bytes),
            17.. => self.write_ends::<16>(bytes),
            4..=7 => self.write_ends::<4>(bytes),
            2..=3 => self.write_ends::<2>(bytes),
            _ => bytes.first().into_iter().for_each(|byte| self.write(at, [*byte])),
        }
        self.len += bytes.len();
    }

    #[inline(always)]
    fn write_ends<const M: usize>(&mut self, bytes: &[u8]) {
        if let (Some(first), Some(last)) = (bytes.first_chunk::<M>(), bytes.last_chunk::<M>()) {
            self.write(self.len, *first);
            self.write(self.len + bytes.len() - M, *last);
        }
    }

    /// Where in the vector the next byte will stand.
    #[inline(always)]
    pub fn offset(&self) -> usize {
        self.out.len() + self.len
    }

    /// Appends what was put.
    #[inline(always)]
    pub fn end(self) {
        // SAFETY: `put_prefix` and `put_short`, which alone move `len`, have written all bytes below it, and the vector's
        // capacity has room for them.
        unsafe { self.out.set_len(self.offset()) }
    }
}
