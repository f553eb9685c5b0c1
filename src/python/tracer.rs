//! Starting spans: the `Tracer` type, whose default instance lends its methods to the module (`start_span`,
//! `record_span`). Against the C API for the same reasons as [`super::span`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::arguments;
use super::capi::{self, MethodDef};
use super::convert::GivenName;
use super::fastcall::{Raised, Signature, entry};
use super::objects::text_of;
use super::span_calls::{Call, Finished};
use super::span_context::SpanContext;
use super::{current, record_spans, span, span_calls, strings};
use crate::attrs::Text;
use crate::emit;
use crate::intern::Scope;
use crate::record::SpanKind;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// A Python `Tracer`: an instrumentation scope, and its index in the session it was last used in.
#[repr(C)]
struct TracerObject {
    base: ffi::PyObject,
    /// Never null once constructed.
    scope: *mut Scope,
    /// Session in the high 48 bits, index in the low 16; 0 before the first use. Relaxed: one word, complete in itself.
    index: AtomicU64,
}

/// `Tracer`. Relaxed: stored at import, before anybody has the module.
static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());
/// See [`default_tracer`]. Relaxed: as above.
static DEFAULT: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());

const START_SPAN_DOC: &std::ffi::CStr = c"start_span($self, /, name, attributes=None, kind='internal', *, parent=None, links=None, start_time=None, activate=True)
--

Starts a span and makes it current; end it with end() or by leaving `with`.

Args:
    name: What is done, of low cardinality ('decode', not 'decode 4711').
    attributes: Mapping of initial attributes: str, bool, int, float, bytes, lists, tuples and dicts of these. None is
        dropped, ints beyond 64 bits and other objects become text. 128 are kept unless the sinks say otherwise.
    kind: 'internal' (default), 'server', 'client', 'producer' or 'consumer', in any case.
    parent: A Span or SpanContext instead of the current one.
    links: Iterable of SpanContext or Span, or of (context, attributes) pairs.
    start_time: Integer Unix nanoseconds (see now()); default now. Anything else is counted and replaced by now.
    activate: False leaves the context alone: cheaper, and right where parents are passed explicitly.

Returns:
    The Span. Before init() and with recording off, a shared one that records nothing.

Raises:
    ValueError: unknown kind. Values of odd types do not raise: they degrade, and are counted.

Never blocks, takes no lock, makes no system call; a few tenths of a microsecond with its end(). As the OpenTelemetry
trace API; the current span lives in contextvars, so asyncio tasks, threads and executors see what Python says.";

const RECORD_SPAN_DOC: &std::ffi::CStr = c"record_span($self, /, name, start_time, end_time, attributes=None, kind='internal', *, parent=None, links=None, status=None, span_context=None)
--

Records a finished span in one call, without touching the context: the cheapest way to record.

Args:
    name: As for start_span().
    start_time: Integer Unix nanoseconds (see now() and from_monotonic()). Anything else is counted and replaced by now.
    end_time: As start_time; one before it counts as equal to it.
    attributes: As for start_span().
    kind: As for start_span().
    parent: A Span or SpanContext; default the current one.
    links: As for start_span().
    status: 'ok', 'error', or a (code, description) pair; default unset.
    span_context: Ids and sampling decision drawn in advance with new_context(); default drawn now.

Returns:
    The span's SpanContext, for children and links.

Raises:
    ValueError: unknown kind or status. Values of odd types do not raise: they degrade, and are counted.";

static METHODS: [MethodDef; 4] = [
    MethodDef::fast(c"start_span", start_span, START_SPAN_DOC),
    MethodDef::fast(c"record_span", record_span, RECORD_SPAN_DOC),
    MethodDef::fast(c"record_spans", record_spans, record_spans::DOC),
    MethodDef::END,
];

const DOC: &std::ffi::CStr =
    c"Starts spans under one instrumentation scope. Made by get_tracer(); works before init() and in every session.

As OpenTelemetry's Tracer. The module's own functions of these names are those of a tracer named 'pytracingx'.";

/// Makes the type and the module-level functions. At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let slots = [
        slot(ffi::Py_tp_new, capi::no_new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_methods, (&raw const METHODS).cast_mut().cast()),
        slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"pytracingx.Tracer".as_ptr(),
        basicsize: size_of::<TracerObject>() as c_int,
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as _,
        slots: (&raw const slots).cast_mut().cast(),
    };
    // SAFETY: attached; name, methods and doc are statics, the slots are copied.
    let tracer_type = unsafe { ffi::PyType_FromSpec(&mut spec) };
    if tracer_type.is_null() {
        return Err(PyErr::fetch(module.py()));
    }
    // SAFETY: a new reference; the static keeps another for ever.
    let tracer_type = unsafe { Bound::from_owned_ptr(module.py(), tracer_type) };
    TYPE.store(tracer_type.clone().into_ptr().cast(), Ordering::Relaxed);
    module.add("Tracer", &tracer_type)?;
    let tracer = new_tracer(module.py(), default_scope())?;
    DEFAULT.store(tracer.clone().into_ptr(), Ordering::Relaxed);
    for function in ["start_span", "record_span", "record_spans"] {
        module.add(function, tracer.getattr(function)?)?;
    }
    Ok(())
}

fn default_scope() -> Scope {
    Scope { name: "pytracingx".into(), version: env!("CARGO_PKG_VERSION").into(), schema_url: String::new() }
}

fn new_tracer(py: Python<'_>, scope: Scope) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: attached; the fields are written before anybody else sees the object.
    unsafe {
        let tracer = ffi::PyType_GenericAlloc(TYPE.load(Ordering::Relaxed), 0);
        if tracer.is_null() {
            return Err(PyErr::fetch(py));
        }
        let object = tracer.cast::<TracerObject>();
        (&raw mut (*object).scope).write(Box::into_raw(Box::new(scope)));
        (&raw mut (*object).index).write(AtomicU64::new(0));
        Ok(Bound::from_owned_ptr(py, tracer))
    }
}

/// A tracer whose spans carry an instrumentation scope of their own.
///
/// Args:
///     name: Usually the instrumented library's name.
///     version: Its version; default none.
///
/// Returns:
///     A Tracer. May be called before init(); it works in every session. Make it once and keep it.
///
/// Raises:
///     TypeError: what is no str.
///
/// Costs a tenth of a microsecond or two: make it once and keep it.
#[pyfunction]
#[pyo3(signature = (name, version = None))]
pub(super) fn get_tracer<'py>(
    py: Python<'py>,
    name: arguments::Text,
    version: Option<arguments::Text>,
) -> PyResult<Bound<'py, PyAny>> {
    new_tracer(
        py,
        Scope {
            name: name.0,
            version: version.map_or_else(String::new, |version| version.0),
            schema_url: String::new(),
        },
    )
}

unsafe extern "C" fn dealloc(object: Object) {
    // SAFETY: called once with the last reference gone; `scope` came from `Box::into_raw`.
    unsafe {
        let tracer = object.cast::<TracerObject>();
        if !(*tracer).scope.is_null() {
            drop(Box::from_raw((*tracer).scope));
        }
        let tracer_type = ffi::Py_TYPE(object);
        let free: unsafe extern "C" fn(*mut c_void) =
            std::mem::transmute(ffi::PyType_GetSlot(tracer_type, ffi::Py_tp_free));
        free(object.cast());
        ffi::Py_DECREF(tracer_type.cast());
    }
}

/// The tracer whose methods are the module's functions: borrowed, never freed.
pub(super) fn default_tracer() -> Object {
    DEFAULT.load(Ordering::Relaxed)
}

/// # Safety
/// `object` is alive.
pub(super) unsafe fn is_tracer(object: Object) -> bool {
    // SAFETY: alive.
    unsafe { ffi::Py_TYPE(object) == TYPE.load(Ordering::Relaxed) }
}

/// The scope, in the session, of a tracer: registered at its first use there.
///
/// # Safety
/// Attached; `tracer` is alive and a `Tracer`.
#[inline]
pub(super) unsafe fn scope_index(tracer: Object, session: u64) -> u16 {
    let tracer = tracer.cast::<TracerObject>();
    // SAFETY: alive. Relaxed: the word carries all there is.
    let index = unsafe { (*tracer).index.load(Ordering::Relaxed) };
    if index >> 16 == session & 0xffff_ffff_ffff {
        return index as u16;
    }
    // SAFETY: alive.
    unsafe { register_scope(tracer, session) }
}

#[cold]
unsafe fn register_scope(tracer: *mut TracerObject, session: u64) -> u16 {
    // SAFETY: alive; the scope is never changed.
    unsafe {
        let scope = &*(*tracer).scope;
        let index = emit::with(session, |thread| thread.intake.strings.scope_index(scope)).unwrap_or(0);
        (*tracer).index.store(session << 16 | u64::from(index), Ordering::Relaxed);
        index
    }
}

unsafe extern "C" fn start_span(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<7, 1, 3> = Signature::new(
        "start_span",
        ["name", "attributes", "kind", "parent", "links", "start_time", "activate"],
    );
    entry(|| {
        // SAFETY: as called; nothing Python runs while a span's storage or the thread's state is held.
        unsafe {
            let [name, attributes, kind, parent, links, start_time, activate] =
                SIGNATURE.parse(args, count, names)?;
            let session = emit::session();
            if are_absent([kind, parent, links, start_time, activate]) {
                if session == 0 {
                    return Ok(span::non_recording());
                }
                if let Some(name) = strings::known(name, session) {
                    let call = Call::of(this, session, SpanKind::Internal, Text::Id(name));
                    let none = ptr::null_mut();
                    return span_calls::start(&call, attributes, none, none, none, none);
                }
            }
            start_span_at_length(this, session, name, kind, [attributes, parent, links, start_time, activate])
        }
    })
}

/// Whether none of these is given. Then what is called is told so by constants, and the compiler leaves out what it does for
/// them: a quarter of the instructions of the most frequent call.
#[inline(always)]
fn are_absent<const N: usize>(arguments: [Object; N]) -> bool {
    arguments.iter().fold(0, |bits, argument| bits | argument.addr()) == 0
}

#[inline(never)]
unsafe fn start_span_at_length(
    this: Object,
    session: u64,
    name: Object,
    kind: Object,
    [attributes, parent, links, start_time, activate]: [Object; 5],
) -> Result<Object, Raised> {
    // SAFETY: as called.
    unsafe {
        let kind = span_kind(kind)?;
        if session == 0 {
            return Ok(span::non_recording());
        }
        let name = GivenName::of(name, session)?;
        let call = Call::of(this, session, kind, name.resolve_in(session));
        span_calls::start(&call, attributes, parent, links, start_time, activate)
    }
}

/// The kind argument; not given is internal.
///
/// # Safety
/// Attached; `kind` is alive or null.
#[inline]
pub(super) unsafe fn span_kind(kind: Object) -> Result<SpanKind, Raised> {
    if kind.is_null() {
        return Ok(SpanKind::Internal);
    }
    // SAFETY: attached, alive.
    unsafe {
        if ffi::PyUnicode_CheckExact(kind) != 0
            && let Some(text) = super::strings::utf8(kind)
            && let Some(kind) = std::str::from_utf8(text).ok().and_then(SpanKind::parse)
        {
            return Ok(kind);
        }
        unusual_kind(kind)
    }
}

#[cold]
unsafe fn unusual_kind(kind: Object) -> Result<SpanKind, Raised> {
    // SAFETY: attached, alive.
    let text = unsafe { text_of(kind)? };
    let text = String::from_utf8_lossy(&text);
    SpanKind::parse(&text).ok_or_else(|| {
        PyValueError::new_err(format!(
            "unknown span kind '{text}', expected 'internal' | 'server' | 'client' | 'producer' | 'consumer'"
        ))
        .into()
    })
}

unsafe extern "C" fn record_span(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<9, 3, 5> = Signature::new(
        "record_span",
        ["name", "start_time", "end_time", "attributes", "kind", "parent", "links", "status", "span_context"],
    );
    entry(|| {
        // SAFETY: as called; nothing Python runs while a span's storage or the thread's state is held.
        unsafe {
            let [name, start_time, end_time, attributes, kind, parent, links, status, span_context] =
                SIGNATURE.parse(args, count, names)?;
            let session = emit::session();
            if are_absent([kind, parent, links, status, span_context]) {
                if session == 0 {
                    return span_calls::not_recorded(ptr::null_mut());
                }
                if let Some(name) = strings::known(name, session) {
                    let call = Call::of(this, session, SpanKind::Internal, Text::Id(name));
                    return span_calls::record(&call, start_time, end_time, attributes, &Finished::NOTHING);
                }
            }
            let kind = span_kind(kind)?;
            let status = span_calls::given_status(status)?;
            let more = Finished { parent, links, status, span_context };
            record_span_at_length(this, session, name, kind, [start_time, end_time, attributes], &more)
        }
    })
}

#[inline(never)]
unsafe fn record_span_at_length(
    this: Object,
    session: u64,
    name: Object,
    kind: SpanKind,
    [start_time, end_time, attributes]: [Object; 3],
    more: &Finished,
) -> Result<Object, Raised> {
    // SAFETY: as called.
    unsafe {
        if session == 0 {
            return span_calls::not_recorded(more.span_context);
        }
        let name = GivenName::of(name, session)?;
        let call = Call::of(this, session, kind, name.resolve_in(session));
        span_calls::record(&call, start_time, end_time, attributes, more)
    }
}

unsafe extern "C" fn record_spans(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<6, 4, 6> =
        Signature::new("record_spans", ["name", "parents", "start_time", "end_time", "attributes", "kind"]);
    entry(|| {
        // SAFETY: as called.
        unsafe {
            let [name, parents, start_time, end_time, attributes, kind] =
                SIGNATURE.parse(args, count, names)?;
            let kind = span_kind(kind)?;
            let session = emit::session();
            let mut recorded = 0;
            if session != 0 {
                let name = GivenName::of(name, session)?;
                let call = Call::of(this, session, kind, name.resolve_in(session));
                recorded = record_spans::record(&call, parents, start_time, end_time, attributes)?;
            }
            Ok(ffi::PyLong_FromSize_t(recorded))
        }
    })
}

/// Draws ids and the sampling decision for a span that will be recorded later, or elsewhere.
///
/// Args:
///     parent: A Span or SpanContext; default the current one. Without either, the ids begin a new trace.
///
/// Returns:
///     A SpanContext to propagate now and to give to record_span(span_context=…). Before init() one without ids.
///
/// Costs tens of nanoseconds.
#[pyfunction]
#[pyo3(signature = (parent = None))]
pub(super) fn new_context(parent: Option<&Bound<'_, PyAny>>) -> SpanContext {
    let session = emit::session();
    // SAFETY: attached.
    let current = unsafe { current::SPAN.get() };
    // SAFETY: attached; both are alive for the call.
    let inherited = unsafe { current::as_parent(parent.map_or(current.0, Bound::as_ptr)) };
    emit::with(session, |thread| SpanContext::drawn(thread, inherited))
        .unwrap_or_else(|| SpanContext::INVALID.clone())
}
