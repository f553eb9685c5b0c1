//! CPython calls that are not in the limited API but are exported, with one signature, by every CPython since 3.7.1:
//! used directly in version-specific builds, resolved once at import in the abi3 build. Also the two definitions that
//! PyO3 hides below 3.10. All functions here need the caller to be attached to the interpreter.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

/// `METH_FASTCALL`: one ABI since 3.7, in the limited API since 3.10.
pub(super) const METH_FASTCALL: c_int = 0x80;

/// A positional-and-keyword function in the vectorcall form: arguments, count of positional ones, keyword names.
pub(super) type FastCall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// `PyMethodDef` with the function as an untyped pointer, as C has it.
#[repr(C)]
pub(super) struct MethodDef {
    pub(super) name: *const c_char,
    pub(super) function: *const c_void,
    pub(super) flags: c_int,
    pub(super) doc: *const c_char,
}

// SAFETY: holds pointers to statics only.
unsafe impl Sync for MethodDef {}

impl MethodDef {
    pub(super) const END: Self =
        Self { name: ptr::null(), function: ptr::null(), flags: 0, doc: ptr::null() };

    pub(super) const fn fast(
        name: &'static std::ffi::CStr,
        function: FastCall,
        doc: &'static std::ffi::CStr,
    ) -> Self {
        Self {
            name: name.as_ptr(),
            function: function as *const c_void,
            flags: METH_FASTCALL | ffi::METH_KEYWORDS,
            doc: doc.as_ptr(),
        }
    }

    /// The function itself, of a module.
    pub(super) fn function<'py>(&'static self, module: &Bound<'py, PyModule>) -> PyResult<Bound<'py, PyAny>> {
        let name = module.name()?;
        // SAFETY: attached; `PyMethodDef` has this layout, and the interpreter only reads it.
        unsafe {
            let method = ptr::from_ref(self).cast_mut().cast();
            let function = ffi::PyCFunction_NewEx(method, ptr::null_mut(), name.as_ptr());
            Bound::from_owned_ptr_or_err(module.py(), function)
        }
    }

    pub(super) const fn no_args(
        name: &'static std::ffi::CStr,
        function: ffi::PyCFunction,
        doc: &'static std::ffi::CStr,
    ) -> Self {
        Self {
            name: name.as_ptr(),
            function: function as *const c_void,
            flags: ffi::METH_NOARGS,
            doc: doc.as_ptr(),
        }
    }
}

/// `Py_buffer`: one layout since 3.0, in the limited API since 3.11.
#[repr(C)]
pub(super) struct Buffer {
    pub(super) address: *mut c_void,
    object: *mut ffi::PyObject,
    bytes: ffi::Py_ssize_t,
    pub(super) item_bytes: ffi::Py_ssize_t,
    is_readonly: c_int,
    pub(super) dimensions: c_int,
    /// Null is unsigned bytes.
    pub(super) format: *const c_char,
    pub(super) shape: *const ffi::Py_ssize_t,
    pub(super) strides: *const ffi::Py_ssize_t,
    suboffsets: *const ffi::Py_ssize_t,
    internal: *mut c_void,
}

impl Buffer {
    /// `PyBUF_RECORDS_RO`: with format and strides, which need not be contiguous.
    const RECORDS: c_int = 0x1c;

    /// The buffer that an object shows, to be given back with [`Buffer::release`]. `None`: an exception is set.
    ///
    /// # Safety
    /// Attached; `object` is alive. May run Python code.
    pub(super) unsafe fn of(object: *mut ffi::PyObject) -> Option<Self> {
        let mut buffer = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: attached, alive; filled in where it succeeds.
        unsafe {
            let done = PyObject_GetBuffer(object, buffer.as_mut_ptr(), Self::RECORDS) == 0;
            done.then(|| buffer.assume_init())
        }
    }

    /// # Safety
    /// Attached; once, by whoever got it. May run Python code.
    pub(super) unsafe fn release(&mut self) {
        // SAFETY: as promised by the caller.
        unsafe { PyBuffer_Release(self) }
    }
}

/// While it lives, allocating starts no collection. Before 3.12 a collection runs in the middle of the allocation that
/// sets it off, and code it runs (`__del__`, a generator's `finally`) that sets a context variable frees the very tree
/// that an outer `PyContextVar_Set` is copying: the interpreter crashes. (Python 3.9 has no call for this.)
pub(super) struct NoCollection(bool);

impl NoCollection {
    /// # Safety
    /// Attached.
    #[inline]
    pub(super) unsafe fn begin() -> Self {
        // SAFETY: as promised by the caller.
        Self(unsafe { collector_off() })
    }
}

impl Drop for NoCollection {
    #[inline]
    fn drop(&mut self) {
        if self.0 {
            // SAFETY: attached, as when it began.
            unsafe { collector_on() };
        }
    }
}

/// The `tp_new` of types whose objects only functions of ours make: without one they would inherit `object`'s, and an
/// object of zeroed memory.
pub(super) unsafe extern "C" fn no_new(
    subtype: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached; the type is alive, and `%R` takes a borrowed object.
    unsafe { ffi::PyErr_Format(ffi::PyExc_TypeError, c"cannot create instances of %R".as_ptr(), subtype) }
}

#[cfg(not(Py_LIMITED_API))]
pub(super) use direct::*;
#[cfg(Py_LIMITED_API)]
pub(super) use resolved::*;

/// Version-specific builds: the symbols are linked.
#[cfg(not(Py_LIMITED_API))]
mod direct {
    #![expect(non_snake_case, reason = "CPython's names")]

    use pyo3::prelude::*;

    use super::ffi;

    pub(in crate::python) use ffi::{
        PyContextVar_Get, PyContextVar_New, PyContextVar_Reset, PyContextVar_Set, PyUnicode_AsUTF8AndSize,
    };

    pub(in crate::python) fn resolve(_py: Python<'_>) -> PyResult<()> {
        Ok(())
    }

    #[inline]
    pub(super) unsafe fn PyObject_GetBuffer(
        object: *mut ffi::PyObject,
        buffer: *mut super::Buffer,
        flags: std::ffi::c_int,
    ) -> std::ffi::c_int {
        // SAFETY: the caller's, as for the C function; one layout.
        unsafe { ffi::PyObject_GetBuffer(object, buffer.cast(), flags) }
    }

    #[inline]
    pub(super) unsafe fn PyBuffer_Release(buffer: *mut super::Buffer) {
        // SAFETY: the caller's, as for the C function; one layout.
        unsafe { ffi::PyBuffer_Release(buffer.cast()) }
    }

    /// Whether it was on.
    #[inline]
    pub(super) unsafe fn collector_off() -> bool {
        #[cfg(all(Py_3_10, not(Py_3_12)))]
        // SAFETY: the caller's, as for the C function.
        return unsafe { ffi::PyGC_Disable() } != 0;
        #[cfg(not(all(Py_3_10, not(Py_3_12))))]
        false
    }

    #[inline]
    pub(super) unsafe fn collector_on() {
        #[cfg(all(Py_3_10, not(Py_3_12)))]
        // SAFETY: the caller's, as for the C function.
        unsafe {
            ffi::PyGC_Enable();
        }
    }
}

/// The abi3 build: the symbols are looked up in the running interpreter at import.
#[cfg(Py_LIMITED_API)]
mod resolved {
    #![expect(non_snake_case, reason = "CPython's names")]

    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::sync::OnceLock;

    use pyo3::prelude::*;

    use super::ffi;

    type Object = *mut ffi::PyObject;

    struct Table {
        new: unsafe extern "C" fn(*const c_char, Object) -> Object,
        get: unsafe extern "C" fn(Object, Object, *mut Object) -> c_int,
        set: unsafe extern "C" fn(Object, Object) -> Object,
        reset: unsafe extern "C" fn(Object, Object) -> c_int,
        utf8: unsafe extern "C" fn(Object, *mut ffi::Py_ssize_t) -> *const c_char,
        get_buffer: unsafe extern "C" fn(Object, *mut super::Buffer, c_int) -> c_int,
        release_buffer: unsafe extern "C" fn(*mut super::Buffer),
        /// `PyGC_Disable` and `PyGC_Enable`, in 3.10 and 3.11 only.
        collector: Option<[unsafe extern "C" fn() -> c_int; 2]>,
    }

    static TABLE: OnceLock<Table> = OnceLock::new();

    pub(in crate::python) fn resolve(py: Python<'_>) -> PyResult<()> {
        // SAFETY: exported under these names with these signatures by every CPython since 3.7.1; `symbol` checks that
        // they are there.
        let has_collector = py.version_info() < (3, 12);
        let table = unsafe {
            let collector = match (lookup(py, c"PyGC_Disable")?, lookup(py, c"PyGC_Enable")?) {
                (off, on) if has_collector && !off.is_null() && !on.is_null() => Some([
                    std::mem::transmute::<*mut c_void, _>(off),
                    std::mem::transmute::<*mut c_void, _>(on),
                ]),
                _ => None,
            };
            Table {
                collector,
                new: std::mem::transmute::<*mut c_void, _>(symbol(py, c"PyContextVar_New")?),
                get: std::mem::transmute::<*mut c_void, _>(symbol(py, c"PyContextVar_Get")?),
                set: std::mem::transmute::<*mut c_void, _>(symbol(py, c"PyContextVar_Set")?),
                reset: std::mem::transmute::<*mut c_void, _>(symbol(py, c"PyContextVar_Reset")?),
                utf8: std::mem::transmute::<*mut c_void, _>(symbol(py, c"PyUnicode_AsUTF8AndSize")?),
                get_buffer: std::mem::transmute::<*mut c_void, _>(symbol(py, c"PyObject_GetBuffer")?),
                release_buffer: std::mem::transmute::<*mut c_void, _>(symbol(py, c"PyBuffer_Release")?),
            }
        };
        let _ = TABLE.set(table);
        Ok(())
    }

    fn symbol(py: Python<'_>, name: &CStr) -> PyResult<*mut c_void> {
        let address = lookup(py, name)?;
        if address.is_null() {
            let text = format!("pytracingx: this interpreter does not export {}", name.to_string_lossy());
            return Err(pyo3::exceptions::PyImportError::new_err(text));
        }
        Ok(address)
    }

    #[cfg(unix)]
    fn lookup(_py: Python<'_>, name: &CStr) -> PyResult<*mut c_void> {
        // SAFETY: a look-up among the libraries that are loaded.
        Ok(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
    }

    #[cfg(windows)]
    fn lookup(py: Python<'_>, name: &CStr) -> PyResult<*mut c_void> {
        use windows_sys::Win32::System::LibraryLoader::GetProcAddress;

        let handle: usize = py.import("sys")?.getattr("dllhandle")?.extract()?;
        // SAFETY: the handle of the loaded Python library.
        let address = unsafe { GetProcAddress(handle as *mut c_void, name.as_ptr().cast()) };
        Ok(address.map_or(std::ptr::null_mut(), |function| function as *mut c_void))
    }

    #[inline]
    fn table() -> &'static Table {
        TABLE.get().expect("resolved when the module was imported")
    }

    pub(in crate::python) unsafe fn PyContextVar_New(name: *const c_char, default: Object) -> Object {
        // SAFETY: the caller's, as for the C function.
        unsafe { (table().new)(name, default) }
    }

    /// Whether it was on.
    #[inline]
    pub(super) unsafe fn collector_off() -> bool {
        // SAFETY: the caller's, as for the C function.
        table().collector.is_some_and(|[off, _]| unsafe { off() } != 0)
    }

    #[inline]
    pub(super) unsafe fn collector_on() {
        if let Some([_, on]) = table().collector {
            // SAFETY: the caller's, as for the C function.
            unsafe { on() };
        }
    }

    #[inline]
    pub(in crate::python) unsafe fn PyContextVar_Get(
        var: Object,
        default: Object,
        value: *mut Object,
    ) -> c_int {
        // SAFETY: the caller's, as for the C function.
        unsafe { (table().get)(var, default, value) }
    }

    #[inline]
    pub(in crate::python) unsafe fn PyContextVar_Set(var: Object, value: Object) -> Object {
        // SAFETY: the caller's, as for the C function.
        unsafe { (table().set)(var, value) }
    }

    #[inline]
    pub(in crate::python) unsafe fn PyContextVar_Reset(var: Object, token: Object) -> c_int {
        // SAFETY: the caller's, as for the C function.
        unsafe { (table().reset)(var, token) }
    }

    #[inline]
    pub(in crate::python) unsafe fn PyUnicode_AsUTF8AndSize(
        text: Object,
        size: *mut ffi::Py_ssize_t,
    ) -> *const c_char {
        // SAFETY: the caller's, as for the C function.
        unsafe { (table().utf8)(text, size) }
    }

    pub(super) unsafe fn PyObject_GetBuffer(
        object: Object,
        buffer: *mut super::Buffer,
        flags: c_int,
    ) -> c_int {
        // SAFETY: the caller's, as for the C function.
        unsafe { (table().get_buffer)(object, buffer, flags) }
    }

    pub(super) unsafe fn PyBuffer_Release(buffer: *mut super::Buffer) {
        // SAFETY: the caller's, as for the C function.
        unsafe { (table().release_buffer)(buffer) }
    }
}
