//! What makes a context current without a span, and what is current. Nothing here raises an `Exception`.
#![expect(unsafe_code, reason = "written against the C API")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::current::{SPAN, Variable};
use super::span::as_span;
use super::span_chain::is_below;
use super::span_context::{SpanContext, context_of};

/// A value made current, and what was current before.
pub(super) struct Activation {
    thread: ThreadId,
    variable: &'static Variable,
    value: Py<PyAny>,
    /// Token and previous value; `None` once restored.
    before: Option<(Py<PyAny>, Option<Py<PyAny>>)>,
}

impl Activation {
    pub(super) fn new(variable: &'static Variable, value: Py<PyAny>) -> Self {
        // SAFETY: attached (a `Py` is at hand); the references are new ones.
        let before = unsafe {
            let py = Python::assume_attached();
            let mut previous = variable.get();
            let token = variable.set(value.as_ptr());
            let previous =
                Bound::from_owned_ptr_or_opt(py, std::mem::replace(&mut previous.0, std::ptr::null_mut()));
            Bound::from_owned_ptr_or_opt(py, token).map(|token| (token.unbind(), previous.map(Bound::unbind)))
        };
        Self { thread: thread::current().id(), variable, value, before }
    }

    /// Restores, if the value is still the current one or below it: what else is current was made so by somebody who
    /// restores after us.
    fn restore(&mut self) {
        let Some((token, previous)) = self.before.take() else {
            return;
        };
        // SAFETY: attached (called from Python only).
        unsafe {
            let current = self.variable.get();
            let is_ours = current.0 == self.value.as_ptr() || is_below(self.value.as_ptr(), current.0);
            if is_ours && !self.variable.reset(token.as_ptr()) {
                // A copy of the context that the token belongs to.
                self.variable.replace(previous.map_or(std::ptr::null_mut(), |previous| previous.as_ptr()));
            }
        }
    }

    /// Restores, whatever is current; false, changing nothing, outside the context that it was made current in.
    fn reset(&mut self) -> bool {
        // SAFETY: attached (called from Python only).
        let is_reset =
            self.before.as_ref().is_some_and(|(token, _)| unsafe { self.variable.reset(token.as_ptr()) });
        if is_reset {
            self.before = None;
        }
        is_reset
    }
}

/// What a context manager made current, which threads and tasks may share and enter again. Held for moments, never while
/// anything of the interpreter is called.
#[derive(Default)]
pub(super) struct Activations(Mutex<Vec<Activation>>);

impl Activations {
    fn all(&self) -> MutexGuard<'_, Vec<Activation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At the beginning of a block.
    pub(super) fn enter(&self, activation: Activation) {
        self.all().push(activation);
    }

    /// Restores at the end of a block: the innermost that this thread or task made current, or one whose context runs here
    /// now. The others belong to somebody else.
    pub(super) fn leave(&self) {
        let here = thread::current().id();
        for is_here in [true, false] {
            let mut taken: Vec<_> =
                self.all().extract_if(.., |activation| (activation.thread == here) == is_here).collect();
            let found = taken.iter_mut().rposition(Activation::reset).map(|at| taken.remove(at));
            // Those that were entered meanwhile are further in.
            self.all().splice(0..0, taken);
            if found.is_some() {
                return;
            }
        }
        let last = self.all().pop();
        last.into_iter().for_each(|mut activation| activation.restore());
    }
}

/// What extract_headers() made current. A context manager: leaving it is restore().
#[pyclass(module = "pytracingx", name = "ExtractedContext", frozen)]
pub(super) struct ExtractedContext {
    /// Of baggage and span; `None` once restored. Taken out before they are, for that may run Python code, which may come
    /// back here.
    activations: Mutex<Option<[Activation; 2]>>,
    pub(super) span_context: Option<Py<SpanContext>>,
}

impl ExtractedContext {
    pub(super) fn new(span: Activation, baggage: Activation, span_context: Option<Py<SpanContext>>) -> Self {
        Self { activations: Mutex::new(Some([baggage, span])), span_context }
    }
}

#[pymethods]
impl ExtractedContext {
    /// The remote SpanContext, or None.
    #[getter]
    fn span_context(&self, py: Python<'_>) -> Option<Py<SpanContext>> {
        self.span_context.as_ref().map(|context| context.clone_ref(py))
    }

    /// Whether the headers named a context.
    #[getter]
    fn is_valid(&self) -> bool {
        self.span_context.is_some()
    }

    /// Makes current again what was before. A second call does nothing.
    ///
    /// Costs about half a microsecond.
    fn restore(&self) {
        let taken = self.activations.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.into_iter().flatten().for_each(|mut activation| activation.restore());
    }

    /// The context itself.
    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// As restore(); lets exceptions pass.
    #[pyo3(text_signature = "($self, exc_type, exc_val, exc_tb, /)")]
    fn __exit__(
        &self,
        _exc_type: &Bound<'_, PyAny>,
        _exc_val: &Bound<'_, PyAny>,
        _exc_tb: &Bound<'_, PyAny>,
    ) -> bool {
        self.restore();
        false
    }
}

/// Makes current again what was before extract_headers().
///
/// Args:
///     token: What extract_headers() returned. Anything else is ignored, a second call does nothing.
///
/// Costs about half a microsecond.
#[pyfunction]
pub(super) fn restore_context(token: &Bound<'_, PyAny>) {
    if let Ok(extracted) = token.cast::<ExtractedContext>() {
        return extracted.get().restore();
    }
    // SAFETY: attached, alive; whatever is no token of ours is refused by the interpreter.
    unsafe { SPAN.reset(token.as_ptr()) };
}

/// Makes a Span or SpanContext current while a `with` block runs, without ending it: for executors and callbacks.
///
/// Args:
///     span: What spans started in the block get as their parent. `with` gives it back.
///
/// May be entered again, also while entered. Never raises.
///
/// Costs about half a microsecond.
#[pyclass(module = "pytracingx", name = "use_span", frozen)]
pub(super) struct UseSpan {
    value: Py<PyAny>,
    activations: Activations,
}

#[pymethods]
impl UseSpan {
    #[new]
    #[pyo3(signature = (span, /))]
    fn new(span: Py<PyAny>) -> Self {
        Self { value: span, activations: Activations::default() }
    }

    /// Makes it current; gives it back.
    fn __enter__(&self, py: Python<'_>) -> Py<PyAny> {
        self.activations.enter(Activation::new(&SPAN, self.value.clone_ref(py)));
        self.value.clone_ref(py)
    }

    /// Makes current again what was before; lets exceptions pass.
    #[pyo3(text_signature = "($self, exc_type, exc_val, exc_tb, /)")]
    fn __exit__(
        &self,
        _exc_type: &Bound<'_, PyAny>,
        _exc_val: &Bound<'_, PyAny>,
        _exc_tb: &Bound<'_, PyAny>,
    ) -> bool {
        self.activations.leave();
        false
    }
}

/// The current span of this task or thread, never None: without one, a shared span that records nothing.
///
/// Under a remote context (extract_headers()) that is this shared one too; current_trace_context() has its ids.
///
/// Costs tens of nanoseconds.
#[pyfunction]
pub(super) fn current_span(py: Python<'_>) -> Bound<'_, PyAny> {
    // SAFETY: attached; both branches give a new reference.
    unsafe {
        let current = SPAN.get();
        if !current.0.is_null() && as_span(current.0).is_some() {
            let span = current.0;
            std::mem::forget(current);
            return Bound::from_owned_ptr(py, span);
        }
        Bound::from_owned_ptr(py, super::span::non_recording())
    }
}

/// Ids of the current span or remote context, for log records and messages.
///
/// Returns:
///     Always a dict with `trace_id` (32 hexadecimal digits) and `span_id` (16), both None when nothing is current.
///
/// Costs a tenth of a microsecond or two.
#[pyfunction]
pub(super) fn current_trace_context(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    // SAFETY: attached.
    let context = unsafe { context_of(SPAN.get().0) };
    let dict = PyDict::new(py);
    dict.set_item("trace_id", context.as_ref().map(SpanContext::trace_id))?;
    dict.set_item("span_id", context.as_ref().map(SpanContext::span_id))?;
    Ok(dict)
}

/// An awaitable that has its result already, for `async with span`.
#[pyclass(module = "pytracingx", name = "_Ready", frozen)]
pub(super) struct Ready(Py<PyAny>);

impl Ready {
    /// A new reference to a `Ready` of `value`.
    pub(super) fn object(value: &Bound<'_, PyAny>) -> PyResult<*mut ffi::PyObject> {
        Ok(Py::new(value.py(), Self(value.clone().unbind()))?.into_ptr())
    }
}

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<()> {
        // A tuple would be taken apart by `StopIteration(*args)`.
        Err(PyStopIteration::new_err(PyTuple::new(py, [&self.0])?.unbind()))
    }
}
