//! Dead `Span` objects for the next spans: saves an allocation of the collector's kind (object plus its header) each.
//! Touched only while attached. On a free-threaded build it is empty: several threads would share it.
#![expect(unsafe_code, reason = "written against the C API")]

use pyo3::ffi;

#[cfg(not(Py_GIL_DISABLED))]
mod list {
    use std::cell::UnsafeCell;

    use super::ffi;

    /// Deeper nesting, or more spans alive at once, allocates.
    const CAPACITY: usize = 64;

    struct Freelist(UnsafeCell<(usize, [*mut ffi::PyObject; CAPACITY])>);

    // SAFETY: only accessed while holding the interpreter lock, and no access runs other code.
    unsafe impl Sync for Freelist {}

    static FREELIST: Freelist = Freelist(UnsafeCell::new((0, [std::ptr::null_mut(); CAPACITY])));

    #[inline]
    pub(in crate::python) unsafe fn pop() -> *mut ffi::PyObject {
        // SAFETY: under the interpreter lock, see `Freelist`.
        let (len, objects) = unsafe { &mut *FREELIST.0.get() };
        if *len == 0 {
            return std::ptr::null_mut();
        }
        *len -= 1;
        objects[*len]
    }

    #[inline]
    pub(in crate::python) unsafe fn push(object: *mut ffi::PyObject) -> bool {
        // SAFETY: under the interpreter lock, see `Freelist`.
        let (len, objects) = unsafe { &mut *FREELIST.0.get() };
        let room = *len < CAPACITY;
        if room {
            objects[*len] = object;
            *len += 1;
        }
        room
    }
}

#[cfg(Py_GIL_DISABLED)]
mod list {
    use super::ffi;

    pub(in crate::python) unsafe fn pop() -> *mut ffi::PyObject {
        std::ptr::null_mut()
    }

    pub(in crate::python) unsafe fn push(_object: *mut ffi::PyObject) -> bool {
        false
    }
}

pub(super) use list::{pop, push};
