//! Starting a span, and recording one that is finished: what the calls of tracers and of templates come down to once
//! their arguments are parsed. Against the C API, as [`super::span`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::convert::GivenName;
use super::fastcall::{Raised, given};
use super::objects::{Owned, text_of};
use super::span_context::{self, SpanContext};
use super::{current, methods, span, time};
use crate::emit::{self, Constants, LiveSpan, Start, StatusUpdate};
use crate::record::{SpanKind, StatusCode};
use crate::sys::ticks;

type Object = *mut ffi::PyObject;

/// What a call knows before it looks at its arguments. There is a session.
pub(super) struct Call<'a> {
    pub(super) session: u64,
    pub(super) scope: u16,
    pub(super) kind: SpanKind,
    pub(super) name: GivenName<'a>,
    /// A template's attributes, in this session.
    pub(super) constants: Option<&'a Constants>,
}

/// Starts a span: a new reference to a `Span`.
///
/// # Safety
/// Attached, not inside `emit::with`; the objects are alive or null.
#[inline(always)]
pub(super) unsafe fn start(
    call: &Call<'_>,
    attributes: Object,
    parent: Object,
    links: Object,
    start_time: Object,
    activate: Object,
) -> Result<Object, Raised> {
    // SAFETY: as promised by the caller; nothing Python runs while a span's storage or the thread's state is held.
    unsafe {
        let session = call.session;
        let activate = activate.is_null() || activate == ffi::Py_True() || is_true(activate);
        let current = if activate || !given(parent) { current::SPAN.get() } else { Owned(ptr::null_mut()) };
        let inherited = current::as_parent(if given(parent) { parent } else { current.0 });
        let start_time = time::given_unix_nano(start_time, session)?;
        let object = span::allocate();
        if object.is_null() {
            return Err(Raised);
        }
        let owned = Owned(object.cast());
        let started = emit::with(session, |thread| {
            let start = Start {
                name: call.name.resolve(thread),
                kind: call.kind,
                scope: call.scope,
                parent: inherited.as_ref(),
                start_unix_nano: start_time,
                ids: None,
            };
            (*object).live = LiveSpan::start(thread, &start);
            if let Some(constants) = call.constants {
                (*object).live.begin_with(thread, constants);
            }
        });
        if started.is_none() {
            return Ok(span::non_recording());
        }
        if given(attributes) {
            span::set_attributes(object, attributes)?;
        }
        if given(links) && (*object).live.is_recording() {
            methods::add_links(object, links)?;
        }
        if activate {
            span::activate(object, current);
        }
        std::mem::forget(owned);
        Ok(object.cast())
    }
}

#[cold]
unsafe fn is_true(object: Object) -> bool {
    // SAFETY: attached, alive. An exception out of `__bool__` counts as false.
    unsafe {
        let truth = ffi::PyObject_IsTrue(object);
        ffi::PyErr_Clear();
        truth > 0
    }
}

/// The arguments of a finished span that are given by keyword.
pub(super) struct Finished {
    pub(super) parent: Object,
    pub(super) links: Object,
    pub(super) status: Option<(StatusCode, Vec<u8>)>,
    pub(super) span_context: Object,
}

/// Records a finished span: a new reference to its `SpanContext`.
///
/// # Safety
/// Attached, not inside `emit::with`; the objects are alive or null.
#[inline(always)]
pub(super) unsafe fn record(
    call: &Call<'_>,
    start_time: Object,
    end_time: Object,
    attributes: Object,
    more: &Finished,
) -> Result<Object, Raised> {
    // SAFETY: as promised by the caller; nothing Python runs while a span's storage or the thread's state is held.
    unsafe {
        let session = call.session;
        let inherited = if given(more.parent) {
            current::as_parent(more.parent)
        } else {
            current::as_parent(current::SPAN.get().0)
        };
        let drawn = span_context::context_of(more.span_context);
        let now = ticks::unix_nano();
        let start_time = time::given_unix_nano(start_time, session)?.unwrap_or(now);
        let end_time = time::given_unix_nano(end_time, session)?.unwrap_or(now);
        let inherited = match &drawn {
            Some(context) => Some(context.as_drawn(inherited)),
            None => inherited,
        };
        let object = span::allocate();
        if object.is_null() {
            return Err(Raised);
        }
        let owned = Owned(object.cast());
        emit::with(session, |thread| {
            let start = Start {
                name: call.name.resolve(thread),
                kind: call.kind,
                scope: call.scope,
                parent: inherited.as_ref(),
                start_unix_nano: Some(start_time),
                ids: drawn.as_ref().map(|context| (context.trace_id, context.span_id)),
            };
            (*object).live = LiveSpan::start(thread, &start);
            if let Some(constants) = call.constants {
                (*object).live.begin_with(thread, constants);
            }
        });
        if given(attributes) {
            span::set_attributes(object, attributes)?;
        }
        if given(more.links) && (*object).live.is_recording() {
            methods::add_links(object, more.links)?;
        }
        if let Some((code, description)) = &more.status {
            let live = &mut (*object).live;
            let update = StatusUpdate { code: *code, description };
            emit::with(session, |thread| live.set_status(thread, update));
        }
        span::end(object, Some(end_time));
        let context = SpanContext::of(&(*object).live);
        drop(owned);
        Ok(Py::new(Python::assume_attached(), context)?.into_ptr())
    }
}

/// What [`record`] gives without a session.
///
/// # Safety
/// Attached; `span_context` is alive or null.
#[cold]
pub(super) unsafe fn not_recorded(span_context: Object) -> Result<Object, Raised> {
    // SAFETY: as promised by the caller.
    unsafe {
        let given = span_context::context_of(span_context);
        let context = given.unwrap_or_else(|| SpanContext::INVALID.clone());
        Ok(Py::new(Python::assume_attached(), context)?.into_ptr())
    }
}

/// `status='error'` or `status=('error', 'why')`.
///
/// # Safety
/// Attached, not inside `emit::with`; `status` is alive or null.
#[inline]
pub(super) unsafe fn given_status(status: Object) -> Result<Option<(StatusCode, Vec<u8>)>, Raised> {
    if !given(status) {
        return Ok(None);
    }
    // SAFETY: attached, alive.
    unsafe {
        if ffi::PyTuple_Check(status) != 0 && ffi::PyTuple_Size(status) == 2 {
            let code = methods::status_code(ffi::PyTuple_GetItem(status, 0))?;
            let description = ffi::PyTuple_GetItem(status, 1);
            let description = if given(description) { text_of(description)? } else { Vec::new() };
            return Ok(Some((code, description)));
        }
        Ok(Some((methods::status_code(status)?, Vec::new())))
    }
}
