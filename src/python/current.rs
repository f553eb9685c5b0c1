//! The context: `contextvars.ContextVar`s, so asyncio tasks, threads, generators and executors see what Python says
//! they see. [`SPAN`] holds a `Span`, a `SpanContext` (a remote parent) or `None`; [`BAGGAGE`] the header that travels
//! along. Read and written through the C API. Nothing here runs Python code, except that setting allocates (before
//! 3.12 that may start a collection): never call it inside `emit::with`.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::capi;
use super::objects::Owned;
use super::span::as_span;
use super::span_context::parent_of;
use crate::emit::{Parent, SpanIds};

/// A context variable; made once at import, alive until the process ends.
pub(super) struct Variable(AtomicPtr<ffi::PyObject>);

/// The current span.
pub(super) static SPAN: Variable = Variable(AtomicPtr::new(ptr::null_mut()));
/// The current baggage header, a `str`.
pub(super) static BAGGAGE: Variable = Variable(AtomicPtr::new(ptr::null_mut()));

/// Makes the variables. At import.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    SPAN.prepare(py, c"pytracingx_current_span")?;
    BAGGAGE.prepare(py, c"pytracingx_baggage")
}

impl Variable {
    fn prepare(&self, py: Python<'_>, name: &CStr) -> PyResult<()> {
        // SAFETY: attached.
        let variable = unsafe { capi::PyContextVar_New(name.as_ptr(), ptr::null_mut()) };
        if variable.is_null() {
            return Err(PyErr::fetch(py));
        }
        // Relaxed: stored at import, which happens before every use.
        self.0.store(variable, Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    fn variable(&self) -> *mut ffi::PyObject {
        // Relaxed: see `prepare`.
        self.0.load(Ordering::Relaxed)
    }

    /// The current value (a new reference), or null.
    ///
    /// # Safety
    /// Attached.
    #[inline]
    pub(super) unsafe fn get(&self) -> Owned {
        let mut value = ptr::null_mut();
        // SAFETY: attached; the variable exists since import.
        if unsafe { capi::PyContextVar_Get(self.variable(), ptr::null_mut(), &mut value) } != 0 {
            // SAFETY: attached.
            unsafe { ffi::PyErr_Clear() };
        }
        Owned(value)
    }

    /// Makes `value` current. The token that [`Variable::reset`] takes, or null (out of memory: nothing was set).
    ///
    /// # Safety
    /// Attached; `value` is alive.
    #[inline(always)]
    pub(super) unsafe fn set(&self, value: *mut ffi::PyObject) -> *mut ffi::PyObject {
        // SAFETY: attached.
        unsafe {
            let _pause = capi::NoCollection::begin();
            let token = capi::PyContextVar_Set(self.variable(), value);
            if token.is_null() {
                ffi::PyErr_Clear();
            }
            token
        }
    }

    /// Restores what was current before `token`'s `set`. False when the token belongs to another context (a task's
    /// copy, a thread), was used, or is no token.
    ///
    /// # Safety
    /// Attached; `token` is alive.
    #[inline]
    pub(super) unsafe fn reset(&self, token: *mut ffi::PyObject) -> bool {
        // SAFETY: attached.
        unsafe {
            let _pause = capi::NoCollection::begin();
            let done = capi::PyContextVar_Reset(self.variable(), token) == 0;
            if !done {
                ffi::PyErr_Clear();
            }
            done
        }
    }

    /// Makes `value` current for good, or nothing current when it is null. Setting may start a collection, which may end
    /// spans: whoever lent us the value may let go of it meanwhile.
    ///
    /// # Safety
    /// Attached; `value` is alive or null.
    pub(super) unsafe fn replace(&self, value: *mut ffi::PyObject) {
        // SAFETY: attached; `None` stands for "not set".
        unsafe {
            let value = Owned::new(if value.is_null() { ffi::Py_None() } else { value });
            drop(Owned(self.set(value.0)));
        }
    }
}

/// Ids of the current span, for what is recorded in it.
///
/// # Safety
/// Attached.
#[inline]
pub(super) unsafe fn span_ids() -> SpanIds {
    // SAFETY: attached; borrowed while we hold the reference.
    unsafe {
        let current = SPAN.get();
        if current.0.is_null() {
            return SpanIds::default();
        }
        match as_span(current.0) {
            Some(span) => (*span).live.context.ids(),
            None => other_ids(current.0),
        }
    }
}

#[cold]
unsafe fn other_ids(value: *mut ffi::PyObject) -> SpanIds {
    // SAFETY: attached; borrowed for this call.
    unsafe { parent_of(value) }.map_or_else(SpanIds::default, Parent::ids)
}

/// What a span started now inherits from `value` (a `Span`, a `SpanContext`, anything else is "nothing").
///
/// # Safety
/// Attached; `value` is null, or alive as long as the result is used.
#[inline(always)]
pub(super) unsafe fn as_parent<'a>(value: *mut ffi::PyObject) -> Option<&'a Parent> {
    if value.is_null() {
        return None;
    }
    // SAFETY: attached, alive.
    unsafe {
        if let Some(span) = as_span(value) {
            let context = &(*span).live.context;
            return context.trace_id.is_valid().then_some(context);
        }
        if value == ffi::Py_None() { None } else { other_parent(value) }
    }
}

#[cold]
#[inline(never)]
unsafe fn other_parent<'a>(value: *mut ffi::PyObject) -> Option<&'a Parent> {
    // SAFETY: as promised by the caller.
    unsafe { parent_of(value) }
}
