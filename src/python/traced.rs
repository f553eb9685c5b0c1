//! The native side of `@traced`, whose Python is in `_traced.py`: a kind checked at decoration, and what is current inside
//! a generator's body.
#![expect(unsafe_code, reason = "the context is read and written through the C API")]

use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::prelude::*;

use super::current::SPAN;
use super::tracer;

/// The kind in lower case.
///
/// Raises:
///     ValueError: unknown kind.
#[pyfunction]
pub(super) fn _span_kind(kind: &Bound<'_, PyAny>) -> PyResult<&'static str> {
    // SAFETY: attached, alive.
    match unsafe { tracer::span_kind(kind.as_ptr()) } {
        Ok(kind) => Ok(kind.name()),
        Err(_) => Err(PyErr::fetch(kind.py())),
    }
}

/// The body of a generator: while a `with` block runs one step of it, what was current when the last step ended is
/// current again, at first the span given. A span that the body holds open at a yield so never leaks to whoever drives
/// the generator, in whatever order and thread that happens.
#[pyclass(module = "pytracingx._native", name = "_Body")]
pub(super) struct Body {
    inside: Option<Py<PyAny>>,
    /// During a step: the token that restores what was current outside, and that.
    outside: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
}

#[pymethods]
impl Body {
    #[new]
    #[pyo3(signature = (span, /))]
    fn new(span: Py<PyAny>) -> Self {
        Self { inside: Some(span), outside: None }
    }

    /// Begins a step.
    fn __enter__(&mut self, py: Python<'_>) {
        let Some(inside) = &self.inside else { return };
        let before = current(py);
        // SAFETY: attached; the token is a new reference or null.
        let token = unsafe { Bound::from_owned_ptr_or_opt(py, SPAN.set(inside.as_ptr())) };
        self.outside = token.map(|token| (token.unbind(), before));
    }

    /// Ends a step.
    #[pyo3(signature = (*_exception), text_signature = "($self, exc_type, exc_val, exc_tb, /)")]
    fn __exit__(&mut self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        let Some((token, before)) = self.outside.take() else { return };
        self.inside = current(py);
        // SAFETY: attached; both are alive.
        unsafe {
            if !SPAN.reset(token.as_ptr()) {
                // The step ended in a copy of the context it began in.
                SPAN.replace(before.map_or(std::ptr::null_mut(), |before| before.as_ptr()));
            }
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.inside)?;
        let Some((token, before)) = &self.outside else { return Ok(()) };
        visit.call(token)?;
        visit.call(before)
    }

    fn __clear__(&mut self) {
        (self.inside, self.outside) = (None, None);
    }
}

/// What is current, if anything.
fn current(py: Python<'_>) -> Option<Py<PyAny>> {
    // SAFETY: attached; a new reference or null.
    unsafe {
        let current = std::mem::ManuallyDrop::new(SPAN.get());
        Bound::from_owned_ptr_or_opt(py, current.0).map(Bound::unbind)
    }
}
