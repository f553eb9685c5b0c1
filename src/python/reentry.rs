//! Whether the calling thread is inside of code that this package runs on its own account (a callback, a handler): what
//! such code logs through the standard library must not come back to us. A thread-local flag; never blocks.

use std::cell::Cell;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// While it lives this thread is inside.
#[must_use = "ends when dropped"]
pub(super) struct Entered(());

impl Entered {
    /// Whether this thread is inside.
    #[inline]
    pub(super) fn is_inside() -> bool {
        INSIDE.try_with(Cell::get).unwrap_or(true)
    }

    /// `None`: it is inside already.
    #[inline]
    pub(super) fn begin() -> Option<Self> {
        let was_inside = INSIDE.try_with(|inside| inside.replace(true)).unwrap_or(true);
        // Not `then_some`: it would make one and drop it, which ends the outer one.
        if was_inside { None } else { Some(Self(())) }
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| inside.set(false));
    }
}
