//! Starting a span, and recording one that is finished: what the calls of tracers and of templates come down to once
//! their arguments are parsed. Against the C API, as [`super::span`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::mem::MaybeUninit;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::fastcall::{Raised, given};
use super::objects::{Owned, text_of};
use super::span_context::{self, SpanContext};
use super::span_parts::Place;
use super::{current, methods, span, span_parts, time, tracer};
use crate::attrs::Text;
use crate::emit::{self, Constants, LiveSpan, Parent, Start, StatusUpdate, Thread};
use crate::ids::{SpanId, TraceId};
use crate::record::{SpanKind, StatusCode};
use crate::sys::ticks;

type Object = *mut ffi::PyObject;

/// What a call knows before it looks at its arguments. There is a session.
pub(super) struct Call<'a> {
    pub(super) session: u64,
    pub(super) scope: u16,
    pub(super) kind: SpanKind,
    /// Interned, where it can be.
    pub(super) name: Text<'a>,
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
        let start_time = time::given_unix_nano(start_time, session)?;
        let object = span::allocate();
        if object.is_null() {
            return Err(Raised);
        }
        let inherited = current::as_parent(if given(parent) { parent } else { current.0 });
        let Some(thread) = emit::thread(session) else {
            (&raw mut (*object).live).write(LiveSpan::NONE);
            drop(Owned(object.cast()));
            return Ok(span::non_recording());
        };
        let place = &mut *(&raw mut (*object).live).cast::<MaybeUninit<LiveSpan>>();
        call.begin(place, &mut *thread, &call.start(inherited, start_time, None));
        // Only now, for what frees it reads `live`: a panic before leaks it. Nobody else can reach it until it is tracked: its
        // storage may be filled while attributes are converted.
        let owned = Owned(object.cast());
        if given(attributes) {
            call.set_attributes(&raw mut (*object).live, attributes)?;
        }
        if given(links) && (*object).live.is_recording() {
            span_parts::add_links(Place::of_call(&raw mut (*object).live), links)?;
        }
        span::track(object);
        if activate {
            span::activate(object, current);
        }
        std::mem::forget(owned);
        Ok(object.cast())
    }
}

impl<'a> Call<'a> {
    /// Of a tracer's method.
    ///
    /// # Safety
    /// Attached, not inside `emit::with`; `tracer` is alive and a `Tracer`.
    #[inline(always)]
    pub(super) unsafe fn of(tracer: Object, session: u64, kind: SpanKind, name: Text<'a>) -> Self {
        // SAFETY: as promised by the caller.
        let scope = unsafe { tracer::scope_index(tracer, session) };
        Self { session, scope, kind, name, constants: None }
    }

    #[inline(always)]
    fn start<'s>(
        &'s self,
        parent: Option<&'s Parent>,
        start_unix_nano: Option<u64>,
        ids: Option<(TraceId, SpanId)>,
    ) -> Start<'s> {
        Start { name: self.name, kind: self.kind, scope: self.scope, parent, start_unix_nano, ids }
    }

    #[inline(always)]
    fn begin<'p>(
        &self,
        place: &'p mut MaybeUninit<LiveSpan>,
        thread: &mut Thread,
        start: &Start<'_>,
    ) -> &'p mut LiveSpan {
        let live = LiveSpan::start_in(place, thread, start);
        if let Some(constants) = self.constants {
            live.begin_with(thread, constants);
        }
        live
    }

    /// # Safety
    /// As [`span_parts::set_first_attributes`].
    #[inline(always)]
    unsafe fn set_attributes(&self, live: *mut LiveSpan, attributes: Object) -> Result<(), Raised> {
        // SAFETY: as promised by the caller.
        unsafe {
            match self.constants {
                None => span_parts::set_first_attributes(live, attributes),
                Some(_) => span_parts::set_attributes(Place::of_call(live), attributes),
            }
        }
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

impl Finished {
    pub(super) const NOTHING: Self =
        Self { parent: ptr::null_mut(), links: ptr::null_mut(), status: None, span_context: ptr::null_mut() };

    /// Nothing that a span without more than ids, name and times does not have.
    #[inline(always)]
    fn is_nothing(&self) -> bool {
        !given(self.links) && self.status.is_none()
    }
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
        let start_time = time::given_unix_nano(start_time, session)?.unwrap_or_else(ticks::unix_nano);
        let end_time = time::given_unix_nano(end_time, session)?.unwrap_or_else(ticks::unix_nano);
        let current = if given(more.parent) { Owned(ptr::null_mut()) } else { current::SPAN.get() };
        let inherited = current::as_parent(if given(more.parent) { more.parent } else { current.0 });
        let drawn = span_context::context_of(more.span_context);
        let as_drawn = drawn.as_ref().map(|context| context.as_drawn(inherited));
        let inherited = as_drawn.as_ref().or(inherited);
        let start = call.start(inherited, Some(start_time), drawn.as_ref().map(SpanContext::ids));
        let (object, context) = SpanContext::reused(Python::assume_attached())?;
        let object = Owned(object);
        let Some(thread) = emit::thread(session) else { return not_recorded(more.span_context) };
        let is_plain = call.constants.is_none() && !given(attributes) && more.is_nothing();
        if is_plain && let Some(finished) = LiveSpan::finished(&mut *thread, &start, start_time, end_time) {
            (*context).context = finished;
            return Ok(object.into_raw());
        }
        let mut live = MaybeUninit::uninit();
        let live: *mut LiveSpan = call.begin(&mut live, &mut *thread, &start);
        let given = if (*live).is_recording() { give(live, call, attributes, more) } else { Ok(()) };
        span::end_live(&mut *live, Some(end_time));
        // All that it owned but its tracestate went into the record.
        (*context).context = std::mem::replace(&mut (*live).context, Parent::NONE);
        given?;
        Ok(object.into_raw())
    }
}

/// Everything a finished span is given beside its times.
#[inline(always)]
unsafe fn give(
    live: *mut LiveSpan,
    call: &Call<'_>,
    attributes: Object,
    more: &Finished,
) -> Result<(), Raised> {
    // SAFETY: attached, not inside `emit::with`; the span is on the stack of the call under way.
    unsafe {
        if given(attributes) {
            call.set_attributes(live, attributes)?;
        }
        if given(more.links) {
            span_parts::add_links(Place::of_call(live), more.links)?;
        }
        if let Some((code, description)) = &more.status {
            let update = StatusUpdate { code: *code, description };
            emit::with(call.session, |thread| (*live).set_status(thread, update));
        }
        Ok(())
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
        let py = Python::assume_attached();
        match span_context::context_of(span_context) {
            Some(context) => Ok(Py::new(py, context)?.into_ptr()),
            None => Ok(SpanContext::invalid(py)?.into_ptr()),
        }
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
