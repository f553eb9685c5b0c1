//! `SLSLoggingHandler.handle()` against the C API, for the case that nearly every record is: a handler as the package made
//! it, without filters, formatter or methods of its user's. Anything else goes the way that `logging` goes.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

use super::capi::MethodDef;
use super::fastcall::{Raised, Signature, bool, entry};
use super::stdlib_logging::emit_record;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// `SLSLoggingHandler`, alive for ever, and the `handle()` that it had. Relaxed: a stale null only means the general way.
static HANDLER_TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());
static GENERAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

static HANDLE: MethodDef = MethodDef::fast(
    c"handle",
    handle,
    c"handle($self, /, record)
--

Emits the record if the filters let it pass; a filter may replace it, from Python 3.12 on.

Args:
    record: The record.",
);

/// `SLSLoggingHandler.handle`: the plain case here, anything else by the method that it replaces.
unsafe extern "C" fn handle(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<1, 1, 1> = Signature::new("handle", ["record"]);
    entry(|| {
        // SAFETY: as called; the object is a handler (the descriptor has checked), arguments are borrowed.
        unsafe {
            let [record] = SIGNATURE.parse(args, count, names)?;
            let py = Python::assume_attached();
            let handler = Bound::from_borrowed_ptr(py, this);
            if !is_plain_handler(&handler)? {
                let record = Bound::from_borrowed_ptr(py, record);
                let general = GENERAL.get(py).ok_or_else(|| PyRuntimeError::new_err("no handle()"))?;
                return Ok(general.bind(py).call1((handler, record))?.into_ptr());
            }
            if emit_record(this, record, true).is_err() {
                tell(&handler, record)?;
            }
        }
        Ok(bool(true))
    })
}

/// Whether nothing about the handler is its user's: no subclass, no filter, no formatter, no method of its own.
#[inline]
fn is_plain_handler(handler: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = handler.py();
    // SAFETY: compares addresses.
    let is_ours = unsafe { ffi::Py_TYPE(handler.as_ptr()) } == HANDLER_TYPE.load(Ordering::Relaxed);
    // With other threads at work nothing may be borrowed from a dict.
    if !is_ours || cfg!(Py_GIL_DISABLED) {
        return Ok(false);
    }
    let dict = handler.getattr(pyo3::intern!(py, "__dict__"))?;
    // SAFETY: attached; a handler's `__dict__` is a dict, and strings are hashed and compared without Python code.
    unsafe {
        let item = |name: &Bound<'_, PyString>| ffi::PyDict_GetItem(dict.as_ptr(), name.as_ptr());
        let filters = item(pyo3::intern!(py, "filters"));
        let formatter = item(pyo3::intern!(py, "formatter"));
        Ok(!filters.is_null()
            && ffi::PyList_CheckExact(filters) != 0
            && ffi::PyList_Size(filters) == 0
            && formatter == ffi::Py_None()
            && item(pyo3::intern!(py, "emit")).is_null()
            && item(pyo3::intern!(py, "filter")).is_null()
            && item(pyo3::intern!(py, "format")).is_null())
    }
}

/// Lets the handler tell of an `Exception`; passes anything else on.
#[cold]
unsafe fn tell(handler: &Bound<'_, PyAny>, record: Object) -> Result<(), Raised> {
    let py = handler.py();
    let error = PyErr::fetch(py);
    if !error.is_instance_of::<PyException>(py) {
        return Err(error.into());
    }
    // SAFETY: attached, alive.
    let record = unsafe { Bound::from_borrowed_ptr(py, record) };
    handler.call_method1(pyo3::intern!(py, "_tell"), (record, error.into_value(py)))?;
    Ok(())
}

/// Gives the class a native `handle()`, which leaves all but the plain case to the one it has.
#[pyfunction]
#[pyo3(signature = (handler_type, /))]
pub(super) fn _hasten_handler(handler_type: &Bound<'_, PyType>) -> PyResult<()> {
    let py = handler_type.py();
    let name = pyo3::intern!(py, "handle");
    // Another class, or none: then the plain case is none.
    if GENERAL.set(py, handler_type.getattr(name)?.unbind()).is_err() {
        return Ok(());
    }
    let kind = handler_type.as_ptr().cast();
    // SAFETY: attached; the definition is a static with the layout of `PyMethodDef`, which is only read.
    let method = unsafe {
        let definition = ptr::from_ref(&HANDLE).cast_mut().cast();
        Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(kind, definition))?
    };
    handler_type.setattr(name, method)?;
    HANDLER_TYPE.store(handler_type.clone().into_ptr().cast(), Ordering::Relaxed);
    Ok(())
}
