//! Trace and span ids: their bytes as they go on the wire, their hexadecimal form, and the generator that each
//! recording thread owns. Nothing here allocates or blocks; only [`IdGenerator::from_entropy`] makes a system call.

use std::fmt;

use bytemuck::{Pod, Zeroable};

/// W3C trace flag: at least one sink records the span.
pub const FLAG_SAMPLED: u8 = 0x01;
/// W3C trace flag (level 2): the trace id's low seven bytes are random.
pub const FLAG_RANDOM: u8 = 0x02;

/// 16 bytes, big-endian as on the wire; all zero is "none".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct TraceId(pub [u8; 16]);

/// 8 bytes, big-endian as on the wire; all zero is "none".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct SpanId(pub [u8; 8]);

impl TraceId {
    /// "No trace".
    pub const NONE: Self = Self([0; 16]);

    /// False for the all-zero id.
    pub fn is_valid(self) -> bool {
        self.0 != [0; 16]
    }

    /// The low 64 bits that ratio samplers compare.
    pub fn low64(self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// 32 lower-case hexadecimal digits.
    pub fn to_hex(self) -> [u8; 32] {
        let mut out = [0; 32];
        hex_into(&self.0, &mut out);
        out
    }

    /// Parses exactly 32 lower-case hexadecimal digits; `None` for anything else and for the all-zero id.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut id = Self::NONE;
        (unhex(text, &mut id.0) && id.is_valid()).then_some(id)
    }
}

impl SpanId {
    /// "No span".
    pub const NONE: Self = Self([0; 8]);

    /// False for the all-zero id.
    pub fn is_valid(self) -> bool {
        self.0 != [0; 8]
    }

    /// The id at an index of those that follow from this one, which is random: a splitmix64 of it, so they are as random,
    /// and distinct.
    #[inline]
    pub fn nth(self, index: u64) -> Self {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = u64::from_ne_bytes(self.0).wrapping_add(index.wrapping_add(1).wrapping_mul(STEP));
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        Self((if bits == 0 { STEP } else { bits }).to_ne_bytes())
    }

    /// 16 lower-case hexadecimal digits.
    pub fn to_hex(self) -> [u8; 16] {
        let mut out = [0; 16];
        hex_into(&self.0, &mut out);
        out
    }

    /// Parses exactly 16 lower-case hexadecimal digits; `None` for anything else and for the all-zero id.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut id = Self::NONE;
        (unhex(text, &mut id.0) && id.is_valid()).then_some(id)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_hex()))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_hex()))
    }
}

/// Writes two lower-case digits per byte. `out` is twice as long as `bytes`.
pub fn hex_into(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    debug_assert_eq!(out.len(), bytes.len() * 2);
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Reads lower-case hexadecimal digits (W3C allows no upper case); false when the length or a digit is wrong.
pub fn unhex(text: &[u8], out: &mut [u8]) -> bool {
    fn digit(c: u8) -> Option<u8> {
        match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        }
    }
    text.len() == out.len() * 2
        && text.chunks_exact(2).zip(out).all(|(pair, byte)| match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => {
                *byte = high << 4 | low;
                true
            }
            _ => false,
        })
}

/// xoshiro256++: 2^256 − 1 period, passes BigCrush, four words of state, no lock. One per recording thread and
/// session, so a forked child (a new session) never repeats its parent's ids.
#[derive(Debug, Clone)]
pub struct IdGenerator([u64; 4]);

impl IdGenerator {
    /// Seeds from the operating system. One system call.
    pub fn from_entropy() -> Self {
        let mut seed = [0_u8; 32];
        if getrandom::fill(&mut seed).is_err() {
            // No entropy source is a broken system; distinct ids per thread are still better than none.
            let address = std::ptr::from_ref(&seed) as u64;
            let nanos = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |elapsed| elapsed.as_nanos() as u64);
            seed[..8].copy_from_slice(&address.to_ne_bytes());
            seed[8..16].copy_from_slice(&nanos.to_ne_bytes());
            seed[16..20].copy_from_slice(&std::process::id().to_ne_bytes());
        }
        Self::from_seed(seed)
    }

    /// A generator with a known sequence, for tests. An all-zero seed is replaced (it would yield only zeros).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().expect("chunks of eight"));
        }
        if state == [0; 4] {
            state = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 1];
        }
        Self(state)
    }

    #[inline(always)]
    fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A fresh, valid trace id.
    #[inline(always)]
    pub fn trace_id(&mut self) -> TraceId {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&self.next_u64().to_ne_bytes());
            bytes[8..].copy_from_slice(&self.next_u64().to_ne_bytes());
            if bytes != [0; 16] {
                return TraceId(bytes);
            }
        }
    }

    /// A fresh, valid span id.
    #[inline(always)]
    pub fn span_id(&mut self) -> SpanId {
        loop {
            let bytes = self.next_u64().to_ne_bytes();
            if bytes != [0; 8] {
                return SpanId(bytes);
            }
        }
    }
}
