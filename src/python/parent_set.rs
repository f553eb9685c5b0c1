//! The parents of a batch call: a `ParentSet`, which knows everything about them already, or any other sequence of spans
//! and contexts, looked at one by one.
#![expect(unsafe_code, reason = "written against the C API")]

use std::cell::UnsafeCell;

use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;

use super::fastcall::Raised;
use super::objects::{Owned, swallow, type_has};
use super::{current, layout};
use crate::emit::{Parent, SpanRows, Thread};

type Object = *mut ffi::PyObject;

/// Parents for record_spans(), prepared once: what a step needs to know of each (ids, sampling decision, tracestate) is
/// copied out of the spans, so a step looks at no Python object at all. Made by parent_set(); as a list, it keeps its order.
///
/// A scheduler's batch changes by few requests a step, so the set follows it instead of being made anew: add() when a
/// request is admitted, discard() when it leaves. Rows behind one that leaves move up by one, as in the scheduler's own
/// list of what runs, which therefore gives the columns their order. Works before init(), in every session and in forked
/// children; a span's end does not change it. Making an empty one costs tens of nanoseconds.
#[pyclass(module = "pytracingx", name = "ParentSet", frozen)]
pub(super) struct ParentSet(UnsafeCell<Vec<Option<Parent>>>);

// SAFETY: the cell is only accessed attached to the interpreter and under the object's critical section, and no access
// runs Python code.
unsafe impl Sync for ParentSet {}

impl ParentSet {
    /// `access` runs no Python code.
    fn with<R>(slf: &Bound<'_, Self>, access: impl FnOnce(&mut Vec<Option<Parent>>) -> R) -> R {
        with_critical_section(slf.as_any(), || {
            // SAFETY: see `Sync` above.
            access(unsafe { &mut *slf.get().0.get() })
        })
    }
}

#[pymethods]
impl ParentSet {
    /// Adds a row at the end.
    ///
    /// Args:
    ///     parent: A Span or SpanContext. With anything else (None) the row is there and nothing is recorded for it.
    ///
    /// Returns:
    ///     The row's index.
    ///
    /// Costs a few tens of nanoseconds.
    #[pyo3(signature = (parent, /))]
    fn add(slf: &Bound<'_, Self>, parent: &Bound<'_, PyAny>) -> usize {
        // SAFETY: attached, alive.
        let parent = unsafe { current::as_parent(parent.as_ptr()) }.cloned();
        Self::with(slf, |parents| {
            parents.push(parent);
            parents.len() - 1
        })
    }

    /// Removes the first row of a parent; those behind it move up.
    ///
    /// Args:
    ///     parent: The Span, or its SpanContext. One without ids is in no set: `del` removes its row by index.
    ///
    /// Returns:
    ///     The index that the row had, None when the set had none of this parent.
    ///
    /// Costs a nanosecond for each row.
    #[pyo3(signature = (parent, /))]
    fn discard(slf: &Bound<'_, Self>, parent: &Bound<'_, PyAny>) -> Option<usize> {
        // SAFETY: attached, alive.
        let gone = unsafe { current::as_parent(parent.as_ptr()) }?;
        let is_gone = |parent: &Option<Parent>| {
            parent.as_ref().is_some_and(|p| p.span_id == gone.span_id && p.trace_id == gone.trace_id)
        };
        Self::with(slf, |parents| {
            let index = parents.iter().position(is_gone)?;
            parents.remove(index);
            Some(index)
        })
    }

    /// Removes all rows.
    ///
    /// Costs tens of nanoseconds.
    fn clear(slf: &Bound<'_, Self>) {
        Self::with(slf, Vec::clear);
    }

    fn __len__(slf: &Bound<'_, Self>) -> usize {
        Self::with(slf, |parents| parents.len())
    }

    fn __delitem__(slf: &Bound<'_, Self>, index: isize) -> PyResult<()> {
        Self::with(slf, |parents| {
            let from_end = parents.len().checked_add_signed(index);
            let index = usize::try_from(index).ok().or(from_end);
            match index.filter(|index| *index < parents.len()) {
                Some(index) => {
                    parents.remove(index);
                    Ok(())
                }
                None => Err(PyIndexError::new_err("ParentSet index out of range")),
            }
        })
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        format!("<ParentSet of {}>", Self::with(slf, |parents| parents.len()))
    }
}

/// Prepares the parents of a batch for record_spans().
///
/// Args:
///     spans: Iterable of Span, SpanContext or None, a row for each; default none.
///
/// Returns:
///     A ParentSet, to keep from step to step.
///
/// Raises:
///     TypeError: `spans` is not iterable.
///
/// Costs some tens of nanoseconds a row.
#[pyfunction]
#[pyo3(signature = (spans = None))]
pub(super) fn parent_set<'py>(
    py: Python<'py>,
    spans: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, ParentSet>> {
    let mut parents = Vec::new();
    if let Some(spans) = spans {
        for span in spans.try_iter()? {
            let span = span?;
            // SAFETY: attached, alive.
            parents.push(unsafe { current::as_parent(span.as_ptr()) }.cloned());
        }
    }
    Bound::new(py, ParentSet(UnsafeCell::new(parents)))
}

/// What was given as `parents`.
pub(super) enum Parents<'py> {
    Set(Bound<'py, ParentSet>),
    List(Object),
    /// Null is none.
    Tuple(Owned),
}

impl Parents<'_> {
    /// # Errors
    /// `TypeError` when it is nothing that could be iterated over. What raises while it is iterated over has no rows.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; `object` is alive as long as the result is used.
    pub(super) unsafe fn of(object: Object) -> Result<Self, Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            let py = Python::assume_attached();
            if ffi::PyList_CheckExact(object) != 0 && !cfg!(Py_GIL_DISABLED) {
                return Ok(Self::List(object));
            }
            if ffi::PyTuple_Check(object) != 0 {
                return Ok(Self::Tuple(Owned::new(object)));
            }
            if let Ok(set) = Bound::from_borrowed_ptr(py, object).cast_into::<ParentSet>() {
                return Ok(Self::Set(set));
            }
            // A subclass of a list is read as what it holds.
            let is_list = ffi::PyList_Check(object) != 0;
            let rows =
                Owned(if is_list { ffi::PyList_AsTuple(object) } else { ffi::PySequence_Tuple(object) });
            if !rows.0.is_null() {
                return Ok(Self::Tuple(rows));
            }
            swallow()?;
            if type_has(object, c"__iter__") || type_has(object, c"__getitem__") {
                return Ok(Self::Tuple(rows));
            }
            let kind = Bound::from_borrowed_ptr(py, object).get_type().name()?;
            let text = format!("parents must be a sequence of Span, SpanContext or None, got {kind}");
            Err(PyTypeError::new_err(text).into())
        }
    }

    /// Adds the rows that are wanted. Returns how many parents there are.
    ///
    /// # Safety
    /// Attached, inside `emit::with`: runs no Python code.
    pub(super) unsafe fn put(&self, rows: &mut SpanRows, thread: &Thread) -> usize {
        // SAFETY: attached; lists and tuples do not change while no Python code runs, and indices are in range.
        unsafe {
            match self {
                Self::Set(set) => ParentSet::with(set, |parents| {
                    for (index, parent) in parents.iter().enumerate() {
                        if let Some(parent) = parent {
                            rows.add(thread, index, parent);
                        }
                    }
                    parents.len()
                }),
                Self::List(list) => {
                    let len = ffi::PyList_Size(*list);
                    for index in 0..len {
                        put_one(rows, thread, index, layout::list_item(*list, index));
                    }
                    len as usize
                }
                Self::Tuple(tuple) if tuple.0.is_null() => 0,
                Self::Tuple(tuple) => {
                    let len = ffi::PyTuple_Size(tuple.0);
                    for index in 0..len {
                        put_one(rows, thread, index, ffi::PyTuple_GetItem(tuple.0, index));
                    }
                    len as usize
                }
            }
        }
    }
}

#[inline]
unsafe fn put_one(rows: &mut SpanRows, thread: &Thread, index: ffi::Py_ssize_t, object: Object) {
    // SAFETY: attached; alive.
    if let Some(parent) = unsafe { current::as_parent(object) } {
        rows.add(thread, index as usize, parent);
    }
}
