//! The Python extension module `pytracingx._native`: a list of what it holds. The only place that names `pyo3`;
//! nothing imports it.
#![expect(unsafe_code, reason = "the hot calls are written against the C API")]

mod fastcall;
mod capi;
mod convert;
mod current;
mod exceptions;
mod freelist;
mod methods;
mod propagation;
mod span;
mod strings;
mod time;
mod tracer;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    capi::resolve(module.py())?;
    current::prepare(module.py())?;
    span::prepare(module)?;
    tracer::prepare(module)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
