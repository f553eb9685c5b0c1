//! What an instrument remembers of the session that it was used in last, in one word: no reader ever sees a part of it
//! with another part of something older. Plain arithmetic.

use crate::instruments::{Exemplars, MAX_BINDINGS, MAX_INSTRUMENTS};

/// What the session that an instrument was used in last says of it: from the low end the instrument's id (0: nobody
/// wants its measurements), which of them may become exemplars, the id of the bound attributes, the session.
#[derive(Clone, Copy)]
pub(super) struct Word(pub(super) u64);

const ID_BITS: u32 = 17;
const BINDING_SHIFT: u32 = ID_BITS + 2;
/// The other 28 bits: a session is mistaken for the one 2^28 sessions before.
const SESSION_SHIFT: u32 = BINDING_SHIFT + ID_BITS;
const _: () = assert!(MAX_INSTRUMENTS < 1 << ID_BITS && MAX_BINDINGS < 1 << ID_BITS);

impl Word {
    /// Of no session.
    pub(super) const NOTHING: Self = Self(0);

    pub(super) fn new(session: u64, instrument: u32, exemplars: Exemplars, binding: u32) -> Self {
        let word = session << SESSION_SHIFT | u64::from(binding) << BINDING_SHIFT;
        Self(word | (exemplars as u64) << ID_BITS | u64::from(instrument))
    }

    #[inline]
    pub(super) fn is_of(self, session: u64) -> bool {
        self.0 >> SESSION_SHIFT == session & (u64::MAX >> SESSION_SHIFT)
    }

    #[inline]
    pub(super) fn instrument(self) -> u32 {
        self.0 as u32 & ((1 << ID_BITS) - 1)
    }

    #[inline]
    pub(super) fn wants(self, exemplars: Exemplars) -> bool {
        self.0 >> ID_BITS & 3 == exemplars as u64
    }

    #[inline]
    pub(super) fn binding(self) -> u32 {
        (self.0 >> BINDING_SHIFT) as u32 & ((1 << ID_BITS) - 1)
    }
}
