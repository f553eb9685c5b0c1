//! The current span: one `contextvars.ContextVar`, so asyncio tasks, threads, generators and executors see what Python
//! says they see. Its value is a `Span`, a `SpanContext` (a remote parent), or not set. Read and written through the C
//! API. Nothing here runs Python code, except that setting allocates (before 3.12 that may start a collection): never
//! call it inside `emit::with`.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::capi;
use super::convert::Owned;
use super::propagation::SpanContext;
use super::span::{SpanObject, as_span};
use crate::emit::Parent;

/// The variable; made once, alive until the process ends.
static VARIABLE: std::sync::atomic::AtomicPtr<ffi::PyObject> = std::sync::atomic::AtomicPtr::new(ptr::null_mut());

/// Makes the variable. At import.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    // SAFETY: attached.
    let variable = unsafe { capi::PyContextVar_New(c"pytracingx_current_span".as_ptr(), ptr::null_mut()) };
    if variable.is_null() {
        return Err(PyErr::fetch(py));
    }
    // Relaxed: stored at import, which happens before every use.
    VARIABLE.store(variable, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}

#[inline]
fn variable() -> *mut ffi::PyObject {
    VARIABLE.load(std::sync::atomic::Ordering::Relaxed)
}

/// The current value (a new reference), or null.
///
/// # Safety
/// Attached.
#[inline]
pub(super) unsafe fn get() -> Owned {
    let mut value = ptr::null_mut();
    // SAFETY: attached; the variable exists since import.
    if unsafe { capi::PyContextVar_Get(variable(), ptr::null_mut(), &mut value) } != 0 {
        // SAFETY: attached.
        unsafe { ffi::PyErr_Clear() };
    }
    Owned(value)
}

/// Makes `value` current. The token that [`reset`] takes, or null (out of memory: nothing was set).
///
/// # Safety
/// Attached; `value` is alive.
#[inline]
pub(super) unsafe fn set(value: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: attached.
    unsafe {
        let token = capi::PyContextVar_Set(variable(), value);
        if token.is_null() {
            ffi::PyErr_Clear();
        }
        token
    }
}

/// Restores what was current before `token`'s `set`. False when the token belongs to another context (a task's copy, a
/// thread) or was used.
///
/// # Safety
/// Attached; `token` is a token of this variable, or any object (then false).
#[inline]
pub(super) unsafe fn reset(token: *mut ffi::PyObject) -> bool {
    // SAFETY: attached.
    unsafe {
        let done = capi::PyContextVar_Reset(variable(), token) == 0;
        if !done {
            ffi::PyErr_Clear();
        }
        done
    }
}

/// Makes `value` current for good, or nothing current when it is null.
///
/// # Safety
/// Attached.
pub(super) unsafe fn replace(value: *mut ffi::PyObject) {
    // SAFETY: attached; `None` stands for "not set".
    unsafe { drop(Owned(set(if value.is_null() { ffi::Py_None() } else { value }))) }
}

/// What a span started now inherits from `value` (a `Span`, a `SpanContext`, anything else is "nothing").
///
/// # Safety
/// Attached; `value` is alive or null.
#[inline]
pub(super) unsafe fn as_parent(value: *mut ffi::PyObject) -> Option<Parent> {
    if value.is_null() {
        return None;
    }
    // SAFETY: attached, alive.
    unsafe {
        if let Some(span) = as_span(value) {
            return parent_of_span(span);
        }
        if value == ffi::Py_None() {
            return None;
        }
        remote_parent(value)
    }
}

#[inline]
unsafe fn parent_of_span(span: *mut SpanObject) -> Option<Parent> {
    // SAFETY: alive, attached.
    let live = unsafe { &(*span).live };
    live.trace_id.is_valid().then(|| live.as_parent())
}

#[cold]
unsafe fn remote_parent(value: *mut ffi::PyObject) -> Option<Parent> {
    // SAFETY: attached; borrowed for this call.
    let value = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), value) };
    let context = value.cast::<SpanContext>().ok()?.get();
    context.is_valid().then(|| context.as_parent())
}
