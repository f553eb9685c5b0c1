//! Whether this thread is inside code that our own code runs: a log record's conversion, an observable instrument's
//! callback. What is logged there is dropped and counted, or one record would beget another without end.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, this thread is inside. Not to be sent to another thread.
pub(super) struct Entered(PhantomData<*const ()>);

impl Entered {
    /// `None`: the thread is inside already.
    #[inline]
    pub(super) fn begin() -> Option<Self> {
        (!INSIDE.replace(true)).then_some(Self(PhantomData))
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}
