//! `add` as nearly all programs call it: a small int, of a counter without attributes or of a bound handle, goes to a tally.
//! That is a dozen instructions and no frame; everything else goes on to [`super::instrument`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::sync::atomic::Ordering;

use pyo3::ffi;

use super::fastcall::none;
use super::instrument::{COUNTER, InstrumentObject, record, record_bound};
use super::small_int::small_int;
use crate::emit;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// Python's global lock keeps calls apart.
pub(super) const ALONE: bool = cfg!(not(Py_GIL_DISABLED));

/// Adds a small int to the instrument's tally. False, having done nothing: it is another value, or the tally none of the
/// current session's.
#[inline(always)]
unsafe fn add_to_tally<const KIND: u8>(object: *mut InstrumentObject, value: Object) -> bool {
    // SAFETY: alive. Nothing Python runs, so on builds with the lock a tally is not replaced while it is looked at; on
    // others those that were live as long as the object.
    unsafe {
        let Some(value) = small_int(value) else { return false };
        if KIND == COUNTER && value < 0 {
            return false;
        }
        // Acquire: pairs with the exchange in `register`.
        let tally = (*object).tally.load(Ordering::Acquire);
        !tally.is_null() && emit::add(&*tally, value, ALONE)
    }
}

/// `add` of an instrument: what a tally takes needs no more than this.
pub(super) unsafe extern "C" fn add<const KIND: u8>(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    // SAFETY: as called: `count` positional arguments.
    unsafe {
        if names.is_null() && count == 1 && add_to_tally::<KIND>(this.cast(), *args) {
            return none();
        }
        record::<KIND>(this, args, count, names)
    }
}

/// `add` of a bound handle.
pub(super) unsafe extern "C" fn add_bound<const KIND: u8>(
    this: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    // SAFETY: as called: `count` positional arguments.
    unsafe {
        if names.is_null() && count == 1 && add_to_tally::<KIND>(this.cast(), *args) {
            return none();
        }
        record_bound::<KIND>(this, args, count, names)
    }
}
