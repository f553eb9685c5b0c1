//! Refuses every interpreter of the process but its main one, before anything of ours exists there: types, cached strings
//! and the context variable are made once per process, and objects may not cross interpreters. Neither PyO3 nor, for
//! interpreters that share the GIL, CPython refuses by itself.
#![expect(unsafe_code, reason = "written against the C API")]

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// The first thing "exported": `#[pymodule_init]` runs only after all exported types have been made.
pub(super) mod main_only {
    pub(in crate::python) static _PYO3_DEF: super::Refusal = super::Refusal;
}

/// Adds nothing to the module. Shaped like what PyO3 exports, and called like it.
pub(super) struct Refusal;

impl Refusal {
    pub(super) fn add_to_module(&self, _module: &Bound<'_, PyModule>) -> PyResult<()> {
        // SAFETY: attached, as the module shows.
        let id = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
        match id {
            0 => Ok(()), // CPython numbers interpreters from the main one
            _ => Err(PyImportError::new_err(
                "pytracingx works in the main interpreter of a process only, not in subinterpreters: \
                 use threads or processes",
            )),
        }
    }
}
