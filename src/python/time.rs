//! Times as callers give them: integer Unix nanoseconds. Anything else (a float, seconds, milliseconds) is counted and
//! replaced by now; the exporter warns about it once.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;

use super::fastcall::{Raised, given};
use super::small_int::large_int;
use crate::emit;
use crate::sys::ticks;

/// 1973: below it, a number is seconds, milliseconds or microseconds of our days rather than nanoseconds.
pub(super) const EARLIEST_UNIX_NANO: i64 = 100_000_000_000_000_000;

/// An optional time argument. `None`: not given, or unusable (counted).
///
/// # Safety
/// Attached, not inside `emit::with`; `argument` is alive or null.
#[inline(always)]
pub(super) unsafe fn given_unix_nano(
    argument: *mut ffi::PyObject,
    session: u64,
) -> Result<Option<u64>, Raised> {
    if !given(argument) {
        return Ok(None);
    }
    // SAFETY: alive.
    if let Some(time) = unsafe { large_int(argument) }.and_then(usable) {
        return Ok(Some(time));
    }
    // SAFETY: as promised by the caller.
    unsafe { other_unix_nano(argument, session) }
}

#[inline(never)]
unsafe fn other_unix_nano(argument: *mut ffi::PyObject, session: u64) -> Result<Option<u64>, Raised> {
    let mut overflow: c_int = 0;
    // SAFETY: attached, alive; an int (or a subclass) converts without running Python code.
    let nanos = unsafe {
        if ffi::PyLong_Check(argument) == 0 {
            -1
        } else {
            ffi::PyLong_AsLongLongAndOverflow(argument, &mut overflow)
        }
    };
    let time = usable(nanos).filter(|_| overflow == 0);
    if time.is_none() {
        count_unusable(1, session);
    }
    Ok(time)
}

/// A number that may be Unix nanoseconds.
#[inline]
pub(super) fn usable(nanos: i64) -> Option<u64> {
    (nanos >= EARLIEST_UNIX_NANO).then_some(nanos as u64)
}

/// Not inside `emit::with`.
#[cold]
pub(super) fn count_unusable(times: u64, session: u64) {
    emit::with(session, |thread| thread.intake.counters.unusable_times.add(times));
}

/// The current time in integer Unix nanoseconds, as every `*_time` and `timestamp` argument takes it.
///
/// Costs one clock read, under 0.1 µs.
#[pyfunction]
pub(super) fn now() -> u64 {
    ticks::unix_nano()
}

/// The Unix nanoseconds of an instant that `time.monotonic()` gave, in seconds.
///
/// Args:
///     seconds: As time.monotonic() gives it.
///
/// Returns:
///     Integer Unix nanoseconds, for record_span() and its siblings: engines stamp their stages with the monotonic clock.
///
/// Raises:
///     TypeError: what is no number.
///
/// The wall clock is read now: a stamp from before a step of the wall clock is converted as if there had been none.
#[pyfunction]
#[pyo3(signature = (seconds, /))]
pub(super) fn from_monotonic(seconds: f64) -> u64 {
    let sample = ticks::sample();
    let ago_nanos = sample.monotonic_nano as f64 - seconds * 1e9;
    // Saturating casts: NaN gives now, far futures and pasts the ends of the range.
    if ago_nanos >= 0.0 {
        sample.unix_nano.saturating_sub(ago_nanos as u64)
    } else {
        sample.unix_nano.saturating_add(-ago_nanos as u64)
    }
}
