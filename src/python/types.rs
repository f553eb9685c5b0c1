//! Types written against the C API: made at import and kept for ever, what `tp_dealloc` of each ends with, and calls of
//! their objects by vectorcall, which a type of the limited API gets through a member.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{CStr, c_int, c_ulong, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// How the interpreter calls an object that has [`vectorcall_at`].
pub(super) type VectorCall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    usize,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// A flag of types. Since 3.8; in the limited API's headers since 3.12.
pub(super) const HAVE_VECTORCALL: c_ulong = 1 << 11;

/// How many arguments a [`VectorCall`] has: the highest bit of its count is a flag.
#[inline]
pub(super) const fn argument_count(count: usize) -> ffi::Py_ssize_t {
    (count & (usize::MAX >> 1)) as ffi::Py_ssize_t
}

/// `Py_tp_members` of a type whose objects hold a [`VectorCall`] at `offset`.
pub(super) const fn vectorcall_at(offset: usize) -> [ffi::PyMemberDef; 2] {
    const END: ffi::PyMemberDef =
        ffi::PyMemberDef { name: ptr::null(), type_code: 0, offset: 0, flags: 0, doc: ptr::null() };
    let call = ffi::PyMemberDef {
        name: c"__vectorcalloffset__".as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    };
    [call, END]
}

/// Makes a type and adds it to the module by its name. `slots` are those of the type, `Py_tp_new` among them.
///
/// # Safety
/// The slots are of this type, and what they point to is static or, members, alive for the call.
pub(super) unsafe fn add_type(
    module: &Bound<'_, PyModule>,
    name: &'static CStr,
    size: usize,
    flags: c_ulong,
    slots: &[(c_int, *mut c_void)],
) -> PyResult<*mut ffi::PyTypeObject> {
    let slot = |(slot, pfunc): &(c_int, *mut c_void)| ffi::PyType_Slot { slot: *slot, pfunc: *pfunc };
    let slots: Vec<_> = slots.iter().chain(&[(0, ptr::null_mut())]).map(slot).collect();
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | flags) as _,
        slots: slots.as_ptr().cast_mut(),
    };
    // SAFETY: attached; the name is static, slots and members are copied.
    let made = unsafe { Bound::from_owned_ptr_or_err(module.py(), ffi::PyType_FromSpec(&mut spec))? };
    module.add(made.getattr("__name__")?.cast::<PyString>()?, &made)?;
    // Kept for ever.
    Ok(made.into_ptr().cast())
}

/// Frees an object of such a type, whose fields are dropped.
///
/// # Safety
/// Attached; the last reference is gone.
pub(super) unsafe fn free(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone; the type frees what it allocated.
    unsafe {
        let its_type = ffi::Py_TYPE(object);
        let free: unsafe extern "C" fn(*mut c_void) =
            std::mem::transmute(ffi::PyType_GetSlot(its_type, ffi::Py_tp_free));
        free(object.cast());
        ffi::Py_DECREF(its_type.cast());
    }
}
