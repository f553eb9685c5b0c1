//! The `Generation` type, and what a token costs: a call without arguments, a tick and a store. Against the C API for the same
//! reasons as [`super::span`]. Arguments are converted before the generation is touched, since that may run Python code
//! that comes back to it. How it begins is in [`super::generation_begin`], how
//! it ends in [`super::generation_end`].
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use arrayvec::ArrayVec;
use pyo3::ffi;
use pyo3::prelude::*;

use super::capi::{self, MethodDef};
use super::convert::GivenName;
use super::fastcall::{Raised, Signature, entry, exclusively, none};
use super::generation_begin::{self, given_count};
use super::generation_end;
use super::given_attributes::GivenAttributes;
use super::span_context::SpanContext;
use super::time::{EARLIEST_UNIX_NANO, given_unix_nano};
use super::{number, types};
use crate::emit::{self, LiveSpan};
use crate::generation::Generation;
use crate::generation::names::Names;
use crate::generation::settings::Content;
use crate::record::Number;
use crate::sys::ticks;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// A Python `Generation`. It refers to no Python object, so no collector needs to know it.
#[repr(C)]
pub(super) struct GenerationObject {
    base: ffi::PyObject,
    /// Where its prompt and completion may go.
    pub(super) content: Content,
    pub(super) names: Names,
    pub(super) core: Generation,
}

/// `Generation`. Relaxed: stored at import, before anybody has the module.
static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

const DOC: &CStr = c"The life of one LLM request: a span with the GenAI attributes, measurements, and times of its tokens. Made by
generation(); ends with end(), or by leaving `with` or `async with`.

May be used and ended on any thread or task, one at a time; leaves the current context alone. No method raises for odd
values; what cannot be kept is counted in stats(). After the end calls do nothing. Unreferenced and unended it is ended
when collected, and counted as abandoned. Holds 8 bytes for each of the first 4,096 arrivals of tokens; from there on 23 KiB
in all, and percentiles within 0.8 %.";

const TOKEN: &CStr = c"token($self, /)
--

An output token arrived, now.

Costs one clock read and one store: no lock, no system call, no allocation but for amortised growth.";

const TOKENS: &CStr = c"tokens($self, /, count)
--

Some output tokens arrived at once, now.

Args:
    count: How many, an int. They count as one arrival: percentiles of the time between tokens are those of the time
        between arrivals. 0 is nothing; what is negative or no int is ignored, and counted in stats().

Costs tens of nanoseconds.";

const TOKENS_AT: &CStr = c"tokens_at($self, /, times)
--

Output tokens arrived at these times, one each.

Args:
    times: Integer Unix nanoseconds (see now() and from_monotonic()), as a buffer of 64-bit integers (array.array('q'), numpy,
        memoryview), which is fastest, or any iterable of int, in any order: beyond 4,096 tokens they are put in order within
        runs of 256. Anything else is counted and replaced by now.";

const STAGE: &CStr = c"stage($self, /, name, start_time, end_time=None, attributes=None)
--

Records a stage of the request as a finished child span.

Args:
    name: 'queue', 'tokenize', 'schedule', 'prefill', 'decode', 'detokenize', or any other.
    start_time: Integer Unix nanoseconds (see now() and from_monotonic()). Anything else is counted and replaced by now.
    end_time: As start_time; default now.
    attributes: As for start_span().";

static TABLE: [MethodDef; 10] = [
    MethodDef::no_args(c"token", token, TOKEN),
    MethodDef::fast(c"tokens", tokens, TOKENS),
    MethodDef::fast(c"tokens_at", tokens_at, TOKENS_AT),
    MethodDef::fast(c"stage", stage, STAGE),
    MethodDef::fast(c"end", generation_end::end, generation_end::END_DOC),
    MethodDef::no_args(c"__enter__", enter, c"__enter__($self, /)\n--\n\nThe generation itself."),
    MethodDef::fast(c"__exit__", generation_end::exit, generation_end::EXIT_DOC),
    MethodDef::no_args(
        c"__aenter__",
        generation_end::async_enter,
        c"__aenter__($self, /)\n--\n\nThe generation itself, for `async with`.",
    ),
    MethodDef::fast(
        c"__aexit__",
        generation_end::async_exit,
        c"__aexit__($self, /, exc_type, exc_val, exc_tb)\n--\n\nAs __exit__, for `async with`.",
    ),
    MethodDef::END,
];

/// `PyGetSetDef`, whose pointers keep it from being a static otherwise.
#[repr(transparent)]
struct GetSet([ffi::PyGetSetDef; 4]);

// SAFETY: holds pointers to statics only.
unsafe impl Sync for GetSet {}

const CONTEXT: &CStr =
    c"The span's SpanContext: for children (parent=…) and headers; the same after the end. Without ids before init().";

static GETSET: GetSet = GetSet([
    getter(c"context", context, CONTEXT),
    getter(c"span_context", context, CONTEXT),
    getter(c"token_count", token_count, c"Output tokens so far; 0 after the end."),
    ffi::PyGetSetDef { name: ptr::null(), get: None, set: None, doc: ptr::null(), closure: ptr::null_mut() },
]);

const fn getter(name: &'static CStr, get: ffi::getter, doc: &'static CStr) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: doc.as_ptr(),
        closure: ptr::null_mut(),
    }
}

/// Makes the type and the function. At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let slots = [
        (ffi::Py_tp_new, capi::no_new as *mut c_void),
        (ffi::Py_tp_dealloc, dealloc as *mut c_void),
        (ffi::Py_tp_methods, (&raw const TABLE).cast_mut().cast()),
        (ffi::Py_tp_getset, (&raw const GETSET).cast_mut().cast()),
        (ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
    ];
    let (name, size) = (c"pytracingx.Generation", size_of::<GenerationObject>());
    // SAFETY: the slots of `GenerationObject`, all static.
    TYPE.store(unsafe { types::add_type(module, name, size, 0, &slots)? }, Ordering::Relaxed);
    module.add("generation", generation_begin::GENERATION.function(module)?)
}

/// The span of a `Generation`, for its children; `None` for anything else.
///
/// # Safety
/// Attached; `object` is alive.
pub(super) unsafe fn span_of<'a>(object: Object) -> Option<&'a LiveSpan> {
    // SAFETY: alive. Relaxed: the type is stored at import.
    unsafe {
        let is_one = ffi::Py_TYPE(object) == TYPE.load(Ordering::Relaxed);
        is_one.then(|| &(*object.cast::<GenerationObject>()).core.span)
    }
}

/// A new one that does nothing yet.
///
/// # Safety
/// Attached, not inside `emit::with`.
pub(super) unsafe fn allocate() -> Result<*mut GenerationObject, Raised> {
    // SAFETY: attached; the fields are written before anybody else sees the object.
    unsafe {
        let object = ffi::PyType_GenericAlloc(TYPE.load(Ordering::Relaxed), 0).cast::<GenerationObject>();
        if object.is_null() {
            return Err(Raised);
        }
        (&raw mut (*object).content).write(Content::NONE);
        (&raw mut (*object).names).write(Names::Latest);
        (&raw mut (*object).core).write(Generation::NONE);
        Ok(object)
    }
}

unsafe extern "C" fn dealloc(object: Object) {
    // SAFETY: called once with the last reference gone; nobody else can reach the object.
    unsafe {
        let core = &mut (*object.cast::<GenerationObject>()).core;
        if core.is_open() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| abandon(core)));
        }
        ptr::drop_in_place(core);
        types::free(object);
    }
}

#[cold]
fn abandon(core: &mut Generation) {
    let ended = emit::with(core.span.context.session, |thread| {
        thread.intake.counters.spans_abandoned.add(1);
        core.end(thread, &Default::default());
    });
    if ended.is_none() {
        end_elsewhere(core);
    }
}

/// Its session is over, or this is a forked child and it belongs to the parent.
#[cold]
pub(super) fn end_elsewhere(core: &mut Generation) {
    let was_recording = core.span.is_recording();
    core.discard();
    if was_recording {
        emit::drop_elsewhere(core.span.context.session, 1);
    }
}

unsafe extern "C" fn token(this: Object, _: Object) -> Object {
    // SAFETY: alive, attached; no Python code runs.
    unsafe {
        exclusively(this, |generation: &mut GenerationObject| {
            if !generation.core.arrivals.push(ticks::now()) {
                without_room(&mut generation.core);
            }
        });
    }
    none()
}

/// Not inside [`entry`] but here, where there is something to fail.
#[cold]
#[inline(never)]
fn without_room(core: &mut Generation) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| core.token()));
}

unsafe extern "C" fn tokens(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<1, 1, 1> = Signature::new("tokens", ["count"]);
    entry(|| {
        // SAFETY: as called; no Python code runs while the generation is borrowed.
        unsafe {
            let [count] = SIGNATURE.parse(args, count, names)?;
            let session =
                exclusively(this, |generation: &mut GenerationObject| generation.core.span.context.session);
            if let Some(count) = given_count(count, session)? {
                exclusively(this, |generation: &mut GenerationObject| generation.core.token_burst(count));
            }
        }
        Ok(none())
    })
}

/// Times that are converted before they are taken.
const CHUNK: usize = 128;

unsafe extern "C" fn tokens_at(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<1, 1, 1> = Signature::new("tokens_at", ["times"]);
    entry(|| {
        // SAFETY: as called; no Python code runs while the generation is borrowed.
        unsafe {
            let [times] = SIGNATURE.parse(args, count, names)?;
            let (is_open, session) = exclusively(this, |generation: &mut GenerationObject| {
                (generation.core.is_open(), generation.core.span.context.session)
            });
            if !is_open {
                return Ok(none());
            }
            let mut chunk = ArrayVec::<u64, CHUNK>::new();
            let flush = |chunk: &mut ArrayVec<u64, CHUNK>| {
                exclusively(this, |generation: &mut GenerationObject| {
                    chunk.drain(..).for_each(|at| generation.core.token_at(at))
                });
            };
            let mut unusable = 0;
            let read = number::numbers(times, |time| {
                chunk.push(match time {
                    Some(Number::Int(nanos)) if nanos >= EARLIEST_UNIX_NANO => nanos as u64,
                    _ => {
                        unusable += 1;
                        ticks::unix_nano()
                    }
                });
                if chunk.is_full() {
                    flush(&mut chunk);
                }
            });
            flush(&mut chunk);
            if unusable > 0 {
                emit::with(session, |thread| thread.intake.counters.unusable_times.add(unusable));
            }
            read?;
        }
        Ok(none())
    })
}

unsafe extern "C" fn stage(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<4, 2, 4> =
        Signature::new("stage", ["name", "start_time", "end_time", "attributes"]);
    entry(|| {
        // SAFETY: as called; no Python code runs while the generation is borrowed.
        unsafe {
            let [name, from, to, attributes] = SIGNATURE.parse(args, count, names)?;
            let (is_open, session) = exclusively(this, |generation: &mut GenerationObject| {
                (generation.core.is_open(), generation.core.span.context.session)
            });
            if !is_open {
                return Ok(none());
            }
            let name = GivenName::of(name, session)?;
            let now = ticks::unix_nano();
            let from = given_unix_nano(from, session)?.unwrap_or(now);
            let to = given_unix_nano(to, session)?.unwrap_or(now);
            let limit = emit::with(session, |thread| thread.intake.limits.attributes).unwrap_or(0);
            let mut given = GivenAttributes::default();
            given.fill(attributes, session, limit)?;
            exclusively(this, |generation: &mut GenerationObject| {
                emit::with(session, |thread| {
                    let mut items = thread.take_items();
                    let dropped = given.put(&mut items, limit, thread);
                    generation.core.stage(thread, name.resolve(thread), from, to, (&items, dropped));
                    thread.return_items(items);
                });
            });
        }
        Ok(none())
    })
}

unsafe extern "C" fn enter(this: Object, _: Object) -> Object {
    // SAFETY: alive, attached.
    unsafe { ffi::Py_INCREF(this) };
    this
}

unsafe extern "C" fn context(this: Object, _: *mut c_void) -> Object {
    entry(|| {
        // SAFETY: alive, attached.
        unsafe {
            let context = exclusively(this, |generation: &mut GenerationObject| {
                SpanContext::of(&generation.core.span.context)
            });
            Ok(Py::new(Python::assume_attached(), context)?.into_ptr())
        }
    })
}

unsafe extern "C" fn token_count(this: Object, _: *mut c_void) -> Object {
    entry(|| {
        // SAFETY: alive, attached.
        unsafe {
            let count = exclusively(this, |generation: &mut GenerationObject| generation.core.tokens());
            Ok(ffi::PyLong_FromUnsignedLongLong(count))
        }
    })
}
