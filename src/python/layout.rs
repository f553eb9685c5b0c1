//! Objects of the interpreter read where they lie, in builds for one Python version; through its functions in the abi3
//! build. A call costs ten to twenty instructions, a look at a known place two or three. (Ints: [`super::small_int`].)
#![expect(unsafe_code, reason = "reads the interpreter's objects")]

use pyo3::ffi;

/// An item of a list, borrowed.
///
/// # Safety
/// Attached; `list` is a list, and `index` in range.
#[inline(always)]
pub(super) unsafe fn list_item(list: *mut ffi::PyObject, index: ffi::Py_ssize_t) -> *mut ffi::PyObject {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(not(Py_LIMITED_API))]
        return ffi::PyList_GET_ITEM(list, index);
        #[cfg(Py_LIMITED_API)]
        return ffi::PyList_GetItem(list, index);
    }
}

/// An item of a tuple, borrowed.
///
/// # Safety
/// Attached; `tuple` is a tuple, and `index` in range.
#[inline(always)]
pub(super) unsafe fn tuple_item(tuple: *mut ffi::PyObject, index: ffi::Py_ssize_t) -> *mut ffi::PyObject {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(not(Py_LIMITED_API))]
        return ffi::PyTuple_GET_ITEM(tuple, index);
        #[cfg(Py_LIMITED_API)]
        return ffi::PyTuple_GetItem(tuple, index);
    }
}

/// The length of a tuple.
///
/// # Safety
/// Attached; `tuple` is a tuple.
#[inline(always)]
pub(super) unsafe fn tuple_size(tuple: *mut ffi::PyObject) -> ffi::Py_ssize_t {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(not(Py_LIMITED_API))]
        return ffi::PyTuple_GET_SIZE(tuple);
        #[cfg(Py_LIMITED_API)]
        return ffi::PyTuple_Size(tuple);
    }
}

/// The bytes of a `str` of ASCII characters only, where they lie; `None` for others, and where the layout is not public.
///
/// # Safety
/// `text` is a `str`, alive as long as the result is used.
#[inline(always)]
pub(super) unsafe fn ascii<'a>(text: *mut ffi::PyObject) -> Option<&'a [u8]> {
    #[cfg(not(any(Py_LIMITED_API, Py_3_14)))]
    // SAFETY: as promised by the caller; a `str` of this form never changes.
    unsafe {
        if ffi::PyUnicode_IS_COMPACT_ASCII(text) != 0 {
            let len = ffi::PyUnicode_GET_LENGTH(text) as usize;
            return Some(std::slice::from_raw_parts(ffi::PyUnicode_1BYTE_DATA(text), len));
        }
    }
    let _ = text;
    None
}

/// The value of an exact `float`.
///
/// # Safety
/// Attached; `object` is an exact `float`.
#[inline(always)]
pub(super) unsafe fn float(object: *mut ffi::PyObject) -> f64 {
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(not(Py_LIMITED_API))]
        return ffi::PyFloat_AS_DOUBLE(object);
        #[cfg(Py_LIMITED_API)]
        return ffi::PyFloat_AsDouble(object);
    }
}
