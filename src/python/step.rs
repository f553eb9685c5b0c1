//! `Step`: `with step(batch_size=8):` is three calls and an object. Against the C API for the same reasons as [`super::span`].
//! Values are converted before anything is touched.
#![expect(unsafe_code, reason = "written against the C API")]

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::PyBaseException;
use pyo3::ffi;
use pyo3::prelude::*;

use super::capi::{self, MethodDef};
use super::fastcall::{Raised, Signature, bool, entry, exclusively, given, none};
use super::instrument::{HISTOGRAM, is_allowed, refuse};
use super::objects::{Owned, text_of};
use super::step_recorder::RecorderObject;
use super::{exceptions, number, time, types};
use crate::emit;
use crate::generation::step::{FIELDS, Fields, Step};
use crate::sys::ticks;

type Object = *mut ffi::PyObject;
type Args = *const *mut ffi::PyObject;

/// A Python `Step`.
#[repr(C)]
struct StepObject {
    base: ffi::PyObject,
    /// A `RecorderObject`; its own reference.
    recorder: Object,
    /// That it was entered in.
    session: u64,
    core: Step,
}

/// `Step`. Relaxed: stored at import, before anybody has the module.
static TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

const DOC: &CStr = c"One step of a scheduler's loop. Made by calling a StepRecorder; begins and ends with `with`.

An exception that leaves it sets status error and `error.type`; KeyboardInterrupt, SystemExit, GeneratorExit and
asyncio.CancelledError do not count. Unreferenced and still entered, its span is ended when collected, and counted.";

const SET_DOC: &CStr = c"set($self, /, *, batch_size=None, scheduled_tokens=None, kv_cache_usage=None, preemptions=None, prefix_cache_queries=None, prefix_cache_hits=None, waiting=None)
--

Sets what became known during the step; the last value of each counts.

Args:
    batch_size: As for StepRecorder.step().
    scheduled_tokens: As for StepRecorder.step().
    kv_cache_usage: As for StepRecorder.step().
    preemptions: As for StepRecorder.step().
    prefix_cache_queries: As for StepRecorder.step().
    prefix_cache_hits: As for StepRecorder.step().
    waiting: As for StepRecorder.step().

Costs a few tens of nanoseconds.";

static METHODS: [MethodDef; 4] = [
    MethodDef::fast(c"set", set, SET_DOC),
    MethodDef::no_args(c"__enter__", enter, c"__enter__($self, /)\n--\n\nBegins the step; gives it back."),
    MethodDef::fast(
        c"__exit__",
        exit,
        c"__exit__($self, /, exc_type, exc_val, exc_tb)\n--\n\nEnds the step; lets exceptions pass.",
    ),
    MethodDef::END,
];

/// Makes the type. At import.
pub(super) fn prepare(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let slots = [
        (ffi::Py_tp_new, capi::no_new as *mut c_void),
        (ffi::Py_tp_dealloc, dealloc as *mut c_void),
        (ffi::Py_tp_methods, (&raw const METHODS).cast_mut().cast()),
        (ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
    ];
    let (name, size) = (c"pytracingx.Step", size_of::<StepObject>());
    // SAFETY: the slots of `StepObject`, all static.
    TYPE.store(unsafe { types::add_type(module, name, size, 0, &slots)? }, Ordering::Relaxed);
    Ok(())
}

/// A step of a recorder, not yet begun.
///
/// # Safety
/// Attached, not inside `emit::with`; `recorder` is alive, the arguments are null or alive.
pub(super) unsafe fn new(recorder: Object, arguments: [Object; FIELDS.len()]) -> Result<Object, Raised> {
    // SAFETY: as promised by the caller; the fields are written before anybody else sees the object.
    unsafe {
        let mut core = Step::NONE;
        // Before init nobody looks at the values.
        if emit::session() != 0 {
            read(&mut core.fields, &arguments)?;
        }
        let object = ffi::PyType_GenericAlloc(TYPE.load(Ordering::Relaxed), 0).cast::<StepObject>();
        if object.is_null() {
            return Err(Raised);
        }
        ffi::Py_INCREF(recorder);
        (&raw mut (*object).recorder).write(recorder);
        (&raw mut (*object).session).write(0);
        (&raw mut (*object).core).write(core);
        Ok(object.cast())
    }
}

/// A step of a recorder that began at `start_time` and ends now.
///
/// # Safety
/// Attached, not inside `emit::with`; `recorder` and `start_time` are alive, the arguments are null or alive.
pub(super) unsafe fn record(
    recorder: Object,
    start_time: Object,
    arguments: [Object; FIELDS.len()],
) -> Result<(), Raised> {
    let session = emit::session();
    if session == 0 {
        return Ok(());
    }
    // SAFETY: as promised by the caller; no Python code runs while the recorder is borrowed.
    unsafe {
        let mut fields = Fields::default();
        read(&mut fields, &arguments)?;
        let began = time::given_unix_nano(start_time, session)?;
        exclusively(recorder, |recorder: &mut RecorderObject| {
            emit::with(session, |thread| recorder.state.record(thread, began, fields));
        });
    }
    Ok(())
}

/// Reads [`FIELDS`] over what is there; what is no such number is ignored and counted.
///
/// # Safety
/// Attached, not inside `emit::with`; the arguments are null or alive.
pub(super) unsafe fn read(fields: &mut Fields, arguments: &[Object; FIELDS.len()]) -> Result<(), Raised> {
    for (field, &argument) in fields.iter_mut().zip(arguments) {
        if !given(argument) {
            continue;
        }
        // SAFETY: attached, not inside `emit::with`, alive.
        let value = unsafe { number::number(argument)? };
        match value.filter(|value| is_allowed::<HISTOGRAM>(*value)) {
            Some(value) => *field = Some(value),
            None => refuse::<HISTOGRAM>(value, emit::session()),
        }
    }
    Ok(())
}

/// Of a function that takes [`FIELDS`] by name.
pub(super) const fn signature(function: &'static str) -> Signature<{ FIELDS.len() }, 0, 0> {
    let mut names = [""; FIELDS.len()];
    let mut index = 0;
    while index < FIELDS.len() {
        names[index] = FIELDS[index].0;
        index += 1;
    }
    Signature::new(function, names)
}

unsafe extern "C" fn set(this: Object, args: Args, count: ffi::Py_ssize_t, names: Object) -> Object {
    static SIGNATURE: Signature<{ FIELDS.len() }, 0, 0> = signature("set");
    entry(|| {
        // SAFETY: as called; no Python code runs while the step is borrowed.
        unsafe {
            let arguments = SIGNATURE.parse(args, count, names)?;
            let mut fields = exclusively(this, |step: &mut StepObject| step.core.fields);
            if emit::session() != 0 {
                read(&mut fields, &arguments)?;
                exclusively(this, |step: &mut StepObject| step.core.fields = fields);
            }
        }
        Ok(none())
    })
}

unsafe extern "C" fn enter(this: Object, _: Object) -> Object {
    entry(|| {
        // SAFETY: alive, attached.
        unsafe {
            let session = emit::session();
            if session != 0 && !exclusively(this, |step: &mut StepObject| step.core.is_open()) {
                begin(this, session);
            }
            ffi::Py_INCREF(this);
        }
        Ok(this)
    })
}

unsafe fn begin(this: Object, session: u64) {
    // SAFETY: attached, not inside `emit::with`, alive; one after the other, neither borrowed while the other is.
    unsafe {
        let recorder = (*this.cast::<StepObject>()).recorder;
        let begun = exclusively(recorder, |recorder: &mut RecorderObject| {
            emit::with(session, |thread| recorder.state.begin(thread, None))
        });
        let Some((turn, known)) = begun else { return };
        exclusively(this, |step: &mut StepObject| {
            // Another thread may have been faster.
            if !step.core.is_open() {
                step.session = session;
                emit::with(session, |thread| step.core.begin(thread, turn, known, None));
            }
        });
    }
}

unsafe extern "C" fn exit(this: Object, args: Args, count: ffi::Py_ssize_t, _: Object) -> Object {
    entry(|| {
        // SAFETY: the interpreter calls with a live step; the second argument is the exception or None.
        unsafe {
            let exception = if count > 1 { *args.add(1) } else { ptr::null_mut() };
            let (error, raised) = match if given(exception) { failure(exception) } else { Ok(None) } {
                Ok(error) => (error, Ok(())),
                Err(raised) => (None, Err(raised)),
            };
            let ended = exclusively(this, |step: &mut StepObject| {
                let error = error.as_ref().map(|(class, message)| (class.as_bytes(), message.as_slice()));
                let now = ticks::monotonic_nano();
                let ended = emit::with(step.session, |thread| step.core.end(thread, now, error));
                if ended.is_none() && step.core.is_open() {
                    end_elsewhere(&mut step.core);
                }
                (ended == Some(true)).then_some((step.recorder, now))
            });
            if let Some((recorder, now)) = ended {
                exclusively(recorder, |recorder: &mut RecorderObject| recorder.state.turn.end(now));
            }
            raised?;
        }
        Ok(bool(false))
    })
}

/// Type and message of an exception that counts as one.
#[cold]
unsafe fn failure(exception: Object) -> Result<Option<(String, Vec<u8>)>, Raised> {
    // SAFETY: attached, not inside `emit::with`, alive.
    unsafe {
        let exception = Bound::from_borrowed_ptr(Python::assume_attached(), exception);
        let counts = exception.is_instance_of::<PyBaseException>()
            && !exceptions::is_no_failure(&exception)
            && !exceptions::is_cancellation(&exception);
        if !counts {
            return Ok(None);
        }
        let message = text_of(exception.as_ptr())?;
        Ok(Some((exceptions::type_name(&exception), message)))
    }
}

/// Its session is over, or this is a forked child and it belongs to the parent.
#[cold]
fn end_elsewhere(step: &mut Step) {
    let was_recording = step.span.is_recording();
    step.discard();
    if was_recording {
        emit::drop_elsewhere(step.span.context.session, 1);
    }
}

unsafe extern "C" fn dealloc(object: Object) {
    // SAFETY: called once with the last reference gone; nobody else can reach the object.
    unsafe {
        let step = &mut *object.cast::<StepObject>();
        if step.core.is_open() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| abandon(step)));
        }
        ptr::drop_in_place(&raw mut step.core);
        drop(Owned(step.recorder));
        types::free(object);
    }
}

/// Ends the span; how long the step took nobody knows.
#[cold]
fn abandon(step: &mut StepObject) {
    let ended = emit::with(step.session, |thread| {
        thread.intake.counters.spans_abandoned.add(u64::from(step.core.span.is_recording()));
        step.core.span.end(thread, None);
    });
    if ended.is_none() {
        end_elsewhere(&mut step.core);
    }
}
