//! Ints of one digit (below 2^30 on either side of zero), and times, read where they lie: nearly every measurement and count
//! is one, and asking the interpreter costs a third of what recording it does. Only in builds for one Python version, whose
//! layout is known; that it is what the interpreter has is checked at import.
#![expect(unsafe_code, reason = "reads an int's digit")]

use pyo3::ffi;
use pyo3::prelude::*;

/// The value of an exact `int` of one digit. `None`: ask the interpreter.
///
/// # Safety
/// `object` is alive.
#[inline(always)]
pub(super) unsafe fn small_int(object: *mut ffi::PyObject) -> Option<i64> {
    // SAFETY: alive, and an exact int, as `layout` asks.
    unsafe { if ffi::PyLong_CheckExact(object) != 0 { layout::value(object) } else { None } }
}

/// The value of a positive exact `int` of three digits, as the time is in nanoseconds. `None`: ask the interpreter.
///
/// # Safety
/// `object` is alive.
#[inline(always)]
pub(super) unsafe fn large_int(object: *mut ffi::PyObject) -> Option<i64> {
    // SAFETY: alive, and an exact int, as `layout` asks.
    let [low, middle, high] = unsafe {
        if ffi::PyLong_CheckExact(object) != 0 { layout::three_digits(object)? } else { return None }
    };
    (high < 8).then(|| i64::from(low) | i64::from(middle) << 30 | i64::from(high) << 60)
}

/// At import: an interpreter that was built otherwise (its digits can have 15 bits) is refused.
pub(super) fn check(py: Python<'_>) -> PyResult<()> {
    let values = [
        0,
        1,
        -1,
        7,
        256,
        257,
        40_000,
        -40_000,
        (1 << 30) - 1,
        1 - (1 << 30),
        1 << 30,
        1 << 60,
        i64::MAX,
        i64::MIN,
    ];
    let differs = |value: i64| -> PyResult<bool> {
        let object = value.into_pyobject(py)?;
        // SAFETY: alive.
        let read = unsafe { small_int(object.as_ptr()) };
        // Of digits with 15 bits the values up to 2^30 would take two.
        // SAFETY: alive.
        let large = unsafe { large_int(object.as_ptr()) };
        Ok(read.map_or(value.unsigned_abs() < 1 << 30, |read| read != value)
            || large.is_some_and(|read| read != value))
    };
    for value in values {
        if differs(value)? {
            let text =
                "pytracingx: this interpreter's ints are laid out otherwise than those it was built for";
            return Err(pyo3::exceptions::PyImportError::new_err(text));
        }
    }
    Ok(())
}

#[cfg(all(Py_3_12, not(Py_3_15), not(any(Py_LIMITED_API, PyPy, GraalPy))))]
mod layout {
    use pyo3::ffi;

    #[repr(C)]
    struct Int {
        base: ffi::PyObject,
        /// From the low end: 1 minus the sign (2 bits), a flag, the number of digits.
        tag: usize,
        digit: u32,
    }

    #[inline(always)]
    pub(super) unsafe fn three_digits(object: *mut ffi::PyObject) -> Option<[u32; 3]> {
        // SAFETY: an int, of the digits that are read; it never changes.
        unsafe {
            let int = object.cast::<Int>();
            let is_positive = (*int).tag & 3 == 0;
            ((*int).tag >> 3 == 3 && is_positive).then(|| *(&raw const (*int).digit).cast())
        }
    }

    #[inline(always)]
    pub(super) unsafe fn value(object: *mut ffi::PyObject) -> Option<i64> {
        // SAFETY: an int, which has at least one digit, that of zero being 0; it never changes.
        unsafe {
            let Int { tag, digit, .. } = *object.cast::<Int>();
            (tag < 2 << 3).then(|| (1 - (tag & 3) as i64) * i64::from(digit))
        }
    }
}

#[cfg(not(any(Py_3_12, Py_LIMITED_API, PyPy, GraalPy)))]
mod layout {
    use pyo3::ffi;

    #[repr(C)]
    struct Int {
        /// Its size is the number of digits, with the int's sign.
        base: ffi::PyVarObject,
        digit: u32,
    }

    #[inline(always)]
    pub(super) unsafe fn three_digits(object: *mut ffi::PyObject) -> Option<[u32; 3]> {
        // SAFETY: an int, of the digits that are read; it never changes.
        unsafe {
            let int = object.cast::<Int>();
            ((*int).base.ob_size == 3).then(|| *(&raw const (*int).digit).cast())
        }
    }

    #[inline(always)]
    pub(super) unsafe fn value(object: *mut ffi::PyObject) -> Option<i64> {
        // SAFETY: an int, of at least the digits that are read; it never changes.
        unsafe {
            let int = object.cast::<Int>();
            match (*int).base.ob_size {
                1 => Some(i64::from((*int).digit)),
                0 => Some(0),
                -1 => Some(-i64::from((*int).digit)),
                _ => None,
            }
        }
    }
}

#[cfg(any(Py_3_15, Py_LIMITED_API, PyPy, GraalPy))]
mod layout {
    use std::ffi::c_int;

    use pyo3::ffi;

    pub(super) unsafe fn three_digits(_object: *mut ffi::PyObject) -> Option<[u32; 3]> {
        None
    }

    #[inline(always)]
    pub(super) unsafe fn value(object: *mut ffi::PyObject) -> Option<i64> {
        let mut overflow: c_int = 0;
        // SAFETY: attached, an int.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow) };
        (overflow == 0).then_some(value)
    }
}
