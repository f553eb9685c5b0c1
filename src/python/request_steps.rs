//! `_RequestSteps`: the requests that an engine's scheduler has under way, by the engine's own names for them. Its method
//! `step` is in [`super::scheduler_step`].
//!
//! A request has no span object: its ids are drawn when it begins, its one record is written when it ends. Names are exact
//! `str`, so nothing here runs Python code but the conversion of attributes.
#![expect(unsafe_code, reason = "written against the C API")]

use std::cell::UnsafeCell;

use arrayvec::ArrayVec;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyString, PyTuple};

use super::convert::Encoder;
use super::request_table::{Begun, KEYS_MAX, Requests};
use super::simple::simple;
use super::span_context::SpanContext;
use super::span_template::template;
use super::step_recorder::is_recorder;
use super::{current, time};
use crate::attrs::{self, Text, Value};
use crate::emit::{self, Inherited, LiveSpan, Start, StatusUpdate};
use crate::record::{StatusCode, StrId};
use crate::sys::ticks;

type Object = *mut ffi::PyObject;

/// Requests under way, for the thread that runs their scheduler. Private to pytracingx.integrations.
///
/// Args:
///     request: SpanTemplate of a request's span.
///     step: SpanTemplate of the span of a request in a step.
///     column: Attribute of the latter that says how many tokens.
///     keys: Attributes that a request's span gets at its end, beside those of the template.
///     recorder: StepRecorder of the steps themselves.
#[pyclass(module = "pytracingx._native", name = "_RequestSteps", frozen)]
pub(super) struct RequestSteps {
    request: Py<PyAny>,
    pub(super) step: Py<PyAny>,
    pub(super) column: Py<PyString>,
    keys: Vec<Vec<u8>>,
    pub(super) recorder: Py<PyAny>,
    known: UnsafeCell<Requests>,
}

// SAFETY: the cell is only accessed attached to the interpreter and under the object's critical section, and no access
// runs Python code.
unsafe impl Sync for RequestSteps {}

/// What a request's attributes take at its end, as a rule.
const ITEM_BYTES: usize = 256;

/// The text of a tuple that has one element.
#[inline]
unsafe fn only_text<'a>(object: Object) -> Option<Value<'a>> {
    // SAFETY: attached, alive; the tuple keeps its element alive.
    unsafe {
        if ffi::PyTuple_CheckExact(object) == 0 || ffi::PyTuple_Size(object) != 1 {
            return None;
        }
        simple(ffi::PyTuple_GetItem(object, 0)).filter(|value| matches!(value, Value::Str(_)))
    }
}

impl RequestSteps {
    /// `access` runs no Python code.
    #[inline]
    pub(super) fn with<R>(slf: &Bound<'_, Self>, access: impl FnOnce(&mut Requests) -> R) -> R {
        with_critical_section(slf.as_any(), || {
            // SAFETY: see `Sync` above.
            access(unsafe { &mut *slf.get().known.get() })
        })
    }

    /// Records the span of a request that is no longer known. `values` are null or alive.
    fn finish(
        slf: &Bound<'_, Self>,
        begun: &Begun,
        values: impl Iterator<Item = Object>,
        error: bool,
    ) -> PyResult<()> {
        let this = slf.get();
        let session = emit::session();
        // SAFETY: attached, not inside `emit::with`, alive. No Python code runs while the thread's state is held.
        unsafe {
            let Some(call) = template(this.request.as_ptr()).and_then(|source| source.call(session)) else {
                return Ok(());
            };
            let mut items = Vec::with_capacity(ITEM_BYTES);
            for ((value, id), key) in values.zip(this.key_ids(slf, session)).zip(&this.keys) {
                let key = id.map_or(Text::Inline(key), Text::Id);
                if let Some(value) = simple(value) {
                    attrs::put_attribute(&mut items, key, value);
                } else if let Some(text) = only_text(value) {
                    let array = attrs::open_array(&mut items, key);
                    attrs::put_element(&mut items, text);
                    attrs::close(&mut items, array);
                } else if value != ffi::Py_None() {
                    let mut encoder = Encoder::default();
                    encoder.attribute_as(key, value).map_err(|_| PyErr::fetch(slf.py()))?;
                    items.extend_from_slice(encoder.items());
                }
            }
            let inherited = begun.context.as_drawn(None);
            emit::with(session, |thread| {
                let start = Start {
                    name: call.name,
                    kind: call.kind,
                    scope: call.scope,
                    parent: Some(&inherited),
                    start_unix_nano: Some(begun.start_unix_nano),
                    ids: Some(begun.context.ids()),
                };
                let mut span = LiveSpan::start(thread, &start);
                if let Some(constants) = call.constants {
                    span.begin_with(thread, constants);
                }
                span.set_items(thread, &items);
                if error {
                    span.set_status(thread, StatusUpdate { code: StatusCode::Error, description: &[] });
                }
                span.end(thread, Some(ticks::unix_nano()));
            });
        }
        Ok(())
    }

    /// What the session calls the keys.
    fn key_ids(&self, slf: &Bound<'_, Self>, session: u64) -> ArrayVec<Option<StrId>, KEYS_MAX> {
        Self::with(slf, |known| {
            let (known_session, ids) = &mut known.key_ids;
            if *known_session != session {
                let found = emit::with(session, |thread| {
                    self.keys.iter().map(|key| thread.intake.strings.intern_now(key)).collect()
                });
                let Some(found) = found else { return self.keys.iter().map(|_| None).collect() };
                (*known_session, *ids) = (session, found);
            }
            ids.clone()
        })
    }
}

#[pymethods]
impl RequestSteps {
    #[new]
    fn new(
        request: Py<PyAny>,
        step: Py<PyAny>,
        column: Py<PyString>,
        keys: Vec<String>,
        recorder: Py<PyAny>,
    ) -> PyResult<Self> {
        for given in [&request, &step] {
            // SAFETY: attached, alive.
            if unsafe { template(given.as_ptr()) }.is_none() {
                return Err(PyTypeError::new_err("request and step must be SpanTemplates"));
            }
        }
        // SAFETY: alive.
        if !unsafe { is_recorder(recorder.as_ptr()) } {
            return Err(PyTypeError::new_err("recorder must be a StepRecorder"));
        }
        if keys.len() > KEYS_MAX {
            return Err(PyValueError::new_err(format!("at most {KEYS_MAX} keys")));
        }
        let keys = keys.into_iter().map(String::into_bytes).collect();
        Ok(Self { request, step, column, keys, recorder, known: UnsafeCell::default() })
    }

    fn __len__(slf: &Bound<'_, Self>) -> usize {
        Self::with(slf, |known| known.len())
    }

    /// A request begins, with its first step or before: draws its ids.
    ///
    /// Args:
    ///     name: The engine's for it, a str.
    ///     parent: As for start_span(), but None is a trace of its own.
    ///     start_time: Integer Unix nanoseconds.
    ///
    /// Returns:
    ///     Whether it is traced: there is a session, and no request of the name.
    fn begin(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyAny>,
        parent: &Bound<'_, PyAny>,
        start_time: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let session = emit::session();
        // SAFETY: attached, alive, not inside `emit::with`.
        let (parent, start) = unsafe {
            let Ok(start) = time::given_unix_nano(start_time.as_ptr(), session) else {
                return Err(PyErr::fetch(slf.py()));
            };
            (current::as_parent(parent.as_ptr()), start.unwrap_or_else(ticks::unix_nano))
        };
        let drawn = emit::with(session, |thread| {
            let context = SpanContext::drawn(thread, parent);
            (Inherited::of(&context.context, &thread.intake), Begun { context, start_unix_nano: start })
        });
        let Some((inherited, begun)) = drawn else { return Ok(false) };
        // SAFETY: attached, alive.
        Ok(Self::with(slf, |known| unsafe { known.add(name.as_ptr(), begun, inherited) }))
    }

    /// A request has ended: records its span.
    ///
    /// Args:
    ///     name: As for begin().
    ///     error: Whether its status is error.
    ///     values: Of the keys, in their order; None for none.
    ///
    /// Returns:
    ///     Whether it was known.
    #[pyo3(signature = (name, error, /, *values))]
    fn end(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyAny>,
        error: bool,
        values: &Bound<'_, PyTuple>,
    ) -> PyResult<bool> {
        // SAFETY: attached, alive.
        let Some(begun) = Self::with(slf, |known| unsafe { known.remove(name.as_ptr()) }) else {
            return Ok(false);
        };
        Self::finish(slf, &begun, values.iter_borrowed().map(|value| value.as_ptr()), error)?;
        Ok(true)
    }

    /// Ends all, without attributes but the first key's: the name.
    fn end_all(slf: &Bound<'_, Self>) -> PyResult<()> {
        let known = Self::with(slf, std::mem::take);
        for (name, begun) in known.iter() {
            Self::finish(slf, begun, std::iter::once(name), false)?;
        }
        Ok(())
    }
}
