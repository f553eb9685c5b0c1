//! The `Span` type. Written against the C API rather than as a PyO3 class, because every step counts here: vectorcall
//! methods in every build, no borrow flag, and a freelist whose objects are tracked by the collector again when they
//! come back (an activated, unended span is a cycle through its context token; untracked it would leak).
//!
//! A span object is touched only while attached to the interpreter, and none of its storage is held across a call into
//! Python: arguments are converted first. Any thread may use and end it, several at once too: what changes after the start
//! is only touched [`exclusively`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::fastcall::exclusively;
use super::objects::{Owned, is_only_ours};
use super::span_chain::{as_span_or_null, is_skipped, nearest_open, previous};
use super::{capi, current, freelist, methods};
use crate::emit::{self, LiveSpan};

/// A Python `Span`.
#[repr(C)]
pub(super) struct SpanObject {
    base: ffi::PyObject,
    /// Restores the context; null when the span is not activated, or no longer.
    token: *mut ffi::PyObject,
    /// What was current before (a new reference); null for nothing.
    pub(super) previous: *mut ffi::PyObject,
    /// The exception that was recorded last, so that leaving `with` on it records nothing twice.
    exception: *mut ffi::PyObject,
    /// `previous` is a span that had ended already when this one started (a task that outlives the span it was created
    /// in): it stays current afterwards.
    pub(super) previous_had_ended: bool,
    /// `end()` was called. Relaxed: says nothing of anything else.
    ended: AtomicBool,
    /// It ended while something else was current, or in another context than the one it was activated in: whoever is
    /// above it skips it on the way down. One that ended at home may still be what a task inherited, and stays current
    /// there. Relaxed: as above.
    pub(super) ended_out_of_order: AtomicBool,
    /// Initialised before the object is handed out.
    pub(super) live: LiveSpan,
}

/// `Span`. Relaxed, here and below: stored at import, before anybody has the module.
static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());
/// The span that `current_span()` gives when there is none, and `start_span` when recording is off. Relaxed: as above.
static NON_RECORDING: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());

/// The object as a span, if it is one.
///
/// # Safety
/// `object` is alive.
#[inline]
pub(super) unsafe fn as_span(object: *mut ffi::PyObject) -> Option<*mut SpanObject> {
    // SAFETY: alive. Relaxed: the type is stored at import.
    (unsafe { ffi::Py_TYPE(object) } == TYPE.load(Ordering::Relaxed)).then_some(object.cast())
}

/// A new reference to the shared span that records nothing and has no ids.
pub(super) fn non_recording() -> *mut ffi::PyObject {
    let span = NON_RECORDING.load(Ordering::Relaxed);
    // SAFETY: made at import, never freed; callers are attached.
    unsafe { ffi::Py_INCREF(span) };
    span
}

/// Makes the type. At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let slots = [
        slot(ffi::Py_tp_new, capi::no_new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_repr, methods::repr as *mut c_void),
        slot(ffi::Py_tp_methods, (&raw const methods::TABLE).cast_mut().cast()),
        slot(ffi::Py_tp_getset, (&raw const methods::GETSET).cast_mut().cast()),
        slot(ffi::Py_tp_doc, methods::DOC.as_ptr().cast_mut().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"pytracingx.Span".as_ptr(),
        basicsize: size_of::<SpanObject>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC) as _,
        slots: (&raw const slots).cast_mut().cast(),
    };
    // SAFETY: attached; name, methods and doc are statics, the slots are copied.
    let span_type = unsafe { ffi::PyType_FromSpec(&mut spec) };
    if span_type.is_null() {
        return Err(PyErr::fetch(module.py()));
    }
    // SAFETY: a new reference; the static keeps another for ever.
    let span_type = unsafe { Bound::from_owned_ptr(module.py(), span_type) };
    TYPE.store(span_type.clone().into_ptr().cast(), Ordering::Relaxed);
    module.add("Span", &span_type)?;
    // SAFETY: attached, the type exists.
    let shared = unsafe { allocate() };
    if shared.is_null() {
        return Err(PyErr::fetch(module.py()));
    }
    // SAFETY: just allocated, nobody else has it.
    unsafe {
        (&raw mut (*shared).live).write(LiveSpan::NONE);
        (*shared).ended.store(true, Ordering::Relaxed);
        track(shared);
    }
    NON_RECORDING.store(shared.cast(), Ordering::Relaxed);
    // SAFETY: a borrowed reference to an object that is never freed.
    module.add("_non_recording", unsafe { Bound::from_borrowed_ptr(module.py(), shared.cast()) })
}

fn slot(slot: c_int, pfunc: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

/// A new object whose `live` the caller writes; then it is the caller's to have it tracked ([`track`]). Null with an
/// exception set when out of memory.
///
/// # Safety
/// Attached, not inside `emit::with` (a first allocation may start a collection).
#[inline(always)]
pub(super) unsafe fn allocate() -> *mut SpanObject {
    let span_type = TYPE.load(Ordering::Relaxed);
    // SAFETY: objects in the freelist are dead, untracked instances of exactly this type.
    unsafe {
        let mut span: *mut SpanObject = freelist::pop().cast();
        if !span.is_null() {
            revive(span.cast());
        } else {
            span = ffi::PyObject_GC_New(span_type);
            if span.is_null() {
                return span;
            }
        }
        (&raw mut (*span).token).write(ptr::null_mut());
        (&raw mut (*span).previous).write(ptr::null_mut());
        (&raw mut (*span).exception).write(ptr::null_mut());
        (&raw mut (*span).previous_had_ended).write(false);
        (&raw mut (*span).ended).write(AtomicBool::new(false));
        (&raw mut (*span).ended_out_of_order).write(AtomicBool::new(false));
        span
    }
}

/// Makes a dead object of the freelist a new one. It kept its type, and the reference to that: all it lacks is its own.
#[inline(always)]
unsafe fn revive(object: *mut ffi::PyObject) {
    // SAFETY: as promised by the caller: a dead object, with no reference.
    unsafe {
        if cfg!(py_sys_config = "Py_TRACE_REFS") {
            // Puts it on the interpreter's list of objects again.
            ffi::PyObject_Init(object, ffi::Py_TYPE(object));
            ffi::Py_DECREF(ffi::Py_TYPE(object).cast());
        } else {
            ffi::Py_INCREF(object);
        }
    }
}

/// Shows a new object to the collector.
///
/// # Safety
/// Attached; `span` is whole, and was not tracked before.
#[inline]
pub(super) unsafe fn track(span: *mut SpanObject) {
    // SAFETY: as promised by the caller.
    unsafe { ffi::PyObject_GC_Track(span.cast()) };
}

/// Makes a started span current, above `previous` (consumed).
///
/// # Safety
/// Attached, not inside `emit::with`; `span` is alive and not activated.
#[inline(always)]
pub(super) unsafe fn activate(span: *mut SpanObject, previous: Owned) {
    // SAFETY: alive, attached.
    unsafe {
        if !previous.0.is_null() {
            (*span).previous_had_ended = as_span(previous.0).is_some_and(|previous| has_ended(previous));
            (*span).previous = previous.0;
            std::mem::forget(previous);
        }
        (*span).token = current::SPAN.set(span.cast());
    }
}

unsafe fn has_ended(span: *mut SpanObject) -> bool {
    // SAFETY: alive.
    unsafe { (*span).ended.load(Ordering::Relaxed) }
}

/// Takes out one of the references that the object holds, and puts another there.
unsafe fn exchange(
    span: *mut SpanObject,
    place: impl FnOnce(&mut SpanObject) -> &mut *mut ffi::PyObject,
    other: *mut ffi::PyObject,
) -> Owned {
    // SAFETY: alive, attached; the reference that it held is the caller's now.
    unsafe { exclusively(span.cast(), |span| Owned(std::mem::replace(place(span), other))) }
}

/// Whether this is the exception that was recorded last.
///
/// # Safety
/// Attached; both are alive.
pub(super) unsafe fn has_recorded(span: *mut SpanObject, exception: *mut ffi::PyObject) -> bool {
    // SAFETY: as promised by the caller.
    unsafe { exclusively(span.cast(), |span: &mut SpanObject| span.exception == exception) }
}

/// Remembers the exception that was recorded last.
///
/// # Safety
/// Attached, not inside `emit::with`; both are alive.
pub(super) unsafe fn remember(span: *mut SpanObject, exception: *mut ffi::PyObject) {
    // SAFETY: as promised by the caller.
    unsafe { drop(exchange(span, |span| &mut span.exception, Owned::new(exception).into_raw())) };
}

/// Ends the span now or at a given time, and restores the context. A second call does nothing, except that it restores
/// the context if the first one could not (on another thread or task).
///
/// # Safety
/// Attached, not inside `emit::with`; `span` is alive.
#[inline(always)]
pub(super) unsafe fn end(span: *mut SpanObject, end_unix_nano: Option<u64>) {
    // SAFETY: alive, attached; the reference to `live` ends before the context is restored, which may run Python code.
    unsafe {
        let (is_first, is_activated, has_exception) = exclusively(span.cast(), |span: &mut SpanObject| {
            let is_first = !*span.ended.get_mut();
            *span.ended.get_mut() = true;
            if is_first && span.live.is_recording() {
                end_recording(&mut span.live, end_unix_nano);
            }
            (is_first, !span.token.is_null(), !span.exception.is_null())
        });
        if is_activated {
            deactivate(span);
        }
        if is_first && has_exception {
            // Its traceback may hold a frame that holds the span.
            drop(exchange(span, |span| &mut span.exception, ptr::null_mut()));
        }
    }
}

/// By itself, so that a span that nobody wants does not pay for the registers of one that is written.
#[inline(never)]
unsafe fn end_recording(live: &mut LiveSpan, end_unix_nano: Option<u64>) {
    // SAFETY: as promised by the caller.
    unsafe { end_live(live, end_unix_nano) }
}

/// Writes the record of what has begun, if anybody wants it.
///
/// # Safety
/// Not inside `emit::with`.
#[inline(always)]
pub(super) unsafe fn end_live(live: &mut LiveSpan, end_unix_nano: Option<u64>) {
    if !live.is_recording() {
        return;
    }
    match emit::thread(live.context.session) {
        // SAFETY: the only reference until the call's end, which calls nothing that could have another.
        Some(thread) => live.end(unsafe { &mut *thread }, end_unix_nano),
        None => end_elsewhere(live),
    }
}

/// The session of the span is over, or this is a forked child and it belongs to the parent.
#[cold]
fn end_elsewhere(live: &mut LiveSpan) {
    live.discard();
    emit::drop_elsewhere(live.context.session, 1);
}

#[inline(always)]
unsafe fn deactivate(span: *mut SpanObject) {
    // SAFETY: alive, attached. References are taken out of the object before they are dropped.
    unsafe {
        let is_current = current::SPAN.get().0 == span.cast();
        // Not at home: somebody else is current, which we leave alone, or this is a copy of the context that the token
        // belongs to (another task), or another thread. The rest stays for another `end()` there, and for spans above.
        // Resetting may start a collection that runs code which ends this very span again: our own reference.
        let token = exclusively(span.cast(), |span: &mut SpanObject| Owned::new(span.token));
        if token.0.is_null() {
            return; // another thread was faster
        }
        let is_home = is_current && current::SPAN.reset(token.0);
        if is_current {
            let previous = previous(span);
            if as_span_or_null(previous.0).is_some_and(|previous| is_skipped(previous, span)) {
                current::SPAN.replace(nearest_open(span).0);
            } else if !is_home {
                current::SPAN.replace(previous.0);
            }
        }
        if is_home {
            (*span).ended_out_of_order.store(false, Ordering::Relaxed);
            drop(exchange(span, |span| &mut span.token, ptr::null_mut()));
            drop(exchange(span, |span| &mut span.previous, ptr::null_mut()));
        } else {
            exclusively(span.cast(), |span: &mut SpanObject| {
                *span.ended_out_of_order.get_mut() = !span.token.is_null();
            });
        }
    }
}

unsafe extern "C" fn traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    let span = object.cast::<SpanObject>();
    // SAFETY: called by the collector with a live object; heap types visit their type since 3.9.
    unsafe {
        let references = [ffi::Py_TYPE(object).cast(), (*span).token, (*span).previous, (*span).exception];
        for reference in references {
            if !reference.is_null() {
                let result = visit(reference, arg);
                if result != 0 {
                    return result;
                }
            }
        }
    }
    0
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector with a live object.
    unsafe { release_references(object.cast()) };
    0
}

/// Drops the references to other objects. A chain of unended spans can be as long as a program likes, so it is walked,
/// not recursed: a token holds its span's `previous` too, and each `previous` is kept until its own turn.
unsafe fn release_references(span: *mut SpanObject) {
    // SAFETY: references are taken out of the objects before they are dropped, so nothing sees a dangling one.
    unsafe {
        let take =
            |reference: *mut *mut ffi::PyObject| Owned(std::mem::replace(&mut *reference, ptr::null_mut()));
        let mut previous = take(&raw mut (*span).previous);
        drop(take(&raw mut (*span).token));
        drop(take(&raw mut (*span).exception));
        while let Some(next) = as_span_or_null(previous.0).filter(|next| is_only_ours(next.cast())) {
            let below = take(&raw mut (*next).previous);
            drop(take(&raw mut (*next).token));
            drop(std::mem::replace(&mut previous, below));
        }
    }
}

/// Nobody can end it any more.
#[cold]
#[inline(never)]
fn end_abandoned(live: &mut LiveSpan) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let ended = emit::with(live.context.session, |thread| {
            thread.intake.counters.spans_abandoned.add(1);
            live.end(thread, None);
        });
        if ended.is_none() {
            end_elsewhere(live);
        }
    }));
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    let span = object.cast::<SpanObject>();
    // SAFETY: the interpreter calls this once, with the last reference gone; nobody else can reach the object.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let live = &mut (*span).live;
        if live.is_recording() {
            end_abandoned(live);
        }
        if (*span).live.owns_memory() {
            ptr::drop_in_place(&raw mut (*span).live);
        }
        let references = [(*span).token, (*span).previous, (*span).exception];
        if references.iter().any(|reference| !reference.is_null()) {
            release_references(span);
        }
        if !freelist::push(object) {
            let span_type = ffi::Py_TYPE(object);
            ffi::PyObject_GC_Del(object.cast());
            ffi::Py_DECREF(span_type.cast());
        }
    }
}
